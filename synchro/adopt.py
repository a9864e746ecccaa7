"""A copy of a database becomes a node of its own.

LOCAL was exported from REMOTE and imported here, synchro's tables included. So the log that came
along holds REMOTE's changes, not LOCAL's; rows that were there at the export stand for each other
where their primary keys are equal; and rows that were added on either side since then do not,
even if their keys are equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.apps import apps
from django.db import transaction
from django.db.models import Model, QuerySet

from synchro import log
from synchro.chunks import batched
from synchro.conf import conf
from synchro.exceptions import NodeError
from synchro.graph import columns, family, has_automatic_key, identity, key_attribute
from synchro.keys import load_object_id, object_id
from synchro.models import (
    ADDITION,
    M2M_CHANGE,
    Batch,
    ChangeLog,
    HeldChange,
    Peer,
    Reference,
    checkpoint_value,
    new_token,
)
from synchro.nodes import Side, own_node, take_identity
from synchro.references import References
from synchro.remotes.database import DatabaseEnd, DatabaseSource

_ROWS: Final = 2000

Progress = Callable[[str, int, int], None]


@dataclass(kw_only=True)
class Adoption:
    """What adopting a copy found, and did."""

    uid: str
    """The new identity of LOCAL."""
    boundary: int
    """The id of the last log row that came with the copy; 0 if none did."""
    edits: int
    """How many log rows are LOCAL's own: they are pending now."""
    matched: Counter[str] = field(default_factory=Counter)
    """Model label -> rows that stand for each other."""
    different: Counter[str] = field(default_factory=Counter)
    """Model label -> matched rows that are not equal, though neither log says why."""
    examples: list[str] = field(default_factory=list)
    """Some of the rows that are not equal."""


def is_copy(local: Side, remote: Side) -> bool:
    """Whether the two databases are copies of one."""
    return local.has_tables and remote.has_tables and bool(local.uid) and local.uid == remote.uid


def countable(local: Side) -> list[tuple[str, int]]:
    """The models whose rows adopting matches, by label, with how many LOCAL has."""
    numbers = (
        (model._meta.label_lower, model._base_manager.using(local.alias).count())
        for model in _models()
    )
    return [(label, number) for label, number in numbers if number]


def adopt(local: Side, remote: Side, *, since: datetime | None, progress: Progress) -> Adoption:
    """Give LOCAL, a copy of REMOTE, an identity of its own, and match the rows of both.

    ``since`` says when the copy was made; without it the boundary is the last log row that is
    identical on both sides. Raises NodeError if LOCAL is no copy of REMOTE.
    """
    if not is_copy(local, remote):
        raise NodeError(
            f"{local.alias!r} is not a copy of {remote.alias!r}: each has its own identity "
            "already, so there is nothing to adopt. Run: manage.py synchronize"
        )
    boundary = _boundary(local, remote, since)
    new = Side(alias=local.alias, uid=new_token(), has_tables=True)
    mine = _log_since(local.alias, boundary, since)
    adoption = Adoption(uid=new.uid, boundary=boundary, edits=mine.count())
    matcher = _Matcher(new, remote, boundary, since, adoption)
    batch = Batch(number=own_node(local.alias).last_batch + 1)
    with transaction.atomic(using=remote.alias):
        Peer(node=new.uid, received_batch=batch.number, received_token=batch.token).save(
            using=remote.alias
        )
        for model in _models():
            matcher.match(model, progress)
    with transaction.atomic(using=local.alias):
        _take_identity(new, remote, boundary, since, batch)
    return adoption


def _models() -> list[type[Model]]:
    """The models whose rows are matched: all that may be replayed, watched or not."""
    found = {
        identity(model)
        for model in apps.get_models()
        if not model._meta.proxy and model._meta.app_label != "synchro"
    }
    wanted = {identity(model) for model in conf.models}
    wanted |= {model for model in found if any(_leads_to(start, model) for start in wanted)}
    return sorted(wanted, key=lambda model: model._meta.label_lower)


def _leads_to(start: type[Model], end: type[Model]) -> bool:
    """Whether foreign keys or links lead from one model to another: then its rows may be
    needed on REMOTE although nobody watches them."""
    seen: set[type[Model]] = set()
    todo = [start]
    while todo:
        model = todo.pop()
        if model is end:
            return True
        if model in seen:
            continue
        seen.add(model)
        fields = [*model._meta.concrete_fields, *model._meta.many_to_many]
        todo += [identity(f.related_model) for f in fields if f.remote_field is not None]
    return False


