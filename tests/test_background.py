"""Runs in a thread of the server: their state in the database, cancelling, dying, the next run."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import pre_save
from django.test import Client
from django.utils import timezone

from synchro import DisableSynchroLog, synchronize
from synchro.hooks import pre_synchronize
from synchro.launch import _portions, start_run
from synchro.liveness import going_on, outcome
from synchro.lock import is_taken
from synchro.models import CANCELLED, DIED, DONE, FAILED, RUNNING, Preview, PreviewEntry, SyncRun
from synchro.pairs import sides
from synchro.run import Run
from tests.compare import assert_same
from tests.faults.processes import fork
from tests.runs import REMOTE, on_remote
from tests.testapp.models import Everything, Note

pytestmark = pytest.mark.django_db(transaction=True)

_PATIENCE = 60


def wait_for(what: Callable[[], object]) -> None:
    """Wait until something is so; a minute is more than any machine needs."""
    end = timezone.now() + timezone.timedelta(seconds=_PATIENCE)
    pause = threading.Event()
    while not what():
        assert timezone.now() < end, "it does not become so"
        pause.wait(0.05)


def threads() -> list[threading.Thread]:
    return [
        thread for thread in threading.enumerate() if thread.name.startswith("synchro SyncRun")
    ]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    for thread in threads():
        thread.join(_PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def boss() -> Client:
    client = Client()
    with DisableSynchroLog():
        client.force_login(User.objects.create(username="boss", is_staff=True, is_superuser=True))
    return client


@contextmanager
def held_up(
    signal_: object = pre_synchronize, last: str = "", **how: object
) -> Iterator[threading.Event]:
    """Runs stop at a signal (about the note ``last``) until the event is set."""
    go_on = threading.Event()

    def wait(**kwargs: object) -> None:
        if kwargs.get("using", REMOTE) != REMOTE:
            return
        if not last or kwargs["instance"].name == last:
            assert go_on.wait(_PATIENCE)

    signal_.connect(wait, **how)
    try:
        yield go_on
    finally:
        go_on.set()
        for thread in threads():
            thread.join(_PATIENCE)
        signal_.disconnect(wait, **how)


def only_run() -> SyncRun:
    return SyncRun.objects.get()


def test_the_answer_comes_before_the_run_is_over(boss):
    Note.objects.create(name="a")
    with held_up() as go_on:
        response = boss.post("/synchro/", {"synchro": "1"})
        run = only_run()
        assert response["Location"] == f"/synchro/run/{run.pk}/"
        page = boss.get(response["Location"]).content.decode()
        assert "data-synchro-state" in page
        assert '<noscript><meta http-equiv="refresh"' in page
        state = boss.get(f"/synchro/run/{run.pk}/state/").json()
        assert state["going_on"] is True
        assert not on_remote(Note).exists()
        go_on.set()
        wait_for(lambda: only_run().outcome == DONE)
    state = boss.get(f"/synchro/run/{run.pk}/state/").json()
    assert (state["going_on"], state["outcome"]) == (False, "done")
    assert "performed successfully" in boss.get(f"/synchro/run/{run.pk}/").content.decode()
    assert_same(Note)


def test_somebody_else_sees_the_same_run(boss):
    Note.objects.create(name="a")
    other = Client()
    with DisableSynchroLog():
        other.force_login(User.objects.create(username="other", is_staff=True))
    with held_up():
        boss.post("/synchro/", {"synchro": "1"})
        run = only_run()
        assert "by boss has been going on" in other.get("/synchro/").content.decode()
        assert other.get(f"/synchro/run/{run.pk}/state/").json()["going_on"] is True
        response = other.post("/synchro/", {"synchro": "1"})
        assert response["Location"] == f"/synchro/run/{run.pk}/"
        assert SyncRun.objects.count() == 1


def test_the_row_says_how_far_the_run_is(boss, settings):
    settings.SYNCHRO_BATCH_SIZE = 1
    for name in "abc":
        Note.objects.create(name=name)
    # A receiver makes the run go through save(), object by object.
    with held_up(pre_save, sender=Note, last="c") as go_on:
        start_run("boss")
        wait_for(lambda: only_run().done == 2)
        run = only_run()
        assert (run.stage, run.model, run.total) == ("sync", "testapp.note", 3)
        state = boss.get(f"/synchro/run/{run.pk}/state/").json()
        assert (state["stage"], state["percent"]) == ("Writing: Notes", 66)
        go_on.set()
        wait_for(lambda: only_run().outcome != RUNNING)
    assert only_run().outcome == DONE, only_run().error


def test_a_run_can_be_cancelled(boss, settings):
    settings.SYNCHRO_BATCH_SIZE = 1
    for name in "abc":
        Note.objects.create(name=name)
    with held_up(pre_save, sender=Note) as go_on:
        boss.post("/synchro/", {"synchro": "1"})
        run = only_run()
        wait_for(lambda: only_run().beat != run.beat)
        boss.post(f"/synchro/run/{run.pk}/cancel/")
        assert only_run().cancelled_by == "boss"
        assert boss.get(f"/synchro/run/{run.pk}/state/").json()["cancelling"] is True
        # Whoever writes the next two signs of life has read the wish.
        for _beat in range(2):
            before = only_run().beat
            wait_for(lambda before=before: only_run().beat != before)
        go_on.set()
        wait_for(lambda: only_run().outcome != RUNNING)
    assert only_run().outcome == CANCELLED
    page = boss.get(f"/synchro/run/{run.pk}/").content.decode()
    assert "Cancelled by boss" in page
    assert not on_remote(Note).exists()
    assert synchronize().total == 3
    assert_same(Note)


def test_what_is_over_cannot_be_cancelled(boss):
    run = SyncRun.objects.create(remote=REMOTE, outcome=DONE)
    response = boss.post(f"/synchro/run/{run.pk}/cancel/", follow=True)
    assert "over already" in response.content.decode()
    run.refresh_from_db()
    assert run.cancelled_by == ""


def test_a_mistake_of_a_receiver_ends_the_run_and_is_told(boss, caplog):
    Note.objects.create(name="a")

    def stumble(**kwargs: object) -> None:
        raise RuntimeError("stumbled")

    pre_synchronize.connect(stumble)
    try:
        boss.post("/synchro/", {"synchro": "1"})
        wait_for(lambda: only_run().outcome != RUNNING)
    finally:
        pre_synchronize.disconnect(stumble)
    assert only_run().outcome == FAILED
    page = boss.get(f"/synchro/run/{only_run().pk}/").content.decode()
    assert "stumbled" in page
    assert "stumbled" in caplog.text
    assert not on_remote(Note).exists()


def test_a_run_waits_for_one_that_another_process_does(boss):
    """The row in the table says nothing of a run that somebody's own code has started."""
    Note.objects.create(name="a")
    here, there = sides(REMOTE)
    assert not is_taken(here, there)
    with held_up():
        start_run("boss")
        wait_for(lambda: is_taken(*sides(REMOTE)))
        assert going_on(REMOTE) is not None
        old = timezone.now() - timezone.timedelta(hours=1)
        run = only_run()
        SyncRun.objects.update(node=there.uid, started=old, beat=old)
        run.refresh_from_db()
        # No sign of life for an hour; but the lock of the pair is held.
        assert outcome(run) == RUNNING
    assert not is_taken(*sides(REMOTE))


