"""Natural keys of rows that triggers saw go.

A trigger writes down the row's own columns, as a JSON object. It cannot follow a foreign key: in
a cascade the parent may be gone by then. So the columns become a natural key when the log is
sealed or read: with the help of the parent, or of what the log has kept of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db.models import Model

from synchro.exceptions import NaturalKeyError
from synchro.graph import concrete, foreign_keys, points_at_key, target
from synchro.keys import dump_key, key_field, load_key, load_object_id, natural_key, natural_lookup
from synchro.keys import object_id as text_of
from synchro.models import DELETION, ChangeLog

MARK: Final = "{"
"""How the key of a log row begins that is not resolved yet."""
_DEEPEST: Final = 20


class Raw(NamedTuple):
    """A log row whose key is not resolved."""

    id: int
    label: str
    object_id: str
    key: str


class Resolver:
    """Makes natural keys of what triggers have written down, on one database."""

    def __init__(self, alias: str, rows: Iterable[Raw]) -> None:
        self.alias = alias
        self.rows = list(rows)
        self._by_value: dict[tuple[str, str], dict[Any, tuple[str, str]]] = {}
        self._raw = {(row.label, row.object_id): row.key for row in self.rows}

    def keys(self) -> dict[int, str | None]:
        """Id of the log row -> its natural key as JSON, None if it cannot be told."""
        found: dict[int, str | None] = {}
        for row in self.rows:
            instance = self._instance(row.label, row.object_id, row.key, 0)
            found[row.id] = None
            if instance is not None and (key := natural_key(instance)) is not None:
                try:
                    found[row.id] = dump_key(key)
                except NaturalKeyError:
                    # It has a value that cannot be part of a key; so it has none.
                    found[row.id] = None
        return found

    def _instance(self, label: str, object_id: str, key: str, depth: int) -> Model | None:
        """The row as far as it was written down, with the parents that are gone, too."""
        try:
            model = concrete(apps.get_model(label))
            columns = json.loads(key)
            values: dict[str, Any] = _key_values(model, object_id)
            for name, text in columns.items():
                field: Any = model._meta.get_field(name)
                values[field.attname] = None if text is None else key_field(field).to_python(text)
        except (LookupError, ValueError, ValidationError, NaturalKeyError):
            # The model is no longer what it was when the row went.
            return None
        return self._build(model, values, depth)

    def _build(self, model: type[Model], values: dict[str, Any], depth: int) -> Model:
        names = [f.attname for f in model._meta.concrete_fields if f.attname in values]
        instance = model.from_db(self.alias, names, [values[name] for name in names])
        if depth < _DEEPEST:
            for field in foreign_keys(model):
                value = values.get(field.attname)
                if value is None:
                    continue
                if points_at_key(field):
                    parent = self._gone(target(field), value, depth + 1)
                else:
                    parent = self._gone_by(target(field), field.target_field, value, depth + 1)
                if parent is not None:
                    field.set_cached_value(instance, parent)
        return instance

    def _gone_by(self, model: type[Model], field: Any, value: Any, depth: int) -> Model | None:
        """A parent that is no longer there, found by another unique value than its key: that is
        known until the log has been sealed."""
        if model._base_manager.using(self.alias).filter(**{field.attname: value}).exists():
            return None
        found = self._unsealed(model, field).get(value)
        return found and self._instance(model._meta.label_lower, *found, depth)

    def _unsealed(self, model: type[Model], field: Any) -> dict[Any, tuple[str, str]]:
        """What triggers have written down of rows that are gone: value of the field -> key of the
        row, its columns. The newest counts."""
        label = model._meta.label_lower
        if (label, field.attname) not in self._by_value:
            rows = (
                ChangeLog.objects.using(self.alias)
                .filter(label=label, action=DELETION, key__startswith=MARK)
                .order_by("id")
                .values_list("object_id", "key")
            )
            known = [(object_id, str(key)) for object_id, key in rows]
            known += [(row.object_id, row.key) for row in self.rows if row.label == label]
            found = self._by_value.setdefault((label, field.attname), {})
            for object_id, key in known:
                with suppress(ValueError, ValidationError):
                    text = json.loads(key).get(field.attname)
                    if text is not None:
                        found[key_field(field).to_python(text)] = (object_id, key)
        return self._by_value[label, field.attname]

    def _gone(self, model: type[Model], pk: Any, depth: int) -> Model | None:
        """A parent that is no longer there, as far as the log knows it."""
        if model._base_manager.using(self.alias).filter(pk=pk).exists():
            return None
        label, object_id = model._meta.label_lower, text_of(model, pk)
        raw = self._raw.get((label, object_id))
        if raw is None:
            raw = (
                ChangeLog.objects.using(self.alias)
                .filter(label=label, object_id=object_id, action=DELETION, key__isnull=False)
                .order_by("-id")
                .values_list("key", flat=True)
                .first()
            )
        if raw is None:
            return None
        if raw.startswith(MARK):
            return self._instance(label, object_id, raw, depth)
        lookup = natural_lookup(model)
        if lookup is None or lookup.fields is None:
            return None
        try:
            key = lookup.clean(load_key(raw))
        except NaturalKeyError:
            return None
        values = {model._meta.pk.attname: pk}
        parents: dict[str, dict[str, Any]] = {}
        for path, value in zip(lookup.fields, key, strict=True):
            first, _, rest = path.partition("__")
            if rest:
                parents.setdefault(first, {})[rest] = value
            else:
                values[model._meta.get_field(first).attname] = value  # type: ignore[union-attr]
        return self._nest(model, values, parents)

    def _nest(
        self, model: type[Model], values: dict[str, Any], parents: dict[str, dict[str, Any]]
    ) -> Model:
        """An instance out of a natural key over relations, with parents made of the same key."""
        names = [f.attname for f in model._meta.concrete_fields if f.attname in values]
        instance = model.from_db(self.alias, names, [values[name] for name in names])
        for name, inner in parents.items():
            field: Any = model._meta.get_field(name)
            own: dict[str, Any] = {}
            deeper: dict[str, dict[str, Any]] = {}
            for path, value in inner.items():
                first, _, rest = path.partition("__")
                if rest:
                    deeper.setdefault(first, {})[rest] = value
                else:
                    own[field.related_model._meta.get_field(first).attname] = value
            field.set_cached_value(instance, self._nest(target(field), own, deeper))
        return instance


def _key_values(model: type[Model], object_id: str) -> dict[str, Any]:
    pk = load_object_id(model, object_id)
    parts = pk if isinstance(pk, tuple) else (pk,)
    return {field.attname: part for field, part in zip(model._meta.pk_fields, parts, strict=True)}


def resolved(alias: str, rows: Iterable[Raw]) -> dict[int, str | None]:
    """Log row -> natural key as JSON, for rows whose key begins with MARK."""
    return Resolver(alias, rows).keys()


def resolve_batch(alias: str, number: int) -> None:
    """Put natural keys into the rows of a batch that triggers have written."""
    rows = ChangeLog.objects.using(alias).filter(batch=number, key__startswith=MARK)
    raw = [
        Raw(id, label, object_id, str(key))
        for id, label, object_id, key in rows.values_list("id", "label", "object_id", "key")
    ]
    if raw:
        changed = [ChangeLog(id=id, key=key) for id, key in resolved(alias, raw).items()]
        ChangeLog.objects.using(alias).bulk_update(changed, ["key"], batch_size=500)
