"""The demonstration behind `make demo`, told step by step."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from geo import edits, source
from geo.comparison import Comparison, compare
from geo.models import City, Continent, Country, Language
from geo.waiting import OWN_COUNTRY
from synchro import diff, synchronize

DONE = {"create": "created", "update": "updated", "delete": "deleted", "link": "re-linked"}


class Command(BaseCommand):
    help = "Loads real data, synchronizes two databases, edits, synchronizes again, compares."

    def handle(self, **options: Any) -> None:
        start = time.monotonic()
        self.create_databases()
        own = self.begin_on_remote()
        self.load()
        self.synchronize("Synchronize: everything is new")
        self.compare(own, kept=0)
        self.edit()
        self.preview()
        self.synchronize("Synchronize again: only what changed")
        self.compare(own, kept=1)
        self.synchronize("Synchronize once more: nothing changed")
        self.stdout.write(self.style.SUCCESS(f"\nDone in {time.monotonic() - start:.0f} seconds."))
        self.stdout.write(
            "To look at both databases and press the button yourself: make serve\n"
            "(it prints the addresses, and the password of the user admin)"
        )

    def heading(self, text: str) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"\n{text}"))

    def line(self, text: str) -> None:
        self.stdout.write(f"  {text}")

    @contextmanager
    def timed(self, counter: Counter[str]) -> Iterator[None]:
        """Say how long the block took and how many of the counted rows that makes a second."""
        start = time.monotonic()
        yield
        seconds = time.monotonic() - start
        rows = counter.total()
        speed = f", {rows / seconds:,.0f} rows per second" if rows and seconds else ""
        self.line(f"{seconds:.1f} seconds{speed}")

    def create_databases(self) -> None:
        self.heading("Two empty SQLite databases")
        for alias in ("default", "remote"):
            connections[alias].close()
            name = Path(settings.DATABASES[alias]["NAME"])
            for file in name.parent.glob(f"{name.name}*"):
                file.unlink()
            call_command("migrate", database=alias, verbosity=0)
            self.line(f"{'LOCAL ' if alias == 'default' else 'REMOTE'} {name}")

    def begin_on_remote(self) -> int:
        self.heading("REMOTE has rows of its own before the first synchronization")
        towns = source.load_small_country(OWN_COUNTRY, using="remote")
        country = Country.objects.using("remote").get(iso=OWN_COUNTRY)
        self.line(f"{country.name} with {towns} towns, and the continents under other keys")
        return towns

    def load(self) -> None:
        self.heading("Real data into LOCAL, one save() an object, logged as it is written")
        counter: Counter[str] = Counter()
        with self.timed(counter):
            source.load("default")
            for model in (Continent, Language, Country, City):
                counter[model._meta.verbose_name_plural] = model.objects.count()
            counter["links to languages"] = Country.languages.through.objects.count()
            counter["links to neighbours"] = Country.neighbours.through.objects.count()
            for name, number in counter.items():
                self.line(f"{number:>7,} {name}")

    def edit(self) -> None:
        self.heading("Edits on LOCAL")
        for text in edits.edit_local():
            self.line(text)
        self.heading("An edit on REMOTE")
        self.line(edits.edit_remote())

    def preview(self) -> None:
        self.heading("What the next synchronization would do (nothing is written)")
        counter: Counter[str] = Counter()
        with self.timed(counter):
            plan = diff()
            counter["objects"] = len(plan)
            for model, actions in plan.summary()["models"].items():
                numbers = ", ".join(f"{number:,} {action}" for action, number in actions.items())
                self.line(f"{model}: {numbers}")
            changed = plan.filter(actions=["update"], models=["geo.country"])
            for text in list(changed.lines(self.style, limit=2))[:8]:
                self.line(text)

    def synchronize(self, title: str) -> None:
        self.heading(title)
        counter: Counter[str] = Counter()
        with self.timed(counter):
            result = synchronize()
            self.line(str(result.message))
            for (label, action), number in sorted(result.counts.items()):
                if number:
                    counter[action] += number
                    self.line(f"{number:>7,} {label} {DONE[action]}")
            for skipped in result.skipped:
                self.line(f"      1 {skipped.label} not applied ({skipped.reason})")

    def compare(self, own: int, kept: int) -> None:
        """Compare the databases; all that may differ is what REMOTE was meant to keep."""
        self.heading("Compare both databases, value by value")
        result = compare()
        self.line(f"{result.equal:,} objects are equal ({result.values:,} values and links)")
        self.line(f"{result.other_pk:,} of them have another automatic key there")
        self.line(f"{len(result.extra)} objects of REMOTE's own are still there")
        if result.different:
            self.line(f"{len(result.different)} object is as REMOTE has it, edited there later")
        self.refuse(result, own, kept)

    def refuse(self, result: Comparison, own: int, kept: int) -> None:
        expected = ([], own, kept)
        if (result.missing, len(result.extra), len(result.different)) != expected:
            raise CommandError(
                f"The databases differ. Missing on REMOTE: {result.missing[:5]}; "
                f"only there: {result.extra[:5]}; different: {result.different[:5]}"
            )
