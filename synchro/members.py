"""A whole set of keys as one parameter of a query.

``field IN (%s, %s, ...)`` costs Django and the drivers more than the database: every value is
prepared and every mark is looked for. Where keys are plain numbers or text, the set goes to the
database in one piece, in the way that each database has for that.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any, Final

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model, Value
from django.db.models.sql.compiler import SQLDeleteCompiler, SQLUpdateCompiler

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


class Members(Value):
    """The right side of ``__in``: a list of numbers, or of texts."""

    def __init__(self, value: list[Any], *, collation: str | None = None) -> None:
        """``collation``: that of the column with texts, if it is known."""
        super().__init__(value)
        self.collation = collation

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        are_numbers = type(self.value[0]) is int
        if connection.vendor == "postgresql":
            kind = "bigint" if are_numbers else "text"
            return f"(SELECT unnest(%s::{kind}[]))", [_array(self.value)]
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
    kind = type(key_field(field))
    if kind in NUMBERS:
        fits = _types(values) == {int} and -(2**63) <= min(values) <= max(values) < 2**63
    elif kind in TEXTS:
        fits = _types(values) == {str} and "\0" not in "".join(values)
    else:
        fits = False
    if not fits:
        return values
    collation = key_field(field).db_parameters(connection).get("collation")
    return Members(values, collation=collation)


def are_numbers(model: type[Model], pks: Collection[Any]) -> bool:
    """Whether primary keys are plain numbers, of which each is one and the same everywhere."""
    pk: Any = model._meta.pk
    return type(key_field(pk)) in NUMBERS and _types(pks) <= {int}


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
    field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
    return members(field, values, connection)
