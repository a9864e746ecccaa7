"""A copied database: exported from REMOTE, imported as LOCAL, edited there, synchronized back."""

from __future__ import annotations

import datetime
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.core.management.color import no_style
from django.db import connections, models, transaction

from synchro.core import adopt_copy, synchronize
from synchro.exceptions import NodeError
from synchro.histories import earlier_identity
from synchro.models import Batch, ChangeLog, Node, Peer, Reference
from synchro.nodes import own_node, side
from synchro.sql import TableWriter
from synchro.suspend import DisableSynchroLog
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, age, on_remote
from tests.testapp.models import Author, Book, Country, Label, Note, Paper

SYNCHRO = [Node, Batch, Peer, ChangeLog, Reference]
DATA = [ContentType, Permission, Country, Author, Book, Note, Label, Paper, Paper.labels.through]


def copy(source: str, destination: str, kinds: list[type[models.Model]]) -> None:
    """What an export and an import do, for the tables that these tests use. (Triggers are made
    after the rows of an export, or are silenced.)"""
    with DisableSynchroLog(), transaction.atomic(using=destination):
        for model in reversed(kinds):
            model._base_manager.using(destination).all()._raw_delete(destination)
        for model in kinds:
            fields = model._meta.local_concrete_fields
            rows = list(
                model._base_manager.using(source).values_list(*(f.attname for f in fields))
            )
            writer = TableWriter(connections[destination], model, fields)
            writer.insert(rows, returning=False)
    ContentType.objects.clear_cache()
    with connections[destination].cursor() as cursor:
        for sql in connections[destination].ops.sequence_reset_sql(no_style(), kinds):
            cursor.execute(sql)


@pytest.fixture
def office() -> dict[str, Any]:
    """REMOTE is in production; LOCAL is imported from its export."""
    production = {
        "author": Author.objects.using(REMOTE).create(name="a"),
        "note": Note.objects.using(REMOTE).create(name="n"),
        "gone": Note.objects.using(REMOTE).create(name="gone"),
        "paper": Paper.objects.using(REMOTE).create(title="p"),
        "label": Label.objects.using(REMOTE).create(name="l"),
    }
    production["book"] = Book.objects.using(REMOTE).create(title="b", author=production["author"])
    own_node(REMOTE)
    copy(REMOTE, LOCAL, [*DATA, *SYNCHRO])
    age(LOCAL)
    age(REMOTE)
    return production


def test_a_copy_is_refused_and_told_the_way_out(office):
    with pytest.raises(NodeError, match="synchro_adopt --remote remote"):
        synchronize()
    with pytest.raises(CommandError, match="synchro_adopt"):
        call_command("synchronize")


def test_edits_land_on_their_originals(office):
    note = Note.objects.get(name="n")
    note.name = "edited"
    note.save()
    book = Book.objects.get()
    book.title = "second edition"
    book.save()
    Note.objects.get(name="gone").delete()
    Paper.objects.get().labels.add(Label.objects.get())
    adoption = adopt_copy()
    assert adoption.edits == 4
    synchronize()
    assert on_remote(Note).get().pk == office["note"].pk
    assert on_remote(Note).get().name == "edited"
    assert on_remote(Book).get().pk == office["book"].pk
    assert on_remote(Author).get().pk == office["author"].pk
    assert_same(Note)
    assert_same(Book)
    assert_same(Paper)
    assert list(on_remote(Paper).get().labels.all()) == [on_remote(Label).get()]


def test_log_rows_that_came_with_the_copy_are_no_edits(office):
    note = on_remote(Note).get(name="n")
    note.name = "changed in production"
    note.save()
    assert adopt_copy().edits == 0
    assert not synchronize().changed
    assert on_remote(Note).filter(name="changed in production").exists()


def test_rows_that_both_sides_added_under_one_key_are_two(office):
    theirs = Note.objects.using(REMOTE).create(name="theirs")
    # Not within one millisecond: SQLite's triggers know no less.
    age(REMOTE)
    # MariaDB does not count on from the rows that were imported if it was further already.
    Note.objects.create(pk=theirs.pk, name="ours")
    adopt_copy()
    synchronize()
    names = set(on_remote(Note).values_list("name", flat=True))
    assert {"ours", "theirs"} <= names


def test_a_row_that_production_deleted_meanwhile_is_compared_in_time(office):
    note = Note.objects.get(name="n")
    note.name = "edited"
    note.save()
    age(LOCAL)
    age(REMOTE)
    on_remote(Note).get(name="n").delete()
    adopt_copy()
    assert [skipped.reason for skipped in synchronize().skipped] == ["remote-newer"]
    assert not on_remote(Note).filter(name="edited").exists()


def test_a_second_run_writes_nothing(office):
    Note.objects.create(name="ours")
    adopt_copy()
    assert synchronize().changed
    assert not synchronize().changed


def test_a_copy_is_adopted_once(office):
    adopt_copy()
    with pytest.raises(NodeError, match="not a copy"):
        adopt_copy()


def test_a_daily_import_is_adopted_every_day(office):
    for day in range(3):
        Note.objects.create(name=f"day {day}")
        adopt_copy()
        synchronize()
        assert on_remote(Note).filter(name=f"day {day}").count() == 1
        copy(REMOTE, LOCAL, [*DATA, *SYNCHRO])
        age(LOCAL)
        age(REMOTE)
    assert on_remote(Note).count() == 5


def test_the_time_of_the_export_may_be_given_where_the_logs_cannot_tell(office):
    ChangeLog.objects.using(REMOTE).all().delete()
    when = ChangeLog.objects.using(LOCAL).latest("id").date + datetime.timedelta(seconds=1)
    Note.objects.create(name="ours")
    assert adopt_copy(since=when).edits == 1
    synchronize()
    assert on_remote(Note).count() == 3


@pytest.mark.by_signals("update() writes silently")
def test_rows_that_differ_without_a_log_are_reported(office):
    Note.objects.using(REMOTE).filter(name="n").update(name="silently")
    adoption = adopt_copy()
    assert adoption.different == {"testapp.note": 1}
    assert adoption.examples == [f"testapp.note {office['note'].pk}"]


def test_the_old_identity_is_retired(office):
    old = Node.objects.using(LOCAL).get(pk=1).uid
    adoption = adopt_copy()
    assert Node.objects.using(LOCAL).get(pk=1).uid == adoption.uid != old
    assert Node.objects.using(LOCAL).get(uid=old).retired


def test_the_identity_of_the_original_is_no_earlier_one_of_the_copy(office):
    """A third database knows the original; it does not know the copy."""
    original = own_node(REMOTE).uid
    adopt_copy()
    Peer.objects.using(REMOTE).all().delete()
    Peer(node=original).save(using=REMOTE)
    assert earlier_identity(side(LOCAL), side(REMOTE)) is None


def test_the_command_says_what_it_matched(office):
    Note.objects.create(name="ours")
    out = StringIO()
    call_command("synchro_adopt", interactive=False, stdout=out)
    assert "testapp.note" in out.getvalue()
    assert "2 matched" in out.getvalue()
    assert "1 changes were logged here" in out.getvalue()


def test_the_command_names_a_wrong_time(office):
    with pytest.raises(CommandError, match="'yesterday' is not a time"):
        call_command("synchro_adopt", "--since", "yesterday", interactive=False)
