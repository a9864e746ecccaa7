"""A run that is killed at any point leaves nothing that the next run does not repair."""

from __future__ import annotations

import os
import random

import pytest

from synchro import synchronize
from tests.compare import assert_same
from tests.faults.processes import KILLED, die_at, fork, wait
from tests.testapp.models import Author, Book, Country, Folder, Item, Label, Note, Paper

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "remote"])

KINDS = [Note, Item, Country, Author, Book, Folder, Paper, Label, Paper.labels.through]
STEP = int(os.environ.get("SYNCHRO_KILL_STEP") or 17)
"""Every how many events a run is killed; 1 in the full form."""


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


def killed_run(event: int) -> int:
    def work() -> None:
        die_at(event)
        synchronize()

    return wait(fork(work))


def test_a_run_killed_at_any_statement_and_any_commit_is_repaired_by_the_next():
    chance = random.Random(1)
    killed = 0
    for turn, event in enumerate(range(1, 10_000, STEP)):
        change_something(chance, turn)
        status = killed_run(event)
        assert status in (0, KILLED)
        synchronize()
        for model in KINDS:
            assert_same(model)
        assert not synchronize().changed
        if status == 0:
            break
        killed += 1
    else:
        pytest.fail("no run ever came to its end")
    assert killed > 5
    print(f"{killed} runs were killed, the last one before event {event - STEP}")
