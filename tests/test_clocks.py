"""A clock that is wrong decides who wins a conflict, and nothing else; it is told of."""

from __future__ import annotations

import datetime
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import F

from synchro import DisableSynchroLog, synchronize
from synchro.models import ChangeLog
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, age, on_remote, synchronize_back
from tests.testapp.models import Country, Label, Note, Paper

HOUR = datetime.timedelta(hours=1)
OFF = pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["ahead", "behind"])
SIDE = pytest.mark.parametrize("side", [LOCAL, REMOTE], ids=["local", "remote"])


@pytest.fixture
def note():
    """A row that both databases have, and have known for long."""
    Note.objects.using(REMOTE).create(name="x").delete()
    note = Note.objects.create(name="first")
    synchronize()
    synchronize_back()
    age(LOCAL, 86_400)
    age(REMOTE, 86_400)
    return note


def shift(alias, by):
    """What `alias` has logged since the last run was logged by a clock that is wrong by `by`."""
    ChangeLog.objects.using(alias).filter(batch=None, origin="").update(date=F("date") + by)


def change(alias, name, model=Note, field="name"):
    row = model._base_manager.using(alias).get()
    setattr(row, field, name)
    row.save()


def losers(result):
    return [(skipped.label, skipped.reason) for skipped in result.skipped]


def overwritten(result):
    return [(change.label, change.action, change.reason) for change in result.overwritten]


@SIDE
@OFF
def test_a_change_of_one_side_arrives_whatever_the_clock_says(note, side, off):
    change(side, "edited")
    Note.objects.using(side).create(name="new")
    shift(side, off)
    results = [synchronize(), synchronize_back()]
    assert [losers(result) + overwritten(result) for result in results] == [[], []]
    assert_same(Note)
    assert set(Note.objects.values_list("name", flat=True)) == {"edited", "new"}


@SIDE
@OFF
def test_of_two_changes_one_holds_and_the_other_one_is_reported(note, side, off):
    """Both at nearly the same time; an hour decides."""
    for alias in (LOCAL, REMOTE):
        change(alias, alias)
    shift(side, off)
    result = synchronize()
    local_wins = (side == LOCAL) == (off > datetime.timedelta())
    if local_wins:
        assert overwritten(result) == [("testapp.note", "write", "local-newer")]
        assert losers(result) == []
    else:
        assert losers(result) == [("testapp.note", "remote-newer")]
        assert overwritten(result) == []
    assert on_remote(Note).get().name == (LOCAL if local_wins else REMOTE)
    synchronize_back()
    assert_same(Note)


@SIDE
@OFF
def test_of_two_changes_one_is_reported_by_the_run_the_other_way(note, side, off):
    for alias in (LOCAL, REMOTE):
        change(alias, alias)
    shift(side, off)
    result = synchronize_back()
    assert len(losers(result) + overwritten(result)) == 1
    synchronize()
    assert_same(Note)


@OFF
def test_a_change_made_with_remotes_in_view_is_no_conflict(note, off):
    change(REMOTE, "theirs")
    shift(REMOTE, off)
    synchronize_back()
    change(LOCAL, "ours")
    result = synchronize()
    assert losers(result) + overwritten(result) == []
    assert on_remote(Note).get().name == "ours"


@OFF
def test_a_change_made_on_remote_with_ours_in_view_is_no_conflict(note, off):
    change(LOCAL, "ours")
    shift(LOCAL, off)
    synchronize()
    change(REMOTE, "theirs")
    results = [synchronize(), synchronize_back()]
    assert [losers(result) + overwritten(result) for result in results] == [[], []]
    note.refresh_from_db()
    assert note.name == "theirs"


@OFF
def test_the_last_change_within_a_database_is_the_last_in_its_log(note, off):
    change(LOCAL, "early")
    shift(LOCAL, off)
    synchronize()
    change(LOCAL, "late")
    assert losers(synchronize()) == []
    assert on_remote(Note).get().name == "late"
    change(LOCAL, "deleted")
    shift(LOCAL, -off)
    Note.objects.get().delete()
    synchronize()
    assert not on_remote(Note).exists()


def test_a_deletion_that_loses_is_reported(note):
    on_remote(Note).get().delete()
    age(REMOTE)
    change(LOCAL, "ours")
    assert overwritten(synchronize()) == [("testapp.note", "delete", "local-newer")]
    assert on_remote(Note).get().name == "ours"


