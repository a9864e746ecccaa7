"""What other connections see of a run, and what a run sees of them."""

from __future__ import annotations

import threading

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.models.signals import pre_save

from synchro import synchronize
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, on_remote
from tests.testapp.models import Item, Parcel

pytestmark = pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])


def elsewhere(work):
    """Call `work` in a thread, which has connections of its own; returns what it returns."""
    returned = []

    def go():
        try:
            returned.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    return returned[0]


def test_rows_that_a_run_is_to_write_are_locked_on_remote_before_it_writes_them():
    if not connections[REMOTE].features.has_select_for_update_nowait:
        pytest.skip("REMOTE locks no single rows")
    parcels = [Parcel.objects.create(name=str(n)) for n in range(3)]
    synchronize()
    for parcel in parcels:
        parcel.save()
    there = list(on_remote(Parcel).values_list("pk", flat=True))

    def is_free(pk):
        try:
            with transaction.atomic(using=REMOTE):
                return bool(on_remote(Parcel).select_for_update(nowait=True).get(pk=pk))
        except DatabaseError:
            return False

    def all_free():
        return elsewhere(lambda: [is_free(pk) for pk in there])

    seen = []

    def look(sender, instance, using, **kwargs):
        if using == REMOTE and not seen:
            seen.extend(all_free())

    assert all_free() == [True, True, True]
    pre_save.connect(look, sender=Parcel)
    try:
        synchronize()
    finally:
        pre_save.disconnect(look, sender=Parcel)
    assert seen == [False, False, False]


def test_others_can_add_rows_while_a_run_goes_on_under_repeatable_read():
    """To lock keys one after the other as a range would lock the gap behind them."""
    if connections[REMOTE].vendor != "mysql":
        pytest.skip("only InnoDB locks gaps")
    # Of a few rows the database would look at all.
    Parcel.objects.using(REMOTE).bulk_create(Parcel(name="there") for _ in range(500))
    parcels = [Parcel.objects.create(name=str(n)) for n in range(3)]
    synchronize()
    for parcel in parcels:
        parcel.save()
    added = []

    def add():
        with connections[REMOTE].cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")
        return Parcel.objects.using(REMOTE).create(name="another").pk

    def look(sender, instance, using, **kwargs):
        if using == REMOTE and instance.name == "0":
            added.append(elsewhere(add))

    connection = connections[REMOTE]
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    pre_save.connect(look, sender=Parcel)
    try:
        synchronize()
    finally:
        pre_save.disconnect(look, sender=Parcel)
        connection.close()
    assert len(added) == 1


def test_a_run_does_not_wait_for_open_writers_under_repeatable_read():
    connection = connections[LOCAL]
    if connection.vendor != "mysql":
        pytest.skip("only InnoDB locks what it reads")
    synchronize()
    opened, end = threading.Event(), threading.Event()

    def write():
        with transaction.atomic():
            Item.objects.create(code="late")
            opened.set()
            end.wait()
        connections.close_all()

    for number in range(15):
        Item.objects.create(code=f"before {number}")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert opened.wait(60)
        for number in range(15):
            Item.objects.create(code=f"after {number}")
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            # A run that waits for the writer fails, as the writer waits for the run.
            cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")
        synchronize()
        assert on_remote(Item).count() == 30
    finally:
        end.set()
        writer.join()
        connection.close()
    synchronize()
    assert on_remote(Item).filter(code="late").exists()
    assert_same(Item)
