"""A run that fails leaves REMOTE and the checkpoint as they were, and says what and why."""

from __future__ import annotations

import re

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.models.signals import pre_save
from django.test import override_settings

from synchro import DisableSynchroLog, synchronize
from synchro.exceptions import SynchroError
from synchro.models import ChangeLog, Reference, options
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, occupy, on_remote
from tests.testapp.models import (
    Book,
    Everything,
    Item,
    Label,
    LocalOnly,
    Note,
    Paper,
    Parcel,
    Plant,
    Seat,
    Strict,
)


@pytest.fixture(params=["auto", "save", "bulk"], autouse=True)
def mode(request):
    with override_settings(SYNCHRO_REPLAY=request.param):
        yield request.param


def remote_state():
    """Everything that a failed run must leave alone."""
    return (
        options.last_check,
        list(ChangeLog.objects.using(REMOTE).order_by("pk").values()),
        list(Reference.objects.using(REMOTE).order_by("pk").values()),
        [
            list(on_remote(model).order_by("pk").values())
            for model in (Note, Item, Seat, Plant, Strict, Label, Paper, Everything, Parcel)
        ],
        on_remote(Paper.labels.through).count(),
    )


@pytest.fixture
def bystanders():
    """Good changes of every kind, made in the same run as the bad one."""
    paper = Paper.objects.create(title="p")
    gone = Item.objects.create(code="gone")
    changed = Note.objects.create(name="before")
    synchronize()
    paper.labels.add(Label.objects.create(name="l"))
    gone.delete()
    changed.name = "after"
    changed.save()
    Item.objects.create(code="new")


def assert_fails(*words):
    before = remote_state()
    with pytest.raises(SynchroError) as caught:
        synchronize()
    message = str(caught.value)
    for word in words:
        assert word.lower() in message.lower(), message
    assert remote_state() == before
    return caught.value


@pytest.mark.usefixtures("bystanders")
def test_a_unique_clash_names_the_row_and_leaves_everything():
    theirs = occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="fine", position=2)
    seat = Seat.objects.create(name="ours", position=1)
    error = assert_fails("testapp.seat", str(seat.pk))
    assert error.__cause__ is not None
    theirs.delete()
    synchronize()
    assert_same()


@pytest.mark.usefixtures("bystanders")
def test_a_unique_clash_names_the_natural_key():
    occupy(Plant, name="theirs", serial=1)
    plant = Plant.objects.create(name="ours", serial=1)
    assert_fails("testapp.plant", str(plant.pk), "ours")


@pytest.mark.usefixtures("bystanders")
def test_a_change_that_clashes_names_the_row():
    one = Seat.objects.create(name="one", position=1)
    synchronize()
    occupy(Seat, name="theirs", position=2)
    one.position = 2
    one.save()
    assert_fails("testapp.seat", str(one.pk))


def test_the_bad_row_is_named_among_many_good_ones():
    occupy(Seat, name="theirs", position=77)
    for number in range(100):
        Seat.objects.create(name=f"s{number}", position=number)
    bad = Seat.objects.get(position=77)
    message = str(assert_fails("testapp.seat"))
    assert re.findall(r"testapp\.Seat\W+(\d+)", message) == [str(bad.pk)]


@pytest.mark.usefixtures("bystanders")
def test_a_missing_table_names_the_model():
    row = LocalOnly(name="a")
    row.save()
    try:
        assert_fails("testapp.localonly", str(row.pk))
    finally:
        ChangeLog.objects.filter(label="testapp.localonly").delete()
    synchronize()
    assert_same()


@pytest.mark.usefixtures("bystanders")
@pytest.mark.parametrize("name", [None, "longer than nine"])
def test_a_value_that_remote_cannot_hold_names_the_row(name):
    Strict.objects.create(code="fine", name="fine")
    bad = Strict.objects.create(code="the-bad-one", name=name)
    assert_fails("testapp.strict", "the-bad-one")
    bad.name = "short"
    bad.save()
    synchronize()
    assert on_remote(Strict).count() == 2


@pytest.mark.usefixtures("bystanders")
def test_a_text_with_a_nul_arrives_or_names_the_row():
    """PostgreSQL keeps no NUL in text."""
    if connections[LOCAL].vendor == "postgresql":
        pytest.skip("LOCAL cannot hold it either")
    Everything.objects.create(code="nul-row", text="a\x00b")
    if connections[REMOTE].vendor == "postgresql":
        assert_fails("testapp.everything", "nul-row")
    else:
        synchronize()
        assert on_remote(Everything).get().text == "a\x00b"


