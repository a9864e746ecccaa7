"""What the change log tells of objects, in one entry for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from synchro.keytimes import are_many, microseconds, time_of
from synchro.models import ADDITION, DELETION, M2M_CHANGE


class LogRows(NamedTuple):
    """What a run reads of some rows of the change log, one or more, column by column."""

    labels: Sequence[str]
    object_ids: Sequence[str]
    actions: Sequence[int]
    made: Sequence[datetime]
    """When the changes were made, on whichever node."""
    fields: Sequence[str]
    keys: Sequence[str | None]
    origins: Sequence[str]
    dates: Sequence[datetime]
    """When they were logged here."""


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

    def add(
        self,
        action: int,
        made: datetime,
        field: str = "",
        key: str | None = None,
        origin: str = "",
    ) -> None:
        """Take in the next log row of the object, in the order of the log."""
        if action == M2M_CHANGE:
            link = LinkTime(field, made, origin)
            older = [one for one in self.links if one.field != field] if self.links else ()
            self.links = (*older, link)
            return
        if action == DELETION:
            self.written, self.deleted = False, True
            self.links = ()
        else:
            if self.made is None:
                # What came from elsewhere is known elsewhere.
                self.added = action == ADDITION and not origin
            if self.deleted:
                self.recreated = True
            self.written, self.deleted = True, False
        self.made, self.origin = made, origin
        if key is not None:
            self.key = key

    @property
    def is_plain(self) -> bool:
        """Whether the object was only made or changed, or its links, and all of it here."""
        return (
            self.written == (self.made is not None)
            and not (self.deleted or self.recreated or self.origin or self.key is not None)
            and (self.made is None or self.made.tzinfo is UTC)
            and not any(link.origin or link.made.tzinfo is not UTC for link in self.links)
        )

    def forget_what_came_from(self, uid: str) -> None:
        """Drop what the other node made itself: it is not sent back there."""
        if self.origin == uid:
            self.written = self.deleted = self.recreated = False
        if any(link.origin == uid for link in self.links):
            self.links = tuple(link for link in self.links if link.origin != uid)

    def link(self, field: str) -> LinkTime | None:
        """The last change of the links in a field, as far as the log names it."""
        return next((link for link in self.links if link.field == field), None)


_CELL: Final = 64
_MASK: Final = 2**_CELL - 1
_BIAS: Final = 2**62


def _cell(time: datetime, added: bool = False) -> int:
    """A time in UTC, and one bit, as 63 bits that are not all 0."""
    return (microseconds(time) << 1 | added) + _BIAS


def _time(cell: int) -> datetime:
    return time_of(cell - _BIAS >> 1)


class Objects(MutableMapping[str, Collapsed]):
    """What happened to many objects, by object_id, in the order of the log. Objects that were only
    made or changed, and linked, take little memory: their entries are made when they are asked
    for, and to change such an entry changes nothing here."""

    def __init__(self, entries: MutableMapping[str, Collapsed]) -> None:
        """``entries`` are used up."""
        self._entries: dict[str, Collapsed | int] = {}
        """What is no plain change; or one number of cells of 64 bits, from its end: when the
        object was changed, and whether it was added, and when its links were, by field; 0 where
        they were not."""
        self._shifts: dict[str, int] = {}
        """Many-to-many field -> before how many bits its cell ends."""
        for text in list(entries):
            self[text] = entries.pop(text)

    def add(
        self, text: str, action: int, made: datetime, field: str, key: str | None, origin: str
    ) -> None:
        """Take in the next log row, in the order of the log."""
        entry = self._entries.get(text, 0)
        if isinstance(entry, Collapsed):
            entry.add(action, made, field, key, origin)
        elif action == DELETION or origin or key is not None or made.tzinfo is not UTC:
            unpacked = self._entries[text] = self._unpacked(entry)
            unpacked.add(action, made, field, key, origin)
        elif action == M2M_CHANGE:
            self._entries[text] = self._linked(entry, field, made)
        else:
            added = entry & 1 if entry & _MASK else action == ADDITION
            self._entries[text] = entry >> _CELL << _CELL | _cell(made, bool(added))

    def forget_added(self) -> None:
        """Have it that REMOTE may know all of them."""
        for text, entry in self._entries.items():
            if isinstance(entry, Collapsed):
                entry.added = False
            else:
                self._entries[text] = entry >> 1 << 1

    def forget_what_came_from(self, uid: str) -> None:
        """Drop what the other node made itself. (What is plain was made here.)"""
        for entry in self._entries.values():
            if isinstance(entry, Collapsed):
                entry.forget_what_came_from(uid)

    def _linked(self, entry: int, field: str, time: datetime) -> int:
        shift = self._shifts.setdefault(field, (len(self._shifts) + 1) * _CELL)
        return entry & ~(_MASK << shift) | _cell(time) << shift

    def _unpacked(self, entry: int) -> Collapsed:
        found = Collapsed()
        own = entry & _MASK
        if own:
            found.written, found.added, found.made = True, bool(own & 1), _time(own)
        if entry > _MASK:
            found.links = tuple(
                LinkTime(field, _time(cell), "")
                for field, shift in self._shifts.items()
                if (cell := entry >> shift & _MASK)
            )
        return found

    def __getitem__(self, text: str) -> Collapsed:
        entry = self._entries[text]
        return entry if isinstance(entry, Collapsed) else self._unpacked(entry)

    def __setitem__(self, text: str, entry: Collapsed) -> None:
        if not entry.is_plain:
            self._entries[text] = entry
            return
        number = 0 if entry.made is None else _cell(entry.made, entry.added)
        for link in entry.links:
            number = self._linked(number, link.field, link.made)
        self._entries[text] = number

    def __delitem__(self, text: str) -> None:
        del self._entries[text]

    def __contains__(self, text: object) -> bool:
        return text in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


Collapse = dict[str, MutableMapping[str, Collapsed]]
"""label -> object_id -> what happened to the object."""


def collapse(portions: Iterable[LogRows], onto: Collapse | None = None) -> Collapse:
    """One entry an object, whatever the number of its log rows.

    The rows must be in the order in which one node knows them: by batch, then by id. They are
    added to the entries in ``onto``, which are older.
    """
    found: Collapse = {} if onto is None else onto
    links: tuple[LinkTime, ...] = ()
    last: str | None = None
    objects: MutableMapping[str, Collapsed] = {}
    for rows in portions:
        # The columns but for ``dates``, which say nothing of the object.
        for label, text, *change in zip(*rows[:-1], strict=True):
            if label != last:
                last = label
                objects = found.setdefault(label, {})
            if isinstance(objects, Objects):
                objects.add(text, *change)
                continue
            collapsed = objects.get(text)
            if collapsed is None:
                if are_many(objects):
                    objects = found[label] = Objects(objects)
                    objects.add(text, *change)
                    continue
                collapsed = objects[text] = Collapsed()
            collapsed.add(*change)
            if collapsed.links == links:
                # Often they are those of the object before, and kept in memory once.
                collapsed.links = links
            else:
                links = collapsed.links
    return found


def forget_added(collapse: Collapse) -> None:
    """Have it that REMOTE may know all objects."""
    for objects in collapse.values():
        if isinstance(objects, Objects):
            objects.forget_added()
        else:
            for entry in objects.values():
                entry.added = False


def forget_what_came_from(collapse: Collapse, uid: str) -> None:
    """Drop what the other node made itself: it is not sent back there."""
    for objects in collapse.values():
        if isinstance(objects, Objects):
            objects.forget_what_came_from(uid)
        else:
            for entry in objects.values():
                entry.forget_what_came_from(uid)


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
