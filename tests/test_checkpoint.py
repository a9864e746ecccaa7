"""options.last_check: how it reads, survives dbsettings, and what assigning it does."""

from __future__ import annotations

import datetime

import pytest
from dbsettings.models import Setting
from django.core.cache import cache
from django.utils import timezone, translation

from synchro import DisableSynchroLog, reset_synchro, synchronize
from synchro.models import ChangeLog, options
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, age, on_remote, reversed_direction
from tests.testapp.models import Item, Label, Note, Paper

UTC = datetime.UTC
MOMENT = datetime.datetime(2021, 12, 11, 10, 9, 8, 765432, tzinfo=UTC)
AN_HOUR = datetime.timedelta(hours=1)
LANGUAGES = ["en", "pl", "de", "es", "fr", "ar", "zh-hans"]


def test_before_the_first_run_it_is_the_beginning_of_time():
    assert options.last_check == datetime.datetime(1970, 1, 1, tzinfo=UTC)


def test_a_run_moves_it_forward():
    Note.objects.create(name="a")
    logged_at = ChangeLog.objects.get().date
    synchronize()
    assert options.last_check >= logged_at
    assert timezone.is_aware(options.last_check)


def test_it_is_the_newest_time_of_what_a_run_has_read():
    """Times need not be in the order of the log."""
    for hours in (2, 1, 3):
        Note.objects.create(name="a")
        newest = ChangeLog.objects.latest("pk")
        ChangeLog.objects.filter(pk=newest.pk).update(date=MOMENT + hours * AN_HOUR)
    Note.objects.create(name="b")
    ChangeLog.objects.filter(pk=ChangeLog.objects.latest("pk").pk).update(date=MOMENT)
    synchronize()
    assert options.last_check == MOMENT + 3 * AN_HOUR


def test_it_never_moves_back():
    Note.objects.create(name="a")
    synchronize()
    first = options.last_check
    Note.objects.create(name="b")
    age(LOCAL, 3600)
    synchronize()
    assert options.last_check >= first


@pytest.mark.parametrize("writing", LANGUAGES)
@pytest.mark.parametrize("reading", ["en", "pl", "de"])
def test_it_reads_alike_under_any_language(writing, reading):
    with translation.override(writing):
        options.last_check = MOMENT
        assert options.last_check == MOMENT
    with translation.override(reading):
        assert options.last_check == MOMENT
        assert options.last_check.microsecond == 765432
        assert timezone.is_aware(options.last_check)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_leaves_it_readable_under_any_language(language):
    Note.objects.create(name="a")
    with translation.override(language):
        synchronize()
        seen = options.last_check
    assert options.last_check == seen


def test_a_naive_value_is_taken_in_the_current_time_zone():
    options.last_check = datetime.datetime(2021, 12, 11, 10, 9, 8, 7)
    here = timezone.get_current_timezone()
    assert options.last_check == datetime.datetime(2021, 12, 11, 10, 9, 8, 7, tzinfo=here)
    with timezone.override("Asia/Tokyo"):
        options.last_check = datetime.datetime(2021, 12, 11, 9, 0)
    assert options.last_check == datetime.datetime(2021, 12, 11, 0, 0, tzinfo=UTC)


def test_a_value_of_another_time_zone_is_the_same_moment():
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    options.last_check = MOMENT.astimezone(zone)
    assert options.last_check == MOMENT


@pytest.mark.parametrize("wrong", ["yesterday", 5, None])
def test_what_is_no_date_is_refused(wrong):
    options.last_check = MOMENT
    with pytest.raises((TypeError, ValueError)):
        options.last_check = wrong
    assert options.last_check == MOMENT


def test_what_another_process_wrote_is_seen():
    options.last_check = MOMENT
    text = Setting.objects.get().value
    options.last_check = MOMENT - datetime.timedelta(days=1)
    assert options.last_check < MOMENT
    Setting.objects.update(value=text)
    assert options.last_check == MOMENT


def test_a_lost_cache_changes_nothing():
    options.last_check = MOMENT
    cache.clear()
    assert options.last_check == MOMENT


def test_assigning_an_earlier_time_replays_what_was_logged_after_it():
    Note.objects.create(name="before")
    age(LOCAL, 7200)
    paper = Paper.objects.create(title="p")
    paper.labels.add(Label.objects.create(name="l"))
    Item.objects.create(code="i")
    synchronize()
    with DisableSynchroLog():
        for model in (Note, Item, Paper, Label):
            on_remote(model).all().delete()
    assert synchronize().changed is False
    options.last_check = timezone.now() - datetime.timedelta(hours=1)
    assert synchronize().changed is True
    assert_same(Item, Paper, Label, Paper.labels.through)
    assert not on_remote(Note).exists()


def test_assigning_an_earlier_time_replays_deletions_too():
    item = Item.objects.create(code="i")
    synchronize()
    age(LOCAL, 7200)
    item.delete()
    synchronize()
    with DisableSynchroLog():
        on_remote(Item).create(code="i")
    options.last_check = timezone.now() - datetime.timedelta(hours=1)
    synchronize()
    assert not on_remote(Item).exists()


def test_assigning_a_later_time_skips_what_was_logged_before_it():
    Note.objects.create(name="skipped")
    age(LOCAL, 7200)
    options.last_check = timezone.now() - datetime.timedelta(hours=1)
    Note.objects.create(name="replayed")
    synchronize()
    assert [note.name for note in on_remote(Note).all()] == ["replayed"]
    assert synchronize().changed is False


def test_assigning_works_once():
    Note.objects.create(name="a")
    synchronize()
    options.last_check = timezone.now() - datetime.timedelta(hours=1)
    synchronize()
    assert synchronize().changed is False


def test_replaying_again_changes_nothing_that_is_right():
    note = Note.objects.create(name="a")
    paper = Paper.objects.create(title="p")
    paper.labels.add(Label.objects.create(name="l"))
    Item.objects.create(code="i").delete()
    synchronize()
    note.save()
    synchronize()
    options.last_check = timezone.now() - datetime.timedelta(hours=1)
    synchronize()
    assert_same()
    assert on_remote(Note).count() == 1


def test_reset_moves_it():
    Note.objects.create(name="a")
    logged_at = ChangeLog.objects.get().date
    reset_synchro()
    assert options.last_check >= logged_at


def test_what_is_logged_after_a_reset_is_replayed():
    Note.objects.create(name="before")
    reset_synchro()
    Note.objects.create(name="after")
    synchronize()
    assert [note.name for note in on_remote(Note).all()] == ["after"]
    Note.objects.create(name="later")
    synchronize()
    assert on_remote(Note).count() == 2


def test_reset_again_and_again_loses_nothing_new():
    for round_ in range(3):
        Note.objects.create(name=f"lost {round_}")
        reset_synchro()
        Note.objects.create(name=f"kept {round_}")
        synchronize()
    assert sorted(on_remote(Note).values_list("name", flat=True)) == ["kept 0", "kept 1", "kept 2"]


def test_a_run_in_the_other_direction_loses_nothing_of_this_one():
    """Each direction has its own position, whatever the public checkpoint says."""
    Note.objects.create(name="ours")
    Note.objects.using(REMOTE).create(name="theirs")
    with reversed_direction():
        synchronize()
    synchronize()
    assert Note.objects.count() == on_remote(Note).count() == 2
