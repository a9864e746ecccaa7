"""When both sides changed one object, the later change wins and the report says so."""

from __future__ import annotations

import datetime

import pytest
from django.db import models

from synchro import synchronize
from synchro.models import ChangeLog
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, age, on_remote, reversed_direction, synchronize_back
from tests.testapp.models import (
    Author,
    Book,
    Country,
    Friend,
    Item,
    Label,
    Note,
    Paper,
    Pizzeria,
    Place,
)


@pytest.fixture
def note():
    """A row that both databases have, with other keys."""
    Note.objects.using(REMOTE).create(name="x").delete()
    note = Note.objects.create(name="first")
    synchronize()
    age(LOCAL, 3600)
    age(REMOTE, 3600)
    return note


def change(alias, name, model=Note, field="name"):
    row = model._base_manager.using(alias).get()
    setattr(row, field, name)
    row.save()


def reasons(result):
    return [(skipped.label, skipped.reason) for skipped in result.skipped]


def test_a_later_change_of_remote_wins(note):
    change(LOCAL, "ours")
    age(LOCAL)
    change(REMOTE, "theirs")
    result = synchronize()
    assert on_remote(Note).get().name == "theirs"
    assert reasons(result) == [("testapp.note", "remote-newer")]
    assert str(result.skipped[0].pk) == str(note.pk)
    assert result.counts == {}


def test_a_later_change_of_local_wins(note):
    change(REMOTE, "theirs")
    age(REMOTE)
    change(LOCAL, "ours")
    result = synchronize()
    assert on_remote(Note).get().name == "ours"
    assert result.skipped == []


def test_of_changes_at_the_same_time_remotes_wins(note):
    change(LOCAL, "ours")
    change(REMOTE, "theirs")
    moment = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    for alias in (LOCAL, REMOTE):
        ChangeLog.objects.using(alias).filter(batch=None, origin="").update(date=moment)
    assert reasons(synchronize()) == [("testapp.note", "remote-newer")]
    assert on_remote(Note).get().name == "theirs"


def test_it_is_decided_for_each_object(note):
    names = [f"{who} {number}" for who in ("ours", "theirs") for number in range(3)]
    notes = [Note.objects.create(name=f"old {name}") for name in names]
    synchronize()
    age(LOCAL, 3600)
    age(REMOTE, 3600)

    def change_all(name):
        for row in on_remote(Note).filter(name__startswith=f"old {name}"):
            row.name = f"changed there, {row.name}"
            row.save()

    change_all("ours")
    age(REMOTE, 120)
    for row in notes:
        row.name = f"changed here, {row.name}"
        row.save()
    age(LOCAL)
    change_all("theirs")
    assert reasons(synchronize()) == [("testapp.note", "remote-newer")] * 3
    assert {*on_remote(Note).values_list("name", flat=True)} == {
        "first",
        *(f"changed here, old ours {number}" for number in range(3)),
        *(f"changed there, old theirs {number}" for number in range(3)),
    }


def test_the_latest_of_many_changes_counts(note):
    change(LOCAL, "ours, early")
    age(LOCAL, 120)
    change(REMOTE, "theirs")
    age(REMOTE, 60)
    change(LOCAL, "ours, late")
    assert synchronize().skipped == []
    assert on_remote(Note).get().name == "ours, late"


def test_a_change_of_another_row_is_no_conflict(note):
    other = Note.objects.create(name="other")
    synchronize()
    change_of_other = on_remote(Note).get(name="other")
    age(LOCAL)
    note.name = "ours"
    note.save()
    age(LOCAL, 7200)
    change_of_other.save()
    assert synchronize().skipped == []
    assert on_remote(Note).filter(name="ours").exists()
    assert other.pk


def test_the_loser_is_not_tried_again(note):
    change(LOCAL, "ours")
    age(LOCAL)
    change(REMOTE, "theirs")
    synchronize()
    result = synchronize()
    assert (result.skipped, result.counts, result.changed) == ([], {}, False)
    assert on_remote(Note).get().name == "theirs"


def test_the_winner_comes_back(note):
    change(LOCAL, "ours")
    age(LOCAL)
    change(REMOTE, "theirs")
    synchronize()
    synchronize_back()
    note.refresh_from_db()
    assert note.name == "theirs"
    assert_same()


def test_the_order_of_the_two_runs_does_not_matter(note):
    change(LOCAL, "ours")
    age(LOCAL)
    change(REMOTE, "theirs")
    synchronize_back()
    synchronize()
    note.refresh_from_db()
    assert note.name == on_remote(Note).get().name == "theirs"


