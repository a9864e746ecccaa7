"""Many rows into one table of MariaDB or MySQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from math import isfinite
from types import NoneType
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from synchro.loading.base import Columns, Load, Loader, is_constant, portions
from synchro.members import has_json_tables


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
            source = _json_table(portion)
            if source is None:
                loads.append(partial(super().load, table, names, portion))
            else:
                sql, parameters = source
                insert = f"INSERT INTO {table} ({', '.join(names)}) {sql}"
                loads.append(partial(self._execute, insert, parameters))

        def load() -> None:
            for one in loads:
                one()

        return load

    def _execute(self, sql: str, parameters: Sequence[Any]) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)

    def load_new(
        self, table: str, names: Sequence[str], columns: Columns, key: str
    ) -> list[Any] | None:
        sources = [_json_table(one) for one in portions(self.connection, columns, width=1)]
        if None in sources:
            return None
        keys: list[Any] = []
        with self.connection.cursor() as cursor:
            for sql, parameters in filter(None, sources):
                cursor.execute(
                    f"INSERT INTO {table} ({', '.join(names)}) {sql} RETURNING {key}", parameters
                )
                keys += [found for (found,) in cursor.fetchall()]
        return keys


def _json_table(columns: Columns) -> tuple[str, list[Any]] | None:
    """A SELECT of rows, and its parameters; None if the values cannot travel in JSON."""
    wanted: list[str] = []
    parts: list[str] = []
    common: list[Any] = []
    varying: list[Sequence[Any]] = []
    for column in columns:
        if is_constant(column):
            wanted.append("%s")
            common.append(column[0])
            continue
        kind = _kind(column)
        if kind is None:
            return None
        number = len(varying)
        wanted.append(kind.decode.format(f"c{number}"))
        parts.append(f"c{number} {kind.column} PATH '$[{number}]' ERROR ON ERROR")
        varying.append(
            column
            if kind.encode is None
            else [None if value is None else kind.encode(value) for value in column]
        )
    if not varying:
        return None
    document = json.dumps(
        list(zip(*varying, strict=True)), ensure_ascii=False, separators=(",", ":")
    )
    return (
        f"SELECT {', '.join(wanted)} FROM JSON_TABLE(%s, '$[*]' COLUMNS ({', '.join(parts)})) "
        "AS given",
        [*common, document],
    )


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
