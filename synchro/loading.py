"""Many rows into one table: the fast way of each database, and a plain one for all of them.

Rows come in as the database stores them. All ways do the same; ``supports`` tells where a way can
be taken.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache, partial, reduce
from itertools import chain
from math import isfinite
from types import NoneType
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from synchro.chunks import batched
from synchro.members import has_json_tables

Row = Sequence[Any]

_PARAMETERS_ON_SQLITE: Final = 4000
"""A longer statement is no quicker there, and takes some MB to be prepared."""

_BYTES_PER_STATEMENT: Final = 4 * 1024 * 1024
"""Statements stay below this size: servers refuse packets above a limit (16 MiB on MariaDB)."""


class Loader(ABC):
    """Inserts rows into tables of one database."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    @classmethod
    @abstractmethod
    def supports(cls, connection: BaseDatabaseWrapper) -> bool:
        """Whether the database, and its driver, can do it this way."""

    @abstractmethod
    def load(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert rows. The names of the table and its columns are quoted already."""

    def load_new(
        self, table: str, columns: Sequence[str], rows: Sequence[Row], key: str
    ) -> list[Any] | None:
        """Insert rows of which the database makes up the key. Returns the keys, in the order of
        the rows; None, and nothing is inserted, where this way cannot tell them."""
        return None


class PlainLoader(Loader):
    """``INSERT`` with many rows in one statement. Works everywhere."""

    @classmethod
    def supports(cls, connection: BaseDatabaseWrapper) -> bool:
        return True

    def load(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        one = f"({', '.join(['%s'] * len(columns))})"
        insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "
        with self.connection.cursor() as cursor:
            for portion in portions(self.connection, rows, len(columns)):
                cursor.execute(
                    insert + ", ".join([one] * len(portion)), list(chain.from_iterable(portion))
                )


class ConstantsLoader(PlainLoader):
    """``INSERT`` with many rows in one statement, and with what all of them have in common given
    once: what SQLite is quickest with. (Run for each row, even a prepared statement takes twice
    as long: with AUTOINCREMENT it notes the newest key each time.)"""

    @classmethod
    def supports(cls, connection: BaseDatabaseWrapper) -> bool:
        return connection.vendor == "sqlite"

    def load(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        if not rows:
            return
        given = list(zip(*rows, strict=True))
        same = [number for number, column in enumerate(given) if _is_constant(column)]
        varying = [number for number in range(len(given)) if number not in same]
        if not same or not varying:
            super().load(table, columns, rows)
            return
        names = [columns[number] for number in (*same, *varying)]
        common = [given[number][0] for number in same]
        wanted = ["%s"] * len(same) + [f"column{at}" for at in range(1, len(varying) + 1)]
        one = f"({', '.join(['%s'] * len(varying))})"
        insert = (
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(wanted)} FROM (VALUES "
        )
        rest = list(zip(*(given[number] for number in varying), strict=True))
        with self.connection.cursor() as cursor:
            for portion in portions(self.connection, rest, len(varying), common=len(common)):
                cursor.execute(
                    f"{insert}{', '.join([one] * len(portion))})",
                    [*common, *chain.from_iterable(portion)],
                )


class BatchLoader(Loader):
    """The driver's ``executemany``: those of MariaDB and MySQL make long statements of it, and
    write out the values with less effort than ``execute`` does."""

    @classmethod
    def supports(cls, connection: BaseDatabaseWrapper) -> bool:
        return connection.vendor == "mysql"

    def load(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        marks = ", ".join(["%s"] * len(columns))
        with self.connection.cursor() as cursor:
            for portion in portions(self.connection, rows, len(columns)):
                cursor.executemany(
                    f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", portion
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

    def load(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        for portion in portions(self.connection, rows, 1):
            source = _json_table(portion)
            if source is None:
                super().load(table, columns, portion)
                continue
            sql, parameters = source
            with self.connection.cursor() as cursor:
                cursor.execute(f"INSERT INTO {table} ({', '.join(columns)}) {sql}", parameters)

    def load_new(
        self, table: str, columns: Sequence[str], rows: Sequence[Row], key: str
    ) -> list[Any] | None:
        sources = [_json_table(portion) for portion in portions(self.connection, rows, 1)]
        if None in sources:
            return None
        keys: list[Any] = []
        with self.connection.cursor() as cursor:
            for sql, parameters in filter(None, sources):
                cursor.execute(
                    f"INSERT INTO {table} ({', '.join(columns)}) {sql} RETURNING {key}", parameters
                )
                keys += [found for (found,) in cursor.fetchall()]
        return keys


def _json_table(rows: Sequence[Row]) -> tuple[str, list[Any]] | None:
    """A SELECT of rows, and its parameters; None if the values cannot travel in JSON."""
    wanted: list[str] = []
    parts: list[str] = []
    common: list[Any] = []
    varying: list[Sequence[Any]] = []
    for column in zip(*rows, strict=True):
        if _is_constant(column):
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


def _is_constant(column: Sequence[Any]) -> bool:
    """Whether all values are the same, and not only equal (as 0.0 and -0.0, or 1 and True)."""
    equal = column.count(column[0]) == len(column)
    return equal and len(set(map(type, column))) == 1 and type(column[0]) is not float


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


class CopyLoader(Loader):
    """``COPY`` of PostgreSQL, by psycopg 3."""

    @classmethod
    def supports(cls, connection: BaseDatabaseWrapper) -> bool:
        if connection.vendor != "postgresql":
            return False
        from django.db.backends.postgresql.psycopg_any import is_psycopg3

        return bool(is_psycopg3)

    def load(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        sql = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
        self.connection.validate_no_broken_transaction()
        with self.connection.cursor() as cursor:
            # Like any other statement, this one is seen by who watches the connection.
            context = {"connection": self.connection, "cursor": cursor}
            execute = reduce(
                lambda inner, wrapper: partial(wrapper, inner),
                self.connection.execute_wrappers,
                partial(self._copy, cursor),
            )
            execute(sql, rows, True, context)

    def _copy(self, cursor: Any, sql: str, rows: Sequence[Row], many: bool, context: Any) -> None:
        with self.connection.wrap_database_errors, cursor.copy(sql) as copy:
            # The server reads some while the next ones are written out.
            for start in range(0, len(rows), _ROWS_AHEAD):
                some = rows[start : start + _ROWS_AHEAD]
                text = _copy_text(some)
                if text is not None:
                    copy.write(text)
                    continue
                for row in some:
                    copy.write_row(row)


_ROWS_AHEAD: Final = 500

_COPY_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_COPY_TEXTS: Final[dict[type, Callable[[Any], str]]] = {
    int: str,
    bool: {True: "t", False: "f"}.__getitem__,
    float: repr,
    Decimal: str,
    UUID: str,
    datetime: str,
    date: str,
    time: str,
    bytes: lambda value: f"\\\\x{value.hex()}",
}
"""Type -> its text in ``COPY``. (psycopg does the same, row by row.)"""


@cache
def _copy_texts() -> dict[type, Callable[[Any], str]]:
    """Like ``_COPY_TEXTS``, with what Django hands over for bytes."""
    from psycopg import Binary

    to_text = _COPY_TEXTS[bytes]
    return {**_COPY_TEXTS, Binary: lambda value: to_text(bytes(value.obj))}


def _copy_text(rows: Sequence[Row]) -> str | None:
    """Rows in the text format of ``COPY``; None if they have values of other types.

    https://www.postgresql.org/docs/current/sql-copy.html, "Text Format".
    """
    columns: list[Sequence[str]] = []
    for column in zip(*rows, strict=True):
        types = set(map(type, column))
        has_null = NoneType in types
        types.discard(NoneType)
        if len(types) > 1:
            return None
        (kind,) = types or {str}
        to_text = _copy_text_of(column) if kind is str else _copy_texts().get(kind)
        if to_text is None:
            return None
        if has_null:
            columns.append(["\\N" if value is None else to_text(value) for value in column])
        else:
            columns.append(list(map(to_text, column)))
    return "\n".join(map("\t".join, zip(*columns, strict=True))) + "\n"


def _copy_text_of(column: Sequence[str | None]) -> Callable[[Any], str] | None:
    """What makes text ready for ``COPY``; None if it cannot be stored as text at all."""
    together = "".join(filter(None, column))
    if "\0" in together:
        # psycopg has an error for this that says so.
        return None
    if any(character in together for character in "\\\n\r\t"):
        return lambda value: value.translate(_COPY_ESCAPES)
    return str


FAST: tuple[type[Loader], ...] = (CopyLoader, ConstantsLoader, JsonLoader, BatchLoader)
"""The fast ways, of which the first that the database supports is taken."""


def loader(connection: BaseDatabaseWrapper) -> Loader:
    """The fastest way for a database."""
    kind = next((kind for kind in FAST if kind.supports(connection)), PlainLoader)
    return kind(connection)


def portions(
    connection: BaseDatabaseWrapper, rows: Sequence[Row], width: int, *, common: int = 0
) -> Iterator[Sequence[Row]]:
    """Rows in portions that one statement can hold, which has ``common`` parameters besides."""
    most = max(1, (most_parameters(connection) - common) // max(1, width))
    if _total(rows) < _BYTES_PER_STATEMENT:
        for start in range(0, len(rows), most):
            yield rows[start : start + most]
        return
    for chunk in batched(rows, most):
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


def most_parameters(connection: BaseDatabaseWrapper) -> int:
    if connection.vendor == "sqlite":
        import sqlite3

        connection.ensure_connection()
        limit: int = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        return min(limit, _PARAMETERS_ON_SQLITE)
    return connection.features.max_query_params or 65_535


def _total(rows: Sequence[Row]) -> int:
    """About how many bytes rows take in a statement, column by column: most have a fixed size."""
    total = 0
    for column in zip(*rows, strict=True):
        kinds = set(map(type, column))
        if kinds <= {str, NoneType}:
            text = "".join(filter(None, column))
            total += (1 if text.isascii() else 4) * len(text)
        elif kinds & _LONG:
            total += sum(map(_weight, column))
        else:
            total += 30 * len(rows)
    return total


_LONG: Final = {str, bytes, memoryview}


def _weight(value: Any) -> int:
    """About how many bytes a value takes in a statement."""
    if isinstance(value, str):
        return len(value) if value.isascii() else 4 * len(value)
    return len(value) if isinstance(value, bytes | memoryview) else 8