def test_what_remote_got_from_local_is_no_conflict(note):
    """Its log row on REMOTE is later than the change, but it came from here."""
    change(LOCAL, "second")
    synchronize()
    change(LOCAL, "third")
    ChangeLog.objects.filter(batch=None).update(
        date=models.F("date") - datetime.timedelta(hours=9)
    )
    assert synchronize().skipped == []
    assert on_remote(Note).get().name == "third"


def test_what_local_has_received_already_is_no_conflict(note):
    change(REMOTE, "theirs")
    synchronize_back()
    change(LOCAL, "ours, made with theirs in view")
    ChangeLog.objects.filter(batch=None, origin="").update(
        date=models.F("date") - datetime.timedelta(hours=9)
    )
    assert synchronize().skipped == []
    assert on_remote(Note).get().name == "ours, made with theirs in view"


def test_a_later_deletion_on_remote_wins_over_a_change(note):
    change(LOCAL, "ours")
    age(LOCAL)
    on_remote(Note).get().delete()
    result = synchronize()
    assert reasons(result) == [("testapp.note", "remote-newer")]
    assert not on_remote(Note).exists()


def test_a_later_change_wins_over_a_deletion_on_remote(note):
    on_remote(Note).get().delete()
    age(REMOTE)
    change(LOCAL, "ours")
    assert synchronize().skipped == []
    assert on_remote(Note).get().name == "ours"


def test_a_later_change_on_remote_wins_over_a_deletion(note):
    key = note.pk
    note.delete()
    age(LOCAL)
    change(REMOTE, "theirs")
    result = synchronize()
    assert reasons(result) == [("testapp.note", "remote-newer")]
    assert str(result.skipped[0].pk) == str(key)
    assert on_remote(Note).get().name == "theirs"


def test_a_later_deletion_wins_over_a_change_on_remote(note):
    change(REMOTE, "theirs")
    age(REMOTE)
    note.delete()
    assert synchronize().skipped == []
    assert not on_remote(Note).exists()


def test_a_row_that_was_deleted_on_both_sides_is_gone(note):
    note.delete()
    age(LOCAL)
    on_remote(Note).get().delete()
    synchronize()
    synchronize_back()
    assert not Note.objects.exists()
    assert not on_remote(Note).exists()


def test_a_deletion_that_lost_brings_the_row_back(note):
    note.delete()
    age(LOCAL)
    change(REMOTE, "theirs")
    synchronize()
    synchronize_back()
    assert Note.objects.get().name == "theirs"
    assert_same()


@pytest.mark.parametrize("later", [LOCAL, REMOTE])
def test_additions_with_the_same_natural_key_are_one_object(later):
    earlier = LOCAL if later == REMOTE else REMOTE
    Country.objects.using(REMOTE).create(code="XX", name="x").delete()
    Country.objects.using(earlier).create(code="PL", name=earlier)
    age(earlier)
    Country.objects.using(later).create(code="PL", name=later)
    result = synchronize()
    assert on_remote(Country).get().name == later
    assert reasons(result) == ([("testapp.country", "remote-newer")] if later == REMOTE else [])
    synchronize_back()
    assert_same()
    assert Country.objects.get().name == later


@pytest.mark.parametrize("later", [LOCAL, REMOTE])
def test_additions_with_the_same_explicit_key_are_one_object(later):
    earlier = LOCAL if later == REMOTE else REMOTE
    Item.objects.using(earlier).create(code="a", name=earlier)
    age(earlier)
    Item.objects.using(later).create(code="a", name=later)
    result = synchronize()
    assert on_remote(Item).get().name == later
    assert reasons(result) == ([("testapp.item", "remote-newer")] if later == REMOTE else [])


def test_a_deletion_of_a_natural_key_that_remote_changed_later_is_not_replayed():
    Country.objects.create(code="PL", name="ours").delete()
    age(LOCAL)
    Country.objects.using(REMOTE).create(code="PL", name="theirs")
    synchronize()
    assert on_remote(Country).get().name == "theirs"


def test_a_row_that_remote_deleted_later_under_the_same_explicit_key_stays_deleted():
    Item.objects.create(code="a", name="ours")
    age(LOCAL)
    Item.objects.using(REMOTE).create(code="a").delete()
    assert reasons(synchronize()) == [("testapp.item", "remote-newer")]
    assert not on_remote(Item).exists()


def test_a_tombstone_of_remote_is_found_by_its_natural_key():
    Country.objects.create(code="PL", name="ours")
    age(LOCAL)
    Country.objects.using(REMOTE).create(code="PL", name="theirs").delete()
    assert reasons(synchronize()) == [("testapp.country", "remote-newer")]
    assert not on_remote(Country).exists()


