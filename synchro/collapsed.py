"""What the change log tells of objects, whatever the number of its rows: times by key, and entries
of those objects of which there is more to be said."""

from __future__ import annotations

from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import suppress
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from synchro.changes import Changes
from synchro.keysets import KeySet
from synchro.models import ADDITION, DELETION, M2M_CHANGE

T = TypeVar("T")


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

    def some(self, at: Sequence[int]) -> LogRows:
        """The rows at some positions, in their order."""
        columns: Any = (_some(column, at) for column in self)
        return LogRows(*columns)


def _some(column: Sequence[T], at: Sequence[int]) -> Sequence[T]:
    return column if len(at) == len(column) else [column[number] for number in at]


def _positions(values: Sequence[T]) -> Iterable[tuple[T, Sequence[int]]]:
    """Which values there are, in the order of their first ones, and where."""
    if values and values.count(values[0]) == len(values):
        return [(values[0], range(len(values)))]
    found: dict[T, list[int]] = {}
    for at, value in enumerate(values):
        found.setdefault(value, []).append(at)
    return found.items()


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

    def forget_what_came_from(self, uid: str) -> None:
        """Drop what the other node made itself: it is not sent back there."""
        if self.origin == uid:
            self.written = self.deleted = self.recreated = False
        if any(link.origin == uid for link in self.links):
            self.links = tuple(link for link in self.links if link.origin != uid)

    def link(self, field: str) -> LinkTime | None:
        """The last change of the links in a field, as far as the log names it."""
        return next((link for link in self.links if link.field == field), None)


Key = int | str
"""What names an object in the log: its ``object_id``, as a number if that is the text of one."""


class Objects(MutableMapping[str, Collapsed]):
    """What happened to the objects of one model, by object_id.

    Most were only made or changed, or their links: of these there are times by key and no entries,
    which are made when they are asked for; to change such an entry changes nothing here.
    """

    def __init__(self, entries: Mapping[str, Collapsed] = MappingProxyType({})) -> None:
        self.written = Changes()
        """The objects that were made or changed, but for those that have an entry."""
        self.links: dict[str, Changes] = {}
        """Those whose links were, by many-to-many field."""
        self.entries: dict[Key, Collapsed] = {}
        """The objects of which there is more to be said: they were deleted, for example."""
        self._added = KeySet()
        """Of those written, the ones that REMOTE does not know: see ``Collapsed.added``."""
        self._natural_keys: dict[Key, str] = {}
        self.update(entries)

    def add(self, rows: LogRows) -> None:
        """Take in the next log rows of the model, in the order of the log."""
        keys = _keys_of(rows.object_ids)
        odd = self.entries.keys() & {*keys} if self.entries else set()
        if DELETION in rows.actions:
            pairs = zip(keys, rows.actions, strict=True)
            odd |= {key for key, action in pairs if action == DELETION}
        if odd:
            changes = zip(*rows[2:-1], strict=True)
            for key, change in zip(keys, changes, strict=True):
                if key in odd:
                    self._entry(key).add(*change)
            rest = [at for at, key in enumerate(keys) if key not in odd]
            keys, rows = _some(keys, rest), rows.some(rest)
        # Links have nothing to do with the other changes, nor those in one field with others.
        parts = [
            field if action == M2M_CHANGE else None
            for action, field in zip(rows.actions, rows.fields, strict=True)
        ]
        for part, at in _positions(parts):
            some, rows_of_part = _some(keys, at), rows.some(at)
            if part is None:
                self._note_more(some, rows_of_part)
                self.written.update(_changes(some, rows_of_part))
            else:
                changed = self.links.setdefault(part, Changes())
                changed.update(_changes(some, rows_of_part))

    def _note_more(self, keys: Sequence[Key], rows: LogRows) -> None:
        """Note what changes do not say of objects that are written."""
        if ADDITION in rows.actions:
            # The first row tells. What came from elsewhere is known elsewhere.
            added: dict[Key, bool] = {}
            for key, action, origin in zip(keys, rows.actions, rows.origins, strict=True):
                added.setdefault(key, action == ADDITION and not origin)
            before = {*self.written.inside(added)}
            self._added.update(key for key in added if added[key] and key not in before)
        if rows.keys.count(None) < len(keys):
            pairs = zip(keys, rows.keys, strict=True)
            self._natural_keys.update((key, text) for key, text in pairs if text is not None)

    def forget_added(self) -> None:
        """Have it that REMOTE may know all of them."""
        self._added = KeySet()
        for entry in self.entries.values():
            entry.added = False

    def forget_what_came_from(self, uid: str) -> None:
        """Drop what the other node made itself: it is not sent back there."""
        for changes in (self.written, *self.links.values()):
            for key in [key for key, origin in changes.origin.items() if origin == uid]:
                changes.discard(key)
        self._forget_empty_fields()
        for entry in self.entries.values():
            entry.forget_what_came_from(uid)

    def _entry(self, key: Key) -> Collapsed:
        """The entry of an object, which is kept from now on."""
        if key not in self.entries:
            entry = self._made_of(key)
            self._discard(key)
            self.entries[key] = entry
        return self.entries[key]

    def _made_of(self, key: Key) -> Collapsed:
        """An entry, of what there is instead of one."""
        entry = Collapsed()
        if key in self.written:
            entry.written, entry.added = True, key in self._added
            entry.made = self.written.made[key]
            entry.origin = self.written.origin.get(key, "")
            entry.key = self._natural_keys.get(key)
        entry.links = tuple(
            LinkTime(field, changes.made[key], changes.origin.get(key, ""))
            for field, changes in self.links.items()
            if key in changes
        )
        return entry

    def _discard(self, key: Key) -> None:
        self.entries.pop(key, None)
        self._natural_keys.pop(key, None)
        self._added.discard(key)
        for changes in (self.written, *self.links.values()):
            changes.discard(key)
        self._forget_empty_fields()

    def _forget_empty_fields(self) -> None:
        for field in [field for field, changes in self.links.items() if not changes]:
            del self.links[field]

    def _parts(self) -> list[Collection[Key]]:
        return [self.entries, self.written, *self.links.values()]

    def _keys(self) -> Iterator[Key]:
        before: list[Collection[Key]] = []
        for part in self._parts():
            yield from (key for key in part if not any(key in other for other in before))
            before.append(part)

    def __getitem__(self, text: str) -> Collapsed:
        if text not in self:
            raise KeyError(text)
        key = _key_of(text)
        return self.entries.get(key) or self._made_of(key)

    def __setitem__(self, text: str, entry: Collapsed) -> None:
        self._discard(_key_of(text))
        self.entries[_key_of(text)] = entry

    def __delitem__(self, text: str) -> None:
        if text not in self:
            raise KeyError(text)
        self._discard(_key_of(text))

    def __contains__(self, text: object) -> bool:
        key = _key_of(str(text))
        return any(key in part for part in self._parts())

    def __iter__(self) -> Iterator[str]:
        return map(str, self._keys())

    def __len__(self) -> int:
        return sum(1 for _ in self._keys())


