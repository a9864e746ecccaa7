"""A run, and its further attempts after errors that pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from django.db import DatabaseError

from synchro import history
from synchro.conf import conf
from synchro.exceptions import LockError, ReplayError, SynchroError
from synchro.fate import Fate, State
from synchro.hooks import pre_synchronize
from synchro.limits import Limits
from synchro.lock import only_run
from synchro.models import FAILED, SyncRun
from synchro.pairs import refuse_open_transactions, sides
from synchro.results import SyncResult
from synchro.retries import describe, persist
from synchro.run import Run
from synchro.sealing import Sealed, sealed
from synchro.tracking import Tracker
from synchro.transient import is_transient


def run_to(alias: str, limits: Limits, *, wait: float, user: str) -> tuple[SyncResult, Sealed]:
    """Bring the database behind an alias up to date; if that fails by an error that passes, try
    again SYNCHRO_RETRIES times. Raises SynchroError."""
    fate = Fate()
    try:
        return persist(
            lambda: _attempt(alias, limits, fate, wait, user),
            f"The run to {alias!r}",
            may_run_again=lambda: fate.may_run_again,
        )
    except Exception as error:
        failure = _failure(alias, error, fate)
        if failure is None:
            raise
        raise failure from error


def _attempt(
    alias: str, limits: Limits, fate: Fate, wait: float, user: str
) -> tuple[SyncResult, Sealed]:
    """One attempt of a run, from the first question to both databases on: the lock belongs to
    their connections."""
    fate.attempts += 1
    here, there = sides(alias)
    refuse_open_transactions(here.alias, there.alias)
    plan = limits.selection.plan
    only = None if plan is None else plan.basis.unnumbered
    with only_run(here, there, wait=wait):
        pre_synchronize.send(sender=None, local=here.alias, remote=there.alias)
        with sealed(here.alias, only) as batch:
            run = Run(here, there, batch, limits, fate)
            counts, skipped = fate.arrived(run.after)
            result = _noted(run, limits.tracker, user) if run.has_work() else run.go()
    if counts or skipped:
        # An earlier attempt did come through; it only got no answer.
        result = replace(
            result,
            changed=True,
            counts=dict(counts + Counter(result.counts)),
            skipped=[*skipped, *result.skipped],
        )
    if limits.tracker is not None:
        row = limits.tracker.job
        if isinstance(row, SyncRun) and row.outcome == FAILED:
            # An earlier attempt of the same run, to which nothing was left to be added.
            history.end(row, result)
    return result, batch


def _noted(run: Run, tracker: Tracker | None, user: str) -> SyncResult:
    """A run that has something to do, with a row in the history of runs."""
    row = tracker.job if tracker is not None else None
    noted = history.begin(
        run.local,
        run.remote,
        batch=run.sealed.number,
        user=user,
        noted=row if isinstance(row, SyncRun) else None,
    )
    if tracker is not None:
        tracker.follow(noted)
    try:
        result = run.go()
    except Exception as error:
        history.fail(noted, error)
        raise
    history.end(noted, result)
    return result


def _failure(alias: str, error: Exception, fate: Fate) -> SynchroError | None:
    """What to raise in place of an error of a database; None if it speaks for itself."""
    passes = is_transient(error) or (isinstance(error, LockError) and fate.attempts > 1)
    if not passes and not isinstance(error, DatabaseError):
        return None
    if isinstance(error, SynchroError) and fate.state is State.UNCHANGED:
        return None
    twice = (
        f"{alias!r} has no tables of synchro that could tell: the next run sends all of it again, "
        "and rows that have neither an explicit nor a natural key may be made twice."
    )
    ends = {
        State.UNCHANGED: "Nothing was changed there; the next run tries again.",
        State.UNKNOWN: "The connection was lost while it was told to commit, and whether it did "
        "is not known. "
        + ("The next run finds out, and does nothing twice." if fate.has_proof else twice),
        State.COMMITTED: f"{alias!r} has the changes, but {conf.local!r} could not note it. "
        + ("The next run makes up for that." if fate.has_proof else twice),
    }
    times = f" {fate.attempts} times, at last by" if fate.attempts > 1 else ""
    return ReplayError(
        f"The run to {alias!r} failed{times}: {describe(error)}. {ends[fate.state]}"
    )
