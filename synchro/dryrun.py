"""A run that only looks: what would be done, as a plan."""

from __future__ import annotations

from dataclasses import replace

from django.db import DatabaseError, transaction

from synchro import log
from synchro.conf import conf
from synchro.differ import Differ
from synchro.holds import Holds, Spoiled
from synchro.limits import Limits
from synchro.nodes import Side
from synchro.outlook import PASSES, Outlook
from synchro.preview import Basis, Plan
from synchro.sealing import Sealed


class DryRun(Outlook):
    """Writes nothing, on either side."""

    def __init__(self, local: Side, remote: Side, sealed: Sealed, limits: Limits) -> None:
        super().__init__(local, remote, sealed, limits, dry=True)

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
        logged = self.logged(self.since(), unsealed)
        holds = Holds(tolerant=True, before=self.held.before())
        for _pass in range(PASSES):
            parts = self.parts(holds)
            try:
                with transaction.atomic(using=self.remote.alias), parts.source.snapshot():
                    agenda = self.agenda(parts, logged, holds)
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
                self.explain_missing_tables(logged, error)
                raise
            break
        else:
            raise self.given_up()
        self.limits.tell("complete", "", len(plan), len(plan))
        return plan
