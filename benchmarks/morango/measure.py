"""Pushes N objects, new and then changed, from one node of Morango to another one over HTTP.

``python measure.py FOLDER N`` prints one line of JSON for each of the two. What is timed is one
push, from the session to the last object in the server's tables: serializing, queuing, sending,
and deserializing there.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CATEGORIES, LABELS = 100, 50


def prepare(client: Path, server: Path) -> None:
    """Two databases with the same tables and certificates, nothing else."""
    from django.core.management import call_command
    from django.db import connection
    from morango.models.certificates import Certificate, Key, ScopeDefinition

    call_command("migrate", run_syncdb=True, verbosity=0)
    scope = ScopeDefinition.objects.create(
        id="shop",
        profile="shop",
        version=1,
        primary_scope_param_key="node",
        description="",
        read_filter_template="",
        write_filter_template="",
        read_write_filter_template="shop",
    )
    root = Certificate.generate_root_certificate(scope.id)
    own = Certificate(
        parent=root,
        profile="shop",
        scope_definition=scope,
        scope_version=scope.version,
        scope_params=root.scope_params,
        private_key=Key(),
    )
    root.sign_certificate(own)
    own.save()
    connection.close()
    shutil.copy(client, server)


@contextmanager
def serving(database: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "runserver", "--noreload", f"127.0.0.1:{port}"],
        cwd=HERE,
        env={**os.environ, "MORANGO_DATABASE": str(database), "MORANGO_SYSTEM_ID": "server"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"{address}api/morango/v1/morangoinfo/1/", timeout=5)
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


def write(n: int, version: int) -> None:
    """Objects with two links each; another version differs in every column but the keys."""
    from django.db import transaction
    from shop.models import Category, Item, ItemLabel, Label

    with transaction.atomic():
        if version == 1:
            for number in range(CATEGORIES):
                Category(code=f"category-{number}").save()
            for number in range(LABELS):
                Label(name=f"label-{number}").save()
        else:
            ItemLabel.objects.all().delete()
        categories, labels = list(Category.objects.all()), list(Label.objects.all())
        found = {item.code: item for item in Item.objects.all()}
        for number in range(1, n + 1):
            mixed = (number * 2_654_435_761 + version * 40_503) % 2**32
            code = f"item-{number:08d}"
            item = found.get(code) or Item(code=code)
            item.name = f"Item {number} of version {version}, Zürich"
            item.note = f"{mixed:08x} " * (1 + mixed % 8)
            item.category = categories[(number + version) % CATEGORIES]
            item.price = f"{mixed % 10_000_000 / 100:.2f}"
            item.quantity = mixed % 1000
            item.weight = mixed / 1000
            item.active = bool((number + version) % 2)
            item.changed = f"2026-01-{1 + mixed % 28:02d} {mixed % 24:02d}:00:00"
            item.save()
            for step in (0, 7):
                label = labels[(number + version + step) % LABELS]
                ItemLabel(item=item, label=label).save()


def push(address: str) -> float:
    from morango.models.certificates import Certificate, Filter
    from morango.sync.controller import MorangoProfileController

    root, own = Certificate.objects.order_by("level")
    started = time.perf_counter()
    connection = MorangoProfileController("shop").create_network_connection(address)
    session = connection.create_sync_session(own, root)
    client = session.get_push_client()
    client.initialize(Filter("shop"))
    client.run()
    client.finalize()
    session.close_sync_session()
    return time.perf_counter() - started


def arrived(server: Path, version: int) -> tuple[int, int]:
    """How many objects of a version the server has, and how many links."""
    with sqlite3.connect(server) as connection:
        (items,) = connection.execute(
            "SELECT count(*) FROM shop_item WHERE name LIKE ?", [f"%of version {version},%"]
        ).fetchone()
        (links,) = connection.execute("SELECT count(*) FROM shop_itemlabel").fetchone()
    return items, links


def main(folder: str, n: int) -> None:
    client, server = Path(folder, "client.sqlite3"), Path(folder, "server.sqlite3")
    os.environ.update(
        MORANGO_DATABASE=str(client),
        MORANGO_SYSTEM_ID="client",
        DJANGO_SETTINGS_MODULE="settings",
        PYTHONPATH=str(HERE),
    )
    sys.path.insert(0, str(HERE))
    import django

    django.setup()
    prepare(client, server)
    with serving(server) as address:
        for version, state in ((1, "new"), (2, "changed")):
            write(n, version)
            cpu = time.process_time()
            seconds = push(address)
            cpu = time.process_time() - cpu
            found = arrived(server, version)
            if found != (n, 2 * n):
                sys.exit(f"Morango: {found} objects and links arrived instead of {(n, 2 * n)}.")
            rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            result: dict[str, Any] = {"state": state, "seconds": seconds, "cpu": cpu, "rss": rss}
            print(json.dumps({**result, "objects": n, "queries": 0}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
