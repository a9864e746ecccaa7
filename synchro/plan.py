"""Plans: pure data."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Model

from synchro.changes import Changes


@dataclass(slots=True, kw_only=True)
class Deletion:
    """A row to be deleted on REMOTE."""

    pk: Any
    """The primary key on LOCAL; None for a row that goes along with another one."""
    remote_pk: Any
    made: datetime
    origin: str = ""
    key: str | None = None
    unknown: bool = False
    """Whether LOCAL never knew the row: it was found by comparing the databases."""


Deletions = dict[type[Model], dict[Any, Deletion]]
"""Per model, by primary key on REMOTE."""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A change that is not applied."""

    label: str
    pk: Any
    """The primary key on LOCAL."""
    action: str
    """``write``, ``delete`` or ``link``."""
    reason: str
    """``remote-newer`` or ``vanished``."""
    detail: str
    field: str = ""
    """The many-to-many field of a change of links."""

    def __str__(self) -> str:
        return f"{self.label} {self.pk}: {self.detail}"


@dataclass(kw_only=True)
class Agenda:
    """A run as data, before anything is written."""

    writes: dict[type[Model], Changes] = field(default_factory=dict)
    """Per model, in the order of replay."""
    links: dict[tuple[type[Model], str], Changes] = field(default_factory=dict)
    """Per many-to-many field (model, name)."""
    deletions: dict[type[Model], dict[Any, Deletion]] = field(default_factory=dict)
    """Per model, in the order of replay, by primary key on REMOTE."""
    kept: dict[type[Model], set[Any]] = field(default_factory=dict)
    """Rows on REMOTE (by primary key there) that were deleted on LOCAL but are newer on REMOTE."""
    skipped: list[Skipped] = field(default_factory=list)

    def models(self) -> set[type[Model]]:
        """The models that anything is done with."""
        return {*self.writes, *(model for model, _field in self.links), *self.deletions}

    def size(self) -> int:
        """How many rows, changes of links and deletions there are."""
        parts: list[Sized] = [*self.writes.values(), *self.links.values()]
        return sum(len(part) for part in (*parts, *self.deletions.values()))

    def is_empty(self) -> bool:
        return not (self.writes or self.links or self.deletions)