@pytest.mark.usefixtures("bystanders")
def test_a_text_that_is_too_long_arrives_or_names_the_row():
    """SQLite does not look at the length of a column."""
    if connections[LOCAL].vendor != "sqlite":
        pytest.skip("LOCAL cannot hold it either")
    Note.objects.create(name="x" * 101)
    if connections[REMOTE].vendor == "sqlite":
        synchronize()
        assert_same()
    else:
        assert_fails("testapp.note")


@pytest.mark.usefixtures("bystanders")
def test_a_dangling_foreign_key_names_the_row():
    """LOCAL itself points at a row that is not there."""
    if connections[LOCAL].vendor != "sqlite":
        pytest.skip("LOCAL does not allow it")
    book = Book(title="b", author_id=424242)
    book.save()
    try:
        assert_fails("testapp.book", str(book.pk))
    finally:
        Book.objects.all()._raw_delete(LOCAL)


def test_an_error_half_way_leaves_nothing(mode):
    if mode == "bulk":
        pytest.skip("no receivers are called")

    def refuse(sender, instance, using, **kwargs):
        if using == REMOTE and instance.name == "bad":
            raise RuntimeError("out of order")

    for name in ("good", "bad", "good too"):
        Parcel.objects.create(name=name)
    bad = Parcel.objects.get(name="bad")
    pre_save.connect(refuse, sender=Parcel)
    try:
        assert_fails("testapp.parcel", str(bad.pk), "out of order")
    finally:
        pre_save.disconnect(refuse, sender=Parcel)
    synchronize()
    assert_same()


def test_a_failed_run_is_tried_again_whole():
    occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="ours", position=1)
    Note.objects.create(name="a")
    for _ in range(3):
        assert_fails("testapp.seat")
    with DisableSynchroLog():
        on_remote(Seat).all().delete()
    assert synchronize().counts == {
        ("testapp.seat", "create"): 1,
        ("testapp.note", "create"): 1,
    }


def test_what_is_added_after_a_failure_is_not_lost():
    occupy(Seat, name="theirs", position=1)
    seat = Seat.objects.create(name="ours", position=1)
    assert_fails("testapp.seat")
    Note.objects.create(name="later")
    assert_fails("testapp.seat")
    seat.position = 2
    seat.save()
    synchronize()
    assert_same(Note)
    assert on_remote(Seat).get(name="ours").position == 2


def test_the_command_fails_in_one_line():
    occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="ours", position=1)
    with pytest.raises(CommandError) as caught:
        call_command("synchronize", verbosity=0)
    assert "testapp.seat" in str(caught.value).lower()
    assert "\n" not in str(caught.value)


@pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])
def test_a_lost_connection_leaves_remote_as_it_was(mode):
    connection = connections[REMOTE]
    if connection.vendor == "sqlite" or mode == "bulk":
        pytest.skip("there is no connection to lose, or nothing that could cut it")
    kill = {
        "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
        "mysql": "KILL CONNECTION_ID()",
    }[connection.vendor]

    def cut(sender, instance, using, **kwargs):
        if using == REMOTE and instance.name == "second":
            with connections[REMOTE].cursor() as cursor:
                cursor.execute(kill)

    Note.objects.create(name="n")
    for name in ("first", "second", "third"):
        Parcel.objects.create(name=name)
    checkpoint = options.last_check
    pre_save.connect(cut, sender=Parcel)
    try:
        with pytest.raises(SynchroError, match="(?i)parcel|connection"):
            synchronize()
    finally:
        pre_save.disconnect(cut, sender=Parcel)
        connection.close()
    assert not on_remote(Note).exists()
    assert not on_remote(Parcel).exists()
    assert not ChangeLog.objects.using(REMOTE).exists()
    assert options.last_check == checkpoint
    synchronize()
    assert_same()


@pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])
@pytest.mark.usefixtures("bystanders")
def test_a_failure_leaves_committed_data_alone():
    occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="ours", position=1)
    assert_fails("testapp.seat")
    with DisableSynchroLog():
        on_remote(Seat).all().delete()
    synchronize()
    assert_same()
