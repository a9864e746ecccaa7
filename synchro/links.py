"""Replays the links of many-to-many fields: on REMOTE they become what they are on LOCAL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import ManyToManyField, Model

from synchro.chunks import batched
from synchro.conf import conf
from synchro.counterparts import Counterparts
from synchro.graph import concrete, ends, through
from synchro.journal import Journal
from synchro.models import M2M_CHANGE
from synchro.plan import LinkChange
from synchro.receivers import needs_link_signals
from synchro.remotes.base import Source
from synchro.remotes.database import DatabaseEnd
from synchro.sql import TableWriter

Link = tuple[Any, Any]
"""(key of the object that owns the field, key of the object it is linked to), on REMOTE."""


def replay_links(
    source: Source,
    remote: DatabaseEnd,
    counterparts: Counterparts,
    journal: Journal,
    model: type[Model],
    name: str,
    changes: Mapping[Any, LinkChange],
) -> int:
    """Make the links of objects (by key on LOCAL) in one field equal. Returns of how many
    objects links were added or removed."""
    field: ManyToManyField[Any, Any] = model._meta.get_field(name)  # type: ignore[assignment]
    other = concrete(field.related_model)
    known, known_others = counterparts.known(model), counterparts.known(other)
    changed = 0
    for chunk in batched(changes, conf.batch_size):
        owners = {pk: known[pk] for pk in chunk if known.get(pk) is not None}
        pairs = list(source.links(field, owners))
        counterparts.resolve(other, {there for _, there in pairs})
        wanted = {
            (owners[here], known_others[there])
            for here, there in pairs
            if known_others.get(there) is not None
        }
        present = set(remote.links(field, owners.values()))
        added, removed = wanted - present, present - wanted
        if needs_link_signals(model, through(field)):
            _relate(remote, model, field, added, removed)
        else:
            _write(remote, field, added, removed)
        touched = {owner for owner, _ in added | removed}
        changed += len(touched)
        journal.log(
            model,
            M2M_CHANGE,
            [(owners[pk], changes[pk]) for pk in owners if owners[pk] in touched],
            field=name,
        )
    return changed


def _write(
    remote: DatabaseEnd, field: ManyToManyField[Any, Any], added: set[Link], removed: set[Link]
) -> None:
    near, far = ends(field)
    by_owner: dict[Any, set[Any]] = {}
    for owner, there in removed:
        by_owner.setdefault(owner, set()).add(there)
    rows = remote.objects(through(field))
    for chunk in batched(by_owner, 500):
        found = rows.filter(**{f"{near.attname}__in": chunk})
        ids = [
            pk
            for pk, owner, there in found.values_list("pk", near.attname, far.attname)
            if there in by_owner[owner]
        ]
        for some in batched(ids, 500):
            rows.filter(pk__in=some)._raw_delete(remote.side.alias)
    if added:
        TableWriter(remote.connection, through(field), [near, far]).insert(
            sorted(added, key=repr), returning=False
        )


def _relate(
    remote: DatabaseEnd,
    model: type[Model],
    field: ManyToManyField[Any, Any],
    added: set[Link],
    removed: set[Link],
) -> None:
    """Add and remove by the related manager, so that m2m_changed is sent for REMOTE's objects."""
    changes: dict[Any, tuple[list[Any], list[Any]]] = {}
    for owner, there in sorted(added, key=repr):
        changes.setdefault(owner, ([], []))[0].append(there)
    for owner, there in sorted(removed, key=repr):
        changes.setdefault(owner, ([], []))[1].append(there)
    with transaction.atomic(using=remote.side.alias):
        for chunk in batched(changes, conf.batch_size):
            for instance in remote.objects(model).filter(pk__in=chunk):
                manager: Any = getattr(instance, field.name)
                more, fewer = changes[instance.pk]
                if fewer:
                    manager.remove(*fewer)
                if more:
                    manager.add(*more)
