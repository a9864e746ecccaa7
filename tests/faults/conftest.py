"""What every test of faults gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.apps import apps
from django.db import connections

from synchro import retries
from synchro.nodes import forget_tables
from tests.runs import REMOTE


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Retries without waiting; the seconds that each would have waited."""
    found: list[float] = []
    monkeypatch.setattr(retries, "pause", found.append)
    return found


@pytest.fixture
def bare_remote(transactional_db: None) -> Iterator[Callable[[], None]]:
    """A REMOTE in which only the project's own tables exist. Calling it brings synchro's back."""
    models = apps.get_app_config("synchro").get_models()
    tables = [model._meta.db_table for model in models if not model._meta.proxy]

    away = False

    def rename(ending: str, other: str) -> None:
        nonlocal away
        connection = connections[REMOTE]
        quote = connection.ops.quote_name
        with connection.cursor() as cursor:
            for table in tables:
                cursor.execute(
                    f"ALTER TABLE {quote(table + ending)} RENAME TO {quote(table + other)}"
                )
        away = bool(other)
        forget_tables()

    def bring_back() -> None:
        if away:
            rename("_away", "")

    rename("", "_away")
    yield bring_back
    bring_back()
