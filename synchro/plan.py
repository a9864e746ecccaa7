"""Changes and plans: pure data, and the pure functions that make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Model

from synchro.models import ADDITION, DELETION, M2M_CHANGE


class LogRow(NamedTuple):
    """What a run reads of one row of the change log."""

    label: str
    object_id: str
    action: int
    date: datetime
    """When it was logged here."""
    made: datetime
    """When the change was made, on whichever node."""
    field: str
    key: str | None
    origin: str


class LinkTime(NamedTuple):
    """The last change of an object's links in one many-to-many field."""

    field: str
    made: datetime
    origin: str


class Collapsed:
    """All log rows of one object, in one."""

    __slots__ = ("added", "deleted", "key", "links", "made", "recreated", "written", "origin")

    def __init__(self) -> None:
        self.added = False
        """Whether the object was made within the window: REMOTE does not know it."""
        self.written = False
        """Whether the object is there in the end and its fields may have changed."""
        self.deleted = False
        """Whether the object is gone in the end."""
        self.recreated = False
        """Whether the object was deleted and made again under the same primary key."""
        self.made: datetime | None = None
        """When its fields were changed, or it was deleted, the last time."""
        self.key: str | None = None
        """The last natural key in the log, as JSON."""
        self.origin = ""
        """Where the last change of its fields was made."""
        self.links: tuple[LinkTime, ...] = ()
        """When the links changed the last time, by many-to-many field."""

    def add(self, row: LogRow) -> None:
        """Take in the next log row of the object, in the order of the log."""
        if row.action == M2M_CHANGE:
            link = LinkTime(row.field, row.made, row.origin)
            older = [one for one in self.links if one.field != row.field] if self.links else ()
            self.links = (*older, link)
            return
        if row.action == DELETION:
            self.written, self.deleted = False, True
            self.links = ()
        else:
            if self.made is None:
                # What came from elsewhere is known elsewhere.
                self.added = row.action == ADDITION and not row.origin
            if self.deleted:
                self.recreated = True
            self.written, self.deleted = True, False
        self.made, self.origin = row.made, row.origin
        if row.key is not None:
            self.key = row.key

    def forget_what_came_from(self, uid: str) -> None:
        """Drop what the other node made itself: it is not sent back there."""
        if self.origin == uid:
            self.written = self.deleted = self.recreated = False
        if any(link.origin == uid for link in self.links):
            self.links = tuple(link for link in self.links if link.origin != uid)

    def link(self, field: str) -> LinkTime | None:
        """The last change of the links in a field, as far as the log names it."""
        return next((link for link in self.links if link.field == field), None)


Collapse = dict[str, dict[str, Collapsed]]
"""label -> object_id -> what happened to the object."""


def collapse(rows: Iterable[LogRow], onto: Collapse | None = None) -> Collapse:
    """One entry an object, whatever the number of its log rows.

    The rows must be in the order in which one node knows them: by batch, then by id. They are
    added to the entries in ``onto``, which are older.
    """
    found: Collapse = {} if onto is None else onto
    links: tuple[LinkTime, ...] = ()
    label: str | None = None
    objects: dict[str, Collapsed] = {}
    for row in rows:
        if row.label != label:
            label = row.label
            objects = found.setdefault(label, {})
        collapsed = objects.get(row.object_id)
        if collapsed is None:
            collapsed = objects[row.object_id] = Collapsed()
        collapsed.add(row)
        if collapsed.links == links:
            # Often they are those of the object before, and kept in memory once.
            collapsed.links = links
        else:
            links = collapsed.links
    return found


class Logged:
    """What the log has. It is handed over to be used up, and read again when it is needed again:
    nobody has to keep it for the rest of the run."""

    def __init__(self, read: Callable[[], Collapse]) -> None:
        """``read``: reads the log, the same each time."""
        self._read = read
        self._next: Collapse | None = read()
        self.labels = list(self._next)
        self.more: Collapse = {}
        """What was not logged, but found otherwise. Kept."""

    def __bool__(self) -> bool:
        return bool(self.labels)

    def take(self) -> Collapse:
        """The entries. They are the caller's own."""
        found, self._next = self._next, None
        if found is None:
            found = self._read()
        for label, objects in self.more.items():
            known = found.setdefault(label, {})
            for text, change in objects.items():
                known.setdefault(text, change)
        return found


@dataclass(slots=True, kw_only=True)
class Change:
    """What is to be done with one object on REMOTE. Keys only, never values."""

    pk: Any
    """The primary key on LOCAL."""
    made: datetime
    origin: str = ""
    """The node on which it was made; empty if on LOCAL."""
    recreated: bool = False
    """The row on REMOTE is to become as good as new: no old links, defaults in skipped fields."""
    logged: bool = True
    """False for a row that is brought along because another one needs it."""


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


@dataclass(slots=True, kw_only=True)
class LinkChange:
    """The links of one object in one many-to-many field are to be made equal."""

    pk: Any
    made: datetime
    origin: str = ""
    logged: bool = True


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

    writes: dict[type[Model], dict[Any, Change]] = field(default_factory=dict)
    """Per model, in the order of replay, by primary key on LOCAL."""
    links: dict[tuple[type[Model], str], dict[Any, LinkChange]] = field(default_factory=dict)
    """Per many-to-many field (model, name), by primary key on LOCAL."""
    deletions: dict[type[Model], dict[Any, Deletion]] = field(default_factory=dict)
    """Per model, in the order of replay, by primary key on REMOTE."""
    kept: dict[type[Model], set[Any]] = field(default_factory=dict)
    """Rows on REMOTE (by primary key there) that were deleted on LOCAL but are newer on REMOTE."""
    skipped: list[Skipped] = field(default_factory=list)

    def size(self) -> int:
        """How many rows, changes of links and deletions there are."""
        parts: list[Mapping[Any, Any]] = [*self.writes.values(), *self.links.values()]
        return sum(len(part) for part in (*parts, *self.deletions.values()))

    def is_empty(self) -> bool:
        return not (self.writes or self.links or self.deletions)

    def __iter__(self) -> Iterator[Change | LinkChange | Deletion]:
        for changes in self.writes.values():
            yield from changes.values()
        for links in self.links.values():
            yield from links.values()
        for deletions in self.deletions.values():
            yield from deletions.values()
