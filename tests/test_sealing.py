"""Rows of the log get their number beside the run, and before REMOTE commits what they told."""

from __future__ import annotations

import datetime
import threading
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from django.utils import timezone

from synchro import diff, sealing, synchronize
from synchro.exceptions import SynchroError
from synchro.models import Batch, ChangeLog, Node, options
from synchro.nodes import own_node
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, age, on_remote
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch):
    monkeypatch.setattr(sealing, "MANY", 1)


def servers_only() -> None:
    if connections[LOCAL].vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time: the log is numbered first")


def in_thread() -> bool:
    return threading.current_thread() is not threading.main_thread()


def batches() -> list[int | None]:
    rows = ChangeLog.objects.using(LOCAL).filter(label="testapp.note")
    return list(rows.order_by("id").values_list("batch", flat=True))


def test_rows_are_numbered_in_another_thread_on_servers(monkeypatch):
    threads = []
    number = sealing._next_batch

    def watch(alias: str) -> Batch:
        threads.append(in_thread())
        return number(alias)

    monkeypatch.setattr(sealing, "_next_batch", watch)
    for name in "ab":
        Note.objects.create(name=name)
    synchronize()
    assert threads == [connections[LOCAL].vendor != "sqlite"]
    assert batches() == [1, 1]
    Note.objects.create(name="c")
    synchronize()
    assert batches() == [1, 1, 2]
    assert Node.objects.using(LOCAL).get(pk=1).last_batch == 2
    assert_same(Note)
    assert not synchronize().changed


def test_few_rows_are_numbered_by_the_run_itself(monkeypatch):
    monkeypatch.setattr(sealing, "MANY", 3)
    monkeypatch.setattr(sealing._Numbering, "begin", lambda self: pytest.fail("a thread"))
    for name in "ab":
        Note.objects.create(name=name)
    synchronize()
    assert batches() == [1, 1]
    assert_same(Note)


def test_remote_does_not_commit_before_the_numbers_are_committed():
    servers_only()
    for name in "ab":
        Note.objects.create(name=name)
    held, release = threading.Event(), threading.Event()

    def hold_a_row() -> None:
        try:
            with transaction.atomic(using=LOCAL):
                list(ChangeLog.objects.using(LOCAL).select_for_update()[:1])
                held.set()
                release.wait(60)
        finally:
            connections[LOCAL].close()

    seen: list[int] = []
    written = threading.Event()

    def look() -> None:
        # The run has written both rows, and waits.
        try:
            written.wait(60)
            seen.append(on_remote(Note).count())
        finally:
            connections[REMOTE].close()
            release.set()

    def watch(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        found = execute(sql, params, many, context)
        if "synchro_peer" in str(sql) and not str(sql).startswith("SELECT"):
            written.set()
        return found

    threads = [threading.Thread(target=hold_a_row), threading.Thread(target=look)]
    threads[0].start()
    assert held.wait(60)
    threads[1].start()
    with connections[REMOTE].execute_wrapper(watch):
        synchronize()
    for thread in threads:
        thread.join()
    assert seen == [0]
    assert batches() == [1, 1]
    assert_same(Note)


def test_a_run_whose_rows_got_no_number_changes_nothing(monkeypatch):
    servers_only()
    Note.objects.create(name="a")

    def fail(*args: Any) -> None:
        raise OperationalError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(sealing, "_number", fail)
        with pytest.raises(SynchroError, match="no space left"):
            synchronize()
    assert not on_remote(Note).exists()
    assert batches() == [None]
    assert not Batch.objects.using(LOCAL).exists()
    synchronize()
    assert batches() == [1]
    assert_same(Note)


def test_who_is_interrupted_before_the_rows_were_seen_leaves_nothing_behind(monkeypatch):
    """By Ctrl-C, for example, while another run holds the log."""
    servers_only()
    Note.objects.create(name="a")
    own_node(LOCAL)
    held, release = threading.Event(), threading.Event()

    def hold_the_log() -> None:
        try:
            with transaction.atomic(using=LOCAL):
                Node.objects.using(LOCAL).select_for_update().get(pk=1)
                held.set()
                release.wait(60)
        finally:
            connections[LOCAL].close()

    other = threading.Thread(target=hold_the_log)
    other.start()
    assert held.wait(60)
    numberings: list[Any] = []

    def begin(self: Any) -> None:
        numberings.append(self)
        self.start()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sealing._Numbering, "begin", begin)
        with pytest.raises(KeyboardInterrupt):
            synchronize()
    release.set()
    for thread in (other, *numberings):
        thread.join(60)
        assert not thread.is_alive()
    assert batches() == [None]
    synchronize()
    assert batches() == [1]
    assert_same(Note)


def test_the_log_is_not_held_for_long_while_it_is_read(monkeypatch):
    """Another run from here would wait for it, and so does a callback that starts one."""
    servers_only()
    monkeypatch.setattr(sealing, "_PATIENCE", 0.01)
    Note.objects.create(name="a")
    seen: list[Any] = []

    def look(stage: str, done: int, total: int) -> None:
        if stage == "plan" and not seen:
            with sealing._sealing_transaction(LOCAL):
                seen.append(Node.objects.using(LOCAL).select_for_update().get(pk=1).last_batch)

    synchronize(callback=look)
    assert seen
    assert batches() == [1]
    assert_same(Note)


def test_without_a_connection_for_it_the_log_is_numbered_first(monkeypatch, caplog):
    servers_only()
    Note.objects.create(name="a")
    number = sealing._next_batch

    def only_here(alias: str) -> Batch:
        if in_thread():
            raise OperationalError("too many connections")
        return number(alias)

    monkeypatch.setattr(sealing, "_next_batch", only_here)
    with caplog.at_level("INFO", logger="synchro"):
        synchronize()
    assert "too many connections" in caplog.text
    assert batches() == [1]
    assert_same(Note)


def test_rows_that_commit_after_they_were_seen_wait_for_the_next_run(monkeypatch):
    Note.objects.create(name="seen")
    number = sealing._number

    def number_late(alias: str, rows: Any, batch: int) -> None:
        if in_thread():
            Note.objects.create(name="later")
        number(alias, rows, batch)

    monkeypatch.setattr(sealing, "_number", number_late)
    synchronize()
    if connections[LOCAL].vendor != "sqlite":
        assert batches() == [1, None]
        assert [note.name for note in on_remote(Note)] == ["seen"]
        monkeypatch.undo()
        synchronize()
    assert_same(Note)


def test_a_preview_by_an_assigned_checkpoint_shows_what_the_run_does():
    Note.objects.create(name="old")
    age(LOCAL, 3600)
    options.last_check = timezone.now() - datetime.timedelta(minutes=30)
    Note.objects.create(name="new")
    assert len(diff()) == 1
    synchronize()
    assert [note.name for note in on_remote(Note)] == ["new"]


def test_an_approved_plan_takes_the_rows_that_it_was_made_of():
    Note.objects.create(name="a")
    plan = diff()
    Note.objects.create(name="b")
    synchronize(plan=plan)
    assert [note.name for note in on_remote(Note)] == ["a"]
    assert batches() == [1, None]
    synchronize()
    assert_same(Note)
