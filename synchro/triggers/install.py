"""Putting triggers into a database, taking them out, and telling what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, connections, transaction

from synchro.conf import conf
from synchro.exceptions import TriggerError
from synchro.nodes import require_tables
from synchro.triggers import presence
from synchro.triggers.base import Dialect, Trigger, place
from synchro.triggers.spec import (
    Capture,
    Table,
    captured_links,
    captured_models,
    captures,
    coarse,
    links_why_not,
    why_not,
)
from synchro.triggers.vendors import dialect, has_dialect

Run = Callable[[str], None]


@dataclass(kw_only=True)
class State:
    """The triggers of a database, compared with those that it should have."""

    alias: str
    current: list[Trigger] = field(default_factory=list)
    missing: list[Trigger] = field(default_factory=list)
    """Those that it should have and has not, or not with this SQL."""
    stale: list[Trigger] = field(default_factory=list)
    """Those that it has and should not have, or not with this SQL."""
    unable: dict[str, str] = field(default_factory=dict)
    """Model label -> why triggers cannot capture it, though the settings say so."""

    @property
    def is_current(self) -> bool:
        return not self.missing and not self.stale


def state(alias: str, *, everything: bool = True) -> State:
    """What a database has and what it should have by the settings.

    ``everything``: otherwise triggers that the settings no longer ask for are no drift.
    """
    return _compare(alias, _wanted(alias, dialect(alias)), everything=everything)


def drift(alias: str) -> str:
    """What is wrong with the triggers of a database, and the way out; empty if nothing is, or if
    the settings ask for none."""
    if not conf.uses_triggers or not has_dialect(alias):
        return ""
    found = state(alias)
    if found.is_current:
        return ""
    return (
        f"The triggers of {alias!r} are not as SYNCHRO_CAPTURE asks for: {len(found.missing)} are "
        f"missing or out of date, {len(found.stale)} are to be removed. What signals do not see "
        f"may not have been logged: synchronize --full finds it. Run: manage.py synchro_triggers "
        f"install --database {alias}"
    )


def install(alias: str, run: Run | None = None) -> State:
    """Make the triggers that the settings ask for, and remove all others of synchro's.

    ``run``: gets each statement instead of the database. Returns what there was before.
    """
    require_tables(alias)
    if run is None:
        _make_content_types(alias)
    before = state(alias)
    if before.missing or before.stale:
        _change(alias, before.missing, before.stale, run)
    return before


def remove(alias: str, run: Run | None = None) -> list[Trigger]:
    """Remove all triggers of synchro's; returns them."""
    found = presence.installed(alias)
    _change(alias, [], found, run)
    return found


def renew(alias: str) -> State | None:
    """Bring the triggers up to date after a migration; None if there is nothing to do.

    Triggers that the settings no longer ask for are not removed, as processes with the old
    settings may rely on them, unless their table is no longer what it was.
    """
    there = presence.installed(alias)
    if not there and not conf.uses_triggers:
        return None
    _make_content_types(alias)
    wanted = _wanted(alias, dialect(alias))
    places = {trigger.place for trigger in wanted}
    before = _compare(alias, wanted, everything=True)
    kept = [
        one for one in before.stale if one.place not in places and place(one.table) == one.place
    ]
    before.stale = [one for one in before.stale if one not in kept]
    if before.missing or before.stale:
        _change(alias, before.missing, before.stale, None)
    return before


def loosen(alias: str, apps: Iterable[str]) -> None:
    """Before a migration: let the triggers of apps' tables name no columns but keys, so that
    columns can be renamed and removed while they are there."""
    there = presence.installed(alias)
    if not there:
        return
    vendor = dialect(alias)
    labels = set(apps)
    found = list(_captures(alias))
    loose: list[Trigger] = []
    for capture in found:
        owner = capture.label if hasattr(capture, "label") else capture.owners[0].label
        if owner.partition(".")[0] in labels:
            known = _as_it_is(alias, coarse(capture))
            loose += vendor.triggers(known) if known is not None else ()
    places = {trigger.place for trigger in there} & {trigger.place for trigger in loose}
    names = {trigger.name for trigger in loose}
    have = {trigger.name for trigger in there}
    _change(
        alias,
        [one for one in loose if one.place in places and one.name not in have],
        [one for one in there if one.place in places and one.name not in names],
        None,
    )


