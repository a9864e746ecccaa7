"""What is to be done to bring REMOTE up to date: found out, and not done yet."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

from django.db import DatabaseError
from django.utils import timezone

from synchro import clocks, log
from synchro.audit import Audit
from synchro.checkpoint import Checkpoint
from synchro.collapsed import (
    Collapse,
    Logged,
    LogRows,
    collapse,
    forget_added,
    forget_what_came_from,
)
from synchro.conf import conf
from synchro.counterparts import Counterparts
from synchro.differ import Differ
from synchro.entries import NO_CHANGE
from synchro.exceptions import CheckpointError, NodeError, ReplayError
from synchro.flags import SyncFlags
from synchro.held import HeldChanges
from synchro.holds import Holds
from synchro.limits import Limits
from synchro.models import checkpoint_value
from synchro.nodes import Side, missing_tables
from synchro.plan import Agenda
from synchro.planner import Planner
from synchro.references import References
from synchro.remotes.database import DatabaseEnd, DatabaseSource
from synchro.rivals import Rivals
from synchro.sealing import Sealed
from synchro.standing import standing

logger = logging.getLogger("synchro")

PASSES: Final = 50
"""How often a run may start anew without the changes that it found it cannot apply."""


class Parts(NamedTuple):
    """What one pass over the changes works with."""

    source: DatabaseSource
    remote: DatabaseEnd
    references: References
    counterparts: Counterparts
    rivals: Rivals


class Outlook:
    """What there is to be done from LOCAL to one REMOTE."""

    def __init__(
        self, local: Side, remote: Side, sealed: Sealed, limits: Limits, *, dry: bool
    ) -> None:
        """``dry``: nothing may be written, and nothing locked. Raises NodeError if REMOTE is not
        who it was, or knows more of LOCAL than LOCAL does."""
        self.local = local
        self.remote = remote
        self.sealed = sealed
        self.limits = limits
        self.dry = dry
        self.now = log.aware(timezone.now())
        self.is_default = remote.alias == conf.remote
        self.peer, self.after, any_held = standing(local, remote, sealed, dry=dry)
        self.checkpoint: Checkpoint | None = checkpoint_value().read() if self.is_default else None
        self.newest_date: datetime | None = None
        self.held = HeldChanges(
            local, remote, reset_batch=self.peer.reset_batch, any_held=any_held
        )

    def has_work(self) -> bool:
        """Whether there is anything to do, or to find out."""
        return (
            self.sealed.number > self.after
            or self.since() is not None
            or self.limits.full
            or self.limits.selection.plan is not None
            or self.held.waits_for(self.limits.selection.takes)
        )

    def logged(self, since: datetime | None, unsealed: log.IdRanges = ()) -> Logged:
        """What the log, and what was held before, has for REMOTE."""
        return Logged(lambda: self._changes(since, unsealed))

    def _changes(self, since: datetime | None, unsealed: log.IdRanges) -> Collapse:
        rows = log.pending(
            self.local.alias,
            after=self.after,
            upto=self.sealed.numbered_upto,
            since=since,
            more=(*self.sealed.rows, *unsealed),
        )
        changes = collapse(self.held.watch(self._watch_dates(rows)), onto=self.held.seed())
        if self.remote.uid:
            forget_what_came_from(changes, self.remote.uid)
        if since is not None:
            # The window reaches back over what REMOTE has already.
            forget_added(changes)
        return changes

    def since(self) -> datetime | None:
        """The checkpoint, if a person has assigned one: it bounds this run."""
        if self.checkpoint is None or not self.checkpoint.assigned:
            return None
        if self.checkpoint.date > self.now + clocks.TOLERANCE:
            raise CheckpointError(
                f"The checkpoint was assigned a time in the future ({self.checkpoint.date}): "
                "nothing of what was logged until then would ever be sent. Assign "
                "synchro.models.options.last_check a time that has passed."
            )
        return self.checkpoint.date

    def _watch_dates(self, portions: Iterable[LogRows]) -> Iterator[LogRows]:
        """The rows as they are; notes when the newest was logged."""
        for rows in portions:
            newest = max(rows.dates)
            if self.newest_date is None or newest > self.newest_date:
                self.newest_date = newest
            yield rows

    def parts(self, holds: Holds) -> Parts:
        """What one more pass works with."""
        source = DatabaseSource(self.local)
        remote = DatabaseEnd(self.remote, locks=not self.dry)
        references = References(self.local, self.remote)
        counterparts = Counterparts(source, remote, references, holds)
        rivals = Rivals(self.local, remote, counterparts, self.peer.received_batch)
        return Parts(source, remote, references, counterparts, rivals)

    def agenda(self, parts: Parts, logged: Logged, holds: Holds) -> Agenda:
        """What is to be done. Raises Spoiled if some of it is to be left out, which is held by
        then: the agenda has to be made again."""
        source, remote, _references, counterparts, rivals = parts
        selection = self.limits.selection
        surplus = None
        if self.limits.full:
            audit = Audit(
                source,
                remote,
                counterparts,
                received_batch=self.peer.received_batch,
                takes=selection.audits,
                progress=self.limits.compared,
            )
            logged.more = audit.changes()
            surplus = audit.surplus
        changes = logged.take()
        if selection:
            selection.exclude_models(changes, holds)
        planner = Planner(source, remote, counterparts, rivals, holds, self.now)
        agenda = planner.make(changes, surplus)
        differ = Differ(agenda, source, remote, counterparts)
        if selection and selection.take_out(agenda, counterparts, holds, differ):
            holds.start_again()
        if SyncFlags.LOG_UNCHANGED_RECORDS in selection.flags:
            for entry in differ.entries():
                if entry.action == NO_CHANGE:
                    logger.debug("%s %s: no change", entry.model, entry.key)
        return agenda

    def _labels(self, logged: Logged) -> list[str]:
        """The models that the run is about."""
        audited = (
            sorted(model._meta.label_lower for model in conf.models) if self.limits.full else []
        )
        return [
            *logged.labels,
            *(label for label in audited if self.limits.selection.takes(label)),
        ]

    def explain_missing_tables(self, logged: Logged, error: Exception) -> None:
        """Raise NodeError if REMOTE lacks tables or columns of the models that were changed."""
        try:
            missing = missing_tables(self.remote.alias, self._labels(logged))
        except DatabaseError:
            # It does not answer any more: then that is what went wrong.
            return
        if missing:
            raise NodeError(
                f"{self.remote.alias!r} lacks the table or columns of {', '.join(missing)}. "
                f"Run: manage.py migrate --database={self.remote.alias} "
                f"({' '.join(str(error).split())})"
            ) from error

    def given_up(self) -> ReplayError:
        """What to raise after so many passes."""
        return ReplayError(
            f"The run to {self.remote.alias!r} was given up after {PASSES} passes, each of which "
            "found more changes that depend on ones that cannot be applied.",
            "Nothing was changed there. Mend what synchro_status shows, then run again.",
        )
