"""Applies a plan to REMOTE, within one transaction that the caller holds.

Rows that are made anew let go of their old links; then parents before children, links,
deletions in reverse. Values are read from LOCAL chunk by chunk as they are needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Field, Model

from synchro.chunks import batched
from synchro.conf import conf
from synchro.counterparts import Counterparts
from synchro.deletions import Deleter, detach
from synchro.exceptions import ReplayError
from synchro.halving import settle
from synchro.holds import ADVICE, Holds
from synchro.journal import Journal
from synchro.links import LinkWriter
from synchro.models import NEEDS_HELD
from synchro.plan import Agenda
from synchro.remotes.base import Source
from synchro.remotes.database import DatabaseEnd
from synchro.results import Done
from synchro.sql import TableWriter, key_values
from synchro.translate import Awaited, as_generic_id
from synchro.work import REFUSALS, Progress, Work
from synchro.writing import ModelWriter


def replay(
    plan: Agenda,
    source: Source,
    remote: DatabaseEnd,
    counterparts: Counterparts,
    journal: Journal,
    holds: Holds,
    progress: Progress,
    *,
    careful: bool = False,
) -> dict[tuple[str, str], Done]:
    """Write the plan to REMOTE. Returns (model label, action) -> objects.

    ``careful``: check foreign keys set by set, since the COMMIT refused some. What is refused is
    held, or raises ReplayError naming the object where that was not asked for. Raises Spoiled if
    the plan has to be made again without what is held now.
    """
    work = Work(
        source=source,
        remote=remote,
        counterparts=counterparts,
        journal=journal,
        holds=holds,
        writes=plan.writes,
        careful=careful,
    )
    journal.prepare(plan.models())
    for model, changes in plan.writes.items():
        anew = [pk for pk in changes if pk in changes.recreated] if changes.recreated else []
        again = [key for key in counterparts.of(model, anew).values() if key is not None]
        for key in again:
            holds.touch(model, key)
        detach(remote, model, again, counterparts)
    for model, changes in plan.writes.items():
        doomed = set(plan.deletions.get(model, ()))
        _write(ModelWriter(work, model, changes, doomed), len(changes), progress)
    _fill_in(work)
    for (model, name), links in plan.links.items():
        LinkWriter(work, model, name, links).replay(progress)
    deleter = Deleter(source, remote, counterparts, journal, plan, holds, careful=careful)
    for model in plan.deletions:
        deleter.delete(model, progress)
    for model, gone in deleter.deleted:
        work.done(model, "delete", ((one.pk, one.remote_pk) for one in gone))
    work.ahead.settle()
    for finish in work.at_end:
        finish()
    holds.end_pass()
    return work.record


def _write(writer: ModelWriter, total: int, progress: Progress) -> None:
    """Write the rows of one model, those that others wait for first."""
    done = 0
    levels = writer.levels()
    force = False
    while levels:
        postponed: list[Any] = []
        for level in levels:
            for chunk in _chunks(writer.model, level, writer.work.holds):
                late = writer.write(chunk, force=force)
                postponed += late
                done += len(chunk) - len(late)
                progress(writer.model._meta.label_lower, done, total)
        # Rows that wait for each other cannot all wait: the next round takes them as they are.
        force = len(postponed) == sum(map(len, levels))
        levels = [postponed] if postponed else []
    writer.close()


def _chunks(model: type[Model], pks: list[Any], holds: Holds) -> Iterator[list[Any]]:
    """Rows in portions; those that failed before come by themselves, at the end."""
    again = [pk for pk in pks if holds.was_held(model, pk)]
    if again:
        failed = set(again)
        pks = [pk for pk in pks if pk not in failed]
    yield from batched(pks, conf.batch_size)
    yield from batched(again, conf.batch_size)


def _fill_in(work: Work) -> None:
    """The second pass: columns whose targets were not there in the first one."""
    for (model, field), rows in work.fix_ups.items():
        filler = _Filler(work, model, field, rows)
        for chunk in batched(rows, conf.batch_size):
            settle(chunk, filler.attempt(chunk), filler.attempt, filler.refuse)
        filler.writer.close()


class _Filler:
    """Fills in one column of rows that were written without it."""

    def __init__(
        self,
        work: Work,
        model: type[Model],
        field: Field[Any, Any],
        rows: Mapping[Any, Awaited],
    ) -> None:
        self.work = work
        self.model = model
        self.field = field
        self.rows = rows
        self.writer = TableWriter(work.remote.connection, model, [*model._meta.pk_fields, field])
        self.writer.prepare_update()

    def attempt(self, pks: Sequence[Any]) -> Exception | None:
        self.work.ahead.settle()
        values = []
        for pk in pks:
            awaited = self.rows[pk]
            there = self.work.counterparts.get(awaited.model, awaited.pk)
            if there is None and self.work.holds.get(awaited.model, awaited.pk) is not None:
                error = self.work.holds.lacks(self.model, pk, awaited.model, awaited.pk)
                self.work.hold(self.model, pk, error, reason=NEEDS_HELD, half_done=True)
                continue
            if self.field.remote_field is None and there is not None:
                there = as_generic_id(self.field, awaited.model, there)
            key = self.work.counterparts.get(self.model, pk)
            values.append((*key_values(self.model, key), there))
        try:
            with transaction.atomic(using=self.work.remote.side.alias):
                self.writer.update(values)
        except REFUSALS as error:
            if self.work.remote.cannot_go_on(error):
                raise
            return error
        return None

    def refuse(self, pk: Any, error: Exception) -> None:
        alias = self.work.remote.side.alias
        cause = " ".join(str(error).split())
        refused = ReplayError(
            f"{alias!r} refused {self.field.name} of {self.model._meta.label} {pk}: "
            f"{type(error).__name__}: {cause}.",
            ADVICE,
        )
        self.work.hold(self.model, pk, refused, half_done=True)
