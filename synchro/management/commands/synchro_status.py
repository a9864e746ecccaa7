"""``manage.py synchro_status``: what is pending, what is held and why."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from synchro import log
from synchro.durations import duration, in_words
from synchro.exceptions import SynchroError
from synchro.pairs import remote_alias
from synchro.status import Status, read_status

_HELD_SHOWN = 50


class Command(BaseCommand):
    help = (
        "Shows what is pending and what is held. Exit status: 0 all well, 1 REMOTE does not "
        "answer, 3 changes are held, 5 a change is pending for longer than --max-age."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--remote", metavar="ALIAS", help="The database to ask about (SYNCHRO_REMOTE)."
        )
        parser.add_argument(
            "--max-age",
            metavar="TIME",
            help="Exit with status 5 if a change is pending for longer than this: 15m, 12h, 30d.",
        )
        parser.add_argument(
            "--json", action="store_true", help="Print one JSON document and nothing else."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            limit = duration(options["max_age"]) if options["max_age"] else None
        except ValueError as error:
            raise CommandError(f"--max-age: {error}") from error
        try:
            status = read_status(remote_alias(options["remote"]))
        except (SynchroError, ImproperlyConfigured) as error:
            raise CommandError(" ".join(str(error).split())) from error
        if options["json"]:
            self.stdout.write(json.dumps(status.as_json(), indent=2, ensure_ascii=False))
        elif options["verbosity"] > 0:
            self._report(status)
        if status.error:
            raise CommandError(status.error)
        if status.held:
            number = len(status.held)
            raise CommandError(
                f"{number} {'change is' if number == 1 else 'changes are'} held.", returncode=3
            )
        if limit is not None and status.oldest is not None and _age(status.oldest) > limit:
            raise CommandError(
                f"A change is pending for {in_words(_age(status.oldest))}, longer than "
                f"{options['max_age']}.",
                returncode=5,
            )

    def _report(self, status: Status) -> None:
        write = self.stdout.write
        write(self.style.MIGRATE_HEADING(f"{status.local} -> {status.remote}"))
        if status.checkpoint is not None:
            write(f"  Checkpoint: {_time(status.checkpoint)}")
        write(f"  Last run: {_time(status.last_run) if status.last_run else 'never'}")
        if not status.pending:
            write("  Nothing is pending.")
        else:
            number = sum(one.objects for one in status.pending)
            write(f"  Pending: {_objects(number)}")
            width = max(len(one.label) for one in status.pending)
            for one in status.pending:
                age = in_words(_age(one.oldest))
                write(f"    {one.label:<{width}}  {one.objects}, the oldest for {age}")
        for held in status.held[:_HELD_SHOWN]:
            times = "once" if held.attempts == 1 else f"{held.attempts} times"
            age = in_words(_age(held.since))
            write(self.style.WARNING(f"  Held for {age}, tried {times}: {held.detail}"))
        if len(status.held) > _HELD_SHOWN:
            write(self.style.WARNING(f"  {len(status.held) - _HELD_SHOWN} more are held."))
        if status.excluded:
            write(f"  Left out on purpose, still pending: {status.excluded}")
        if status.settled:
            write(f"  Not applied and not tried again (conflicts): {status.settled}")
        for warning in status.warnings:
            write(self.style.WARNING(f"  {warning}"))
        for run in status.runs:
            took = "" if run.seconds is None else f", {run.seconds:.1f} s"
            who = f" by {run.user}" if run.user else ""
            why = f": {run.error}" if run.error else ""
            done = f"{run.outcome}, {_objects(run.objects)}"
            write(f"  Run {_time(run.started)}{who}: {done}{took}{why}")


def _objects(number: int) -> str:
    return "1 object" if number == 1 else f"{number} objects"


def _age(date: datetime) -> Any:
    return log.aware(timezone.now()) - date


def _time(date: datetime) -> str:
    return f"{timezone.localtime(date):%Y-%m-%d %H:%M:%S %Z}"
