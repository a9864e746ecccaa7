"""A whole set of keys as one parameter of a query.

``field IN (%s, %s, ...)`` costs Django and the drivers more than the database: every value is
prepared and every mark is looked for. Where keys are plain numbers, UUIDs or text, the set goes
to the database in one piece, in the way that each database has for that.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, Literal, cast
from uuid import UUID

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Field, Func, Model, UUIDField, Value
from django.db.models.sql.compiler import SQLDeleteCompiler, SQLUpdateCompiler

from synchro.chunks import transposed
from synchro.fields import KeyField
from synchro.keys import key_field

# Bound by every driver as Python has them. (Exact types only: a field of the project may convert
# its values.)
NUMBERS: Final = frozenset(
    {
        models.AutoField,
        models.BigAutoField,
        models.BigIntegerField,
        models.IntegerField,
        models.PositiveBigIntegerField,
        models.PositiveIntegerField,
        models.PositiveSmallIntegerField,
        models.SmallAutoField,
        models.SmallIntegerField,
    }
)
TEXTS: Final = frozenset(
    {
        models.CharField,
        models.EmailField,
        models.SlugField,
        models.TextField,
        models.URLField,
        KeyField,
    }
)


Kind = Literal["bigint", "text", "uuid"]
"""What PostgreSQL calls it."""


class Members(Value):
    """The right side of ``__in``: a list of numbers, or of texts, or of UUIDs as text."""

    def __init__(self, value: list[Any], kind: Kind, *, collation: str | None = None) -> None:
        """``collation``: that of the column with texts, if it is known."""
        super().__init__(value)
        self.kind = kind
        self.collation = collation

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        are_numbers = self.kind == "bigint"
        if connection.vendor == "postgresql":
            return f"(SELECT unnest(%s::{self.kind}[]))", [_array(self.value)]
        if connection.vendor == "sqlite":
            return "(SELECT value FROM json_each(%s))", [json.dumps(self.value)]
        if _joins_json(compiler, connection) and (are_numbers or self.collation):
            kind = "BIGINT" if are_numbers else "LONGTEXT CHARACTER SET utf8mb4"
            wanted = "item" if are_numbers else f"item COLLATE {self.collation}"
            return (
                f"(SELECT {wanted} FROM JSON_TABLE(%s, '$[*]' COLUMNS (item {kind} PATH '$')) "
                "AS members)",
                [json.dumps(self.value, ensure_ascii=False)],
            )
        # The drivers of MariaDB and MySQL write out a sequence themselves.
        return "%s", [tuple(self.value)]


class Among(Func):
    """Whether some fields have one of many combinations of values, in a condition."""

    def __init__(self, names: Sequence[str], parts: Sequence[Members]) -> None:
        """``parts``: for each field its values, combination by combination."""
        super().__init__(*map(F, names), output_field=BooleanField())
        self.parts = parts

    def as_sql(  # type: ignore[override]
        self, compiler: Any, connection: Any
    ) -> tuple[str, Any]:
        fields, parameters = [], []
        for field in self.source_expressions:
            sql, found = compiler.compile(field)
            fields.append(sql)
            parameters += found
        if connection.vendor == "postgresql":
            marks = ", ".join(f"%s::{part.kind}[]" for part in self.parts)
            wanted = f"SELECT * FROM unnest({marks})"
            values: list[Any] = [_array(part.value) for part in self.parts]
        else:
            items = ", ".join(f"json_extract(value, '$[{n}]')" for n in range(len(self.parts)))
            wanted = f"SELECT {items} FROM json_each(%s)"
            values = [json.dumps(list(zip(*(part.value for part in self.parts), strict=True)))]
        return f"({', '.join(fields)}) IN ({wanted})", [*parameters, *values]


def among(
    model: type[Model],
    names: Sequence[str],
    combinations: Sequence[Sequence[Any]],
    connection: BaseDatabaseWrapper,
) -> Among | None:
    """The condition that fields of a model (by attribute name) have one of some combinations of
    values; None where the database cannot be asked that way."""
    if connection.vendor not in ("postgresql", "sqlite"):
        # MariaDB compares text of JSON by another collation than that of a column.
        return None
    parts = [
        members_of(model, name, values, connection)
        for name, values in zip(names, transposed(combinations), strict=True)
    ]
    return Among(names, parts) if all(isinstance(part, Members) for part in parts) else None


def _array(values: list[Any]) -> str:
    """An array of PostgreSQL as text. (psycopg makes it of a list value by value, in Python.)"""
    if type(values[0]) is int:
        return f"{{{','.join(map(str, values))}}}"
    text = "\0".join(values).replace("\\", "\\\\").replace('"', '\\"')
    return '{"' + text.replace("\0", '","') + '"}'


def _joins_json(compiler: Any, connection: Any) -> bool:
    """Whether the database makes a join of a JSON text and a table. (MariaDB does for SELECT.)"""
    return has_json_tables(connection) and not isinstance(
        compiler, SQLDeleteCompiler | SQLUpdateCompiler
    )


def has_json_tables(connection: Any) -> bool:
    """Whether it is a MariaDB that knows ``JSON_TABLE``."""
    return bool(
        connection.vendor == "mysql"
        and connection.mysql_is_mariadb
        and connection.mysql_version >= (10, 6)
    )


def members(
    field: Field[Any, Any], values: Collection[Any], connection: BaseDatabaseWrapper
) -> Any:
    """What to give to a lookup ``<field>__in``: the values as one parameter where that is
    possible, else the values."""
    values = list(values)
    if not values or not supports_members(connection):
        return values
    kind, types = type(key_field(field)), _types(values)
    if kind in NUMBERS and types == {int}:
        fits = -(2**63) <= min(values) <= max(values) < 2**63
        return Members(values, "bigint") if fits else values
    if kind is UUIDField and types == {UUID}:
        as_text = str if connection.features.has_native_uuid_field else _hex
        return Members(list(map(as_text, values)), "uuid")
    if kind in TEXTS and types == {str} and "\0" not in "".join(values):
        collation = key_field(field).db_parameters(connection).get("collation")
        return Members(values, "text", collation=collation)
    return values


def ends_of(field: Field[Any, Any], values: Collection[Any]) -> tuple[int, int] | None:
    """The first and the last one of some values, two or more, if these are all the whole numbers
    between them; None if not, or if the field holds other values. Where keys are many they often
    are, and no database need be told each of them."""
    if len(values) < 2 or type(key_field(field)) not in NUMBERS or _types(values) != {int}:
        return None
    first, last = min(values), max(values)
    if not -(2**63) <= first <= last < 2**63 or last - first >= len(values):
        return None
    return (first, last) if last - first + 1 == len(set(values)) else None


_hex: Final = attrgetter("hex")


def are_exact(model: type[Model], pks: Collection[Any]) -> bool:
    """Whether primary keys are plain numbers or UUIDs, of which each is one and the same
    everywhere."""
    kind = type(key_field(cast(Any, model._meta.pk)))
    types = _types(pks)
    return (kind in NUMBERS and types <= {int}) or (kind is UUIDField and types <= {UUID})


def _types(values: Iterable[Any]) -> set[type]:
    return set(map(type, values))


def supports_members(connection: BaseDatabaseWrapper) -> bool:
    if connection.vendor == "sqlite":
        return bool(connection.features.supports_json_field)
    return connection.vendor in ("postgresql", "mysql")


def members_of(
    model: type[Model], name: str, values: Collection[Any], connection: BaseDatabaseWrapper
) -> Any:
    """Like ``members``, for the field of a model with this name or attribute name."""
    return members(field_of(model, name), values, connection)


def field_of(model: type[Model], name: str) -> Field[Any, Any]:
    """The field of a model with this name or attribute name, or ``pk``."""
    field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
    return cast("Field[Any, Any]", field)
