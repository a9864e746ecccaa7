"""A server that dies in the middle of a run, and is started again."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from synchro import synchronize
from synchro.exceptions import SynchroError
from synchro.nodes import forget_tables
from tests.faults.changes import assert_equal
from tests.faults.events import AFTER_COMMIT, BEFORE_COMMIT, STATEMENT, watched
from tests.faults.private_server import KINDS
from tests.runs import LOCAL, REMOTE, on_remote
from tests.testapp.models import Author, Book, Item, Label, Note, Paper

pytestmark = pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])


@pytest.fixture(params=[LOCAL, REMOTE])
def dying(request, transactional_db):
    """The alias of a database that lives on a server of this test's own, and that server."""
    alias = request.param
    connection = connections[alias]
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no server")
    # In /tmp itself, and short: a socket's path has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="synchro-server-"))
    before = dict(connection.settings_dict)
    server = KINDS[connection.vendor](folder)
    try:
        server.prepare()
        server.start()
        server.create_database("test_restart")
        connection.close()
        connection.settings_dict.update(
            HOST="127.0.0.1",
            PORT=str(server.port),
            USER=server.superuser,
            PASSWORD="",
            NAME="test_restart",
            # Whoever gives up durability loses what was committed last, and so do runs.
            OPTIONS={},
        )
        forget_tables()
        ContentType.objects.clear_cache()
        call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
        yield alias, server
    finally:
        connection.close()
        connection.settings_dict.update(before)
        forget_tables()
        ContentType.objects.clear_cache()
        if server.process is not None:
            server.kill()
        shutil.rmtree(folder)


def change(turn):
    author = Author.objects.create(name=f"a {turn}")
    Book.objects.create(title=f"b {turn}", author=author)
    Note.objects.create(name=f"n {turn}")
    Item.objects.create(code=f"{turn}")
    paper = Paper.objects.create(title=f"p {turn}")
    paper.labels.add(Label.objects.create(name=f"l {turn}"))
    Note.objects.first().delete()


def moments(alias):
    """Moments of a run like the next one: one in the middle, and around the last commit."""
    found = []
    with watched(found.append):
        synchronize()
    mine = [event for event in found if event.alias == alias]
    statements = [event for event in mine if event.kind == STATEMENT]
    middle = statements[len(statements) // 2]
    before, after = (
        [event for event in mine if event.kind == kind][-1]
        for kind in (BEFORE_COMMIT, AFTER_COMMIT)
    )
    return [middle, before, after]


def killing(server, moment):
    def happened(event):
        if server.process is not None and event.number == moment.number:
            server.kill()
            if event.kind == AFTER_COMMIT:
                # The answer never comes.
                connections[event.alias].cursor().execute("SELECT 1")

    return happened


def test_a_run_survives_the_restart_of_a_server(dying, monkeypatch):
    alias, server = dying
    change("to begin with")
    synchronize()
    change("to be watched")
    restarts = []

    def start_again(seconds):
        if server.process is None:
            server.start()
            restarts.append(seconds)

    monkeypatch.setattr("synchro.retries.pause", start_again)
    for moment in moments(alias):
        change(f"{moment.number}")
        restarts.clear()
        with watched(killing(server, moment)):
            result = synchronize()
        assert len(restarts) == 1
        assert result.changed
        assert_equal()
        assert not synchronize().changed


@override_settings(SYNCHRO_RETRIES=0)
def test_without_retries_the_run_after_the_restart_repairs(dying):
    alias, server = dying
    change("to begin with")
    synchronize()
    change("to be watched")
    for moment in moments(alias):
        change(f"{moment.number}")
        with watched(killing(server, moment)), pytest.raises(SynchroError, match="next run"):
            synchronize()
        with pytest.raises(SynchroError, match=f"{alias!r} does not answer"):
            synchronize()
        server.start()
        synchronize()
        assert_equal()
        assert on_remote(Note).count() == Note.objects.count()
        assert not synchronize().changed
