"""Two databases compared value by value, up to automatic primary keys.

Each row becomes plain data: its values, and in place of each reference the values of the row that
it points at. Automatic keys are left out, explicit ones are kept. What is left is compared as a
multiset, so two rows that are alike count as two.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import connections, models
from django.db.models.fields.files import FieldFile

APPS = ("testapp", "auth")
NOT_COMPARED = {"testapp.LocalOnly"}
"""Models whose table is missing on one side on purpose."""


def watched_models() -> list[type[models.Model]]:
    """Every concrete model of the watched apps, tables of plain many-to-many fields included."""
    return [
        model
        for label in APPS
        for model in apps.get_app_config(label).get_models(include_auto_created=True)
        if not model._meta.proxy
        and not is_skipped_link(model)
        and model._meta.label not in NOT_COMPARED
    ]


def is_skipped_link(model: type[models.Model]) -> bool:
    """Is this the table of a many-to-many field that is not synchronized?"""
    owner = model._meta.auto_created
    return bool(owner) and any(
        field.remote_field.through is model and field.name in getattr(owner, "SYNCHRO_SKIP", ())
        for field in owner._meta.many_to_many
    )


def frozen(value: Any) -> Hashable:
    """`value` as something that can be compared and counted."""
    if isinstance(value, FieldFile):
        return value.name
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    if isinstance(value, bool | int | float):
        return repr(value)
    return value


def empty_models(alias: str) -> list[type[models.Model]]:
    """The watched models without rows, found by one query: a snapshot of little is quick."""
    found = watched_models()
    quoted = connections[alias].ops.quote_name
    counts = [
        f"SELECT {number}, COUNT(*) FROM {quoted(model._meta.db_table)}"
        for number, model in enumerate(found)
    ]
    with connections[alias].cursor() as cursor:
        cursor.execute(" UNION ALL ".join(counts))
        return [found[number] for number, count in cursor.fetchall() if not count]


class Snapshot:
    """The rows of one database, as plain data."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._rows: dict[type[models.Model], dict[Any, models.Model]] = {}
        for model in empty_models(alias):
            self._rows[model] = {}

    def rows(self, model: type[models.Model]) -> dict[Any, models.Model]:
        if model not in self._rows:
            # Not the base manager: a project's own may hide rows.
            found: models.QuerySet[Any] = models.QuerySet(model, using=self.alias)
            self._rows[model] = {row.pk: row for row in found}
        return self._rows[model]

    def content(self, model: type[models.Model]) -> Counter[Hashable]:
        rows = self.rows(model).values()
        if model is Permission:
            # dbsettings makes one of its own, and only in the default database.
            rows = [row for row in rows if row.codename != "can_edit__settings"]
        return Counter(self.described(row) for row in rows)

    def described(self, row: models.Model) -> Hashable:
        generic = {
            field.fk_field: field
            for field in row._meta.private_fields
            if isinstance(field, GenericForeignKey)
        }
        parts: list[tuple[str, Hashable]] = []
        for field in compared_fields(type(row)):
            value = field.value_from_object(row)
            if field.remote_field:
                parts.append((field.name, self.target(field, value)))
            elif field.name in generic:
                parts.append((field.name, self.generic_target(row, generic[field.name])))
            else:
                parts.append((field.name, frozen(value)))
        return tuple(parts)

    def target(self, field: Any, value: Any) -> Hashable:
        if value is None:
            return None
        model = field.remote_field.model._meta.concrete_model
        name = field.target_field.attname
        if model is ContentType:
            return self.content_type(value)
        for row in self.rows(model).values():
            if getattr(row, name) == value:
                return self.identity(row)
        return ("no such row", model._meta.label)

    def content_type(self, pk: Any) -> Hashable:
        row = self.rows(ContentType).get(pk)
        return row and row.natural_key()  # type: ignore[attr-defined]

    def generic_target(self, row: models.Model, field: GenericForeignKey) -> Hashable:
        kind = self.content_type(getattr(row, f"{field.ct_field}_id"))
        if kind is None:
            return ("no such content type",)
        model = apps.get_model(*kind)  # type: ignore[misc]
        key = model._meta.pk.to_python(getattr(row, field.fk_field))
        found = self.rows(model).get(key)
        return self.identity(found) if found else ("no such row", kind)

    def identity(self, row: models.Model) -> Hashable:
        """The values of the row itself without its references; of a child, its parent's too."""
        parts: list[Hashable] = [row._meta.label]
        for field in compared_fields(type(row)):
            value = field.value_from_object(row)
            if not field.remote_field:
                parts.append((field.name, frozen(value)))
            elif field.primary_key:
                parts.append((field.name, self.target(field, value)))
        return tuple(parts)


def compared_fields(model: type[models.Model]) -> list[Any]:
    skipped = getattr(model, "SYNCHRO_SKIP", ())
    return [
        field
        for field in model._meta.local_concrete_fields
        if field.name not in skipped
        and not isinstance(field, models.AutoField | models.BigAutoField | models.SmallAutoField)
    ]


def differences(
    one: str, other: str, chosen: Iterable[type[models.Model]] | None = None
) -> list[str]:
    """One line for each row that one database has and the other has not."""
    left, right = Snapshot(one), Snapshot(other)
    found = []
    for model in chosen or watched_models():
        here, there = left.content(model), right.content(model)
        found += [f"{model._meta.label}: only {one}: {row}" for row in (here - there).elements()]
        found += [f"{model._meta.label}: only {other}: {row}" for row in (there - here).elements()]
    return found


def assert_same(*chosen: type[models.Model], one: str = "default", other: str = "remote") -> None:
    """Fail with a list of differences unless both databases hold the same rows."""
    found = differences(one, other, chosen or None)
    assert not found, "\n".join(found)
