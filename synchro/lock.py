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
    first, second = sorted((one, other), key=lambda side: side.uid)
    name = hashlib.sha256(f"{first.uid} {second.uid}".encode()).hexdigest()
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
    # On MariaDB such a lock is one of the whole server, and both databases may be on it.
    own = f"{name} {side.uid} {connection.settings_dict['NAME']}"
    digest = hashlib.sha256(own.encode()).hexdigest()
    if connection.vendor == "mysql":
        return _by_query(
            side.alias,
            "SELECT GET_LOCK(%s, 0)",
            "SELECT RELEASE_LOCK(%s)",
            f"synchro {digest[:48]}",
        )
    return _by_query(
        side.alias,
        "SELECT pg_try_advisory_lock(%s)",
        "SELECT pg_advisory_unlock(%s)",
        int(digest[:15], 16),
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
