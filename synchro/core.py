"""The service that commands, views and projects call: synchronize, reset."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, transaction
from django.utils import timezone

from synchro import log
from synchro.adopt import Adoption, adopt
from synchro.conf import conf
from synchro.exceptions import NodeError, SynchroError
from synchro.keys import NaturalKeyModel, NaturalManager
from synchro.lock import are_one, only_run
from synchro.models import Peer, Reference, checkpoint_value
from synchro.nodes import Side, own_node, require_file, require_tables, side
from synchro.replay import Progress
from synchro.restored import Renewal, renew
from synchro.run import Run, SyncResult
from synchro.suspend import DisableSynchroLog, disable_synchro_log

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


def _no_progress(label: str, done: int, total: int) -> None:
    pass


def synchronize(
    remote: str | None = None, *, wait: float = 0.0, progress: Progress = _no_progress
) -> SyncResult:
    """Replay what changed on LOCAL since the last run to ``remote`` (``SYNCHRO_REMOTE``).

    All of it is applied in one transaction, or none. ``wait`` says for how many seconds to wait
    for another run between the two databases.

    Raises ImproperlyConfigured if a setting is wrong, LockError if another run is going on, and
    another SynchroError if a change cannot be applied: REMOTE and the checkpoint are then as they
    were, and the message names the object and the way out.
    """
    alias = remote_alias(remote)
    started = time.monotonic()
    conf.models  # noqa: B018 - raises if the setting is wrong
    here, there = sides(alias)
    refuse_open_transactions(here.alias, there.alias)
    with only_run(here, there, wait=wait):
        sealed = log.seal(here.alias)
        result = Run(here, there, sealed, progress).go()
    result = replace(result, seconds=time.monotonic() - started)
    logger.info(
        "%s -> %s: batch %d, %d objects, %d skipped, %.2f s",
        here.alias,
        there.alias,
        sealed.number,
        result.total,
        len(result.skipped),
        result.seconds,
    )
    return result


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
            raise NodeError(f"The database {alias!r} does not answer: {cause}") from error
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
    progress: Progress = _no_progress,
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
    progress: Progress = _no_progress,
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
        Peer.objects.using(local).update(sent_batch=number)
        if references:
            Reference.objects.using(local).all().delete()
        checkpoint_value().write(timezone.now(), assigned=False)
