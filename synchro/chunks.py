"""Working through many things some at a time, or column by column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most ``size`` items (``itertools.batched`` needs Python 3.12)."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def transposed(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows, at least one and all of one length, as columns. (``zip(*rows)`` makes an iterator for
    each row, which keeps the garbage collector busy.)"""
    width = len(rows[0])
    values = list(chain.from_iterable(rows))
    if len(values) != width * len(rows):
        raise ValueError(f"rows of {width} values expected")
    return [values[number::width] for number in range(width)]
