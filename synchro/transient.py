"""Which errors of a database pass by themselves, so that the same work may succeed later."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

# PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNDONE_STATES: Final = {
    "40001",  # serialization failure
    "40P01",  # deadlock
    "53300",  # too many connections
    "55P03",  # lock not available (lock_timeout, NOWAIT)
    "57P03",  # the server is starting up or shutting down
}
_LOST_STATES: Final = {
    "25P03",  # idle_in_transaction_session_timeout
    "40003",  # nobody knows whether the statement was completed
    "57P01",  # pg_terminate_backend(), shutdown
    "57P02",  # another backend crashed
    "57P05",  # idle_session_timeout
}
_CONNECTION_STATES: Final = "08"
"""The class of all states that are about the connection."""

# MariaDB and MySQL: 1000 to 1999 and 3000 upwards are the server's, 2000 to 2999 the client's.
_UNDONE_NUMBERS: Final = {
    1020,  # a row has changed since the snapshot (MariaDB with innodb_snapshot_isolation)
    1040,  # too many connections
    1047,  # a node of a cluster that is not ready
    1203,  # too many connections of this user
    1205,  # lock wait timeout
    1213,  # deadlock
    1637,  # too many transactions
    3572,  # lock not available (NOWAIT)
}
_LOST_NUMBERS: Final = {
    1053,  # shutdown in progress
    1077,  # normal shutdown
    1079,  # shutdown complete
    1080,  # forced close
    1152,  # aborted connection
    1158,  # packets that cannot be read or written
    1159,
    1160,
    1161,
    1184,  # aborted connection
    1927,  # KILL (MariaDB)
    2002,  # refused, by a socket
    2003,  # refused
    2005,  # the name of the server was not found
    2006,  # gone away
    2012,  # lost while it was made
    2013,  # lost during a query
    2055,  # lost, with the system's own error
    4031,  # closed after a long rest
}
_CLOSED: Final = 0
"""InterfaceError(0, ""): the driver itself has closed the connection."""

_LOCKED: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_PRIMARY_CODE: Final = 0xFF
"""SQLite's extended codes have the primary one in their lowest byte."""

_FATAL: Final = "FATAL:"
_PASSING: Final = (
    "starting up",
    "shutting down",
    "recovery",
    "too many",
    "connection slots",
    "terminating connection",
)
"""Words by which a PostgreSQL server turns a client away for now, and not for good."""


def is_transient(error: BaseException) -> bool:
    """Whether an error, or what caused it, is one that passes: a deadlock, a serialization
    failure, a lock that was waited for too long, a connection that was lost, killed or refused, a
    server that shuts down or starts, a locked SQLite file.

    A full disk, a wrong password and values that are refused are not.
    """
    return any(_is_undone(one) or _is_lost(one) for one in _chain(error))


def is_lost(error: BaseException) -> bool:
    """Whether the connection went away: if it was at COMMIT, nobody knows what became of it."""
    return any(_is_lost(one) for one in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its cause, the cause of that, and so on; where an error was raised while
    another one was handled, that one."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _driver(error: BaseException) -> str:
    """The top package of the driver that an error comes from, which need not be installed."""
    for cls in type(error).__mro__:
        package = cls.__module__.partition(".")[0]
        if package in ("psycopg", "psycopg2", "pymysql", "MySQLdb", "sqlite3"):
            return package
    return ""


def _number(error: BaseException) -> int | None:
    first = error.args[0] if error.args else None
    return first if isinstance(first, int) else None


def _state(error: BaseException) -> str | None:
    found = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return found if isinstance(found, str) else None


def _is_undone(error: BaseException) -> bool:
    """The database is there, and has undone or not done what it was told."""
    driver = _driver(error)
    if driver == "sqlite3":
        return getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE in _LOCKED
    if driver in ("pymysql", "MySQLdb"):
        return _number(error) in _UNDONE_NUMBERS
    return driver != "" and _state(error) in _UNDONE_STATES


def _is_lost(error: BaseException) -> bool:
    driver = _driver(error)
    if driver in ("pymysql", "MySQLdb"):
        number = _number(error)
        return number in _LOST_NUMBERS or (
            number == _CLOSED and type(error).__name__ == "InterfaceError"
        )
    if driver not in ("psycopg", "psycopg2"):
        return False
    state = _state(error)
    if state is not None:
        return state in _LOST_STATES or state.startswith(_CONNECTION_STATES)
    # libpq gives no state where there is no connection (any more).
    names = {cls.__name__ for cls in type(error).__mro__}
    if not names & {"OperationalError", "InterfaceError"}:
        return False
    text = str(error)
    return _FATAL not in text or any(words in text for words in _PASSING)
