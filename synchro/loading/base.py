"""What loads many rows into one table, and the plain way that works in every database.

Rows come in column by column, with values as the database stores them: that is how the fast ways
look at them. All ways do the same; ``supports`` tells where a way can be taken.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial, reduce
from itertools import chain
from types import NoneType
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

Columns = Sequence[Sequence[Any]]
"""The values of one or more rows, column by column."""

Load = Callable[[], None]
"""Inserts or updates rows that it has in hand."""

_PARAMETERS_ON_SQLITE: Final = 5000
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
    def load(self, table: str, names: Sequence[str], columns: Columns) -> None:
        """Insert rows. The names of the table and its columns are quoted already."""

    def loading(self, table: str, names: Sequence[str], columns: Columns) -> Load:
        """What does so, with all done beforehand that does not need the database."""
        return partial(self.load, table, names, columns)

    def load_new(
        self, table: str, names: Sequence[str], columns: Columns, key: str
    ) -> list[Any] | None:
        """Insert rows of which the database makes up the key. Returns the keys, in the order of
        the rows; None, and nothing is inserted, where this way cannot tell them."""
        return None

    def can_update(
        self, table: str, names: Sequence[str], keys: Sequence[str], kinds: Collection[type]
    ) -> bool:
        """Whether ``updating`` does to rows of a table that are there what ``UPDATE`` would do to
        them. The names are not quoted; ``kinds``: the classes of the keys' fields."""
        return False

    def updating(
        self, table: str, names: Sequence[str], keys: Sequence[str], columns: Columns
    ) -> Load | None:
        """What gives those of the rows that are there, by the keys, their other values; None if
        this way cannot carry the values. The names are quoted already. To be called only where
        ``can_update``."""
        raise NotImplementedError


class PlainLoader(Loader):
    """``INSERT`` with many rows in one statement. Works everywhere."""

    @classmethod
    def supports(cls, connection: BaseDatabaseWrapper) -> bool:
        return True

    def load(self, table: str, names: Sequence[str], columns: Columns) -> None:
        one = f"({', '.join(['%s'] * len(names))})"
        insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES "
        for portion in portions(self.connection, columns, width=len(names)):
            marks = ", ".join([one] * len(portion[0]))
            self.execute(f"{insert}{marks}", values(portion))

    def execute(self, sql: str, parameters: Sequence[Any]) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)


def watched(
    connection: BaseDatabaseWrapper,
    cursor: Any,
    execute: Callable[..., None],
    sql: str,
    parameters: Any,
    *,
    many: bool,
) -> None:
    """Run a statement past Django's cursor, and yet seen by who watches the connection
    (``execute_wrapper``), as any other is. ``execute``: called with the SQL, the parameters,
    whether they are many, and the wrappers' context."""
    connection.validate_no_broken_transaction()
    context = {"connection": connection, "cursor": cursor}
    wrapped = reduce(
        lambda inner, wrapper: partial(wrapper, inner),
        reversed(connection.execute_wrappers),
        execute,
    )
    wrapped(sql, parameters, many, context)


def is_constant(column: Sequence[Any]) -> bool:
    """Whether all values are the same, and not only equal (as 0.0 and -0.0, or 1 and True)."""
    equal = column[0] == column[-1] and column.count(column[0]) == len(column)
    return equal and len(set(map(type, column))) == 1 and type(column[0]) is not float


def values(columns: Columns) -> list[Any]:
    """The values row by row, as a statement takes them."""
    return list(chain.from_iterable(zip(*columns, strict=True)))


def portions(
    connection: BaseDatabaseWrapper, columns: Columns, *, width: int, common: int = 0
) -> Iterator[Columns]:
    """Rows in portions that one statement can hold, where a row has ``width`` parameters and the
    statement ``common`` ones besides."""
    most = max(1, (most_parameters(connection) - common) // max(1, width))
    number = len(columns[0])
    starts = list(range(0, number, most))
    if _total(columns) >= _BYTES_PER_STATEMENT:
        starts = _starts(columns, most)
    for start, end in zip(starts, [*starts[1:], number], strict=True):
        yield [column[start:end] for column in columns]


def _starts(columns: Columns, most: int) -> list[int]:
    """Where portions begin whose rows are at most so many, and not too long together."""
    starts = [0]
    size = 0
    for number, row in enumerate(zip(*columns, strict=True)):
        weight = sum(map(_weight, row))
        if number > starts[-1] and (
            number - starts[-1] == most or size + weight > _BYTES_PER_STATEMENT
        ):
            starts.append(number)
            size = 0
        size += weight
    return starts


def most_parameters(connection: BaseDatabaseWrapper) -> int:
    if connection.vendor == "sqlite":
        import sqlite3

        connection.ensure_connection()
        limit: int = connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        return min(limit, _PARAMETERS_ON_SQLITE)
    return connection.features.max_query_params or 65_535


def _total(columns: Columns) -> int:
    """About how many bytes rows take in a statement: most columns have a fixed size."""
    total = 0
    for column in columns:
        kinds = set(map(type, column))
        if kinds <= {str, NoneType}:
            text = "".join(filter(None, column))
            total += (1 if text.isascii() else 4) * len(text)
        elif kinds & _LONG:
            total += sum(map(_weight, column))
        else:
            total += 30 * len(column)
    return total


_LONG: Final = {str, bytes, memoryview}


def _weight(value: Any) -> int:
    """About how many bytes a value takes in a statement."""
    if isinstance(value, str):
        return len(value) if value.isascii() else 4 * len(value)
    return len(value) if isinstance(value, bytes | memoryview) else 8
