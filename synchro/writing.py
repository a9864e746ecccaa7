"""Writes the rows of one model on REMOTE, in sets where it can be."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Model

from synchro.changes import Changes
from synchro.exceptions import PlanError, ReplayError
from synchro.graph import (
    foreign_keys,
    generic_foreign_keys,
    identity,
    points_at_key,
    target,
)
from synchro.halving import settle
from synchro.holds import ADVICE
from synchro.keys import natural_lookup
from synchro.keysets import KeySet
from synchro.models import ADDITION, CHANGE, NEEDS_HELD
from synchro.receivers import needs_save
from synchro.saving import ObjectSaver
from synchro.table import RemoteTable, Rows
from synchro.transient import is_transient
from synchro.translate import Translator
from synchro.uniques import Releaser, unique_groups
from synchro.work import REFUSALS, Work


class ModelWriter:
    """Writes rows of one model in chunks."""

    def __init__(
        self,
        work: Work,
        model: type[Model],
        changes: Changes,
        doomed: set[Any],
    ) -> None:
        self.work = work
        self.model = model
        self.changes = changes
        self.doomed = doomed
        self.remote = work.remote
        self.counterparts = work.counterparts
        self.by_save = needs_save(model)
        # Such a constraint speaks up at COMMIT only, where nobody knows the row any more.
        self.deferrable = any(
            getattr(constraint, "deferrable", None) for constraint in model._meta.constraints
        )
        self.releaser = Releaser(work.remote, model, work.holds)
        self.translator = Translator(work.source, work.counterparts, model, work.writes)
        self.table = RemoteTable(model, work.source, work.remote, work.counterparts)
        self.saver = ObjectSaver(work.remote, model, self.table.fields, self.table.skipped)
        self.refers_to_itself = bool(generic_foreign_keys(model)) or any(
            identity(target(field)) is identity(model) for field in foreign_keys(model)
        )
        self._under_way = deque([0, 0])
        """The two newest portions that REMOTE was given."""
        self._making = 0
        """The newest of them that makes rows."""
        self._written: set[Any] = set()
        """Of the chunk in hand."""
        self._before = KeySet()
        """Those of earlier chunks."""
        self.forced: set[Any] = set()
        """Rows of the chunk in hand that go ahead of what their foreign keys need."""

    def levels(self) -> list[list[Any]]:
        """The keys in portions, parents first, where a row has to wait for another one of the
        same model; else in one portion."""
        links = [
            field.attname
            for field in foreign_keys(self.model)
            if target(field) is self.model
            and points_at_key(field)
            and field in self.table.fields
            and (self.by_save or not field.null)
        ]
        if not links:
            return [list(self.changes)]
        needs = {
            pk: {value for value in values if value in self.changes and value != pk}
            for pk, *values in self.work.source.rows(self.model, self.changes, links)
        }
        height: dict[Any, int] = {}
        for start in self.changes:
            path, on_path = [start], {start}
            while path:
                pk = path[-1]
                above = needs.get(pk, set())
                unknown = next(
                    (one for one in above if one not in height and one not in on_path), None
                )
                if pk not in height and unknown is not None:
                    path.append(unknown)
                    on_path.add(unknown)
                    continue
                if pk not in height:
                    height[pk] = 1 + max((height.get(one, 0) for one in above), default=0)
                on_path.discard(path.pop())
        found: dict[int, list[Any]] = {}
        for pk in self.changes:
            found.setdefault(height[pk], []).append(pk)
        return [found[number] for number in sorted(found)]

    def write(self, pks: list[Any], *, force: bool) -> list[Any]:
        """Write a chunk. Returns the keys of rows that had to be left for later.

        ``force``: take rows whose obligatory foreign keys lead to rows that are not there yet.
        """
        self._before.update(self._written)
        self._written = set()
        rows = self._read([pk for pk in pks if pk in self.changes])
        self._leave_out_what_needs_held(rows)
        self._leave_out_what_changed(rows)
        awaiting = self.translator.awaited
        late = [] if force else [pk for pk in rows if pk in awaiting and self._must_wait(pk)]
        for pk in late:
            del rows[pk]
        new, old, again = self._sort(rows)
        deferred = [
            (pk, field, awaited)
            for pk in rows
            if pk in awaiting
            for field, awaited in awaiting[pk].items()
        ]
        self.forced = {pk for pk, field, _ in deferred if not field.null}
        if not deferred and self._goes_ahead(len(rows)):
            self._write_ahead(new, old, again)
            return late
        for pk, field, _ in deferred:
            if field.null:
                rows[pk][field.attname] = None
        # What goes wrong with these rows must be theirs.
        self.work.ahead.settle()
        # MariaDB checks foreign keys at once, the others when the transaction ends.
        off = self.remote.connection.vendor == "mysql" and bool(self.forced)
        if off:
            self.remote.connection.disable_constraint_checking()
        try:
            if self.by_save:
                self._save_all(new, old, again)
            else:
                self._write_all(new, old, again)
        finally:
            if off:
                self.remote.connection.enable_constraint_checking()
        for pk, field, awaited in deferred:
            if pk in self._written:
                self.work.fix_ups.setdefault((self.model, field), {})[pk] = awaited
        self._record_written(new, old, again)
        return late

    def close(self) -> None:
        """Wait until it is known which keys rows have got. REMOTE may still be writing others, and
        what that needs is removed at the end of the replay."""
        self.work.ahead.settle(self._making)
        self.work.at_end.append(self.table.close)

    # -- reading and translating

    def _read(self, pks: list[Any]) -> Rows:
        """The rows on LOCAL, attribute -> value, with keys as they are on REMOTE."""
        names = [field.attname for field in self.table.fields]
        rows = {
            row[0]: dict(zip(names, row[1:], strict=True))
            for row in self.work.source.rows(
                self.model, pks, names, unconverted=self.table.unconverted
            )
        }
        return self.translator.translate({pk: rows[pk] for pk in pks if pk in rows})

    def _leave_out_what_needs_held(self, rows: Rows) -> None:
        """A row whose target is held, and not on REMOTE, is held with it."""
        for pk, columns_lacking in self.translator.lacking.items():
            needed = next(iter(columns_lacking.values()))
            error = self.work.holds.lacks(self.model, pk, needed.model, needed.pk)
            self.work.hold(self.model, pk, error, reason=NEEDS_HELD)
            del rows[pk]

    def _leave_out_what_changed(self, rows: Rows) -> None:
        """Rows that were re-linked while the run goes on (SQLite without a write-ahead log has no
        snapshot) are left to the next run, whose log names them."""
        for pk, fields in self.translator.changed.items():
            if pk not in rows:
                continue
            if self.counterparts.get(self.model, pk) is not None:
                del rows[pk]
                continue
            for field in fields:
                if not field.null:
                    raise PlanError(
                        f"{self.model._meta.label} {pk}: {field.name} was changed while the run "
                        "was going on. Nothing was changed on "
                        f"{self.remote.side.alias!r}; run again."
                    )
                rows[pk][field.attname] = None

    def _must_wait(self, pk: Any) -> bool:
        """Whether a row needs, in a column that cannot be empty, one that is not there yet. A
        model with receivers waits in any case: its receivers should see the whole object."""
        return any(
            field.remote_field is not None
            and (self.by_save or not field.null or field.primary_key)
            for field in self.translator.awaited[pk]
        )

    def _sort(self, rows: Rows) -> tuple[Rows, Rows, Rows]:
        """Rows to insert, to update, and to update as if they were new."""
        known = self.counterparts.of(self.model, rows)
        present = {pk: key for pk, key in known.items() if key is not None}
        if self.model._meta.parents:
            # The root may be there while this table lacks the row.
            existing = self.remote.existing(self.model, present.values())
            present = {pk: key for pk, key in present.items() if key in existing}
        new, old, again = {}, {}, {}
        for pk, row in rows.items():
            if pk not in present:
                new[pk] = row
            elif pk in self.changes.recreated:
                again[pk] = row
            else:
                old[pk] = row
        return new, old, again

    # -- writing ahead

    def _goes_ahead(self, number: int) -> bool:
        """Whether REMOTE may write so many rows while the next ones are read: only if these need
        not know which keys the others got, and nothing is checked row by row."""
        return (
            self.work.ahead.takes(number)
            and not self.by_save
            and not self.refers_to_itself
            and not self.deferrable
            and not self.work.careful
        )

    def _write_ahead(self, new: Rows, old: Rows, again: Rows) -> None:
        """Have REMOTE write rows. What it refuses is tried again in the usual way."""
        self.table.prepare(old, again)
        changed = {**old, **again}

        def done(keys: dict[Any, Any]) -> None:
            self.counterparts.note(self.model, keys)
            self._record(new, changed, logged=changed)
            self._before.update((*new, *changed))

        def otherwise() -> None:
            self._write_all(new, old, again)
            self._record_written(new, old, again)
            self._before.update(self._written)
            self._written = set()

        try:
            work = self.table.work(new, old, again)
        except REFUSALS:
            # REMOTE cannot hold a value.
            self.work.ahead.settle()
            otherwise()
            return
        keys = self.counterparts.of(self.model, changed)
        entry = partial(self.work.journal.entry, self.model, CHANGE, keys, self.changes)
        # Two portions at a time: while REMOTE writes one, the next one is waiting for it.
        self.work.ahead.settle(self._under_way.popleft())
        number = self.work.write_ahead(
            work, entry, len(new) + len(changed), done=done, otherwise=otherwise
        )
        self._under_way.append(number)
        if new:
            self._making = number

    # -- writing in sets

    def _write_all(self, new: Rows, old: Rows, again: Rows) -> None:
        self.table.prepare(old, again)
        if old:
            self._guarded(old, self.table.update)
        if again:
            self._guarded(self.table.fresh(again), self.table.restore)
        if new:
            self._guarded(self.table.fresh(new), self.table.insert)

    def _guarded(
        self,
        rows: Rows,
        write: Callable[[Rows], None],
    ) -> None:
        """Write rows; where REMOTE refuses, free unique values and try again, then find the
        rows that are to blame by halving."""

        def attempt(pks: Sequence[Any]) -> Exception | None:
            return self._attempt({pk: rows[pk] for pk in pks}, write)

        pks = list(rows)
        error = attempt(pks)
        if error is not None and isinstance(error, DatabaseError) and self._release(rows):
            error = attempt(pks)
        settle(pks, error, attempt, self._hold)

    def _attempt(
        self,
        rows: Rows,
        write: Callable[[Rows], None],
    ) -> Exception | None:
        before = self.counterparts.of(self.model, rows)
        try:
            with transaction.atomic(using=self.remote.side.alias):
                write(rows)
                self._check(rows)
        except REFUSALS as error:
            if self.remote.cannot_go_on(error):
                raise
            for pk, key in before.items():
                if self.counterparts.get(self.model, pk) != key:
                    self.counterparts.forget(self.model, pk)
                    self.counterparts.set(self.model, pk, key)
            return error
        self._written.update(rows)
        return None

    def _check(self, pks: Iterable[Any], *saved: Any) -> None:
        """Ask now for errors that the database would tell at COMMIT only. ``saved``: the keys on
        REMOTE, if they are not known yet."""
        if self.deferrable:
            self.remote.connection.check_constraints()
        elif self.work.careful and self.forced.isdisjoint(pks):
            there = saved or self.counterparts.of(self.model, pks).values()
            self.remote.check_links(self.model, there)

    def _release(self, rows: Mapping[Any, dict[str, Any]]) -> bool:
        if not unique_groups(self.model):
            return False
        others = [pk for pk in self.changes if pk not in self._written and pk not in self._before]
        movable = set(self.counterparts.of(self.model, others).values())
        movable.discard(None)
        known = self.counterparts.of(self.model, rows)
        try:
            return self.releaser.release(
                [(known[pk], row) for pk, row in rows.items()], movable | self.doomed
            )
        except ReplayError:
            if not self.work.holds.tolerant:
                raise
            # The rows that are refused for want of the value are held.
            return False

    def _hold(self, pk: Any, error: Exception) -> None:
        refused = self._refused(pk, error)
        refused.__cause__ = error
        self.work.hold(self.model, pk, refused)

    def _refused(self, pk: Any, error: Exception) -> ReplayError:
        cause = " ".join(str(error).split())
        name = f"{self.model._meta.label} {pk}"
        key = self._natural_key(pk)
        if key is not None:
            name += f" (natural key {key!r})"
        return ReplayError(
            f"{self.remote.side.alias!r} refused {name}: {type(error).__name__}: {cause}.",
            ADVICE,
        )

    def _natural_key(self, pk: Any) -> Any:
        lookup = natural_lookup(self.model)
        if lookup is None or lookup.fields is None:
            return None
        found = list(self.work.source.rows(self.model, [pk], lookup.fields))
        return tuple(found[0][1:]) if found else None

    # -- writing one by one

    def _save_all(
        self,
        new: Rows,
        old: Rows,
        again: Rows,
    ) -> None:
        if unique_groups(self.model):
            self._release({**old, **self.table.fresh({**again, **new})})
        tolerant = self.work.holds.tolerant
        present = {self.table.key_there(pk): pk for pk in old}
        kept = self.saver.kept_values(present)
        for pk, row in {**old, **again, **new}.items():
            created = self.table.automatic and pk in new
            key = None if created else self.table.key_there(pk)
            values = row | kept[key] if pk in old else self.table.with_defaults(row)
            try:
                with self._alone():
                    saved = self.saver.save(key, values, created=pk in new)
                    self._check([pk], saved)
            except Exception as error:
                # Whatever a receiver or save() of the project raises, by the object's name.
                if is_transient(error) or (tolerant and self.remote.cannot_go_on(error)):
                    raise
                self._hold(pk, error)
                continue
            self.saver.keep()
            if self.counterparts.get(self.model, pk) != saved:
                self.counterparts.set(self.model, pk, saved)
            self._written.add(pk)
        self.saver.put_back()

    def _alone(self) -> AbstractContextManager[Any]:
        """What goes wrong with an object is undone alone, if the run goes on without it; else
        the whole run is undone, and needs no savepoint for each object."""
        if not self.work.holds.tolerant:
            return nullcontext()
        return transaction.atomic(using=self.remote.side.alias)

    # -- what was done

    def _record_written(self, new: Rows, old: Rows, again: Rows) -> None:
        """Note those of the rows that were written."""
        for part in (new, old, again):
            for pk in part.keys() - self._written:
                del part[pk]
        self._record(new, {**old, **again})

    def _record(self, new: Rows, old: Rows, *, logged: Container[Any] = ()) -> None:
        """Note which rows were made and which were changed. ``logged``: those that REMOTE's log
        has already."""
        journal, model = self.work.journal, self.model
        known = self.counterparts.of(model, (*new, *old))
        journal.refer(model, known)
        for rows, action in ((new, ADDITION), (old, CHANGE)):
            keys = {pk: known[pk] for pk in rows if pk not in logged}
            journal.log(model, action, keys, self.changes)
        self.work.done(model, "create", ((pk, known[pk]) for pk in new))
        self.work.done(model, "update", ((pk, known[pk]) for pk in old))
