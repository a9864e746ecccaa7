"""What a run is asked for, and who is told how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from synchro.selection import Selection
from synchro.tracking import Tracker

Callback = Callable[[str, int, int], None]
"""Called with the stage (``plan``, ``sync`` or ``complete``), how many objects are done, and how
many there are."""


@dataclass(kw_only=True)
class Limits:
    """What a run is asked for, beside its two databases."""

    selection: Selection = field(default_factory=Selection)
    full: bool = False
    """Whether to compare the databases row by row, besides reading the log."""
    continue_on_failure: bool = False
    callback: Callback = lambda stage, current, total: None
    tracker: Tracker | None = None
    """Who writes down how far the run is."""

    def tell(self, stage: str, model: str, done: int, total: int) -> None:
        """The run is that far. Raises CancelledError if it is to be given up."""
        self.callback(stage, done, total)
        if self.tracker is not None:
            self.tracker.tell(stage, model, done, total)

    def compared(self, model: str, done: int, total: int) -> None:
        """So many rows of a model have been compared. Raises CancelledError, too."""
        if self.tracker is not None:
            self.tracker.tell("plan", model, done, total)

    def ready(self, done: int) -> None:
        """Nothing is left to be done but COMMIT: the last moment to be given up."""
        if self.tracker is not None:
            self.tracker.tell("complete", "", done, done)
