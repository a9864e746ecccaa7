"""What REMOTE does while the run goes on: all is as if it were done one after the other."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.models.signals import post_save
from django.test import override_settings

from synchro import SyncFlags, ahead, synchronize, turns
from synchro.ahead import Ahead
from synchro.exceptions import SynchroError
from synchro.models import ADDITION, CHANGE, M2M_CHANGE, ChangeLog, Reference
from synchro.suspend import DisableSynchroLog, is_suspended
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, logged, occupy, on_remote, poison
from tests.testapp.models import Item, Label, Note, Paper, Seat

pytestmark = pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    """As if there were two, on any machine."""
    monkeypatch.setattr(ahead, "processors", lambda: 2)


@pytest.fixture(params=[1, 10**9], ids=["ahead", "plain"])
def way(request, monkeypatch):
    monkeypatch.setattr(ahead, "MANY", request.param)


@pytest.fixture
def few_at_a_time(way):
    with override_settings(SYNCHRO_BATCH_SIZE=3):
        yield


def make_papers(number: int) -> tuple[list[Paper], list[Label]]:
    # From here on automatic keys differ between the databases.
    occupy(Label, name="only there")
    occupy(Paper, title="only there")
    labels = [Label.objects.create(name=f"l{n}") for n in range(number)]
    papers = [Paper.objects.create(title=f"p{n}") for n in range(number)]
    for n, paper in enumerate(papers):
        paper.labels.set([labels[n], labels[n // 2]])
    return papers, labels


def links_there() -> set[tuple[str, str]]:
    rows = on_remote(Paper.labels.through).values_list("paper__title", "label__name")
    assert len(rows) == len(set(rows))
    return set(rows)


@pytest.mark.usefixtures("few_at_a_time")
@pytest.mark.parametrize("number", [2, 5])
def test_links_of_rows_that_are_being_made_arrive(number):
    make_papers(number)
    synchronize()
    assert links_there() == {
        pair for n in range(number) for pair in ((f"p{n}", f"l{n}"), (f"p{n}", f"l{n // 2}"))
    }


@pytest.mark.usefixtures("few_at_a_time")
def test_links_that_receivers_make_on_remote_do_not_stay():
    papers, labels = make_papers(7)
    synchronize()
    other = on_remote(Label).get(name="l2")
    for paper in papers:
        paper.title += " changed"
        paper.save()
        paper.labels.set(labels[-1:])

    def receive(instance: Paper, using: str, **kwargs: Any) -> None:
        if using == REMOTE:
            instance.labels.add(other)

    post_save.connect(receive, sender=Paper)
    try:
        synchronize()
    finally:
        post_save.disconnect(receive, sender=Paper)
    assert links_there() == {(f"p{n} changed", "l6") for n in range(7)}


@pytest.fixture
def a_turn():
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.004)
    yield sys.getswitchinterval()
    sys.setswitchinterval(before)


def run_ahead(work, connection):
    with Ahead(connection) as ahead_of_it:
        ahead_of_it.run(work, 10**6)


def test_threads_take_turns_more_often_while_a_database_has_work(a_turn):
    there = connections[REMOTE]
    found = []
    run_ahead(lambda: found.append(sys.getswitchinterval()), there)
    assert found[0] < a_turn
    assert sys.getswitchinterval() == a_turn
    with pytest.raises(ZeroDivisionError):
        run_ahead(lambda: 1 / 0, there)
    assert sys.getswitchinterval() == a_turn


def test_turns_stay_short_until_the_last_one_has_done(a_turn):
    turns.shorten()
    short = sys.getswitchinterval()
    turns.shorten()
    turns.restore()
    assert sys.getswitchinterval() == short < a_turn
    turns.restore()
    assert sys.getswitchinterval() == a_turn


def test_turns_that_somebody_else_sets_are_left_alone(a_turn):
    turns.shorten()
    sys.setswitchinterval(0.003)
    longer = sys.getswitchinterval()
    turns.restore()
    assert sys.getswitchinterval() == longer
    sys.setswitchinterval(0.0001)
    shorter = sys.getswitchinterval()
    turns.shorten()
    assert sys.getswitchinterval() == shorter
    turns.restore()
    assert sys.getswitchinterval() == shorter


@pytest.mark.usefixtures("few_at_a_time")
def test_portion_after_portion_arrives():
    papers, labels = make_papers(11)
    synchronize()
    assert links_there() == {
        pair for n in range(11) for pair in ((f"p{n}", f"l{n}"), (f"p{n}", f"l{n // 2}"))
    }
    for n, paper in enumerate(papers):
        paper.title = f"changed {n}"
        paper.save()
        paper.labels.set([labels[n], labels[-n]])
    Item.objects.bulk_create(Item(code=str(n)) for n in range(7))
    for item in Item.objects.all():
        item.name = "logged"
        item.save()
    synchronize()
    assert links_there() == {
        pair
        for n in range(11)
        for pair in ((f"changed {n}", f"l{n}"), (f"changed {n}", f"l{-n % 11}"))
    }
    assert on_remote(Item).filter(name="logged").count() == 7
    # Each change is in REMOTE's log, and each new row has its reference, once.
    assert Counter(action for _, action in logged(Paper, REMOTE)) == {
        ADDITION: 11,
        CHANGE: 11,
        M2M_CHANGE: 11 + 10,  # The first one keeps its link.
    }
    assert Reference.objects.using(REMOTE).filter(label="testapp.paper").count() == 11
    assert not synchronize().changed


@pytest.mark.usefixtures("few_at_a_time")
def test_a_refused_row_is_found_among_portions_that_are_under_way():
    seats = [Seat.objects.create(name=f"{n}", position=n) for n in range(12)]
    synchronize()
    for seat in seats:
        seat.name = f"new {seat.name}"
        seat.save()
    Seat.objects.create(name="new 12", position=12)
    with poison("new 4"), poison("new 11"):
        with pytest.raises(SynchroError, match="refused by the test"):
            synchronize()
        assert not on_remote(Seat).filter(name__startswith="new").exists()
        before = ChangeLog.objects.using(REMOTE).count()
        result = synchronize(flags=SyncFlags.CONTINUE_ON_FAILURE)
    assert len(result.held) == 2
    names = set(on_remote(Seat).values_list("name", flat=True))
    assert names == {f"new {n}" for n in range(13)} - {"new 4", "new 11"} | {"4", "11"}
    # What was refused is not in REMOTE's log.
    assert ChangeLog.objects.using(REMOTE).count() == before + 11


@pytest.mark.usefixtures("few_at_a_time")
def test_unique_values_pass_through_portions_that_are_under_way():
    seats = [Seat.objects.create(name=str(n), position=n) for n in range(14)]
    synchronize()
    for seat in seats:
        seat.position += 100
        seat.save()
    for seat in seats:
        seat.position = (seat.position - 99) % 14
        seat.save()
    synchronize()
    assert_same(Seat)
    assert len(logged(Seat, REMOTE)) == 2 * 14


@pytest.mark.usefixtures("few_at_a_time")
def test_refused_links_are_held_and_the_others_arrive():
    """REMOTE lacks a label that is linked: on MariaDB at once, elsewhere at the end."""
    papers, labels = make_papers(8)
    synchronize()
    for n, paper in enumerate(papers):
        paper.labels.set([labels[-n]])
    with DisableSynchroLog():
        on_remote(Paper.labels.through).filter(label__name="l3").delete()
        on_remote(Label).filter(name="l3").delete()
    result = synchronize(flags=SyncFlags.CONTINUE_ON_FAILURE)
    expected = {(f"p{n}", f"l{-n % 8}") for n in range(8)}
    if result.held:
        expected = {pair for pair in expected if pair[0] != "p5"}
        assert links_there() & expected == expected
    else:
        assert links_there() == expected


def test_a_portion_that_comes_to_little_does_not_mislead_the_next_one(monkeypatch):
    """Two of its three papers are refused: what is left of it is not written ahead."""
    monkeypatch.setattr(ahead, "MANY", 3)
    papers, labels = make_papers(7)
    synchronize()
    for paper in papers[:3]:
        paper.labels.clear()
    for _ in range(2):
        Paper.objects.create(title="poison").labels.add(labels[0])
    for paper in papers[3:]:
        paper.labels.clear()
    with override_settings(SYNCHRO_BATCH_SIZE=3), poison():
        result = synchronize(flags=SyncFlags.CONTINUE_ON_FAILURE)
    assert len(result.held) == 4
    assert links_there() == set()


@contextmanager
def refusing(table: str, error: Exception, times: int = 1) -> Iterator[None]:
    """REMOTE refuses the first so many statements that insert rows into a table."""
    left = [error] * times

    def refuse(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        text = str(sql)
        if left and table in text and text.startswith(("INSERT", "COPY")):
            raise left.pop()
        return execute(sql, params, many, context)

    with connections[REMOTE].execute_wrapper(refuse):
        yield
    assert not left


@pytest.mark.parametrize(("number", "times"), [(9, 2), (4, 1)])
def test_links_of_which_a_portion_is_refused_once_are_logged_once(monkeypatch, number, times):
    """Somebody may have added the same link between the reading and the writing of it."""
    monkeypatch.setattr(ahead, "MANY", 3)
    papers, labels = make_papers(number)
    synchronize()
    for n, paper in enumerate(papers):
        paper.labels.set([labels[(n + 2) % number]])
    before = len(logged(Paper, REMOTE))
    with (
        override_settings(SYNCHRO_BATCH_SIZE=3),
        refusing("testapp_paper_labels", DatabaseError("a rival was quicker"), times),
    ):
        result = synchronize(flags=SyncFlags.CONTINUE_ON_FAILURE)
    assert links_there() == {(f"p{n}", f"l{(n + 2) % number}") for n in range(number)}
    assert len(logged(Paper, REMOTE)) == before + number
    assert result.counts["testapp.paper", "link"] == number
    assert not result.held


@pytest.mark.usefixtures("few_at_a_time")
@pytest.mark.parametrize("table", ["synchro_changelog", "synchro_reference"])
def test_what_fails_in_the_journal_ends_the_run(table):
    """However far the run is, and whatever it does at that moment."""
    occupy(Note, name="only there")
    old = [Note.objects.create(name=str(n)) for n in range(2)]
    synchronize()
    for n in range(9):
        Note.objects.create(name=f"new {n}")
    for note in old:
        note.name = "changed"
        note.save()
    with (
        refusing(table, DatabaseError("the table is full")),
        pytest.raises(SynchroError, match="the table is full"),
    ):
        synchronize()
    assert on_remote(Note).count() == 3
    synchronize()
    assert on_remote(Note).count() == 12


def test_a_connection_that_is_lost_behind_a_refused_portion_ends_the_run(monkeypatch):
    """The lock of the run is gone with it: nothing may be written by another connection."""
    monkeypatch.setattr(ahead, "MANY", 1)
    connection = connections[REMOTE]
    if connection.vendor == "sqlite":
        pytest.skip("there is no connection to be lost")
    for n in range(12):
        Item.objects.create(code=f"n{n}")
    writes: list[Any] = []

    def disturb(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if "testapp_item" in str(sql) and str(sql).startswith(("INSERT", "COPY")):
            writes.append(connection.connection)
            if len(writes) == 1:
                raise IntegrityError("refused")
            if len(writes) == 2:
                end_session(connection)
        return execute(sql, params, many, context)

    settle = Ahead.settle

    def settle_late(self: Ahead, upto: int | None = None) -> None:
        # By then REMOTE has come to the second portion, and is at its end.
        if upto:
            wait([one.result for one in self._begun])
        settle(self, upto)

    monkeypatch.setattr(Ahead, "settle", settle_late)
    with (
        override_settings(SYNCHRO_BATCH_SIZE=3, SYNCHRO_RETRIES=0),
        connections[REMOTE].execute_wrapper(disturb),
        pytest.raises(SynchroError, match="Nothing was changed there"),
    ):
        synchronize(flags=SyncFlags.CONTINUE_ON_FAILURE)
    assert len(set(map(id, writes))) == 1
    connections[REMOTE].close()
    assert not on_remote(Item).exists()
    synchronize()
    assert_same(Item)


def end_session(connection: Any) -> None:
    """Somebody ends a session of a server."""
    name = "pg_backend_pid" if connection.vendor == "postgresql" else "CONNECTION_ID"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {name}()")
        session = cursor.fetchone()[0]
    kill = "SELECT pg_terminate_backend(%s)" if connection.vendor == "postgresql" else "KILL %s"
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute(kill, [session])
    finally:
        other.close()


def test_what_fails_in_the_log_is_not_blamed_on_a_row(way):
    notes = [Note.objects.create(name=str(n)) for n in range(5)]
    synchronize()
    for note in notes:
        note.name = f"new {note.name}"
        note.save()

    def refuse(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if "synchro_changelog" in str(sql) and ("INSERT" in str(sql) or "COPY" in str(sql)):
            raise DatabaseError("the log is full")
        return execute(sql, params, many, context)

    with (
        connections[REMOTE].execute_wrapper(refuse),
        pytest.raises(SynchroError, match="the log is full") as caught,
    ):
        synchronize(flags=SyncFlags.CONTINUE_ON_FAILURE)
    assert "testapp.Note" not in str(caught.value)
    assert not on_remote(Note).filter(name__startswith="new").exists()
    synchronize()
    assert_same(Note)


def test_who_uses_the_connection_waits_for_what_was_given_ahead(monkeypatch):
    monkeypatch.setattr(ahead, "MANY", 1)
    connection = connections[REMOTE]
    slow = {"postgresql": "SELECT pg_sleep(0.2)", "mysql": "SELECT SLEEP(0.2)"}
    before = list(connection.execute_wrappers)
    threads: list[tuple[int, bool]] = []
    told: list[Any] = []

    def work() -> str:
        threads.append((threading.get_ident(), is_suspended()))
        with connection.cursor() as cursor:
            cursor.execute(slow.get(connection.vendor, "SELECT 1"))
        on_remote(Item).bulk_create([Item(code="a")])
        return "made"

    def look(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        # Who looks at statements may speak to the database past them.
        if threading.current_thread() is threading.main_thread():
            seen.append(list(told))
        return execute(sql, params, many, context)

    seen: list[Any] = []
    with DisableSynchroLog(), transaction.atomic(using=REMOTE), Ahead(connection) as given:
        with connection.execute_wrapper(look):
            given.run(work, 1, done=told.append)
            assert on_remote(Item).count() == 1
        assert told == ["made"]
    assert seen == [["made"]]
    assert threads[0][0] != threading.get_ident()
    assert threads[0][1]
    assert connection.execute_wrappers == before
    assert not connection.allow_thread_sharing


@pytest.mark.parametrize(
    ("processors", "threads"), [(1, 3), (2, 0)], ids=["one processor", "SQLite without threads"]
)
def test_sqlite_is_beside_python_only_where_it_can_be(monkeypatch, processors, threads):
    """It works in this process: servers have processors of their own, or another machine."""
    monkeypatch.setattr(ahead, "MANY", 1)
    monkeypatch.setattr(ahead, "processors", lambda: processors)
    connection: Any = connections[REMOTE]
    monkeypatch.setattr(connection.Database, "threadsafety", threads)
    at_work: list[int] = []
    run_ahead(lambda: at_work.append(threading.get_ident()), connection)
    is_here = at_work == [threading.get_ident()]
    assert is_here == (connection.vendor == "sqlite")


@pytest.mark.parametrize("table", ["synchro_changelog", "synchro_reference"])
@pytest.mark.parametrize("number", [2, 5, 8])
def test_nothing_is_committed_behind_what_has_undone_the_transaction(monkeypatch, table, number):
    """On SQLite some errors do: a full disk, for example."""
    monkeypatch.setattr(ahead, "MANY", 1)
    connection = connections[REMOTE]
    if connection.vendor != "sqlite":
        pytest.skip("servers refuse what comes after it, or never commit it")
    occupy(Note, name="only there")
    old = [Note.objects.create(name=f"old {n}") for n in range(2)]
    synchronize()
    for note in old:
        note.name = "changed"
        note.save()
    for n in range(12):
        Note.objects.create(name=f"new {n}")
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TRIGGER full BEFORE INSERT ON {table} WHEN NEW.label = 'testapp.note' AND "
            f"(SELECT COUNT(*) FROM testapp_note WHERE name LIKE 'new %') > {number} "
            "BEGIN SELECT RAISE(ROLLBACK, 'the disk is full'); END"
        )
    before = [list(model.objects.using(REMOTE).values()) for model in (Note, ChangeLog, Reference)]
    try:
        with (
            override_settings(SYNCHRO_BATCH_SIZE=2),
            pytest.raises(SynchroError, match="the disk is full"),
        ):
            synchronize()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER full")
    after = [list(model.objects.using(REMOTE).values()) for model in (Note, ChangeLog, Reference)]
    assert after == before
    synchronize()
    assert on_remote(Note).filter(name__startswith="new").count() == 12


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_process_that_begins_no_thread_any_more_works_in_its_own(monkeypatch, left):
    """Because it is about to end, or has too many."""
    monkeypatch.setattr(ahead, "MANY", 1)
    submit = ThreadPoolExecutor.submit
    submitted: list[Any] = []

    def refuse(self: Any, *arguments: Any) -> Any:
        if len(submitted) == left:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        submitted.append(arguments)
        return submit(self, *arguments)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", refuse)
    done: list[int] = []
    with Ahead(connections[REMOTE]) as given:
        for number in range(4):
            given.run(lambda number=number: number, 1, done=done.append)
        assert done == [0, 1, 2, 3]
    assert not connections[REMOTE].allow_thread_sharing
    papers, _labels = make_papers(5)
    synchronize()
    assert on_remote(Paper).filter(title__startswith="p").count() == len(papers)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="not on this system")
def test_processors_that_this_process_may_not_use_do_not_count(monkeypatch):
    monkeypatch.undo()
    may_use = os.sched_getaffinity(0)
    assert ahead.processors() == len(may_use)
    os.sched_setaffinity(0, {min(may_use)})
    try:
        assert ahead.processors() == 1
    finally:
        os.sched_setaffinity(0, may_use)


def test_whoever_takes_an_error_for_his_own_cannot_go_on(monkeypatch):
    monkeypatch.setattr(ahead, "MANY", 1)

    def refuse() -> None:
        raise DatabaseError("the log is full")

    with (
        pytest.raises(DatabaseError, match="the log is full"),
        transaction.atomic(using=REMOTE),
        Ahead(connections[REMOTE]) as given,
    ):
        given.run(refuse, 1)
        for _ in range(2):
            with suppress(DatabaseError):
                on_remote(Item).create(code="a")
    assert not on_remote(Item).exists()


def test_nobody_is_at_the_connection_when_an_error_goes_its_way(monkeypatch):
    """It closes cursors, by which drivers speak to the server."""
    monkeypatch.setattr(ahead, "MANY", 1)
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def refuse() -> None:
        raise DatabaseError("the log is full")

    def go_on() -> None:
        begun.set()
        release.wait(60)
        ended.set()

    with (
        pytest.raises(DatabaseError, match="the log is full"),
        Ahead(connections[REMOTE]) as given,
    ):
        given.run(refuse, 1)
        given.run(go_on, 1)
        given.run(lambda: pytest.fail("begun after the error"), 1)
        assert begun.wait(60)
        threading.Timer(0.1, release.set).start()
        try:
            given.settle()
        finally:
            assert ended.is_set()


def test_nobody_is_at_the_connection_when_a_run_is_interrupted(monkeypatch):
    monkeypatch.setattr(ahead, "MANY", 1)
    settling, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        # A moment later the other thread waits for it.
        settling.wait(60)
        time.sleep(0.1)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        threading.Timer(0.1, release.set).start()
        release.wait(60)
        ended.set()

    with pytest.raises(KeyboardInterrupt), Ahead(connections[REMOTE]) as given:
        given.run(work, 1)
        try:
            settling.set()
            given.settle()
        finally:
            assert ended.is_set()


def test_who_interrupts_a_run_need_not_wait_for_a_lock(monkeypatch):
    monkeypatch.setattr(ahead, "MANY", 1)
    connection = connections[REMOTE]
    if connection.vendor != "postgresql":
        pytest.skip("only psycopg can have a statement given up")
    on_remote(Item).create(code="a")
    other, watcher = connection.copy(), connection.copy()
    begun = threading.Event()

    def wait_for_the_lock() -> None:
        begun.set()
        on_remote(Item).update(name="waited")

    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT * FROM testapp_item FOR UPDATE")
        with (
            pytest.raises(KeyboardInterrupt),
            transaction.atomic(using=REMOTE),
            Ahead(connection) as given,
        ):
            given.run(wait_for_the_lock, 1)
            assert begun.wait(60)
            while not is_waiting(watcher):
                pass
            raise KeyboardInterrupt
    finally:
        other.close()
        watcher.close()
    assert on_remote(Item).get().name == ""


def is_waiting(connection: Any) -> bool:
    """Whether some session of PostgreSQL waits for a lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database()"
        )
        return cursor.fetchone() is not None


