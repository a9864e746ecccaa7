"""Runs the test suite for each pair of databases: ``python -m tests.matrix [pytest arguments]``.

Environment variables:

SYNCHRO_TEST_PAIRS
    which pairs, for example ``sqlite-sqlite,postgresql-mariadb``; all of PAIRS unless set
SYNCHRO_REQUIRE_DATABASES
    servers that must answer, for example ``postgresql,mariadb``: a failure otherwise, not a skip
SYNCHRO_TEST_JOBS
    how many pairs run at the same time; 2 unless set
SYNCHRO_TEST_TIMEOUT
    seconds after which a pair is stopped and counted as failed; 2400 unless set
SYNCHRO_POSTGRESQL_URL, SYNCHRO_MARIADB_URL
    where the servers are
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from tests import servers

PAIRS: Final = (
    ("postgresql", "mariadb"),
    ("sqlite", "sqlite"),
    ("postgresql", "postgresql"),
    ("mariadb", "mariadb"),
    ("mariadb", "sqlite"),
    ("sqlite", "postgresql"),
)
"""In the order in which they are begun: those that take longest first, so that none is left over
in the end for which the others have waited."""
ROOT: Final = Path(__file__).resolve().parent.parent
NOTHING_COLLECTED: Final = 5
"""pytest's exit status when no test was selected."""


@dataclass(kw_only=True)
class Outcome:
    """What came of one pair."""

    pair: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    why: str = ""
    """Why the pair, or tests in it, did not run or could not be counted."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why single tests were skipped."""
    output: str = ""


def names(variable: str) -> list[str]:
    """The names in an environment variable, separated by commas or blanks."""
    return os.environ.get(variable, "").replace(",", " ").split()


def selected_pairs() -> list[tuple[str, str]]:
    wanted = names("SYNCHRO_TEST_PAIRS")
    known = {f"{local}-{remote}" for local in servers.VENDORS for remote in servers.VENDORS}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        sys.exit(
            f"SYNCHRO_TEST_PAIRS: {', '.join(unknown)} is no pair of databases; "
            f"the pairs are: {', '.join(sorted(known))}"
        )
    if not wanted:
        return list(PAIRS)
    return [(local, remote) for local, _, remote in (name.partition("-") for name in wanted)]


def read_report(file: Path, outcome: Outcome) -> None:
    """Count the tests in pytest's JUnit report."""
    for case in ElementTree.parse(file).iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        elif skipped is not None:
            outcome.skipped += 1
            outcome.reasons[skipped.get("message") or "no reason given"] += 1
        else:
            outcome.passed += 1


def stop(process: subprocess.Popen[bytes]) -> int:
    """Interrupt pytest, so that it says where it was and drops its databases; else end it."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def run(local: str, remote: str, arguments: list[str], scratch: Path) -> Outcome:
    """Run pytest for one pair in a process of its own."""
    outcome = Outcome(pair=f"{local}-{remote}")
    report = scratch / f"{outcome.pair}.xml"
    command = [
        *(sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider"),
        f"--junitxml={report}",
        *arguments,
    ]
    environment = {**os.environ, "SYNCHRO_TEST_LOCAL": local, "SYNCHRO_TEST_REMOTE": remote}
    environment.pop("SYNCHRO_TEST_RUN", None)
    limit = float(os.environ.get("SYNCHRO_TEST_TIMEOUT") or 2400)
    start = time.monotonic()
    with (scratch / f"{outcome.pair}.txt").open("w+", encoding="utf-8", errors="replace") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            outcome.why = f"stopped after {limit:.0f} seconds"
            status = stop(process)
        out.seek(0)
        outcome.output = out.read()
    outcome.seconds = time.monotonic() - start
    if report.exists():
        read_report(report, outcome)
    if status == NOTHING_COLLECTED:
        outcome.why = "no test selected"
    elif status != 0 and not outcome.failed:
        outcome.failed = 1
        outcome.why = outcome.why or f"pytest ended with status {status}"
    return outcome


def show(outcome: Outcome) -> None:
    """Print what pytest said: all of it if something failed, else its last line."""
    print(f"\n=== {outcome.pair} ===")
    lines = outcome.output.rstrip().splitlines()
    print("\n".join(lines if outcome.failed else lines[-1:]), flush=True)


def print_table(outcomes: list[Outcome]) -> None:
    heading = ("pair", "passed", "failed", "skipped", "seconds", "why")
    rows = [
        (o.pair, str(o.passed), str(o.failed), str(o.skipped), f"{o.seconds:.0f}", o.why)
        for o in outcomes
    ]
    widths = [max(len(row[column]) for row in [heading, *rows]) for column in range(5)]
    print()
    for pair, *numbers, why in [heading, *rows]:
        cells = (n.rjust(width) for n, width in zip(numbers, widths[1:], strict=True))
        print("  ".join([pair.ljust(widths[0]), *cells, why]).rstrip())
    for outcome in outcomes:
        for reason, number in sorted(outcome.reasons.items()):
            print(f"{outcome.pair}: {number} skipped: {reason}")


def main(arguments: list[str]) -> int:
    pairs = selected_pairs()
    required = names("SYNCHRO_REQUIRE_DATABASES")
    silent = {vendor: servers.why_not(vendor) for vendor in {v for pair in pairs for v in pair}}
    silent = {vendor: reason for vendor, reason in silent.items() if reason}

    outcomes: dict[tuple[str, str], Outcome] = {}
    for pair in pairs:
        missing = [vendor for vendor in dict.fromkeys(pair) if vendor in silent]
        if missing:
            outcomes[pair] = Outcome(
                pair="-".join(pair), why="; ".join(silent[vendor] for vendor in missing)
            )
            if set(missing) & set(required):
                outcomes[pair].failed = 1
                outcomes[pair].why += " (required by SYNCHRO_REQUIRE_DATABASES)"
            else:
                outcomes[pair].skipped = 1

    jobs = int(os.environ.get("SYNCHRO_TEST_JOBS") or 2)
    running = [pair for pair in pairs if pair not in outcomes]
    described = ", ".join("-".join(pair) for pair in running) or "none"
    print(f"Running the tests, up to {jobs} pairs at a time: {described}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="synchro-matrix-") as scratch,
        ThreadPoolExecutor(jobs) as pool,
    ):
        for outcome in pool.map(lambda p: run(*p, arguments, Path(scratch)), running):
            show(outcome)
            local, _, remote = outcome.pair.partition("-")
            outcomes[local, remote] = outcome

    ordered = [outcomes[pair] for pair in pairs]
    print_table(ordered)
    passed, failed, skipped = (
        sum(getattr(o, name) for o in ordered) for name in ("passed", "failed", "skipped")
    )
    if not passed and not failed:
        failed = 1
        print("\nNo test ran: that counts as a failure.")
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
