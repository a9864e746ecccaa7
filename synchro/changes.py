"""When objects were changed, where, and how: by their keys, and never with their values."""

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
from datetime import datetime
from operator import is_
from typing import Any, cast

from synchro.chunks import batched
from synchro.keytimes import KeyTimes, TimeLine, are_close, are_many


class Changes:
    """What happened to objects of one model, or to their links in one many-to-many field, and so
    is to be done with them. Keys and times only, never values; what few changes have is kept for
    those alone, so that many take little memory."""

    __slots__ = ("made", "origin", "recreated", "unlogged")

    def __init__(self, made: Mapping[Any, datetime] | None = None) -> None:
        """``made`` is handed over."""
        self.made: Mapping[Any, datetime] = {} if made is None else made
        """When each was changed, by key: the primary key on LOCAL, or that in the log. To be read
        only."""
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
            return self.made.times(pks)
        return [self.made[pk] for pk in pks]

    def _own(self) -> MutableMapping[Any, datetime]:
        """``made``, to be changed."""
        if isinstance(self.made, TimeLine):
            self.made = self.made.unpacked()
        return cast("MutableMapping[Any, datetime]", self.made)

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
        self._own()[pk] = made
        if origin:
            self.origin[pk] = origin
        if recreated:
            self.recreated.add(pk)
        if not logged:
            self.unlogged.add(pk)

    def discard(self, pk: Any) -> None:
        if pk in self.made:
            del self._own()[pk]
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
        packs = isinstance(others.made, TimeLine) or (
            are_many(self.made) and are_close(others.made)
        )
        if packs and not isinstance(self.made, KeyTimes):
            self.made = KeyTimes(self.made)
        if isinstance(self.made, KeyTimes):
            self.made.add(others.made)
        else:
            self._own().update(others.made)
        self.origin.update(others.origin)
        self.recreated |= others.recreated
        self.unlogged |= others.unlogged

    def keep(self, pks: Collection[Any]) -> None:
        """Forget all but some of the objects, which are all there."""
        if len(pks) < len(self):
            for pk in self.made.keys() - {*pks}:
                self.discard(pk)

    def take(self, pks: Iterable[Any]) -> Changes:
        """Hand over the changes of some objects, which are all there."""
        pks = list(pks)
        if not pks:
            return Changes()
        made = self._own()
        taken = Changes({pk: made.pop(pk) for pk in pks})
        if self.origin:
            taken.origin = {pk: self.origin.pop(pk) for pk in taken.made if pk in self.origin}
        taken.recreated = self.recreated & taken.made.keys()
        taken.unlogged = self.unlogged & taken.made.keys()
        self.recreated -= taken.recreated
        self.unlogged -= taken.unlogged
        return taken

    def portions(self, size: int) -> Iterator[Changes]:
        """Hand over all changes, so many at a time. (What is packed takes little, and stays.)"""
        if not isinstance(self.made, KeyTimes):
            for pks in batched(list(self.made), size):
                yield self.take(pks)
            return
        for pks in batched(self.made, size):
            part = Changes(self.made.pick(pks))
            if self.origin:
                part.origin = {pk: self.origin[pk] for pk in pks if pk in self.origin}
            part.recreated = self.recreated & part.made.keys()
            part.unlogged = self.unlogged & part.made.keys()
            yield part

    def renamed(self, rename: Callable[[Sequence[Any]], Sequence[Any]]) -> Changes:
        """The same under other keys, in the order of their own ones; what has None is left out.
        ``rename``: makes other keys of keys."""
        before = list(self.made)
        keys = rename(before)
        # Not only equal: 12 equals Decimal(12), which is what rows of LOCAL have.
        if all(map(is_, keys, before)):
            return self
        pairs = [pair for pair in zip(before, keys, strict=True) if pair[1] is not None]
        if not (self.origin or self.recreated or self.unlogged):
            return Changes({new: self.made[old] for old, new in pairs})
        found = Changes()
        for old, new in pairs:
            found.put(
                new,
                self.made[old],
                self.origin.get(old, ""),
                recreated=old in self.recreated,
                logged=old not in self.unlogged,
            )
        return found
