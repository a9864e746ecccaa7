"""A project with two databases of one vendor, ``BENCH_VENDOR``, with the servers' own settings.

``tests.servers`` says how the servers are found: SYNCHRO_POSTGRESQL_URL, SYNCHRO_MARIADB_URL.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tests import servers

VENDOR = os.environ.get("BENCH_VENDOR") or "sqlite"
# Several benchmarks may use one server.
RUN = os.environ.get("BENCH_RUN") or "0"
FOLDER = Path(os.environ.get("BENCH_FOLDER") or tempfile.gettempdir())

ENGINES = {
    "sqlite": "django.db.backends.sqlite3",
    "postgresql": "django.db.backends.postgresql",
    "mariadb": "django.db.backends.mysql",
}


def _database(alias: str) -> dict[str, object]:
    name = f"synchro_bench_{RUN}_{alias}"
    if VENDOR == "sqlite":
        return {"ENGINE": ENGINES[VENDOR], "NAME": FOLDER / f"{name}.sqlite3"}
    if VENDOR == "mariadb":
        servers.install_mysql_driver()
    return {"ENGINE": ENGINES[VENDOR], **servers.server(VENDOR), "NAME": name}


DATABASES = {"default": _database("default"), "remote": _database("remote")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.admin",
    "dbsettings",
    "synchro",
    "benchmarks.shop",
    "geo",
]

SYNCHRO_REMOTE = "remote"
# Without the first, to measure what watching costs.
SYNCHRO_MODELS = ("geo",) if os.environ.get("BENCH_UNWATCHED") else ("shop", "geo")
if os.environ.get("BENCH_TRIGGERS"):
    SYNCHRO_CAPTURE = "triggers"

SECRET_KEY = "only for benchmarks"
USE_TZ = True
TIME_ZONE = "UTC"
