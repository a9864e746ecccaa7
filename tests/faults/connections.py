"""Connections that the server ends, as an administrator or a crash would."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

from django.db import connections

from tests import servers

_PATIENCE = 30.0


def is_server(alias: str) -> bool:
    """SQLite has no connections that could be lost."""
    return connections[alias].vendor != "sqlite"


def end_connection(alias: str) -> bool:
    """End this thread's connection to a database from another one. Returns whether there was
    one; comes back once the server has put it away."""
    if not is_server(alias) or connections[alias].connection is None:
        return False
    mine: Any = connections[alias].connection
    parts: Any = connections[alias].settings_dict
    if connections[alias].vendor == "postgresql":
        pid = mine.info.backend_pid
        kill, look = "SELECT pg_terminate_backend(%s)", "pg_stat_activity WHERE pid = %s"
    else:
        pid = mine.thread_id()
        kill, look = "KILL %s", "information_schema.processlist WHERE id = %s"
    with (
        closing(_connect(connections[alias].vendor, parts)) as other,
        closing(other.cursor()) as cursor,
    ):
        cursor.execute(kill, [pid])
        deadline = time.monotonic() + _PATIENCE
        while True:
            cursor.execute(f"SELECT COUNT(*) FROM {look}", [pid])
            if not cursor.fetchone()[0]:
                return True
            if time.monotonic() > deadline:
                raise AssertionError(f"connection {pid} of {alias!r} does not end")
            time.sleep(0.01)


def _connect(vendor: str, parts: Any) -> Any:
    """A connection that Django knows nothing of."""
    if vendor == "postgresql":
        import psycopg

        return psycopg.connect(
            host=parts["HOST"],
            port=parts["PORT"] or None,
            user=parts["USER"] or None,
            password=parts["PASSWORD"] or None,
            dbname="postgres",
            autocommit=True,
        )
    servers.install_mysql_driver()
    import MySQLdb

    return MySQLdb.connect(
        host=parts["HOST"],
        port=int(parts["PORT"] or 3306),
        user=parts["USER"],
        password=parts["PASSWORD"],
    )
