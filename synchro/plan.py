"""Changes and plans: pure data, and the pure functions that make them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, MutableMapping, Sized
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Model

from synchro.keytimes import KeyTimes, are_close, are_many, packed, unpacked


class Changes:
    """What is to be done with objects of one model, or with their links in one many-to-many field,
    by primary key on LOCAL. Keys and times only, never values; what few changes have is kept for
    those alone, so that many take little memory."""

    __slots__ = ("made", "origin", "recreated", "unlogged")

    def __init__(self) -> None:
        self.made: MutableMapping[Any, datetime] = {}
        """When each was changed."""
        self.origin: dict[Any, str] = {}
        """The node on which it was changed, if not on LOCAL."""
        self.recreated: set[Any] = set()
        """Rows on REMOTE that are to become as good as new: no old links, defaults in skipped
        fields."""
        self.unlogged: set[Any] = set()
        """What is brought along because something else needs it."""

    def __contains__(self, pk: Any) -> bool:
        return pk in self.made

    def __iter__(self) -> Iterator[Any]:
        return iter(self.made)

    def __len__(self) -> int:
        return len(self.made)

    def inside(self, pks: Iterable[Any]) -> list[Any]:
        """Those of some objects that are there."""
        if isinstance(self.made, KeyTimes):
            return list(self.made.pick(pks))
        return [pk for pk in pks if pk in self.made]

    def times(self, pks: Iterable[Any]) -> list[datetime]:
        """When some objects were changed, which are all there."""
        if isinstance(self.made, KeyTimes):
            return list(self.made.pick(pks).values())
        return [self.made[pk] for pk in pks]

    def put(
        self,
        pk: Any,
        made: datetime,
        origin: str = "",
        *,
        recreated: bool = False,
        logged: bool = True,
    ) -> None:
        """Note one change, in place of an earlier one."""
        if pk in self.made:
            self._forget_more(pk)
        self.made[pk] = made
        if origin:
            self.origin[pk] = origin
        if recreated:
            self.recreated.add(pk)
        if not logged:
            self.unlogged.add(pk)

    def discard(self, pk: Any) -> None:
        if self.made.pop(pk, None) is not None:
            self._forget_more(pk)

    def _forget_more(self, pk: Any) -> None:
        self.origin.pop(pk, None)
        self.recreated.discard(pk)
        self.unlogged.discard(pk)

    def update(self, others: Changes) -> None:
        """Note other changes, in place of earlier ones of the same objects."""
        if self.origin or self.recreated or self.unlogged:
            for pk in self.made.keys() & others.made.keys():
                self._forget_more(pk)
        packs = are_many(self.made) and are_close(others.made)
        if packs and not isinstance(self.made, KeyTimes):
            self.made = KeyTimes(self.made)
        if isinstance(self.made, KeyTimes):
            self.made.add(others.made)
        else:
            self.made.update(others.made)
        self.origin.update(others.origin)
        self.recreated |= others.recreated
        self.unlogged |= others.unlogged

    def take(self, pks: Iterable[Any]) -> Changes:
        """Hand over the changes of some objects, which are all there."""
        taken = Changes()
        taken.made = {pk: self.made.pop(pk) for pk in pks}
        if self.origin:
            taken.origin = {pk: self.origin.pop(pk) for pk in taken.made if pk in self.origin}
        taken.recreated = self.recreated & taken.made.keys()
        taken.unlogged = self.unlogged & taken.made.keys()
        self.recreated -= taken.recreated
        self.unlogged -= taken.unlogged
        return taken


class Portions:
    """Changes in portions, each of which is let go of as soon as it is taken."""

    def __init__(self) -> None:
        self._parts: deque[Changes | bytes] = deque()

    def put(self, changes: Changes, *, pack: bool = False) -> None:
        """Add a portion, which is handed over. ``pack``: so that it takes less memory, if
        possible."""
        if not changes:
            return
        plain = not (changes.origin or changes.recreated or changes.unlogged)
        times = packed(changes.made) if pack and plain else None
        self._parts.append(times or changes)

    def __bool__(self) -> bool:
        return bool(self._parts)

    def __iter__(self) -> Iterator[Changes]:
        """Takes one portion after the other."""
        while self._parts:
            part = self._parts.popleft()
            if isinstance(part, bytes):
                times, part = part, Changes()
                part.made = unpacked(times)
            yield part


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

    def size(self) -> int:
        """How many rows, changes of links and deletions there are."""
        parts: list[Sized] = [*self.writes.values(), *self.links.values()]
        return sum(len(part) for part in (*parts, *self.deletions.values()))

    def is_empty(self) -> bool:
        return not (self.writes or self.links or self.deletions)
