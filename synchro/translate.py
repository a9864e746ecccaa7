"""Keys in rows of LOCAL, turned into the keys that stand for them on REMOTE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db.models import Field, ForeignKey, Model

from synchro.changes import Changes
from synchro.counterparts import Counterparts
from synchro.exceptions import NaturalKeyError
from synchro.graph import (
    concrete,
    foreign_keys,
    generic_foreign_keys,
    has_constraint,
    points_at_key,
    skipped_fields,
    target,
)
from synchro.keys import load_object_id, object_id
from synchro.remotes.base import Source

Row = dict[str, Any]


class Awaited(NamedTuple):
    """A row of LOCAL that will be on REMOTE, but is not yet."""

    model: type[Model]
    pk: Any


class Translator:
    """Translates the foreign keys, plain and generic, of one model's rows."""

    def __init__(
        self,
        source: Source,
        counterparts: Counterparts,
        model: type[Model],
        writes: Mapping[type[Model], Changes],
    ) -> None:
        self.source = source
        self.counterparts = counterparts
        self.writes = writes
        skip = skipped_fields(model)
        self._links = [
            field
            for field in foreign_keys(model)
            if points_at_key(field) and field.name not in skip and field.attname not in skip
        ]
        self._generic = [
            (field, model._meta.get_field(field.ct_field), model._meta.get_field(field.fk_field))
            for field in generic_foreign_keys(model)
            if field.fk_field not in skip
        ]
        self.awaited: dict[Any, dict[Field[Any, Any], Awaited]] = {}
        """Of the last rows: key -> column -> what it waits for."""
        self.changed: dict[Any, list[ForeignKey[Any, Any]]] = {}
        """Of the last rows: key -> links to rows that the plan does not know."""
        self.lacking: dict[Any, dict[Field[Any, Any], Awaited]] = {}
        """Of the last rows: key -> column -> an object that REMOTE lacks, since it is held."""

    def translate(self, rows: dict[Any, Row]) -> dict[Any, Row]:
        """Change the rows (by key on LOCAL) in place; what has to wait is in ``awaited``."""
        self.awaited, self.changed, self.lacking = {}, {}, {}
        for generic, type_field, id_field in self._generic:
            self._translate_generic(generic, type_field, id_field, rows)
        for field in self._links:
            self._translate_link(field, rows)
        return rows

    def _translate_link(self, field: ForeignKey[Any, Any], rows: dict[Any, Row]) -> None:
        name, other = field.attname, target(field)
        values = {row[name] for row in rows.values() if row[name] is not None}
        self.counterparts.resolve(other, values)
        known = self.counterparts.of(other, values)
        coming = self.writes.get(other, ())
        for pk, row in rows.items():
            value = row[name]
            if value is None:
                continue
            found = known[value]
            if found is not None:
                row[name] = found
            elif value in coming:
                self.awaited.setdefault(pk, {})[field] = Awaited(other, value)
            elif self._is_held(other, value):
                self.lacking.setdefault(pk, {})[field] = Awaited(other, value)
            elif has_constraint(field):
                # It was changed after the plan was made: the next run has it in its log.
                self.changed.setdefault(pk, []).append(field)
            # Else a link without a constraint that leads nowhere on LOCAL: kept as it is.

    def _translate_generic(
        self,
        generic: GenericForeignKey,
        type_field: Any,
        id_field: Any,
        rows: dict[Any, Row],
    ) -> None:
        by_type: dict[Any, dict[Any, Any]] = {}
        for pk, row in rows.items():
            type_id, value = row[type_field.attname], row[id_field.attname]
            if type_id is not None and value is not None:
                by_type.setdefault(type_id, {})[pk] = value
        for type_id, values in by_type.items():
            other = self.model_of(type_id)
            if other is None:
                continue
            keys = {}
            for pk, value in values.items():
                try:
                    keys[pk] = load_object_id(other, str(value))
                except NaturalKeyError:
                    continue
            self.counterparts.resolve(other, keys.values())
            known = self.counterparts.of(other, keys.values())
            coming = self.writes.get(other, ())
            for pk, key in keys.items():
                if known[key] is not None:
                    rows[pk][id_field.attname] = as_generic_id(id_field, other, known[key])
                elif key in coming:
                    self.awaited.setdefault(pk, {})[id_field] = Awaited(other, key)
                elif self._is_held(other, key):
                    self.lacking.setdefault(pk, {})[id_field] = Awaited(other, key)

    def _is_held(self, model: type[Model], pk: Any) -> bool:
        return self.counterparts.holds.get(model, pk) is not None

    def model_of(self, type_id: Any) -> type[Model] | None:
        """The model of a content type of LOCAL, None if it is not installed."""
        manager = ContentType.objects.db_manager(self.source.side.alias)
        try:
            found = manager.get_for_id(type_id).model_class()
        except ContentType.DoesNotExist:
            return None
        return None if found is None else concrete(found)


def as_generic_id(id_field: Field[Any, Any], model: type[Model], pk: Any) -> Any:
    """A primary key as the object id column of a generic foreign key holds it."""
    return id_field.to_python(object_id(model, pk))