def test_a_deletion_that_loses_against_a_new_row_with_its_natural_key_is_reported():
    Country.objects.using(REMOTE).create(code="PL", name="theirs").delete()
    age(REMOTE)
    Country.objects.create(code="PL", name="ours")
    assert overwritten(synchronize()) == [("testapp.country", "delete", "local-newer")]


def test_a_change_that_loses_against_a_deletion_is_reported(note):
    change(REMOTE, "theirs")
    age(REMOTE)
    note.delete()
    assert overwritten(synchronize()) == [("testapp.note", "write", "local-newer")]


def test_links_that_lose_are_reported():
    paper = Paper.objects.create(title="p")
    one, two = (Label.objects.create(name=name) for name in "ab")
    synchronize()
    age(LOCAL, 3600)
    age(REMOTE, 3600)
    on_remote(Paper).get().labels.add(on_remote(Label).get(name="a"))
    age(REMOTE)
    paper.labels.add(two)
    assert overwritten(synchronize()) == [("testapp.paper", "link", "local-newer")]
    assert one.pk


def test_what_was_overwritten_is_reported_once(note):
    change(REMOTE, "theirs")
    age(REMOTE)
    change(LOCAL, "ours")
    assert len(synchronize().overwritten) == 1
    change(LOCAL, "ours again")
    assert synchronize().overwritten == []


@pytest.mark.by_signals("a save() that changes nothing is logged")
def test_the_command_and_the_page_report_it(note, client, settings):
    settings.SYNCHRO_BACKGROUND = False
    with DisableSynchroLog():
        boss = User.objects.create(username="boss", is_staff=True, is_superuser=True)
        client.force_login(boss)
    change(REMOTE, "theirs")
    age(REMOTE)
    change(LOCAL, "ours")
    out = StringIO()
    call_command("synchronize", stdout=out)
    assert f"  overwritten: testapp.note {note.pk}: the change on 'remote' (" in out.getvalue()
    change(REMOTE, "theirs")
    age(REMOTE)
    change(LOCAL, "ours")
    page = client.post("/synchro/", {"synchro": "1"}, follow=True).content.decode()
    assert "Overwritten on the other side" in page
    assert f'href="/admin/testapp/note/{note.pk}/change/"' in page


# What is told of a clock


@SIDE
def test_times_in_the_future_are_a_warning(note, side):
    change(side, "edited")
    shift(side, 5 * HOUR)
    Note.objects.create(name="something to do")
    (warning,) = synchronize().warnings
    assert f"The change log of '{side}' has times that are 5 hours ahead" in warning
    assert "Set the clocks right" in warning


def test_a_small_difference_is_none(note):
    change(REMOTE, "edited")
    shift(REMOTE, datetime.timedelta(seconds=30))
    change(LOCAL, "edited")
    assert synchronize().warnings == []


def test_times_that_were_brought_by_a_run_are_no_sign(note):
    """They do not decide anything: the time at which the change was made does."""
    change(LOCAL, "edited")
    synchronize()
    ChangeLog.objects.using(REMOTE).exclude(origin="").update(date=F("date") + 5 * HOUR)
    Note.objects.create(name="something to do")
    assert synchronize().warnings == []


def test_a_run_with_nothing_to_do_says_nothing(note):
    change(REMOTE, "edited")
    shift(REMOTE, 5 * HOUR)
    assert synchronize().warnings == []


def test_looking_for_it_is_one_small_query_a_database(note, django_assert_num_queries):
    from synchro.clocks import warnings
    from synchro.log import aware
    from synchro.nodes import side as side_of

    ChangeLog.objects.using(LOCAL).bulk_create(
        ChangeLog(label="testapp.note", object_id="1", action=2) for _ in range(600)
    )
    sides = side_of(LOCAL), side_of(REMOTE)
    now = aware(ChangeLog.objects.using(LOCAL).latest("id").date)
    for alias in (LOCAL, REMOTE):
        with django_assert_num_queries(1, using=alias) as queries:
            assert warnings(*sides, now) == []
        assert "LIMIT 500" in queries.captured_queries[0]["sql"]


def test_the_command_shows_the_warning(note):
    change(REMOTE, "edited")
    shift(REMOTE, 72 * HOUR)
    change(LOCAL, "edited")
    err = StringIO()
    call_command("synchronize", stdout=StringIO(), stderr=err)
    assert "has times that are 3 days ahead" in err.getvalue()
