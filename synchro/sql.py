"""Writing rows of one table in sets.

Values go in as the table's fields hold them in Python and come out as the database stores them:
no ``pre_save``, no signals, nothing rewritten. Each database has its fast way behind the same
interface; the plain way works on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from math import isfinite, isnan
from operator import itemgetter
from typing import Any, Final, cast

from django.conf import settings
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BinaryField,
    BooleanField,
    CompositePrimaryKey,
    DateField,
    DateTimeField,
    DecimalField,
    Field,
    FloatField,
    JSONField,
    Model,
)
from django.db.models.sql import InsertQuery

from synchro.keys import key_field
from synchro.loading import Row, loader, portions
from synchro.members import NUMBERS, TEXTS
from synchro.reserving import reserve_keys
from synchro.transient import is_transient

_SQLITE_DIGITS: Final = 15
_NAIVE: Final = ("sqlite", "mysql")
"""To these databases times go as text without a zone, in that of the connection."""

# The drivers take the values of such fields as they give them. (That of SQLite gives times of day
# that it does not take.)
_KEPT_BY_DRIVERS: Final = frozenset(
    {BooleanField, DateField, DateTimeField, DecimalField, FloatField}
)


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
    if holds_plain_json(field) or type(kind) in NUMBERS or type(kind) in TEXTS:
        return None

    def convert(value: Any) -> Any:
        return field.get_db_prep_save(value, connection=connection)

    if type(field) is DateTimeField and settings.USE_TZ and connection.vendor in _NAIVE:
        zone = connection.timezone
        last: Any = None
        text = ""

        def convert_time(value: Any) -> Any:
            # What Django makes of it, in one step instead of a dozen.
            nonlocal last, text
            if value is last and last is not None:
                return text
            if type(value) is datetime and value.tzinfo is zone is UTC:
                last, text = value, value.isoformat(" ")[: -len("+00:00")]
                return text
            if type(value) is datetime and value.tzinfo is not None:
                return str(value.astimezone(zone).replace(tzinfo=None))
            return convert(value)

        return convert_time

    if type(field) is DateTimeField and settings.USE_TZ:

        def keep_time(value: Any) -> Any:
            aware = type(value) is datetime and value.tzinfo is not None
            return value if aware else convert(value)

        return keep_time

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


def passes_through(
    field: Field[Any, Any], source: BaseDatabaseWrapper, target: BaseDatabaseWrapper
) -> bool:
    """Whether a column's values may go from one database to another as the driver gives them:
    both store them alike, and Django would only turn them to and fro."""
    return (
        type(field) in _KEPT_BY_DRIVERS
        and source.vendor == target.vendor
        and source.timezone_name == target.timezone_name
        and type(source) is type(target)
    )


class TableWriter:
    """Inserts and updates rows of one model's own table, in the order of the given fields."""

    _stages = count(1)

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        model: type[Model],
        fields: Sequence[Field[Any, Any]],
        *,
        unconverted: Collection[str] = (),
    ) -> None:
        """``unconverted``: the attribute names of fields whose values are already as the
        database stores them."""
        self.connection = connection
        self.model = model
        self.fields = tuple(fields)
        self._convert = [
            None if field.attname in unconverted else converter(field, connection)
            for field in self.fields
        ]
        self._exotic = [_needs_own_placeholder(field) for field in self.fields]
        self._stage: str | None = None

    # -- inserting

    def insert(self, rows: Sequence[Row], *, returning: bool) -> list[Any]:
        """Insert rows. If ``returning``, the database makes up the keys: they are returned."""
        if not rows:
            return []
        inserted: list[Any] = []
        converted = self._converted(rows)
        if not returning:
            self._load(self._table(), converted)
            return []
        if self.fields and not any(self._exotic):
            column = self._quote(str(self.model._meta.pk.column))
            keys = reserve_keys(self.connection, self.model, len(rows))
            if keys is not None:
                loader(self.connection).load(
                    self._table(),
                    [column, *self._columns()],
                    [(key, *row) for key, row in zip(keys, converted, strict=True)],
                )
                return list(keys)
            made = loader(self.connection).load_new(
                self._table(), self._columns(), converted, column
            )
            if made is not None:
                return made
        can_return = self.connection.features.can_return_rows_from_bulk_insert
        for chunk in portions(self.connection, converted, len(self.fields)):
            if can_return:
                inserted += self._insert_many(chunk)
            else:
                inserted += [self._insert_one(row) for row in chunk]
        return inserted

    def _insert_many(self, rows: Sequence[Row]) -> list[Any]:
        placeholders, parameters = self._placeholders(rows)
        key = self._quote(str(self.model._meta.pk.column))
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {self._table()} ({self._names()}) VALUES {', '.join(placeholders)} "
                f"RETURNING {key}",
                parameters,
            )
            return [key for (key,) in cursor.fetchall()]

    def _load(self, table: str, rows: Sequence[Row]) -> None:
        """Insert converted rows into the table, or into one that has the same columns."""
        if self.fields and not any(self._exotic):
            loader(self.connection).load(table, self._columns(), rows)
            return
        for chunk in portions(self.connection, rows, len(self.fields)):
            placeholders, parameters = self._placeholders(chunk)
            with self.connection.cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {table} ({self._names()}) VALUES {', '.join(placeholders)}",
                    parameters,
                )

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

    def _update_by_stage(self, name: str, rows: Sequence[Row]) -> None:
        stage = self._quote(name)
        self._load(stage, rows)
        table = self._table()
        match = " AND ".join(f"{table}.{key} = {stage}.{key}" for key in self._key_columns())
        if self.connection.vendor == "mysql":
            assignments = ", ".join(f"{table}.{c} = {stage}.{c}" for c in self._own_columns())
            self._execute(f"UPDATE {table} INNER JOIN {stage} ON {match} SET {assignments}")
        else:
            assignments = ", ".join(f"{c} = {stage}.{c}" for c in self._own_columns())
            self._execute(f"UPDATE {table} SET {assignments} FROM {stage} WHERE {match}")
        # What is only deleted, PostgreSQL reads past each time. (TRUNCATE commits on MySQL.)
        empty = "TRUNCATE" if self.connection.vendor == "postgresql" else "DELETE FROM"
        self._execute(f"{empty} {stage}")

    def _update_one_by_one(self, rows: Sequence[Row]) -> None:
        keys = self._key_columns()
        is_key = [self._quote(str(field.column)) in keys for field in self.fields]
        assignments = ", ".join(f"{column} = %s" for column in self._own_columns())
        match = " AND ".join(f"{key} = %s" for key in keys)
        own = [index for index, key in enumerate(is_key) if not key]
        in_order = itemgetter(*own, *(index for index, key in enumerate(is_key) if key))
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE {self._table()} SET {assignments} WHERE {match}",
                list(map(in_order, rows)),
            )

    # -- statements

    def _converted(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Rows as the database stores them, converted column by column."""
        if not rows or not any(self._convert):
            return rows
        return list(zip(*_converted(rows, self._convert), strict=True))

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
        return ", ".join(self._columns())

    def _columns(self) -> list[str]:
        fields = self.fields or self.model._meta.pk_fields
        return [self._quote(str(field.column)) for field in fields]

    def _key_columns(self) -> list[str]:
        return [self._quote(str(field.column)) for field in self.model._meta.pk_fields]

    def _own_columns(self) -> list[str]:
        """The columns that an update changes: all but the keys."""
        keys = set(self._key_columns())
        names = [self._quote(str(field.column)) for field in self.fields]
        return [name for name in names if name not in keys]


def insert_objects(
    alias: str,
    model: type[Model],
    names: Sequence[str],
    rows: Sequence[Row],
    *,
    same: Mapping[str, Any] | None = None,
) -> None:
    """Insert rows into a table of synchro's own. ``same``: what all rows have in common, by the
    names of the fields. Columns not given keep their default in the database (an automatic key)
    or are NULL."""
    connection = connections[alias]
    given = [cast("Field[Any, Any]", model._meta.get_field(name)) for name in names]
    common = [cast("Field[Any, Any]", model._meta.get_field(name)) for name in same or ()]
    if not rows:
        return
    columns = _converted(rows, [converter(field, connection) for field in given])
    for value, field in zip((same or {}).values(), common, strict=True):
        # Converted once, not for every row.
        (column,) = _converted([(value,)], [converter(field, connection)])
        columns.append(column * len(rows))
    fields = [*given, *common]
    writer = TableWriter(
        connection, model, fields, unconverted=[field.attname for field in fields]
    )
    writer.insert(list(zip(*columns, strict=True)), returning=False)


def _converted(
    rows: Sequence[Row], converters: Sequence[Callable[[Any], Any] | None]
) -> list[tuple[Any, ...]]:
    """The columns of rows, with their values as the database stores them."""
    return [
        column if convert is None else tuple(map(convert, column))
        for column, convert in zip(zip(*rows, strict=True), converters, strict=True)
    ]


def key_values(model: type[Model], pk: Any) -> tuple[Any, ...]:
    """A primary key as the values of its fields."""
    return tuple(pk) if isinstance(model._meta.pk, CompositePrimaryKey) else (pk,)


def _holds_infinity(value: float) -> bool:
    """SQLite stores infinity, and NULL for nan."""
    return not isnan(value)


def _needs_own_placeholder(field: Field[Any, Any]) -> bool:
    # The drivers mark bytes as binary themselves.
    return not isinstance(field, BinaryField) and (
        hasattr(field, "get_placeholder") or hasattr(field, "get_placeholder_sql")
    )
