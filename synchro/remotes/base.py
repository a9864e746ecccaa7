"""The two ends of a run as the planner and the replay see them.

A ``DATABASES`` alias is one pair of them (``synchro.remotes.database``). Everything between the
ends speaks in models, primary keys and rows of values; another kind of end implements these
methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from django.db.models import Field, ManyToManyField, Model

from synchro.exceptions import NaturalKeyError
from synchro.keys import NaturalKey, NaturalLookup
from synchro.nodes import Side


class AmbiguousKey(NaturalKeyError):
    """A model's own ``get_by_natural_key`` finds several rows."""

    def __init__(self, key: NaturalKey, reason: str) -> None:
        super().__init__(reason)
        self.key = key


class End(ABC):
    """A database, or something like it, that can be read in sets."""

    side: Side

    @abstractmethod
    def existing(self, model: type[Model], pks: Iterable[Any]) -> set[Any]:
        """Which of the primary keys have a row in the model's own table."""

    def existing_to_write(self, model: type[Model], pks: Iterable[Any]) -> set[Any]:
        """Like ``existing``, of rows that will be written: they may be locked at the same time."""
        return self.existing(model, pks)

    @abstractmethod
    def rows(
        self,
        model: type[Model],
        pks: Iterable[Any],
        names: Sequence[str],
        *,
        unconverted: Collection[str] = (),
    ) -> Iterator[tuple[Any, ...]]:
        """Rows as tuples: the primary key, then the named attributes, in no certain order.

        A plain JSON field comes as its text, since JSON null is not SQL NULL. ``unconverted``:
        attributes wanted as the database stores them; only such as ``passes_through`` allows.
        """

    def passes_through(self, field: Field[Any, Any], target: End) -> bool:
        """Whether values of a field may go to another end as they are stored in this one."""
        return False

    @abstractmethod
    def links(
        self, field: ManyToManyField[Any, Any], pks: Iterable[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """The links of objects in one many-to-many field: (owner's key, target's key)."""

    @abstractmethod
    def linked(self, field: ManyToManyField[Any, Any], pks: Iterable[Any]) -> set[Any]:
        """The keys of all objects that objects are linked to in one many-to-many field."""

    @abstractmethod
    def by_natural_key(
        self, lookup: NaturalLookup, keys: Iterable[NaturalKey]
    ) -> dict[NaturalKey, list[Any]]:
        """The primary keys of the rows that have natural keys, lowest first.

        Raises AmbiguousKey where a method of the model finds several rows.
        """

    @abstractmethod
    def by_field(self, model: type[Model], name: str, values: Iterable[Any]) -> dict[Any, Any]:
        """Value of a unique field -> primary key, of the values that have a row."""


class Source(End):
    """The end whose changes are replayed."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[None]:
        """While it is open all reads see one state, where the database can do that."""

    @abstractmethod
    def instances(self, model: type[Model], pks: Iterable[Any]) -> Iterator[Model]:
        """Model instances, for natural keys that only a method of the model can tell."""
