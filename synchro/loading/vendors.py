"""Which way rows are loaded into a database."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from synchro.loading.base import Loader, PlainLoader
from synchro.loading.mysql import BatchLoader, JsonLoader
from synchro.loading.postgresql import CopyLoader
from synchro.loading.sqlite import ConstantsLoader

FAST: tuple[type[Loader], ...] = (CopyLoader, ConstantsLoader, JsonLoader, BatchLoader)
"""The fast ways, of which the first that the database supports is taken."""


def loader(connection: BaseDatabaseWrapper) -> Loader:
    """The fastest way for a database."""
    kind = next((kind for kind in FAST if kind.supports(connection)), PlainLoader)
    return kind(connection)
