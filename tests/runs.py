"""What tests of runs share: the aliases, runs in either direction, the times of the log."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, models
from django.db.models import F
from django.test import override_settings

from synchro import DisableSynchroLog, synchronize
from synchro.models import ChangeLog

LOCAL = "default"
REMOTE = "remote"


@contextmanager
def reversed_direction() -> Iterator[None]:
    """LOCAL and REMOTE change places."""
    with override_settings(SYNCHRO_LOCAL=REMOTE, SYNCHRO_REMOTE=LOCAL):
        yield


def synchronize_back() -> Any:
    """One run from REMOTE to LOCAL; returns its result."""
    with reversed_direction():
        return synchronize()


def age(alias: str, seconds: float = 60) -> None:
    """Make everything logged so far on `alias` older, so that what follows is newer for sure."""
    earlier = datetime.timedelta(seconds=seconds)
    logs = ChangeLog.objects.using(alias)
    logs.update(date=F("date") - earlier)
    logs.filter(origin_date__isnull=False).update(origin_date=F("origin_date") - earlier)


def logged(model: type[models.Model], alias: str = LOCAL) -> list[tuple[str, int]]:
    """(object_id, action) of each log row about `model` on `alias`, oldest first."""
    return list(
        ChangeLog.objects.using(alias)
        .filter(label=model._meta.label_lower)
        .order_by("pk")
        .values_list("object_id", "action")
    )


def on_remote(model: type[models.Model]) -> models.QuerySet[Any]:
    return model._base_manager.using(REMOTE)


def occupy(model: type[models.Model], **values: Any) -> models.Model:
    """A row that only REMOTE has, not logged: from now on automatic keys differ by one."""
    with DisableSynchroLog():
        return model._base_manager.using(REMOTE).create(**values)


def reread(instance: models.Model, alias: str = REMOTE) -> Any:
    """`instance` as `alias` holds it now (it is looked up by primary key)."""
    return type(instance)._base_manager.using(alias).get(pk=instance.pk)


@contextmanager
def poison(word: str = "poison") -> Iterator[None]:
    """REMOTE refuses rows with the word as their name (see tests/testapp/apps.py)."""
    with connections[REMOTE].cursor() as cursor:
        cursor.execute("INSERT INTO testapp_poison (word) VALUES (%s)", [word])
    try:
        yield
    finally:
        with connections[REMOTE].cursor() as cursor:
            cursor.execute("DELETE FROM testapp_poison WHERE word = %s", [word])
