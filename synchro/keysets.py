"""Sets and lists of keys that may be kept for a whole run."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

_BITS: Final = 5
_LAST: Final = 2**_BITS - 1
_ALL: Final = 2 ** (_LAST + 1) - 1


def are_whole_numbers(keys: Iterable[Any]) -> bool:
    """Whether all keys are numbers as ``array`` holds them: of 64 bits."""
    numbers = list(keys)
    return set(map(type, numbers)) <= {int} and (
        not numbers or (min(numbers) >= -(2**63) and max(numbers) < 2**63)
    )


def consecutive(keys: Sequence[Any]) -> range | None:
    """Keys as a range, if they are whole numbers one after the other. Where there are many they
    often are, and a range is worked off several times as fast."""
    if not keys or type(keys[0]) is not int:
        return None
    found = range(keys[0], keys[0] + len(keys))
    if keys != list(found) or list(map(type, keys)).count(int) < len(keys):
        return None
    return found


class KeySet:
    """A set of primary keys. Whole numbers that lie close together, as automatic keys do, take a
    few bytes each; others what they take in a set of Python's."""

    def __init__(self) -> None:
        self._blocks: dict[int, int] = {}
        """Number of the block -> a bit for each key of it."""
        self._others: set[Any] = set()

    def update(self, keys: Iterable[Any]) -> None:
        blocks = self._blocks
        keys = list(keys)
        line = consecutive(keys)
        if line is not None:
            self._add_line(line)
            return
        for key in keys:
            if type(key) is int:
                block = key >> _BITS
                blocks[block] = blocks.get(block, 0) | 1 << (key & _LAST)
            else:
                self._others.add(key)

    def _add_line(self, line: range) -> None:
        for block, bits in _bits(line):
            self._blocks[block] = self._blocks.get(block, 0) | bits

    def has_line(self, line: range) -> bool:
        """Whether all of consecutive keys are in the set."""
        get = self._blocks.get
        return all(get(block, 0) & bits == bits for block, bits in _bits(line))

    def discard(self, key: Any) -> None:
        if type(key) is not int:
            self._others.discard(key)
        elif key in self:
            self._blocks[key >> _BITS] ^= 1 << (key & _LAST)

    def outside(self, keys: Iterable[Any]) -> list[Any]:
        """Those of some keys that are not in the set."""
        keys = list(keys)
        if not self._blocks and not self._others:
            return keys
        line = consecutive(keys)
        if line is not None and self.has_line(line):
            return []
        get, others = self._blocks.get, self._others
        return [
            key
            for key in keys
            if (
                not get(key >> _BITS, 0) >> (key & _LAST) & 1
                if type(key) is int
                else key not in others
            )
        ]

    def __iter__(self) -> Iterator[Any]:
        for block, bits in self._blocks.items():
            for number in range(bits.bit_length()):
                if bits >> number & 1:
                    yield block << _BITS | number
        yield from self._others

    def __len__(self) -> int:
        return sum(map(int.bit_count, self._blocks.values())) + len(self._others)

    def __contains__(self, key: Any) -> bool:
        if type(key) is int:
            return bool(self._blocks.get(key >> _BITS, 0) >> (key & _LAST) & 1)
        return key in self._others


def _bits(line: range) -> Iterator[tuple[int, int]]:
    """The blocks of consecutive keys, each with the bits of these."""
    first, last = line.start >> _BITS, line.stop - 1 >> _BITS
    for block in range(first, last + 1):
        bits = _ALL
        if block == first:
            bits &= _ALL << (line.start & _LAST)
        if block == last:
            bits &= _ALL >> (_LAST - (line.stop - 1 & _LAST))
        yield block, bits


class KeyList:
    """Primary keys one after the other. Whole numbers take eight bytes each; others what they
    take in a list of Python's."""

    def __init__(self) -> None:
        self._keys: array[int] | list[Any] = array("q")

    def extend(self, keys: Sequence[Any]) -> None:
        if isinstance(self._keys, array):
            if are_whole_numbers(keys):
                self._keys.extend(keys)
                return
            self._keys = self._keys.tolist()
        self._keys.extend(keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyList) and self._keys == other._keys

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
