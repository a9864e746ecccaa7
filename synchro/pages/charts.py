"""The last runs as a chart: geometry only, drawn by a template as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 600
HEIGHT: Final = 160
_MIDDLE: Final = 100
_BELOW: Final = 50
_GAP: Final = 0.3


@dataclass(frozen=True, kw_only=True)
class Column:
    """One run: objects upwards, seconds downwards, in the chart's units."""

    x: str
    width: str
    top: str
    height: str
    seconds_top: str
    seconds_height: str
    label: str
    outcome: str


def columns(runs: Sequence[tuple[int, float, str, str]]) -> list[Column]:
    """The columns of runs, each given as objects, seconds, label and outcome, in the order from
    left to right."""
    most = max((objects for objects, *_ in runs), default=0) or 1
    longest = max((seconds for _, seconds, *_ in runs), default=0.0) or 1.0
    step = WIDTH / max(len(runs), 10)
    found = []
    for index, (objects, seconds, label, outcome) in enumerate(runs):
        # A run that wrote anything is seen, however small it is beside the largest.
        height = max(objects / most * (_MIDDLE - 10), 2.0 if objects else 0.0)
        below = max(seconds / longest * _BELOW, 1.0 if seconds else 0.0)
        found.append(
            Column(
                x=_number(index * step + step * _GAP / 2),
                width=_number(step * (1 - _GAP)),
                top=_number(_MIDDLE - height),
                height=_number(height),
                seconds_top=_number(_MIDDLE + 4),
                seconds_height=_number(below),
                label=label,
                outcome=outcome,
            )
        )
    return found


def share(part: int, most: int, width: int = 100) -> str:
    """The length of a bar."""
    return _number(max(part / most * width, 1.0)) if most and part else "0"


def _number(value: float) -> str:
    """For SVG, whatever the language of the page is."""
    return f"{value:.1f}".removesuffix(".0")
