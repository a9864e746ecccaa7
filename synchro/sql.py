"""Writing rows of one table in sets.

Values go in as the table's fields hold them in Python and come out as the database stores them:
no ``pre_save``, no signals, nothing rewritten. Each database has its fast way behind the same
interface; the plain way works on all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, Final, cast

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BinaryField,
    CompositePrimaryKey,
    Field,
    Model,
)
from django.db.models.sql import InsertQuery

from synchro.chunks import batched, transposed
from synchro.conversion import ConvertColumn, converter
from synchro.keys import key_field
from synchro.loading.base import Columns, Load, portions
from synchro.loading.vendors import loader
from synchro.reserving import reserve_keys
from synchro.transient import is_transient

Row = Sequence[Any]

_ROWS_OF_NOTHING: Final = 1000
"""So many rows without values one statement inserts."""


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
        self._has_own_way: bool | None = None
        """Whether the loader can update rows."""
        self._loader = loader(connection)

    @property
    def _is_plain(self) -> bool:
        """Whether a loader can take the rows: they have values that need nothing but a ``%s``."""
        return bool(self.fields) and not any(self._exotic)

    # -- inserting

    def insert(self, rows: Sequence[Row], *, returning: bool) -> list[Any]:
        """Insert rows. If ``returning``, the database makes up the keys: they are returned."""
        if not rows:
            return []
        return self.insert_stored(self.stored(rows), len(rows), returning=returning)

    def insert_stored(
        self, columns: Columns, number: int, *, returning: bool = False
    ) -> list[Any]:
        """Like ``insert``, with so many rows, at least one, as ``stored`` makes them."""
        if not returning:
            self.inserting(columns, number)()
            return []
        made = self._load_new(columns) if self._is_plain else None
        return self._insert_new(columns, number) if made is None else made

    def inserting(self, columns: Columns, number: int) -> Load:
        """What inserts so many rows, with all done beforehand that does not need the database."""
        return self._loading(self._table(), columns, number)

    def _loading(self, table: str, columns: Columns, number: int) -> Load:
        """What inserts so many rows into the table, or into one that has the same columns."""
        if self._is_plain:
            return self._loader.loading(table, self._columns(), columns)

        def load() -> None:
            for rows in self._portions(columns, number):
                self._insert_into(table, rows)

        return load

    def _load_new(self, columns: Columns) -> list[Any] | None:
        """Insert rows in the fast way. Returns their keys; None if that way cannot tell them."""
        key = self._quote(str(self.model._meta.pk.column))
        keys = reserve_keys(self.connection, self.model, len(columns[0]))
        if keys is None:
            return self._loader.load_new(self._table(), self._columns(), columns, key)
        self._loader.load(self._table(), [key, *self._columns()], [keys, *columns])
        return list(keys)

    def _insert_new(self, columns: Columns, number: int) -> list[Any]:
        """Insert so many rows. Returns their keys."""
        table, inserted = self._table(), []
        for rows in self._portions(columns, number):
            if self.connection.features.can_return_rows_from_bulk_insert:
                inserted += self._insert_into(table, rows, returning=True)
            else:
                inserted += [self._insert_into(table, [row], returning=True)[0] for row in rows]
        return inserted

    def _insert_into(
        self, table: str, rows: Sequence[Row], *, returning: bool = False
    ) -> list[Any]:
        """Insert rows with one statement. If ``returning``, the keys are returned, of one row on
        databases that cannot do it for many."""
        placeholders, parameters = self._placeholders(rows)
        names = self._names()
        sql = f"INSERT INTO {table} ({names}) VALUES {', '.join(placeholders)}"
        pk = str(self.model._meta.pk.column)
        can_return = self.connection.features.can_return_rows_from_bulk_insert
        if returning and can_return:
            sql += f" RETURNING {self._quote(pk)}"
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            if not returning:
                return []
            if can_return:
                return [key for (key,) in cursor.fetchall()]
            ops = self.connection.ops
            return [ops.last_insert_id(cursor, self.model._meta.db_table, pk)]

    def _portions(self, columns: Columns, number: int) -> Iterator[Sequence[Row]]:
        """So many rows as one statement each can hold."""
        if not columns:
            yield from batched([()] * number, _ROWS_OF_NOTHING)
            return
        for portion in portions(self.connection, columns, width=len(columns)):
            yield list(zip(*portion, strict=True))

    # -- updating

    def prepare_update(self) -> None:
        """Make what updates need. Call it outside a savepoint that may be rolled back."""
        if self._has_own_way is None and self._own_columns() and self._is_plain:
            self._has_own_way = self._loader.can_update(
                self.model._meta.db_table,
                [str(field.column) for field in self.fields],
                [str(field.column) for field in self.model._meta.pk_fields],
                {type(key_field(field)) for field in self.model._meta.pk_fields},
            )
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
        if rows:
            self.update_stored(self.stored(rows))

    def update_stored(self, columns: Columns) -> None:
        """Like ``update``, with one or more rows as ``stored`` makes them."""
        self.updating(columns)()

    def updating(self, columns: Columns) -> Load:
        """What does so, with all done beforehand that does not need the database."""
        if not self._own_columns():
            return _nothing
        update = None
        if self._has_own_way:
            update = self._loader.updating(
                self._table(), self._columns(), self._key_columns(), columns
            )
        if update is None and self._stage:
            update = self._updating_by_stage(self._stage, columns)
        return update or partial(self._update_one_by_one, columns)

    def close(self) -> None:
        """Remove what prepare_update made."""
        if self._stage:
            # On MariaDB and MySQL, without that word, this would commit the run half way.
            kind = "TEMPORARY TABLE" if self.connection.vendor == "mysql" else "TABLE"
            self._execute(f"DROP {kind} {self._quote(self._stage)}")
        self._stage = None

    def _can_stage(self) -> bool:
        return self.connection.vendor in ("postgresql", "mysql")

    def _updating_by_stage(self, name: str, columns: Columns) -> Load:
        stage, table = self._quote(name), self._table()
        match = " AND ".join(f"{table}.{key} = {stage}.{key}" for key in self._key_columns())
        if self.connection.vendor == "mysql":
            assignments = ", ".join(f"{table}.{c} = {stage}.{c}" for c in self._own_columns())
            update = f"UPDATE {table} INNER JOIN {stage} ON {match} SET {assignments}"
        else:
            assignments = ", ".join(f"{c} = {stage}.{c}" for c in self._own_columns())
            update = f"UPDATE {table} SET {assignments} FROM {stage} WHERE {match}"
        # What is only deleted, PostgreSQL reads past each time. (TRUNCATE commits on MySQL.)
        empty = "TRUNCATE" if self.connection.vendor == "postgresql" else "DELETE FROM"
        load = self._loading(stage, columns, len(columns[0]))

        def update_by_stage() -> None:
            load()
            self._execute(update)
            self._execute(f"{empty} {stage}")

        return update_by_stage

    def _update_one_by_one(self, columns: Columns) -> None:
        keys = self._key_columns()
        assignments = ", ".join(f"{column} = %s" for column in self._own_columns())
        match = " AND ".join(f"{key} = %s" for key in keys)
        is_key = [self._quote(str(field.column)) in keys for field in self.fields]
        # The keys come last, as they do in the statement.
        in_order = [
            columns[number] for number in sorted(range(len(is_key)), key=is_key.__getitem__)
        ]
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE {self._table()} SET {assignments} WHERE {match}",
                list(zip(*in_order, strict=True)),
            )

    # -- statements

    def stored(self, rows: Sequence[Row]) -> Columns:
        """The columns of one or more rows, with their values as the database stores them. Raises
        ValueError, TypeError and the like where it cannot hold one exactly."""
        return _converted(transposed(rows), self._convert)

    def _placeholders(self, rows: Sequence[Row]) -> tuple[list[str], list[Any]]:
        if not self.fields:
            # A model with nothing but an automatic key.
            return [f"({self.connection.ops.pk_default_value()})"] * len(rows), []
        if self._is_plain:
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
    if rows:
        insertion(alias, model, dict(zip(names, transposed(rows), strict=True)), same=same)()


def insertion(
    alias: str,
    model: type[Model],
    columns: Mapping[str, Sequence[Any]],
    *,
    same: Mapping[str, Any] | None = None,
) -> Load:
    """What inserts one or more rows like ``insert_objects``: name of a field -> its values. They
    are converted already: what is left to do is up to the database."""
    connection = connections[alias]
    number = len(next(iter(columns.values())))
    fields: list[Field[Any, Any]] = []
    found: list[Sequence[Any]] = []
    for name, values in columns.items():
        fields.append(cast("Field[Any, Any]", model._meta.get_field(name)))
        found += _converted([values], [converter(fields[-1], connection)])
    for name, value in (same or {}).items():
        fields.append(cast("Field[Any, Any]", model._meta.get_field(name)))
        # Converted once, not for every row.
        ((stored,),) = _converted([[value]], [converter(fields[-1], connection)])
        found.append([stored] * number)
    unconverted = [field.attname for field in fields]
    writer = TableWriter(connection, model, fields, unconverted=unconverted)
    return writer.inserting(found, number)


def _converted(
    columns: Columns, converters: Sequence[ConvertColumn | None]
) -> list[Sequence[Any]]:
    """Columns with their values as the database stores them."""
    return [
        column if convert is None else convert(column)
        for column, convert in zip(columns, converters, strict=True)
    ]


def _nothing() -> None:
    pass


def key_values(model: type[Model], pk: Any) -> tuple[Any, ...]:
    """A primary key as the values of its fields."""
    return tuple(pk) if isinstance(model._meta.pk, CompositePrimaryKey) else (pk,)


def _needs_own_placeholder(field: Field[Any, Any]) -> bool:
    # The drivers mark bytes as binary themselves.
    return not isinstance(field, BinaryField) and (
        hasattr(field, "get_placeholder") or hasattr(field, "get_placeholder_sql")
    )
