"""``manage.py synchro_purge``: remove log rows that have had their use."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from synchro.durations import duration
from synchro.exceptions import SynchroError
from synchro.retention import purge


class Command(BaseCommand):
    help = (
        "Removes log rows of LOCAL that every remote has applied and that are not the newest of "
        "their object."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            required=True,
            metavar="TIME",
            help="Only rows older than this: 30d, 12h, 4w.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Only say how many rows would be removed."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            before = timezone.now() - duration(options["older_than"])
        except ValueError as error:
            raise CommandError(f"--older-than {error}") from error
        if timezone.is_naive(before):
            before = timezone.make_aware(before)
        try:
            result = purge(before, dry_run=options["dry_run"])
        except (SynchroError, ImproperlyConfigured) as error:
            raise CommandError(" ".join(str(error).split())) from error
        if options["verbosity"] > 0:
            verb = "would be removed" if options["dry_run"] else "removed"
            self.stdout.write(self.style.SUCCESS(f"{result.removed} log rows {verb}."))
            if result.settled:
                self.stdout.write(f"{result.settled} changes that were not applied {verb}.")
            if result.kept_pending:
                self.stdout.write(f"{result.kept_pending} older ones are kept: they are pending.")
