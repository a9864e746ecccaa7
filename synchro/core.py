"""The service that commands, views and projects call: synchronize, diff, reset, adopt."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from django.db import DatabaseError, transaction
from django.db.models import Model
from django.utils import timezone

from synchro import hooks, log
from synchro.adopt import Adoption, adopt
from synchro.attempts import run_to
from synchro.conf import conf
from synchro.dryrun import DryRun
from synchro.exceptions import NodeError
from synchro.flags import ModelFlags, SyncFlags
from synchro.held import discard
from synchro.keys import NaturalKeyModel, NaturalManager
from synchro.limits import Callback, Limits
from synchro.lock import only_run
from synchro.models import Peer, Reference, checkpoint_value
from synchro.nodes import own_node, require_tables
from synchro.pairs import refuse_open_transactions, remote_alias, sides
from synchro.preview import Plan
from synchro.restored import Renewal, renew
from synchro.results import SyncResult
from synchro.sealing import newest_batch, unnumbered
from synchro.selection import Selection, basis_of
from synchro.suspend import DisableSynchroLog, disable_synchro_log
from synchro.tracking import Tracker
from synchro.work import Progress

__all__ = [
    "DisableSynchroLog",
    "ModelFlags",
    "NaturalKeyModel",
    "NaturalManager",
    "Plan",
    "SyncFlags",
    "SyncResult",
    "adopt_copy",
    "adopt_restored",
    "call_synchronize",
    "diff",
    "discard_held",
    "disable_synchro_log",
    "reset_synchro",
    "synchronize",
]

logger = logging.getLogger("synchro")

_MOMENT: Final = 5.0
"""Seconds to wait for a run that is about to end."""


def no_progress(label: str, done: int, total: int) -> None:
    """For callers who do not want to be told."""


def synchronize(
    remote: str | None = None,
    *,
    plan: Plan | None = None,
    dry_run: bool = False,
    full: bool = False,
    models: Iterable[str | type[Model]] | None = None,
    flags: SyncFlags = SyncFlags.NONE,
    callback: Callback | None = None,
    wait: float = 0.0,
    user: str = "",
    tracker: Tracker | None = None,
) -> SyncResult:
    """Replay what changed on LOCAL since the last run to ``remote`` (``SYNCHRO_REMOTE``).

    All of it is applied in one transaction, or none.

    ``plan``: apply what this plan has, as ``diff`` made it, and nothing else; objects that have
    changed since are held. ``dry_run``: only make a plan, which is in the result. ``full``:
    compare the databases row by row, instead of relying on the log. ``models``: only these, as
    labels or classes. ``flags``: see SyncFlags. What is left out by a plan, models or flags stays
    pending. ``callback`` is called with the stage (``plan``, ``sync``, ``complete``), the number
    of objects that are done and their total. ``wait`` says for how many seconds to wait for
    another run between the two databases. ``user``: who is named in the history of runs.
    ``tracker``: writes into the history how far the run is, as the command and the admin do.

    A run that fails by an error that passes (a deadlock, a lost connection) is tried again,
    SYNCHRO_RETRIES times. Raises ImproperlyConfigured if a setting is wrong, LockError if another
    run is going on, PlanError if the plan does not fit, and another SynchroError if a change
    cannot be applied: REMOTE and the checkpoint are then as they were, and the message names the
    object and the way out.
    """
    started = time.monotonic()
    alias = remote_alias(remote if remote is not None or plan is None else plan.basis.remote_alias)
    _ = conf.models, conf.flags, conf.retries  # raises if a setting is wrong
    limits = Limits(
        selection=Selection(flags=flags, models=models, plan=plan),
        full=full or (plan is not None and plan.basis.full),
        continue_on_failure=SyncFlags.CONTINUE_ON_FAILURE in flags,
        callback=callback or no_progress,
        tracker=tracker,
    )
    if dry_run:
        return _preview(alias, limits, started)
    if plan is not None:
        here, there = sides(alias)
        limits.selection.check(basis_of(here, there))
    result, sealed = run_to(alias, limits, wait=wait, user=user)
    result = replace(result, seconds=time.monotonic() - started)
    logger.info(
        "%s -> %s: batch %d, %d objects, %d skipped, %d held, %.2f s",
        conf.local,
        alias,
        sealed.number,
        result.total,
        len(result.skipped),
        len(result.held),
        result.seconds,
    )
    for label, text in result.by_model().items():
        logger.debug("%s: %s", label, text)
    hooks.tell(result, local=conf.local, remote=alias)
    return result


def diff(
    remote: str | None = None,
    *,
    models: Iterable[str | type[Model]] | None = None,
    flags: SyncFlags = SyncFlags.NONE,
    full: bool = False,
    callback: Callback | None = None,
    tracker: Tracker | None = None,
) -> Plan:
    """What ``synchronize`` with the same arguments would do now, as data. Writes nothing, on
    either side.

    ``full``: not by the log, but by comparing the databases row by row. Raises as
    ``synchronize`` does.
    """
    result = synchronize(
        remote,
        dry_run=True,
        models=models,
        flags=flags,
        full=full,
        callback=callback,
        tracker=tracker,
    )
    assert result.plan is not None
    return result.plan


def _preview(alias: str, limits: Limits, started: float) -> SyncResult:
    here, there = sides(alias, make=False)
    refuse_open_transactions(here.alias, there.alias)
    basis = basis_of(here, there)
    limits.selection.check(basis)
    plan = DryRun(here, there, newest_batch(here.alias), limits).preview(
        unnumbered(here.alias), basis
    )
    actions = ("create", "update", "delete")
    counts = {
        (model, action): number
        for model, numbers in plan.summary()["models"].items()
        for action, number in numbers.items()
        if action in actions
    }
    return SyncResult(
        changed=plan.has_diffs(),
        counts=counts,
        plan=plan,
        seconds=time.monotonic() - started,
    )


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """An error of a database as one of synchro's."""
    try:
        yield
    except DatabaseError as error:
        cause = " ".join(str(error).split())
        raise NodeError(
            f"{what} failed: {type(error).__name__}: {cause}.", "It can be repeated."
        ) from error


