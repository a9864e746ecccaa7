"""Models with behaviour of their own get their signals and methods for objects of REMOTE."""

from __future__ import annotations

import datetime
from contextlib import contextmanager

import pytest
from django.db import connections
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from synchro import DisableSynchroLog, synchronize
from synchro.exceptions import SynchroError
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, age, logged, occupy, on_remote, synchronize_back
from tests.testapp.models import (
    EVENTS,
    Basket,
    Document,
    Everything,
    Label,
    Ledger,
    Note,
    NoteProxy,
    Paper,
    Parcel,
    Sale,
    Truck,
    Vehicle,
    Wrapped,
)


@pytest.fixture(autouse=True)
def events():
    EVENTS.clear()
    yield EVENTS
    EVENTS.clear()


@contextmanager
def connected(signal, sender, function):
    signal.connect(function, sender=sender, weak=False)
    try:
        yield
    finally:
        signal.disconnect(function, sender=sender)


def run_and_collect():
    EVENTS.clear()
    synchronize()
    return list(EVENTS)


def test_receivers_are_called_for_a_new_row_of_remote():
    Parcel.objects.create(name="p")
    assert run_and_collect() == [("pre_save", REMOTE, "p"), ("created", REMOTE, "p")]


def test_receivers_are_called_for_a_changed_row_of_remote():
    parcel = Parcel.objects.create(name="p")
    synchronize()
    parcel.name = "q"
    parcel.save()
    assert run_and_collect() == [("pre_save", REMOTE, "q"), ("changed", REMOTE, "q")]


def test_receivers_are_called_for_a_deleted_row_of_remote():
    parcel = Parcel.objects.create(name="p")
    synchronize()
    parcel.delete()
    assert run_and_collect() == [("pre_delete", REMOTE, "p"), ("post_delete", REMOTE, "p")]


def test_receivers_are_called_once_for_many_changes():
    parcel = Parcel.objects.create(name="p")
    for _ in range(3):
        parcel.save()
    assert run_and_collect() == [("pre_save", REMOTE, "p"), ("created", REMOTE, "p")]


def test_receivers_are_not_called_for_a_row_that_loses_a_conflict():
    parcel = Parcel.objects.create(name="p")
    synchronize()
    parcel.save()
    age(LOCAL)
    on_remote(Parcel).get().save()
    assert run_and_collect() == []


def test_receivers_see_the_row_of_remote_under_its_own_key():
    occupy(Note, name="theirs")
    seen = []

    def look(sender, instance, using, created, raw, **kwargs):
        seen.append((instance._state.db, using, created, raw, instance.pk, instance.name))

    note = Note.objects.create(name="a")
    with connected(post_save, Note, look):
        synchronize()
        arrived = on_remote(Note).get(name="a")
        note.save()
        synchronize()
    assert seen[0] == (REMOTE, REMOTE, True, False, arrived.pk, "a")
    assert seen[1][:4] == (LOCAL, LOCAL, False, False)
    assert seen[2] == (REMOTE, REMOTE, False, False, arrived.pk, "a")


@pytest.mark.parametrize("sender", [Note, None], ids=["own sender", "every sender"])
def test_a_receiver_that_is_connected_later_is_called_too(sender):
    seen = []

    def look(sender, instance, **kwargs):
        if isinstance(instance, Note):
            seen.append(instance._state.db)

    Note.objects.create(name="a")
    with connected(post_save, sender, look):
        synchronize()
    assert seen == [REMOTE]


@pytest.mark.parametrize("signal", [pre_save, post_save, pre_delete, post_delete])
def test_each_signal_of_a_model_counts(signal):
    seen = []

    def look(sender, instance, using, **kwargs):
        seen.append(using)

    note = Note.objects.create(name="a")
    with connected(signal, Note, look):
        synchronize()
        if signal in (pre_save, post_save):
            assert seen == [REMOTE]
        else:
            assert seen == []
        note.delete()
        seen.clear()
        synchronize()
        assert seen == ([REMOTE] if signal in (pre_delete, post_delete) else [])


