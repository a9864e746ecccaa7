"""Databases that log by triggers, for tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.apps import apps
from django.db import connections, migrations
from django.db.migrations.state import ProjectState
from django.db.models.signals import post_migrate, pre_migrate
from django.test import override_settings

from synchro.conf import conf
from synchro.triggers import install
from tests.runs import LOCAL, REMOTE


@contextmanager
def triggers(
    capture: Any = "triggers", aliases: tuple[str, ...] = (LOCAL, REMOTE)
) -> Iterator[None]:
    """Both databases log by triggers. (On MariaDB this commits: not in a test's transaction.)"""
    with override_settings(SYNCHRO_CAPTURE=capture):
        try:
            for alias in aliases:
                install.install(alias)
            yield
        finally:
            for alias in aliases:
                install.remove(alias)
    if conf.uses_triggers:
        for alias in aliases:
            install.install(alias)


def vendor(alias: str = LOCAL) -> str:
    return str(connections[alias].vendor)


def quoted(name: str, alias: str = LOCAL) -> str:
    return str(connections[alias].ops.quote_name(name))


def execute(sql: str, parameters: list[Any] | None = None, alias: str = LOCAL) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, parameters)


def shell(sql: str) -> subprocess.CompletedProcess[str]:
    """Run SQL in the database's own shell. It knows nothing of Django."""
    connection = connections[LOCAL]
    settings = connection.settings_dict
    name = str(settings["NAME"])
    place = ["-h", settings["HOST"], "-U" if vendor() == "postgresql" else "-u", settings["USER"]]
    port = ["-p" if vendor() == "postgresql" else "-P", str(settings["PORT"])]
    command = {
        "sqlite": ["sqlite3", "-cmd", ".timeout 10000", name, sql],
        "postgresql": ["psql", "-v", "ON_ERROR_STOP=1", "-w", "-d", name, "-c", sql],
        "mysql": ["mariadb", "-D", name, "-e", sql],
    }[vendor()]
    if vendor() != "sqlite":
        command += [*place, *(port if settings["PORT"] else [])]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def migrate(*operations: Any, state: ProjectState | None = None) -> None:
    """Operations on testapp in the way of `migrate`, with its signals. `state`: the models
    before them; those of the code unless given."""
    migration = migrations.Migration("0001_x", "testapp")
    migration.operations = list(operations)
    config = apps.get_app_config("synchro")
    options = {"sender": config, "app_config": config, "using": LOCAL}
    pre_migrate.send(**options, plan=[(migration, False)])
    with connections[LOCAL].schema_editor() as editor:
        migration.apply(state or ProjectState.from_apps(apps), editor)
    post_migrate.send(**options, plan=[(migration, False)])
