"""Which vendors have triggers, and the module of each."""

from __future__ import annotations

from typing import Final

from django.db import connections

from synchro.exceptions import TriggerError
from synchro.triggers.base import Dialect
from synchro.triggers.mysql import MySQL
from synchro.triggers.postgresql import PostgreSQL
from synchro.triggers.sqlite import SQLite

DIALECTS: Final[dict[str, type[Dialect]]] = {
    "postgresql": PostgreSQL,
    "mysql": MySQL,
    "sqlite": SQLite,
}


def has_dialect(alias: str) -> bool:
    """Whether synchro knows triggers of the database."""
    return connections[alias].vendor in DIALECTS


def dialect(alias: str) -> Dialect:
    """The triggers in the SQL of a database. Raises TriggerError if synchro has none."""
    connection = connections[alias]
    if connection.vendor not in DIALECTS:
        raise TriggerError(
            f"The database {alias!r} ({connection.display_name}) cannot capture changes by "
            f"triggers: synchro has them for {', '.join(sorted(DIALECTS))}. Set SYNCHRO_CAPTURE "
            "to 'signals' for its models."
        )
    return DIALECTS[connection.vendor](connection)
