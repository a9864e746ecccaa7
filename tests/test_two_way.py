"""Edits against deletions, whoever made the row and whoever deleted it: both sides end equal."""

from __future__ import annotations

import datetime

import pytest

from synchro import DisableSynchroLog, synchronize
from synchro.models import Reference, options
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, age, on_remote, synchronize_back
from tests.testapp.models import Author, Book, Country, Item, Note

OTHER = {LOCAL: REMOTE, REMOTE: LOCAL}


@pytest.fixture(params=[LOCAL, REMOTE])
def maker(request):
    """The side on which the row was made."""
    return request.param


@pytest.fixture(params=[LOCAL, REMOTE])
def deleter(request):
    """The side on which it is deleted."""
    return request.param


@pytest.fixture(autouse=True)
def other_keys():
    """Automatic keys differ between the two sides."""
    with DisableSynchroLog():
        author = Author.objects.using(REMOTE).create(name="x")
        Book.objects.using(REMOTE).create(title="x", author=author)
        author.delete()
        Note.objects.using(REMOTE).create(name="x").delete()


def send_from(alias):
    return synchronize() if alias == LOCAL else synchronize_back()


def grow_old():
    age(LOCAL)
    age(REMOTE)


def make(maker, model, **values):
    """A row that both sides have, and know that they have."""
    model._base_manager.using(maker).create(**values)
    send_from(maker)
    send_from(OTHER[maker])
    grow_old()


def rename(alias, model, name):
    row = model._base_manager.using(alias).get()
    row.name = name
    row.save()


def assert_settled():
    """After a run in each direction both are equal, and nothing is left to be sent."""
    for alias in (LOCAL, REMOTE):
        send_from(alias)
    assert_same(Author, Book, Item, Note)
    assert [send_from(alias).counts for alias in (LOCAL, REMOTE)] == [{}, {}]


@pytest.mark.parametrize(("model", "values"), [(Item, {"code": "1"}), (Note, {"name": "n"})])
def test_the_deletion_of_a_row_goes_back_to_where_it_was_made(maker, model, values):
    model._base_manager.using(maker).create(**values)
    send_from(maker)
    grow_old()
    model._base_manager.using(OTHER[maker]).get().delete()
    result = send_from(OTHER[maker])
    assert result.counts == {(model._meta.label_lower, "delete"): 1}
    assert not model._base_manager.using(maker).exists()
    for alias in (LOCAL, REMOTE):
        # Nobody may take another row that gets its key for it.
        assert not Reference.objects.using(alias).filter(label=model._meta.label_lower).exists()
    assert_settled()


@pytest.mark.parametrize("edit_goes_first", [True, False])
@pytest.mark.parametrize(("model", "values"), [(Item, {"code": "1"}), (Note, {"name": "n"})])
def test_an_edit_later_than_the_deletion_stays(maker, deleter, model, values, edit_goes_first):
    make(maker, model, **values)
    editor = OTHER[deleter]
    model._base_manager.using(deleter).get().delete()
    age(deleter)
    rename(editor, model, "edited")
    send_from(editor if edit_goes_first else deleter)
    send_from(deleter if edit_goes_first else editor)
    assert_settled()
    names = [model._base_manager.using(alias).get().name for alias in (LOCAL, REMOTE)]
    assert names == ["edited", "edited"]


@pytest.mark.parametrize("edit_goes_first", [True, False])
def test_a_deletion_later_than_the_edit_stays(maker, deleter, edit_goes_first):
    make(maker, Note, name="n")
    editor = OTHER[deleter]
    rename(editor, Note, "edited")
    age(editor)
    Note.objects.using(deleter).get().delete()
    send_from(editor if edit_goes_first else deleter)
    send_from(deleter if edit_goes_first else editor)
    assert_settled()
    assert not Note.objects.exists()


def test_a_row_that_came_back_can_be_edited_and_deleted_again(maker, deleter):
    make(maker, Note, name="n")
    Note.objects.using(deleter).get().delete()
    age(deleter)
    rename(OTHER[deleter], Note, "edited")
    assert_settled()
    grow_old()
    rename(deleter, Note, "edited again")
    assert_settled()
    assert on_remote(Note).get().name == Note.objects.get().name == "edited again"
    grow_old()
    Note.objects.using(maker).get().delete()
    assert_settled()
    assert not Note.objects.exists()


def test_a_new_child_brings_its_deleted_parent_back_on_both_sides(maker, deleter):
    make(maker, Author, name="a")
    Author.objects.using(deleter).get().delete()
    age(deleter)
    other = OTHER[deleter]
    author = Author.objects.using(other).get()
    Book.objects.using(other).create(title="b", author=author)
    send_from(other)
    assert_settled()
    assert Book.objects.get().author.name == on_remote(Book).get().author.name == "a"


@pytest.mark.parametrize(("model", "values"), [(Item, {"code": "1"}), (Note, {"name": "n"})])
def test_a_checkpoint_set_back_replays_the_deletion_of_a_row_made_after_it(model, values):
    row = model._base_manager.create(**values)
    synchronize()
    row.delete()
    options.last_check = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
    synchronize()
    assert not on_remote(model).exists()


@pytest.mark.parametrize("first", [LOCAL, REMOTE])
@pytest.mark.parametrize(
    ("model", "values"), [(Item, {"code": "1"}), (Country, {"code": "1", "name": "c"})]
)
def test_a_row_of_the_same_key_that_came_and_went_on_one_side_leaves_both_equal(
    model, values, first
):
    model._base_manager.using(LOCAL).create(**values)
    grow_old()
    row = model._base_manager.using(REMOTE).create(**values)
    grow_old()
    row.delete()
    send_from(first)
    send_from(OTHER[first])
    assert_same(model)
    assert_settled()