def test_children_of_a_row_that_lost_still_arrive():
    author = Author.objects.create(name="first")
    synchronize()
    change(LOCAL, "ours", Author)
    Book.objects.create(title="b", author=author)
    age(LOCAL)
    change(REMOTE, "theirs", Author)
    synchronize()
    assert on_remote(Book).get().author.name == "theirs"


def test_a_parent_that_remote_deleted_later_and_its_child_do_not_leave_a_half():
    """The child needs its parent: either both arrive, or neither does and the report says so."""
    author = Author.objects.create(name="a")
    synchronize()
    change(LOCAL, "ours", Author)
    book = Book.objects.create(title="b", author=author)
    age(LOCAL)
    on_remote(Author).get().delete()
    result = synchronize()
    if on_remote(Book).exists():
        assert on_remote(Book).get().author.name == "ours"
    else:
        assert not on_remote(Author).exists()
        assert ("testapp.book", str(book.pk)) in [(s.label, str(s.pk)) for s in result.skipped]


def test_a_child_that_remote_has_a_later_parent_of_by_inheritance():
    Pizzeria.objects.create(name="n", stars=1, oven="o")
    synchronize()
    row = Pizzeria.objects.get()
    row.oven = "ours"
    row.save()
    age(LOCAL)
    change(REMOTE, "theirs", Place)
    synchronize()
    synchronize_back()
    assert Place.objects.get().name == on_remote(Place).get().name == "theirs"
    assert_same()


# Links


@pytest.fixture
def paper():
    paper = Paper.objects.create(title="first")
    for name in "ab":
        Label.objects.create(name=name)
    synchronize()
    age(LOCAL, 3600)
    age(REMOTE, 3600)
    return paper


def link(alias, name):
    row = Paper.objects.using(alias).get()
    row.labels.set([Label.objects.using(alias).get(name=name)])


def linked(alias):
    return [label.name for label in Paper.objects.using(alias).get().labels.order_by("name")]


def test_later_links_of_remote_win(paper):
    link(LOCAL, "a")
    age(LOCAL)
    link(REMOTE, "b")
    result = synchronize()
    assert linked(REMOTE) == ["b"]
    assert reasons(result) == [("testapp.paper", "remote-newer")]


def test_later_links_of_local_win(paper):
    link(REMOTE, "b")
    age(REMOTE)
    link(LOCAL, "a")
    assert synchronize().skipped == []
    assert linked(REMOTE) == ["a"]


def test_links_and_row_are_compared_apart(paper):
    link(LOCAL, "a")
    age(LOCAL)
    change(REMOTE, "theirs", Paper, "title")
    assert synchronize().skipped == []
    assert linked(REMOTE) == ["a"]
    assert on_remote(Paper).get().title == "theirs"


def test_row_and_links_are_compared_apart(paper):
    change(LOCAL, "ours", Paper, "title")
    age(LOCAL)
    link(REMOTE, "b")
    assert synchronize().skipped == []
    assert linked(REMOTE) == ["b"]
    assert on_remote(Paper).get().title == "ours"


def test_links_end_alike_on_both_sides(paper):
    link(LOCAL, "a")
    age(LOCAL)
    link(REMOTE, "b")
    synchronize()
    synchronize_back()
    assert linked(LOCAL) == linked(REMOTE) == ["b"]


def test_links_of_a_row_that_remote_deleted_later_stay_away(paper):
    link(LOCAL, "a")
    age(LOCAL)
    on_remote(Paper).get().delete()
    synchronize()
    assert not on_remote(Paper).exists()


def test_links_of_a_row_that_was_made_again_are_those_that_it_was_made_with(paper):
    """Whoever linked the old one on REMOTE meanwhile linked what is gone."""
    pk = paper.pk
    paper.delete()
    Paper.objects.create(pk=pk, title="again")
    link(LOCAL, "a")
    age(LOCAL)
    link(REMOTE, "b")
    synchronize()
    assert on_remote(Paper).get().title == "again"
    assert linked(REMOTE) == ["a"]


def test_symmetrical_links_are_not_half_in_conflict():
    one, two = Friend.objects.create(name="1"), Friend.objects.create(name="2")
    synchronize()
    one.friends.add(two)
    age(LOCAL)
    on_remote(Friend).get(name="1").save()
    assert synchronize().skipped == []
    assert_same()


def test_the_rule_is_the_same_in_the_other_direction(note):
    change(REMOTE, "theirs")
    age(REMOTE)
    change(LOCAL, "ours")
    with reversed_direction():
        result = synchronize()
    assert reasons(result) == [("testapp.note", "remote-newer")]
    note.refresh_from_db()
    assert note.name == "ours"
