"""Who a database is, and whether synchro's tables are there."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.apps import apps
from django.db import IntegrityError, connections, transaction
from django.db.models import Max, Model
from django.db.models.signals import post_migrate
from django.utils import timezone

from synchro.exceptions import NodeError
from synchro.graph import concrete, foreign_keys, target, through
from synchro.models import Batch, ChangeLog, HeldChange, Node, Peer, Reference, SyncRun
from synchro.schema import columns_of

SELF: Final = 1
"""The primary key of the Node row in force."""

_TABLES: Final = (Batch, ChangeLog, HeldChange, Node, Peer, Reference, SyncRun)
_RECHECK_SECONDS: Final = 60.0
_PLACE: Final = ("HOST", "PORT", "NAME")
"""What in an entry of DATABASES says which database it is."""


@dataclass(frozen=True, kw_only=True)
class _Tables:
    """Which of synchro's tables a database has."""

    missing: tuple[str, ...]
    """Those that are not there, lack columns, or are older."""
    some: bool
    """Whether any is there at all."""
    log: bool
    """Whether the change log is there, and can be written to."""


# alias -> (its tables, when that was looked up). "All" stays true until a migration; anything
# else is looked up again, since another process may have migrated meanwhile.
_seen: dict[str, tuple[_Tables, float]] = {}


def _tables(alias: str) -> _Tables:
    known = _seen.get(alias)
    if known is not None:
        tables, when = known
        if not tables.missing or time.monotonic() - when < _RECHECK_SECONDS:
            return tables
    columns = columns_of(alias, [model._meta.db_table for model in _TABLES])
    missing = [model._meta.db_table for model in _TABLES if not _is_whole(model, columns)]
    log = ChangeLog._meta.db_table
    has_log = log not in missing
    if has_log and not columns[log]["batch"]:
        # What nobody has numbered was NULL there, and would not be found.
        missing.append(log)
    tables = _Tables(missing=tuple(missing), some=bool(columns), log=has_log)
    _seen[alias] = (tables, time.monotonic())
    return tables


def _is_whole(model: type[Model], columns: Mapping[str, Container[str]]) -> bool:
    """Whether a database with these tables has the model's own one, with all its columns."""
    present = columns.get(model._meta.db_table)
    return present is not None and all(
        field.column in present for field in model._meta.local_concrete_fields
    )


def has_log(alias: str) -> bool:
    """Whether the database has a change log to write to, whatever else it lacks."""
    return _tables(alias).log


def has_tables(alias: str) -> bool:
    """Whether synchro's tables exist in the database. Raises NodeError if only some do."""
    tables = _tables(alias)
    if tables.missing and tables.some:
        raise NodeError(
            f"The database {alias!r} has only some of synchro's tables, or old ones. Missing, or "
            f"to be migrated: {', '.join(tables.missing)}. "
            f"Run: manage.py migrate --database={alias}"
        )
    return not tables.missing


def require_file(alias: str) -> None:
    """Raise NodeError if a SQLite database does not exist: connecting would make an empty one."""
    connection: Any = connections[alias]
    if connection.vendor == "sqlite" and not connection.is_in_memory_db():
        path = Path(connection.settings_dict["NAME"])
        if not path.exists():
            raise NodeError(
                f"The database {alias!r} does not exist: there is no file {str(path)!r}. Mend its "
                f"NAME in DATABASES, or make it: manage.py migrate --database={alias}"
            )


def require_tables(alias: str) -> None:
    """Raise NodeError unless synchro's tables exist in the database."""
    if _tables(alias).missing:
        forget_tables()
        if _tables(alias).missing:
            raise NodeError(
                f"The database {alias!r} has no tables of synchro, not all, or old ones. "
                f"Run: manage.py migrate --database={alias}"
            )


def forget_tables(**kwargs: Any) -> None:
    """Look again for synchro's tables: a migration may have made or removed them."""
    _seen.clear()


def missing_tables(alias: str, labels: Iterable[str]) -> list[str]:
    """Of which models (by label), or models that their rows need, the database lacks the table or
    columns of it."""
    needed = _needed(labels)
    columns = columns_of(alias, [model._meta.db_table for model in needed])
    return [model._meta.label for model in needed if not _is_whole(model, columns)]


def _needed(labels: Iterable[str]) -> list[type[Model]]:
    """The models, the targets of their foreign keys, and the tables of their links."""
    found: dict[type[Model], None] = {}
    todo: list[type[Model]] = []
    for label in labels:
        with suppress(LookupError, ValueError):
            todo.append(concrete(apps.get_model(label)))
    while todo:
        model = todo.pop(0)
        if model not in found:
            found[model] = None
            todo += [target(field) for field in foreign_keys(model)]
            todo += [through(field) for field in model._meta.local_many_to_many]
    return list(found)


post_migrate.connect(forget_tables, dispatch_uid="synchro.nodes")


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two databases of a run."""

    alias: str
    uid: str
    """The node's uid; ``alias:NAME`` where synchro's tables are missing."""
    has_tables: bool


def own_node(alias: str) -> Node:
    """The identity of a database that has synchro's tables; made on first use."""
    nodes = Node.objects.using(alias)
    node = nodes.filter(pk=SELF).first()
    if node is None:
        try:
            with transaction.atomic(using=alias):
                node = Node(pk=SELF)
                node.save(using=alias, force_insert=True)
        except IntegrityError:
            # Another process was quicker.
            node = nodes.get(pk=SELF)
    return node


def take_identity(alias: str, uid: str, *, last_batch: int) -> Node:
    """Put a new identity in force, and keep the old one as retired. Returns that."""
    old = own_node(alias)
    now = timezone.now()
    nodes = Node.objects.using(alias)
    nodes.filter(pk=SELF).update(uid=uid, last_batch=last_batch, created=now)
    # The row in force was inserted by its key: no sequence knows of that key.
    last = nodes.aggregate(last=Max("pk"))["last"]
    retired = Node(
        pk=last + 1, uid=old.uid, last_batch=old.last_batch, created=old.created, retired=now
    )
    retired.save(using=alias, force_insert=True)
    return retired


def side(alias: str, *, make: bool = True) -> Side:
    """The database behind an alias, as a side of a run. ``make``: give it an identity if it has
    none yet; else its uid is empty."""
    if _tables(alias).missing:
        # Whoever has just migrated, in another process, need not wait.
        forget_tables()
    if not has_tables(alias):
        return Side(alias=alias, uid=f"alias:{alias}", has_tables=False)
    if not make:
        node = Node.objects.using(alias).filter(pk=SELF).first()
        return Side(alias=alias, uid=node.uid if node else "", has_tables=True)
    return Side(alias=alias, uid=own_node(alias).uid, has_tables=True)


def address(alias: str) -> str:
    """Where an alias leads to, as 32 digits: what tells databases apart that have no identity."""
    connection = connections[alias]
    settings = connection.settings_dict
    place = [connection.vendor, *(str(settings.get(name) or "") for name in _PLACE)]
    return hashlib.sha256(json.dumps(place).encode()).hexdigest()[:32]


def peer(alias: str, uid: str, **more: Any) -> Peer:
    """What the database behind ``alias`` knows of the node ``uid``; unsaved if nothing yet.
    ``more``: expressions that are read along, as attributes of a peer that is not unsaved."""
    found = Peer.objects.using(alias).filter(node=uid).annotate(**more).first()
    return found or Peer(node=uid)
