"""Times by primary key that may be kept for a whole run: as whole numbers in arrays."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sized
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from synchro.keysets import consecutive

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

MANY = 20_000
"""What is kept of so many objects is packed, which takes less memory and a little time."""

_BITS: Final = 8
_LAST: Final = 2**_BITS - 1
_NEVER: Final = -(2**63)
_EMPTY: Final = array("q", [_NEVER]) * 2**_BITS
_CROWD: Final = 2**_BITS // 8
"""So many keys have to share a block on average: an entry of a dictionary, its key and its time
take 16 times as much as an entry of a block."""


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
    keys: Collection[Any] = times.keys()
    return (
        bool(keys)
        and set(map(type, keys)) == {int}
        and len({key >> _BITS for key in keys}) * _CROWD <= len(keys)
        and _are_utc(times.values())
    )


def _parts(line: range) -> Iterator[tuple[int, slice, slice]]:
    """The blocks of consecutive keys: the number of each, and which part of it is which part of
    the keys."""
    size = _LAST + 1
    for number in range(line.start >> _BITS, (line.stop - 1 >> _BITS) + 1):
        start, stop = max(line.start, number * size), min(line.stop, (number + 1) * size)
        inside = slice(start - number * size, stop - number * size)
        yield number, inside, slice(start - line.start, stop - line.start)


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

    __slots__ = ("_blocks", "_others", "_packed")

    def __init__(self, times: Mapping[Any, datetime]) -> None:
        self._blocks: dict[int, array[int]] = {}
        """Number of the block -> microseconds since 1970 for each key of it."""
        self._packed = 0
        """How many keys the blocks have."""
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
            self._add_line(times.line, times.packed)
            return
        packed = _packed(times.values())
        line = consecutive(list(times))
        if line is not None:
            self._add_line(line, packed)
            return
        for key, time in zip(times, packed, strict=True):
            number = key >> _BITS
            block = self._blocks.get(number)
            if block is None:
                block = self._blocks[number] = _EMPTY[:]
            if block[key & _LAST] == _NEVER:
                self._packed += 1
            block[key & _LAST] = time

    def _found(self, key: Any) -> int:
        """What the blocks have for a key."""
        block = self._blocks.get(key >> _BITS) if type(key) is int else None
        return _NEVER if block is None else block[key & _LAST]

    def __getitem__(self, key: Any) -> datetime:
        found = self._found(key)
        return self._others[key] if found == _NEVER else _EPOCH + found * _MICROSECOND

    def _add_line(self, line: range, times: array[int]) -> None:
        """Like ``add``, for consecutive keys."""
        for number, inside, outside in _parts(line):
            block = self._blocks.setdefault(number, _EMPTY[:])
            self._packed += block[inside].count(_NEVER)
            block[inside] = times[outside]

    def _line(self, line: range) -> array[int] | None:
        """What the blocks have for consecutive keys, if they have all of them."""
        found = array("q")
        for number, inside, _outside in _parts(line):
            block = self._blocks.get(number)
            if block is None:
                return None
            found.extend(block[inside])
        return None if _NEVER in found else found

    def pick(self, keys: Iterable[Any]) -> Mapping[Any, datetime]:
        """The times of those of some keys that are there."""
        keys = list(keys)
        line = consecutive(keys)
        packed = None if line is None else self._line(line)
        if line is not None and packed is not None:
            return TimeLine(line, packed)
        blocks, others = self._blocks, self._others
        found = {}
        for key in keys:
            block = blocks.get(key >> _BITS) if type(key) is int else None
            if block is not None and (time := block[key & _LAST]) != _NEVER:
                found[key] = _EPOCH + time * _MICROSECOND
            elif key in others:
                found[key] = others[key]
        return found

    def times(self, keys: Iterable[Any]) -> list[datetime]:
        """The times of some keys, which are all there."""
        found = self.pick(keys)
        return _unpacked(found.packed) if isinstance(found, TimeLine) else list(found.values())

    def __contains__(self, key: object) -> bool:
        return self._found(key) != _NEVER or key in self._others

    def __setitem__(self, key: Any, time: datetime) -> None:
        self.pop(key, None)
        self._others[key] = time

    def __delitem__(self, key: Any) -> None:
        if self._found(key) == _NEVER:
            del self._others[key]
        else:
            self._blocks[key >> _BITS][key & _LAST] = _NEVER
            self._packed -= 1

    def __len__(self) -> int:
        return self._packed + len(self._others)

    def __iter__(self) -> Iterator[Any]:
        for number, block in self._blocks.items():
            for key, time in enumerate(block, number << _BITS):
                if time != _NEVER:
                    yield key
        yield from self._others