def _changes(keys: Sequence[Key], rows: LogRows) -> Changes:
    found = Changes(dict(zip(keys, rows.made, strict=True)))
    if any(rows.origins):
        newest = dict(zip(keys, rows.origins, strict=True))
        found.origin = {key: origin for key, origin in newest.items() if origin}
    return found


def _keys_of(texts: Sequence[str]) -> Sequence[Key]:
    with suppress(ValueError):
        numbers = list(map(int, texts))
        if list(map(str, numbers)) == texts:
            return numbers
    return list(map(_key_of, texts))


def _key_of(text: str) -> Key:
    if text.removeprefix("-").isdecimal():
        with suppress(ValueError):
            number = int(text)
            if str(number) == text:
                return number
    return text


Collapse = dict[str, Objects]
"""label -> object_id -> what happened to the object."""


def collapse(portions: Iterable[LogRows], onto: Collapse | None = None) -> Collapse:
    """One entry an object, whatever the number of its log rows.

    The rows must be in the order in which one node knows them: by batch, then by id. They are
    added to the entries in ``onto``, which are older.
    """
    found: Collapse = {} if onto is None else onto
    for rows in portions:
        for label, at in _positions(rows.labels):
            found.setdefault(label, Objects()).add(rows.some(at))
    return found


def forget_added(collapse: Collapse) -> None:
    """Have it that REMOTE may know all objects."""
    for objects in collapse.values():
        objects.forget_added()


def forget_what_came_from(collapse: Collapse, uid: str) -> None:
    """Drop what the other node made itself: it is not sent back there."""
    for objects in collapse.values():
        objects.forget_what_came_from(uid)


class Logged:
    """What the log has. It is handed over to be used up, and read again when it is needed again:
    nobody has to keep it for the rest of the run."""

    def __init__(self, read: Callable[[], Collapse]) -> None:
        """``read``: reads the log, the same each time."""
        self._read = read
        self._next: Collapse | None = read()
        self.labels = list(self._next)
        self.more: Mapping[str, Mapping[str, Collapsed]] = {}
        """What was not logged, but found otherwise. Kept."""

    def __bool__(self) -> bool:
        return bool(self.labels)

    def take(self) -> Collapse:
        """The entries. They are the caller's own."""
        found, self._next = self._next, None
        if found is None:
            found = self._read()
        for label, objects in self.more.items():
            known = found.setdefault(label, Objects())
            for text, change in objects.items():
                known.setdefault(text, change)
        return found
