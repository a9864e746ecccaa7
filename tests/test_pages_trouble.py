"""The pages in the admin with odd input, odd projects and databases that do not answer."""

from __future__ import annotations

import datetime

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from synchro import synchronize
from synchro.hooks import pre_synchronize
from synchro.models import DIED, RUNNING, ChangeLog, HeldChange, Preview, SyncRun
from synchro.nodes import own_node
from synchro.tracking import Tracker
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, on_remote
from tests.test_pages import ADDRESSES, held_seat, logged_in, preview, text_of, user, words
from tests.testapp.models import Everything, Note, Word

BIG = "9" * 30
HOUR = datetime.timedelta(hours=1)


@pytest.fixture(autouse=True)
def in_the_request(settings):
    settings.SYNCHRO_BACKGROUND = False


@pytest.fixture
def boss():
    return logged_in(user(is_superuser=True))


def everything(boss) -> list[str]:
    """The addresses of all pages, with something to show on each."""
    _seat, held = held_seat()
    Note.objects.create(name="a")
    run = SyncRun.objects.using(LOCAL).first()
    made = preview(boss)
    return [
        *ADDRESSES,
        f"/synchro/run/{run.pk}/",
        f"/synchro/run/{run.pk}/state/",
        f"/synchro/held/{held.pk}/",
        f"/synchro/preview/{made.pk}/",
        f"/synchro/preview/{made.pk}/state/",
    ]


def silent_run(**values) -> SyncRun:
    """A run that gave no sign of life for an hour."""
    old = timezone.now() - HOUR
    values = {"remote": REMOTE, "node": "0" * 32, "started": old, "beat": old, **values}
    return SyncRun.objects.using(LOCAL).create(outcome=RUNNING, **values)


# -- projects


def test_the_pages_work_without_time_zones(boss, settings):
    settings.USE_TZ = False
    addresses = everything(boss)
    run = silent_run()
    Preview.objects.update(started=timezone.now() - 48 * HOUR)
    for address in (*addresses, f"/synchro/run/{run.pk}/"):
        assert boss.get(address).status_code in (200, 302), address
    assert "Died" in words(boss.get(f"/synchro/run/{run.pk}/"))
    made = preview(boss)
    assert Preview.objects.count() == 1
    boss.post(f"/synchro/preview/{made.pk}/", {"all": "1"})
    assert_same(Note)


class Elsewhere:
    """Sends synchro's models to REMOTE."""

    def db_for_read(self, model, **hints):
        return REMOTE if model._meta.app_label == "synchro" else None

    db_for_write = db_for_read


def test_routers_do_not_matter(boss, settings):
    settings.DATABASE_ROUTERS = ["tests.test_pages_trouble.Elsewhere"]
    held_seat()
    Note.objects.create(name="a")
    boss.post("/synchro/preview/")
    made = Preview.objects.using(LOCAL).get()
    assert (made.outcome, made.error) == ("done", "")
    page = boss.get(f"/synchro/preview/{made.pk}/")
    assert "to be created" in words(page)
    boss.post(f"/synchro/preview/{made.pk}/", {"all": "1"})
    assert_same(Note)
    assert not Preview.objects.using(REMOTE).exists()


def test_local_need_not_be_the_default_database(boss, settings):
    settings.SYNCHRO_LOCAL, settings.SYNCHRO_REMOTE = REMOTE, LOCAL
    Note.objects.using(REMOTE).create(name="a")
    for address in ADDRESSES:
        assert boss.get(address).status_code == 200, address
    assert "There is nothing to adopt" in words(boss.get("/synchro/adopt/"))
    boss.post("/synchro/preview/")
    made = Preview.objects.using(REMOTE).get()
    boss.post(f"/synchro/preview/{made.pk}/", {"all": "1"})
    assert Note.objects.using(LOCAL).filter(name="a").exists()
    run = SyncRun.objects.using(REMOTE).get()
    assert run.outcome == "done"
    assert "performed successfully" in words(boss.get(f"/synchro/run/{run.pk}/"))
    assert LogEntry.objects.count() == 2