def test_receivers_of_a_child_model_are_called():
    seen = []

    def look(sender, instance, using, **kwargs):
        seen.append((sender, using))

    truck = Truck.objects.create(plate="W1")
    with connected(post_save, Truck, look):
        synchronize()
        assert seen == [(Truck, REMOTE)]
    with connected(post_delete, Vehicle, look):
        truck.delete()
        seen.clear()
        synchronize()
        assert seen == [(Vehicle, REMOTE)]


def test_receivers_of_links_are_called_with_the_rows_of_remote():
    basket = Basket.objects.create(name="b")
    label = Label.objects.create(name="l")
    basket.labels.add(label)
    events = run_and_collect()
    assert ("pre_add", REMOTE, "b") in events
    assert ("post_add", REMOTE, "b") in events
    basket.labels.remove(label)
    assert ("post_remove", REMOTE, "b") in run_and_collect()
    assert_same()


def test_receivers_of_links_that_are_connected_later_are_called_too():
    seen = []

    def look(sender, instance, action, using, pk_set, **kwargs):
        seen.append((action, using, instance.title, set(pk_set)))

    occupy(Label, name="theirs")
    paper = Paper.objects.create(title="p")
    paper.labels.add(Label.objects.create(name="l"))
    with connected(m2m_changed, Paper.labels.through, look):
        synchronize()
    arrived = on_remote(Label).get(name="l").pk
    assert ("post_add", REMOTE, "p", {arrived}) in seen


def test_links_that_did_not_change_send_nothing():
    basket = Basket.objects.create(name="b")
    label = Label.objects.create(name="l")
    basket.labels.add(label)
    synchronize()
    basket.labels.remove(label)
    basket.labels.add(label)
    assert [event for event in run_and_collect() if "add" in event[0] or "re" in event[0]] == []


def test_an_overridden_save_is_called_with_the_row_of_remote():
    document = Document.objects.create(title="Some Title")
    Document.objects.update(title="Other Title")
    assert run_and_collect() == [("save", REMOTE, "Other Title")]
    assert on_remote(Document).get().slug == "other-title"
    document.refresh_from_db()
    assert document.slug == "some-title"
    document.title = "Third"
    document.save()
    assert run_and_collect() == [("save", REMOTE, "Third")]


def test_an_overridden_delete_is_called_with_the_row_of_remote():
    document = Document.objects.create(title="t")
    synchronize()
    document.delete()
    assert run_and_collect() == [("delete", REMOTE, "t")]
    assert not on_remote(Document).exists()


def test_times_that_save_rewrites_arrive_as_they_are_with_receivers():
    moment = datetime.datetime(2001, 2, 3, 4, 5, 6, 789012, tzinfo=datetime.UTC)
    parcel = Parcel.objects.create(name="p")
    Parcel.objects.update(stamp=moment)
    synchronize()
    assert on_remote(Parcel).get().stamp == moment
    parcel.save()
    Parcel.objects.update(stamp=moment)
    synchronize()
    assert on_remote(Parcel).get().stamp == moment


def test_what_receivers_change_on_purpose_on_remote_stays():
    Wrapped.objects.create(name="w")
    assert Wrapped.objects.get().saves == 1
    synchronize()
    assert on_remote(Wrapped).get().saves == 2


def test_a_receiver_may_write_to_other_rows_of_remote():
    """As documented since 0.x: the receiver works on both sides, its own writes unlogged."""
    ledger = Ledger.objects.create(name="l")
    synchronize()
    theirs = on_remote(Ledger).get()
    theirs.name = "renamed on remote"
    theirs.save()
    Sale.objects.create(name="s", ledger=ledger, amount=30)
    ledger.refresh_from_db()
    assert ledger.total == 30
    synchronize()
    theirs.refresh_from_db()
    assert (theirs.name, theirs.total) == ("renamed on remote", 30)


