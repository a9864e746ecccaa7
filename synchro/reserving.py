"""Automatic keys taken before their rows are written: then rows can be loaded in the fast way,
and who stands for whom is known without asking."""

from __future__ import annotations

from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

_LAST: Final = 2**63 - 1
_WORTH_IT: Final = 200
"""For fewer rows the questions cost more than the fast way saves."""


def reserve_keys(
    connection: BaseDatabaseWrapper, model: type[Model], number: int
) -> list[int] | None:
    """Automatic keys for so many rows, that nobody else will get; None for a few rows, and where
    the database hands out keys with the rows only."""
    if number < _WORTH_IT:
        return None
    if connection.vendor == "postgresql":
        return _from_sequence(connection, model, number)
    if connection.vendor == "sqlite" and connection.in_atomic_block:
        return _behind_the_last(connection, model, number)
    return None


def _from_sequence(
    connection: BaseDatabaseWrapper, model: type[Model], number: int
) -> list[int] | None:
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_serial_sequence(%s, %s)", [table, str(model._meta.pk.column)]
        )
        (sequence,) = cursor.fetchone()
        if sequence is None:
            return None
        cursor.execute(
            "SELECT nextval(%s::regclass) FROM generate_series(1, %s)", [sequence, number]
        )
        return [key for (key,) in cursor.fetchall()]


def _behind_the_last(
    connection: BaseDatabaseWrapper, model: type[Model], number: int
) -> list[int] | None:
    quote: Any = connection.ops.quote_name
    table, column = quote(model._meta.db_table), quote(str(model._meta.pk.column))
    with connection.cursor() as cursor:
        # From the first statement that could write, nobody else writes until the transaction ends.
        cursor.execute(f"DELETE FROM {table} WHERE 0")
        cursor.execute(
            f"SELECT MAX({column}), EXISTS(SELECT 1 FROM sqlite_master WHERE name = "
            f"'sqlite_sequence') FROM {table}"
        )
        highest, has_sequences = cursor.fetchone()
        last = max(0, highest or 0)
        if has_sequences:
            # Keys of rows that are gone are not used again.
            cursor.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = %s", [model._meta.db_table]
            )
            found = cursor.fetchone()
            last = max(last, found[0] if found else 0)
    if last > _LAST - number:
        return None
    return list(range(last + 1, last + 1 + number))
