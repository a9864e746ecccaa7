"""What a pair of databases looks like before a run: what is pending, and what is held."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from django.db import DatabaseError
from django.db.models import Count, Min

from synchro import log
from synchro.checkpoint import NEVER
from synchro.conf import conf
from synchro.exceptions import NodeError
from synchro.held import changes_held
from synchro.models import EXCLUDED, ChangeLog, HeldChange, Peer, SyncRun, checkpoint_value
from synchro.nodes import peer, require_tables, side
from synchro.triggers.install import drift

_RUNS: Final = 5


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What waits for REMOTE, of one model."""

    label: str
    objects: int
    oldest: datetime
    """When the oldest of the log's entries was made."""


@dataclass(frozen=True, kw_only=True)
class HeldStatus:
    """A change that the last run could not apply."""

    label: str
    object_id: str
    field: str
    action: str
    """In words of the active language."""
    reason: str
    """In words of the active language."""
    detail: str
    attempts: int
    since: datetime
    tried: datetime


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """One of the last runs."""

    started: datetime
    seconds: float | None
    """None while it is going on, or if it died."""
    user: str
    outcome: str
    """``running``, ``done``, ``held``, ``failed`` or ``died``."""
    objects: int
    error: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """What ``manage.py synchro_status`` shows."""

    local: str
    remote: str
    error: str = ""
    """Why REMOTE could not be asked; empty if it could."""
    checkpoint: datetime | None = None
    """The checkpoint of ``SYNCHRO_REMOTE``; None before the first run, or for another REMOTE."""
    last_run: datetime | None = None
    """When a run to REMOTE ended the last time, by LOCAL's clock."""
    pending: list[Pending] = field(default_factory=list)
    """By model, the one with the oldest change first."""
    held: list[HeldStatus] = field(default_factory=list)
    """The oldest first."""
    excluded: int = 0
    """How many changes were left out on purpose, by flags, models or a plan."""
    runs: list[RunStatus] = field(default_factory=list)
    """The last runs to REMOTE, the newest first."""
    settled: int = 0
    """How many changes were not applied and are not tried again, such as losers of conflicts."""
    warnings: list[str] = field(default_factory=list)
    """What may keep changes of LOCAL from being logged."""

    @property
    def oldest(self) -> datetime | None:
        """When the oldest pending change was logged."""
        return min((one.oldest for one in self.pending), default=None)

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json``: times in ISO 8601."""
        oldest = self.oldest
        return {
            "local": self.local,
            "remote": self.remote,
            "error": self.error or None,
            "checkpoint": self.checkpoint and self.checkpoint.isoformat(),
            "last_run": self.last_run and self.last_run.isoformat(),
            "oldest_pending": oldest and oldest.isoformat(),
            "pending": [
                {"model": one.label, "objects": one.objects, "oldest": one.oldest.isoformat()}
                for one in self.pending
            ],
            "held": [
                {
                    "model": one.label,
                    "object_id": one.object_id,
                    "field": one.field or None,
                    "action": one.action,
                    "reason": one.reason,
                    "detail": one.detail,
                    "attempts": one.attempts,
                    "since": one.since.isoformat(),
                    "tried": one.tried.isoformat(),
                }
                for one in self.held
            ],
            "excluded": self.excluded,
            "settled": self.settled,
            "warnings": self.warnings,
            "runs": [
                {
                    "started": one.started.isoformat(),
                    "seconds": one.seconds,
                    "user": one.user,
                    "outcome": one.outcome,
                    "objects": one.objects,
                    "error": one.error or None,
                }
                for one in self.runs
            ],
        }


def read_status(remote: str) -> Status:
    """The state of LOCAL and the database behind the alias ``remote``. Writes nothing. Raises
    NodeError if LOCAL does not answer."""
    local = conf.local
    try:
        require_tables(local)
        wrong_triggers = drift(local)
    except DatabaseError as error:
        raise NodeError(f"The database {local!r} does not answer: {_line(error)}") from error
    checkpoint = checkpoint_value().read().date if remote == conf.remote else NEVER
    known = Status(
        local=local,
        remote=remote,
        checkpoint=None if checkpoint == NEVER else checkpoint,
        warnings=[wrong_triggers] if wrong_triggers else [],
    )
    try:
        there = side(remote, make=False)
        here = side(local, make=False)
        held = changes_held(here, there)
        waiting = [_held(row) for row in held.filter(waiting=True).exclude(reason=EXCLUDED)]
        excluded = held.filter(waiting=True, reason=EXCLUDED).count()
        settled = held.filter(waiting=False).count()
        applied = peer(remote, here.uid).received_batch if there.has_tables else None
    except DatabaseError as error:
        peers = list(Peer.objects.using(local)[:2])
        only = peers[0] if len(peers) == 1 else Peer()
        return replace(
            known,
            error=f"The database {remote!r} does not answer: {_line(error)}",
            last_run=_aware(only.sent_at),
            pending=_pending(local, only.sent_batch, only.node),
        )
    mine = peer(local, there.uid)
    return replace(
        known,
        last_run=_aware(mine.sent_at),
        pending=_pending(local, mine.sent_batch if applied is None else applied, there.uid),
        held=waiting,
        excluded=excluded,
        settled=settled,
        runs=_runs(local, there.uid),
    )


def _pending(local: str, sent_batch: int, uid: str) -> list[Pending]:
    """What was logged after a batch, and did not come from the node ``uid`` itself."""
    rows = (
        ChangeLog.objects.using(local)
        .filter(batch__gt=sent_batch)
        .exclude(origin=uid or "-")
        .values_list("label")
        .annotate(number=Count("object_id", distinct=True), oldest=Min("date"))
    )
    found = [
        Pending(label=label, objects=number, oldest=log.aware(oldest))
        for label, number, oldest in rows
    ]
    return sorted(found, key=lambda one: (one.oldest, one.label))


def _runs(local: str, uid: str) -> list[RunStatus]:
    rows = SyncRun.objects.using(local).filter(node=uid)[:_RUNS]
    return [
        RunStatus(
            started=log.aware(row.started),
            seconds=(row.ended - row.started).total_seconds() if row.ended else None,
            user=row.user,
            outcome=row.outcome,
            objects=row.objects_written,
            error=row.error,
        )
        for row in rows
    ]


def _held(row: HeldChange) -> HeldStatus:
    return HeldStatus(
        label=row.label,
        object_id=row.object_id,
        field=row.field,
        action=str(row.get_action_display()),
        reason=str(row.get_reason_display()),
        detail=row.detail,
        attempts=row.attempts,
        since=log.aware(row.since),
        tried=log.aware(row.tried),
    )


def _aware(date: datetime | None) -> datetime | None:
    return None if date is None else log.aware(date)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