def test_work_is_done_in_turn_and_some_of_it_can_be_left(monkeypatch):
    monkeypatch.setattr(ahead, "MANY", 1)
    done: list[int] = []
    with Ahead(connections[REMOTE]) as given:
        numbers = [
            given.run(lambda number=number: number, 1, done=done.append) for number in range(4)
        ]
        given.settle(numbers[2])
        assert done[:3] == [0, 1, 2]
        assert len(done) == 3
        given.settle()
        assert done == [0, 1, 2, 3]
        given.run(lambda: 1 // 0, 1, failed=lambda error: done.append(type(error)))
        given.run(lambda: 4, 1, done=done.append)
    assert done[4:] == [ZeroDivisionError, 4]
    with pytest.raises(ZeroDivisionError), Ahead(connections[REMOTE]) as given:
        given.run(lambda: 1 // 0, 1)


def test_remote_is_asked_for_content_types_before_it_is_busy(way):
    """Whoever asks it later waits for what it was given."""
    make_papers(5)
    ContentType.objects.clear_cache()
    asked = []

    def watch(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        asked.append(str(sql))
        return execute(sql, params, many, context)

    with connections[REMOTE].execute_wrapper(watch):
        synchronize()
    about_types = [at for at, sql in enumerate(asked) if '"django_content_type"' in quoted(sql)]
    about_papers = [at for at, sql in enumerate(asked) if is_write(sql)]
    assert about_types
    assert about_papers
    assert max(about_types) < min(about_papers)


def quoted(sql: str) -> str:
    return sql.replace("`", '"')


def is_write(sql: str) -> bool:
    return "testapp_" in sql and sql.startswith(("INSERT", "UPDATE", "COPY", "CREATE"))
