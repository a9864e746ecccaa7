"""Runs the benchmarks and writes benchmarks/results/: ``make bench``, ``python -m benchmarks``.

Environment variables:

BENCH_DB
    which databases, for example ``sqlite,postgresql``; all that answer unless set
BENCH_N
    how many objects, for example ``10000,100000`` (what is unless set); the plot goes from 1,000
    to three times the largest
BENCH_ROUNDS
    how often each contender is run, in turn with the others; 5 unless set. A fifth of that from
    50,000 objects on, and at most three times for what is not one of the main measurements
BENCH_QUICK
    if set: 5,000 objects, two rounds, no plot, the main measurements only; about two minutes
BENCH_CITIES
    how many cities of the real data; all 234,908 unless set, 0 leaves them out
BENCH_ONLY
    ``capture`` for another measurement: what it costs to be captured by signals and by triggers
BENCH_RESULTS
    the folder to write to; ``benchmarks/results`` unless set
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import peers, plot, report
from benchmarks.measured import Measured, Results
from benchmarks.nursery import ROOT, Nursery, alone
from tests import servers

RESULTS = Path(os.environ.get("BENCH_RESULTS") or ROOT / "benchmarks" / "results")
QUICK = bool(os.environ.get("BENCH_QUICK"))
ONLY = os.environ.get("BENCH_ONLY") or ""
MANY = 50_000
"""From here on a run is long enough to be repeated less often."""
CAPTURE = {"-": {"BENCH_UNWATCHED": "1"}, "": {}, "+": {"BENCH_TRIGGERS": "1"}}
"""The end of a contender's name -> how what it writes is captured."""


def numbers(variable: str, default: str) -> list[int]:
    text = os.environ.get(variable) or default
    parts = text.replace(",", " ").split()
    if not parts or not all(part.isdecimal() for part in parts):
        sys.exit(f"{variable} is {text!r}: it must be whole numbers, for example {default}.")
    return [int(part) for part in parts]


def number(variable: str, default: str) -> int:
    found = numbers(variable, default)
    if len(found) > 1:
        sys.exit(f"{variable} has {len(found)} numbers: it must be one, for example {default}.")
    return found[0]


