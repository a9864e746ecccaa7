"""The two databases of a benchmark: made, filled to a known state, put back to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connections

ALIASES = ("default", "remote")
CHANGING = ("synchro_", "shop_", "geo_", "dbsettings_")
"""How the names of the tables begin that a measurement may write to."""


def _name(alias: str) -> str:
    return str(settings.DATABASES[alias]["NAME"])


@contextmanager
def _server() -> Iterator[Any]:
    """A cursor on the server, outside both databases."""
    options = {**connections["default"].settings_dict}
    if settings.VENDOR == "postgresql":
        import psycopg

        with (
            psycopg.connect(
                host=options["HOST"],
                port=options["PORT"] or None,
                user=options["USER"] or None,
                password=options["PASSWORD"] or None,
                dbname="postgres",
                autocommit=True,
            ) as connection,
            connection.cursor() as cursor,
        ):
            yield cursor
    else:
        import MySQLdb

        connection = MySQLdb.connect(
            host=options["HOST"],
            port=int(options["PORT"] or 3306),
            user=options["USER"],
            password=options["PASSWORD"],
            autocommit=True,
        )
        with connection.cursor() as cursor:
            yield cursor
        connection.close()


def make() -> None:
    """Both databases, with empty tables."""
    if _is_there():
        for alias in ALIASES:
            _empty(alias)
        return
    remove()
    if settings.VENDOR != "sqlite":
        with _server() as cursor:
            for alias in ALIASES:
                utf8 = " CHARACTER SET utf8mb4" if settings.VENDOR == "mariadb" else ""
                cursor.execute(f"CREATE DATABASE {_name(alias)}{utf8}")
    for alias in ALIASES:
        call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
    close()


def _is_there() -> bool:
    if settings.VENDOR == "sqlite":
        return Path(_name("remote")).exists()
    with _server() as cursor:
        if settings.VENDOR == "postgresql":
            cursor.execute("SELECT datname FROM pg_database")
        else:
            cursor.execute("SHOW DATABASES")
        return _name("remote") in {name for (name,) in cursor.fetchall()}


def _empty(alias: str) -> None:
    connection = connections[alias]
    with connection.cursor() as cursor:
        tables = [
            table
            for table in connection.introspection.table_names(cursor)
            if table.startswith(CHANGING)
        ]
        if settings.VENDOR == "postgresql":
            cursor.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY")
            return
        with connection.constraint_checks_disabled():
            for table in tables:
                sqlite = settings.VENDOR == "sqlite"
                cursor.execute(f"DELETE FROM {table}" if sqlite else f"TRUNCATE {table}")
                if sqlite:
                    cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table])


def remove() -> None:
    close()
    if settings.VENDOR == "sqlite":
        for alias in ALIASES:
            for path in Path(_name(alias)).parent.glob(f"{Path(_name(alias)).name}*"):
                path.unlink()
        return
    with _server() as cursor:
        for alias in ALIASES:
            for name in (_name(alias), f"{_name(alias)}_kept"):
                cursor.execute(f"DROP DATABASE IF EXISTS {name}")


def close() -> None:
    for alias in ALIASES:
        connections[alias].close()


def keep(*, copied: bool = True) -> None:
    """Have both databases ready to be measured, and, if ``copied``, their state remembered for
    ``put_back``."""
    for alias in ALIASES:
        _analyze(alias)
    close()
    for alias in ALIASES if copied else ():
        _copy(_name(alias), f"{_name(alias)}_kept")


def put_back() -> None:
    """Put both databases back into the state that ``keep`` has seen."""
    close()
    for alias in ALIASES:
        if settings.VENDOR == "mariadb":
            _refill(_name(alias))
        else:
            _copy(f"{_name(alias)}_kept", _name(alias))


def _analyze(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        if settings.VENDOR == "mariadb":
            for table in connections[alias].introspection.table_names(cursor):
                if not table.startswith(CHANGING):
                    continue
                cursor.execute(f"ANALYZE TABLE {table}")
                cursor.fetchall()
        else:
            cursor.execute("VACUUM ANALYZE" if settings.VENDOR == "postgresql" else "ANALYZE")


def _copy(source: str, target: str) -> None:
    if settings.VENDOR == "sqlite":
        shutil.copy(source, target)
        return
    with _server() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {target}")
        if settings.VENDOR == "postgresql":
            cursor.execute(f"CREATE DATABASE {target} TEMPLATE {source}")
            return
        cursor.execute(f"CREATE DATABASE {target} CHARACTER SET utf8mb4")
        for table in _tables(cursor, source):
            if not table.startswith(CHANGING):
                continue
            cursor.execute(f"CREATE TABLE {target}.{table} LIKE {source}.{table}")
            cursor.execute(f"INSERT INTO {target}.{table} SELECT * FROM {source}.{table}")


def _tables(cursor: Any, database: str) -> Sequence[str]:
    cursor.execute(f"SHOW TABLES FROM {database}")
    return [name for (name,) in cursor.fetchall()]


def _refill(database: str) -> None:
    """MariaDB has no templates: the tables that a run may have changed are filled again."""
    with _server() as cursor:
        cursor.execute("SET foreign_key_checks = 0, unique_checks = 0")
        for table in _tables(cursor, database):
            if table.startswith(CHANGING) and not _is_equal(
                cursor, f"{database}.{table}", f"{database}_kept.{table}"
            ):
                cursor.execute(f"TRUNCATE TABLE {database}.{table}")
                cursor.execute(
                    f"INSERT INTO {database}.{table} SELECT * FROM {database}_kept.{table}"
                )
                cursor.execute(f"ANALYZE TABLE {database}.{table}")
                cursor.fetchall()


def _is_equal(cursor: Any, one: str, other: str) -> bool:
    cursor.execute(f"CHECKSUM TABLE {one}, {other}")
    (_, first), (_, second) = cursor.fetchall()
    return bool(first == second)
