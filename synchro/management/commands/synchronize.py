"""``manage.py synchronize``: replay what changed on LOCAL to REMOTE, or show what would be."""

from __future__ import annotations

import getpass
import json
from contextlib import nullcontext
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from synchro.conf import conf
from synchro.core import Plan, SyncFlags, SyncResult, no_progress, synchronize
from synchro.exceptions import LockError, SynchroError
from synchro.tracking import Tracker

_SHOWN = 20


class Command(BaseCommand):
    help = (
        "Replays what changed in LOCAL since the last run into REMOTE. Exit status: 0 all "
        "applied, 1 failed, 3 some changes are held, 4 another run is going on."
    )

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
            "--dry-run",
            action="store_true",
            help="Show by model what would be done, and write nothing at all.",
        )
        parser.add_argument(
            "--diff",
            action="store_true",
            help="Like --dry-run, and show each object with its fields: old -> new.",
        )
        parser.add_argument(
            "--full",
            action="store_true",
            help="Compare the two databases row by row, instead of relying on the log.",
        )
        parser.add_argument(
            "--model",
            action="append",
            dest="models",
            metavar="APP.MODEL",
            help="Only this model. May be repeated. The others stay pending.",
        )
        parser.add_argument(
            "--skip-creates", action="store_true", help="Create nothing; it stays pending."
        )
        parser.add_argument(
            "--skip-deletes", action="store_true", help="Delete nothing; it stays pending."
        )
        parser.add_argument(
            "--continue-on-failure",
            action="store_true",
            help="Apply all that can be applied. What cannot is held, shown by synchro_status and "
            "tried again by every later run; the exit status is 3 then.",
        )
        parser.add_argument(
            "--save-plan",
            metavar="FILE",
            help="Write what would be done to a file, as JSON; nothing else is written.",
        )
        parser.add_argument(
            "--plan",
            metavar="FILE",
            help="Apply what the file has, and nothing else. What changed since then is held.",
        )
        parser.add_argument(
            "--json", action="store_true", help="Print one JSON document and nothing else."
        )
        parser.add_argument(
            "--no-progress", action="store_true", help="Show no progress on the terminal."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        dry = options["dry_run"] or options["diff"] or bool(options["save_plan"])
        if dry and options["plan"]:
            raise CommandError(
                "--plan applies a plan: it goes with none of the options that make one."
            )
        show = (
            options["verbosity"] > 0
            and not options["no_progress"]
            and not options["json"]
            and self.stdout.isatty()
        )
        plan = _read(options["plan"]) if options["plan"] else None
        try:
            with nullcontext() if dry else Tracker() as tracker:
                result = synchronize(
                    options["remote"],
                    plan=plan,
                    dry_run=dry,
                    full=options["full"],
                    models=options["models"],
                    flags=_flags(options),
                    callback=self._progress if show else no_progress,
                    wait=options["wait"],
                    user=_user(),
                    tracker=tracker,
                )
        except LockError as error:
            raise CommandError(str(error), returncode=4) from error
        except (SynchroError, ImproperlyConfigured) as error:
            if conf.debug:
                raise
            raise CommandError(" ".join(str(error).split())) from error
        if options["save_plan"] and result.plan is not None:
            _write(options["save_plan"], result.plan)
        if options["json"]:
            self._print_json(result)
        elif options["verbosity"] > 0 and result.plan is not None:
            self._show(result.plan, diff=options["diff"])
        elif options["verbosity"] > 0:
            self._report(result)
        if result.held:
            number = len(result.held)
            raise CommandError(
                f"{number} {'change is' if number == 1 else 'changes are'} held. "
                "manage.py synchro_status shows why; every later run tries again.",
                returncode=3,
            )

    def _progress(self, stage: str, current: int, total: int) -> None:
        if stage == "complete":
            self.stdout.write("\r\x1b[K", ending="")
        elif total:
            width = 30
            full = width * current // total
            bar = "#" * full + "." * (width - full)
            self.stdout.write(f"\r\x1b[K{stage:<5} [{bar}] {current} / {total}", ending="")
        self.stdout.flush()

    def _print_json(self, result: SyncResult) -> None:
        if result.plan is not None:
            for text in result.plan.pieces():
                self.stdout.write(text, ending="")
            return
        self.stdout.write(json.dumps(result.summary(), ensure_ascii=False, indent=2))

    def _show(self, plan: Plan, *, diff: bool) -> None:
        if diff:
            for line in plan.lines(self.style):
                self.stdout.write(line)
            return
        models = plan.summary()["models"]
        width = max(map(len, models), default=0)
        for label, counts in models.items():
            numbers = ", ".join(f"{number} {action}" for action, number in counts.items())
            self.stdout.write(f"  {label:<{width}}  {numbers}")
        if not plan.has_diffs():
            self.stdout.write("Nothing to do.")

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
        if result.excluded:
            self.stdout.write(_("  left out on purpose, still pending: %d") % result.excluded)
        for warning in result.warnings:
            self.stderr.write(self.style.WARNING(warning))


def _flags(options: dict[str, Any]) -> SyncFlags:
    flags = SyncFlags.NONE
    if options["continue_on_failure"]:
        flags |= SyncFlags.CONTINUE_ON_FAILURE
    if options["skip_creates"]:
        flags |= SyncFlags.SKIP_UNMATCHED_SRC
    if options["skip_deletes"]:
        flags |= SyncFlags.SKIP_UNMATCHED_DST
    if options["verbosity"] > 2:
        flags |= SyncFlags.LOG_UNCHANGED_RECORDS
    return flags


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        # No such user in this container, or no such database of users on this system.
        return ""


def _read(path: str) -> Plan:
    try:
        with open(path, encoding="utf-8") as file:
            return Plan.load(file)
    except OSError as error:
        raise CommandError(f"--plan {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"--plan {path}: this is no text ({error})") from error


def _write(path: str, plan: Plan) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            plan.save(file)
    except OSError as error:
        raise CommandError(f"--save-plan {path}: {error.strerror}") from error
