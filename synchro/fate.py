"""What is known of REMOTE's transaction: two databases cannot commit at the same moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from types import TracebackType
from typing import Any

from synchro.transient import is_lost


class State(IntEnum):
    """How far REMOTE has come for certain."""

    UNCHANGED = 0
    """Nothing was committed there."""
    UNKNOWN = 1
    """The connection was lost at COMMIT, and nobody knows on which side of it."""
    COMMITTED = 2


@dataclass(kw_only=True)
class Sent:
    """What a transaction held whose COMMIT was sent."""

    batch: int
    counts: Mapping[tuple[str, str], int]
    skipped: Sequence[Any]


@dataclass
class Fate:
    """What became of all attempts of one run. As a context manager it goes around REMOTE's
    transaction; the last thing inside calls ``sending``."""

    state: State = State.UNCHANGED
    has_proof: bool = True
    """Whether REMOTE has synchro's tables, and so can be asked what it has committed."""
    unsure: list[Sent] = field(default_factory=list)
    """The transactions of which it is not known whether they were committed."""
    attempts: int = 0
    reached_commit: bool = False
    """Whether the last attempt came that far."""
    _sending: Sent | None = None

    def __enter__(self) -> Fate:
        self._sending = None
        self.reached_commit = False
        return self

    def sending(
        self, batch: int, counts: Mapping[tuple[str, str], int], skipped: Sequence[Any]
    ) -> None:
        """Nothing is left to be done but COMMIT."""
        self.reached_commit = True
        self._sending = Sent(batch=batch, counts=dict(counts), skipped=list(skipped))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.state = State.COMMITTED
        elif self._sending is not None and (is_lost(error) or not isinstance(error, Exception)):
            self.state = max(self.state, State.UNKNOWN)
        if error is None or self.state is State.UNKNOWN:
            self._keep()

    def _keep(self) -> None:
        if self._sending is not None:
            self.unsure.append(self._sending)
            self._sending = None

    @property
    def may_run_again(self) -> bool:
        """Whether another attempt can do nothing twice."""
        return self.has_proof or self.state is State.UNCHANGED

    def arrived(self, after: int) -> tuple[Counter[tuple[str, str]], list[Any]]:
        """What earlier attempts have done, as it turned out: REMOTE has all up to the batch
        ``after``. Returns (model label, action) -> objects, and what was skipped."""
        counts: Counter[tuple[str, str]] = Counter()
        skipped: list[Any] = []
        for sent in self.unsure:
            if sent.batch <= after:
                counts.update(sent.counts)
                skipped.extend(sent.skipped)
        return counts, skipped
