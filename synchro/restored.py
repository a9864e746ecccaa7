"""A database that was restored from a backup becomes a node of its own.

It has forgotten what it did after the backup was made, and may have given keys of rows that it
forgot to other rows. So it takes a new identity; and of what the other database knows of it, only
that is carried over which is about rows that are still the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from django.apps import apps
from django.db import transaction
from django.db.models import Max, Model, QuerySet

from synchro import log
from synchro.chunks import batched
from synchro.exceptions import NodeError
from synchro.graph import family, has_automatic_key, identity
from synchro.histories import earlier_identity, has_forgotten, token
from synchro.models import ADDITION, ChangeLog, Peer, Reference, new_token
from synchro.nodes import Side, own_node, peer, take_identity
from synchro.sql import insert_objects

_IDS_PER_QUERY: Final = 500

Progress = Callable[[str, int, int], None]


@dataclass(kw_only=True)
class Renewal:
    """What giving a restored database a new identity found, and did."""

    alias: str
    """The database that was restored."""
    uid: str
    """Its new identity."""
    agreed: int
    """Up to this batch both databases remember the same."""
    edits: int = 0
    """How many log rows came after that, and are pending now."""
    kept: Counter[str] = field(default_factory=Counter)
    """Model label -> references that were carried over."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Model label -> references that were given up."""
    examples: list[str] = field(default_factory=list)
    """Some of the rows whose references were given up."""


def renew(
    local: Side, remote: Side, *, since: datetime | None, progress: Progress
) -> list[Renewal]:
    """Give the database that was restored from a backup, LOCAL or REMOTE, a new identity, and
    carry over what the other one knows of it.

    ``since``: when the backup was made; it helps to recognize rows that were added shortly
    before. Raises NodeError if neither was restored. If it is interrupted it can be repeated.
    """
    found = []
    if remote.has_tables:
        for side, other in ((local, remote), (remote, local)):
            if has_forgotten(side, peer(other.alias, side.uid)):
                new = Side(alias=side.alias, uid=new_token(), has_tables=True)
                # First of all: while the other one knows the old identity only, no run starts.
                with transaction.atomic(using=side.alias):
                    number = own_node(side.alias).last_batch
                    take_identity(side.alias, new.uid, last_batch=number)
                side = new
            old = earlier_identity(side, other)
            if old is not None:
                found.append(_Carrier(side, old, other, since).carry(progress))
    if not found:
        raise NodeError(
            f"Neither {local.alias!r} nor {remote.alias!r} was restored from a backup, as far as "
            "the other one knows: there is nothing to do. Run: manage.py synchronize"
        )
    return found


class _Entry(NamedTuple):
    """A log row, as far as it is needed here."""

    id: int
    action: int
    made: datetime
    later: bool
    """Whether it is younger than what both databases remember."""