def _as_it_is(alias: str, capture: Capture) -> Capture | None:
    """A capture with the key columns that its table has before a migration; None if it does not
    fit the table."""
    connection = connections[alias]
    columns = capture.key if isinstance(capture, Table) else [one.column for one in capture.owners]
    with connection.cursor() as cursor:
        description = connection.introspection.get_table_description(cursor, capture.name)
        if {column.name for column in columns} <= {column.name for column in description}:
            return capture
        names = connection.introspection.get_primary_key_columns(cursor, capture.name) or []
    if not isinstance(capture, Table) or len(names) != len(capture.key):
        return None
    key = (replace(column, name=name) for column, name in zip(capture.key, names, strict=True))
    return replace(capture, key=tuple(key))


def _captures(alias: str) -> list[Capture]:
    connection = connections[alias]
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
    types = {
        (app, model): pk
        for pk, app, model in ContentType.objects.using(alias).values_list(
            "pk", "app_label", "model"
        )
    }
    return list(captures(alias, types, tables))


def _wanted(alias: str, vendor: Dialect) -> list[Trigger]:
    if not conf.uses_triggers:
        return []
    return [one for capture in _captures(alias) for one in vendor.triggers(capture)]


def _compare(alias: str, wanted: list[Trigger], *, everything: bool) -> State:
    found = State(alias=alias)
    there = presence.installed(alias)
    have = {(one.name, one.table) for one in there}
    want = {(one.name, one.table) for one in wanted}
    for one in wanted:
        (found.current if (one.name, one.table) in have else found.missing).append(one)
    places = {one.place for one in wanted}
    found.stale = [
        one
        for one in there
        if (one.name, one.table) not in want and (everything or one.place in places)
    ]
    for model in sorted(conf.valid_models, key=lambda model: model._meta.label):
        if conf.captured_by_triggers(model) and (reason := why_not(model)):
            found.unable[model._meta.label] = reason
        for many in model._meta.local_many_to_many:
            links = many.remote_field.through
            if (
                links is not None
                and links._meta.auto_created
                and conf.captured_by_triggers(model)
                and (reason := links_why_not(many))
            ):
                found.unable[f"{model._meta.label}.{many.name}"] = reason
    return found


def _make_content_types(alias: str) -> None:
    models = [*captured_models(), *(field.model for field in captured_links())]
    if models:
        manager = ContentType.objects.db_manager(alias)
        manager.get_for_models(*models, for_concrete_models=False)


def _change(alias: str, new: list[Trigger], old: list[Trigger], run: Run | None) -> None:
    vendor = dialect(alias)
    connection = connections[alias]
    if new and (reason := vendor.why_not()):
        raise TriggerError(f"{alias!r} gets no triggers: {reason}.")
    # New ones first: for a moment a change may be logged twice, but never not at all.
    statements = vendor.support() if new else []
    statements += [sql for trigger in new for sql in trigger.sql]
    statements += [sql for trigger in old for sql in vendor.drop(trigger)]
    if run is not None:
        for sql in statements:
            run(sql)
        return
    block: AbstractContextManager[Any] = nullcontext()
    if vendor.is_transactional:
        block = transaction.atomic(using=alias)
    try:
        with block, connection.cursor() as cursor:
            for sql in statements:
                cursor.execute(sql)
    except DatabaseError as error:
        undone = "" if vendor.is_transactional else " What was made before stays; run it again."
        raise TriggerError(
            f"The triggers of {alias!r} could not be changed: {type(error).__name__}: "
            f"{' '.join(str(error).split())}.{undone} See what it would do: "
            f"manage.py synchro_triggers install --database {alias} --sql"
        ) from error
    finally:
        presence.forget()
