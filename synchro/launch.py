"""Runs, previews and adoptions that somebody starts in the admin."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Final, TypeVar

from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from synchro import background, history, log
from synchro.conf import conf
from synchro.core import adopt_copy, diff, synchronize
from synchro.entries import NO_CHANGE, Entry
from synchro.exceptions import LockError, PlanError
from synchro.flags import SyncFlags
from synchro.liveness import going_on
from synchro.models import ADOPT, ChangeLog, Job, Preview, PreviewEntry, SyncRun
from synchro.nodes import peer
from synchro.pairs import remote_alias, sides
from synchro.preview import Basis, Plan
from synchro.selection import Selection, basis_of
from synchro.tracking import Tracker

_WAIT: Final = 5.0
"""Seconds: a run that is about to end is waited for."""
_ROWS: Final = 500
_CHARACTERS: Final = 1_000_000
_KEPT: Final = timedelta(days=1)
NEWEST: Final = "newest_row"
"""In ``Preview.basis``: the id of the newest row of the log when the preview was made."""

JobType = TypeVar("JobType", bound=Job)
PlanMaker = Callable[[Tracker], Plan]


def start_run(
    user: str, *, make_plan: PlanMaker | None = None, full: bool = False, tolerant: bool = True
) -> SyncRun:
    """Begin a run to SYNCHRO_REMOTE. ``make_plan`` makes the plan that it is to apply.
    ``tolerant``: hold what cannot be applied, instead of giving the run up for it.

    Raises LockError if a run is going on already.
    """
    alias = _free_remote()
    flags = SyncFlags.CONTINUE_ON_FAILURE if tolerant else SyncFlags.NONE

    def work(tracker: Tracker) -> None:
        plan = make_plan(tracker) if make_plan is not None else None
        result = synchronize(
            alias, plan=plan, full=full, flags=flags, wait=_WAIT, user=user, tracker=tracker
        )
        if run.ended is None:
            # There was nothing to do, so that nobody has written anything down.
            history.end(run, result)

    run = SyncRun(remote=alias, user=user[:150])
    return _start(run, work)


def start_preview(user: str, *, full: bool = False) -> Preview:
    """Begin to make a preview of the next run to SYNCHRO_REMOTE."""
    alias = remote_alias(None)
    old = Preview.objects.using(conf.local).filter(user=user[:150])
    now = log.aware(timezone.now())
    outdated = [one.pk for one in old if log.aware(one.started) < now - _KEPT]
    _forget(outdated + [one.pk for one in old[2:]])

    def work(tracker: Tracker) -> None:
        newest = ChangeLog.objects.using(conf.local).aggregate(newest=Max("pk"))["newest"] or 0
        plan = diff(alias, full=full, flags=SyncFlags.CONTINUE_ON_FAILURE, tracker=tracker)
        rows = (
            PreviewEntry(
                preview_id=preview.pk,
                label=entry.model,
                action=entry.action,
                name=entry.name,
                entry=entry.as_json(),
            )
            for entry in plan
            if entry.action != NO_CHANGE
        )
        done = 0
        for chunk in _portions(rows):
            PreviewEntry.objects.using(conf.local).bulk_create(chunk)
            done += len(chunk)
            tracker.tell("complete", "", done, len(plan))
        preview.basis = {**asdict(plan.basis), NEWEST: newest}
        preview.save(using=conf.local, update_fields=["basis"])

    preview = Preview(remote=alias, user=user[:150], full=full)
    return _start(preview, work)


def _portions(rows: Iterable[PreviewEntry]) -> Iterator[list[PreviewEntry]]:
    """Rows to be inserted by one statement each: few, if they are long (a server takes statements
    of 16 MB, or fewer)."""
    found: list[PreviewEntry] = []
    size = 0
    for row in rows:
        found.append(row)
        size += len(row.entry) + len(row.name)
        if len(found) == _ROWS or size > _CHARACTERS:
            yield found
            found, size = [], 0
    if found:
        yield found


def _forget(previews: Iterable[int]) -> None:
    for pk in previews:
        rows = PreviewEntry.objects.using(conf.local).filter(preview=pk)
        rows._raw_delete(conf.local)  # no collecting of tens of thousands of objects
        Preview.objects.using(conf.local).filter(pk=pk).delete()


def start_adoption(user: str, *, since: datetime | None) -> SyncRun:
    """Begin to give LOCAL, a copy of SYNCHRO_REMOTE, an identity of its own."""
    alias = _free_remote()

    def work(tracker: Tracker) -> None:
        def progress(label: str, done: int, total: int) -> None:
            tracker.tell("sync", label, done, 0)

        found = adopt_copy(alias, since=since, progress=progress)
        matched, different = sum(found.matched.values()), sum(found.different.values())
        lines = [
            ngettext(
                "%d object stands for the one with the same key on the other side.",
                "%d objects stand for the ones with the same keys on the other side.",
                matched,
            )
            % matched,
            ngettext(
                "%d change made here since the export is pending.",
                "%d changes made here since the export are pending.",
                found.edits,
            )
            % found.edits,
        ]
        if different:
            lines.append(
                ngettext(
                    "%d object differs, though no log says why.",
                    "%d objects differ, though no log says why.",
                    different,
                )
                % different
            )
        run.report = {"message": _("The copy is adopted."), "warnings": lines}
        run.counts = {label: {"matched": number} for label, number in found.matched.items()}
        run.save(using=conf.local, update_fields=["report", "counts"])

    run = SyncRun(remote=alias, user=user[:150], kind=ADOPT)
    return _start(run, work)


def saved_plan(preview: Preview, *, chosen: bool) -> Plan:
    """The plan of a preview, or of the objects that are chosen in it. Raises PlanError if it is
    out of date."""
    check(preview)
    plan = Plan(Basis.from_json(preview.basis))
    rows = PreviewEntry.objects.using(conf.local).filter(preview=preview).order_by("pk")
    if chosen:
        rows = rows.filter(chosen=True)
    for text in rows.values_list("entry", flat=True).iterator(chunk_size=2000):
        plan.add(Entry.from_json(json.loads(text)))
    return plan


def check(preview: Preview) -> None:
    """Raise PlanError if a preview cannot be applied any more: there was a run since, the tables
    have changed, or one of the databases is another one now."""
    basis = Basis.from_json(preview.basis)
    here, there = sides(preview.remote, make=False)
    Selection(plan=Plan(basis)).check(basis_of(here, there))
    if there.has_tables:
        applied = peer(there.alias, here.uid).received_batch
    else:
        applied = peer(here.alias, there.uid).sent_batch
    if applied != basis.after:
        raise PlanError(
            _(
                "There has been a synchronization since this preview was made, so what it shows "
                "is out of date. Make a new preview."
            )
        )


def changed_since(preview: Preview) -> bool:
    """Whether anything was logged on LOCAL since a preview was made."""
    newest = preview.basis.get(NEWEST, 0)
    return ChangeLog.objects.using(conf.local).filter(pk__gt=newest).exists()


def _free_remote() -> str:
    alias = remote_alias(None)
    if going_on(alias) is not None:
        raise LockError(_("A synchronization is going on already."))
    return alias


def _start(job: JobType, work: background.Work) -> JobType:
    job.beat = job.started
    job.save(using=conf.local, force_insert=True)
    if conf.background and not conf.debug:
        background.start(job, work)
    else:
        background.do(job, work)
    return job
