"""Backups of a test database: the rows of some tables, as they were."""

from __future__ import annotations

from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.db import connections, models, transaction

from synchro.models import Batch, ChangeLog, HeldChange, Node, Peer, Reference
from synchro.sql import TableWriter

SYNCHRO: list[type[models.Model]] = [Node, Batch, Peer, ChangeLog, Reference, HeldChange]


class Backup:
    """The rows of some models (parents first) and of synchro's own tables."""

    def __init__(self, alias: str, *kinds: type[models.Model]) -> None:
        self.alias = alias
        self.rows: dict[type[models.Model], list[tuple[Any, ...]]] = {
            model: list(
                model._base_manager.using(alias).values_list(
                    *(field.attname for field in model._meta.local_concrete_fields)
                )
            )
            for model in (*kinds, *SYNCHRO)
        }

    def restore(self) -> None:
        connection = connections[self.alias]
        with transaction.atomic(using=self.alias):
            for model in reversed(self.rows):
                model._base_manager.using(self.alias).all()._raw_delete(self.alias)
            for model, rows in self.rows.items():
                fields = model._meta.local_concrete_fields
                TableWriter(connection, model, fields).insert(rows, returning=False)
        ContentType.objects.clear_cache()
        with connection.cursor() as cursor:
            for sql in connection.ops.sequence_reset_sql(no_style(), list(self.rows)):
                cursor.execute(sql)
