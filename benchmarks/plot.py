"""Time against the number of objects, both logarithmic, as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from math import log10

from benchmarks.measured import Results

WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 260, 50, 40, 70
COLOURS = {"raw": "#888888", "bulk": "#d08000", "synchro": "#0060c0"}
NAMES = {"raw": "raw executemany", "bulk": "Django bulk_create", "synchro": "synchro"}
VENDORS = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mariadb": "MariaDB"}
FIRST, LAST = 0.01, 100.0
"""The ends of the time axis, in seconds."""


def sizes(largest: int) -> list[int]:
    """1,000, 3,000, 10,000 and so on up to three times the largest."""
    steps = [factor * 10**power for power in range(3, 8) for factor in (1, 3)]
    return [step for step in steps if step <= 3 * largest]


def svg(results: Results) -> str:
    vendors = list(dict.fromkeys(key[0] for key in results))
    width = LEFT + len(vendors) * (WIDTH + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT + TOP + 70}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for index, vendor in enumerate(vendors):
        parts += _panel(results, vendor, LEFT + index * (WIDTH + GAP))
    for index, (name, colour) in enumerate(COLOURS.items()):
        x, y = LEFT + 160 * index, HEIGHT + TOP + 52
        parts.append(f'<rect x="{x}" y="{y - 8}" width="18" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 24}" y="{y}">{NAMES[name]}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(results: Results, vendor: str, left: float) -> Iterator[str]:
    points = {
        name: sorted(
            (key[2], results.seconds(*key))
            for key in results
            if (key[0], key[1], key[3]) == (vendor, "changed", name) and key[2] >= 1000
        )
        for name in COLOURS
    }
    largest = max((n for line in points.values() for n, _ in line), default=10_000)
    decades = log10(max(largest, 2000) / 1000)

    def x(n: float) -> float:
        return left + WIDTH * log10(n / 1000) / decades

    def y(seconds: float) -> float:
        return TOP + HEIGHT * (1 - log10(seconds / FIRST) / log10(LAST / FIRST))

    yield f'<text x="{left}" y="{TOP - 14}" font-size="14">{VENDORS[vendor]}</text>'
    for seconds in (0.01, 0.1, 1, 10, 100):
        at = y(seconds)
        yield f'<path d="M{left} {at:.1f}h{WIDTH}" stroke="#dddddd"/>'
        yield f'<text x="{left - 4}" y="{at + 4:.1f}" text-anchor="end">{seconds:g} s</text>'
    for n in sizes(largest):
        if n <= largest:
            yield f'<path d="M{x(n):.1f} {TOP}v{HEIGHT}" stroke="#dddddd"/>'
            yield (
                f'<text x="{x(n):.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{n:,}</text>'
            )
    middle, below = left + WIDTH / 2, TOP + HEIGHT + 32
    yield f'<text x="{middle}" y="{below}" text-anchor="middle">objects</text>'
    for name, line in points.items():
        path = " ".join(f"{x(n):.1f},{y(seconds):.1f}" for n, seconds in line)
        yield f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>'
        for n, seconds in line:
            yield f'<circle cx="{x(n):.1f}" cy="{y(seconds):.1f}" r="3" fill="{COLOURS[name]}"/>'
