"""Which keys stand for which ones, of objects that may be kept for a whole run."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, Final

from synchro.keynumbers import NOTHING, KeyNumbers, are_close
from synchro.keysets import KeySet, consecutive

_NONE: Final = NOTHING + 1
"""Stands for None among numbers."""
_LEAST: Final = _NONE + 1


class KeyPairs(MutableMapping[Any, Any]):
    """Which key stands for which one, or for None. Whole numbers that stand for themselves, as in
    databases that began as copies of each other, take as little as in a ``KeySet``; those that
    stand for others, or for None, eight bytes each where they come close together.

    In another order than they were put in. One thread may change it while others read what does
    not change."""

    def __init__(self, pairs: Mapping[Any, Any] = MappingProxyType({})) -> None:
        self._same = KeySet()
        self._numbers = KeyNumbers()
        self._others: dict[Any, Any] = {}
        self.update(pairs)

    def update(self, pairs: Mapping[Any, Any]) -> None:  # type: ignore[override]
        same = [key for key, other in pairs.items() if type(key) is int and key == other]
        self._same.update(same)
        self._numbers.discard_all(same)
        if self._others:
            for key in same:
                self._others.pop(key, None)
        if len(same) == len(pairs):
            return
        rest = {key: other for key, other in pairs.items() if type(key) is not int or key != other}
        numbers = _as_numbers(rest) if are_close(rest.keys()) else None
        if numbers is None:
            for key, other in rest.items():
                self[key] = other
            return
        for key in {*rest}.difference(self._same.outside(rest)):
            self._same.discard(key)
        for key in self._others.keys() & rest.keys():
            del self._others[key]
        self._numbers.put_all(list(rest), numbers)

    def discard(self, key: Any) -> None:
        self._same.discard(key)
        self._numbers.discard(key)
        self._others.pop(key, None)

    def pick(self, keys: Iterable[Any]) -> dict[Any, Any]:
        """What keys stand for; None for those of which that is not known."""
        keys = list(keys)
        line = consecutive(keys)
        if line is not None:
            if self._same.has_line(line):
                return dict(zip(keys, keys, strict=True))
            numbers = self._numbers.line(line)
            if numbers is not None:
                return dict(zip(keys, map(_known, numbers), strict=True))
        get = self.get
        return {key: get(key) for key in keys}

    def lacking(self, keys: Iterable[Any]) -> list[Any]:
        """Those of some keys of which nothing is known."""
        numbers, others = self._numbers, self._others
        return [
            key for key in self._same.outside(keys) if key not in numbers and key not in others
        ]

    def __getitem__(self, key: Any) -> Any:
        if key in self._same:
            return key
        number = self._numbers.get(key)
        return self._others[key] if number == NOTHING else _known(number)

    def get(self, key: Any, default: Any = None) -> Any:
        """What a key stands for; None if that is not known."""
        if key in self._same:
            return key
        number = self._numbers.get(key)
        return self._others.get(key, default) if number == NOTHING else _known(number)

    def __contains__(self, key: Any) -> bool:
        return key in self._same or key in self._numbers or key in self._others

    def __setitem__(self, key: Any, other: Any) -> None:
        self.discard(key)
        if type(key) is int and key == other:
            self._same.update((key,))
        else:
            self._others[key] = other

    def __delitem__(self, key: Any) -> None:
        if key not in self:
            raise KeyError(key)
        self.discard(key)

    def __iter__(self) -> Iterator[Any]:
        yield from self._same
        yield from self._numbers
        yield from self._others

    def __len__(self) -> int:
        return len(self._same) + len(self._numbers) + len(self._others)


def _known(number: int) -> int | None:
    return None if number == _NONE else number


def _as_numbers(pairs: Mapping[Any, Any]) -> array[int] | None:
    """What the keys stand for, if all of that are numbers that can be packed, or None."""
    known = [other for other in pairs.values() if other is not None]
    if set(map(type, known)) - {int} or (known and not _LEAST <= min(known) <= max(known) < 2**63):
        return None
    return array("q", [_NONE if other is None else other for other in pairs.values()])
