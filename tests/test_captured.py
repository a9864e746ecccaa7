"""What is captured: each way to write, by signals and by triggers; and the docs say so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from synchro.models import ChangeLog
from tests import captured
from tests.captured import IMPOSSIBLE, NO, YES, Row, Way
from tests.runs import LOCAL, REMOTE
from tests.triggered import triggers

PAGE = Path(__file__).resolve().parent.parent / "docs" / "howto" / "triggers.rst"
MODES = ("signals", "triggers")
NAMES = ("Note", "Item", "Plant", "Account", "Paper", "Label")
BY_TRIGGERS: dict[str, str] = {"*": "signals", **{f"testapp.{name}": "triggers" for name in NAMES}}


def capturing(mode: str) -> AbstractContextManager[None]:
    return triggers(BY_TRIGGERS if mode == "triggers" else "signals", (LOCAL,))


def cases(*, committed: bool) -> list[object]:
    return [
        pytest.param(row, way, id=way.__name__)
        for row in captured.TABLE
        for way in row.ways
        if (way in captured.COMMITTED) is committed
    ]


def check(row: Row, way: Way, mode: str) -> None:
    cell = row.signals if mode == "signals" else row.by_triggers()
    steps = way()
    next(steps)
    ChangeLog.objects.all().delete()
    expected = next(steps)
    found = set(ChangeLog.objects.values_list("label", "object_id", "action"))
    steps.close()
    assert expected
    assert cell in (YES, NO)
    assert found == (expected if cell == YES else set())


@pytest.fixture(scope="class", params=MODES)
def mode_of_class(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: Any
) -> Iterator[str]:
    context = capturing(request.param)
    with django_db_blocker.unblock():
        context.__enter__()
    yield request.param
    with django_db_blocker.unblock():
        context.__exit__(None, None, None)


class TestInATransaction:
    @pytest.mark.parametrize(("row", "way"), cases(committed=False))
    def test_what_is_written_is_captured_as_the_table_says(self, row, way, mode_of_class):
        if row.by_triggers() == IMPOSSIBLE:
            pytest.skip("this database has no such statement")
        check(row, way, mode_of_class)


@pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("row", "way"), cases(committed=True))
def test_what_is_committed_is_captured_as_the_table_says(row, way, mode):
    if row.by_triggers() == IMPOSSIBLE:
        pytest.skip("this database has no such statement")
    with capturing(mode):
        check(row, way, mode)


def cells(page: str) -> Iterator[tuple[str, ...]]:
    """The rows of the first table under *What is captured*, without footnotes."""
    table = page.partition("What is captured\n")[2]
    borders = list(re.finditer(r"^=+(?:  =+)+$", table, re.M))[:3]
    starts = [match.start() for match in re.finditer("=+", borders[0].group())]
    whole: list[list[str]] = []
    for line in table[borders[1].end() + 1 : borders[2].start()].splitlines():
        parts = [
            line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)
        ]
        if parts[1]:
            whole.append(parts)
        else:
            whole[-1][0] = f"{whole[-1][0]} {parts[0]}"
    for parts in whole:
        yield tuple(re.sub(r"\s*\[\d+\]_", "", part) for part in parts)


@pytest.mark.once
def test_the_docs_have_the_same_table():
    assert list(cells(PAGE.read_text("utf-8"))) == [
        (row.text, *row.cells()) for row in captured.TABLE
    ]