def test_a_server_that_is_killed_leaves_a_run_that_has_died(boss, settings):
    settings.SYNCHRO_BATCH_SIZE = 1
    for name in "abc":
        Note.objects.create(name=name)
    reader, writer = os.pipe()

    def work() -> None:
        def stop(sender: object, instance: Note, using: str, **kwargs: object) -> None:
            if using == REMOTE and instance.name == "c":
                os.write(writer, b"middle")
                threading.Event().wait(_PATIENCE)

        pre_save.connect(stop, sender=Note)
        start_run("boss")
        for thread in threads():
            thread.join()

    child = fork(work)
    assert os.read(reader, 6) == b"middle"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    run = only_run()
    assert run.outcome == RUNNING
    wait_for(lambda: not is_taken(*sides(REMOTE)))
    old = timezone.now() - timezone.timedelta(seconds=30)
    SyncRun.objects.update(beat=old)
    page = boss.get(f"/synchro/run/{run.pk}/").content.decode()
    assert "Died" in page
    assert not on_remote(Note).exists()
    boss.post("/synchro/", {"synchro": "1"})
    wait_for(lambda: SyncRun.objects.exclude(pk=run.pk).get().outcome == DONE)
    assert_same(Note)
    run.refresh_from_db()
    assert run.outcome == DIED


