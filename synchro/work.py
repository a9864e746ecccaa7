"""What the parts of one replay share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError
from django.db.models import Field, Model

from synchro.ahead import Ahead
from synchro.changes import Changes
from synchro.counterparts import Counterparts
from synchro.exceptions import SynchroError
from synchro.graph import family
from synchro.holds import Holds
from synchro.journal import Journal
from synchro.loading.base import Load
from synchro.remotes.base import Source
from synchro.remotes.database import DatabaseEnd
from synchro.results import Done
from synchro.translate import Awaited

# What a value that a database cannot hold raises, from Django's side or the driver's.
REFUSALS = (DatabaseError, ValueError, TypeError, OverflowError, ArithmeticError)


Progress = Callable[[str, int, int], None]
"""Called with what is being written (a model's label), how much of it is done, and how much there
is."""


@dataclass(kw_only=True)
class Work:
    """What the parts of one replay share."""

    source: Source
    remote: DatabaseEnd
    counterparts: Counterparts
    journal: Journal
    holds: Holds
    writes: Mapping[type[Model], Changes]
    """The plan's rows to write. Those that are held are taken out."""
    careful: bool = False
    """Whether foreign keys are checked set by set, since the COMMIT refused some."""
    record: dict[tuple[str, str], Done] = field(default_factory=dict)
    """(model label, action) -> objects."""
    fix_ups: dict[tuple[type[Model], Field[Any, Any]], dict[Any, Awaited]] = field(
        default_factory=dict
    )
    """Columns that can only be filled in once what they point at is there, by key on LOCAL."""
    at_end: list[Callable[[], None]] = field(default_factory=list)
    """What is to be called once all is written."""

    @property
    def ahead(self) -> Ahead:
        """REMOTE's: for work that nobody waits for at once."""
        return self.journal.ahead

    def write_ahead(
        self,
        write: Callable[[], Any],
        make_entry: Callable[[], Load],
        size: int,
        *,
        done: Callable[[Any], None],
        otherwise: Callable[[], None],
    ) -> int:
        """Have REMOTE write something (so many rows), and then its log, while others are read.
        ``make_entry`` makes what writes the log; REMOTE is at work by then. ``done`` is called
        with what ``write`` returned; or, if REMOTE refused it, ``otherwise``, to do it in the
        usual way. Returns the number of the work."""
        written: list[Any] = []
        refused: list[bool] = []

        def attempt() -> None:
            try:
                written.append(write())
            except REFUSALS as error:
                # Asked at once: what comes after it may break the transaction as well.
                refused.append(not self.remote.cannot_go_on(error))
                raise

        def failed(error: Exception) -> None:
            if not any(refused):
                raise error
            # What came after it is written by then, and must stay as it is.
            self.ahead.settle()
            otherwise()

        number = self.ahead.run(attempt, size, done=lambda _: done(written[0]), failed=failed)
        entry = make_entry()
        # Not in one: what goes wrong here says nothing of what was written.
        self.ahead.run(lambda: entry() if written else None, size)
        return number

    def hold(self, model: type[Model], pk: Any, error: SynchroError, **how: Any) -> None:
        """Hold the write of an object, or raise the error where that was not asked for."""
        # Children in other tables come after their parents, whose rows are there by now.
        half_done = how.pop("half_done", False) or bool(model._meta.parents)
        remote_pk = self.counterparts.get(model, pk)
        self.holds.add(model, pk, error, remote_pk=remote_pk, half_done=half_done, **how)
        for other in self.writes.keys() & {*family(model)}:
            self.writes[other].discard(pk)

    def done(self, model: type[Model], action: str, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Note with which objects something was done: keys on LOCAL and REMOTE."""
        found = list(pairs)
        if found:
            self.record.setdefault((model._meta.label_lower, action), Done()).add(found)
