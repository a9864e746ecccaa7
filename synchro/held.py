"""Held changes in the database: what earlier runs could not apply, and what this one cannot.

They are kept on REMOTE, in the transaction of the run: a REMOTE that is restored from a backup
has its held changes restored with it. Where REMOTE has no tables of synchro they are on LOCAL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import transaction
from django.db.models import Model, QuerySet

from synchro import log
from synchro.chunks import batched
from synchro.collapsed import Collapse, Collapsed, LogRows, Objects
from synchro.exceptions import NaturalKeyError, SynchroError
from synchro.graph import automatic_links, identity
from synchro.holds import ON_PURPOSE, Cause, Holds, Part
from synchro.keys import load_object_id, object_id
from synchro.models import (
    ADDITION,
    CHANGE,
    DELETION,
    EXCLUDED,
    M2M_CHANGE,
    UNREADABLE,
    HeldChange,
)
from synchro.names import model_named
from synchro.nodes import Side
from synchro.plan import Skipped
from synchro.sql import insert_objects

_IDS_PER_STATEMENT: Final = 500
_COLUMNS: Final = (
    "node",
    "label",
    "object_id",
    "field",
    "action",
    "recreated",
    "key",
    "made",
    "origin",
    "batch",
    "waiting",
    "reason",
    "detail",
    "attempts",
    "since",
    "tried",
)

Name = tuple[str, str, str]
"""label, key as text, many-to-many field (or empty): what a held change is about."""


class _Seed(NamedTuple):
    """A change that waits, as the log told it."""

    label: str
    object_id: str
    recreated: bool
    change: tuple[int, datetime, str, str | None, str]
    """What ``Collapsed.add`` takes."""


class _Known(NamedTuple):
    """A row of the table, as far as a run needs it."""

    id: int
    waiting: bool
    reason: str
    batch: int
    attempts: int
    since: datetime


@dataclass(frozen=True, kw_only=True)
class Held:
    """A change that a run could not apply."""

    label: str
    object_id: str
    field: str
    action: int
    reason: str
    """``refused``, ``needs-held``, ``unreadable``, ``excluded`` or ``stale``."""
    detail: str
    attempts: int

    def __str__(self) -> str:
        return self.detail


def place(local: Side, remote: Side) -> tuple[str, str]:
    """Where changes of LOCAL that REMOTE lacks are kept: alias, and the node in the rows."""
    return (remote.alias, local.uid) if remote.has_tables else (local.alias, remote.uid)


def changes_held(local: Side, remote: Side) -> QuerySet[HeldChange]:
    """The changes of LOCAL that are held and not applied on REMOTE, the oldest first."""
    alias, node = place(local, remote)
    return HeldChange.objects.using(alias).filter(node=node).order_by("id")


def discard(local: Side, remote: Side, ids: Iterable[int]) -> int:
    """Forget held changes, by the keys of their rows: they will not be tried again. The caller
    holds the lock of the pair. Returns how many there were."""
    held = changes_held(local, remote)
    return sum(held.filter(pk__in=chunk).delete()[0] for chunk in batched(ids, _IDS_PER_STATEMENT))


def move_held(node: str, local: Side, remote: Side) -> None:
    """Move what LOCAL kept under ``node`` to REMOTE, which has got tables of its own."""
    rows = list(HeldChange.objects.using(local.alias).filter(node=node).values())
    with transaction.atomic(using=remote.alias):
        insert_objects(
            remote.alias,
            HeldChange,
            _COLUMNS,
            [tuple({**row, "node": local.uid}[name] for name in _COLUMNS) for row in rows],
        )
    HeldChange.objects.using(local.alias).filter(node=node).delete()


class HeldChanges:
    """The held changes of a pair of databases, before and after a run."""

    def __init__(
        self, local: Side, remote: Side, *, reset_batch: int, any_held: bool = True
    ) -> None:
        """``reset_batch``: what was held in batches up to here has been forgotten since.
        ``any_held``: False if it is known that nothing is held."""
        self.local = local
        self.remote = remote
        self.alias, self.node = place(local, remote)
        self._known: dict[Name, _Known] = {}
        self._seeds: list[_Seed] = []
        self._forgotten: list[int] = []
        self._changed: set[Name] = set()
        self._obsolete: list[int] = []
        self._replaced: set[int] = set()
        rows = changes_held(local, remote)
        for row in rows.iterator(chunk_size=2000) if any_held else ():
            if row.batch <= reset_batch:
                self._forgotten.append(row.pk)
                continue
            self._known[row.label, row.object_id, row.field] = _Known(
                row.pk, row.waiting, row.reason, row.batch, row.attempts, row.since
            )
            if row.waiting:
                change = (row.action, log.aware(row.made), row.field, row.key, row.origin)
                self._seeds.append(_Seed(row.label, row.object_id, row.recreated, change))

    def __bool__(self) -> bool:
        """Whether anything waits to be tried again."""
        return bool(self._seeds or self._forgotten)

    def waits_for(self, takes: Callable[[str], bool]) -> bool:
        """Whether anything waits of a model (by label) that the run takes."""
        return bool(self._forgotten) or any(takes(seed.label) for seed in self._seeds)

    def seed(self) -> Collapse:
        """What waits, as the log told it."""
        found: Collapse = {}
        for seed in self._seeds:
            objects = found.setdefault(seed.label, Objects())
            collapsed = objects.setdefault(seed.object_id, Collapsed())
            collapsed.add(*seed.change)
            collapsed.recreated |= seed.recreated
        return found

    def watch(self, portions: Iterable[LogRows]) -> Iterable[LogRows]:
        """The rows of the log as they are; notes of which held objects they tell something new."""
        return self._watch(portions) if self._known else portions

    def _watch(self, portions: Iterable[LogRows]) -> Iterator[LogRows]:
        for rows in portions:
            names = zip(rows.labels, rows.object_ids, rows.fields, strict=True)
            self._changed.update(name for name in names if name in self._known)
            yield rows

    def before(self) -> set[tuple[Part, Any]]:
        """What waits and was not changed since: part and key on LOCAL."""
        found: set[tuple[Part, Any]] = set()
        for label, text, field in self._unchanged():
            model = model_named(label)
            if model is not None:
                try:
                    found.add(((identity(model), field), load_object_id(model, text)))
                except NaturalKeyError:
                    continue
        return found

    def _unchanged(self) -> Iterator[Name]:
        return (
            name
            for name, known in self._known.items()
            if known.waiting and known.reason not in ON_PURPOSE and name not in self._changed
        )

    def store(
        self,
        holds: Holds,
        skipped: Iterable[Skipped],
        changes: Collapse,
        *,
        batch: int,
        now: datetime,
        accept: Collection[str],
    ) -> list[Held]:
        """Write down what this run did not apply, in place of what was known. Returns what waits.

        ``changes``: the log as this run has read it. Raises the error of a change that no earlier
        run held, unless its reason is one of ``accept``.
        """
        unchanged = set(self._unchanged())
        rows: dict[Name, tuple[Any, ...]] = {}
        found: list[Held] = []
        kept: set[Name] = set()
        for name, collapsed, reason, error in _causes(holds, changes):
            if name not in unchanged and reason not in accept:
                raise error
            known = self._known.get(name) if name not in self._changed else None
            held = Held(
                label=name[0],
                object_id=name[1],
                field=name[2],
                action=_action(name, collapsed),
                reason=reason,
                detail=error.reason,
                attempts=known.attempts + 1 if known else 1,
            )
            found.append(held)
            if reason == EXCLUDED and name in unchanged:
                # Nobody has tried it: what is known of it stays.
                kept.add(name)
                continue
            rows[name] = self._row(held, collapsed, known, batch=batch, now=now)
        for one in skipped:
            if one.pk is None:
                # It would have gone along with an object that has an entry of its own.
                continue
            name, row = self._lost(one, changes, batch=batch, now=now)
            rows.setdefault(name, row)
        self._replaced = {
            known.id
            for name, known in self._known.items()
            if (known.waiting and name not in kept) or name in self._changed or name in rows
        }
        self._obsolete = [*self._forgotten, *self._replaced]
        with transaction.atomic(using=self.alias):
            if self.remote.has_tables:
                self.finish()
            again, new = self._numbered(rows)
            insert_objects(self.alias, HeldChange, ("id", *_COLUMNS), again)
            insert_objects(self.alias, HeldChange, _COLUMNS, new)
        return found

    def _numbered(
        self, rows: Mapping[Name, tuple[Any, ...]]
    ) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """The rows of changes that were held before, with the keys they had, so that their
        addresses stay; and the others. (On LOCAL the old rows are still there.)"""
        again, new = [], []
        for name, row in rows.items():
            known = self._known.get(name) if self.remote.has_tables else None
            if known is not None and known.id in self._replaced:
                again.append((known.id, *row))
            else:
                new.append(row)
        return again, new

    def finish(self) -> None:
        """Remove what is out of date. For a REMOTE without synchro's tables that is to be called
        once REMOTE has committed; what is kept too long is only tried once more."""
        for chunk in batched(self._obsolete, _IDS_PER_STATEMENT):
            HeldChange.objects.using(self.alias).filter(pk__in=chunk).delete()
        self._obsolete = []

    def _row(
        self,
        held: Held,
        collapsed: Collapsed,
        known: _Known | None,
        *,
        batch: int,
        now: datetime,
    ) -> tuple[Any, ...]:
        made, origin = _made(held.field, collapsed)
        return (
            self.node,
            held.label,
            held.object_id,
            held.field,
            held.action,
            collapsed.recreated,
            collapsed.key if held.field == "" else None,
            log.stored(made or now),
            origin,
            known.batch if known else batch,
            True,
            held.reason,
            held.detail,
            held.attempts,
            known.since if known else log.stored(now),
            log.stored(now),
        )

    def _lost(
        self, one: Skipped, changes: Collapse, *, batch: int, now: datetime
    ) -> tuple[Name, tuple[Any, ...]]:
        """The row of a change that is settled: it was not applied, and is not tried again."""
        model = model_named(one.label)
        assert model is not None
        text = object_id(model, one.pk)
        name = (one.label, text, one.field)
        collapsed = changes.get(one.label, Objects()).get(text) or Collapsed()
        made, origin = _made(one.field, collapsed)
        return name, (
            self.node,
            *name,
            _action(name, collapsed),
            collapsed.recreated,
            collapsed.key,
            log.stored(made or now),
            origin,
            batch,
            False,
            one.reason,
            one.detail,
            1,
            log.stored(now),
            log.stored(now),
        )


def _causes(
    holds: Holds, changes: Collapse
) -> Iterator[tuple[Name, Collapsed, str, SynchroError]]:
    """What the log told of changes that are held: name, entry of the log, reason and error. Rows
    that were only brought along have no entry; those that need them do."""
    for (label, text), cause in holds.unread.items():
        collapsed = changes[label][text]
        for field in _fields(collapsed):
            yield (label, text, field), collapsed, UNREADABLE, cause.error
    wanted: dict[type[Model], dict[Any, list[tuple[str, Cause]]]] = {}
    for (root, field), pk, cause in holds:
        wanted.setdefault(root, {}).setdefault(pk, []).append((field, cause))
    if not wanted:
        return
    for label, objects in changes.items():
        model = model_named(label)
        causes = wanted.get(identity(model), {}) if model is not None else {}
        if model is None or not causes:
            continue
        links = {field.name for field in automatic_links(model)}
        for text, collapsed in objects.items():
            if (label, text) in holds.unread:
                continue
            for field, cause in causes.get(load_object_id(model, text), ()):
                if field in links or (not field and (collapsed.written or collapsed.deleted)):
                    yield (label, text, field), collapsed, cause.reason, cause.error


def _fields(collapsed: Collapsed) -> list[str]:
    """The parts of an object that the log says were changed."""
    own = [""] if collapsed.written or collapsed.deleted else []
    return own + [link.field for link in collapsed.links if link.field or not own]


def _action(name: Name, collapsed: Collapsed) -> int:
    if name[2]:
        return M2M_CHANGE
    if collapsed.deleted:
        return DELETION
    return ADDITION if collapsed.added else CHANGE


def _made(field: str, collapsed: Collapsed) -> tuple[datetime | None, str]:
    """When a part of an object was changed, and where."""
    if not field:
        return collapsed.made, collapsed.origin
    link = collapsed.link(field) or collapsed.link("")
    return (link.made, link.origin) if link else (collapsed.made, "")
