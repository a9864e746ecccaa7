"""Where the tests find their databases: environment variables, with local defaults."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

VENDORS: Final = ("sqlite", "postgresql", "mariadb")

URLS: Final = {
    "postgresql": ("SYNCHRO_POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/"),
    "mariadb": ("SYNCHRO_MARIADB_URL", "mysql://root@127.0.0.1:3306/"),
}

DIRECTORY: Final = Path(tempfile.gettempdir()) / f"synchro-tests-{os.environ.get('USER', 'user')}"
"""Where SQLite databases are kept, those of each run in a folder of their own."""


def url(vendor: str) -> str:
    variable, default = URLS[vendor]
    return os.environ.get(variable) or default


def server(vendor: str) -> dict[str, Any]:
    """The parts of a server's URL as they are named in DATABASES."""
    parts = urlsplit(url(vendor))
    return {
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "NAME": parts.path.strip("/"),
        "OPTIONS": dict(parse_qsl(parts.query)),
    }


def install_mysql_driver() -> None:
    """Use mysqlclient where it is installed, PyMySQL in its place otherwise."""
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.install_as_MySQLdb()


def database(vendor: str, name: str, folder: Path) -> dict[str, Any]:
    """An entry of DATABASES whose test database is called ``name``, in ``folder`` if a file."""
    if vendor == "sqlite":
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DIRECTORY / f"outside_tests_{name.rpartition('_')[2]}.sqlite3",
            "OPTIONS": {"timeout": 20, "init_command": "PRAGMA synchronous = OFF"},
            "TEST": {"NAME": folder / f"{name}.sqlite3"},
        }
    if vendor == "postgresql":
        parts = server(vendor)
        return {
            "ENGINE": "django.db.backends.postgresql",
            **parts,
            "NAME": parts["NAME"] or "postgres",
            # Nothing here has to outlive a power failure.
            "OPTIONS": {"options": "-c synchronous_commit=off", **parts["OPTIONS"]},
            "TEST": {"NAME": name},
        }
    if vendor == "mariadb":
        install_mysql_driver()
        return {
            "ENGINE": "django.db.backends.mysql",
            **server(vendor),
            "TEST": {"NAME": name, "CHARSET": "utf8mb4"},
        }
    raise ValueError(f"{vendor!r} is none of the test databases: {', '.join(VENDORS)}")


def why_not(vendor: str) -> str:
    """Why the server of this vendor cannot be used, in one line; empty if it answers."""
    if vendor == "sqlite":
        return ""
    parts = server(vendor)
    try:
        if vendor == "postgresql":
            import psycopg

            psycopg.connect(
                host=parts["HOST"],
                port=parts["PORT"] or None,
                user=parts["USER"] or None,
                password=parts["PASSWORD"] or None,
                dbname=parts["NAME"] or "postgres",
                connect_timeout=5,
                **parts["OPTIONS"],
            ).close()
        else:
            install_mysql_driver()
            import MySQLdb

            MySQLdb.connect(
                host=parts["HOST"],
                port=int(parts["PORT"] or 3306),
                user=parts["USER"],
                password=parts["PASSWORD"],
                connect_timeout=5,
            ).close()
    except Exception as error:
        variable, _ = URLS[vendor]
        text = (str(error).splitlines() or [type(error).__name__])[0]
        return f"no {vendor} server at {parts['HOST']}:{parts['PORT']} (see {variable}): {text}"
    return ""
