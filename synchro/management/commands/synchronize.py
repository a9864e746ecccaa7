"""``manage.py synchronize``: replay what changed on LOCAL to REMOTE."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from synchro.conf import conf
from synchro.core import SyncResult, no_progress, synchronize
from synchro.exceptions import LockError, SynchroError

_SHOWN = 20


class Command(BaseCommand):
    help = "Replays what changed in LOCAL since the last run into REMOTE."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--remote", metavar="ALIAS", help="The database to replay to (SYNCHRO_REMOTE)."
        )
        parser.add_argument(
            "--wait",
            type=float,
            default=0.0,
            metavar="SECONDS",
            help="Wait that long for another run between the two databases.",
        )
        parser.add_argument(
            "--continue-on-failure",
            action="store_true",
            help="Apply all that can be applied. What cannot is held, shown by synchro_status and "
            "tried again by every later run; the exit status is 3 then.",
        )
        parser.add_argument(
            "--no-progress", action="store_true", help="Show no progress on the terminal."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        show = options["verbosity"] > 0 and not options["no_progress"] and self.stdout.isatty()
        try:
            result = synchronize(
                options["remote"],
                wait=options["wait"],
                continue_on_failure=options["continue_on_failure"],
                progress=self._progress if show else no_progress,
            )
        except LockError as error:
            raise CommandError(str(error), returncode=4) from error
        except (SynchroError, ImproperlyConfigured) as error:
            if conf.debug:
                raise
            raise CommandError(" ".join(str(error).split())) from error
        if options["verbosity"] > 0:
            self._report(result)
        if result.held:
            number = len(result.held)
            raise CommandError(
                f"{number} {'change is' if number == 1 else 'changes are'} held. "
                "manage.py synchro_status shows why; every later run tries again.",
                returncode=3,
            )

    def _progress(self, label: str, done: int, total: int) -> None:
        self.stdout.write(f"\r\x1b[K{label}: {done} / {total}", ending="")
        if done == total:
            self.stdout.write("\r\x1b[K", ending="")
        self.stdout.flush()

    def _report(self, result: SyncResult) -> None:
        self.stdout.write(self.style.SUCCESS(result.message))
        by_model = result.by_model()
        width = max(map(len, by_model), default=0)
        for label, text in by_model.items():
            self.stdout.write(f"  {label:<{width}}  {text}")
        left_out = [*result.skipped, *result.held]
        for change in left_out[:_SHOWN]:
            self.stdout.write(self.style.WARNING(_("  not applied: %s") % change))
        if len(left_out) > _SHOWN:
            rest = len(left_out) - _SHOWN
            self.stdout.write(self.style.WARNING(_("  not applied: %d more") % rest))
        for skipped in result.overwritten[:_SHOWN]:
            self.stdout.write(self.style.WARNING(_("  overwritten: %s") % skipped))
        if len(result.overwritten) > _SHOWN:
            rest = len(result.overwritten) - _SHOWN
            self.stdout.write(self.style.WARNING(_("  overwritten: %d more") % rest))
        for warning in result.warnings:
            self.stderr.write(self.style.WARNING(warning))