def _boundary(local: Side, remote: Side, since: datetime | None) -> int:
    """The id of the last log row that is identical on both sides."""
    if since is not None:
        return 0
    names = ("id", "label", "object_id", "action", "date")
    ours = ChangeLog.objects.using(local.alias).order_by("-id").values_list(*names)
    for chunk in batched(ours.iterator(chunk_size=_ROWS), 500):
        ids = [row[0] for row in chunk]
        theirs = set(ChangeLog.objects.using(remote.alias).filter(id__in=ids).values_list(*names))
        for row in chunk:
            if row in theirs:
                return int(row[0])
    return 0


def _log_since(alias: str, boundary: int, since: datetime | None) -> QuerySet[ChangeLog]:
    """The log rows that were written after the export."""
    rows = ChangeLog.objects.using(alias)
    return (
        rows.filter(id__gt=boundary) if since is None else rows.filter(date__gt=log.stored(since))
    )


def _take_identity(
    new: Side, remote: Side, boundary: int, since: datetime | None, batch: Batch
) -> None:
    """Retire the identity that came with the copy, and mark the log that came with it as
    REMOTE's."""
    alias = new.alias
    number = batch.number
    old = take_identity(alias, new.uid, last_batch=number)
    came = ChangeLog.objects.using(alias)
    came = (
        came.filter(id__lte=boundary)
        if since is None
        else came.filter(date__lte=log.stored(since))
    )
    came.filter(origin="").update(origin=remote.uid)
    came.filter(batch__isnull=True).update(batch=number)
    _log_since(alias, boundary, since).update(batch=None)
    # Whom REMOTE knows, and how far it has brought them, says nothing about the copy.
    Peer.objects.using(alias).all().delete()
    HeldChange.objects.using(alias).all().delete()
    Reference.objects.using(alias).filter(node="").delete()
    checkpoint_value().write(checkpoint_value().read().date, assigned=False)
    came_with = Batch.objects.using(alias).filter(number=old.last_batch)
    Peer(
        node=remote.uid,
        sent_batch=number,
        received_batch=old.last_batch,
        received_token=came_with.values_list("token", flat=True).first() or "",
    ).save(using=alias)
    batch.save(using=alias, force_insert=True)


class _Matcher:
    """Matches rows by equal primary key, and compares them as it goes."""

    def __init__(
        self,
        local: Side,
        remote: Side,
        boundary: int,
        since: datetime | None,
        adoption: Adoption,
    ) -> None:
        self.source = DatabaseSource(local)
        self.remote = DatabaseEnd(remote)
        self.references = References(local, remote)
        self.boundary = boundary
        self.since = since
        self.adoption = adoption

    def match(self, model: type[Model], progress: Progress) -> None:
        label = model._meta.label_lower
        here = self._changed(self.source.side.alias, model)
        there = self._changed(self.remote.side.alias, model)
        added = {pk for changed in (here, there) for pk, is_new in changed.items() if is_new}
        done = 0
        for chunk in batched(self._keys(model, here), _ROWS):
            pks = [pk for pk in chunk if pk not in added]
            self._compare(model, [pk for pk in pks if pk not in here and pk not in there])
            if has_automatic_key(model):
                self.references.save(model, {pk: pk for pk in pks})
            self.adoption.matched[label] += len(pks)
            done += len(chunk)
            progress(label, done, done)

    def _keys(self, model: type[Model], here: dict[Any, bool]) -> Iterator[Any]:
        """The keys of all rows on LOCAL, then of those that were deleted there."""
        rows = self.source.objects(model).values_list(key_attribute(model), flat=True)
        yield from rows.order_by("pk").iterator(chunk_size=_ROWS)
        gone = [pk for pk, is_new in here.items() if not is_new]
        present = self.source.existing(model, gone)
        yield from (pk for pk in gone if pk not in present)

    def _changed(self, alias: str, model: type[Model]) -> dict[Any, bool]:
        """The rows that the log names after the boundary -> whether they were added then."""
        rows = _log_since(alias, self.boundary, self.since)
        labels = [other._meta.label_lower for other in family(model)]
        rows = rows.filter(label__in=labels)
        found: dict[Any, bool] = {}
        for text, action in rows.order_by("id").values_list("object_id", "action"):
            if action != M2M_CHANGE:
                found.setdefault(load_object_id(model, text), action == ADDITION)
        return found

    def _compare(self, model: type[Model], pks: list[Any]) -> None:
        """Report rows that differ although nobody logged a change of them."""
        names = [one.attname for one in columns(model)]
        ours = {row[0]: row for row in self.source.rows(model, pks, names)}
        theirs = {row[0]: row for row in self.remote.rows(model, pks, names)}
        label = model._meta.label_lower
        for pk, row in ours.items():
            if theirs.get(pk) != row:
                self.adoption.different[label] += 1
                if len(self.adoption.examples) < 20:
                    self.adoption.examples.append(f"{label} {object_id(model, pk)}")
