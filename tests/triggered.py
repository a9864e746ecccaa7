"""Databases that log by triggers, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.test import override_settings

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


def vendor(alias: str = LOCAL) -> str:
    return str(connections[alias].vendor)


def quoted(name: str, alias: str = LOCAL) -> str:
    return str(connections[alias].ops.quote_name(name))


def execute(sql: str, parameters: list[Any] | None = None, alias: str = LOCAL) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, parameters)
