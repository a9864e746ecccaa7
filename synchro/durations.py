"""Lengths of time as people type them: 30d, 12h."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def duration(text: str) -> timedelta:
    """15m, 12h, 30d or 4w. Raises ValueError, which says so."""
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is not a length of time: write it as 15m, 12h, 30d or 4w.")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def in_words(length: timedelta) -> str:
    """A length of time in its largest unit, roughly, as ``duration`` reads it: 3d."""
    seconds = max(int(length.total_seconds()), 0)
    for letter, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"
