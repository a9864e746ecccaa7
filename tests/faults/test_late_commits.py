"""Writers commit out of order while runs go on: nothing is lost, and no run fails."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, transaction

from synchro import synchronize
from synchro.models import ChangeLog
from tests.compare import assert_same
from tests.faults.processes import fork
from tests.testapp.models import Author, Book, Label, Note, Paper

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "remote"])

WRITERS = int(os.environ.get("SYNCHRO_WRITERS") or 4)
TRANSACTIONS = int(os.environ.get("SYNCHRO_WRITER_TRANSACTIONS") or 8)
"""How many transactions each writer makes at least."""
MOST_TRANSACTIONS = 5000
RUNS = 8
"""How many runs the writers write through."""


class Undo(Exception):
    pass


def write(seed: int, stop: Path) -> None:
    """One writer: transactions that sleep before they commit, or are rolled back; until it is
    told to stop."""
    chance = random.Random(seed)
    # SQLite has one writer at a time; a sleep inside a transaction keeps the others out.
    longest = 0.02 if connection.vendor == "sqlite" else 0.3
    for turn in range(MOST_TRANSACTIONS):
        if turn >= TRANSACTIONS and stop.exists():
            return
        # Room for the others where there is one writer at a time.
        time.sleep(0.01)
        try:
            with transaction.atomic():
                author = Author.objects.create(name=f"a {seed} {turn}")
                book = Book.objects.create(title=f"b {seed} {turn}", author=author)
                note = Note.objects.create(name=f"n {seed} {turn}")
                paper = Paper.objects.create(title=f"p {seed} {turn}")
                paper.labels.add(Label.objects.create(name=f"l {seed} {turn}"))
                time.sleep(chance.uniform(0, longest))
                mine = Note.objects.filter(name__startswith=f"n {seed} ").exclude(pk=note.pk)
                if (old := mine.order_by("?").first()) is not None:
                    if chance.random() < 0.3:
                        old.delete()
                    else:
                        old.number = turn
                        old.save()
                if chance.random() < 0.2:
                    book.delete()
                time.sleep(chance.uniform(0, longest))
                if chance.random() < 0.2:
                    raise Undo
        except Undo:
            continue


@pytest.fixture
def patient(monkeypatch):
    """SQLite waits long enough for its one writer at a time."""
    if connection.vendor == "sqlite":
        options = settings.DATABASES["default"].setdefault("OPTIONS", {})
        monkeypatch.setitem(options, "timeout", 60)
        monkeypatch.setitem(options, "transaction_mode", "IMMEDIATE")


def test_writers_that_commit_late_lose_nothing(patient, tmp_path):
    # Made before the writers start, so that no two of them make it at once.
    synchronize()
    stop = tmp_path / "stop"
    children = [fork(lambda seed=seed: write(seed, stop)) for seed in range(WRITERS)]
    runs = 0
    living = set(children)
    while living:
        synchronize()
        runs += 1
        if runs == RUNS:
            stop.touch()
        for child in list(living):
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                assert os.waitstatus_to_exitcode(status) == 0
                living.remove(child)
        time.sleep(0.01)
    synchronize()
    assert Note.objects.exists()
    for model in (Author, Book, Note, Paper, Label, Paper.labels.through):
        assert_same(model)
    assert not ChangeLog.objects.filter(batch__isnull=True).exists()
    assert not synchronize().changed
    assert runs >= RUNS
    print(f"{WRITERS} writers, {runs} runs")
