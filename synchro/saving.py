"""Rows written by ``save()``, one object at a time: for models whose receivers, or whose own
``save()``, are to act on REMOTE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from django.db.models import DateField, DateTimeField, Field, FileField, Model, TimeField

from synchro.chunks import batched
from synchro.conf import conf
from synchro.conversion import checker, holds_plain_json
from synchro.graph import columns, has_automatic_key, parents
from synchro.remotes.database import DatabaseEnd
from synchro.sql import TableWriter, key_values

Row = dict[str, Any]
"""Attribute -> value, as synchro carries it."""


class NotSaved(Exception):
    """The model's own save() returned without writing the row."""


class ObjectSaver:
    """Saves objects of one model on REMOTE."""

    def __init__(
        self,
        remote: DatabaseEnd,
        model: type[Model],
        fields: Sequence[Field[Any, Any]],
        skipped: Sequence[Field[Any, Any]],
    ) -> None:
        self.remote = remote
        self.model = model
        self.fields = fields
        self.skipped = skipped
        # In the order of the model's fields.
        self._names = dict.fromkeys(field.attname for field in model._meta.concrete_fields)
        self._keys = [field.attname for field in model._meta.pk_fields]
        self._automatic = has_automatic_key(model)
        self._json: list[Any] = [f for f in model._meta.concrete_fields if holds_plain_json(f)]
        self._checks = {
            field.attname: check
            for field in fields
            if (check := checker(field, remote.connection)) is not None
        }
        self._last: list[tuple[type[Model], Any, Row]] = []
        self._back: dict[type[Model], dict[tuple[str, ...], list[tuple[Any, Row]]]] = {}

    def kept_values(self, remote_pks: Iterable[Any]) -> dict[Any, Row]:
        """REMOTE's values of the skipped fields, by key there."""
        keys = list(remote_pks)
        if not self.skipped:
            return {key: {} for key in keys}
        names = [field.attname for field in self.skipped]
        return {
            key: dict(zip(names, values, strict=True))
            for key, *values in self.remote.rows(self.model, keys, names)
        }

    def save(self, remote_pk: Any, values: Row, *, created: bool) -> Any:
        """Save one object; the key is None for one that gets an automatic key. Returns the key.

        Raises NotSaved, ValueError where REMOTE cannot hold a value exactly, and whatever
        receivers and the model's ``save()`` raise. ``keep`` says that it stays saved; once all
        are, ``put_back`` restores what saving rewrote by itself.
        """
        self._last = []
        for name, check in self._checks.items():
            check(values[name])
        alias = self.remote.side.alias
        above = self._above(self.model, remote_pk, values) if self.model._meta.parents else []
        instance = self._instance(remote_pk, values, above, created=created)
        if created:
            # Never an update of a row that happens to have the key.
            instance.save(using=alias, force_insert=True)
        else:
            instance.save(using=alias)
        if instance.pk is None or instance._state.adding:
            raise NotSaved("save() returned without writing the row")
        if above or _may_be_lost(self.model):
            for model, key, stored in [(self.model, instance.pk, values), *above]:
                back = {
                    field.attname: stored[field.attname]
                    for field in _may_be_lost(model)
                    if field.attname in stored
                    and _is_lost(field, instance, stored[field.attname])
                    # The skipped fields of a new row are the model's own affair.
                    and not (created and model is self.model and field not in self.fields)
                }
                if back:
                    self._last.append((model, key, back))
        return instance.pk

    def keep(self) -> None:
        """Note that the last object was saved for good."""
        for model, key, back in self._last:
            rows = self._back.setdefault(model, {}).setdefault(tuple(sorted(back)), [])
            rows.append((key, back))
        self._last = []

    def put_back(self) -> None:
        """Restore what saving rewrote by itself, in the same transaction: ``auto_now`` fields,
        and what an instance cannot carry (JSON null, a file's name that is NULL)."""
        for model, kinds in self._back.items():
            keys = list(model._meta.pk_fields)
            for names, rows in kinds.items():
                fields = [field for field in columns(model) if field.attname in names]
                writer = TableWriter(self.remote.connection, model, [*keys, *fields])
                writer.prepare_update()
                for chunk in batched(rows, conf.batch_size):
                    writer.update(
                        [
                            [*key_values(model, key), *(row[field.attname] for field in fields)]
                            for key, row in chunk
                        ]
                    )
                writer.close()
        self._back = {}

    def _instance(
        self,
        remote_pk: Any,
        values: Row,
        above: Sequence[tuple[type[Model], Any, Row]],
        *,
        created: bool,
    ) -> Model:
        known: Row = {}
        for _, _, stored in reversed(above):
            known.update(stored)
        known.update(values)
        for field in self._json:
            if isinstance(known.get(field.attname), str):
                known[field.attname] = field.from_db_value(
                    known[field.attname], None, self.remote.connection
                )
        if created and self._automatic:
            known.pop(self._keys[0], None)
        else:
            known.update(zip(self._keys, key_values(self.model, remote_pk), strict=True))
        instance = self._made(known)
        instance._state.db = self.remote.side.alias
        instance._state.adding = created
        return instance

    def _made(self, known: Row) -> Model:
        if known.keys() == self._names.keys():
            # All of them by position, as they come from a database, takes half the time.
            return self.model(*[known[name] for name in self._names])
        return self.model(**known)

    def _above(
        self, model: type[Model], remote_pk: Any, row: Mapping[str, Any]
    ) -> list[tuple[type[Model], Any, Row]]:
        """The rows in the tables of the parents, which were written before: (model, key, row)."""
        found: list[tuple[type[Model], Any, Row]] = []
        for parent, link in parents(model).items():
            key = remote_pk if link.primary_key else row[link.attname]
            names = [field.attname for field in columns(parent)]
            for _, *values in self.remote.rows(parent, [key], names):
                stored = dict(zip(names, values, strict=True))
                found += [(parent, key, stored), *self._above(parent, key, stored)]
        return found


@cache
def _may_be_lost(model: type[Model]) -> list[Field[Any, Any]]:
    """The columns into which saving may put something else than what an instance was given."""
    return [
        field
        for field in columns(model)
        if not field.primary_key
        and (holds_plain_json(field) or isinstance(field, FileField) or _rewrites(field))
    ]


def _rewrites(field: Field[Any, Any]) -> bool:
    """Whether a field may put another value into the row than its instance has."""
    if type(field).pre_save in (DateField.pre_save, DateTimeField.pre_save, TimeField.pre_save):
        clock: Any = field
        return bool(clock.auto_now or clock.auto_now_add)
    return type(field).pre_save is not Field.pre_save


def _is_lost(field: Field[Any, Any], instance: Model, value: Any) -> bool:
    """Whether saving has put something else into such a column than the value."""
    if holds_plain_json(field):
        return bool(value == "null")
    if isinstance(field, FileField):
        return value is None
    return bool(getattr(instance, field.attname) != value)
