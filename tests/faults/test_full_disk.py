"""A disk that is full: said clearly, not tried again by itself, and repaired by the next run."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from synchro import synchronize
from synchro.exceptions import SynchroError
from synchro.models import Batch, ChangeLog, Peer
from tests.faults.changes import assert_equal
from tests.runs import LOCAL, REMOTE, on_remote
from tests.testapp.models import Author, Book, Item, Note, Parcel

pytestmark = pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])

MANY = 400
ALL_PAGES = 0xFFFFFFFE


def limit(alias, pages):
    """How large the file may become; never less than it is."""
    with connections[alias].cursor() as cursor:
        cursor.execute("VACUUM")
        cursor.execute(f"PRAGMA max_page_count = {pages:d}")


def only_sqlite(alias):
    if connections[alias].vendor != "sqlite":
        pytest.skip("only SQLite has a limit that can be set for a test")


@pytest.fixture
def full_remote():
    only_sqlite(REMOTE)
    yield
    limit(REMOTE, ALL_PAGES)


@pytest.fixture(params=[(Batch, "INSERT"), (Peer, "UPDATE")], ids=["sealing", "noting"])
def full_local(request):
    """LOCAL's disk is full as soon as it writes to a certain table: something else takes the
    rest of the room at that moment."""
    only_sqlite(LOCAL)
    model, action = request.param
    Note.objects.create(name="before")
    synchronize()
    with connections[LOCAL].cursor() as cursor:
        cursor.execute("CREATE TABLE filler (filling BLOB)")
        cursor.execute(
            f"CREATE TEMPORARY TRIGGER fill BEFORE {action} ON main.{model._meta.db_table} "
            "BEGIN INSERT INTO filler VALUES (zeroblob(1000000)); END"
        )
    yield model
    limit(LOCAL, ALL_PAGES)
    with connections[LOCAL].cursor() as cursor:
        cursor.execute("DROP TRIGGER fill")
        cursor.execute("DROP TABLE filler")


def change_much(model):
    author = Author.objects.create(name="a")
    for number in range(MANY):
        if model is Book:
            Book.objects.create(title=f"{number} {'x' * 80}", author=author)
        elif model is Item:
            Item.objects.create(code=f"{number}", name="x" * 80)
        else:
            model.objects.create(name=f"{number} {'x' * 80}")


@pytest.mark.parametrize("model", [Note, Item, Book, Parcel])
def test_a_full_remote_fails_the_run_and_the_next_one_repairs(full_remote, model, pauses):
    synchronize()
    change_much(model)
    limit(REMOTE, 1)
    with pytest.raises(SynchroError, match="disk is full") as caught:
        synchronize()
    assert pauses == []
    assert "Nothing was changed there" in str(caught.value)
    assert not on_remote(model).exists()
    assert not on_remote(ChangeLog).exists()
    limit(REMOTE, ALL_PAGES)
    synchronize()
    assert on_remote(model).count() == MANY
    assert_equal()
    assert not synchronize().changed


def test_a_full_local_fails_the_run_and_the_next_one_repairs(full_local, pauses):
    Item.objects.create(code="a")
    limit(LOCAL, 1)
    with pytest.raises(SynchroError, match="disk is full") as caught:
        synchronize()
    assert pauses == []
    arrived = full_local is Peer
    assert on_remote(Item).exists() == arrived
    said = "'remote' has the changes" if arrived else "Nothing was changed there"
    assert said in str(caught.value)
    limit(LOCAL, ALL_PAGES)
    assert synchronize().total == (0 if arrived else 1)
    assert_equal()
    assert not synchronize().changed


def test_the_command_says_it_in_one_line(full_remote):
    synchronize()
    change_much(Note)
    limit(REMOTE, 1)
    with pytest.raises(CommandError, match="disk is full") as caught:
        call_command("synchronize")
    assert "\n" not in str(caught.value)
    assert caught.value.returncode == 1
    limit(REMOTE, ALL_PAGES)
    call_command("synchronize", verbosity=0)
    assert_equal()
