"""Unique values that swap places, or pass from one row to another."""

from __future__ import annotations

from unittest import mock

import pytest
from django.db import connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from synchro import DisableSynchroLog, synchronize, uniques
from synchro.exceptions import SynchroError
from synchro.holds import Holds
from synchro.models import ADDITION, CHANGE, ChangeLog
from synchro.nodes import side
from synchro.remotes.database import DatabaseEnd
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, occupy, on_remote
from tests.testapp.models import (
    Author,
    City,
    Contestant,
    Country,
    Desk,
    Item,
    Letter,
    Locker,
    Plant,
    Seat,
    Ticket,
    Truck,
    Warehouse,
)


@pytest.fixture(params=["auto", "save", "bulk"], autouse=True)
def mode(request):
    with override_settings(SYNCHRO_REPLAY=request.param):
        yield request.param


@pytest.fixture(params=[0, 10], ids=["in sets", "one by one"], autouse=True)
def few(request, monkeypatch):
    """The tests have few rows."""
    monkeypatch.setattr(uniques, "_FEW", request.param)
    return request.param


def swap(one, two, field, spare):
    """Let two rows exchange the values of a unique field; each save is logged."""
    first, second = getattr(one, field), getattr(two, field)
    setattr(one, field, spare)
    one.save()
    setattr(two, field, first)
    two.save()
    setattr(one, field, second)
    one.save()


def test_two_rows_swap_a_unique_value():
    one = Seat.objects.create(name="1", position=1)
    two = Seat.objects.create(name="2", position=2)
    synchronize()
    swap(one, two, "position", 99)
    synchronize()
    assert dict(on_remote(Seat).values_list("name", "position")) == {"1": 2, "2": 1}


def test_many_rows_rotate_a_unique_value():
    seats = [Seat.objects.create(name=str(n), position=n) for n in range(12)]
    synchronize()
    for seat in seats:
        seat.position += 100
        seat.save()
    for seat in seats:
        seat.position = (seat.position - 99) % 12
        seat.save()
    with override_settings(SYNCHRO_BATCH_SIZE=5):
        synchronize()
    assert_same(Seat)


def test_a_value_given_up_for_a_moment_is_not_one_that_another_row_is_to_get():
    one = Seat.objects.create(name="1", position=1)
    synchronize()
    one.delete()
    Seat.objects.create(name="2", position=1)
    Seat.objects.create(name="3", position=2)
    synchronize()
    assert_same(Seat)


def test_two_rows_swap_values_that_are_unique_together():
    one = Desk.objects.create(name="1", room="a", number=1)
    two = Desk.objects.create(name="2", room="a", number=2)
    synchronize()
    swap(one, two, "number", 99)
    synchronize()
    assert_same(Desk)
    three = Desk.objects.create(name="3", room="b", number=one.number)
    synchronize()
    swap(one, three, "room", "x")
    synchronize()
    assert_same(Desk)


def test_two_rows_swap_a_unique_value_that_may_be_missing():
    one = Locker.objects.create(code="1", key_number="a")
    two = Locker.objects.create(code="2", key_number="b")
    Locker.objects.create(code="3")
    synchronize()
    swap(one, two, "key_number", None)
    synchronize()
    assert_same(Locker)


def test_two_rows_swap_a_unique_reference():
    authors = [Author.objects.create(name=name) for name in "ab"]
    one = Locker.objects.create(code="1", owner=authors[0])
    two = Locker.objects.create(code="2", owner=authors[1])
    synchronize()
    swap(one, two, "owner", None)
    synchronize()
    assert_same()


def test_two_rows_swap_a_value_that_others_refer_to():
    one = Warehouse.objects.create(code="1", name="one")
    two = Warehouse.objects.create(code="2", name="two")
    synchronize()
    swap(one, two, "code", "spare")
    synchronize()
    assert_same(Warehouse)


def test_two_rows_swap_a_natural_key_and_another_unique_value():
    one = Plant.objects.create(name="1", serial=1)
    two = Plant.objects.create(name="2", serial=2)
    synchronize()
    swap(one, two, "name", "spare")
    swap(one, two, "serial", 99)
    synchronize()
    assert_same(Plant)


