"""``manage.py synchro_triggers``: install, remove or look at the triggers that log changes."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from synchro.conf import conf
from synchro.exceptions import SynchroError
from synchro.triggers import install
from synchro.triggers.base import Trigger


class Command(BaseCommand):
    help = (
        "Installs, removes or shows the triggers by which the database itself logs changes of "
        "the models that SYNCHRO_CAPTURE names. Exit status of status: 0 all as it should be, "
        "1 something is missing or out of date."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=("install", "remove", "status"))
        parser.add_argument(
            "--database",
            metavar="ALIAS",
            help="The database (by default LOCAL, whose changes are replayed).",
        )
        parser.add_argument(
            "--sql", action="store_true", help="Print the statements and execute none."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for problem in conf.problems():
                raise CommandError(f"{problem.message} {problem.hint}")
            alias = options["database"] or conf.local
            if alias not in conf.logged_aliases:
                raise CommandError(
                    f"--database {alias}: changes are logged on "
                    f"{', '.join(sorted(conf.logged_aliases))} only."
                )
            getattr(self, f"_{options['action']}")(alias, sql=options["sql"])
        except (SynchroError, ImproperlyConfigured, DatabaseError) as error:
            raise CommandError(" ".join(str(error).split())) from error

    def _install(self, alias: str, *, sql: bool) -> None:
        before = install.install(alias, self._print if sql else None)
        if sql:
            return
        self._list("made", before.missing)
        self._list("removed", before.stale)
        number = len(before.current) + len(before.missing)
        tables = len({one.table for one in (*before.current, *before.missing)})
        self.stdout.write(f"{alias}: {number} triggers on {tables} tables are installed.")
        self._unable(before)
        self._unasked()

    def _remove(self, alias: str, *, sql: bool) -> None:
        found = install.remove(alias, self._print if sql else None)
        if sql:
            return
        self._list("removed", found)
        self.stdout.write(f"{alias}: no triggers are installed.")
        if conf.uses_triggers and found:
            self.stdout.write(
                self.style.WARNING(
                    "SYNCHRO_CAPTURE still asks for triggers. Other processes that write to this "
                    "database find out within a minute, and log nothing until then. Restart them, "
                    "so that signals log from now on."
                )
            )

    def _status(self, alias: str, *, sql: bool) -> None:
        found = install.state(alias)
        if sql:
            for trigger in (*found.current, *found.missing):
                for statement in trigger.sql:
                    self._print(statement)
            return
        self._list("current", found.current)
        self._list("missing or out of date", found.missing)
        self._list("to be removed", found.stale)
        self._unable(found)
        self._unasked()
        if not found.is_current:
            raise CommandError(
                f"The triggers of {alias!r} are not as they should be. "
                f"Run: manage.py synchro_triggers install --database {alias}"
            )
        self.stdout.write(f"{alias}: {len(found.current)} triggers, all as they should be.")

    def _unasked(self) -> None:
        if not conf.uses_triggers:
            self.stdout.write("SYNCHRO_CAPTURE asks for no triggers: signals log all models.")

    def _print(self, statement: str) -> None:
        self.stdout.write(f"{statement};")

    def _list(self, what: str, triggers: list[Trigger]) -> None:
        for trigger in triggers:
            self.stdout.write(f"  {what}: {trigger.name} on {trigger.table}")

    def _unable(self, found: install.State) -> None:
        for label, reason in found.unable.items():
            self.stdout.write(self.style.WARNING(f"  captured by signals: {label}: {reason}"))
