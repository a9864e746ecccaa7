"""What objects are called: their ``str()``, as everywhere in the admin, read in sets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.db import DatabaseError
from django.db.models import Model

from synchro.conf import conf
from synchro.exceptions import NaturalKeyError
from synchro.keys import load_object_id, object_id
from synchro.names import model_named

_LONGEST: Final = 200


class Names:
    """The names of objects of LOCAL and of one REMOTE."""

    def __init__(self, remote: str) -> None:
        self._aliases = {True: conf.local, False: remote}
        self._known: dict[tuple[bool, str, str], str] = {}

    def load(self, label: str, keys: Iterable[str | None], *, here: bool = True) -> None:
        """Read the names of objects, given by their keys as text. Those that are not there, or
        whose name cannot be made, have none."""
        model = model_named(label)
        if model is None:
            return
        pks = []
        for key in dict.fromkeys(keys):
            if key is not None and (here, label, key) not in self._known:
                try:
                    pks.append(load_object_id(model, key))
                except NaturalKeyError:
                    continue
        if pks:
            for row in self._rows(model, pks, here=here):
                name = _name(row)
                if name:
                    self._known[here, label, object_id(model, row.pk)] = name

    def _rows(self, model: type[Model], pks: list[Any], *, here: bool) -> list[Any]:
        try:
            rows = model._base_manager.using(self._aliases[here]).filter(pk__in=pks)
            # Names often lead over foreign keys: one query for all of them.
            links = [field.name for field in model._meta.concrete_fields if field.many_to_one]
            return list(rows.select_related(*links) if links else rows)
        except DatabaseError:
            return []

    def get(self, label: str, key: str | None, *, here: bool = True) -> str:
        """The name of an object that was loaded; empty if it has none."""
        return "" if key is None else self._known.get((here, label, key), "")


def _name(row: Model) -> str:
    if type(row).__str__ is Model.__str__:
        return ""  # "Note object (1)" says no more than the key
    try:
        found = str(row)
    except Exception:
        # A project's __str__ may expect more than a row has, and raise anything: the key is shown.
        return ""
    return found if len(found) <= _LONGEST else f"{found[: _LONGEST - 1]}…"
