"""Which tables of a database have triggers. Asked before each logged write, so it is remembered
for a while."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import closing
from typing import Any, Final

from django.db import connections
from django.db.models import Model

from synchro.conf import conf
from synchro.triggers.base import Trigger, place
from synchro.triggers.spec import why_not
from synchro.triggers.vendors import DIALECTS, dialect

RECHECK_SECONDS: Final = 60.0

Places = dict[str, frozenset[str]]
"""What stands for a table in the names of its triggers -> the events that have one."""

# alias -> (what it has, when that was looked up)
_seen: dict[str, tuple[Places, float]] = {}
_writes_down: dict[type[Model], bool] = {}


def forget(**kwargs: Any) -> None:
    """Look again: triggers may have been made or removed."""
    _seen.clear()
    _writes_down.clear()


def installed(alias: str) -> list[Trigger]:
    """The triggers of synchro that a database has."""
    connection: Any = connections[alias]
    connection.ensure_connection()
    # A cursor of the driver: this may be asked in the middle of a statement of somebody else's.
    with connection.wrap_database_errors, closing(connection.create_cursor()) as cursor:
        return dialect(alias).installed(cursor)


def places(alias: str) -> Places:
    """The tables of a database that have triggers, and for which events."""
    if connections[alias].vendor not in DIALECTS:
        return {}
    known = _seen.get(alias)
    if known is not None and time.monotonic() - known[1] < RECHECK_SECONDS:
        return known[0]
    events: dict[str, set[str]] = defaultdict(set)
    for trigger in installed(alias):
        events[trigger.place].add(trigger.event)
    found = {name: frozenset(there) for name, there in events.items()}
    _seen[alias] = (found, time.monotonic())
    return found


def has_any(alias: str) -> bool:
    """Whether a database has triggers of synchro."""
    return bool(places(alias))


def log_rows(alias: str, model: type[Model]) -> bool:
    """Whether a database itself logs changes of the rows of a model's table, so that nobody else
    need do so. (Where the settings say signals, or triggers are missing, signals log.)"""
    if not conf.uses_triggers or not conf.captured_by_triggers(model):
        return False
    if model not in _writes_down:
        _writes_down[model] = not why_not(model)
    return _writes_down[model] and _has(alias, model._meta.db_table, links=False)


def log_links(alias: str, owner: type[Model], links: type[Model]) -> bool:
    """Whether a database itself logs changes of the links in an automatic table."""
    if not conf.uses_triggers or not conf.captured_by_triggers(owner):
        return False
    return _has(alias, links._meta.db_table, links=True)


def _has(alias: str, table: str, *, links: bool) -> bool:
    there = places(alias).get(place(table))
    if not there:
        return False
    vendor = DIALECTS[connections[alias].vendor]
    return there >= (vendor.link_events if links else vendor.table_events)
