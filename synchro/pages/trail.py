"""Entries of the admin's own log: who did what with synchro."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.http import HttpRequest

__all__ = ["ADDITION", "CHANGE", "DELETION", "note", "note_all"]


def note(
    request: HttpRequest, model: type[Model], key: Any, name: str, flag: int, message: str
) -> None:
    """Write down that the user of a request has done something with an object of synchro's."""
    note_all(request, model, [(key, name)], flag, message)


def note_all(
    request: HttpRequest,
    model: type[Model],
    objects: Iterable[tuple[Any, str]],
    flag: int,
    message: str,
) -> None:
    """The same of several objects, given by key and name, in one statement."""
    user: Any = request.user
    content_type = ContentType.objects.get_for_model(model, for_concrete_model=False)
    LogEntry.objects.bulk_create(
        LogEntry(
            user=user,
            content_type=content_type,
            object_id="" if key is None else str(key),
            object_repr=name[:200],
            action_flag=flag,
            change_message=message,
        )
        for key, name in objects
    )
