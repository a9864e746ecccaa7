"""Removing log rows that have had their use."""

from __future__ import annotations

import datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from django.utils import timezone

from synchro import synchronize
from synchro.exceptions import NodeError
from synchro.models import ChangeLog
from synchro.retention import purge
from tests.compare import assert_same
from tests.runs import LOCAL, age, logged, on_remote
from tests.testapp.models import Label, Note, Paper

DAY = 86_400


def before(days: int) -> datetime.datetime:
    return timezone.now() - datetime.timedelta(days=days)


@pytest.fixture
def old():
    """Rows of forty days ago, all delivered."""
    note = Note.objects.create(name="a")
    for name in "bcd":
        note.name = name
        note.save()
    paper = Paper.objects.create(title="p")
    for name in "xy":
        paper.labels.add(Label.objects.create(name=name))
    synchronize()
    age(LOCAL, 40 * DAY)
    return note


def test_the_newest_row_of_each_object_stays(old):
    assert purge(before(30)).removed == 4
    assert len(logged(Note)) == 1
    # The object's own row, and that of its links.
    assert len(logged(Paper)) == 2


def test_younger_rows_stay(old):
    old.name = "e"
    old.save()
    synchronize()
    assert purge(before(50)).removed == 0
    assert len(logged(Note)) == 5


def test_pending_rows_stay_however_old_they_are(old):
    for name in "ef":
        old.name = name
        old.save()
    age(LOCAL, 40 * DAY)
    result = purge(before(30))
    assert result.kept_pending == 2
    synchronize()
    assert on_remote(Note).get().name == "f"
    assert_same(Note)


def test_a_tombstone_stays(old):
    old.delete()
    synchronize()
    age(LOCAL, 40 * DAY)
    purge(before(30))
    assert [action for _, action in logged(Note)] == [3]


def test_a_dry_run_removes_nothing(old):
    rows = ChangeLog.objects.count()
    assert purge(before(30), dry_run=True).removed == 4
    assert ChangeLog.objects.count() == rows


def test_a_purge_before_the_first_run_is_refused():
    Note.objects.create(name="a")
    with pytest.raises(NodeError, match="never synchronized"):
        purge(before(30))


def test_a_database_that_only_logs_may_be_purged(old):
    with override_settings(SYNCHRO_REMOTE=None):
        assert purge(before(30)).removed == 4


def test_after_a_purge_changes_arrive_as_before(old):
    purge(before(30))
    old.name = "later"
    old.save()
    synchronize()
    assert on_remote(Note).get().name == "later"
    assert not synchronize().changed


def test_the_command_counts(old):
    out = StringIO()
    call_command("synchro_purge", "--older-than", "30d", "--dry-run", stdout=out)
    assert out.getvalue() == "4 log rows would be removed.\n"
    out = StringIO()
    call_command("synchro_purge", "--older-than", "30d", stdout=out)
    assert out.getvalue() == "4 log rows removed.\n"


def test_the_command_names_a_wrong_length_of_time():
    with pytest.raises(CommandError, match="'soon' is not a length of time"):
        call_command("synchro_purge", "--older-than", "soon")
