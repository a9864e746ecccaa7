"""Whether a job that began is still going on, or its process has died."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.db import Error
from django.utils import timezone
from django.utils.connection import ConnectionDoesNotExist

from synchro import log
from synchro.conf import conf
from synchro.exceptions import NodeError
from synchro.history import SILENCE
from synchro.lock import is_taken
from synchro.models import DIED, OUTCOMES, RUNNING, Job, SyncRun
from synchro.nodes import Side, own_node

_FRESH: Final = timedelta(seconds=10)
"""A sign of life of that age needs no second look."""


def is_going_on(job: Job) -> bool:
    """Whether somebody works on a job. A run holds the lock of its pair of databases, whatever the
    clocks say; a job that holds none must have given a sign of life lately."""
    if job.outcome != RUNNING:
        return False
    age = abs(log.aware(timezone.now()) - log.aware(job.beat or job.started))
    if age < _FRESH:
        return True
    if isinstance(job, SyncRun) and job.node:
        try:
            here = Side(alias=conf.local, uid=own_node(conf.local).uid, has_tables=True)
            there = Side(alias=job.remote, uid=job.node, has_tables=True)
            return is_taken(here, there)
        except (NodeError, Error, ConnectionDoesNotExist):
            pass  # nobody can tell, so that its own signs of life have to
    return age < SILENCE


def outcome(job: Job) -> str:
    """The outcome, which is ``died`` of a job that nobody works on any more."""
    return DIED if job.outcome == RUNNING and not is_going_on(job) else job.outcome


def outcome_in_words(job: Job) -> str:
    """The same in words of the active language."""
    return str(dict(OUTCOMES)[outcome(job)])


def going_on(remote: str) -> SyncRun | None:
    """The run to the database behind an alias that is going on now."""
    runs = SyncRun.objects.using(conf.local).filter(outcome=RUNNING, remote=remote)
    return next((run for run in runs.defer("written", "report")[:20] if is_going_on(run)), None)