@dataclass(kw_only=True)
class Bench:
    """The measurements on one database."""

    vendor: str
    folder: str
    results: Results
    rounds: int
    made: tuple[str, int] | None = None
    """The state that the databases are in."""
    nurseries: dict[str, Nursery] = field(default_factory=dict)
    """By how what is written is captured: the end of a contender's name."""

    @property
    def fewer(self) -> int:
        """How often what is beside the main measurements is repeated."""
        return min(3, self.rounds)

    def do(self, *arguments: str, captured: str = "", forked: bool = True) -> str:
        """Do a step in a process of its own. Returns what it printed. ``captured``: a key of
        CAPTURE."""
        environment = {
            **os.environ,
            "BENCH_VENDOR": self.vendor,
            "BENCH_FOLDER": self.folder,
            "BENCH_RUN": str(os.getpid()),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "testproject")]),
            # Many processes need not compile the project each.
            "PYTHONDONTWRITEBYTECODE": "",
            **CAPTURE[captured],
        }
        try:
            if not forked:
                return alone(environment, *arguments)
            if captured not in self.nurseries:
                self.nurseries[captured] = Nursery(environment)
            return self.nurseries[captured].do(*arguments)
        except ChildProcessError as error:
            sys.exit(f"{self.vendor}: {error} failed")

    def close(self) -> None:
        """Remove the databases, by a process that nobody has interrupted."""
        for nursery in self.nurseries.values():
            nursery.close()
        self.nurseries.clear()
        self.do("remove")
        self.nurseries[""].close()

    def compare(
        self, state: str, n: int, *contenders: str, rounds: int | None = None, title: str = ""
    ) -> None:
        """Run contenders in turn, each time from the same state. ``name-`` is unwatched,
        ``name+`` captured by triggers."""
        started = time.monotonic()
        if rounds is None:
            rounds = max(1, self.rounds // 5) if n >= MANY else self.rounds
        # What is measured once need not be put back.
        once = ["once"] if rounds * len(contenders) == 1 else []
        if self.made != (state, n) or once:
            self.do("make", state, str(n), *once)
            self.made = None if once else (state, n)
        for _ in range(rounds):
            for contender in contenders:
                name = contender.rstrip("+-")
                # Where little is written, the 2 ms that a fork costs would count.
                forked = state != "quiet"
                captured = contender.removeprefix(name)
                printed = self.do("run", name, *once, captured=captured, forked=forked)
                found: dict[str, Any] = json.loads(printed)
                self.results.add(self.vendor, title or state, n, contender, Measured(**found))
        self.results.save(RESULTS / "measured.json")
        seconds = time.monotonic() - started
        print(f"{self.vendor}: {title or state} {n:,}: {seconds:.0f} s", flush=True)


def measure_capture(bench: Bench, n: int) -> None:
    """What a write costs that nobody captures, that signals capture, that triggers capture."""
    for name in report.CAPTURED:
        contenders = [f"{name}{end}" for end in CAPTURE]
        bench.compare("stocked", n, *contenders, rounds=bench.fewer)


def capture(bench: Bench, n: int, name: str, title: str) -> None:
    """What a watched save takes and what an unwatched one."""
    bench.compare("quiet", n, name, f"{name}-", title=title, rounds=bench.fewer)


def measure_peers(bench: Bench, n: int) -> None:
    """Peers that carry changes of Django models over, on their own terms."""
    started = time.monotonic()
    for state, found in peers.morango(n):
        bench.results.add(bench.vendor, f"{state} beside a peer", n, "morango", found)
        print(f"Morango: {state} {n:,}: {time.monotonic() - started:.0f} s", flush=True)
        bench.compare(state, n, "synchro", title=f"{state} beside a peer")


def measure(bench: Bench, sizes: list[int], cities: int) -> None:
    few = min(sizes)
    if ONLY:
        measure_capture(bench, few)
        return
    for n in sizes:
        more = [] if QUICK or n > few else ["raw_copy"]
        if n == few:
            bench.compare("changed", n, "save", rounds=bench.fewer)
        bench.compare("changed", n, "raw", *more, "bulk", "synchro")
        bench.compare("new", n, "bulk_new", "synchro")
    bench.compare("deleted", few, "delete_one_by_one", "synchro")
    if not QUICK:
        bench.compare("matched", few, "bulk", "synchro", rounds=bench.fewer)
        bench.compare("relinked", few, "save", "synchro", rounds=bench.fewer)
        bench.compare("moved", few, "synchro", rounds=bench.fewer)
        for n in (few, 10 * few):
            bench.compare("delta", n, "synchro", rounds=bench.fewer)
    for n in (100_000,) if QUICK else (2_000, 1_000_000):
        bench.compare("quiet", n, "synchro", rounds=bench.rounds)
        capture(bench, n, "capture_one", "capture in a transaction")
        if n < 1_000_000 and not QUICK:
            # What a commit takes does not depend on the log.
            capture(bench, n, "capture_committed", "capture")
    if QUICK:
        return
    bench.compare("quiet", 2_000, "suspend", title="suspend", rounds=3)
    rounds = bench.fewer
    receiving = ("save_with_receiver", "synchro_with_receiver")
    bench.compare("changed", 1000, *receiving, title="receiver", rounds=rounds)
    receiving = ("save_rows_with_receiver", "synchro_with_receiver")
    bench.compare("rows_changed", few, *receiving, title="rows", rounds=rounds)
    if cities:
        bench.compare("cities", cities, "cities_bulk", "synchro", rounds=1)
    if bench.vendor == "sqlite":
        measure_peers(bench, 500)
    for n in plot.sizes(max(sizes)):
        if n not in sizes:
            # The others' lines are straight: no time is spent on so many rows.
            others = ["raw", "bulk"] if n <= max(sizes) else []
            bench.compare("changed", n, *others, "synchro", rounds=1)


def drivers() -> str:
    """What connects to the servers, with versions."""
    found = []
    # PyMySQL stands in for mysqlclient where that is not installed.
    for name in ("Django", "psycopg", "mysqlclient", "PyMySQL"):
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
            if name == "mysqlclient":
                break
    return ", ".join(found)


def main() -> None:
    started = time.monotonic()
    wanted = (os.environ.get("BENCH_DB") or ",".join(servers.VENDORS)).replace(",", " ").split()
    sizes = numbers("BENCH_N", "5000" if QUICK else "10000,100000")
    rounds = number("BENCH_ROUNDS", "2" if QUICK else "5")
    cities = number("BENCH_CITIES", "0" if QUICK else "234908")
    for vendor in wanted:
        if vendor not in servers.VENDORS:
            known = ", ".join(servers.VENDORS)
            sys.exit(f"BENCH_DB has {vendor!r}: it can have {known}.")
    if min(sizes) < 1 or rounds < 1:
        sys.exit("BENCH_N and BENCH_ROUNDS must be at least 1.")
    if ONLY not in ("", "capture"):
        sys.exit(f"BENCH_ONLY is {ONLY!r}: it can only be 'capture'.")
    results = Results()
    RESULTS.mkdir(parents=True, exist_ok=True)
    try:
        for vendor in wanted:
            reason = servers.why_not(vendor)
            if reason:
                print(f"{vendor} is left out: {reason}")
                continue
            with tempfile.TemporaryDirectory() as folder:
                bench = Bench(vendor=vendor, folder=folder, results=results, rounds=rounds)
                try:
                    measure(bench, sizes, cities)
                finally:
                    bench.close()
    except KeyboardInterrupt:
        print("Interrupted: the results say what was measured until then.")
    text = report.markdown(results, sizes, took=time.monotonic() - started)
    text = f"{text}\n{platform.platform()}, Python {platform.python_version()}, {drivers()}.\n"
    (RESULTS / "table.md").write_text(text, encoding="utf-8")
    print(text)
    if not QUICK and not ONLY:
        (RESULTS / "plot.svg").write_text(plot.svg(results), encoding="utf-8")
    print(RESULTS)


if __name__ == "__main__":
    main()
