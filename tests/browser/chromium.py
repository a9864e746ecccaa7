"""Finds what the browser tests need: Chromium, Playwright and axe-core."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
ROOT: Final = Path(__file__).resolve().parent.parent.parent
DEFAULT_AXE: Final = ROOT / ".venv" / "axe" / "node_modules" / "axe-core" / "axe.min.js"


class Unavailable(Exception):
    """Something that a browser test needs is not there; the message says how to get it."""


def chromium() -> str:
    """The path of Chromium: that of SYNCHRO_CHROMIUM, or the first of NAMES on the path."""
    wanted = os.environ.get("SYNCHRO_CHROMIUM")
    for name in [wanted] if wanted else NAMES:
        found = shutil.which(name)
        if found:
            return found
    if wanted:
        raise Unavailable(f"SYNCHRO_CHROMIUM: {wanted} is no program that can be run")
    raise Unavailable(
        f"no Chromium: none of {', '.join(NAMES)} is on the path; "
        "scripts/browser.sh installs it, SYNCHRO_CHROMIUM names another place"
    )


def require_playwright() -> None:
    if importlib.util.find_spec("playwright") is None:
        raise Unavailable("no Playwright: pip install playwright (it is in the extra `test`)")


def axe() -> str:
    """The source of axe-core, to be run in a page."""
    file = Path(os.environ.get("SYNCHRO_AXE") or DEFAULT_AXE)
    if not file.is_file():
        raise Unavailable(f"no axe-core at {file}: scripts/axe.sh installs it (SYNCHRO_AXE)")
    return file.read_text(encoding="utf-8")


def required() -> bool:
    """Whether a missing browser is a failure, not a skip."""
    return bool(os.environ.get("SYNCHRO_REQUIRE_BROWSER"))
