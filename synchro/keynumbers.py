"""Whole numbers by key that may be kept for a whole run: in arrays."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from synchro.keysets import consecutive

NOTHING: Final = -(2**63)
"""What stands where there is no number."""

_BITS: Final = 8
_LAST: Final = 2**_BITS - 1
_EMPTY: Final = array("q", [NOTHING]) * 2**_BITS
_CROWD: Final = 2**_BITS // 8
"""So many keys have to share a block on average: an entry of a dictionary, its key and its value
take 16 times as much as an entry of a block."""


def are_close(keys: Collection[Any]) -> bool:
    """Whether it pays to pack what these stand for: whole numbers that lie close together, as
    automatic keys do."""
    return (
        bool(keys)
        and set(map(type, keys)) == {int}
        and len({key >> _BITS for key in keys}) * _CROWD <= len(keys)
    )


def _parts(line: range) -> Iterator[tuple[int, slice, slice]]:
    """The blocks of consecutive keys: the number of each, and which part of it is which part of
    the keys."""
    size = _LAST + 1
    for number in range(line.start >> _BITS, (line.stop - 1 >> _BITS) + 1):
        start, stop = max(line.start, number * size), min(line.stop, (number + 1) * size)
        inside = slice(start - number * size, stop - number * size)
        yield number, inside, slice(start - line.start, stop - line.start)


class KeyNumbers:
    """Numbers of 64 bits by key, for keys that are whole numbers: eight bytes each where keys lie
    close together."""

    __slots__ = ("_blocks", "_size")

    def __init__(self) -> None:
        self._blocks: dict[int, array[int]] = {}
        """Number of the block -> a number, or nothing, for each key of it."""
        self._size = 0

    def get(self, key: Any) -> int:
        """The number of a key, whatever that is; ``NOTHING`` if it has none."""
        block = self._blocks.get(key >> _BITS) if type(key) is int else None
        return NOTHING if block is None else block[key & _LAST]

    def put(self, key: int, number: int) -> None:
        """Put the number of a key; ``NOTHING`` takes it out."""
        block = self._blocks.get(key >> _BITS)
        if block is None:
            block = self._blocks[key >> _BITS] = _EMPTY[:]
        self._size += (number != NOTHING) - (block[key & _LAST] != NOTHING)
        block[key & _LAST] = number

    def discard(self, key: Any) -> None:
        if self.get(key) != NOTHING:
            self.put(key, NOTHING)

    def line(self, line: range) -> array[int] | None:
        """The numbers of consecutive keys, if all of them have one."""
        found = array("q")
        for number, inside, _outside in _parts(line):
            block = self._blocks.get(number)
            if block is None:
                return None
            found.extend(block[inside])
        return None if NOTHING in found else found

    def put_all(self, keys: Sequence[int], numbers: array[int]) -> None:
        """Put the numbers of keys, in their order."""
        line = consecutive(keys)
        if line is not None:
            self.put_line(line, numbers)
            return
        for key, number in zip(keys, numbers, strict=True):
            self.put(key, number)

    def put_line(self, line: range, numbers: array[int]) -> None:
        """Put the numbers of consecutive keys."""
        for number, inside, outside in _parts(line):
            block = self._blocks.setdefault(number, _EMPTY[:])
            self._size += block[inside].count(NOTHING)
            block[inside] = numbers[outside]

    def discard_all(self, keys: Sequence[Any]) -> None:
        """Take out keys, those that have a number."""
        if not self._size:
            return
        line = consecutive(keys)
        if line is not None:
            self._discard_line(line)
            return
        for key in keys:
            self.discard(key)

    def _discard_line(self, line: range) -> None:
        for number, inside, _outside in _parts(line):
            block = self._blocks.get(number)
            if block is not None:
                part = _EMPTY[inside]
                self._size -= len(part) - block[inside].count(NOTHING)
                block[inside] = part
                if block == _EMPTY:
                    del self._blocks[number]

    def __contains__(self, key: object) -> bool:
        return self.get(key) != NOTHING

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        for number, block in self._blocks.items():
            for key, value in enumerate(block, number << _BITS):
                if value != NOTHING:
                    yield key
