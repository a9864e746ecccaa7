"""Removing log rows that have had their use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Exists, OuterRef, Q, QuerySet

from synchro import log
from synchro.conf import conf
from synchro.exceptions import NodeError
from synchro.models import DELETION, M2M_CHANGE, ChangeLog, HeldChange, Peer, SyncRun
from synchro.nodes import require_tables

_ROWS_PER_STATEMENT: Final = 500


@dataclass(frozen=True, kw_only=True)
class Purge:
    """What a purge removed, or would remove."""

    removed: int
    kept_pending: int
    """Old rows that a remote has not applied yet."""
    settled: int = 0
    """Changes that were not applied here, and were not tried again: losers of conflicts."""


def purge(older_than: datetime, *, dry_run: bool = False) -> Purge:
    """Remove log rows of LOCAL from before a time that every remote has applied.

    The newest row of each object stays, a tombstone too: times are compared with it. Works in
    chunks. Raises NodeError if LOCAL has a REMOTE that it never synchronized with: then every
    row is pending.
    """
    local = conf.local
    require_tables(local)
    old = ChangeLog.objects.using(local).filter(date__lt=log.stored(older_than))
    delivered = _delivered(local)
    applied = old if delivered is None else old.filter(batch__lte=delivered)
    removable = applied.filter(_has_newer(local))
    pending = 0 if delivered is None else old.exclude(batch__lte=delivered).count()
    runs = SyncRun.objects.using(local).filter(started__lt=log.stored(older_than))
    settled = HeldChange.objects.using(local).filter(
        waiting=False, tried__lt=log.stored(older_than)
    )
    if dry_run:
        return Purge(removed=removable.count(), kept_pending=pending, settled=settled.count())
    removed = 0
    for ids in _chunks(removable):
        removed += ChangeLog.objects.using(local).filter(pk__in=ids)._raw_delete(local)
    runs.delete()
    return Purge(removed=removed, kept_pending=pending, settled=settled.delete()[0])


def _delivered(local: str) -> int | None:
    """The batch up to which every remote has been brought; None if LOCAL only logs."""
    sent = list(
        Peer.objects.using(local)
        .filter(sent_at__isnull=False)
        .values_list("sent_batch", flat=True)
    )
    if sent:
        return min(sent)
    if conf.remote is None:
        return None
    raise NodeError(
        f"{local!r} was never synchronized with {conf.remote!r}: every log row is pending. "
        "Run: manage.py synchronize"
    )


def _has_newer(local: str) -> Q:
    """There is a later row about the same: the object's fields, or its links in one field.

    A deletion stays, unless there is a later one. A REMOTE that is restored from a backup must
    learn that the row was deleted and made again: its old links are to go.
    """
    later = ChangeLog.objects.using(local).filter(
        label=OuterRef("label"), object_id=OuterRef("object_id"), id__gt=OuterRef("id")
    )
    links = Q(action=M2M_CHANGE)
    deletion = Q(action=DELETION)
    return (
        (links & Q(Exists(later.filter(links, field=OuterRef("field")))))
        | (deletion & Q(Exists(later.filter(deletion))))
        | (~links & ~deletion & Q(Exists(later.exclude(links))))
    )


def _chunks(rows: QuerySet[ChangeLog]) -> Iterator[list[int]]:
    """Ids in portions, lowest first; each portion is looked up after the last was removed."""
    last = 0
    while True:
        ids = list(
            rows.filter(pk__gt=last)
            .order_by("pk")
            .values_list("pk", flat=True)[:_ROWS_PER_STATEMENT]
        )
        if not ids:
            return
        yield ids
        last = ids[-1]
