"""Models at the edges of what Django allows arrive like any other, or fail by name."""

from __future__ import annotations

import datetime
import math

import pytest
from django.db import connections, models
from django.db.models import JSONField, Value
from django.test import override_settings

from synchro import DisableSynchroLog, synchronize
from synchro.exceptions import SynchroError
from synchro.models import Reference
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, age, occupy, on_remote, synchronize_back
from tests.testapp.models import (
    Appointment,
    Contestant,
    Country,
    Currency,
    Drawer,
    Emblem,
    Everything,
    Favourite,
    Invoice,
    Letter,
    Mail,
    Nickname,
    Note,
    Phrase,
    Reluctant,
    Reminder,
    Sheet,
    Step,
    Token,
    Town,
    Word,
)


@pytest.fixture(params=["save", "bulk"])
def mode(request):
    with override_settings(SYNCHRO_REPLAY=request.param):
        yield request.param


# -- unique values


def swap(one, two, field, spare):
    """Let two rows exchange the values of a unique field; each save is logged."""
    first, second = getattr(one, field), getattr(two, field)
    for row, value in [(one, spare), (two, first), (one, second)]:
        setattr(row, field, value)
        row.save()


def make_default(row):
    for other in Currency.objects.filter(is_default=True):
        other.is_default = False
        other.save()
    row.is_default = True
    row.save()


def test_the_one_default_moves_to_another_row(mode):
    Currency.objects.create(name="1", is_default=True)
    two = Currency.objects.create(name="2")
    synchronize()
    make_default(two)
    synchronize()
    assert on_remote(Currency).get(is_default=True).name == "2"
    assert_same(Currency)


def test_the_one_default_moves_there_and_back():
    one = Currency.objects.create(name="1", is_default=True)
    two = Currency.objects.create(name="2")
    synchronize()
    for row in (two, one):
        make_default(row)
        synchronize()
        assert_same(Currency)


def test_unique_values_of_one_letter_swap(mode):
    rows = [Letter.objects.create(letter=letter) for letter in "0123456789abcdef"]
    synchronize()
    swap(rows[0], rows[1], "letter", "z")
    synchronize()
    assert_same(Letter)


def test_unique_values_within_a_checked_range_swap(mode):
    rows = [Contestant.objects.create(place=place) for place in (0, 1, 100)]
    synchronize()
    swap(rows[0], rows[2], "place", 50)
    synchronize()
    assert_same(Contestant)


def test_unique_values_over_an_expression_swap(mode):
    one = Nickname.objects.create(name="Anna")
    two = Nickname.objects.create(name="bob")
    synchronize()
    one.name = "x"
    one.save()
    two.name = "anna"
    two.save()
    one.name = "Bob"
    one.save()
    synchronize()
    assert_same(Nickname)


def test_a_clash_over_an_expression_names_the_row():
    if not connections[REMOTE].features.supports_expression_indexes:
        pytest.skip("REMOTE has no unique constraints over expressions")
    occupy(Nickname, name="ANNA")
    row = Nickname.objects.create(name="anna")
    with pytest.raises(SynchroError, match=rf"(?i)testapp\.nickname {row.pk}\b"):
        synchronize()


def test_a_clash_that_is_checked_at_the_commit_names_the_row():
    if not connections[REMOTE].features.supports_deferrable_unique_constraints:
        pytest.skip("REMOTE has no deferrable unique constraints")
    occupy(Step, position=7)
    row = Step.objects.create(position=7)
    with pytest.raises(SynchroError, match=rf"(?i)testapp\.step {row.pk}\b"):
        synchronize()


def test_a_skipped_field_is_not_given_up_for_a_unique_value():
    one = Drawer.objects.create(room="attic", number=1)
    synchronize()
    one.number = 2
    Drawer.objects.create(room="cellar", number=1)
    one.save()
    with override_settings(SYNCHRO_BATCH_SIZE=1):
        synchronize()
    found = on_remote(Drawer).order_by("number").values_list("room", "number")
    assert list(found) == [("attic", 1), ("attic", 2)]


def test_a_generic_target_that_is_unique_is_no_false_clash(mode):
    with DisableSynchroLog():
        for _ in range(3):
            Note.objects.using(REMOTE).create(name="gap").delete()
    for turn in range(2):
        for note in [Note.objects.create(name=f"{turn} {n}") for n in range(3)]:
            Favourite.objects.create(target=note)
        synchronize()
    assert_same(Note, Favourite)


# -- deletions by natural key


@pytest.fixture
def loaded_apart():
    """Rows that both sides have under other keys, as from a fixture: no reference says so."""
    with DisableSynchroLog():
        for alias in (REMOTE, LOCAL):
            codes = ("xx", "pl", "de") if alias == REMOTE else ("pl", "de")
            for code in codes:
                country = Country.objects.using(alias).create(code=code, name=code)
                Town.objects.using(alias).create(name="town", country=country)
                Emblem.objects.using(alias).create(country=country, motto=code)


