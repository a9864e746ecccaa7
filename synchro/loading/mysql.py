"""Many rows into one table of MariaDB or MySQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from math import isfinite
from types import NoneType
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from synchro.loading.base import Columns, Load, Loader, is_constant, portions
from synchro.members import NUMBERS, has_json_tables


class BatchLoader(Loader):
    """The driver's ``executemany``: those of MariaDB and MySQL make long statements of it, and
    write out the values with less effort than ``execute`` does."""

    @classmethod
    def supports(cls, connection: BaseDatabaseWrapper) -> bool:
        return connection.vendor == "mysql"

    def load(self, table: str, names: Sequence[str], columns: Columns) -> None:
        marks = ", ".join(["%s"] * len(names))
        with self.connection.cursor() as cursor:
            for portion in portions(self.connection, columns, width=len(names)):
                cursor.executemany(
                    f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})",
                    list(zip(*portion, strict=True)),
                )


class _Kind(NamedTuple):
    """How values of one type travel in JSON."""

    column: str
    """The type that the server reads them as."""
    encode: Callable[[Any], Any] | None = None
    decode: str = "{}"
    """What makes the value again in SQL."""


_TEXT: Final = "LONGTEXT CHARACTER SET utf8mb4"
_KINDS: Final[dict[type, _Kind]] = {
    str: _Kind(_TEXT),
    int: _Kind("BIGINT"),
    bool: _Kind("BIGINT", int),
    float: _Kind("DOUBLE"),
    Decimal: _Kind(_TEXT, "{:f}".format),
    date: _Kind(_TEXT, str),
    datetime: _Kind(_TEXT, str),
    bytes: _Kind(_TEXT, bytes.hex, "UNHEX({})"),
}


class _Source(NamedTuple):
    """Rows as a table that MariaDB makes from one parameter."""

    values: list[str]
    """The value of each column, in SQL."""
    common: list[Any]
    """The parameters of those that all rows have in common."""
    table: str
    """``JSON_TABLE(...) AS synchro_given``"""
    document: str
    """Its parameter."""


class JsonLoader(BatchLoader):
    """All rows as one parameter, from which MariaDB makes a table (``JSON_TABLE``): the drivers
    write out one text instead of every value, and the server reads it quicker."""

    @classmethod
    def supports(cls, connection: BaseDatabaseWrapper) -> bool:
        return has_json_tables(connection)

    def load(self, table: str, names: Sequence[str], columns: Columns) -> None:
        self.loading(table, names, columns)()

    def loading(self, table: str, names: Sequence[str], columns: Columns) -> Load:
        loads: list[Load] = []
        for portion in portions(self.connection, columns, width=1):
            source = _source(portion)
            if source is None:
                loads.append(partial(super().load, table, names, portion))
            else:
                insert = _insert(table, names, source)
                loads.append(partial(self._execute, insert, [*source.common, source.document]))
        return partial(_in_turn, loads)

    def _execute(self, sql: str, parameters: Sequence[Any]) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)

    def load_new(
        self, table: str, names: Sequence[str], columns: Columns, key: str
    ) -> list[Any] | None:
        sources = [_source(one) for one in portions(self.connection, columns, width=1)]
        if None in sources:
            return None
        keys: list[Any] = []
        with self.connection.cursor() as cursor:
            for source in filter(None, sources):
                cursor.execute(
                    f"{_insert(table, names, source)} RETURNING {key}",
                    [*source.common, source.document],
                )
                keys += [found for (found,) in cursor.fetchall()]
        return keys

    def can_update(
        self, table: str, names: Sequence[str], keys: Sequence[str], kinds: Collection[type]
    ) -> bool:
        """Where keys are whole numbers: text would be compared by another collation than that of
        its column, or as a number."""
        return NUMBERS.issuperset(kinds)

    def updating(
        self, table: str, names: Sequence[str], keys: Sequence[str], columns: Columns
    ) -> Load | None:
        """``UPDATE`` of what is joined to the table made of the rows: a fifth less time for them
        than by a temporary table."""
        key_columns = [number for number, name in enumerate(names) if name in keys]
        loads: list[Load] = []
        for portion in portions(self.connection, columns, width=1):
            source = _source(portion, varying=key_columns)
            if source is None:
                return None
            pairs = [
                f"{table}.{name} = {value}"
                for name, value in zip(names, source.values, strict=True)
            ]
            match = " AND ".join(pairs[number] for number in key_columns)
            own = ", ".join(pair for number, pair in enumerate(pairs) if number not in key_columns)
            # The rows in hand come first, each of which leads to one of the table, however few
            # rows the server takes the table to have.
            update = f"UPDATE {source.table} STRAIGHT_JOIN {table} ON {match} SET {own}"
            loads.append(partial(self._execute, update, [source.document, *source.common]))
        return partial(_in_turn, loads)


def _in_turn(loads: Sequence[Load]) -> None:
    for load in loads:
        load()


def _insert(table: str, names: Sequence[str], source: _Source) -> str:
    return (
        f"INSERT INTO {table} ({', '.join(names)}) "
        f"SELECT {', '.join(source.values)} FROM {source.table}"
    )


def _source(columns: Columns, *, varying: Sequence[int] = ()) -> _Source | None:
    """Rows as a table; None if the values cannot travel in JSON. ``varying``: the numbers of
    columns that are not taken for what the rows have in common."""
    values: list[str] = []
    parts: list[str] = []
    common: list[Any] = []
    given: list[Sequence[Any]] = []
    for number, column in enumerate(columns):
        if number not in varying and is_constant(column):
            values.append("%s")
            common.append(column[0])
            continue
        kind = _kind(column)
        if kind is None:
            return None
        name = f"c{len(given)}"
        values.append(kind.decode.format(f"synchro_given.{name}"))
        parts.append(f"{name} {kind.column} PATH '$[{len(given)}]' ERROR ON ERROR")
        given.append(
            column
            if kind.encode is None
            else [None if value is None else kind.encode(value) for value in column]
        )
    if not given:
        return None
    document = json.dumps(
        list(zip(*given, strict=True)), ensure_ascii=False, separators=(",", ":")
    )
    table = f"JSON_TABLE(%s, '$[*]' COLUMNS ({', '.join(parts)})) AS synchro_given"
    return _Source(values, common, table, document)


def _kind(column: Sequence[Any]) -> _Kind | None:
    """How the values of a column travel in JSON; None if they cannot."""
    types = set(map(type, column)) - {NoneType}
    if not types:
        return _KINDS[str]
    if len(types) > 1:
        return None
    (one,) = types
    values = [value for value in column if value is not None]
    if one is int and not -(2**63) <= min(values) <= max(values) < 2**63:
        return None
    if one is float and not all(map(isfinite, values)):
        return None
    return _KINDS.get(one)
