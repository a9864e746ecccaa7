"""One run at a time for a pair of databases, across processes and machines.

The lock belongs to the database connection (PostgreSQL, MariaDB, MySQL) or to an open file
beside the database (SQLite): it ends with its holder, however that one dies.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from django.core.files import locks
from django.db import DatabaseError, connections

from synchro.exceptions import LockError
from synchro.nodes import Side
from synchro.transient import is_lost

_SECONDS_BETWEEN_TRIES: Final = 0.2

# Databases in memory have no file, and no other process.
_in_memory: dict[str, threading.Lock] = {}

Release = Callable[[], None]


@contextmanager
def only_run(one: Side, other: Side, *, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock of a pair of databases. Raises LockError if another run has it, after
    ``wait`` seconds."""
    # The same order in both directions, so that two runs never wait for each other.
    first, second, name = _named(one, other)
    deadline = time.monotonic() + wait
    with ExitStack() as held:
        for side in (first, second):
            release = _try(side, name)
            while release is None:
                if time.monotonic() >= deadline:
                    raise LockError(
                        f"Another run between {one.alias!r} and {other.alias!r} is going on. "
                        "Wait until it has ended (manage.py synchronize --wait SECONDS)."
                    )
                time.sleep(_SECONDS_BETWEEN_TRIES)
                release = _try(side, name)
            held.callback(release)
        yield


def is_taken(one: Side, other: Side) -> bool:
    """Whether a run between the two databases is going on. Asks without taking the lock, where
    the database can tell."""
    first, _second, name = _named(one, other)
    connection = connections[first.alias]
    if connection.vendor == "postgresql":
        key = _key(first, name)
        sql = (
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted "
            "AND classid::bigint = %s AND objid::bigint = %s "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        parameters: list[int | str] = [int(key) >> 32, int(key) & 0xFFFFFFFF]
    elif connection.vendor == "mysql":
        sql, parameters = "SELECT IS_USED_LOCK(%s)", [_key(first, name)]
    else:
        release = _try(first, name)
        if release is not None:
            release()
        return release is None
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
    return row is not None and row[0] is not None


def _named(one: Side, other: Side) -> tuple[Side, Side, str]:
    """The two sides in the order in which they are locked, and the name of their lock."""
    first, second = sorted((one, other), key=lambda side: side.uid)
    return first, second, hashlib.sha256(f"{first.uid} {second.uid}".encode()).hexdigest()


def _key(side: Side, name: str) -> int | str:
    """The name of a lock as the server of one of the sides takes it."""
    # On MariaDB such a lock is one of the whole server, and both databases may be on it.
    own = f"{name} {side.uid} {connections[side.alias].settings_dict['NAME']}"
    digest = hashlib.sha256(own.encode()).hexdigest()
    if connections[side.alias].vendor == "mysql":
        return f"synchro {digest[:48]}"
    return int(digest[:15], 16)


def are_one(one: Side, other: Side) -> bool:
    """Whether two aliases lead to the same database: a lock that was taken by way of one cannot be
    taken by way of the other. Not to be asked within a run between the two."""
    pair = [connections[side.alias] for side in (one, other)]
    if {connection.vendor for connection in pair} == {"sqlite"}:
        names = [str(connection.settings_dict["NAME"]) for connection in pair]
        if any(connection.is_in_memory_db() for connection in pair):  # type: ignore[attr-defined]
            return names[0] == names[1]
        return Path(names[0]).samefile(names[1])
    if pair[0].vendor != pair[1].vendor:
        return False
    name = secrets.token_hex(32)
    release = _try(one, name)
    if release is None:
        return False
    try:
        second = _try(other, name)
        if second is not None:
            second()
        return second is None
    finally:
        release()


def _try(side: Side, name: str) -> Release | None:
    """Take the lock in one database; None if somebody has it."""
    connection = connections[side.alias]
    if connection.vendor == "sqlite":
        return _by_file(side.alias, name)
    key = _key(side, name)
    if connection.vendor == "mysql":
        return _by_query(
            side.alias,
            "SELECT GET_LOCK(%s, 0)",
            "SELECT RELEASE_LOCK(%s)",
            key,
        )
    return _by_query(
        side.alias,
        "SELECT pg_try_advisory_lock(%s)",
        "SELECT pg_advisory_unlock(%s)",
        key,
    )


def _by_query(alias: str, take: str, give: str, key: int | str) -> Release | None:
    def ask(sql: str) -> bool:
        with connections[alias].cursor() as cursor:
            cursor.execute(sql, [key])
            return bool(cursor.fetchone()[0])

    def release() -> None:
        # A connection that broke has given the lock up already.
        if connections[alias].connection is not None and not connections[alias].needs_rollback:
            try:
                ask(give)
            except DatabaseError as error:
                if not is_lost(error):
                    raise
                if not connections[alias].in_atomic_block:
                    connections[alias].close()

    return release if ask(take) else None


def _by_file(alias: str, name: str) -> Release | None:
    connection = connections[alias]
    if connection.is_in_memory_db():  # type: ignore[attr-defined]
        lock = _in_memory.setdefault(name, threading.Lock())
        return lock.release if lock.acquire(blocking=False) else None
    path = Path(connection.settings_dict["NAME"])
    # Beside the database, so that everybody who opens that finds this, whatever its alias.
    file = open(path.with_name(f"{path.name}-synchro-lock"), "ab")  # noqa: SIM115
    if not locks.lock(file, locks.LOCK_EX | locks.LOCK_NB):
        file.close()
        return None

    def release() -> None:
        locks.unlock(file)
        file.close()

    return release
