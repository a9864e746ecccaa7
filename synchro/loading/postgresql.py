"""Many rows into one table of PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache, partial
from itertools import repeat
from types import NoneType
from typing import Any, Final
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from synchro.loading.base import Columns, Load, Loader, watched


class CopyLoader(Loader):
    """``COPY`` of PostgreSQL, by psycopg 3."""

    @classmethod
    def supports(cls, connection: BaseDatabaseWrapper) -> bool:
        if connection.vendor != "postgresql":
            return False
        from django.db.backends.postgresql.psycopg_any import is_psycopg3

        return bool(is_psycopg3)

    def load(self, table: str, names: Sequence[str], columns: Columns) -> None:
        # The server reads some while the next ones are written out.
        self._copy(table, names, columns, _pieces(columns))

    def loading(self, table: str, names: Sequence[str], columns: Columns) -> Load:
        return partial(self._copy, table, names, columns, list(_pieces(columns)))

    def _copy(
        self, table: str, names: Sequence[str], columns: Columns, pieces: Iterable[str | Columns]
    ) -> None:
        """``columns``: what those see who watch the connection."""

        def copy_in(sql: str, columns: Columns, many: bool, context: Any) -> None:
            with self.connection.wrap_database_errors, cursor.copy(sql) as copy:
                for piece in pieces:
                    if isinstance(piece, str):
                        copy.write(piece)
                        continue
                    for row in zip(*piece, strict=True):
                        copy.write_row(row)

        sql = f"COPY {table} ({', '.join(names)}) FROM STDIN"
        with self.connection.cursor() as found:
            cursor: Any = found
            watched(self.connection, cursor, copy_in, sql, columns, many=True)


def _pieces(columns: Columns) -> Iterator[str | Columns]:
    """Rows in portions: as text, or as they are where that cannot be."""
    for start in range(0, len(columns[0]), _ROWS_AHEAD):
        some = [column[start : start + _ROWS_AHEAD] for column in columns]
        text = _copy_text(some)
        yield some if text is None else text


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


def _copy_text(columns: Columns) -> str | None:
    """Rows in the text format of ``COPY``; None if they have values of other types.

    https://www.postgresql.org/docs/current/sql-copy.html, "Text Format".
    """
    number = len(columns[0])
    texts: list[Iterable[str]] = []
    same = ""
    """What the columns in hand, one beside the other, have in common in all rows."""
    for column in columns:
        is_one = len(set(map(id, column))) == 1
        text = _column_text(column[:1] if is_one else column)
        if text is None:
            return None
        if is_one:
            same += f"{text[0]}\t"
            continue
        if same:
            texts.append(repeat(same[:-1], number))
            same = ""
        texts.append(text)
    if same:
        texts.append(repeat(same[:-1], number))
    return "\n".join(map("\t".join, zip(*texts, strict=True))) + "\n"


def _column_text(column: Sequence[Any]) -> list[str] | None:
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
        return ["\\N" if value is None else to_text(value) for value in column]
    return list(map(to_text, column))


def _copy_text_of(column: Sequence[str | None]) -> Callable[[Any], str] | None:
    """What makes text ready for ``COPY``; None if it cannot be stored as text at all."""
    together = "".join(filter(None, column))
    if "\0" in together:
        # psycopg has an error for this that says so.
        return None
    if any(character in together for character in "\\\n\r\t"):
        return lambda value: value.translate(_COPY_ESCAPES)
    return str
