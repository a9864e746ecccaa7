"""One run: from the sealed log of LOCAL to the checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from django.db import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    transaction,
)
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from synchro import clocks, log
from synchro.checkpoint import NEVER, Checkpoint
from synchro.conf import conf
from synchro.counterparts import Counterparts
from synchro.exceptions import CheckpointError, NodeError, ReplayError
from synchro.fate import Fate
from synchro.held import Held, HeldChanges, move_held
from synchro.histories import require_one_history, require_same_place, token
from synchro.holds import Holds, Spoiled
from synchro.journal import Journal
from synchro.models import Reference, checkpoint_value
from synchro.nodes import Side, address, missing_tables, peer
from synchro.plan import Collapse, LogRow, Plan, Skipped, collapse
from synchro.planner import Planner
from synchro.references import References
from synchro.remotes.database import DatabaseEnd, DatabaseSource
from synchro.replay import Progress, replay
from synchro.retries import persist
from synchro.rivals import Rivals
from synchro.suspend import DisableSynchroLog
from synchro.transient import is_transient

_PERFORMED = _("Synchronization performed successfully.")
_PASSES: Final = 50
"""How often a run may start anew without the changes that it found it cannot apply."""

_NO_CHANGES = _("No changes since last synchronization.")


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """What a run did."""

    changed: bool
    """Whether the log had anything for REMOTE."""
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """(model label, action) -> objects; actions are create, update, link and delete."""
    skipped: list[Skipped] = field(default_factory=list)
    """Changes that were not applied and are not tried again, and why."""
    held: list[Held] = field(default_factory=list)
    """Changes that could not be applied, and why. Every later run tries them again."""
    overwritten: list[Skipped] = field(default_factory=list)
    """Changes on REMOTE that lost against later ones here: the other half of the conflicts."""
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    """What a person should know about this pair of databases."""

    @property
    def message(self) -> str:
        """The outcome in one sentence, in the active language."""
        return str(_PERFORMED if self.changed else _NO_CHANGES)

    @property
    def total(self) -> int:
        """How many objects were created, updated, linked or deleted."""
        return sum(self.counts.values())

    def by_model(self) -> dict[str, str]:
        """Model label -> what was done with its objects, in words of the active language."""
        names = {
            "create": _("created"),
            "update": _("updated"),
            "link": _("links changed"),
            "delete": _("deleted"),
        }
        labels = sorted({label for label, _action in self.counts})
        return {
            label: ", ".join(
                f"{self.counts[label, action]} {name}"
                for action, name in names.items()
                if self.counts.get((label, action))
            )
            for label in labels
        }


class _Outcome(NamedTuple):
    """What one pass over the changes did, once it is committed."""

    plan: Plan
    counts: dict[tuple[str, str], int]
    held: list[Held]

    @property
    def is_empty(self) -> bool:
        plan = self.plan
        return plan.is_empty() and not (self.counts or plan.skipped or self.held)


class Run:
    """One run from LOCAL to one REMOTE."""

    def __init__(
        self,
        local: Side,
        remote: Side,
        sealed: log.Sealed,
        progress: Progress,
        fate: Fate,
        *,
        continue_on_failure: bool = False,
    ) -> None:
        self.continue_on_failure = continue_on_failure
        self.fate = fate
        self.fate.has_proof = remote.has_tables
        self.sealed = sealed
        self.progress = progress
        self.now = log.aware(timezone.now())
        self.local = local
        self.remote = remote
        self.references = References(local, remote)  # of the last pass
        self.is_default = remote.alias == conf.remote
        self.peer = peer(local.alias, remote.uid)
        self.checkpoint: Checkpoint | None = checkpoint_value().read() if self.is_default else None
        self.newest_date: datetime | None = None
        self.overwritten: list[Skipped] = []
        self.after = self._start()
        self.held = HeldChanges(local, remote, reset_batch=self.peer.reset_batch)

    def _start(self) -> int:
        """The batch after which this run takes over. Raises NodeError if REMOTE is not who it
        was, or knows more of LOCAL than LOCAL does."""
        if not self.remote.has_tables:
            require_same_place(self.local, self.remote, self.peer)
            return self.peer.sent_batch
        self._recognize()
        if self.remote.uid == self.local.uid:
            raise NodeError(
                f"{self.local.alias!r} and {self.remote.alias!r} are copies of one database: "
                "synchro's own tables are the same in both, so nobody can tell whose changes "
                f"are whose. If {self.local.alias!r} is the copy, give it an identity of its own "
                f"first: manage.py synchro_adopt --remote {self.remote.alias}"
            )
        require_one_history(self.local, self.remote)
        # What REMOTE has committed counts: LOCAL may have been killed before it wrote that down,
        # and REMOTE may have been restored from a backup.
        return peer(self.remote.alias, self.local.uid).received_batch

    def _recognize(self) -> None:
        """REMOTE may have got synchro's tables since the last run: what LOCAL kept under its alias
        belongs to its uid now."""
        old = peer(self.local.alias, f"alias:{self.remote.alias}")
        if old._state.adding or not self.peer._state.adding:
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
        since = self._since()
        if self.sealed.number <= self.after and since is None and not self.held:
            self._catch_up()
            return SyncResult(changed=False, warnings=self._warnings())
        rows = log.pending(
            self.local.alias, after=self.after, upto=self.sealed.number, since=since
        )
        changes = collapse(self.held.watch(self._watch_dates(rows)), onto=self.held.seed())
        for objects in changes.values():
            for change in objects.values():
                change.forget_what_came_from(self.remote.uid)
                if since is not None:
                    # The window reaches back over what REMOTE has already.
                    change.added = False
        # Before REMOTE's newest rows are those that this run writes.
        wrong_clocks = clocks.warnings(self.local, self.remote, self.now)
        outcome = self._replay(changes)
        if self.remote.has_tables:
            self._move_checkpoint()
        else:
            # REMOTE keeps no proof: what this process knows must be written down.
            persist(self._move_checkpoint, f"Noting on {self.local.alias!r} what was sent")
        return SyncResult(
            changed=bool(changes) and not outcome.is_empty,
            counts=dict(outcome.counts),
            skipped=outcome.plan.skipped,
            held=outcome.held,
            overwritten=self.overwritten,
            warnings=[*self._warnings(), *wrong_clocks],
        )

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

    def _watch_dates(self, rows: Iterable[LogRow]) -> Iterator[LogRow]:
        """The rows as they are; notes when the newest was logged."""
        for row in rows:
            if self.newest_date is None or row.date > self.newest_date:
                self.newest_date = row.date
            yield row

    def _replay(self, changes: Collapse) -> _Outcome:
        """Apply the changes in one transaction on REMOTE, or raise the error that says why not."""
        holds = Holds(
            # What was held before must not stop what is new.
            tolerant=self.continue_on_failure or bool(self.held),
            before=self.held.before(),
        )
        careful = False
        try:
            for _pass in range(_PASSES):
                try:
                    return self._pass(changes, holds, careful=careful)
                except Spoiled:
                    continue
                except IntegrityError as error:
                    if careful or is_transient(error):
                        raise
                    # Most likely the COMMIT's: look for the row that is to blame.
                    careful = True
        except ReplayError as error:
            if isinstance(error.__cause__, ProgrammingError | OperationalError):
                self._explain_missing_tables(changes, error)
            raise
        except DatabaseError as error:
            if is_transient(error) or self.fate.reached_commit:
                raise
            self._explain_missing_tables(changes, error)
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

    def _pass(self, changes: Collapse, holds: Holds, *, careful: bool) -> _Outcome:
        source, remote = DatabaseSource(self.local), DatabaseEnd(self.remote)
        references = self.references = References(self.local, self.remote)
        counterparts = Counterparts(source, remote, references, holds)
        rivals = Rivals(self.local, remote, counterparts, self.peer.received_batch)
        journal = Journal(self.local, self.remote, references, self.now)
        with DisableSynchroLog(), self.fate, transaction.atomic(using=self.remote.alias):
            with source.snapshot():
                plan = Planner(source, remote, counterparts, rivals, holds, self.now).make(changes)
                counts = replay(
                    plan,
                    source,
                    remote,
                    counterparts,
                    journal,
                    holds,
                    self.progress,
                    careful=careful,
                )
                self._explain_holds(holds, changes)
                journal.finish(counterparts, self.sealed)
            self.overwritten = rivals.overwritten
            held = self.held.store(
                holds,
                plan.skipped,
                changes,
                batch=self.sealed.number,
                now=self.now,
                accept_new=self.continue_on_failure,
            )
            self.fate.sending(self.sealed.number, counts, plan.skipped)
        return _Outcome(plan, dict(counts), held)

    def _explain_holds(self, holds: Holds, changes: Collapse) -> None:
        """A table that is missing is no reason to hold row by row."""
        for _part, _pk, cause in holds:
            if isinstance(cause.error.__cause__, ProgrammingError | OperationalError):
                self._explain_missing_tables(changes, cause.error)
                return

    def _explain_missing_tables(self, changes: Collapse, error: Exception) -> None:
        """Raise NodeError if REMOTE lacks tables or columns of the models that were changed."""
        try:
            missing = missing_tables(self.remote.alias, changes)
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
        if self.remote.has_tables:
            return []
        return [
            f"{self.remote.alias!r} has no tables of synchro: who is newer cannot be told, and a "
            "run that is killed after REMOTE committed may make rows twice that have neither an "
            f"explicit nor a natural key. Run: manage.py migrate --database={self.remote.alias}"
        ]
