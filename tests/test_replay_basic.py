"""The newest state arrives, once per object, and a second run has nothing to do."""

from __future__ import annotations

import datetime

import pytest
from django.db import connections, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from synchro import DisableSynchroLog, call_synchronize, reset_synchro, synchronize
from synchro.exceptions import SynchroError
from synchro.models import ADDITION, CHANGE, DELETION, ChangeLog, Reference, options
from synchro.nodes import forget_tables
from tests.compare import assert_same
from tests.otherapp.models import Region
from tests.runs import LOCAL, REMOTE, age, logged, on_remote, reread, synchronize_back
from tests.testapp.models import (
    Account,
    Box,
    Hidden,
    Item,
    Label,
    Note,
    NoteProxy,
    Slot,
    Stamp,
    Token,
    Unmanaged,
)

LONG_AGO = datetime.datetime(2001, 2, 3, 4, 5, 6, 789012, tzinfo=datetime.UTC)


def make_note():
    return Note.objects.create(name="a", number=1)


def make_proxy():
    return NoteProxy.objects.create(name="a", number=1)


def make_item():
    return Item.objects.create(code="a", name="b")


def make_token():
    return Token.objects.create(name="a")


def make_slot():
    return Slot.objects.create(room="a", hour=1, title="b")


def make_box():
    return Box.objects.create(name="a", width=2, height=3)


def make_unmanaged():
    return Unmanaged.objects.create(name="a")


KINDS = [make_note, make_proxy, make_item, make_token, make_slot, make_box, make_unmanaged]


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__.removeprefix("make_"))
def row(request):
    return request.param()


# Every kind of key goes through the life of a row


def test_a_new_row_arrives(row):
    synchronize()
    assert on_remote(type(row)).count() == 1
    assert_same()


def test_a_changed_row_arrives(row):
    synchronize()
    for field in ("name", "title"):
        if hasattr(row, field):
            setattr(row, field, "changed")
    row.save()
    synchronize()
    assert on_remote(type(row)).count() == 1
    assert_same()


def test_a_deleted_row_goes(row):
    synchronize()
    row.delete()
    synchronize()
    assert not on_remote(type(row)).exists()


def test_a_row_that_came_and_went_between_two_runs_leaves_no_trace(row):
    row.delete()
    result = synchronize()
    assert not on_remote(type(row)).exists()
    assert result.counts == {}
    assert not result.skipped


def test_a_row_deleted_and_added_again_under_the_same_key_arrives_as_it_is_now(row):
    synchronize()
    key = row.pk
    row.delete()
    row.pk = key
    row._state.adding = True
    for field in ("name", "title"):
        if hasattr(row, field):
            setattr(row, field, "again")
    row.save(force_insert=True)
    synchronize()
    assert on_remote(type(row)).count() == 1
    assert_same()


def test_many_changes_of_one_row_are_replayed_once():
    note = make_note()
    for number in range(5):
        note.number = number
        note.save()
    result = synchronize()
    assert result.counts == {("testapp.note", "create"): 1}
    assert on_remote(Note).get().number == 4
    for number in range(5, 9):
        note.number = number
        note.save()
    assert synchronize().counts == {("testapp.note", "update"): 1}
    assert on_remote(Note).get().number == 8


def test_what_is_replayed_is_what_the_row_holds_now():
    note = make_note()
    Note.objects.filter(pk=note.pk).update(name="unlogged but newest")
    synchronize()
    assert on_remote(Note).get().name == "unlogged but newest"


def test_local_is_left_as_it_is():
    note = make_note()
    Item.objects.create(code="a")
    synchronize()
    again = Note.objects.get()
    assert (again.pk, again.name, again.number) == (note.pk, "a", 1)
    assert Item.objects.get().code == "a"
    assert len(logged(Note)) == 1


def test_an_unlogged_row_does_not_travel():
    with DisableSynchroLog():
        make_note()
    synchronize()
    assert not on_remote(Note).exists()


def test_rows_of_remote_that_local_does_not_know_are_left_alone():
    Note.objects.using(REMOTE).create(name="theirs")
    make_note()
    synchronize()
    assert sorted(on_remote(Note).values_list("name", flat=True)) == ["a", "theirs"]


# Runs


def test_the_result_says_what_was_done():
    make_note()
    gone = make_item()
    result = synchronize()
    assert result.changed is True
    assert str(result.message) == "Synchronization performed successfully."
    assert result.counts == {("testapp.note", "create"): 1, ("testapp.item", "create"): 1}
    gone.delete()
    assert synchronize().counts == {("testapp.item", "delete"): 1}


def test_a_second_run_has_nothing_to_do():
    make_note()
    assert call_synchronize() == "Synchronization performed successfully."
    result = synchronize()
    assert result.changed is False
    assert result.counts == {}
    assert str(result.message) == "No changes since last synchronization."
    assert call_synchronize() == "No changes since last synchronization."


