"""Others hold locks that a run needs: deadlocks and locked files are resolved by another try."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

import pytest
from django.db import connections, transaction
from django.test import override_settings

from synchro import synchronize
from synchro.exceptions import SynchroError
from synchro.models import Peer
from tests.faults.changes import assert_equal
from tests.faults.events import STATEMENT, watched
from tests.runs import LOCAL, REMOTE, on_remote
from tests.testapp.models import Country, Item, Note

pytestmark = pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])

PATIENCE = 60.0


def edit_both(name):
    for model in (Item, Note):
        row = model.objects.get()
        row.name = name
        row.save()


class Opponent(threading.Thread):
    """Locks one row on REMOTE, and on demand another one that the run has locked."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second
        self.has_first, self.wants_second = threading.Event(), threading.Event()
        self.session = 0

    def run(self):
        connection = connections[REMOTE]
        try:
            with transaction.atomic(using=REMOTE):
                with connection.cursor() as cursor:
                    if connection.vendor == "postgresql":
                        # Who looks for a deadlock first gives way; that shall be the run.
                        cursor.execute("SET LOCAL deadlock_timeout = '50s'")
                        cursor.execute("SELECT pg_backend_pid()")
                    else:
                        # Here it is the one that has done less.
                        on_remote(Country).bulk_create(
                            Country(code=str(number)) for number in range(300)
                        )
                        cursor.execute("SELECT CONNECTION_ID()")
                    self.session = cursor.fetchone()[0]
                on_remote(self.first).select_for_update().get()
                self.has_first.set()
                self.wants_second.wait(PATIENCE)
                on_remote(self.second).select_for_update().get()
                transaction.set_rollback(True, using=REMOTE)
        finally:
            self.has_first.set()
            connections.close_all()

    def is_waiting(self):
        """Asked in a thread, as the run's own connection is in the middle of something."""
        answers = []

        def ask():
            connection = connections[REMOTE]
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT COUNT(*) FROM pg_locks WHERE pid = %s AND NOT granted"
                    if connection.vendor == "postgresql"
                    else "SELECT COUNT(*) FROM information_schema.innodb_trx "
                    "WHERE trx_mysql_thread_id = %s AND trx_state = 'LOCK WAIT'",
                    [self.session],
                )
                answers.append(cursor.fetchone()[0])
            connections.close_all()

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        return bool(answers[0])


def tables_locked(events):
    """The models whose rows a run locks, in its order."""
    return [
        model
        for event in events
        if event.alias == REMOTE and "FOR UPDATE" in event.sql
        for model in (Item, Note)
        if model._meta.db_table in event.sql
    ]


def test_a_deadlock_is_resolved_by_another_try(pauses):
    if not connections[REMOTE].features.has_select_for_update:
        pytest.skip("REMOTE locks no single rows")
    Item.objects.create(code="a", name="before")
    Note.objects.create(name="before")
    synchronize()
    edit_both("between")
    events = []
    with watched(events.append):
        synchronize()
    taken_first, taken_second = list(dict.fromkeys(tables_locked(events)))
    edit_both("after")
    opponent = Opponent(taken_second, taken_first)
    opponent.start()
    assert opponent.has_first.wait(PATIENCE)

    def cross(event):
        if opponent.wants_second.is_set() or taken_second not in tables_locked([event]):
            return
        opponent.wants_second.set()
        deadline = time.monotonic() + PATIENCE
        while not opponent.is_waiting():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    try:
        with watched(cross):
            result = synchronize()
    finally:
        opponent.wants_second.set()
        opponent.join()
    assert len(pauses) == 1
    assert result.total == 2
    assert on_remote(Note).get().name == on_remote(Item).get().name == "after"
    assert_equal()
    assert not synchronize().changed


# -- SQLite


class Holder:
    """Another program that keeps an SQLite file locked: ``BEGIN IMMEDIATE`` keeps writers out, an
    open reader keeps COMMIT out."""

    def __init__(self, alias, how):
        connection = connections[alias]
        self.file = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
        if how == "writes":
            self.file.execute("BEGIN IMMEDIATE")
        else:
            self.file.execute("BEGIN")
            self.file.execute("SELECT * FROM django_content_type").fetchall()

    def close(self):
        self.file.close()


@pytest.fixture(params=[LOCAL, REMOTE])
def file(request):
    """The alias of an SQLite database that waits for others only shortly."""
    connection = connections[request.param]
    if connection.vendor != "sqlite":
        pytest.skip("others lock no whole files")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 20")
    yield request.param
    connection.close()


@pytest.mark.parametrize("how", ["writes", "reads"])
def test_a_file_that_others_keep_locked_is_tried_again(file, how, monkeypatch):
    synchronize()
    Item.objects.create(code="a")
    Note.objects.create(name="a")
    pauses = []
    with closing(Holder(file, how)) as holder:

        def release(seconds):
            pauses.append(seconds)
            if len(pauses) == 2:
                holder.close()

        monkeypatch.setattr("synchro.retries.pause", release)
        result = synchronize()
    assert len(pauses) == 2
    assert result.total == 2
    assert_equal()
    assert not synchronize().changed


@pytest.mark.parametrize("how", ["writes", "reads"])
def test_a_file_that_stays_locked_is_reported_and_nothing_is_changed(file, how, pauses):
    synchronize()
    Item.objects.create(code="a")
    with closing(Holder(file, how)), pytest.raises(SynchroError, match="locked") as caught:
        synchronize()
    assert len(pauses) == 3
    assert "failed 4 times" in str(caught.value)
    assert "Nothing was changed there; the next run tries again." in str(caught.value)
    assert not on_remote(Item).exists()
    synchronize()
    assert_equal()


def test_a_file_that_is_locked_when_local_should_note_the_run(monkeypatch):
    """REMOTE has committed: the next attempt only notes it."""
    if connections[LOCAL].vendor != "sqlite":
        pytest.skip("others lock no whole files")
    Note.objects.create(name="a")
    synchronize()
    Item.objects.create(code="a")
    with connections[LOCAL].cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 20")
    holders = []
    monkeypatch.setattr("synchro.retries.pause", lambda seconds: holders[-1].close())

    def lock(event):
        if not holders and event.kind == STATEMENT and event.alias == LOCAL:
            updates = Peer._meta.db_table in event.sql and event.sql.startswith("UPDATE")
            if updates:
                holders.append(Holder(LOCAL, "reads"))

    with watched(lock):
        result = synchronize()
    connections[LOCAL].close()
    assert holders
    assert result.counts == {("testapp.item", "create"): 1}
    assert_equal()
    assert not synchronize().changed


@override_settings(SYNCHRO_RETRIES=0)
def test_without_retries_nobody_waits(file, pauses):
    synchronize()
    Item.objects.create(code="a")
    with closing(Holder(file, "writes")), pytest.raises(SynchroError, match="locked"):
        synchronize()
    assert pauses == []
    synchronize()
    assert_equal()
