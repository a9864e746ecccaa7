"""The runs of a database, as it remembers them."""

from __future__ import annotations

import logging

from django.db import DatabaseError
from django.utils import timezone

from synchro.models import DIED, DONE, FAILED, HELD, RUNNING, SyncRun
from synchro.nodes import Side
from synchro.results import SyncResult

logger = logging.getLogger("synchro")


def begin(local: Side, remote: Side, *, batch: int, user: str) -> SyncRun:
    """Write down that a run has begun. The caller holds the lock of the pair, so whatever else is
    going on by the table has died."""
    runs = SyncRun.objects.using(local.alias)
    runs.filter(node=remote.uid, outcome=RUNNING).update(outcome=DIED, ended=timezone.now())
    run = SyncRun(node=remote.uid, remote=remote.alias, user=user[:150], batch=batch)
    run.save(using=local.alias, force_insert=True)
    return run


def end(run: SyncRun, result: SyncResult) -> None:
    """Write down what a run did."""
    run.outcome = HELD if result.held else DONE
    run.objects_written = result.total
    run.counts = result.summary()["models"]
    run.held = len(result.held)
    run.skipped = len(result.skipped)
    _save(run)


def fail(run: SyncRun, error: Exception) -> None:
    """Write down why a run failed."""
    run.outcome = FAILED
    run.error = f"{type(error).__name__}: {' '.join(str(error).split())}"
    _save(run)


def _save(run: SyncRun) -> None:
    run.ended = timezone.now()
    try:
        run.save()
    except DatabaseError as error:
        # The run itself is over; the next one notes that this one did not come to an end.
        logger.warning("The end of a run could not be written down: %s", error)
