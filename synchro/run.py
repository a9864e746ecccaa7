"""One run: from the sealed log of LOCAL to the checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple

from django.db import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    transaction,
)
from django.db.models import Exists
from django.utils import timezone

from synchro import clocks, log
from synchro.ahead import Ahead
from synchro.audit import Audit
from synchro.checkpoint import NEVER, Checkpoint
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
from synchro.fate import Fate
from synchro.flags import SyncFlags
from synchro.held import Held, HeldChanges, changes_held, move_held
from synchro.histories import require_one_history, require_same_place, token
from synchro.holds import ON_PURPOSE, Holds, Spoiled
from synchro.journal import Journal
from synchro.models import EXCLUDED, NEEDS_HELD, REASONS, Reference, checkpoint_value
from synchro.nodes import Side, address, missing_tables, peer
from synchro.plan import Agenda, Skipped
from synchro.planner import Planner
from synchro.preview import Basis, Plan
from synchro.references import References
from synchro.remotes.database import DatabaseEnd, DatabaseSource
from synchro.replay import replay
from synchro.results import Record, SyncResult
from synchro.retries import persist
from synchro.rivals import Rivals
from synchro.sealing import Sealed
from synchro.selection import Selection
from synchro.suspend import DisableSynchroLog
from synchro.tracking import Tracker
from synchro.transient import is_transient
from synchro.triggers.install import drift
from synchro.work import Progress

logger = logging.getLogger("synchro")

_PASSES: Final = 50
"""How often a run may start anew without the changes that it found it cannot apply."""

Callback = Callable[[str, int, int], None]
"""Called with the stage (``plan``, ``sync`` or ``complete``), how many objects are done, and how
many there are."""


class _Outcome(NamedTuple):
    """What one pass over the changes did, once it is committed."""

    agenda: Agenda
    record: Record
    held: list[Held]

    @property
    def is_empty(self) -> bool:
        agenda = self.agenda
        return agenda.is_empty() and not (self.record or agenda.skipped or self.held)


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


class _Parts(NamedTuple):
    """What one pass over the changes works with."""

    source: DatabaseSource
    remote: DatabaseEnd
    references: References
    counterparts: Counterparts
    rivals: Rivals


class Run:
    """One run from LOCAL to one REMOTE."""

    def __init__(
        self,
        local: Side,
        remote: Side,
        sealed: Sealed,
        limits: Limits,
        fate: Fate | None = None,
    ) -> None:
        """``fate``: None for a run that only looks, and writes nothing."""
        self.limits = limits
        self.dry = fate is None
        self.fate = fate or Fate()
        self.fate.has_proof = remote.has_tables
        self.sealed = sealed
        self.now = log.aware(timezone.now())
        self.local = local
        self.remote = remote
        self.references = References(local, remote)  # of the last pass
        self.is_default = remote.alias == conf.remote
        self.peer = peer(local.alias, remote.uid)
        self.checkpoint: Checkpoint | None = checkpoint_value().read() if self.is_default else None
        self.newest_date: datetime | None = None
        self.overwritten: list[Skipped] = []
        self._any_held = True
        self.after = self._start()
        self.held = HeldChanges(
            local, remote, reset_batch=self.peer.reset_batch, any_held=self._any_held
        )
        self._current = 0

    def _start(self) -> int:
        """The batch after which this run takes over. Raises NodeError if REMOTE is not who it
        was, or knows more of LOCAL than LOCAL does."""
        if not self.remote.has_tables:
            require_same_place(self.local, self.remote, self.peer)
            return self.peer.sent_batch
        if not self.dry:
            self._recognize()
        if self.remote.uid and self.remote.uid == self.local.uid:
            raise NodeError(
                f"{self.local.alias!r} and {self.remote.alias!r} are copies of one database: "
                "synchro's own tables are the same in both, so nobody can tell whose changes "
                f"are whose. If {self.local.alias!r} is the copy, give it an identity of its own "
                f"first: manage.py synchro_adopt --remote {self.remote.alias}"
            )
        held = Exists(changes_held(self.local, self.remote))
        there = peer(self.remote.alias, self.local.uid, any_held=held)
        self._any_held = getattr(there, "any_held", True)
        require_one_history(
            self.local, self.remote, here=self.peer, there=there, newest=self.sealed
        )
        # What REMOTE has committed counts: LOCAL may have been killed before it wrote that down,
        # and REMOTE may have been restored from a backup.
        return there.received_batch

    def _recognize(self) -> None:
        """REMOTE may have got synchro's tables since the last run: what LOCAL kept under its alias
        belongs to its uid now."""
        if not self.peer._state.adding:
            return
        old = peer(self.local.alias, f"alias:{self.remote.alias}")
        if old._state.adding:
            return
        there = peer(self.remote.alias, self.local.uid)
        there.received_batch = max(there.received_batch, old.sent_batch)
        there.received_token = token(self.local.alias, there.received_batch) or ""
        there.save(using=self.remote.alias)
        with transaction.atomic(using=self.local.alias):
            references = Reference.objects.using(self.local.alias).filter(node=old.node)
            references.update(node=self.remote.uid)
            move_held(old.node, self.local, self.remote)
            old.node, old.received_token = self.remote.uid, ""
            old.save(using=self.local.alias)
        self.peer = old

    def go(self) -> SyncResult:
        """Do what there is to do."""
        since = self._since()
        if not self.has_work():
            self._catch_up()
            return SyncResult(changed=False, warnings=self._warnings())
        self.limits.tell("plan", "", 0, 0)
        logged = self._logged(since)
        self.sealed.have_read()
        # Before REMOTE's newest rows are those that this run writes.
        wrong_clocks = clocks.warnings(self.local, self.remote, self.now)
        outcome = self._replay(logged)
        if self.remote.has_tables:
            self._move_checkpoint()
        else:
            # REMOTE keeps no proof: what this process knows must be written down.
            persist(self._move_checkpoint, f"Noting on {self.local.alias!r} what was sent")
        self.limits.callback("complete", self._current, self._current)
        return SyncResult(
            changed=bool(logged or self.limits.full) and not outcome.is_empty,
            counts={name: len(done.pks) for name, done in outcome.record.items() if done.pks},
            record=outcome.record,
            skipped=outcome.agenda.skipped,
            held=[one for one in outcome.held if one.reason != EXCLUDED],
            excluded=sum(one.reason == EXCLUDED for one in outcome.held),
            overwritten=self.overwritten,
            warnings=[*self._warnings(), *wrong_clocks],
        )

    def has_work(self) -> bool:
        """Whether there is anything to do, or to find out."""
        return (
            self.sealed.number > self.after
            or self._since() is not None
            or self.limits.full
            or self.limits.selection.plan is not None
            or self.held.waits_for(self.limits.selection.takes)
        )

    def preview(self, unsealed: log.IdRanges, basis: Basis) -> Plan:
        """What a run would do that sees these log rows, too. Writes nothing."""
        plan = Plan(
            replace(
                basis,
                full=self.limits.full,
                after=self.after,
                upto=self.sealed.number,
                unnumbered=unsealed,
            )
        )
        self.limits.tell("plan", "", 0, 0)
        logged = self._logged(self._since(), unsealed)
        holds = Holds(tolerant=True, before=self.held.before())
        for _pass in range(_PASSES):
            parts = self._parts(holds)
            try:
                with transaction.atomic(using=self.remote.alias), parts.source.snapshot():
                    agenda = self._agenda(parts, logged, holds)
                    total = agenda.size()
                    for done, entry in enumerate(
                        Differ(agenda, parts.source, parts.remote, parts.counterparts).entries(), 1
                    ):
                        plan.add(entry)
                        if done % conf.batch_size == 0:
                            self.limits.tell("plan", entry.model, done, total)
            except Spoiled:
                continue
            except DatabaseError as error:
                self._explain_missing_tables(self._labels(logged), error)
                raise
            break
        self.limits.tell("complete", "", len(plan), len(plan))
        return plan

    def _logged(self, since: datetime | None, unsealed: log.IdRanges = ()) -> Logged:
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

    def _since(self) -> datetime | None:
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

    def _replay(self, logged: Logged) -> _Outcome:
        """Apply the changes in one transaction on REMOTE, or raise the error that says why not."""
        holds = Holds(
            # What was held before must not stop what is new.
            tolerant=self.limits.continue_on_failure
            or bool(self.held)
            or bool(self.limits.selection),
            before=self.held.before(),
        )
        careful = False
        try:
            for _pass in range(_PASSES):
                try:
                    return self._pass(logged, holds, careful=careful)
                except Spoiled:
                    continue
                except IntegrityError as error:
                    if careful or is_transient(error):
                        raise
                    # Most likely the COMMIT's: look for the row that is to blame.
                    careful = True
        except ReplayError as error:
            if isinstance(error.__cause__, ProgrammingError | OperationalError):
                self._explain_missing_tables(self._labels(logged), error)
            raise
        except DatabaseError as error:
            if is_transient(error) or self.fate.reached_commit:
                raise
            self._explain_missing_tables(self._labels(logged), error)
            raise ReplayError(
                f"The run to {self.remote.alias!r} failed: {type(error).__name__}: "
                f"{' '.join(str(error).split())}.",
                "Nothing was changed there; the next run tries again.",
            ) from error
        raise ReplayError(
            f"The run to {self.remote.alias!r} was given up after {_PASSES} passes, each of which "
            "found more changes that depend on ones that cannot be applied.",
            "Nothing was changed there. Mend what synchro_status shows, then run again.",
        )

    def _parts(self, holds: Holds) -> _Parts:
        source = DatabaseSource(self.local)
        remote = DatabaseEnd(self.remote, locks=not self.dry)
        references = References(self.local, self.remote)
        counterparts = Counterparts(source, remote, references, holds)
        rivals = Rivals(self.local, remote, counterparts, self.peer.received_batch)
        return _Parts(source, remote, references, counterparts, rivals)

    def _agenda(self, parts: _Parts, logged: Logged, holds: Holds) -> Agenda:
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

    def _pass(self, logged: Logged, holds: Holds, *, careful: bool) -> _Outcome:
        parts = self._parts(holds)
        self.references = parts.references
        with DisableSynchroLog(), self.fate, transaction.atomic(using=self.remote.alias):
            with Ahead(parts.remote.connection) as ahead:
                outcome = self._write(parts, logged, holds, ahead, careful=careful)
            counts = {name: len(done.pks) for name, done in outcome.record.items()}
            # A number that REMOTE knows must not be given a second time.
            self.sealed.wait()
            self.limits.ready(self._current)
            self.fate.sending(self.sealed.number, counts, outcome.agenda.skipped)
        return outcome

    def _write(
        self, parts: _Parts, logged: Logged, holds: Holds, ahead: Ahead, *, careful: bool
    ) -> _Outcome:
        """All that a pass does but its COMMIT."""
        journal = Journal(self.local, self.remote, parts.references, self.now, ahead)
        with parts.source.snapshot():
            agenda = self._agenda(parts, logged, holds)
            record = replay(
                agenda,
                parts.source,
                parts.remote,
                parts.counterparts,
                journal,
                holds,
                self._progress(agenda.size()),
                careful=careful,
            )
            self._explain_holds(holds, logged)
            journal.finish(parts.counterparts, self.sealed)
            changes = logged.take() if holds or agenda.skipped else {}
        self.overwritten = parts.rivals.overwritten
        held = self.held.store(
            holds,
            agenda.skipped,
            changes,
            batch=self.sealed.number,
            now=self.now,
            accept=self._acceptable(),
        )
        return _Outcome(agenda, record, held)

    def _acceptable(self) -> Collection[str]:
        """The reasons for which changes may be held that no earlier run has held."""
        if self.limits.continue_on_failure:
            return [reason for reason, _name in REASONS]
        # What needs something that was left out on purpose has not failed.
        return (*ON_PURPOSE, NEEDS_HELD) if self.limits.selection else ON_PURPOSE

    def _progress(self, total: int) -> Progress:
        """Adds up the steps of the replay, which come model by model."""
        before: list[int] = [0]
        last: list[str] = [""]
        self._current = 0

        def progress(label: str, done: int, of: int) -> None:
            if label != last[0]:
                before[0], last[0] = self._current, label
            self._current = min(before[0] + done, total)
            self.limits.tell("sync", label, self._current, total)

        return progress

    def _explain_holds(self, holds: Holds, logged: Logged) -> None:
        """A table that is missing is no reason to hold row by row."""
        for _part, _pk, cause in holds:
            if isinstance(cause.error.__cause__, ProgrammingError | OperationalError):
                self._explain_missing_tables(self._labels(logged), cause.error)
                return

    def _labels(self, logged: Logged) -> list[str]:
        """The models that the run is about."""
        audited = (
            sorted(model._meta.label_lower for model in conf.models) if self.limits.full else []
        )
        return [
            *logged.labels,
            *(label for label in audited if self.limits.selection.takes(label)),
        ]

    def _explain_missing_tables(self, labels: Iterable[str], error: Exception) -> None:
        """Raise NodeError if REMOTE lacks tables or columns of the models that were changed."""
        try:
            missing = missing_tables(self.remote.alias, labels)
        except DatabaseError:
            # It does not answer any more: then that is what went wrong.
            return
        if missing:
            raise NodeError(
                f"{self.remote.alias!r} lacks the table or columns of {', '.join(missing)}. "
                f"Run: manage.py migrate --database={self.remote.alias} "
                f"({' '.join(str(error).split())})"
            ) from error

    def _move_checkpoint(self) -> None:
        """LOCAL follows once REMOTE has committed."""
        alias = self.local.alias
        with transaction.atomic(using=alias):
            self.references.finish()
            self.held.finish()
            self._save_peer()
            if self.is_default:
                assert self.checkpoint is not None
                newest = self.newest_date
                if not self.checkpoint.assigned:
                    newest = max(newest or NEVER, self.checkpoint.date)
                checkpoint_value().write(newest or self.now, assigned=False)

    def _catch_up(self) -> None:
        """Write down on LOCAL what REMOTE committed before LOCAL was killed."""
        if self.peer.sent_batch < self.after:
            self._move_checkpoint()

    def _save_peer(self) -> None:
        self.peer.sent_batch = self.sealed.number
        self.peer.sent_at = log.stored(self.now)
        if not self.remote.has_tables:
            self.peer.received_token = address(self.remote.alias)
        self.peer.save(using=self.local.alias)

    def _warnings(self) -> list[str]:
        wrong_triggers = drift(self.local.alias)
        found = [wrong_triggers] if wrong_triggers else []
        if self.remote.has_tables:
            return found
        return [
            *found,
            f"{self.remote.alias!r} has no tables of synchro: who is newer cannot be told, and a "
            "run that is killed after REMOTE committed may make rows twice that have neither an "
            f"explicit nor a natural key. Run: manage.py migrate --database={self.remote.alias}",
        ]
