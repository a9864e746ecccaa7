"""A run that fails by an error that passes is tried again; real faults are in tests/faults."""

from __future__ import annotations

import sqlite3

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections, transaction
from django.db.models.signals import pre_save
from django.test import override_settings

from synchro import retries, synchronize
from synchro.exceptions import LockError, SynchroError
from synchro.models import ChangeLog, Peer
from synchro.run import Run
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE
from tests.testapp.models import Item, Note, Parcel


def busy():
    """What Django raises for a locked SQLite file."""
    driver = sqlite3.OperationalError("database is locked")
    driver.sqlite_errorcode = sqlite3.SQLITE_BUSY
    error = OperationalError("database is locked")
    error.__cause__ = driver
    return error


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """The pauses that were asked for; nobody waits."""
    found = []
    monkeypatch.setattr(retries, "pause", found.append)
    return found


@pytest.fixture
def failing(monkeypatch):
    """Makes the first attempts fail in the end, by the errors that it is given."""
    original = Run.go

    def by(*errors):
        waiting = list(errors)

        def go(self):
            if waiting:
                raise waiting.pop(0)
            return original(self)

        monkeypatch.setattr(Run, "go", go)

    return by


def test_a_run_is_tried_again_and_says_so(failing, pauses, caplog):
    Note.objects.create(name="a")
    failing(busy(), busy())
    assert synchronize().counts == {("testapp.note", "create"): 1}
    assert len(pauses) == 2
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(messages) == 2
    assert messages[0].startswith("The run to 'remote' failed: OperationalError: database is")
    assert messages[1].endswith("(2 of 3).")
    assert_same(Note)


@pytest.mark.parametrize("number", [0, 1, 5])
def test_it_is_tried_again_as_often_as_the_setting_says(number, failing, pauses):
    Note.objects.create(name="a")
    failing(*[busy() for _ in range(number + 1)])
    with (
        override_settings(SYNCHRO_RETRIES=number),
        pytest.raises(SynchroError, match="locked. Nothing was changed there; the next run"),
    ):
        synchronize()
    assert len(pauses) == number
    synchronize()
    assert_same(Note)


@pytest.mark.parametrize("error", [ValueError("a"), SynchroError("a"), OperationalError("a")])
def test_an_error_that_stays_is_not_tried_again(error, failing, pauses):
    failing(error)
    with pytest.raises((ValueError, SynchroError)):
        synchronize()
    assert pauses == []


def test_the_command_prints_one_line_and_fails(failing):
    failing(*[busy() for _ in range(4)])
    with pytest.raises(CommandError, match="failed 4 times, at last by: Oper") as caught:
        call_command("synchronize")
    assert "\n" not in str(caught.value)
    assert caught.value.returncode == 1


def test_pauses_grow_up_to_a_minute_and_differ_by_chance():
    for failed, longest in enumerate([0.5, 2, 8, 32, 60, 60, 60], start=1):
        found = {retries.length_of_pause(failed) for _ in range(50)}
        assert longest / 2 <= min(found) < max(found) <= longest
    assert retries.length_of_pause(10_000) <= 60


def test_a_receiver_that_meets_such_an_error_is_no_reason_to_blame_the_row(pauses):
    errors = [busy()]

    def meet(sender, using, **kwargs):
        if using == REMOTE and errors:
            raise errors.pop()

    Parcel.objects.create(name="a")
    pre_save.connect(meet, sender=Parcel)
    try:
        assert synchronize().total == 1
    finally:
        pre_save.disconnect(meet, sender=Parcel)
    assert len(pauses) == 1
    assert_same(Parcel)


def test_another_run_that_has_come_in_between_is_waited_for(failing, pauses):
    Note.objects.create(name="a")
    failing(busy(), LockError("another run"), LockError("another run"))
    assert synchronize().total == 1
    assert len(pauses) == 3


def test_another_run_at_the_start_is_not_waited_for(failing, pauses):
    failing(LockError("another run"))
    with pytest.raises(LockError):
        synchronize()
    assert pauses == []


@pytest.mark.parametrize("number", [0, 1])
def test_content_types_that_were_rolled_back_are_not_remembered(number, monkeypatch):
    """The cache would go on handing out a row that is not there."""
    ContentType.objects.using(REMOTE).filter(model="item").delete()
    ContentType.objects.clear_cache()
    Item.objects.create(code="a")
    errors = [busy()]

    def fail(*args):
        if errors:
            assert ContentType.objects.using(REMOTE).filter(model="item").exists()
            raise errors.pop()

    monkeypatch.setattr("synchro.fate.Fate.sending", fail)
    with override_settings(SYNCHRO_RETRIES=number):
        if not number:
            with pytest.raises(SynchroError):
                synchronize()
        synchronize()
    assert errors == []
    assert_same(Item)
    kept = ContentType.objects.using(REMOTE).get(model="item").pk
    logged = ChangeLog.objects.using(REMOTE).filter(label="testapp.item")
    assert set(logged.values_list("content_type_id", flat=True)) == {kept}
    # A database would complain at COMMIT, which a test has not.
    connections[REMOTE].check_constraints()


def test_an_attempt_that_came_through_without_an_answer_is_counted_once(monkeypatch, pauses):
    """LOCAL fails once REMOTE has committed."""
    Note.objects.create(name="a")
    errors = [busy()]
    original = Run._save_peer

    def save(self):
        if errors:
            raise errors.pop()
        original(self)

    monkeypatch.setattr(Run, "_save_peer", save)
    result = synchronize()
    assert (result.changed, result.counts) == (True, {("testapp.note", "create"): 1})
    assert len(pauses) == 1
    assert Peer.objects.using(LOCAL).get().sent_batch == 1
    assert not synchronize().changed
    assert_same(Note)


def test_a_test_case_whose_transaction_is_broken_gets_the_error_at_once(monkeypatch, pauses):
    def go(self):
        transaction.set_rollback(True, using=REMOTE)
        raise busy()

    monkeypatch.setattr(Run, "go", go)
    try:
        with pytest.raises(SynchroError, match="locked"):
            synchronize()
    finally:
        transaction.set_rollback(False, using=REMOTE)
    assert pauses == []
