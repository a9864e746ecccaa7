"""The service that commands, views and projects call: synchronize, reset."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, transaction
from django.utils import timezone

from synchro import log
from synchro.adopt import Adoption, adopt
from synchro.conf import conf
from synchro.exceptions import LockError, NodeError, ReplayError, SynchroError
from synchro.fate import Fate, State
from synchro.keys import NaturalKeyModel, NaturalManager
from synchro.lock import are_one, only_run
from synchro.models import Peer, Reference, checkpoint_value
from synchro.nodes import Side, own_node, require_file, require_tables, side
from synchro.replay import Progress
from synchro.restored import Renewal, renew
from synchro.retries import describe, persist
from synchro.run import Run, SyncResult
from synchro.suspend import DisableSynchroLog, disable_synchro_log
from synchro.transient import is_transient

__all__ = [
    "DisableSynchroLog",
    "NaturalKeyModel",
    "NaturalManager",
    "SyncResult",
    "adopt_copy",
    "adopt_restored",
    "call_synchronize",
    "disable_synchro_log",
    "reset_synchro",
    "synchronize",
]

logger = logging.getLogger("synchro")


def no_progress(label: str, done: int, total: int) -> None:
    """For callers who do not want to be told."""


def synchronize(
    remote: str | None = None,
    *,
    wait: float = 0.0,
    continue_on_failure: bool = False,
    progress: Progress = no_progress,
) -> SyncResult:
    """Replay what changed on LOCAL since the last run to ``remote`` (``SYNCHRO_REMOTE``).

    All of it is applied in one transaction, or none. With ``continue_on_failure`` all that can be
    applied is, and the rest is held: it is in the result, and every later run tries it again.
    ``wait`` says for how many seconds to wait for another run between the two databases.
    A run that fails by an error that passes (a deadlock, a lost connection) is tried again,
    SYNCHRO_RETRIES times.

    Raises ImproperlyConfigured if a setting is wrong, LockError if another run is going on, and
    another SynchroError if a change cannot be applied: REMOTE and the checkpoint are then as they
    were, and the message names the object and the way out.
    """
    alias = remote_alias(remote)
    started = time.monotonic()
    _ = conf.models, conf.retries  # raises if a setting is wrong
    fate = Fate()
    try:
        result, sealed = persist(
            lambda: _attempt(alias, wait, progress, fate, continue_on_failure),
            f"The run to {alias!r}",
            may_run_again=lambda: fate.may_run_again,
        )
    except Exception as error:
        failure = _failure(alias, error, fate)
        if failure is None:
            raise
        raise failure from error
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
    return result


def _attempt(
    alias: str, wait: float, progress: Progress, fate: Fate, continue_on_failure: bool
) -> tuple[SyncResult, log.Sealed]:
    """One attempt of a run, from the first question to both databases on: the lock belongs to
    their connections."""
    fate.attempts += 1
    here, there = sides(alias)
    refuse_open_transactions(here.alias, there.alias)
    with only_run(here, there, wait=wait):
        sealed = log.seal(here.alias)
        run = Run(here, there, sealed, progress, fate, continue_on_failure=continue_on_failure)
        counts, skipped = fate.arrived(run.after)
        result = run.go()
    if counts or skipped:
        # An earlier attempt did come through; it only got no answer.
        result = replace(
            result,
            changed=True,
            counts=dict(counts + Counter(result.counts)),
            skipped=[*skipped, *result.skipped],
        )
    return result, sealed


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


def remote_alias(remote: str | None) -> str:
    """The alias of REMOTE, if it is one. Raises SynchroError or ImproperlyConfigured."""
    alias = conf.remote if remote is None else remote
    if alias is None:
        raise SynchroError(
            "No REMOTE database is set: set SYNCHRO_REMOTE to an alias of DATABASES, or name one."
        )
    if alias not in connections.settings:
        raise ImproperlyConfigured(
            f"There is no database {alias!r} in DATABASES "
            f"(it has {', '.join(sorted(connections.settings))})."
        )
    if alias == conf.local:
        raise SynchroError(f"{alias!r} is LOCAL itself: name another database as REMOTE.")
    return alias


def refuse_open_transactions(*aliases: str) -> None:
    """Raise SynchroError if the caller has a transaction open on one of the databases. The run
    counts on its own commits: what the caller rolled back would be taken for done. (The
    transaction of django.test.TestCase is let through, as by ``atomic(durable=True)``.)"""
    for alias in aliases:
        connection = connections[alias]
        blocks = connection.atomic_blocks
        if not all(getattr(block, "_from_testcase", False) for block in blocks) or not (
            blocks or connection.get_autocommit()
        ):
            raise SynchroError(
                f"A run cannot start inside a transaction on {alias!r}: its own commits would "
                "not count. Call it outside atomic(); in a view, use "
                f"@transaction.non_atomic_requests(using={alias!r})."
            )


def sides(remote: str) -> tuple[Side, Side]:
    """LOCAL and REMOTE. Raises NodeError if one does not answer, or LOCAL has no tables."""
    found = []
    for alias in (conf.local, remote):
        try:
            require_file(alias)
            if alias == conf.local:
                require_tables(alias)
            found.append(side(alias))
        except DatabaseError as error:
            cause = " ".join(str(error).split())
            raise NodeError(
                f"The database {alias!r} does not answer: {cause}. Nothing was changed; "
                "the next run tries again."
            ) from error
    here, there = found
    if here.uid == there.uid and are_one(here, there):
        raise SynchroError(
            f"{here.alias!r} and {there.alias!r} lead to one and the same database: name another "
            "one as REMOTE."
        )
    return here, there


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
    with only_run(here, there):
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
    with only_run(here, there):
        return renew(here, there, since=since, progress=progress)


def call_synchronize(**kwargs: Any) -> str:
    """Like ``synchronize``, and returns the message."""
    return synchronize(**kwargs).message


def reset_synchro(references: bool = False) -> None:
    """Forget what was logged on LOCAL and move the checkpoint to now: none of it will ever be
    replayed. References are kept unless ``references`` is true."""
    local = conf.local
    require_tables(local)
    with transaction.atomic(using=local):
        log.forget(local)
        number = own_node(local).last_batch
        Peer.objects.using(local).update(sent_batch=number, reset_batch=number)
        if references:
            Reference.objects.using(local).all().delete()
        checkpoint_value().write(timezone.now(), assigned=False)
