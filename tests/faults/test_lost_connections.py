"""A connection that is lost in the middle of a run: the run tries again, or says so clearly."""

from __future__ import annotations

import itertools
import logging
import os
import random

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections
from django.test import override_settings

from synchro import synchronize
from synchro.exceptions import SynchroError
from tests.faults.changes import assert_equal, change_something
from tests.faults.connections import end_connection, is_server
from tests.faults.events import AFTER_COMMIT, BEFORE_COMMIT, Event, watched
from tests.runs import LOCAL, REMOTE, on_remote
from tests.testapp.models import Item, Note

pytestmark = pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])

STEP = int(os.environ.get("SYNCHRO_KILL_STEP") or 17)
"""At every how many events a connection is ended; 1 in the full form."""


@pytest.fixture(params=[LOCAL, REMOTE])
def alias(request):
    """The database whose connection is lost."""
    if not is_server(request.param):
        pytest.skip("SQLite has no connection that could be lost")
    return request.param


class Ending:
    """Ends a connection once, before the first event of a run that is wanted, or makes its COMMIT
    go without an answer."""

    def __init__(self, alias, wanted):
        self.alias = alias
        self.wanted = wanted
        self.reached = False
        self.done = None

    def __call__(self, seen: Event):
        if self.reached or not self.wanted(seen):
            return
        self.reached = True
        if not end_connection(self.alias):
            return
        self.done = seen
        if seen.kind == AFTER_COMMIT and seen.alias == self.alias:
            raise self.lost()

    def lost(self):
        """What Django raises if the answer never comes."""
        with pytest.raises(OperationalError) as caught:
            connections[self.alias].cursor().execute("SELECT 1")
        return caught.value


def at_event(number):
    return lambda event: event.number == number


def at_commit(alias, kind, number):
    """The so-manyth commit of a run on a database."""
    counted = itertools.count(1)
    return lambda event: (event.alias, event.kind) == (alias, kind) and next(counted) == number


def test_a_run_that_loses_a_connection_anywhere_is_repeated(alias, pauses):
    chance = random.Random(2)
    ended = repeated = 0
    for turn, event in enumerate(range(1, 10_000, STEP)):
        change_something(chance, turn)
        ending = Ending(alias, at_event(event))
        pauses.clear()
        with watched(ending):
            result = synchronize()
        assert result.changed
        assert len(pauses) <= 1
        assert_equal()
        assert not synchronize().changed
        if not ending.reached:
            break
        ended += ending.done is not None
        repeated += len(pauses)
    else:
        pytest.fail("no run ever came to its end")
    assert repeated > 3
    print(f"{ended} connections to {alias} were ended, {repeated} runs repeated")


def test_without_retries_the_run_fails_clearly_and_the_next_one_repairs(alias, pauses):
    chance = random.Random(3)
    failed = 0
    for turn, event in enumerate(range(1, 10_000, STEP)):
        change_something(chance, turn)
        ending = Ending(alias, at_event(event))
        with override_settings(SYNCHRO_RETRIES=0), watched(ending):
            try:
                synchronize()
            except SynchroError as error:
                failed += 1
                assert "the next run" in str(error).lower()
        synchronize()
        assert_equal()
        assert not synchronize().changed
        if not ending.reached:
            break
    assert failed > 3
    assert pauses == []
    print(f"{failed} runs failed")


def commits(alias):
    """How often a run that sends one change commits on a database."""
    found: list[Event] = []
    Note.objects.create(name="to be counted")
    with watched(found.append):
        synchronize()
    return sum((event.alias, event.kind) == (alias, BEFORE_COMMIT) for event in found)


@pytest.mark.parametrize("kind", [BEFORE_COMMIT, AFTER_COMMIT])
def test_a_commit_without_an_answer_doubles_nothing(alias, kind, pauses):
    synchronize()
    numbers = range(1, commits(alias) + 1)
    assert numbers
    repeated = 0
    for number in numbers:
        Note.objects.create(name=f"{number}")
        ending = Ending(alias, at_commit(alias, kind, number))
        pauses.clear()
        with watched(ending):
            result = synchronize()
        assert ending.done is not None
        repeated += len(pauses)
        # Whichever attempt did it, it was done and is reported, once.
        assert result.counts == {("testapp.note", "create"): 1}
        assert result.changed
        assert on_remote(Note).filter(name=f"{number}").count() == 1
        assert not synchronize().changed
    # One of LOCAL's only ends what was read.
    assert repeated == len(numbers) - (alias == LOCAL)
    assert_equal()


@override_settings(SYNCHRO_RETRIES=0)
@pytest.mark.parametrize(("kind", "arrived"), [(BEFORE_COMMIT, False), (AFTER_COMMIT, True)])
def test_a_commit_without_an_answer_is_unknown_until_the_next_run_finds_out(kind, arrived):
    if not is_server(REMOTE):
        pytest.skip("SQLite has no connection that could be lost")
    synchronize()
    last = commits(REMOTE)
    Item.objects.create(code="a")
    with (
        watched(Ending(REMOTE, at_commit(REMOTE, kind, last))),
        pytest.raises(SynchroError, match="is not known. The next run finds out"),
    ):
        synchronize()
    assert on_remote(Item).exists() == arrived
    synchronize()
    assert_equal()
    assert not synchronize().changed


@override_settings(SYNCHRO_RETRIES=0)
def test_what_only_local_could_not_note_is_said_to_be_there():
    if not is_server(LOCAL):
        pytest.skip("SQLite has no connection that could be lost")
    synchronize()
    last = commits(LOCAL)
    Item.objects.create(code="a")
    with (
        watched(Ending(LOCAL, at_commit(LOCAL, BEFORE_COMMIT, last))),
        pytest.raises(SynchroError, match="has the changes"),
    ):
        synchronize()
    assert on_remote(Item).count() == 1
    assert not synchronize().changed
    assert_equal()


def test_a_connection_that_is_lost_again_and_again_ends_in_one_message(alias, pauses, caplog):
    Item.objects.create(code="a")
    with (
        caplog.at_level(logging.WARNING, logger="synchro"),
        watched(lambda event: end_connection(alias) and None),
        pytest.raises(CommandError) as caught,
    ):
        call_command("synchronize")
    message = str(caught.value)
    assert "\n" not in message
    assert "the next run tries again" in message
    assert caught.value.returncode == 1
    assert len(pauses) == 3
    warnings = [record for record in caplog.records if record.name == "synchro"]
    assert len(warnings) == 3
    assert "1 of 3" in warnings[0].getMessage()
    assert all(0 < one < other for one, other in itertools.pairwise(pauses))
    synchronize()
    assert_equal()


def test_the_lock_is_taken_anew_after_its_connection_was_lost(alias, monkeypatch):
    """Another run that comes in during the pause has its turn; the first waits for it."""
    Item.objects.create(code="a")
    inside = []

    def between(seconds):
        inside.append(synchronize().counts)

    monkeypatch.setattr("synchro.retries.pause", between)
    ending = Ending(alias, at_event(30))
    with watched(ending):
        synchronize()
    assert ending.done is not None
    assert inside == [{("testapp.item", "create"): 1}]
    assert on_remote(Item).count() == 1
    assert_equal()
