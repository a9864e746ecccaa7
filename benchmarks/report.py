"""The measurements as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from benchmarks.measured import Results

NAMES = {
    "raw": "raw `executemany` upsert",
    "raw_copy": "raw copy: reading, and `executemany` upsert",
    "bulk": "`bulk_create(update_conflicts=True)`",
    "bulk_new": "`bulk_create()`",
    "save": "`save()` one by one",
    "synchro": "**synchro**",
    "delete_one_by_one": "`delete()` one by one",
    "save_with_receiver": "`save()` and `labels.set()` one by one",
    "save_rows_with_receiver": "`save()` one by one",
    "synchro_with_receiver": "**synchro**",
    "cities_bulk": "`bulk_create()`",
    "morango": "Morango, from one process to another one",
    "capture_one": "`save()`, watched",
    "capture_one-": "`save()`, not watched",
    "capture_committed": "`save()`, watched",
    "capture_committed-": "`save()`, not watched",
    "suspend": "`DisableSynchroLog`",
}
STATES = {
    "changed": "every object changed, with new links",
    "relinked": "every object changed, with other links than before",
    "moved": "every object has got the unique code of the next one, without links",
    "new": "new objects with links",
    "matched": "the first run, matched by natural key",
    "deleted": "every object deleted",
    "delta": "1,000 changed objects",
    "quiet": "nothing to do",
    "receiver": "changed objects of a model with a receiver, with new links",
    "rows": "changed objects of a model with a receiver, without links",
    "cities": "real data: new cities of GeoNames",
    "new beside a peer": "new objects with links, beside a peer",
    "changed beside a peer": "every object changed, with new links, beside a peer",
    "capture": "saving, each committed",
    "capture in a transaction": "saving in one transaction",
    "suspend": "entering and leaving",
}

CAPTURED = {
    "capture_one": "`save()` one by one, in one transaction",
    "capture_committed": "`save()` one by one, each committed",
    "capture_bulk_create": "`bulk_create()`",
    "capture_update": "one `update()` of a number",
    "capture_update_key": "one `update()` of a foreign key",
}
"""What is written while nobody captures it, while signals do, while triggers do."""


def duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def lines(results: Results, vendor: str, state: str, n: int) -> Iterator[str]:
    contenders = [key[3] for key in results if key[:3] == (vendor, state, n)]
    for contender in contenders:
        key = (vendor, state, n, contender)
        runs = results.of(*key)
        each, (low, high) = results.each(*key), results.spread(*key)
        objects = runs[0].objects
        ours = contender.startswith("synchro") or contender in ("capture_one", "capture_committed")
        peers = [other for other in contenders if ours and not other.startswith("synchro")]
        ratios = [
            f"{results.each(vendor, state, n, other) / each:.2f}"
            for other in peers
            if other != contender
        ]
        queries = runs[0].queries / max(1, objects)
        yield (
            f"| {NAMES[contender]} | {duration(results.seconds(*key))} "
            f"| {low:.2f} to {high:.2f} | {1 / each:,.0f} "
            f"| {' / '.join(ratios)} "
            f"| {queries:.4f} ({runs[0].queries}) "
            f"| {median(run.cpu for run in runs) / max(1, objects) * 1e6:.0f} µs "
            f"| {max(run.rss for run in runs) / 1e6:.0f} MB |"
            if objects
            else f"| {NAMES[contender]} | {duration(results.seconds(*key))} "
            f"| {low:.2f} to {high:.2f} | | | {runs[0].queries} | | "
            f"{max(run.rss for run in runs) / 1e6:.0f} MB |"
        )


def captured(results: Results, vendor: str, n: int) -> Iterator[str]:
    """What capture costs, as parts of what the same write costs without it."""
    yield "| | not captured | signals | triggers |"
    yield "|---|---|---|---|"
    for contender, name in CAPTURED.items():
        plain = results.each(vendor, "stocked", n, f"{contender}-")
        objects = results.of(vendor, "stocked", n, contender)[0].objects
        cells = [f"{objects:,} in {duration(plain * objects)}"]
        for end in ("", "+"):
            key = (vendor, "stocked", n, f"{contender}{end}")
            low, high = results.spread(*key)
            each = results.each(*key)
            ratio = each / plain
            cells.append(f"{ratio:.2f} ({low * ratio:.2f} to {high * ratio:.2f})")
        yield f"| {name} | {' | '.join(cells)} |"


def markdown(results: Results, sizes: list[int], *, took: float) -> str:
    text = [
        "Medians; spread: the shortest and the longest run as parts of the median; ratio: how",
        "many times as fast as the contenders above it, in the same order; queries: calls of the",
        "driver per object (in all); processor: time of the process itself per object.",
        "",
    ]
    seen: set[tuple[str, int]] = set()
    for vendor in dict.fromkeys(key[0] for key in results):
        text += [f"## {vendor}", ""]
        for _, state, n, _ in [key for key in results if key[0] == vendor]:
            if (state, n) in seen or (state == "changed" and n not in sizes):
                continue
            seen.add((state, n))
            if state == "stocked":
                text += [f"captured or not, {n:,} rows", "", *captured(results, vendor, n), ""]
                continue
            rows = "log rows" if state in ("quiet", "suspend") or "capture" in state else "objects"
            text += [
                f"{STATES[state]}, {n:,} {rows}",
                "",
                "| | time | spread | objects/s | ratio | queries | processor | peak memory |",
                "|---|---|---|---|---|---|---|---|",
                *lines(results, vendor, state, n),
                "",
            ]
        seen.clear()
    return "\n".join([*text, f"All of it took {took / 60:.0f} minutes."])
