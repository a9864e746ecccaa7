"""The comparer that other tests rely on sees what differs."""

import pytest

from tests.compare import differences
from tests.runs import LOCAL, REMOTE
from tests.testapp.models import Author, Book, Folder, Item, Label, Note, Paper, Pizzeria, Post


def both(model, **values):
    return [model._base_manager.using(alias).create(**values) for alias in (LOCAL, REMOTE)]


def test_equal_rows_are_the_same_whatever_their_automatic_keys():
    Note.objects.using(REMOTE).create(name="gone").delete()
    both(Note, name="a")
    assert differences(LOCAL, REMOTE) == []


def test_a_row_too_many_differs():
    both(Note, name="a")
    Note.objects.using(REMOTE).create(name="a")
    assert len(differences(LOCAL, REMOTE)) == 1


@pytest.mark.parametrize(
    ("model", "here", "there"),
    [
        (Note, {"name": "a", "number": 1}, {"name": "a", "number": 2}),
        (Item, {"code": "a"}, {"code": "b"}),
        (Pizzeria, {"name": "a", "oven": "o"}, {"name": "b", "oven": "o"}),
    ],
)
def test_a_value_that_differs_is_seen(model, here, there):
    model._base_manager.using(LOCAL).create(**here)
    model._base_manager.using(REMOTE).create(**there)
    assert differences(LOCAL, REMOTE, [model, *model._meta.all_parents])


def test_a_reference_to_another_row_is_seen():
    one, two = both(Author, name="one"), both(Author, name="two")
    Book.objects.using(LOCAL).create(title="b", author=one[0])
    Book.objects.using(REMOTE).create(title="b", author=two[1])
    assert len(differences(LOCAL, REMOTE)) == 2


def test_a_missing_parent_is_seen():
    roots = both(Folder, name="root")
    Folder.objects.using(LOCAL).create(name="leaf", parent=roots[0])
    Folder.objects.using(REMOTE).create(name="leaf")
    assert len(differences(LOCAL, REMOTE)) == 2


def test_a_missing_link_is_seen():
    papers, labels = both(Paper, title="p"), both(Label, name="l")
    papers[0].labels.add(labels[0])
    assert len(differences(LOCAL, REMOTE)) == 1
    papers[1].labels.add(labels[1])
    assert differences(LOCAL, REMOTE) == []


def test_a_generic_reference_to_another_row_is_seen():
    one, two = both(Post, title="one"), both(Post, title="two")
    one[0].tags.create(label="t")
    two[1].tags.create(label="t")
    assert len(differences(LOCAL, REMOTE)) == 2