def test_children_swap_a_unique_value_of_their_parents():
    one = Truck.objects.create(plate="1", load=1)
    two = Truck.objects.create(plate="2", load=2)
    synchronize()
    swap(one, two, "plate", "spare")
    synchronize()
    assert_same()


def test_a_value_passes_from_a_deleted_row_to_a_new_one():
    Seat.objects.create(name="old", position=1)
    synchronize()
    Seat.objects.get().delete()
    Seat.objects.create(name="new", position=1)
    synchronize()
    assert list(on_remote(Seat).values_list("name", "position")) == [("new", 1)]


def test_a_value_passes_from_a_deleted_row_to_an_old_one():
    old = Seat.objects.create(name="old", position=1)
    other = Seat.objects.create(name="other", position=2)
    synchronize()
    old.delete()
    other.position = 1
    other.save()
    synchronize()
    assert list(on_remote(Seat).values_list("name", "position")) == [("other", 1)]


def test_a_value_passes_from_a_changed_row_to_a_new_one():
    seat = Seat.objects.create(name="old", position=1)
    synchronize()
    seat.position = 2
    seat.save()
    Seat.objects.create(name="new", position=1)
    synchronize()
    assert_same(Seat)


def test_a_value_passes_along_a_chain_with_a_new_and_a_deleted_row_at_its_ends():
    seats = [Seat.objects.create(name=str(n), position=n) for n in range(4)]
    synchronize()
    seats[3].delete()
    for seat in reversed(seats[:3]):
        seat.position += 1
        seat.save()
    Seat.objects.create(name="new", position=0)
    synchronize()
    assert_same(Seat)


def test_a_row_whose_child_must_move_first_gives_up_its_value():
    """The old row can only go once its child points elsewhere, and the new one needs its value."""
    old = Country.objects.create(code="PL", name="old")
    city = City.objects.create(name="c", country=old)
    synchronize()
    Country.objects.filter(pk=old.pk).update(code="tmp")
    new = Country.objects.create(code="PL", name="new")
    city.country = new
    city.save()
    old.delete()
    synchronize()
    assert_same()
    assert on_remote(City).get().country.name == "new"


def test_a_value_that_another_row_gave_up_without_a_log_row_arrives_once_it_is_logged():
    one = Seat.objects.create(name="1", position=1)
    two = Seat.objects.create(name="2", position=2)
    synchronize()
    Seat.objects.filter(pk=one.pk).update(position=3)
    two.position = 1
    two.save()
    Seat.objects.get(pk=one.pk).save()
    synchronize()
    assert_same(Seat)


def test_a_deleted_explicit_key_comes_back_with_another_unique_value():
    Locker.objects.create(code="1", key_number="a")
    Locker.objects.create(code="2", key_number="b")
    synchronize()
    Locker.objects.all().delete()
    Locker.objects.create(code="2", key_number="a")
    Locker.objects.create(code="1", key_number="b")
    synchronize()
    assert_same(Locker)


def test_unlogged_rows_of_remote_keep_their_values():
    with DisableSynchroLog():
        occupy(Seat, name="theirs", position=7)
    one = Seat.objects.create(name="1", position=1)
    two = Seat.objects.create(name="2", position=2)
    synchronize()
    swap(one, two, "position", 99)
    synchronize()
    assert on_remote(Seat).get(name="theirs").position == 7


def test_keys_themselves_never_collide_on_the_way():
    for code in ("a", "b"):
        Item.objects.create(code=code, name=code)
    synchronize()
    Item.objects.all().delete()
    for code in ("b", "c"):
        Item.objects.create(code=code, name=f"again {code}")
    synchronize()
    assert_same(Item)


def test_a_value_that_is_given_up_makes_room_without_taking_one_that_is_needed():
    """The next free number is just the one that a new row brings."""
    for number in (1, 2, 3):
        Plant.objects.create(name=str(number), serial=number)
    synchronize()
    Plant.objects.get(name="1").delete()
    Plant.objects.create(name="1", serial=4)
    Plant.objects.get(name="2").delete()
    Plant.objects.create(name="new", serial=2)
    synchronize()
    assert_same(Plant)


