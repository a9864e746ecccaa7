"""``manage.py synchro_purge``: remove log rows that have had their use."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from synchro.exceptions import SynchroError
from synchro.retention import purge

_UNITS = {"d": "days", "h": "hours", "w": "weeks"}


def duration(text: str) -> timedelta:
    """30d, 12h or 4w. Raises CommandError."""
    found = re.fullmatch(r"(\d{1,6})([dhw])", text.strip().lower())
    if found is None:
        raise CommandError(
            f"--older-than {text!r} is not a length of time: write it as 30d, 12h or 4w."
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


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
        before = timezone.now() - duration(options["older_than"])
        if timezone.is_naive(before):
            before = timezone.make_aware(before)
        try:
            result = purge(before, dry_run=options["dry_run"])
        except (SynchroError, ImproperlyConfigured) as error:
            raise CommandError(" ".join(str(error).split())) from error
        if options["verbosity"] > 0:
            verb = "would be removed" if options["dry_run"] else "removed"
            self.stdout.write(self.style.SUCCESS(f"{result.removed} log rows {verb}."))
            if result.kept_pending:
                self.stdout.write(f"{result.kept_pending} older ones are kept: they are pending.")
