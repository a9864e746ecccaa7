"""The moments of a run at which something can be made to happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connections

from tests.runs import LOCAL, REMOTE

STATEMENT = "statement"
BEFORE_COMMIT = "before commit"
AFTER_COMMIT = "after commit"


@dataclass(frozen=True)
class Event:
    number: int
    """Counted from 1, on both databases together."""
    alias: str
    kind: str
    sql: str = ""


@contextmanager
def watched(happened: Callable[[Event], None]) -> Iterator[None]:
    """Call ``happened`` before each statement on either database, and before and after each
    commit. What it raises is raised there."""
    seen = 0

    def tell(alias: str, kind: str, sql: str = "") -> None:
        nonlocal seen
        seen += 1
        happened(Event(seen, alias, kind, sql))

    def wrap(alias: str) -> None:
        connection: Any = connections[alias]

        def execute(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            tell(alias, STATEMENT, sql)
            return run(sql, params, many, context)

        def commit(original: Callable[[], None] = connection._commit) -> None:
            tell(alias, BEFORE_COMMIT)
            original()
            tell(alias, AFTER_COMMIT)

        connection.execute_wrappers.append(execute)
        connection._commit = commit

    def unwrap(alias: str) -> None:
        connection: Any = connections[alias]
        connection.execute_wrappers.pop()
        del connection._commit

    for alias in (LOCAL, REMOTE):
        wrap(alias)
    try:
        yield
    finally:
        for alias in (LOCAL, REMOTE):
            unwrap(alias)
