"""Sets and pairs of keys that may be kept for a whole run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

    def discard(self, key: Any) -> None:
        if type(key) is not int:
            self._others.discard(key)
        elif key in self:
            self._blocks[key >> _BITS] ^= 1 << (key & _LAST)

    def __contains__(self, key: Any) -> bool:
        if type(key) is int:
            return bool(self._blocks.get(key >> _BITS, 0) >> (key & _LAST) & 1)
        return key in self._others


class KeyPairs:
    """Which key stands for which one. Whole numbers that stand for themselves, as in databases
    that began as copies of each other, take as little as in a ``KeySet``."""

    def __init__(self) -> None:
        self._same = KeySet()
        self._others: dict[Any, Any] = {}

    def update(self, pairs: Mapping[Any, Any]) -> None:
        same = [key for key, other in pairs.items() if type(key) is int and key == other]
        self._same.update(same)
        if len(same) == len(pairs) and not self._others:
            return
        for key, other in pairs.items():
            if key in self._same and key == other:
                self._others.pop(key, None)
            else:
                self._same.discard(key)
                self._others[key] = other

    def discard(self, key: Any) -> None:
        self._same.discard(key)
        self._others.pop(key, None)

    def get(self, key: Any) -> Any:
        """What a key stands for; None if that is not known."""
        return key if key in self._same else self._others.get(key)
