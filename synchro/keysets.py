"""Sets of keys that may be kept for a whole run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

_BITS: Final = 5
_LAST: Final = 2**_BITS - 1


class KeySet:
    """A set of primary keys. Whole numbers that lie close together, as automatic keys do, take a
    few bytes each; others what they take in a set of Python's."""

    def __init__(self) -> None:
        self._blocks: dict[int, int] = {}
        """Number of the block -> a bit for each key of it."""
        self._others: set[Any] = set()

    def update(self, keys: Iterable[Any]) -> None:
        blocks = self._blocks
        for key in keys:
            if type(key) is int:
                block = key >> _BITS
                blocks[block] = blocks.get(block, 0) | 1 << (key & _LAST)
            else:
                self._others.add(key)

    def __contains__(self, key: Any) -> bool:
        if type(key) is int:
            return bool(self._blocks.get(key >> _BITS, 0) >> (key & _LAST) & 1)
        return key in self._others
