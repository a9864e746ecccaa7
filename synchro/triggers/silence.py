"""Suspension for the database's own triggers, for exactly the current connection and context.

A write in a suspended context is told to the database just before it, and only if the database
has triggers: a suspension in which nothing is written costs nothing. Each database has a way that
cannot outlive what it is for:

PostgreSQL
    a setting that holds until the transaction ends, or is rolled back to before it;
MariaDB, MySQL
    a variable of the session, emptied when the suspension ends;
SQLite
    a row in a table, there only while one statement runs, in a transaction of its own or of the
    caller's: nobody else can write at that time, and it is never committed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import islice
from typing import Any, Final

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from synchro import suspend
from synchro.suspend import is_suspended
from synchro.triggers import presence
from synchro.triggers.mysql import VARIABLE
from synchro.triggers.postgresql import SETTING
from synchro.triggers.sqlite import SILENCE

_WRITES: Final = re.compile(
    r"(?:\s|\(|/\*.*?\*/|--[^\n]*\n)*"
    r"(?:insert|update|delete|replace|merge|truncate|copy|with|call|do|load|execute)\b",
    re.IGNORECASE | re.DOTALL,
)
_GOES_BACK: Final = re.compile(r"\s*(?:rollback|release|savepoint)\b", re.IGNORECASE)
"""All that a transaction that has failed still takes."""
_ATTRIBUTE: Final = "_synchro_silent"


def connect() -> None:
    """Watch over all connections of this process."""
    connection_created.connect(_watch, dispatch_uid="synchro.silence")
    for connection in connections.all(initialized_only=True):
        _watch(connection=connection)
    if end not in suspend.on_end:
        suspend.on_end.append(end)


class _Told(threading.local):
    """The connections of this thread that were silenced since the last suspension ended."""

    def __init__(self) -> None:
        self.connections: set[BaseDatabaseWrapper] = set()


_told: Final = _Told()


def end() -> None:
    """Undo what silenced the connections of this context."""
    # Most suspensions end without any, and that must cost next to nothing.
    while _told.connections:
        connection = _told.connections.pop()
        if is_silent(connection):
            with suppress(DatabaseError):
                # If it does not answer any more, or its transaction has failed, then what
                # silenced it goes with the session or the transaction.
                _be_loud(connection)


def is_silent(connection: BaseDatabaseWrapper) -> bool:
    """Whether the database has been told to log nothing that comes by this connection."""
    state = getattr(connection, _ATTRIBUTE, None)
    if state is None:
        return False
    if connection.vendor == "mysql":
        return state is connection.connection
    return _last_mark(connection)


def _watch(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if _silence not in connection.execute_wrappers:
        connection.execute_wrappers.append(_silence)


def _silence(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    connection = context["connection"]
    if not is_suspended():
        if (
            getattr(connection, _ATTRIBUTE, None) is not None
            and not (isinstance(sql, str) and _GOES_BACK.match(sql))
            and is_silent(connection)
        ):
            _be_loud(connection)
        return execute(sql, params, many, context)
    if (isinstance(sql, str) and not _WRITES.match(sql)) or not presence.has_any(connection.alias):
        return execute(sql, params, many, context)
    if connection.vendor == "mysql":
        if not is_silent(connection):
            _execute(connection, f"SET {VARIABLE} = 1")
            setattr(connection, _ATTRIBUTE, connection.connection)
            _told.connections.add(connection)
        return execute(sql, params, many, context)
    if not connection.in_atomic_block and connection.get_autocommit():
        with transaction.atomic(using=connection.alias, savepoint=False):
            result = _silence(execute, sql, params, many, context)
            if connection.vendor == "sqlite" and context["cursor"].cursor.description:
                # What RETURNING gives must be fetched before SQLite can commit.
                context["cursor"].cursor = _Fetched(context["cursor"].cursor)
            return result
    if connection.vendor == "postgresql":
        if not is_silent(connection):
            _tell_postgresql(connection, silent=True)
        return execute(sql, params, many, context)
    _execute(connection, f"INSERT OR IGNORE INTO {SILENCE} (id) VALUES (1)")
    try:
        return execute(sql, params, many, context)
    finally:
        try:
            _execute(connection, f"DELETE FROM {SILENCE}")
        except DatabaseError:
            # The row must never be committed.
            connection.needs_rollback = True
            raise


def _be_loud(connection: BaseDatabaseWrapper) -> None:
    if connection.vendor == "mysql":
        _execute(connection, f"SET {VARIABLE} = NULL")
        setattr(connection, _ATTRIBUTE, None)
    else:
        _tell_postgresql(connection, silent=False)


class _Fetched:
    """A cursor whose rows have been fetched, until something else is executed."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._rows: Iterator[Any] | None = iter(cursor.fetchall())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor) if self._rows is None else self._rows

    def execute(self, *args: Any) -> Any:
        self._rows = None
        return self._cursor.execute(*args)

    def executemany(self, *args: Any) -> Any:
        self._rows = None
        return self._cursor.executemany(*args)

    def fetchone(self) -> Any:
        return self._cursor.fetchone() if self._rows is None else next(self._rows, None)

    def fetchmany(self, size: int = 1) -> Any:
        if self._rows is None:
            return self._cursor.fetchmany(size)
        return list(islice(self._rows, size))

    def fetchall(self) -> Any:
        return self._cursor.fetchall() if self._rows is None else list(self._rows)


class _Mark:
    """Stands in the list of what to do on commit. Django takes it out when the transaction ends,
    or is rolled back to a savepoint before it: exactly when PostgreSQL forgets the setting."""

    def __init__(self, silent: bool) -> None:
        self.silent = silent

    def __call__(self) -> None:
        pass


def _tell_postgresql(connection: BaseDatabaseWrapper, *, silent: bool) -> None:
    value = "1" if silent else ""
    _execute(connection, f"SELECT set_config('{SETTING}', '{value}', true)")
    if connection.in_atomic_block:
        setattr(connection, _ATTRIBUTE, True)
        if silent:
            _told.connections.add(connection)
        transaction.on_commit(_Mark(silent), using=connection.alias)


def _last_mark(connection: BaseDatabaseWrapper) -> bool:
    for _ids, function, *_ in reversed(connection.run_on_commit):
        if isinstance(function, _Mark):
            return function.silent
    setattr(connection, _ATTRIBUTE, None)
    return False


def _execute(connection: Any, sql: str) -> None:
    # A cursor of the driver: Django's would call the wrappers again.
    connection.ensure_connection()
    with connection.wrap_database_errors, closing(connection.create_cursor()) as cursor:
        cursor.execute(sql)
