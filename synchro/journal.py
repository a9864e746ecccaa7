"""What a run writes down on REMOTE, in the same transaction as the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from synchro.ahead import Ahead
from synchro.changes import Changes
from synchro.counterparts import Counterparts
from synchro.graph import has_automatic_key, identity
from synchro.keys import object_ids
from synchro.loading.base import Load
from synchro.log import stored, stored_all
from synchro.models import DELETION, ChangeLog
from synchro.nodes import Side, peer
from synchro.plan import Deletion
from synchro.references import References
from synchro.sealing import Sealed
from synchro.sql import insertion


def _nothing() -> None:
    pass


class Journal:
    """Writes references, REMOTE's change log and the applied batch."""

    def __init__(
        self, local: Side, remote: Side, references: References, now: datetime, ahead: Ahead
    ) -> None:
        self.local = local
        self.remote = remote
        self.references = references
        self.now = now
        self.ahead = ahead
        """REMOTE writes its log and references while Python goes on: nobody reads them here."""

    def prepare(self, models: Iterable[type[Model]]) -> None:
        """Have REMOTE asked at once what is needed to write down anything of models: later it is
        busy."""
        if self.remote.has_tables:
            ContentType.objects.db_manager(self.remote.alias).get_for_models(*models)

    def refer(self, model: type[Model], pairs: dict[Any, Any]) -> None:
        """Write down LOCAL key -> REMOTE key of rows that were made, where keys may differ."""
        if identity(model) is not model:
            return
        if not has_automatic_key(model):
            pairs = {pk: remote_pk for pk, remote_pk in pairs.items() if pk != remote_pk}
        if pairs:
            self.references.save(model, pairs, self.ahead)

    def log(
        self,
        model: type[Model],
        action: int,
        keys: Mapping[Any, Any],
        changes: Changes,
        *,
        field: str = "",
    ) -> None:
        """Log what was replayed (LOCAL key -> REMOTE key), with its origin and its time there."""
        self.ahead.run(self.entry(model, action, keys, changes, field=field), len(keys))

    def entry(
        self,
        model: type[Model],
        action: int,
        keys: Mapping[Any, Any],
        changes: Changes,
        *,
        field: str = "",
    ) -> Load:
        """What does so."""
        return self._entry(
            model,
            action,
            {
                "object_id": object_ids(model, list(keys.values())),
                "origin": [changes.origin.get(pk, "") for pk in keys],
                "origin_date": changes.times(keys),
            },
            field=field,
        )

    def forget(self, model: type[Model], deletions: Iterable[Deletion]) -> None:
        """Log deletions, and drop the references of the rows that are gone."""
        gone = list(deletions)
        entry = self._entry(
            model,
            DELETION,
            {
                "object_id": object_ids(model, [deletion.remote_pk for deletion in gone]),
                "origin": [deletion.origin for deletion in gone],
                "origin_date": [deletion.made for deletion in gone],
                "key": [deletion.key for deletion in gone],
            },
        )
        self.ahead.run(entry, len(gone))
        if identity(model) is model:
            self.references.drop(
                model,
                [deletion.pk for deletion in gone if deletion.pk is not None],
                [deletion.remote_pk for deletion in gone],
            )

    def _entry(
        self,
        model: type[Model],
        action: int,
        columns: dict[str, list[Any]],
        *,
        field: str = "",
    ) -> Load:
        """What writes rows into REMOTE's log. An empty origin stands for LOCAL."""
        if not columns["object_id"] or not self.remote.has_tables:
            return _nothing
        alias, uid = self.remote.alias, self.local.uid
        content_type = ContentType.objects.db_manager(alias).get_for_model(model)
        columns["origin"] = [origin or uid for origin in columns["origin"]]
        columns["origin_date"] = stored_all(columns["origin_date"])
        return insertion(
            alias,
            ChangeLog,
            columns,
            same={
                "content_type": content_type.pk,
                "label": model._meta.label_lower,
                "date": stored(self.now),
                "action": action,
                "field": field,
            },
        )

    def finish(self, counterparts: Counterparts, sealed: Sealed) -> None:
        """Write down what was matched by natural key, and up to where REMOTE has been brought."""
        for model, pairs in counterparts.matched():
            self.refer(model, pairs)
        if self.remote.has_tables:
            mine = peer(self.remote.alias, self.local.uid)
            mine.received_batch = sealed.number
            mine.received_token = sealed.token
            mine.received_at = stored(self.now)
            mine.save(using=self.remote.alias)