def test_a_name_that_cannot_be_told_does_no_harm(boss, monkeypatch):
    note = Note.objects.create(name="a")
    made = preview(boss)
    _seat, held = held_seat()
    HeldChange.objects.using(REMOTE).update(label="testapp.note", object_id=str(note.pk))

    def fail(row: Note) -> str:
        raise RuntimeError("no name")

    monkeypatch.setattr(Note, "__str__", fail)
    assert str(note.pk) in words(boss.get(f"/synchro/preview/{made.pk}/"))
    assert boss.get(f"/synchro/held/{held.pk}/").status_code == 200


def test_a_name_of_any_length_is_shortened(boss, monkeypatch):
    Note.objects.create(name="a")
    monkeypatch.setattr(Note, "__str__", lambda row: "long " * 10_000)
    made = preview(boss)
    assert len(text_of(boss.get(f"/synchro/preview/{made.pk}/"))) < 30_000


def test_the_sides_of_a_held_change_differ_also_where_that_is_not_shown(boss):
    long = "x" * 300
    phrase = Everything.objects.create(code="a", text=f"{long} here")
    synchronize()
    on_remote(Everything).update(text=f"{long} there")
    _seat, held = held_seat()
    HeldChange.objects.using(REMOTE).update(label="testapp.everything", object_id=phrase.pk)
    page = words(boss.get(f"/synchro/held/{held.pk}/"))
    assert page.count("different") == 1
    assert "xxx…" in page


def test_odd_keys_are_shown_and_linked(boss):
    odd = Word.objects.create(text="a/b?c#d&e=\"<'é\n …")
    made = preview(boss)
    assert "&lt;&#x27;é" in text_of(boss.get(f"/synchro/preview/{made.pk}/"))
    boss.post(f"/synchro/preview/{made.pk}/", {"all": "1"})
    run = SyncRun.objects.first()
    query = {"model": "testapp.word", "action": "create"}
    assert "&lt;&#x27;é" in text_of(boss.get(f"/synchro/run/{run.pk}/", query))
    for name in ("changelog", "reference", "heldchange"):
        assert boss.get(f"/admin/synchro/{name}/", {"q": odd.pk}).status_code == 200


# -- input


@pytest.mark.parametrize("odd", ["%00", BIG, "-1", "%C2%B2", "'", "%", "x" * 500])
def test_odd_addresses_are_answered(boss, odd):
    held_seat()
    made, run = preview(boss), SyncRun.objects.first()
    for address in (
        f"/synchro/preview/{made.pk}/?q={odd}",
        f"/synchro/preview/{made.pk}/?model={odd}",
        f"/synchro/preview/{made.pk}/?action={odd}&p={odd}",
        f"/synchro/run/{run.pk}/?model={odd}&action={odd}&p={odd}",
        f"/admin/synchro/changelog/?model={odd}",
        f"/admin/synchro/changelog/?batch={odd}",
        f"/admin/synchro/changelog/?q={odd}",
        f"/admin/synchro/reference/?model={odd}",
        f"/admin/synchro/reference/?kept={odd}",
        f"/admin/synchro/heldchange/?model={odd}",
    ):
        assert boss.get(address).status_code in (200, 302, 400), address
    for address in ("run", "held", "preview"):
        assert boss.get(f"/synchro/{address}/{BIG}/").status_code == 404


@pytest.mark.parametrize(
    "data",
    [
        {"on_page": [BIG, "x", "-1"], "ticked": [BIG]},
        {"choose": "\0"},
        {"choose": "nothing"},
        {"to": "model=\0&p=\0"},
        {"choose": "shown", "here": "q=%00&model=%00&action=%00"},
        {"search": "1", "q": "\0"},
    ],
)
def test_odd_forms_are_answered(boss, data):
    Note.objects.create(name="a")
    made = preview(boss)
    response = boss.post(f"/synchro/preview/{made.pk}/", data)
    assert response.status_code == 302
    assert boss.get(response["Location"]).status_code == 200