@pytest.mark.parametrize(("new_process", "most"), [(True, 12), (False, 10)])
def test_a_run_with_nothing_to_do_asks_few_questions(new_process, most):
    Note.objects.create(name="a")
    synchronize()
    synchronize()
    if new_process:
        forget_tables()
    with (
        CaptureQueriesContext(connections["default"]) as here,
        CaptureQueriesContext(connections["remote"]) as there,
    ):
        assert not synchronize().changed
    queries = [query["sql"] for query in (*here.captured_queries, *there.captured_queries)]
    assert len(queries) <= most, queries


def test_a_run_with_nothing_to_do_writes_nothing_on_remote():
    make_note()
    synchronize()
    before = ChangeLog.objects.using(REMOTE).count(), Reference.objects.using(REMOTE).count()
    with CaptureQueriesContext(connections[REMOTE]) as captured:
        synchronize()
    written = [
        query["sql"]
        for query in captured.captured_queries
        if query["sql"].lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE"))
    ]
    assert written == []
    assert before == (
        ChangeLog.objects.using(REMOTE).count(),
        Reference.objects.using(REMOTE).count(),
    )


def test_a_row_that_is_written_by_a_later_run_does_not_come_back():
    """Replayed rows are not sent back to where they came from."""
    make_note()
    make_item()
    synchronize()
    result = synchronize_back()
    assert result.counts == {}
    assert (Note.objects.count(), Item.objects.count()) == (1, 1)


def test_what_is_replayed_is_logged_on_remote_with_its_origin_and_time():
    make_note()
    ChangeLog.objects.update(date=LONG_AGO)
    synchronize()
    log = ChangeLog.objects.using(REMOTE).get(label="testapp.note")
    assert log.action == ADDITION
    assert log.object_id == str(on_remote(Note).get().pk)
    assert log.origin
    assert log.origin_date == LONG_AGO


@pytest.mark.by_signals("a save() that changes nothing is logged")
def test_changes_and_deletions_are_logged_on_remote_too():
    note = make_note()
    synchronize()
    note.save()
    synchronize()
    note.delete()
    synchronize()
    assert [action for _, action in logged(Note, REMOTE)] == [ADDITION, CHANGE, DELETION]


def test_remote_may_only_log():
    """A REMOTE that runs its own process with SYNCHRO_REMOTE = None changes nothing here."""
    make_note()
    with override_settings(SYNCHRO_REMOTE=None, SYNCHRO_LOCAL=REMOTE):
        theirs = Note.objects.using(REMOTE).create(name="theirs")
    assert logged(Note, REMOTE) == [(str(theirs.pk), ADDITION)]
    synchronize()
    assert on_remote(Note).count() == 2


@pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])
def test_a_run_inside_a_transaction_on_local_is_refused():
    make_note()
    with transaction.atomic(), pytest.raises((SynchroError, RuntimeError), match="atomic"):
        synchronize()
    assert not on_remote(Note).exists()
    synchronize()
    assert_same(Note)


@pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])
def test_a_run_works_on_real_transactions():
    note = make_note()
    item = make_item()
    synchronize()
    assert_same()
    note.name = "changed"
    note.save()
    item.delete()
    synchronize()
    assert_same()
    assert synchronize().changed is False


def test_reset_forgets_the_log_and_moves_the_checkpoint():
    before = options.last_check
    make_note()
    reset_synchro()
    assert not ChangeLog.objects.exists()
    assert options.last_check > before
    assert synchronize().changed is False
    assert not on_remote(Note).exists()


def test_reset_keeps_references():
    note = make_note()
    synchronize()
    reset_synchro()
    note.name = "changed"
    note.save()
    synchronize()
    assert on_remote(Note).get().name == "changed"


def test_reset_forgets_references_when_told():
    make_note()
    synchronize_back()
    Note.objects.using(REMOTE).create(name="theirs")
    synchronize_back()
    assert Reference.objects.using(LOCAL).exists()
    reset_synchro(references=True)
    assert not Reference.objects.using(LOCAL).exists()


# Fields


def test_fields_that_save_rewrites_arrive_as_they_are():
    stamp = Stamp.objects.create(name="a")
    Stamp.objects.update(created=LONG_AGO, modified=LONG_AGO, modified_day=LONG_AGO.date())
    synchronize()
    for _ in range(2):
        arrived = on_remote(Stamp).get()
        assert (arrived.created, arrived.modified) == (LONG_AGO, LONG_AGO)
        assert arrived.modified_day == LONG_AGO.date()
        stamp.save(update_fields=["name"])
        Stamp.objects.update(created=LONG_AGO, modified=LONG_AGO, modified_day=LONG_AGO.date())
        synchronize()
    assert_same(Stamp)


@pytest.mark.parametrize("mode", ["save", "bulk"])
def test_fields_that_save_rewrites_arrive_as_they_are_in_either_mode(mode):
    with override_settings(SYNCHRO_REPLAY=mode):
        test_fields_that_save_rewrites_arrive_as_they_are()


@pytest.mark.parametrize("mode", ["save", "bulk"])
def test_a_generated_field_is_computed_on_remote(mode):
    with override_settings(SYNCHRO_REPLAY=mode):
        box = make_box()
        synchronize()
        assert on_remote(Box).get().area == 6
        box.height = 5
        box.save()
        synchronize()
        assert on_remote(Box).get().area == 10