def adopt_copy(
    remote: str | None = None,
    *,
    since: datetime | None = None,
    progress: Progress = no_progress,
) -> Adoption:
    """Give LOCAL, which was imported from an export of ``remote``, an identity of its own.

    Rows that were there at the export are matched by equal primary key; LOCAL's edits since then
    become pending. ``since``: when the export was made, where the logs cannot tell. Raises
    NodeError if LOCAL is not a copy.
    """
    here, there = sides(remote_alias(remote))
    refuse_open_transactions(here.alias, there.alias)
    with _explained("Adopting"), only_run(here, there):
        return adopt(here, there, since=since, progress=progress)


def adopt_restored(
    remote: str | None = None,
    *,
    since: datetime | None = None,
    progress: Progress = no_progress,
) -> list[Renewal]:
    """Give LOCAL or ``remote``, whichever was restored from a backup, a new identity, so that the
    two can synchronize again.

    ``since``: when the backup was made, if that is known. Returns what was done, for one of them
    or, if it was both, for each. Raises NodeError if neither was restored.
    """
    here, there = sides(remote_alias(remote))
    refuse_open_transactions(here.alias, there.alias)
    with _explained("Adopting"), only_run(here, there):
        return renew(here, there, since=since, progress=progress)


def discard_held(remote: str | None = None, *, ids: Iterable[int]) -> int:
    """Forget held changes, given by the primary keys of ``HeldChange``: no run tries them again,
    and ``remote`` keeps what it has. A later change of the same object is sent as ever. Returns
    how many there were. Raises LockError if a run is going on."""
    here, there = sides(remote_alias(remote))
    refuse_open_transactions(here.alias, there.alias)
    with _explained("Discarding"), only_run(here, there, wait=_MOMENT):
        number = discard(here, there, ids)
    logger.info("%s -> %s: %d held changes discarded", here.alias, there.alias, number)
    return number


def call_synchronize(**kwargs: Any) -> str:
    """Like ``synchronize``, and returns the message."""
    return synchronize(**kwargs).message


def reset_synchro(references: bool = False) -> None:
    """Forget what was logged on LOCAL and move the checkpoint to now: none of it will ever be
    replayed. References are kept unless ``references`` is true."""
    local = conf.local
    require_tables(local)
    with _explained("The reset"), transaction.atomic(using=local):
        log.forget(local)
        number = own_node(local).last_batch
        Peer.objects.using(local).update(sent_batch=number, reset_batch=number)
        if references:
            Reference.objects.using(local).all().delete()
        checkpoint_value().write(timezone.now(), assigned=False)
