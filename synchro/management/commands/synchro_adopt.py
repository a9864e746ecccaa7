"""``manage.py synchro_adopt``: a copy of a database, or one that was restored from a backup,
becomes a node of its own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from synchro.adopt import Adoption
from synchro.conf import conf
from synchro.core import adopt_copy, adopt_restored
from synchro.exceptions import LockError, SynchroError
from synchro.pairs import remote_alias
from synchro.restored import Renewal


class Command(BaseCommand):
    help = (
        "Gives LOCAL, which was imported from an export of REMOTE, an identity of its own, and "
        "matches the rows of both by primary key. What was edited in LOCAL since the export can "
        "be synchronized then."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--remote", metavar="ALIAS", help="The original (SYNCHRO_REMOTE).")
        parser.add_argument(
            "--restored",
            action="store_true",
            help="LOCAL or REMOTE was restored from a backup: give that one a new identity.",
        )
        parser.add_argument(
            "--since",
            metavar="TIME",
            help="When the export or the backup was made (ISO 8601), where the change logs cannot "
            "tell.",
        )
        parser.add_argument(
            "--noinput",
            "--no-input",
            action="store_false",
            dest="interactive",
            help="Ask nothing.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            original = remote_alias(options["remote"])
            since = self._time(options["since"])
            restored = options["restored"]
            if options["interactive"] and not self._confirmed(original, restored):
                raise CommandError("Nothing was changed.")
            if restored:
                renewals = adopt_restored(original, since=since)
            else:
                adoption = adopt_copy(original, since=since)
        except LockError as error:
            raise CommandError(str(error), returncode=4) from error
        except (SynchroError, ImproperlyConfigured) as error:
            raise CommandError(" ".join(str(error).split())) from error
        if options["verbosity"] < 1:
            return
        if restored:
            for renewal in renewals:
                self._report_renewal(renewal)
        else:
            self._report(adoption)

    def _report(self, adoption: Adoption) -> None:
        self._name(conf.local)
        width = max(map(len, adoption.matched), default=0)
        for label, number in sorted(adoption.matched.items()):
            text = f"  {label:<{width}}  {number} matched"
            if adoption.different[label]:
                text += f", {adoption.different[label]} of them not equal"
            self.stdout.write(text)
        for example in adoption.examples:
            self.stdout.write(
                self.style.WARNING(
                    f"  not equal, and no log says why: {example} (synchro will not touch it "
                    "until it is saved)"
                )
            )
        self.stdout.write(
            f"{adoption.edits} changes were logged here since the export. "
            "Send them with: manage.py synchronize"
        )

    def _report_renewal(self, renewal: Renewal) -> None:
        self._name(renewal.alias)
        labels = sorted(renewal.kept | renewal.dropped)
        width = max(map(len, labels), default=0)
        for label in labels:
            text = f"  {label:<{width}}  {renewal.kept[label]} known as before"
            if renewal.dropped[label]:
                text += f", {renewal.dropped[label]} not any more"
            self.stdout.write(text)
        for example in renewal.examples:
            self.stdout.write(
                self.style.WARNING(f"  forgotten here, or another row by now: {example}")
            )
        self.stdout.write(
            f"{renewal.edits} changes were logged in {renewal.alias!r} after the last batch that "
            "both databases remember. Send them with: manage.py synchronize"
        )

    def _name(self, alias: str) -> None:
        self.stdout.write(
            self.style.SUCCESS(_("%(local)s is a node of its own now.") % {"local": repr(alias)})
        )

    def _time(self, text: str | None) -> datetime | None:
        if text is None:
            return None
        try:
            found = parse_datetime(text)
        except ValueError:
            found = None
        if found is None:
            raise CommandError(
                f"--since {text!r} is not a time: write it as 2026-11-22T18:30:00+01:00."
            )
        return timezone.make_aware(found) if timezone.is_naive(found) else found

    def _confirmed(self, original: str, restored: bool) -> bool:
        self.stdout.write(
            f"Whichever of {conf.local!r} and {original!r} was restored from a backup will take a "
            "new identity. What the other one knows of rows that the backup did not hold will be "
            "given up."
            if restored
            else f"{conf.local!r} will be taken for a copy of {original!r}. Rows of both with "
            "equal primary keys will be taken for the same objects, except those that were added "
            "since the export."
        )
        try:
            return input("Type 'yes' to go on: ").strip().lower() == "yes"
        except EOFError:
            raise CommandError("Nobody is there to confirm: use --noinput.") from None
