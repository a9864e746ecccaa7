"""The development server behind `make serve`, with something to do in it."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand

from geo import waiting
from geo.models import Country

NAME = "admin"


class Command(BaseCommand):
    help = (
        "Runs the development server on the demonstration's databases, in which changes wait for "
        "being synchronized. The user admin gets a new password."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("port", nargs="?", type=int, default=8000)

    def handle(self, *, port: int, **options: Any) -> None:
        for alias in ("default", "remote"):
            call_command("migrate", database=alias, verbosity=0)
        if not Country.objects.exists():
            self.tell(
                "Loading real data and synchronizing it: half a minute, the first time only."
            )
            waiting.load()
        self.prepare()
        address = f"http://127.0.0.1:{port}"
        self.tell(
            f"\nUser {NAME}, password {self.new_password()} (a new one each time)\n"
            f"  {address}/synchro/  synchronize\n"
            f"  {address}/admin/    LOCAL, to edit\n"
            f"  {address}/remote/   REMOTE, to look at\n"
            "Ctrl-C stops the server.\n"
        )
        call_command(
            "runserver",
            f"127.0.0.1:{port}",
            use_reloader=False,
            insecure_serving=True,  # the admin's style sheets, though DEBUG is off
        )

    def tell(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def prepare(self) -> None:
        """See to it that one change is held and others are pending."""
        held = waiting.hold_one()
        if held:
            self.tell(
                f"Held: {held}.\n  Give it another number, or delete it, and synchronize again."
            )
        for text in waiting.make_changes():
            self.tell(f"Pending: {text}.")

    def new_password(self) -> str:
        """Give the superuser a new password; only its hash is stored."""
        password = secrets.token_urlsafe(9)
        user, _ = get_user_model()._default_manager.get_or_create(username=NAME)
        user.is_staff = user.is_superuser = user.is_active = True
        user.set_password(password)
        user.save()
        return password
