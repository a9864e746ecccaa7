"""Multi-table inheritance: a child and its parents are one object."""

from __future__ import annotations

import pytest
from django.test import override_settings

from synchro import DisableSynchroLog, synchronize
from tests.compare import assert_same
from tests.runs import REMOTE, age, occupy, on_remote, synchronize_back
from tests.testapp.models import (
    Copier,
    Gadget,
    Item,
    Journal,
    Label,
    Pizzeria,
    Place,
    Printer,
    Restaurant,
    Scanner,
    Truck,
    Vehicle,
)


@pytest.fixture(params=["auto", "save", "bulk"], autouse=True)
def mode(request):
    with override_settings(SYNCHRO_REPLAY=request.param):
        yield request.param


@pytest.fixture(autouse=True)
def shifted_keys():
    for model in (Place, Printer, Scanner, Vehicle):
        with DisableSynchroLog():
            rows = [model._base_manager.using(REMOTE).create() for _ in range(1)]
            for row in rows:
                row.delete()


def make_pizzeria():
    return Pizzeria.objects.create(name="n", stars=1, oven="o")


def test_a_child_three_deep_arrives_changes_and_goes():
    pizzeria = make_pizzeria()
    synchronize()
    assert_same()
    arrived = on_remote(Pizzeria).get()
    assert (arrived.name, arrived.stars, arrived.oven) == ("n", 1, "o")
    pizzeria.name, pizzeria.stars, pizzeria.oven = "n2", 2, "o2"
    pizzeria.save()
    synchronize()
    assert_same()
    assert on_remote(Place).count() == 1
    pizzeria.delete()
    synchronize()
    for model in (Pizzeria, Restaurant, Place):
        assert not on_remote(model).exists()


def test_a_change_made_through_the_parent_arrives():
    pizzeria = make_pizzeria()
    synchronize()
    place = Place.objects.get(pk=pizzeria.pk)
    place.name = "through the parent"
    place.save()
    synchronize()
    assert on_remote(Pizzeria).get().name == "through the parent"
    assert on_remote(Place).count() == 1


def test_a_row_logged_both_as_parent_and_as_child_is_one_object():
    pizzeria = make_pizzeria()
    Place.objects.get(pk=pizzeria.pk).save()
    Restaurant.objects.get(pk=pizzeria.pk).save()
    synchronize()
    assert_same()
    assert on_remote(Place).count() == 1


def test_a_child_added_to_a_parent_that_remote_has_keeps_the_parent():
    place = Place.objects.create(name="plain")
    synchronize()
    key = on_remote(Place).get().pk
    restaurant = Restaurant(place_ptr=place, stars=3)
    restaurant.save_base(raw=True)
    Restaurant.objects.get(pk=place.pk).save()
    synchronize()
    assert on_remote(Restaurant).get().pk == key
    assert_same()


def test_a_child_that_goes_while_its_parent_stays():
    pizzeria = make_pizzeria()
    synchronize()
    pizzeria.delete(keep_parents=True)
    synchronize()
    assert not on_remote(Pizzeria).exists()
    assert on_remote(Restaurant).count() == 1
    assert_same()


def test_deleting_the_parent_deletes_the_children():
    pizzeria = make_pizzeria()
    synchronize()
    Place.objects.get(pk=pizzeria.pk).delete()
    synchronize()
    assert_same()
    assert not on_remote(Pizzeria).exists()


def test_a_child_that_came_and_went_leaves_no_trace():
    make_pizzeria().delete()
    synchronize()
    assert not on_remote(Place).exists()


@pytest.mark.by_signals("a save() that changes nothing is logged")
def test_an_unlogged_child_is_created_for_its_logged_parent_only_if_it_is_referred_to():
    with DisableSynchroLog():
        pizzeria = make_pizzeria()
    Place.objects.get(pk=pizzeria.pk).save()
    synchronize()
    assert on_remote(Place).get().name == "n"


def test_two_concrete_parents_arrive_change_and_go():
    with DisableSynchroLog():
        Printer.objects.using(REMOTE).create(ink="theirs")
    copier = Copier.objects.create(ink="i", lamp="l", name="c")
    synchronize()
    arrived = on_remote(Copier).get()
    assert (arrived.ink, arrived.lamp, arrived.name) == ("i", "l", "c")
    copier.ink, copier.lamp, copier.name = "i2", "l2", "c2"
    copier.save()
    synchronize()
    arrived = on_remote(Copier).get()
    assert (arrived.ink, arrived.lamp, arrived.name) == ("i2", "l2", "c2")
    assert_same(Copier, Scanner)
    copier.delete()
    synchronize()
    assert_same(Copier, Scanner)
    assert on_remote(Printer).get().ink == "theirs"


def test_a_child_of_a_parent_with_an_explicit_key_keeps_it():
    gadget = Gadget.objects.create(code="g", name="n", weight=1)
    synchronize()
    gadget.name, gadget.weight = "n2", 2
    gadget.save()
    synchronize()
    assert on_remote(Gadget).get(pk="g").name == "n2"
    assert_same()
    gadget.delete()
    synchronize()
    assert not on_remote(Item).exists()


def test_a_child_is_found_by_the_natural_key_of_its_parent():
    with DisableSynchroLog():
        Truck.objects.using(REMOTE).create(plate="theirs")
        theirs = Truck.objects.using(REMOTE).create(plate="W1", load=1)
    truck = Truck.objects.create(plate="W1", load=2)
    synchronize()
    assert on_remote(Truck).get(plate="W1").pk == theirs.pk
    assert on_remote(Truck).get(plate="W1").load == 2
    truck.delete()
    synchronize()
    assert on_remote(Vehicle).get().plate == "theirs"


def test_links_of_a_child_that_its_parent_declares_arrive():
    journal = Journal.objects.create(title="j", issue=2)
    journal.labels.add(Label.objects.create(name="l"))
    synchronize()
    assert_same()
    journal.labels.clear()
    synchronize()
    assert_same()


def test_a_child_comes_back_from_remote():
    occupy(Place, name="theirs")
    pizzeria = make_pizzeria()
    synchronize()
    age(REMOTE)
    theirs = on_remote(Pizzeria).get()
    theirs.name, theirs.oven = "changed", "changed"
    theirs.save()
    synchronize_back()
    again = Pizzeria.objects.get()
    assert (again.pk, again.name, again.oven) == (pizzeria.pk, "changed", "changed")
    assert Place.objects.count() == 1


def test_a_child_deleted_on_remote_goes_on_local():
    make_pizzeria()
    synchronize()
    on_remote(Pizzeria).get().delete()
    synchronize_back()
    assert not Place.objects.exists()


def test_a_child_deleted_and_added_again_under_the_same_explicit_key_is_there():
    """Its deletion is logged for the parent too, its return for the child only."""
    gadget = Gadget.objects.create(code="g", name="first", weight=1)
    synchronize()
    gadget.delete()
    Gadget.objects.create(code="g", name="second", weight=2)
    synchronize()
    assert_same()
    assert on_remote(Gadget).get().name == "second"
