"""A REMOTE that has only the project's own tables: everything works, and what is weaker is said.

Only rows that are known by an explicit or a natural key are promised to be there once after a
kill between the two commits: REMOTE keeps no proof that it has them.
"""

from __future__ import annotations

import os
import random
import sqlite3

import pytest
from django.db import OperationalError, connections

from synchro import synchronize
from synchro.exceptions import SynchroError
from synchro.models import ChangeLog, Reference
from tests.compare import assert_same
from tests.faults.changes import assert_equal, change_something
from tests.faults.connections import end_connection, is_server
from tests.faults.events import AFTER_COMMIT, BEFORE_COMMIT, STATEMENT, watched
from tests.faults.processes import KILLED, die_at, fork, wait
from tests.runs import LOCAL, REMOTE, on_remote, reread
from tests.testapp.models import (
    Author,
    Book,
    City,
    Country,
    Item,
    Label,
    Locker,
    Note,
    Paper,
    Plant,
    Slot,
)

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE]),
    pytest.mark.usefixtures("bare_remote"),
]

STEP = int(os.environ.get("SYNCHRO_KILL_STEP") or 17)
KNOWN_BY_KEY = [Item, Slot, Country, City, Plant]


def test_everything_arrives_with_one_warning():
    author = Author.objects.create(name="a")
    book = Book.objects.create(title="b", author=author)
    gone = Note.objects.create(name="gone")
    item = Item.objects.create(code="i")
    paper = Paper.objects.create(title="p")
    label, other = Label.objects.create(name="l"), Label.objects.create(name="o")
    paper.labels.add(label, other)
    result = synchronize()
    (warning,) = result.warnings
    assert "no tables of synchro" in warning
    assert result.total == 8
    assert_equal()
    assert Reference.objects.using(LOCAL).filter(label="testapp.book").count() == 1

    book.title = "edited"
    book.save()
    item.delete()
    gone.delete()
    paper.labels.remove(other)
    later = Book.objects.create(title="later", author=author)
    result = synchronize()
    assert result.counts == {
        ("testapp.book", "update"): 1,
        ("testapp.book", "create"): 1,
        ("testapp.item", "delete"): 1,
        ("testapp.note", "delete"): 1,
        ("testapp.paper", "link"): 1,
    }
    assert len(result.warnings) == 1
    assert_equal()
    assert not synchronize().changed
    author.delete()
    synchronize()
    assert_equal()
    assert not Book.objects.filter(pk=later.pk).exists()


def test_keys_that_differ_are_kept_apart_by_references_on_local():
    on_remote(Note).create(name="theirs").delete()
    author = on_remote(Author).create(name="theirs")
    note = Note.objects.create(name="a")
    mine = Author.objects.create(name="mine")
    synchronize()
    note.name = "b"
    note.save()
    mine.delete()
    synchronize()
    assert on_remote(Note).get().name == "b"
    assert reread(author).name == "theirs"


def change_what_is_known_by_key(chance, turn):
    Item.objects.create(code=f"item {turn}", name="i")
    Slot.objects.create(room="r", hour=turn, title="s")
    country = Country.objects.create(code=f"{turn}", name=f"c {turn}")
    City.objects.create(name=f"city {turn}", country=country)
    Plant.objects.create(name=f"plant {turn}", serial=turn)
    for model, name in ((Item, "name"), (Slot, "title"), (Country, "name")):
        rows = list(model.objects.order_by("pk"))
        for row in chance.sample(rows, min(3, len(rows))):
            setattr(row, name, f"{getattr(row, name)[:8]} {turn}")
            row.save()
    for model in (Item, Slot, City):
        rows = list(model.objects.order_by("pk"))
        if len(rows) > 4:
            chance.choice(rows).delete()


