"""Peers that can be installed beside synchro, each in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measured import Measured

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parent / ".venv" / "morango"
VERSION = "0.8.15"
"""Of Morango; it brings the Django that it needs."""


def morango(n: int) -> Iterator[tuple[str, Measured]]:
    """``new`` and ``changed``: what it took Morango to push that many objects with their links.
    Nothing, and a line that says why, where it cannot be installed."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    installed = subprocess.run(
        [str(python), "-m", "pip", "install", "-q", f"morango=={VERSION}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if installed.returncode:
        print(f"Morango is left out: morango=={VERSION} cannot be installed.")
        return
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(python), str(HERE / "morango" / "measure.py"), folder, str(n)],
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode:
        print("Morango is left out: it failed.")
        return
    for line in done.stdout.splitlines():
        found = json.loads(line)
        yield found.pop("state"), Measured(**found)
