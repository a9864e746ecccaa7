"""The development server behind `make serve`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand

from geo.models import Country

NAME = PASSWORD = "demo"


class Command(BaseCommand):
    help = "Runs the development server, after making the superuser demo if it is missing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("port", nargs="?", type=int, default=8000)

    def handle(self, *, port: int, **options: Any) -> None:
        for alias in ("default", "remote"):
            call_command("migrate", database=alias, verbosity=0)
        users = get_user_model()._default_manager
        if not users.filter(username=NAME).exists():
            users.create_superuser(NAME, password=PASSWORD)
        if not Country.objects.exists():
            self.stdout.write("The databases are empty: `make demo` loads data.\n")
        address = f"http://127.0.0.1:{port}"
        self.stdout.write(
            f"User {NAME}, password {PASSWORD}; Ctrl-C stops the server.\n"
            f"  {address}/admin/    LOCAL, to edit\n"
            f"  {address}/remote/   REMOTE, to look at\n"
            f"  {address}/synchro/  synchronize\n"
        )
        self.stdout.flush()
        call_command(
            "runserver",
            f"127.0.0.1:{port}",
            use_reloader=False,
            insecure_serving=True,  # the admin's style sheets, though DEBUG is off
        )
