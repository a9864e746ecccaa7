"""Many rows into one table of SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from synchro.loading.base import (
    Columns,
    Load,
    PlainLoader,
    is_constant,
    portions,
    values,
    watched,
)


class ConstantsLoader(PlainLoader):
    """``INSERT`` with many rows in one statement, and with what all of them have in common given
    once: what SQLite is quickest with. (Run for each row, even a prepared statement takes twice
    as long: with AUTOINCREMENT it notes the newest key each time.)"""

    @classmethod
    def supports(cls, connection: BaseDatabaseWrapper) -> bool:
        return connection.vendor == "sqlite"

    def load(self, table: str, names: Sequence[str], columns: Columns) -> None:
        self._insert(table, names, columns)

    def can_update(
        self, table: str, names: Sequence[str], keys: Sequence[str], kinds: Collection[type]
    ) -> bool:
        """Where the rows have all columns, so that those to be inserted instead would be
        complete; where no trigger could take them for new ones; and where the table has no rules
        of its own for conflicts, nor the name that SQL has for the row in the way."""
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT name, pk FROM pragma_table_xinfo(%s) WHERE hidden = 0 "
                "AND EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = %s "
                "AND sql LIKE 'CREATE TABLE%%' AND sql NOT LIKE '%%ON CONFLICT%%') "
                "AND NOT EXISTS (SELECT 1 FROM "
                "(SELECT * FROM sqlite_master UNION ALL SELECT * FROM sqlite_temp_master) "
                "WHERE type = 'trigger' AND tbl_name = %s COLLATE NOCASE)",
                [table, table, table],
            )
            found = cursor.fetchall()
        primary = {name for name, position in found if position}
        complete = primary == set(keys) and {name for name, _ in found} == set(names)
        return complete and table.lower() != "excluded"

    def updating(
        self, table: str, names: Sequence[str], keys: Sequence[str], columns: Columns
    ) -> Load:
        """``INSERT ... ON CONFLICT DO UPDATE``, which SQLite takes for many rows at once: two
        thirds of the time of an ``UPDATE`` for each of them."""
        own = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
        otherwise = f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {own}"
        return partial(self._insert, table, names, columns, keys=keys, otherwise=otherwise)

    def _insert(
        self,
        table: str,
        names: Sequence[str],
        columns: Columns,
        *,
        keys: Sequence[str] = (),
        otherwise: str = "",
    ) -> None:
        """``keys``: only rows that are there, by these columns; ``otherwise``: what to do with
        them."""
        same = [
            number
            for number, column in enumerate(columns)
            if is_constant(column) and names[number] not in keys
        ]
        varying = [number for number in range(len(columns)) if number not in same]
        if not varying:
            same, varying = [], same
        common = [columns[number][0] for number in same]
        into = ", ".join(names[number] for number in (*same, *varying))
        start, end = f"INSERT INTO {table} ({into}) VALUES ", ""
        if same or keys:
            given = {number: f"column{at}" for at, number in enumerate(varying, 1)}
            wanted = ", ".join([*["%s"] * len(same), *given.values()])
            start = f"INSERT INTO {table} ({into}) SELECT {wanted} FROM (VALUES "
            there = " AND ".join(f"{table}.{key} = {given[names.index(key)]}" for key in keys)
            end = f") WHERE EXISTS (SELECT 1 FROM {table} WHERE {there})" if keys else ")"
        one = f"({', '.join(['%s'] * len(varying))})"
        for portion in portions(
            self.connection,
            [columns[number] for number in varying],
            width=len(varying),
            common=len(common),
        ):
            marks = ", ".join([one] * len(portion[0]))
            self.execute(f"{start}{marks}{end}{otherwise}", [*common, *values(portion)])

    def execute(self, sql: str, parameters: Sequence[Any]) -> None:
        with self.connection.cursor() as cursor:
            plain: Any = cursor
            # Who looks at the queries (DEBUG) is shown them with their values. And what stands in
            # for a cursor of SQLite's (to trace it) only says that it is one.
            is_own = issubclass(type(plain.cursor), sqlite3.Cursor)
            if self.connection.queries_logged or not is_own:
                cursor.execute(sql, parameters)
                return
            watched(self.connection, cursor, self._run, sql, parameters, many=False)

    def _run(self, sql: str, parameters: Any, many: bool, context: Any) -> None:
        # Django would search the whole statement for %s, which takes a third of the time.
        sql = sql.replace("%s", "?")
        with self.connection.wrap_database_errors:
            sqlite3.Cursor.execute(context["cursor"].cursor, sql, parameters)
