"""What was measured, and its medians."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

Key = tuple[str, str, int, str]
"""Vendor, state, number of objects, contender."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of one contender."""

    seconds: float
    cpu: float
    """Seconds of processor time of the process itself, without the server's."""
    objects: int
    queries: int
    """Calls of the driver: one for an executemany() of any length."""
    rss: int
    """The largest size of the process in memory, in bytes."""


class Results:
    def __init__(self) -> None:
        self._runs: dict[Key, list[Measured]] = defaultdict(list)

    def add(self, vendor: str, state: str, n: int, contender: str, found: Measured) -> None:
        self._runs[vendor, state, n, contender].append(found)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._runs)

    def has(self, *key: str | int) -> bool:
        return key in self._runs

    def of(self, vendor: str, state: str, n: int, contender: str) -> list[Measured]:
        return self._runs[vendor, state, n, contender]

    def each(self, vendor: str, state: str, n: int, contender: str) -> float:
        """Seconds an object, the median of all runs."""
        runs = self.of(vendor, state, n, contender)
        return median(run.seconds / max(1, run.objects) for run in runs)

    def seconds(self, vendor: str, state: str, n: int, contender: str) -> float:
        return median(run.seconds for run in self.of(vendor, state, n, contender))

    def spread(self, vendor: str, state: str, n: int, contender: str) -> tuple[float, float]:
        """The shortest and the longest run, as parts of the median."""
        times = [run.seconds for run in self.of(vendor, state, n, contender)]
        return min(times) / median(times), max(times) / median(times)

    def save(self, path: Path) -> None:
        rows = [
            {"vendor": vendor, "state": state, "n": n, "contender": contender, **asdict(run)}
            for (vendor, state, n, contender), runs in self._runs.items()
            for run in runs
        ]
        path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        results = cls()
        for row in json.loads(path.read_text(encoding="utf-8")):
            key = [row.pop(name) for name in ("vendor", "state", "n", "contender")]
            results.add(*key, Measured(**row))
        return results
