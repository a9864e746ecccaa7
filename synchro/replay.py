"""Applies a plan to REMOTE, within one transaction that the caller holds.

Rows that are made anew let go of their old links; then parents before children, links,
deletions in reverse. Values are read from LOCAL chunk by chunk as they are needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from django.db.models import Field

from synchro.chunks import batched
from synchro.conf import conf
from synchro.counterparts import Counterparts
from synchro.deletions import Deleter, detach
from synchro.journal import Journal
from synchro.links import replay_links
from synchro.plan import Plan
from synchro.remotes.base import Source
from synchro.remotes.database import DatabaseEnd
from synchro.sql import TableWriter, key_values
from synchro.translate import Awaited, as_generic_id
from synchro.writing import ModelWriter, Work

Progress = Callable[[str, int, int], None]
"""Called with a model's label, how many of its objects are done, and how many there are."""


def replay(
    plan: Plan,
    source: Source,
    remote: DatabaseEnd,
    counterparts: Counterparts,
    journal: Journal,
    progress: Progress,
) -> Counter[tuple[str, str]]:
    """Write the plan to REMOTE. Returns (model label, action) -> objects.

    Raises ReplayError naming the object that was refused.
    """
    work = Work(
        source=source,
        remote=remote,
        counterparts=counterparts,
        journal=journal,
        writes=plan.writes,
    )
    for model, changes in plan.writes.items():
        known = counterparts.known(model)
        again = [known.get(change.pk) for change in changes.values() if change.recreated]
        detach(remote, model, [key for key in again if key is not None], counterparts)
    for model, changes in plan.writes.items():
        doomed = set(plan.deletions.get(model, ()))
        _write(ModelWriter(work, model, changes, doomed), len(changes), progress)
    _fill_in(work)
    for (model, name), links in plan.links.items():
        changed = replay_links(source, remote, counterparts, journal, model, name, links)
        work.count(model, "link", changed)
    deleter = Deleter(source, remote, counterparts, journal, plan)
    for model in plan.deletions:
        work.count(model, "delete", deleter.delete(model))
    for model, number in deleter.taken_along.items():
        work.count(model, "delete", number)
    return work.counts


def _write(writer: ModelWriter, total: int, progress: Progress) -> None:
    """Write the rows of one model, those that others wait for first."""
    done = 0
    levels = writer.levels()
    force = False
    while levels:
        postponed: list[Any] = []
        for level in levels:
            for chunk in batched(level, conf.batch_size):
                late = writer.write(chunk, force=force)
                postponed += late
                done += len(chunk) - len(late)
                progress(writer.model._meta.label_lower, done, total)
        # Rows that wait for each other cannot all wait: the next round takes them as they are.
        force = len(postponed) == sum(map(len, levels))
        levels = [postponed] if postponed else []
    writer.close()


def _fill_in(work: Work) -> None:
    """The second pass: columns whose targets were not there in the first one."""
    for (model, field), rows in work.fix_ups.items():
        writer = TableWriter(work.remote.connection, model, [*model._meta.pk_fields, field])
        writer.prepare_update()
        for chunk in batched(rows.items(), conf.batch_size):
            writer.update(
                [
                    (
                        *key_values(model, work.counterparts.get(model, pk)),
                        _awaited(work, field, awaited),
                    )
                    for pk, awaited in chunk
                ]
            )
        writer.close()


def _awaited(work: Work, field: Field[Any, Any], awaited: Awaited) -> Any:
    remote_pk = work.counterparts.get(awaited.model, awaited.pk)
    if field.remote_field is not None:
        return remote_pk
    return as_generic_id(field, awaited.model, remote_pk)
