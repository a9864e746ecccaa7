"""Finds what is to blame when work on a set fails: by halving, not one by one.

One bad item among n costs about 1.5 log2(n) further attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

Attempt = Callable[[Sequence[T]], Exception | None]
"""Does the work on some items, all of them or none. Returns the error if it failed."""


def settle(
    items: Sequence[T],
    error: Exception | None,
    attempt: Attempt[T],
    refuse: Callable[[T, Exception], None],
) -> None:
    """``error`` is what items met together: do the work on those that are not to blame, and call
    ``refuse`` for each of the others with its own error."""
    if error is None:
        return
    if len(items) == 1:
        refuse(items[0], error)
        return
    middle = len(items) // 2
    first, second = items[:middle], items[middle:]
    in_first = attempt(first)
    settle(first, in_first, attempt, refuse)
    if in_first is not None or len(second) == 1:
        error = attempt(second)
    # Else the fault lies in the second half, and is looked for there at once.
    settle(second, error, attempt, refuse)
