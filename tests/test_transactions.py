"""A run counts on its own commits; and it runs without time zones as it does with them."""

from __future__ import annotations

import datetime

import pytest
from django.db import transaction
from django.test import override_settings

from synchro import DisableSynchroLog, reset_synchro, synchronize
from synchro.exceptions import SynchroError
from synchro.models import options
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, age, on_remote, synchronize_back
from tests.testapp.models import Appointment, Item, Note, Stamp


@pytest.fixture
def naive_times():
    with override_settings(USE_TZ=False):
        yield


@pytest.mark.parametrize("alias", [LOCAL, REMOTE])
def test_a_run_is_refused_inside_a_transaction_of_the_caller(alias):
    Note.objects.create(name="n")
    with transaction.atomic(using=alias), pytest.raises(SynchroError, match=f"'{alias}'"):
        synchronize()
    assert not on_remote(Note).exists()
    assert synchronize().counts == {("testapp.note", "create"): 1}
    assert_same(Note)


@pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])
@pytest.mark.parametrize("alias", [LOCAL, REMOTE])
def test_a_run_is_refused_while_autocommit_is_off(alias):
    Note.objects.create(name="n")
    transaction.set_autocommit(False, using=alias)
    try:
        with pytest.raises(SynchroError, match=f"'{alias}'"):
            synchronize()
    finally:
        transaction.rollback(using=alias)
        transaction.set_autocommit(True, using=alias)
    synchronize()
    assert_same(Note)


@pytest.mark.usefixtures("naive_times")
def test_changes_arrive_without_time_zones():
    note = Note.objects.create(name="n")
    Stamp.objects.create(name="s")
    Appointment.objects.create(name="a", start=datetime.datetime(2024, 5, 6, 7, 8))
    synchronize()
    assert_same(Note, Stamp, Appointment)
    note.delete()
    for row in [Stamp.objects.get(), Appointment.objects.get()]:
        row.save()
    synchronize()
    assert_same(Note, Stamp, Appointment)
    assert not synchronize().changed


@pytest.mark.usefixtures("naive_times")
def test_the_later_change_wins_without_time_zones():
    Item.objects.create(code="1", name="first")
    synchronize()
    age(LOCAL, 3600)
    age(REMOTE, 3600)
    Item.objects.update_or_create(code="1", defaults={"name": "older"})
    age(LOCAL)
    Item.objects.using(REMOTE).update_or_create(code="1", defaults={"name": "newer"})
    assert [skipped.reason for skipped in synchronize().skipped] == ["remote-newer"]
    synchronize_back()
    assert Item.objects.get().name == on_remote(Item).get().name == "newer"


@pytest.mark.usefixtures("naive_times")
def test_the_checkpoint_can_be_set_and_reset_without_time_zones():
    Item.objects.create(code="1")
    synchronize()
    with DisableSynchroLog():
        on_remote(Item).all().delete()
    options.last_check = datetime.datetime(2000, 1, 1)
    synchronize()
    assert on_remote(Item).get().code == "1"
    Item.objects.create(code="2")
    reset_synchro()
    assert not synchronize().changed