# -- databases


def test_pages_are_shown_while_remote_does_not_answer(boss, monkeypatch):
    addresses = everything(boss)
    run = silent_run()

    def refuse(*args: object, **kwargs: object) -> None:
        raise OperationalError("nobody is there")

    with monkeypatch.context() as patch:
        for name in ("cursor", "chunked_cursor"):
            patch.setattr(connections[REMOTE], name, refuse)
        for address in (*addresses, f"/synchro/run/{run.pk}/"):
            assert boss.get(address).status_code in (200, 302), address
        assert "nobody is there" in words(boss.get("/synchro/"))
        for address, data in (
            ("/synchro/", {"synchro": "1"}),
            ("/synchro/preview/", {}),
            *((one, {"all": "1", "retry": "1"}) for one in addresses if "state" not in one),
        ):
            assert boss.post(address, data).status_code in (200, 302, 405), address


@pytest.mark.parametrize("remote", ["atlantis", REMOTE])
def test_a_run_of_which_nobody_can_tell_any_more_has_died(boss, monkeypatch, remote):
    """REMOTE has another alias now, or does not answer."""
    run = silent_run(remote=remote)
    with monkeypatch.context() as patch:
        if remote == REMOTE:
            patch.setattr("synchro.liveness.is_taken", _lost)
        for address in ("/admin/synchro/syncrun/", f"/synchro/run/{run.pk}/", "/synchro/"):
            assert boss.get(address).status_code == 200, address
        assert boss.get(f"/synchro/run/{run.pk}/state/").json()["outcome"] == DIED


def _lost(*args: object) -> bool:
    raise OperationalError("the connection was lost")


def test_the_ends_of_a_long_list_are_found_by_its_key(boss):
    """SQLite reads the whole table for MIN and MAX in one statement."""
    Note.objects.create(name="a")
    with CaptureQueriesContext(connections[LOCAL]) as queries:
        boss.get("/admin/synchro/changelog/")
    about = [one["sql"] for one in queries.captured_queries if '"synchro_changelog"' in one["sql"]]
    assert not any("MIN(" in sql and "MAX(" in sql for sql in about)
    assert ChangeLog.objects.exists()


# -- cancelling


def test_what_is_committed_cannot_be_cancelled_any_more():
    Note.objects.create(name="a")
    run = SyncRun.objects.create(remote=REMOTE)
    with Tracker(run) as tracker:

        def callback(stage: str, done: int, total: int) -> None:
            if stage == "complete":
                tracker._cancelled_by = "anna"

        assert synchronize(callback=callback, tracker=tracker).total == 1
    run.refresh_from_db()
    assert run.outcome == "done"
    assert_same(Note)


def test_a_comparison_of_all_rows_can_be_cancelled(settings):
    settings.SYNCHRO_MODELS = (("testapp", "Note"),)
    Note.objects.create(name="a")
    run = SyncRun.objects.create(remote=REMOTE)
    told = []
    with Tracker(run) as tracker:
        tell = tracker.tell

        def listen(stage: str, model: str, done: int, total: int) -> None:
            told.append((stage, model))
            tell(stage, model, done, total)

        tracker.tell = listen  # type: ignore[method-assign]
        synchronize(full=True, tracker=tracker)
    assert told.index(("plan", "testapp.note")) < told.index(("sync", "testapp.note"))


def test_a_reset_waits_until_no_run_is_going_on(boss):
    Note.objects.create(name="a")
    told = []

    def reset(**kwargs: object) -> None:
        told.append(words(boss.post("/synchro/reset/", {"reset": "1"}, follow=True)))

    pre_synchronize.connect(reset)
    try:
        SyncRun.objects.create(remote=REMOTE, node=own_node(REMOTE).uid, beat=timezone.now())
        synchronize()
    finally:
        pre_synchronize.disconnect(reset)
    assert "going on" in told[0]
    assert ChangeLog.objects.exists()
    assert_same(Note)