def test_a_run_killed_anywhere_is_repaired_where_rows_are_known_by_key():
    chance = random.Random(4)
    killed = 0
    for turn, event in enumerate(range(1, 10_000, STEP)):
        change_what_is_known_by_key(chance, turn)

        def work(event=event):
            die_at(event)
            synchronize()

        status = wait(fork(work))
        assert status in (0, KILLED)
        synchronize()
        assert_same(*KNOWN_BY_KEY)
        assert not synchronize().changed
        if status == 0:
            break
        killed += 1
    else:
        pytest.fail("no run ever came to its end")
    assert killed > 2
    print(f"{killed} runs were killed, the last one before event {event - STEP}")


def test_a_run_killed_before_its_commit_leaves_nothing_of_any_row():
    """Rows without a key of their own as well: only the moment after the commit is dangerous."""
    chance = random.Random(5)
    # Whatever keeps Django from committing on SQLite, but for a database's error, makes it commit
    # all the same: it goes back to autocommit.
    commits = BEFORE_COMMIT if connections[REMOTE].vendor == "sqlite" else AFTER_COMMIT
    for turn, event in enumerate(range(1, 10_000, STEP)):
        change_something(chance, turn)
        dangerous = False

        class Stop(Exception):
            pass

        def stop(seen, event=event):
            nonlocal dangerous
            dangerous = dangerous or (seen.alias, seen.kind) == (REMOTE, commits)
            if seen.number == event and not dangerous:
                raise Stop

        try:
            with watched(stop):
                synchronize()
        except Stop:
            synchronize()
            assert_equal()
            assert not synchronize().changed
        else:
            break
    assert turn > 2


def lose_at_commit(kind):
    """Something that loses REMOTE's connection at its first commit, once."""
    done = []

    def happened(event):
        if done or (event.alias, event.kind) != (REMOTE, kind):
            return
        done.append(event)
        end_connection(REMOTE)
        if kind == AFTER_COMMIT:
            connections[REMOTE].cursor().execute("SELECT 1")

    return happened


@pytest.mark.parametrize("kind", [BEFORE_COMMIT, AFTER_COMMIT])
def test_a_commit_without_an_answer_is_not_repeated_as_nobody_could_tell(kind, pauses):
    if not is_server(REMOTE):
        pytest.skip("SQLite has no connection that could be lost")
    Note.objects.create(name="a")
    with (
        watched(lose_at_commit(kind)),
        pytest.raises(SynchroError, match="neither an explicit nor a natural key"),
    ):
        synchronize()
    assert pauses == []
    assert on_remote(Note).count() == (1 if kind == AFTER_COMMIT else 0)
    assert ChangeLog.objects.filter(label="testapp.note", batch__isnull=False).exists()


@pytest.mark.parametrize("later", range(1, 7))
def test_local_tries_again_to_note_what_remote_has(later, pauses):
    """Rows with neither key are not made twice as long as the process lives: whatever fails on
    LOCAL once REMOTE has committed."""
    Note.objects.create(name="a")
    Locker.objects.create(code="a")
    on_local = []

    def disturb(event):
        if on_local or (event.alias, event.kind) == (REMOTE, AFTER_COMMIT):
            on_local.append(event)
        if len(on_local) != later + 1 or event.alias != LOCAL:
            return
        if is_server(LOCAL):
            end_connection(LOCAL)
        elif event.kind == STATEMENT:
            raise busy()

    with watched(disturb):
        result = synchronize()
    assert len(pauses) <= 1
    assert result.total == 2
    assert_same(Note, Locker)
    assert not synchronize().changed
    Note.objects.get().save()
    assert synchronize().counts == {("testapp.note", "update"): 1}
    assert_same(Note, Locker)


def busy():
    """What Django raises for a locked file."""
    driver = sqlite3.OperationalError("database is locked")
    driver.sqlite_errorcode = sqlite3.SQLITE_BUSY
    error = OperationalError("database is locked")
    error.__cause__ = driver
    return error


def test_remote_may_get_its_tables_later(bare_remote):
    on_remote(Note).create(name="theirs").delete()
    note = Note.objects.create(name="a")
    assert len(synchronize().warnings) == 1
    bare_remote()
    note.name = "b"
    note.save()
    result = synchronize()
    assert (result.warnings, result.counts) == ([], {("testapp.note", "update"): 1})
    assert_equal()
    assert not synchronize().changed