def test_a_skipped_field_of_a_new_row_takes_its_default():
    account = Account.objects.create(name="a", balance=100)
    account.labels.add(Label.objects.create(name="l"))
    synchronize()
    arrived = on_remote(Account).get()
    assert (arrived.name, arrived.balance) == ("a", 5)
    assert not arrived.labels.exists()
    account.refresh_from_db()
    assert account.balance == 100
    assert account.labels.count() == 1


@pytest.mark.parametrize("mode", ["save", "bulk"])
def test_a_skipped_field_of_a_changed_row_keeps_its_value_on_remote(mode):
    with override_settings(SYNCHRO_REPLAY=mode):
        account = Account.objects.create(name="a")
        label = Label.objects.create(name="ours")
        synchronize()
        arrived = on_remote(Account).get()
        with DisableSynchroLog():
            arrived.balance = 77
            arrived.save()
            theirs = Label.objects.using(REMOTE).create(name="theirs")
            arrived.labels.add(theirs)
        account.name, account.balance = "changed", 100
        account.save()
        account.labels.add(label)
        account.shared.add(label)
        synchronize()
        arrived = on_remote(Account).get()
        assert (arrived.name, arrived.balance) == ("changed", 77)
        assert list(arrived.labels.all()) == [theirs]
        assert [row.name for row in arrived.shared.all()] == ["ours"]
        account.refresh_from_db()
        assert account.balance == 100


def test_rows_that_the_default_manager_hides_are_replayed():
    row = Hidden.objects.create(name="a", published=False)
    synchronize()
    assert reread_hidden().name == "a"
    row.name = "b"
    row.save()
    synchronize()
    assert reread_hidden().name == "b"
    row.delete()
    synchronize()
    assert not on_remote(Hidden).exists()


def reread_hidden():
    return on_remote(Hidden).get()


def test_a_proxy_and_its_model_are_one_row():
    note = make_proxy()
    other = Note.objects.get(pk=note.pk)
    other.name = "changed"
    other.save()
    assert synchronize().counts == {("testapp.note", "create"): 1}
    assert on_remote(Note).get().name == "changed"


def test_a_row_logged_while_its_model_was_watched_is_replayed_all_the_same():
    with override_settings(SYNCHRO_MODELS=["otherapp", "testapp"]):
        Region.objects.create(name="r")
        synchronize()
    assert on_remote(Region).get().name == "r"


def test_composite_keys_that_look_alike_are_told_apart():
    Slot.objects.create(room="a", hour=11, title="1")
    Slot.objects.create(room="a1", hour=1, title="2")
    Slot.objects.create(room='["a"', hour=1, title="3")
    synchronize()
    assert_same(Slot)
    Slot.objects.get(room="a1").delete()
    synchronize()
    assert_same(Slot)
    assert on_remote(Slot).count() == 2


def test_reread_finds_the_row_of_remote():
    item = make_item()
    synchronize()
    assert reread(item)._state.db == REMOTE


def test_times_of_the_log_do_not_matter_to_what_is_complete():
    """A change logged with a time before the last run's is replayed by the next run."""
    make_note()
    synchronize()
    make_item()
    age(LOCAL, 7 * 24 * 3600)
    synchronize()
    assert_same()


@pytest.mark.parametrize("label", ["testapp.noteproxy", "testapp.Note"])
def test_a_model_may_have_several_labels_in_the_log(label):
    """Of what others have logged, by hand or with synchro 0.x."""
    for _ in range(3):
        make_note()
    first, both, second = ChangeLog.objects.order_by("id")
    second.label = label
    second.save()
    again = ChangeLog(label=label, object_id=both.object_id, action=CHANGE)
    again.date = both.date + datetime.timedelta(seconds=1)
    again.save()
    with override_settings(SYNCHRO_BATCH_SIZE=1):
        synchronize()
    assert_same(Note)
    assert on_remote(Note).count() == 3
    assert not synchronize().changed
    # The later of the two times counts.
    sent = ChangeLog.objects.using(REMOTE).values_list("origin_date", flat=True)
    assert set(sent) == {first.date, again.date, second.date}


@pytest.mark.parametrize("labels", [("noteproxy", "note"), ("note", "noteproxy")])
def test_what_several_labels_tell_of_one_object_is_one_story(labels):
    note = make_note()
    synchronize()
    assert on_remote(Note).count() == 1
    with DisableSynchroLog():
        Note.objects.all().delete()
        Note.objects.create(pk=note.pk, name="again", number=2)
    for label, action in zip(labels, (DELETION, ADDITION), strict=True):
        ChangeLog.objects.create(label=f"testapp.{label}", object_id=note.pk, action=action)
    result = synchronize()
    assert_same(Note)
    assert on_remote(Note).get().name == "again"
    assert not result.skipped
    with DisableSynchroLog():
        Note.objects.all().delete()
    for label, action in zip(labels, (CHANGE, DELETION), strict=True):
        ChangeLog.objects.create(label=f"testapp.{label}", object_id=note.pk, action=action)
    result = synchronize()
    assert_same(Note)
    assert not result.skipped
