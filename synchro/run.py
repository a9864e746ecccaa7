"""One run: from the sealed log of LOCAL to the checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from django.db import DatabaseError, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from synchro import log
from synchro.checkpoint import NEVER, Checkpoint
from synchro.conf import conf
from synchro.counterparts import Counterparts
from synchro.exceptions import NodeError, ReplayError
from synchro.journal import Journal
from synchro.models import Batch, Peer, Reference, checkpoint_value
from synchro.nodes import Side, missing_tables, peer
from synchro.plan import Collapse, LogRow, Plan, Skipped, collapse
from synchro.planner import Planner
from synchro.references import References
from synchro.remotes.database import DatabaseEnd, DatabaseSource
from synchro.replay import Progress, replay
from synchro.rivals import Rivals
from synchro.suspend import DisableSynchroLog

_PERFORMED = _("Synchronization performed successfully.")
_NO_CHANGES = _("No changes since last synchronization.")


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """What a run did."""

    changed: bool
    """Whether the log had anything for REMOTE."""
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """(model label, action) -> objects; actions are create, update, link and delete."""
    skipped: list[Skipped] = field(default_factory=list)
    """Changes that were not applied, and why."""
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


class Run:
    """One run from LOCAL to one REMOTE."""

    def __init__(self, local: Side, remote: Side, sealed: log.Sealed, progress: Progress) -> None:
        self.sealed = sealed
        self.progress = progress
        self.now = log.aware(timezone.now())
        self.local = local
        self.remote = remote
        self.references = References(local, remote)
        self.is_default = remote.alias == conf.remote
        self.peer = peer(local.alias, remote.uid)
        self.checkpoint: Checkpoint | None = checkpoint_value().read() if self.is_default else None
        self.newest_date: datetime | None = None
        self.after = self._start()

    def _start(self) -> int:
        """The batch after which this run takes over. Raises NodeError if REMOTE is not who it
        was, or knows more of LOCAL than LOCAL does."""
        if not self.remote.has_tables:
            return self.peer.sent_batch
        self._recognize()
        if self.remote.uid == self.local.uid:
            raise NodeError(
                f"{self.local.alias!r} and {self.remote.alias!r} are copies of one database: "
                "synchro's own tables are the same in both, so nobody can tell whose changes "
                f"are whose. If {self.local.alias!r} is the copy, give it an identity of its own "
                f"first: manage.py synchro_adopt --remote {self.remote.alias}"
            )
        applied = peer(self.remote.alias, self.local.uid)
        if applied.received_batch > self.sealed.number or self._is_foreign(applied):
            raise NodeError(
                f"{self.remote.alias!r} has applied batch {applied.received_batch} of this "
                f"database, which {self.local.alias!r} does not know: it was restored from a "
                "backup, or copied. Give it a new identity before it synchronizes again."
            )
        # What REMOTE has committed counts: LOCAL may have been killed before it wrote that down,
        # and REMOTE may have been restored from a backup.
        return applied.received_batch

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
        there.received_token = self._token(there.received_batch) or ""
        there.save(using=self.remote.alias)
        with transaction.atomic(using=self.local.alias):
            references = Reference.objects.using(self.local.alias).filter(node=old.node)
            references.update(node=self.remote.uid)
            old.node = self.remote.uid
            old.save(using=self.local.alias)
        self.peer = old

    def _token(self, number: int) -> str | None:
        """The token of one of LOCAL's batches."""
        if number == self.sealed.number and self.sealed.token:
            return self.sealed.token
        batches = Batch.objects.using(self.local.alias).filter(number=number)
        return batches.values_list("token", flat=True).first()

    def _is_foreign(self, applied: Peer) -> bool:
        if not applied.received_batch:
            return False
        token = self._token(applied.received_batch)
        return token is not None and token != applied.received_token

    def go(self) -> SyncResult:
        assigned = self.checkpoint is not None and self.checkpoint.assigned
        since = self.checkpoint.date if self.checkpoint is not None and assigned else None
        if self.sealed.number <= self.after and since is None:
            self._catch_up()
            return SyncResult(changed=False, warnings=self._warnings())
        rows = log.pending(
            self.local.alias, after=self.after, upto=self.sealed.number, since=since
        )
        changes = collapse(self._watch_dates(rows))
        for objects in changes.values():
            for change in objects.values():
                change.forget_what_came_from(self.remote.uid)
                if since is not None:
                    # The window reaches back over what REMOTE has already.
                    change.added = False
        plan, counts = self._replay(changes)
        self._move_checkpoint()
        return SyncResult(
            changed=bool(changes) and bool(counts or plan.skipped or not plan.is_empty()),
            counts=dict(counts),
            skipped=plan.skipped,
            warnings=self._warnings(),
        )

    def _watch_dates(self, rows: Iterable[LogRow]) -> Iterator[LogRow]:
        """The rows as they are; notes when the newest was logged."""
        for row in rows:
            if self.newest_date is None or row.date > self.newest_date:
                self.newest_date = row.date
            yield row

    def _replay(self, changes: Collapse) -> tuple[Plan, dict[tuple[str, str], int]]:
        source, remote = DatabaseSource(self.local), DatabaseEnd(self.remote)
        counterparts = Counterparts(source, remote, self.references)
        rivals = Rivals(self.local, remote, counterparts, self.peer.received_batch)
        journal = Journal(self.local, self.remote, self.references, self.now)
        try:
            with (
                DisableSynchroLog(),
                source.snapshot(),
                transaction.atomic(using=self.remote.alias),
            ):
                plan = Planner(source, remote, counterparts, rivals, self.now).make(changes)
                counts = replay(plan, source, remote, counterparts, journal, self.progress)
                journal.finish(counterparts, self.sealed)
        except DatabaseError as error:
            self._explain_missing_tables(changes, error)
            raise ReplayError(
                f"The run to {self.remote.alias!r} failed: {type(error).__name__}: "
                f"{' '.join(str(error).split())}. Nothing was changed there; the next run tries "
                "again."
            ) from error
        return plan, dict(counts)

    def _explain_missing_tables(self, changes: Collapse, error: DatabaseError) -> None:
        """Raise NodeError if REMOTE lacks tables or columns of the models that were changed."""
        missing = missing_tables(self.remote.alias, changes)
        if missing:
            raise NodeError(
                f"{self.remote.alias!r} lacks the table or columns of {', '.join(missing)}. "
                f"Run: manage.py migrate --database={self.remote.alias}"
            ) from error

    def _move_checkpoint(self) -> None:
        """LOCAL follows once REMOTE has committed."""
        alias = self.local.alias
        with transaction.atomic(using=alias):
            self.references.finish()
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
        self.peer.save(using=self.local.alias)

    def _warnings(self) -> list[str]:
        if self.remote.has_tables:
            return []
        return [
            f"{self.remote.alias!r} has no tables of synchro: who is newer cannot be told, and a "
            "run that is killed after REMOTE committed may make rows twice that have neither an "
            f"explicit nor a natural key. Run: manage.py migrate --database={self.remote.alias}"
        ]