@pytest.mark.usefixtures("loaded_apart")
def test_a_parent_deleted_with_children_that_are_named_by_it_is_deleted_on_remote():
    Country.objects.get(code="pl").delete()
    assert synchronize().counts == {
        ("testapp.country", "delete"): 1,
        ("testapp.town", "delete"): 1,
        ("testapp.emblem", "delete"): 1,
    }
    for model in (Town, Emblem):
        left = on_remote(model).values_list("country__code", flat=True)
        assert sorted(left) == ["de", "xx"]


# -- one object, several spellings of its key


def test_a_uuid_given_as_text_is_the_same_object():
    token = Token.objects.create(name="a")
    synchronize()
    token.name = "b"
    token.save()
    for spelling in (token.pk.hex, str(token.pk).upper()):
        twin = Token(id=spelling, name="c")
        twin._state.adding = False
        twin.save()
    synchronize()
    assert on_remote(Token).get().name == "c"
    Token.objects.get().delete()
    result = synchronize()
    assert (result.counts, result.skipped) == ({("testapp.token", "delete"): 1}, [])


def test_a_key_in_another_time_zone_is_the_same_object():
    start = datetime.datetime(2024, 1, 2, 3, 4, tzinfo=datetime.UTC)
    Appointment.objects.create(name="a", start=start)
    synchronize()
    age(LOCAL, 3600)
    age(REMOTE, 3600)
    ours = Appointment.objects.get()
    ours.room = 1
    ours.save()
    age(LOCAL)
    theirs = on_remote(Appointment).get()
    theirs.start = start.astimezone(datetime.timezone(datetime.timedelta(hours=5)))
    theirs.room = 2
    theirs.save()
    assert [skipped.reason for skipped in synchronize().skipped] == ["remote-newer"]
    synchronize_back()
    assert Appointment.objects.get().room == on_remote(Appointment).get().room == 2


def test_keys_of_long_text_are_logged_and_arrive():
    Phrase.objects.create(text="日本" * 30, meaning="本日" * 30)
    Word.objects.create(text="x" * 400)
    synchronize()
    assert_same(Phrase, Word)
    Phrase.objects.get().delete()
    word = Word.objects.get()
    word.uses = 1
    word.save()
    synchronize()
    assert_same(Phrase, Word)


# -- values


def test_saving_a_child_leaves_the_values_of_its_parent_as_they_came(mode):
    reminder = Reminder.objects.create(
        name="n", text="t", document=Value(None, JSONField()), file=None
    )
    Invoice.objects.update(file=None)
    synchronize()
    assert_same(Invoice, Reminder)
    reminder = Reminder.objects.get()
    reminder.text = "changed"
    reminder.document = Value(None, JSONField())
    reminder.save()
    Invoice.objects.update(file=None)
    synchronize()
    assert_same(Invoice, Reminder)
    missing = [
        models.QuerySet(Invoice, using=alias).values_list(
            models.Q(document__isnull=True), models.Q(file__isnull=True)
        )
        for alias in (LOCAL, REMOTE)
    ]
    assert [list(rows) for rows in missing] == [[(False, True)]] * 2


def test_a_skipped_field_keeps_the_value_that_remote_has(mode):
    sheet = Sheet.objects.create(name="before")
    with override_settings(SYNCHRO_REPLAY="save"):
        synchronize()
    was = datetime.datetime(2001, 2, 3, tzinfo=datetime.UTC)
    on_remote(Sheet).update(modified=was)
    sheet.name = "after"
    sheet.save()
    synchronize()
    assert list(on_remote(Sheet).values_list("name", "modified")) == [("after", was)]


def test_a_number_that_remote_cannot_hold_is_an_error_and_not_null():
    if connections[LOCAL].vendor != "postgresql" or connections[REMOTE].vendor == "mysql":
        pytest.skip("LOCAL does not hold NaN, or the driver of REMOTE does not take it")
    Everything.objects.create(code="odd", real=math.nan)
    if connections[REMOTE].vendor == "postgresql":
        synchronize()
        assert math.isnan(on_remote(Everything).get().real)
    else:
        with pytest.raises(SynchroError, match="(?i)testapp.everything odd"):
            synchronize()
        assert not on_remote(Everything).exists()


# -- managers and methods that hold back


def test_a_row_that_its_base_manager_hides_arrives(mode):
    mail = Mail.objects.create(name="m")
    synchronize()
    mail.deleted = True
    mail.save()
    result = synchronize()
    assert (result.counts, result.skipped) == ({("testapp.mail", "update"): 1}, [])
    assert models.QuerySet(Mail, using=REMOTE).get().deleted
    assert_same(Mail)


def test_a_row_that_save_does_not_write_leaves_no_reference():
    Reluctant.objects.create(name="yes")
    row = Reluctant.objects.create(name="no")
    with pytest.raises(SynchroError, match=rf"(?i)testapp\.reluctant {row.pk}\b"):
        synchronize()
    assert not Reference.objects.using(REMOTE).exists()
    row.name = "after all"
    row.save()
    synchronize()
    assert_same(Reluctant)