def test_a_replay_by_signals_is_no_change_of_remote():
    """It is logged with its origin and does not come back."""
    parcel = Parcel.objects.create(name="p")
    synchronize()
    assert len(logged(Parcel, REMOTE)) == 1
    assert synchronize_back().counts == {}
    parcel.delete()
    synchronize()
    assert synchronize_back().counts == {}
    assert logged(Parcel, LOCAL)[-1][1] == 3


def test_an_error_in_a_receiver_fails_the_run():
    def refuse(sender, instance, using, **kwargs):
        if using == REMOTE:
            raise ValueError("no room for this note")

    Label.objects.create(name="l")
    Note.objects.create(name="a")
    with (
        connected(pre_save, Note, refuse),
        pytest.raises(SynchroError, match=r"(?i)note.*no room for this note"),
    ):
        synchronize()
    assert not on_remote(Label).exists()
    synchronize()
    assert_same()


# SYNCHRO_REPLAY


@pytest.mark.parametrize("value", ["bulk", {"testapp.Parcel": "bulk"}, {"*": "bulk"}])
def test_bulk_replay_calls_no_receivers(value):
    parcel = Parcel.objects.create(name="p")
    with override_settings(SYNCHRO_REPLAY=value):
        assert run_and_collect() == []
        parcel.name = "q"
        parcel.save()
        assert run_and_collect() == []
        assert_same(Parcel)
        parcel.delete()
        assert run_and_collect() == []
        assert_same(Parcel)


def test_bulk_replay_calls_no_methods():
    Document.objects.create(title="Some Title")
    Document.objects.update(title="Other Title")
    with override_settings(SYNCHRO_REPLAY="bulk"):
        assert run_and_collect() == []
    assert on_remote(Document).get().slug == "some-title"


def inserts(model, number=5):
    """How many INSERT statements a run needs for so many new rows of a model."""
    for name in range(number):
        model.objects.create(name=str(name))
    with CaptureQueriesContext(connections[REMOTE]) as captured:
        synchronize()
    assert on_remote(model).count() == number
    table = model._meta.db_table
    return sum(
        sql.startswith("INSERT") and table in sql.split("(")[0]
        for sql in (query["sql"] for query in captured.captured_queries)
    )


@pytest.mark.parametrize("value", ["save", {"testapp.note": "save"}, {"*": "save"}])
def test_save_replay_saves_rows_of_any_model_one_by_one(value):
    with override_settings(SYNCHRO_REPLAY=value):
        assert inserts(Note) == 5


def test_models_without_behaviour_of_their_own_are_replayed_in_bulk():
    assert inserts(Parcel) == 5
    assert inserts(Note) < 5


def test_a_receiver_of_a_proxy_is_called_only_for_saves_through_the_proxy():
    """The log does not know that the save went through the proxy: the model itself is saved."""
    seen = []
    with connected(post_save, NoteProxy, lambda sender, **kwargs: seen.append(kwargs["using"])):
        NoteProxy.objects.create(name="a")
        synchronize()
    assert seen[0] == LOCAL
    assert on_remote(Note).count() == 1


def test_suspended_writes_of_receivers_on_remote_do_not_come_back():
    def greet(sender, instance, using, **kwargs):
        if using == REMOTE:
            with DisableSynchroLog():
                Label.objects.using(REMOTE).create(name="made by a receiver")

    Note.objects.create(name="a")
    with connected(post_save, Note, greet):
        synchronize()
    assert on_remote(Label).count() == 1
    synchronize_back()
    assert not Label.objects.exists()


def test_dates_that_a_receiver_sets_stay_as_other_values_do():
    moment = datetime.datetime(2001, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)

    def stamp(sender, instance, using, **kwargs):
        if using == REMOTE:
            instance.moment, instance.day, instance.clock = moment, moment.date(), moment.time()
            instance.word = "stamped"

    one = Everything.objects.create(code="a", text="b")
    with connected(pre_save, Everything, stamp):
        synchronize()
        one.text = "c"
        one.save()
        synchronize()
    found = on_remote(Everything).get()
    assert (found.moment, found.day, found.clock) == (moment, moment.date(), moment.time())
    assert (found.word, found.text) == ("stamped", "c")