def test_a_preview_is_made_in_the_background_too(boss):
    Note.objects.create(name="a")
    response = boss.post("/synchro/preview/")
    made = Preview.objects.get()
    assert response["Location"] == f"/synchro/preview/{made.pk}/"
    wait_for(lambda: Preview.objects.get().outcome == DONE)
    assert "to be created" in boss.get(response["Location"]).content.decode()
    for thread in threading.enumerate():
        if thread.name.startswith("synchro Preview"):
            thread.join(_PATIENCE)


def test_the_command_tells_how_far_it_is(boss, settings):
    settings.SYNCHRO_BATCH_SIZE = 1
    for name in "ab":
        Note.objects.create(name=name)

    def work() -> None:
        try:
            call_command("synchronize", verbosity=0)
        finally:
            connections.close_all()

    with held_up(pre_save, sender=Note, last="b") as go_on:
        command = threading.Thread(target=work)
        command.start()
        wait_for(lambda: SyncRun.objects.filter(done=1, beat__isnull=False).exists())
        page = boss.get("/synchro/").content.decode()
        assert "has been going on since" in page
        assert "1 / 2" in page
        go_on.set()
        command.join(_PATIENCE)
    assert only_run().outcome == DONE


def test_a_run_that_came_through_after_all_has_not_failed(boss, monkeypatch):
    """REMOTE had committed when LOCAL could not note it: the next attempt finds nothing to do."""
    Note.objects.create(name="a")
    move, failures = Run._move_checkpoint, [sqlite3.OperationalError("database is locked")]
    failures[0].sqlite_errorcode = sqlite3.SQLITE_BUSY

    def fail_once(run: Run) -> None:
        if failures:
            raise OperationalError("database is locked") from failures.pop()
        move(run)

    monkeypatch.setattr(Run, "_move_checkpoint", fail_once)
    monkeypatch.setattr("synchro.retries.pause", lambda seconds: None)
    boss.post("/synchro/", {"synchro": "1"})
    for thread in threads():
        thread.join(_PATIENCE)
    run = only_run()
    assert (run.outcome, run.error, run.objects_written) == (DONE, "", 1)
    assert_same(Note)


def test_a_preview_of_long_values_is_written_in_portions(boss):
    """No server takes a statement of any length: MariaDB's limit is 16 MB."""
    for number in range(5):
        Everything.objects.create(code=str(number), text="ü" * 600_000)
    boss.post("/synchro/preview/")
    wait_for(lambda: Preview.objects.get().outcome != RUNNING)
    for thread in threading.enumerate():
        if thread.name.startswith("synchro Preview"):
            thread.join(_PATIENCE)
    made = Preview.objects.get()
    assert (made.outcome, made.error) == (DONE, "")
    assert made.entries.count() == 5
    page = boss.get(f"/synchro/preview/{made.pk}/").content
    assert len(page) < 100_000


@pytest.mark.parametrize(("lengths", "portions"), [([1] * 1001, 3), ([600_000] * 5, 3)])
def test_portions_are_of_few_rows_if_these_are_long(lengths, portions):
    rows = [PreviewEntry(name="", entry="x" * length) for length in lengths]
    found = list(_portions(iter(rows)))
    assert len(found) == portions
    assert [row for portion in found for row in portion] == rows


def test_no_connection_stays_open_after_a_job(boss):
    closed: list[tuple[str, str]] = []
    close = BaseDatabaseWrapper.close

    def note(self: BaseDatabaseWrapper) -> None:
        if self.connection is not None:
            closed.append((threading.current_thread().name, self.alias))
        close(self)

    Note.objects.create(name="a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "close", note)
        run = start_run("boss")
        for thread in threads():
            thread.join(_PATIENCE)
    own = {alias for name, alias in closed if name == f"synchro SyncRun {run.pk}"}
    assert own == {"default", REMOTE}
