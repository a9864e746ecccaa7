"""Times by primary key that may be kept for a whole run: as whole numbers in arrays."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sized
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from synchro import keynumbers
from synchro.keynumbers import NOTHING, KeyNumbers
from synchro.keysets import consecutive

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

MANY = 20_000
"""What is kept of so many objects is packed, which takes less memory and a little time."""


def are_many(objects: Sized) -> bool:
    return len(objects) >= MANY


_zone: Final = attrgetter("tzinfo")


def _packed(times: Iterable[datetime]) -> array[int]:
    """Times in UTC as microseconds from the beginning of 1970."""
    return array("q", [(time - _EPOCH) // _MICROSECOND for time in times])


def _unpacked(times: Iterable[int]) -> list[datetime]:
    return [_EPOCH + time * _MICROSECOND for time in times]


def _are_utc(times: Iterable[datetime]) -> bool:
    """Whether times are such as they will be when they have been packed."""
    return {*map(id, map(_zone, times))} <= {id(UTC)}


def are_close(times: Mapping[Any, datetime]) -> bool:
    """Whether it pays to pack these: whole numbers that lie close together, as automatic keys do,
    and times as databases have them."""
    if isinstance(times, TimeLine):
        return True
    return keynumbers.are_close(times.keys()) and _are_utc(times.values())


class TimeLine(Mapping[Any, datetime]):
    """The times of consecutive keys, packed. Never changed."""

    __slots__ = ("line", "packed")

    def __init__(self, line: range, packed: array[int]) -> None:
        self.line = line
        self.packed = packed
        """Microseconds since 1970, in the order of the keys."""

    def __getitem__(self, key: Any) -> datetime:
        if key not in self:
            raise KeyError(key)
        time: int = self.packed[key - self.line.start]
        return _EPOCH + time * _MICROSECOND

    def __contains__(self, key: object) -> bool:
        return type(key) is int and key in self.line

    def __iter__(self) -> Iterator[int]:
        return iter(self.line)

    def __len__(self) -> int:
        return len(self.line)

    def unpacked(self) -> dict[Any, datetime]:
        return dict(zip(self.line, _unpacked(self.packed), strict=True))


class KeyTimes(MutableMapping[Any, datetime]):
    """Times by primary key, as in a dictionary, but with neighbouring keys one after the other.
    What ``are_close`` finds close together takes eight bytes each, and anything else what it takes
    in a dictionary."""

    __slots__ = ("_others", "_packed")

    def __init__(self, times: Mapping[Any, datetime]) -> None:
        self._packed = KeyNumbers()
        """Microseconds since 1970."""
        self._others: dict[Any, datetime] = {}
        self.add(times)

    def add(self, times: Mapping[Any, datetime]) -> None:
        """Like ``update``, and packs them."""
        if not are_close(times):
            self.update(times)
            return
        for key in self._others.keys() & times.keys():
            del self._others[key]
        if isinstance(times, TimeLine):
            self._packed.put_line(times.line, times.packed)
            return
        self._packed.put_all(list(times), _packed(times.values()))

    def pick(self, keys: Iterable[Any]) -> Mapping[Any, datetime]:
        """The times of those of some keys that are there."""
        keys = list(keys)
        line = consecutive(keys)
        packed = None if line is None else self._packed.line(line)
        if line is not None and packed is not None:
            return TimeLine(line, packed)
        get, others = self._packed.get, self._others
        found = {}
        for key in keys:
            time = get(key)
            if time != NOTHING:
                found[key] = _EPOCH + time * _MICROSECOND
            elif key in others:
                found[key] = others[key]
        return found

    def times(self, keys: Iterable[Any]) -> list[datetime]:
        """The times of some keys, which are all there."""
        found = self.pick(keys)
        return _unpacked(found.packed) if isinstance(found, TimeLine) else list(found.values())

    def __getitem__(self, key: Any) -> datetime:
        time = self._packed.get(key)
        return self._others[key] if time == NOTHING else _EPOCH + time * _MICROSECOND

    def __contains__(self, key: object) -> bool:
        return key in self._packed or key in self._others

    def __setitem__(self, key: Any, time: datetime) -> None:
        self.pop(key, None)
        self._others[key] = time

    def __delitem__(self, key: Any) -> None:
        if key in self._packed:
            self._packed.discard(key)
        else:
            del self._others[key]

    def __len__(self) -> int:
        return len(self._packed) + len(self._others)

    def __iter__(self) -> Iterator[Any]:
        yield from self._packed
        yield from self._others
