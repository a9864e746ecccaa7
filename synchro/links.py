"""Replays the links of many-to-many fields: on REMOTE they become what they are on LOCAL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import ManyToManyField, Model

from synchro.changes import Changes
from synchro.chunks import batched
from synchro.conf import conf
from synchro.exceptions import ReplayError
from synchro.graph import concrete, ends, through
from synchro.halving import settle
from synchro.holds import ADVICE
from synchro.loading.base import Load
from synchro.models import M2M_CHANGE, NEEDS_HELD, REFUSED
from synchro.receivers import needs_link_signals
from synchro.remotes.database import DatabaseEnd, key_chunks
from synchro.sql import TableWriter
from synchro.work import REFUSALS, Progress, Work

Link = tuple[Any, Any]
"""(key of the object that owns the field, key of the object it is linked to)."""


class LinkWriter:
    """Makes the links of objects in one field equal."""

    def __init__(self, work: Work, model: type[Model], name: str, changes: Changes) -> None:
        self.work = work
        self.model = model
        self.name = name
        self.changes = changes
        self.field: ManyToManyField[Any, Any] = model._meta.get_field(name)  # type: ignore[assignment]
        self.by_signals = needs_link_signals(model, through(self.field))
        self._chunks = batched(changes, conf.batch_size)
        self._next = next(self._chunks, [])
        """The objects whose turn comes next."""
        self._present: set[Link] | None = None
        """The links that they have on REMOTE, if they were read already."""
        self._expected = 0
        """The work that reads them."""
        self._links: list[Link] = []
        """Of the chunk in hand: (object, what it is linked to), keys on LOCAL."""

    def replay(self, progress: Progress) -> None:
        done = 0
        if self._goes_ahead(len(self._next)):
            # After the rows, which REMOTE may still be writing.
            self._read_ahead()
        while chunk := self._next:
            self._next = next(self._chunks, [])
            ready = self._ready(chunk)
            if self._goes_ahead(len(ready)):
                self._write_ahead(ready)
            else:
                self._write_chunk(ready, self._links)
                self._present = None
            done += len(chunk)
            progress(f"{self.model._meta.label_lower}.{self.name}", done, len(self.changes))

    def _goes_ahead(self, number: int) -> bool:
        """Whether REMOTE may write the links of so many objects while the next ones are read."""
        return self.work.ahead.takes(number) and not self.by_signals

    def _write_ahead(self, pks: list[Any]) -> None:
        """Have REMOTE make the links of objects equal. What it refuses is tried again in the usual
        way."""
        remote, ahead = self.work.remote, self.work.ahead
        links = self._links
        # Not what came after that: REMOTE may still be writing the portion before.
        ahead.settle(self._expected)
        present, self._present = self._present, None
        if present is None:
            present = self._links_there(pks)
        added, removed, touched = self._difference(pks, links, present)

        def done(_nothing: None) -> None:
            self.work.done(self.model, "link", touched.items())

        def otherwise() -> None:
            self._write_chunk(pks, links)

        try:
            work = _writing(remote, self.field, added, removed)
        except REFUSALS:
            # REMOTE cannot hold a key.
            otherwise()
            return

        def write() -> None:
            if touched:
                with transaction.atomic(using=remote.side.alias):
                    work()

        entry = partial(
            self.work.journal.entry,
            *(self.model, M2M_CHANGE, touched, self.changes),
            field=self.name,
        )
        # Before these are written: they have nothing to do with each other.
        self._read_ahead()
        self.work.write_ahead(write, entry, len(pks), done=done, otherwise=otherwise)

    def _read_ahead(self) -> None:
        if self._next:
            read = partial(self._links_there, self._next)
            self._expected = self.work.ahead.run(read, len(self._next), done=self._expect)

    def _expect(self, present: set[Link]) -> None:
        """Note what links the next objects have on REMOTE."""
        self._present = present

    def _write_chunk(self, pks: list[Any], links: list[Link]) -> None:
        """Make the links of objects equal, and note whose were changed."""
        # Portions that are under way may come through here as well.
        self.work.ahead.settle()
        touched: dict[Any, Any] = {}

        def attempt(some: Sequence[Any]) -> Exception | None:
            return self._attempt(some, links, touched)

        settle(pks, attempt(pks), attempt, self._refuse)
        self.work.done(self.model, "link", touched.items())
        self.work.journal.log(self.model, M2M_CHANGE, touched, self.changes, field=self.name)

    def _ready(self, pks: list[Any]) -> list[Any]:
        """The objects that are on REMOTE, with all that they are linked to. The links of others
        are held if that is why."""
        holds, other = self.work.holds, concrete(self.field.related_model)
        owners = self.work.counterparts.of(self.model, pks)
        for pk, key in owners.items():
            if key is None and holds.get(self.model, pk) is not None:
                self._hold(pk, holds.lacks(self.model, pk, self.model, pk), NEEDS_HELD)
        ready = [pk for pk, key in owners.items() if key is not None]
        self._links = list(self.work.source.links(self.field, ready))
        targets = {there for _, there in self._links}
        self.work.counterparts.resolve(other, targets)
        known = self.work.counterparts.of(other, targets)
        lacking = {
            pk for pk, key in known.items() if key is None and holds.get(other, pk) is not None
        }
        if not lacking:
            return ready
        needed: dict[Any, Any] = {}
        for pk, there in sorted((one for one in self._links if one[1] in lacking), key=repr):
            needed.setdefault(pk, there)
        for pk, there in needed.items():
            self._hold(pk, holds.lacks(self.model, pk, other, there), NEEDS_HELD)
        return [pk for pk in ready if pk not in needed]

    def _links_there(self, pks: Iterable[Any]) -> set[Link]:
        """The links that objects have on REMOTE: keys there."""
        owners = self.work.counterparts.of(self.model, pks).values()
        return set(self.work.remote.links(self.field, [key for key in owners if key is not None]))

    def _difference(
        self, pks: Sequence[Any], links: Iterable[Link], present: set[Link]
    ) -> tuple[set[Link], set[Link], dict[Any, Any]]:
        """The links to be added and removed on REMOTE, and the objects whose links these are (key
        on LOCAL -> key on REMOTE).
        ``links``: those on LOCAL; ``present``: those on REMOTE."""
        owners = self.work.counterparts.of(self.model, pks)
        others = self.work.counterparts.of(
            concrete(self.field.related_model), {there for _, there in links}
        )
        wanted = {
            (owners[pk], others[there])
            for pk, there in links
            if pk in owners and others[there] is not None
        }
        keys = set(owners.values())
        added, removed = wanted - present, {one for one in present - wanted if one[0] in keys}
        touched = {owner for owner, _ in added | removed}
        return added, removed, {pk: owner for pk, owner in owners.items() if owner in touched}

    def _attempt(
        self, pks: Sequence[Any], links: list[Link], touched: dict[Any, Any]
    ) -> Exception | None:
        """Make the links of objects equal, and add those to ``touched`` whose were changed."""
        remote = self.work.remote
        added, removed, changed = self._difference(pks, links, self._links_there(pks))
        if not changed:
            return None
        try:
            with transaction.atomic(using=remote.side.alias):
                write = _relate if self.by_signals else _write
                write(remote, self.model, self.field, added, removed)
        except Exception as error:
            # A receiver of the project may raise anything; the rest has no such excuse.
            if remote.cannot_go_on(error) or not (self.by_signals or isinstance(error, REFUSALS)):
                raise
            return error
        touched.update(changed)
        return None

    def _refuse(self, pk: Any, error: Exception) -> None:
        cause = " ".join(str(error).split())
        refused = ReplayError(
            f"{self.work.remote.side.alias!r} refused the links of {self.model._meta.label} {pk} "
            f"in {self.name}: {type(error).__name__}: {cause}.",
            ADVICE,
        )
        try:
            self._hold(pk, refused, REFUSED)
        except ReplayError:
            raise refused from error

    def _hold(self, pk: Any, error: ReplayError, reason: str) -> None:
        self.work.holds.add(
            self.model,
            pk,
            error,
            field=self.name,
            reason=reason,
        )


def _write(
    remote: DatabaseEnd,
    model: type[Model],
    field: ManyToManyField[Any, Any],
    added: set[Link],
    removed: set[Link],
) -> None:
    """Add and remove the rows of the automatic table."""
    _writing(remote, field, added, removed)()


def _writing(
    remote: DatabaseEnd, field: ManyToManyField[Any, Any], added: set[Link], removed: set[Link]
) -> Load:
    """What adds and removes rows of the automatic table."""
    near, far = ends(field)
    insert: Load | None = None
    if added:
        writer = TableWriter(remote.connection, through(field), [near, far])
        insert = writer.inserting(writer.stored(in_order(added)), len(added))

    def write() -> None:
        if removed:
            _remove(remote, field, removed)
        if insert is not None:
            insert()

    return write


def _remove(remote: DatabaseEnd, field: ManyToManyField[Any, Any], removed: set[Link]) -> None:
    near, far = ends(field)
    by_owner: dict[Any, set[Any]] = {}
    for owner, there in removed:
        by_owner.setdefault(owner, set()).add(there)
    table = through(field)
    for chunk in key_chunks(by_owner):
        found = remote.among(table, near.attname, chunk)
        ids = [
            pk
            for pk, owner, there in found.values_list("pk", near.attname, far.attname)
            if there in by_owner[owner]
        ]
        for some in key_chunks(ids):
            remote.among(table, "pk", some)._raw_delete(remote.side.alias)


def in_order(links: set[Link]) -> list[Link]:
    """Links in the same order each time: by number where keys are numbers."""
    plain = all(type(owner) is type(there) is int for owner, there in links)
    return sorted(links) if plain else sorted(links, key=repr)


def _relate(
    remote: DatabaseEnd,
    model: type[Model],
    field: ManyToManyField[Any, Any],
    added: set[Link],
    removed: set[Link],
) -> None:
    """Add and remove by the related manager, so that m2m_changed is sent for REMOTE's objects."""
    changes: dict[Any, tuple[list[Any], list[Any]]] = {}
    for owner, there in in_order(added):
        changes.setdefault(owner, ([], []))[0].append(there)
    for owner, there in in_order(removed):
        changes.setdefault(owner, ([], []))[1].append(there)
    with transaction.atomic(using=remote.side.alias):
        for chunk in batched(changes, conf.batch_size):
            for instance in remote.among(model, "pk", chunk):
                manager: Any = getattr(instance, field.name)
                more, fewer = changes[instance.pk]
                if fewer:
                    manager.remove(*fewer)
                if more:
                    manager.add(*more)
