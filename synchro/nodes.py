"""Who a database is, and whether synchro's tables are there."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.apps import apps
from django.db import IntegrityError, connections, transaction
from django.db.models import Max
from django.db.models.signals import post_migrate
from django.utils import timezone

from synchro.exceptions import NodeError
from synchro.models import Batch, ChangeLog, Node, Peer, Reference

SELF: Final = 1
"""The primary key of the Node row in force."""

_TABLES: Final = (Batch, ChangeLog, Node, Peer, Reference)
_RECHECK_SECONDS: Final = 60.0

# alias -> (whether the tables are there, when that was looked up). "Yes" stays true until a
# migration; "no" is looked up again, since another process may have migrated meanwhile.
_seen: dict[str, tuple[bool, float]] = {}


def has_tables(alias: str) -> bool:
    """Whether synchro's tables exist in the database. Raises NodeError if only some do."""
    known = _seen.get(alias)
    if known is not None and (known[0] or time.monotonic() - known[1] < _RECHECK_SECONDS):
        return known[0]
    connection = connections[alias]
    with connection.cursor() as cursor:
        names = set(connection.introspection.table_names(cursor))
    present = [model for model in _TABLES if model._meta.db_table in names]
    complete = len(present) == len(_TABLES)
    _seen[alias] = (complete, time.monotonic())
    return complete


def require_tables(alias: str) -> None:
    """Raise NodeError unless synchro's tables exist in the database."""
    if not has_tables(alias):
        forget_tables()
        if not has_tables(alias):
            raise NodeError(
                f"The database {alias!r} has no (or not all of) synchro's tables. "
                f"Run: manage.py migrate --database={alias}"
            )


def forget_tables(**kwargs: Any) -> None:
    """Look again for synchro's tables: a migration may have made or removed them."""
    _seen.clear()


def missing_tables(alias: str, labels: Iterable[str]) -> list[str]:
    """Of which models (by label) the database lacks the table, or columns of it."""
    connection = connections[alias]
    missing = []
    with connection.cursor() as cursor:
        names = set(connection.introspection.table_names(cursor))
        for label in labels:
            try:
                options = apps.get_model(label)._meta
            except (LookupError, ValueError):
                continue
            columns = {field.column for field in options.local_concrete_fields}
            if options.db_table in names:
                present = connection.introspection.get_table_description(cursor, options.db_table)
                columns -= {column.name for column in present}
            if columns:
                missing.append(options.label)
    return missing


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


def side(alias: str) -> Side:
    """The database behind an alias, as a side of a run."""
    if not has_tables(alias):
        return Side(alias=alias, uid=f"alias:{alias}", has_tables=False)
    return Side(alias=alias, uid=own_node(alias).uid, has_tables=True)


def peer(alias: str, uid: str) -> Peer:
    """What the database behind ``alias`` knows of the node ``uid``; unsaved if nothing yet."""
    return Peer.objects.using(alias).filter(node=uid).first() or Peer(node=uid)
