"""One run: from the sealed log of LOCAL to the checkpoint."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from django.db import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    transaction,
)

from synchro import clocks, log
from synchro.ahead import Ahead
from synchro.checkpoint import NEVER
from synchro.collapsed import Logged
from synchro.exceptions import ReplayError
from synchro.fate import Fate
from synchro.held import Held
from synchro.holds import ON_PURPOSE, Holds, Spoiled
from synchro.journal import Journal
from synchro.limits import Limits
from synchro.models import EXCLUDED, NEEDS_HELD, REASONS, checkpoint_value
from synchro.nodes import Side, address
from synchro.outlook import PASSES, Outlook, Parts
from synchro.plan import Agenda, Skipped
from synchro.references import References
from synchro.replay import replay
from synchro.results import Record, SyncResult
from synchro.retries import persist
from synchro.sealing import Sealed
from synchro.suspend import DisableSynchroLog
from synchro.transient import is_transient
from synchro.triggers.install import drift
from synchro.work import Progress


class _Outcome(NamedTuple):
    """What one pass over the changes did, once it is committed."""

    agenda: Agenda
    record: Record
    held: list[Held]

    @property
    def is_empty(self) -> bool:
        agenda = self.agenda
        return agenda.is_empty() and not (self.record or agenda.skipped or self.held)


class Run(Outlook):
    """One run from LOCAL to one REMOTE."""

    def __init__(
        self, local: Side, remote: Side, sealed: Sealed, limits: Limits, fate: Fate
    ) -> None:
        fate.has_proof = remote.has_tables
        self.fate = fate
        self.references = References(local, remote)  # of the last pass
        self.overwritten: list[Skipped] = []
        self._current = 0
        super().__init__(local, remote, sealed, limits, dry=False)

    def go(self) -> SyncResult:
        """Do what there is to do."""
        since = self.since()
        if not self.has_work():
            self._catch_up()
            return SyncResult(changed=False, warnings=self._warnings())
        self.limits.tell("plan", "", 0, 0)
        logged = self.logged(since)
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
            for _pass in range(PASSES):
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
                self.explain_missing_tables(logged, error)
            raise
        except DatabaseError as error:
            if is_transient(error) or self.fate.reached_commit:
                raise
            self.explain_missing_tables(logged, error)
            raise ReplayError(
                f"The run to {self.remote.alias!r} failed: {type(error).__name__}: "
                f"{' '.join(str(error).split())}.",
                "Nothing was changed there; the next run tries again.",
            ) from error
        raise self.given_up()

    def _pass(self, logged: Logged, holds: Holds, *, careful: bool) -> _Outcome:
        parts = self.parts(holds)
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
        self, parts: Parts, logged: Logged, holds: Holds, ahead: Ahead, *, careful: bool
    ) -> _Outcome:
        """All that a pass does but its COMMIT."""
        journal = Journal(self.local, self.remote, parts.references, self.now, ahead)
        with parts.source.snapshot():
            agenda = self.agenda(parts, logged, holds)
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
                self.explain_missing_tables(logged, cause.error)
                return

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
