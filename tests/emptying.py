"""Empties the tables of a test database, and only those that have something to be removed.

``flush``, by which Django does it, empties all of them and makes content types and permissions
anew, however few rows there are: that takes longer than most tests.
"""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

State = dict[str, list[tuple[Any, ...]]]
"""Table -> its rows."""


class Emptier:
    """Brings a database into the state in which ``flush`` leaves it."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._flushed: State | None = None

    @property
    def connection(self) -> BaseDatabaseWrapper:
        # Asked each time: beside a browser's event loop there is another one than before it.
        return connections[self.alias]

    def empty(self) -> None:
        filled = self._filled()
        kept = self._flushed
        if kept is None or not kept.keys() <= set(filled) or self._rows([*kept]) != kept:
            call_command("flush", verbosity=0, interactive=False, database=self.alias)
            self._flushed = self._rows(self._filled())
            return
        self._delete([table for table in filled if table not in kept])

    def _filled(self) -> list[str]:
        """The tables that ``flush`` empties and that have rows."""
        tables = self.connection.introspection.django_table_names(
            only_existing=True, include_views=False
        )
        ask = " UNION ALL ".join(
            f"(SELECT %s FROM {self._quote(table)} LIMIT 1)"
            if self.connection.vendor != "sqlite"
            else f"SELECT * FROM (SELECT %s FROM {self._quote(table)} LIMIT 1)"
            for table in tables
        )
        with self.connection.cursor() as cursor:
            cursor.execute(ask, tables)
            return [table for (table,) in cursor.fetchall()]

    def _rows(self, tables: list[str]) -> State:
        with self.connection.cursor() as cursor:
            found = {}
            for table in tables:
                cursor.execute(f"SELECT * FROM {self._quote(table)}")
                found[table] = sorted(cursor.fetchall(), key=repr)
            return found

    def _delete(self, tables: list[str]) -> None:
        with (
            self.connection.constraint_checks_disabled(),
            transaction.atomic(using=self.alias),
            self.connection.cursor() as cursor,
        ):
            for table in tables:
                cursor.execute(f"DELETE FROM {self._quote(table)}")

    def _quote(self, name: str) -> str:
        return self.connection.ops.quote_name(name)
