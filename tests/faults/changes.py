"""Changes of every kind, for runs that are disturbed."""

from __future__ import annotations

import random

from tests.compare import assert_same
from tests.testapp.models import Author, Book, Country, Folder, Item, Label, Note, Paper

KINDS = [Note, Item, Country, Author, Book, Folder, Paper, Label, Paper.labels.through]


def change_something(chance: random.Random, turn: int) -> None:
    """New rows, edits, links and deletions of every kind."""
    Note.objects.create(name=f"note {turn}")
    Item.objects.create(code=f"item {turn}", name="i")
    Country.objects.create(code=f"{turn}", name="c")
    author = Author.objects.create(name=f"author {turn}")
    Book.objects.create(title=f"book {turn}", author=author)
    folder = Folder.objects.create(name=f"folder {turn}")
    Folder.objects.create(name=f"inner {turn}", parent=folder)
    paper = Paper.objects.create(title=f"paper {turn}")
    label = Label.objects.create(name=f"label {turn}")
    paper.labels.add(label)
    for model, name in ((Note, "name"), (Item, "name"), (Book, "title"), (Folder, "name")):
        rows = list(model.objects.order_by("pk"))
        for row in chance.sample(rows, min(3, len(rows))):
            setattr(row, name, f"{getattr(row, name)[:8]} {turn}")
            row.save()
    for some in chance.sample(list(Paper.objects.all()), min(2, Paper.objects.count())):
        some.labels.set(chance.sample(list(Label.objects.all()), min(2, Label.objects.count())))
    for model in (Note, Item, Book, Paper, Label):
        rows = list(model.objects.order_by("pk"))
        if len(rows) > 4:
            chance.choice(rows).delete()


def assert_equal() -> None:
    """LOCAL and REMOTE hold the same, each row once."""
    assert_same(*KINDS)