class _Carrier:
    """Carries over what ``other`` knows of a database from its old identity to the new one."""

    def __init__(self, side: Side, old: str, other: Side, since: datetime | None) -> None:
        self.side = side
        self.old = old
        self.other = other
        self.since = since
        self.known = peer(other.alias, old)
        self.mine = peer(side.alias, other.uid)
        number = self.known.received_batch
        self.whole = not has_forgotten(side, self.known)
        """Whether nothing was forgotten."""
        self.agreed = number if self.whole else min(number, self.mine.sent_batch)
        """Up to this batch both remember the same."""
        self._last_agreed = self._find_last_agreed()
        self.renewal = Renewal(alias=side.alias, uid=side.uid, agreed=self.agreed)

    def _find_last_agreed(self) -> int:
        """The last row in the other's log that the last remembered run wrote; 0 if none."""
        if self.mine.sent_at is None:
            return 0
        rows = ChangeLog.objects.using(self.other.alias).filter(date=self.mine.sent_at)
        return int(rows.exclude(origin="").aggregate(last=Max("pk"))["last"] or 0)

    def carry(self, progress: Progress) -> Renewal:
        alias = self.other.alias
        with transaction.atomic(using=alias):
            references = Reference.objects.using(alias).filter(node=self.old)
            labels = list(references.order_by("label").values_list("label", flat=True).distinct())
            for label in labels:
                self._carry_references(label, references.filter(label=label), progress)
            self._carry_log()
            self._carry_peer()
        pending = ChangeLog.objects.using(self.side.alias).exclude(origin=self.other.uid)
        pending = pending.filter(batch__gt=self.agreed)
        self.renewal.edits = pending.count()
        return self.renewal

    def _carry_peer(self) -> None:
        alias = self.other.alias
        Peer(
            node=self.side.uid,
            sent_batch=min(self.known.sent_batch, self.mine.received_batch),
            sent_at=self.known.sent_at,
            received_batch=self.agreed,
            received_token=token(self.side.alias, self.agreed) or "",
            received_at=self.known.received_at,
        ).save(using=alias)
        # It stays, to recognize the old identity if the same backup is restored once more; but
        # nobody waits for it any longer.
        self.known.sent_at = None
        self.known.save(using=alias)

    # -- references

    def _carry_references(
        self, label: str, references: QuerySet[Reference], progress: Progress
    ) -> None:
        alias = self.other.alias
        total = references.count()
        done = last = 0
        while True:
            rows = list(
                references.filter(pk__gt=last)
                .order_by("pk")
                .values_list("pk", "content_type", "local_object_id", "remote_object_id")[
                    :_IDS_PER_QUERY
                ]
            )
            if not rows:
                return
            last = rows[-1][0]
            pairs = {there: here for _, _, there, here in rows}
            kept = pairs if self.whole else self._still_the_same(label, pairs)
            # Those of the old identity stay, for the same reason as its peer.
            insert_objects(
                alias,
                Reference,
                ("node", "content_type", "label", "local_object_id", "remote_object_id"),
                [
                    (self.side.uid, content_type, label, there, here)
                    for _, content_type, there, here in rows
                    if there in kept
                ],
            )
            self.renewal.kept[label] += len(kept)
            for there, here in pairs.items():
                if there not in kept:
                    self.renewal.dropped[label] += 1
                    if len(self.renewal.examples) < 20:
                        self.renewal.examples.append(f"{label} {here}, there {there}")
            done += len(rows)
            progress(label, done, total)

    def _still_the_same(self, label: str, pairs: dict[str, str]) -> dict[str, str]:
        """Of references (key of the other -> key here) those whose row here is still the one that
        the other knows, as far as the two logs can show it."""
        labels = _family(label)
        here = self._log_here(labels, pairs.values())
        there = self._log_there(labels, pairs)
        return {
            other_pk: pk
            for other_pk, pk in pairs.items()
            if self._is_the_same(here.get(pk, []), there.get(other_pk, []))
        }

    def _is_the_same(self, here: list[_Entry], there: list[_Entry]) -> bool:
        times = {entry.made for entry in here}
        if any(entry.later and entry.made in times for entry in there):
            # Both logs have the very same change: it was sent after the backup was made.
            return True
        first = next((entry for entry in here if entry.later), None)
        if first is not None and first.action == ADDITION:
            return self.since is not None and first.made <= self.since
        later = [entry for entry in there if entry.later]
        if not later:
            return True
        if any(entry.action == ADDITION for entry in later):
            return False
        return len(later) < len(there) or any(not entry.later for entry in here)

    # -- logs

    def _log_here(
        self, labels: Iterable[str], object_ids: Iterable[str]
    ) -> dict[str, list[_Entry]]:
        """What the restored database remembers of objects, in order."""
        rows = (
            ChangeLog.objects.using(self.side.alias)
            .filter(label__in=labels, object_id__in=list(object_ids))
            .order_by("batch", "pk")
        )
        found: dict[str, list[_Entry]] = {}
        for row in rows:
            later = row.batch is None or row.batch > self.agreed
            found.setdefault(row.object_id, []).append(
                _Entry(row.pk, row.action, log.aware(row.made), later)
            )
        return found

    def _log_there(
        self, labels: Iterable[str], object_ids: Iterable[str]
    ) -> dict[str, list[_Entry]]:
        """What the other database has received about objects."""
        rows = ChangeLog.objects.using(self.other.alias).exclude(origin="")
        found: dict[str, list[_Entry]] = {}
        for row in rows.filter(label__in=labels, object_id__in=list(object_ids)):
            found.setdefault(row.object_id, []).append(
                _Entry(row.pk, row.action, log.aware(row.made), self._is_later(row))
            )
        return found

    def _is_later(self, row: ChangeLog) -> bool:
        sent_at = self.mine.sent_at
        if sent_at is None or row.date > sent_at:
            return True
        # By number as well, where that is known: a clock may have been put back.
        return bool(self._last_agreed) and row.pk > self._last_agreed

    def _carry_log(self) -> None:
        """What both remember was made by the new identity: it has seen that. What it forgot is a
        change of somebody else's to it."""
        rows = ChangeLog.objects.using(self.other.alias).filter(origin=self.old)
        if self.whole:
            rows.update(origin=self.side.uid)
            return
        for some in self._chunks(rows):
            same: list[int] = []
            by_label: dict[str, list[ChangeLog]] = {}
            for row in some:
                if self._is_later(row):
                    by_label.setdefault(row.label, []).append(row)
                else:
                    same.append(row.pk)
            for label, later in by_label.items():
                same += self._remembered(label, later)
            rows.filter(pk__in=same).update(origin=self.side.uid)

    def _remembered(self, label: str, rows: list[ChangeLog]) -> Iterator[int]:
        """Which of the younger rows in the other's log the restored database has as well."""
        keys = self._keys_here(label, {row.object_id for row in rows})
        here = self._log_here([label], keys.values())
        for row in rows:
            entries = here.get(keys.get(row.object_id, ""), [])
            if log.aware(row.made) in {entry.made for entry in entries}:
                yield row.pk

    def _keys_here(self, label: str, object_ids: set[str]) -> dict[str, str]:
        """Keys of the other -> keys here, as the references say, or equal explicit ones."""
        root = _root(label)
        references = Reference.objects.using(self.other.alias).filter(
            node=self.old, label=root._meta.label_lower if root else label
        )
        found = dict(
            references.filter(local_object_id__in=object_ids).values_list(
                "local_object_id", "remote_object_id"
            )
        )
        if root is not None and not has_automatic_key(root):
            found.update((key, key) for key in object_ids if key not in found)
        return found

    @staticmethod
    def _chunks(rows: QuerySet[ChangeLog]) -> Iterator[list[ChangeLog]]:
        ids = list(rows.order_by("pk").values_list("pk", flat=True))
        for chunk in batched(ids, _IDS_PER_QUERY):
            yield list(rows.filter(pk__in=chunk))


def _root(label: str) -> type[Model] | None:
    """The model whose references stand for the objects of a model; None if not installed."""
    try:
        model: type[Model] = apps.get_model(label)
        return identity(model)
    except (LookupError, ValueError):
        return None


def _family(label: str) -> list[str]:
    root = _root(label)
    return [label] if root is None else [other._meta.label_lower for other in family(root)]