TEXTS = [str(number) for number in range(15)]


def rotate(rows, field):
    """Each row of LOCAL gets the value of the next one; all of them are logged."""
    model = type(rows[0])
    values = [getattr(row, field) for row in rows]
    model._base_manager.all()._raw_delete(LOCAL)
    for row, value in zip(rows, [*values[1:], values[0]], strict=True):
        setattr(row, field, value)
    model._base_manager.bulk_create(rows)
    ChangeLog.objects.bulk_create(
        ChangeLog(label=model._meta.label_lower, object_id=str(row.pk), action=CHANGE)
        for row in rows
    )


@pytest.mark.parametrize(
    ("model", "field", "values"),
    [
        (Seat, "position", range(15)),
        (Plant, "serial", range(-7, 8)),
        (Plant, "serial", range(2**31 - 15, 2**31)),
        (Contestant, "place", range(86, 101)),
        (Contestant, "place", range(85, 100)),
        (Warehouse, "code", TEXTS),
        (Country, "code", TEXTS),
        (Locker, "key_number", TEXTS),
        (Desk, "number", range(15)),
        (Letter, "letter", "abcdefghijklmno"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_many_rows_give_their_values_on(model, field, values):
    """Numbers, texts long and short, what may be missing, what is unique with another value; also
    where not every value is allowed, or there is none above."""
    names = {one.name for one in model._meta.concrete_fields}
    rows = [model(**{field: value}) for value in values]
    for number, row in enumerate(rows):
        if "name" in names:
            row.name = f"name {number}"
        if model is Locker:
            row.pk = f"pk {number}"
    for row in rows:
        row.save()
    synchronize()
    rotate(rows, field)
    synchronize()
    assert_same(model)


def test_many_rows_give_their_values_up_in_sets(mode, few):
    if mode == "save" or few:
        pytest.skip("goes one by one")
    rows = Seat.objects.bulk_create(Seat(name=str(n), position=n) for n in range(300))
    rows = list(Seat.objects.order_by("pk"))
    ChangeLog.objects.bulk_create(
        ChangeLog(label="testapp.seat", object_id=str(row.pk), action=ADDITION) for row in rows
    )
    synchronize()
    rotate(rows, "position")
    with CaptureQueriesContext(connections[REMOTE]) as queries:
        synchronize()
    assert_same(Seat)
    about = [query["sql"] for query in queries if "testapp_seat" in query["sql"]]
    assert len(about) < 20, [sql[:100] for sql in about]


def test_rows_keep_their_composite_keys_while_they_give_up_what_is_unique_with_a_part():
    for number in range(15):
        Ticket.objects.create(tenant=1, number=number, code=f"code {number}")
    synchronize()
    tickets = list(Ticket.objects.order_by("number"))
    codes = [ticket.code for ticket in tickets]
    with DisableSynchroLog():
        Ticket.objects.all().delete()
    for ticket, code in zip(tickets, [*codes[1:], codes[0]], strict=True):
        ticket.code = code
        ticket.save(force_insert=True)
    synchronize()
    found = on_remote(Ticket).order_by("number").values_list("tenant", "number", "code")
    assert list(found) == [(1, number, f"code {(number + 1) % 15}") for number in range(15)]


def test_what_is_unique_within_the_key_alone_cannot_be_given_up(mode):
    """The message says what to do, also where REMOTE was not even asked."""
    Ticket.objects.create(tenant=1, number=2, code="a")
    synchronize()
    number = Ticket._meta.get_field("number")
    releaser = uniques.Releaser(DatabaseEnd(side(REMOTE)), Ticket, Holds(tolerant=False))
    with (
        mock.patch.object(uniques, "unique_groups", lambda _: (uniques.Group((number,)),)),
        pytest.raises(SynchroError, match=r"its number \(2\).* accepted for a moment\. Change"),
    ):
        releaser.release([((1, 3), {"number": 2})], {(1, 2)})
    assert on_remote(Ticket).get().pk == (1, 2)
