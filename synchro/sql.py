"""Writing rows of one table in sets.

Values go in as the table's fields hold them in Python and come out as the database stores them:
no ``pre_save``, no signals, nothing rewritten. Each database has its fast way behind the same
interface; the plain way works on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import count
from math import isfinite, isnan
from typing import Any, Final, cast

from django.db import DatabaseError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BinaryField,
    CompositePrimaryKey,
    DecimalField,
    Field,
    FloatField,
    JSONField,
    Model,
)
from django.db.models.sql import InsertQuery

from synchro.chunks import batched
from synchro.keys import key_field
from synchro.models import KeyField
from synchro.transient import is_transient

Row = Sequence[Any]

# Text and whole numbers are bound by every driver as Python has them. (Exact types only: a field
# of the project may convert its values.)
_STORED_AS_THEY_ARE: Final = frozenset(
    {
        models.AutoField,
        models.BigAutoField,
        models.BigIntegerField,
        models.CharField,
        models.EmailField,
        models.IntegerField,
        models.PositiveBigIntegerField,
        models.PositiveIntegerField,
        models.PositiveSmallIntegerField,
        models.SlugField,
        models.SmallAutoField,
        models.SmallIntegerField,
        models.TextField,
        models.URLField,
        KeyField,
    }
)
_SQLITE_DIGITS: Final = 15
_BYTES_PER_STATEMENT: Final = 4 * 1024 * 1024
"""Statements stay below this size: servers refuse packets above a limit (16 MiB on MariaDB)."""


def holds_plain_json(field: Field[Any, Any]) -> bool:
    """Whether a JSON field may be carried as text: only so JSON null and SQL NULL differ."""
    return (
        isinstance(field, JSONField)
        and type(field).get_db_prep_value is JSONField.get_db_prep_value
        and type(field).from_db_value is JSONField.from_db_value
    )


def converter(
    field: Field[Any, Any], connection: BaseDatabaseWrapper
) -> Callable[[Any], Any] | None:
    """What makes a stored value of a Python one; None if they are the same. Raises ValueError
    where the database cannot hold the value exactly."""
    kind: Any = key_field(field) if field.remote_field is not None else field
    if holds_plain_json(field) or type(kind) in _STORED_AS_THEY_ARE:
        return None

    def convert(value: Any) -> Any:
        return field.get_db_prep_save(value, connection=connection)

    if connection.vendor == "sqlite" and isinstance(field, DecimalField):

        def convert_decimal(value: Any) -> Any:
            if isinstance(value, Decimal) and (
                not value.is_finite() or len(value.normalize().as_tuple().digits) > _SQLITE_DIGITS
            ):
                raise ValueError(
                    f"{field.name}: SQLite keeps {_SQLITE_DIGITS} digits of a decimal, "
                    f"{value} has more"
                )
            return convert(value)

        return convert_decimal
    if connection.vendor in ("sqlite", "mysql") and isinstance(kind, FloatField):
        holds = _holds_infinity if connection.vendor == "sqlite" else isfinite

        def convert_float(value: Any) -> Any:
            if isinstance(value, float) and not holds(value):
                raise ValueError(f"{field.name}: {connection.display_name} cannot hold {value}")
            return convert(value)

        return convert_float
    return convert


class TableWriter:
    """Inserts and updates rows of one model's own table, in the order of the given fields."""

    _stages = count(1)

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        model: type[Model],
        fields: Sequence[Field[Any, Any]],
    ) -> None:
        self.connection = connection
        self.model = model
        self.fields = tuple(fields)
        self._convert = [converter(field, connection) for field in self.fields]
        self._exotic = [_needs_own_placeholder(field) for field in self.fields]
        self._stage: str | None = None

    # -- inserting

    def insert(self, rows: Sequence[Row], *, returning: bool) -> list[Any]:
        """Insert rows. If ``returning``, the database makes up the keys: they are returned."""
        inserted: list[Any] = []
        for chunk in self._statements(self._converted(rows)):
            if returning and not self.connection.features.can_return_rows_from_bulk_insert:
                inserted += [self._insert_one(row) for row in chunk]
            else:
                inserted += self._insert_many(self._table(), chunk, returning=returning)
        return inserted

    def _insert_many(self, table: str, rows: Sequence[Row], *, returning: bool) -> list[Any]:
        sql = f"INSERT INTO {table} ({self._names()}) VALUES "
        placeholders, parameters = self._placeholders(rows)
        sql += ", ".join(placeholders)
        with self.connection.cursor() as cursor:
            if not returning:
                cursor.execute(sql, parameters)
                return []
            pk = self.model._meta.pk
            cursor.execute(f"{sql} RETURNING {self._quote(str(pk.column))}", parameters)
            return [key for (key,) in cursor.fetchall()]

    def _insert_one(self, row: Row) -> Any:
        placeholders, parameters = self._placeholders([row])
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {self._table()} ({self._names()}) VALUES {placeholders[0]}",
                parameters,
            )
            return self.connection.ops.last_insert_id(
                cursor, self.model._meta.db_table, str(self.model._meta.pk.column)
            )

    # -- updating

    def prepare_update(self) -> None:
        """Make what updates need. Call it outside a savepoint that may be rolled back."""
        if self._stage is None and self._can_stage() and self._own_columns():
            name = f"synchro_stage_{next(self._stages)}"
            end = " ON COMMIT DROP" if self.connection.vendor == "postgresql" else ""
            sql = (
                f"CREATE TEMPORARY TABLE {self._quote(name)}{end} AS "
                f"SELECT {self._names()} FROM {self._table()} WHERE 1 = 0"
            )
            try:
                with transaction.atomic(using=self.connection.alias):
                    self._execute(sql)
            except DatabaseError as error:
                if is_transient(error):
                    raise
                # No right to make temporary tables: row by row works as well.
                self._stage = ""
            else:
                self._stage = name

    def update(self, rows: Sequence[Row]) -> None:
        """Update rows that exist. The key columns must be among the fields."""
        if not self._own_columns():
            return
        converted = self._converted(rows)
        if self._stage:
            self._update_by_stage(self._stage, converted)
        else:
            self._update_one_by_one(converted)

    def close(self) -> None:
        """Remove what prepare_update made."""
        if self._stage:
            # On MariaDB and MySQL, without that word, this would commit the run half way.
            kind = "TEMPORARY TABLE" if self.connection.vendor == "mysql" else "TABLE"
            self._execute(f"DROP {kind} {self._quote(self._stage)}")
        self._stage = None

    def _can_stage(self) -> bool:
        return self.connection.vendor in ("postgresql", "mysql")

    def _update_by_stage(self, name: str, rows: Iterable[Row]) -> None:
        stage = self._quote(name)
        for chunk in self._statements(rows):
            self._insert_many(stage, chunk, returning=False)
        table = self._table()
        match = " AND ".join(f"{table}.{key} = {stage}.{key}" for key in self._key_columns())
        if self.connection.vendor == "mysql":
            assignments = ", ".join(f"{table}.{c} = {stage}.{c}" for c in self._own_columns())
            self._execute(f"UPDATE {table} INNER JOIN {stage} ON {match} SET {assignments}")
        else:
            assignments = ", ".join(f"{c} = {stage}.{c}" for c in self._own_columns())
            self._execute(f"UPDATE {table} SET {assignments} FROM {stage} WHERE {match}")
        self._execute(f"DELETE FROM {stage}")

    def _update_one_by_one(self, rows: Iterable[Row]) -> None:
        keys = self._key_columns()
        is_key = [self._quote(str(field.column)) in keys for field in self.fields]
        assignments = ", ".join(f"{column} = %s" for column in self._own_columns())
        match = " AND ".join(f"{key} = %s" for key in keys)
        own = [index for index, key in enumerate(is_key) if not key]
        order = [*own, *(index for index, key in enumerate(is_key) if key)]
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE {self._table()} SET {assignments} WHERE {match}",
                [tuple(row[index] for index in order) for row in rows],
            )

    # -- statements

    def _converted(self, rows: Sequence[Row]) -> list[Row]:
        """Rows as the database stores them, converted column by column."""
        if not rows or not self.fields:
            return list(rows)
        columns = list(zip(*rows, strict=True))
        for index, convert in enumerate(self._convert):
            if convert is not None:
                columns[index] = tuple(map(convert, columns[index]))
        return list(zip(*columns, strict=True))

    def _statements(self, rows: Iterable[Row]) -> Iterable[list[Row]]:
        """Rows in portions that one statement can hold."""
        most = self._most_parameters() // max(1, len(self.fields))
        for chunk in batched(rows, max(1, most)):
            portion: list[Row] = []
            size = 0
            for row in chunk:
                weight = sum(map(_weight, row))
                if portion and size + weight > _BYTES_PER_STATEMENT:
                    yield portion
                    portion, size = [], 0
                portion.append(row)
                size += weight
            yield portion

    def _most_parameters(self) -> int:
        if self.connection.vendor == "sqlite":
            import sqlite3

            self.connection.ensure_connection()
            limit: int = self.connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
            return limit
        return self.connection.features.max_query_params or 65_535

    def _placeholders(self, rows: Sequence[Row]) -> tuple[list[str], list[Any]]:
        if not self.fields:
            # A model with nothing but an automatic key.
            return [f"({self.connection.ops.pk_default_value()})"] * len(rows), []
        if not any(self._exotic):
            one = f"({', '.join(['%s'] * len(self.fields))})"
            return [one] * len(rows), [value for row in rows for value in row]
        compiler = InsertQuery(self.model).get_compiler(connection=self.connection)
        texts, parameters = [], []
        for row in rows:
            parts = []
            for each, exotic, value in zip(self.fields, self._exotic, row, strict=True):
                text, values = "%s", [value]
                field: Any = each
                if exotic and hasattr(field, "get_placeholder_sql"):
                    text, found = field.get_placeholder_sql(value, compiler, self.connection)
                    values = list(found)
                elif exotic:
                    text = field.get_placeholder(value, compiler, self.connection)
                parts.append(text)
                parameters += values
            texts.append(f"({', '.join(parts)})")
        return texts, parameters

    def _execute(self, sql: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def _quote(self, name: str) -> str:
        return self.connection.ops.quote_name(name)

    def _table(self) -> str:
        return self._quote(self.model._meta.db_table)

    def _names(self) -> str:
        fields = self.fields or self.model._meta.pk_fields
        return ", ".join(self._quote(str(field.column)) for field in fields)

    def _key_columns(self) -> list[str]:
        return [self._quote(str(field.column)) for field in self.model._meta.pk_fields]

    def _own_columns(self) -> list[str]:
        """The columns that an update changes: all but the keys."""
        keys = set(self._key_columns())
        names = [self._quote(str(field.column)) for field in self.fields]
        return [name for name in names if name not in keys]


def insert_objects(
    alias: str, model: type[Model], names: Sequence[str], rows: Sequence[Row]
) -> None:
    """Insert rows into a table of synchro's own; names of columns not given keep their default
    in the database (an automatic key) or are NULL."""
    fields = [cast("Field[Any, Any]", model._meta.get_field(name)) for name in names]
    TableWriter(connections[alias], model, fields).insert(rows, returning=False)


def key_values(model: type[Model], pk: Any) -> tuple[Any, ...]:
    """A primary key as the values of its fields."""
    return tuple(pk) if isinstance(model._meta.pk, CompositePrimaryKey) else (pk,)


def _holds_infinity(value: float) -> bool:
    """SQLite stores infinity, and NULL for nan."""
    return not isnan(value)


def _weight(value: Any) -> int:
    """About how many bytes a value takes in a statement."""
    if isinstance(value, str):
        return len(value) if value.isascii() else 4 * len(value)
    return len(value) if isinstance(value, bytes | memoryview) else 8


def _needs_own_placeholder(field: Field[Any, Any]) -> bool:
    # The drivers mark bytes as binary themselves.
    return not isinstance(field, BinaryField) and (
        hasattr(field, "get_placeholder") or hasattr(field, "get_placeholder_sql")
    )
