"""One object on both sides, to be looked at."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from synchro.counterparts import Counterparts
from synchro.exceptions import NaturalKeyError
from synchro.holds import Holds
from synchro.keys import load_object_id
from synchro.names import model_named
from synchro.nodes import Side
from synchro.references import References
from synchro.remotes.database import DatabaseEnd, DatabaseSource


def both(local: Side, remote: Side, label: str, object_id: str) -> tuple[Any, Any]:
    """LOCAL's object with a key, and the row of REMOTE that stands for it; None for what is not
    there. Writes nothing."""
    model = model_named(label)
    if model is None:
        return None, None
    try:
        pk = load_object_id(model, object_id)
    except NaturalKeyError:
        return None, None
    source = DatabaseSource(local)
    end = DatabaseEnd(remote, locks=False)
    counterparts = Counterparts(
        source, end, References(local, remote), Holds(tolerant=True, before=set())
    )
    counterparts.resolve(model, [pk])
    return _row(model, local, pk), _row(model, remote, counterparts.get(model, pk))


def _row(model: type[Model], side: Side, pk: Any) -> Any:
    if pk is None:
        return None
    return model._base_manager.using(side.alias).filter(pk=pk).first()
