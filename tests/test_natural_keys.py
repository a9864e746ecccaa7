"""NaturalManager and NaturalKeyModel, and how natural keys name objects."""

from __future__ import annotations

import copy
import datetime
import pickle
from typing import Any

import pytest
from django.core.exceptions import MultipleObjectsReturned
from django.db import connections, models
from django.test.utils import CaptureQueriesContext

import synchro
import synchro.core
from synchro import (
    DisableSynchroLog,
    NaturalKeyModel,
    NaturalManager,
    keynumbers,
    keytimes,
    synchronize,
)
from synchro.exceptions import SynchroError
from synchro.keys import natural_lookup
from synchro.models import Reference
from synchro.nodes import side
from synchro.remotes import database
from synchro.remotes.database import DatabaseEnd
from tests.runs import LOCAL, REMOTE, occupy, on_remote
from tests.testapp.models import (
    Category,
    City,
    Country,
    Extended,
    Gear,
    LoudManager,
    Person,
    Reading,
    Shouted,
    Street,
    Town,
    Truck,
    Twin,
    Vehicle,
)


def test_the_public_names_are_importable_from_both_places():
    for name in (
        "NaturalManager",
        "NaturalKeyModel",
        "DisableSynchroLog",
        "disable_synchro_log",
        "reset_synchro",
        "synchronize",
        "call_synchronize",
    ):
        assert getattr(synchro, name) is getattr(synchro.core, name)


def test_a_natural_manager_finds_by_its_fields():
    Reading.objects.create(code="a", day="2012-01-02", value=1)
    wanted = Reading.objects.create(code="a", day="2012-01-03", value=2)
    assert Reading.objects.get_by_natural_key("a", datetime.date(2012, 1, 3)) == wanted


def test_a_natural_key_model_names_itself_and_is_found_by_that():
    country = Country.objects.create(code="PL", name="Polska")
    assert country.natural_key() == ("PL",)
    assert Country.objects.get_by_natural_key("PL") == country


def test_a_natural_key_follows_relations():
    poland = Country.objects.create(code="PL", name="Polska")
    other = Country.objects.create(code="BY", name="Białoruś")
    City.objects.create(name="Brześć", country=poland)
    city = City.objects.create(name="Brześć", country=other)
    street = Street.objects.create(name="Główna", city=city)
    assert city.natural_key() == ("Brześć", "Białoruś")
    assert City.objects.get_by_natural_key("Brześć", "Białoruś") == city
    assert Street.objects.get_by_natural_key(*street.natural_key()) == street


def test_a_missing_link_is_a_part_of_the_key():
    root = Category.objects.create(name="a")
    Category.objects.create(name="a", parent=root)
    assert root.natural_key() == ("a", None)
    assert Category.objects.get_by_natural_key("a", None) == root


def test_a_natural_manager_looks_at_its_own_database():
    Country.objects.using(REMOTE).create(code="PL", name="Polska")
    with pytest.raises(Country.DoesNotExist):
        Country.objects.get_by_natural_key("PL")
    assert Country.objects.db_manager(REMOTE).get_by_natural_key("PL").name == "Polska"
    assert Country.objects.db_manager(LOCAL).count() == 0


def test_several_rows_are_an_error():
    for number in (1, 2):
        Twin.objects.create(name="a", number=number)
    with pytest.raises(MultipleObjectsReturned):
        Twin.objects.get_by_natural_key("a")


def test_several_rows_are_no_error_where_they_are_expected():
    people = [Person.objects.create(first="J", last="K") for _ in range(2)]
    assert Person.objects.get_by_natural_key("J", "K") in people
    with pytest.raises(Person.DoesNotExist):
        Person.objects.get_by_natural_key("J", "L")


@pytest.mark.parametrize("model", [Shouted, Extended])
def test_the_given_manager_is_extended(model):
    row = model.objects.create(name="a")
    assert isinstance(model.objects, LoudManager)
    assert isinstance(model.objects, NaturalManager)
    assert model.objects.loud() == ["A"]
    assert model.objects.get_by_natural_key("a") == row


def test_each_natural_manager_is_a_class_of_its_own_that_needs_no_arguments():
    one, other = NaturalManager("code"), NaturalManager("name", allow_many=True)
    assert type(one) is not type(other)
    again = type(one)()
    assert (again.fields, again.allow_many) == (("code",), False)
    assert (other.fields, other.allow_many) == (("name",), True)


def test_a_related_manager_is_a_natural_manager():
    country = Country.objects.create(code="PL", name="Polska")
    city = City.objects.create(name="Łódź", country=country)
    elsewhere = Country.objects.create(code="DE", name="Niemcy")
    assert country.city_set.get_by_natural_key("Łódź", "Polska") == city
    with pytest.raises(City.DoesNotExist):
        elsewhere.city_set.get_by_natural_key("Łódź", "Polska")


def test_a_child_inherits_the_natural_key_of_its_parent():
    truck = Truck.objects.create(plate="W1", load=2)
    assert truck.natural_key() == ("W1",)
    assert Truck.objects.get_by_natural_key("W1") == truck
    assert Vehicle.objects.get_by_natural_key("W1").pk == truck.pk


def test_a_natural_manager_without_fields_is_refused():
    with pytest.raises(SynchroError, match="NaturalManager"):
        NaturalManager()


@pytest.mark.parametrize("wrong", [dict, models.Model, "Manager", models.Manager()])
def test_a_manager_that_is_no_manager_class_is_refused(wrong):
    with pytest.raises(SynchroError, match="Manager"):
        NaturalManager("name", manager=wrong)


def test_a_natural_key_that_is_a_string_is_refused():
    with pytest.raises(SynchroError, match="tuple"):

        class Wrong(NaturalKeyModel):
            _natural_key = "name"  # type: ignore[assignment]
            name = models.CharField(max_length=10)

            class Meta:
                app_label = "wrong"


def test_natural_managers_can_be_pickled_and_copied_with_their_querysets():
    Country.objects.create(code="PL", name="Polska")
    assert copy.deepcopy(Country.objects.all())[0].code == "PL"
    assert pickle.loads(pickle.dumps(Country.objects.all()))[0].code == "PL"


@pytest.mark.parametrize("rows_per_key", [0, 1, 4])
def test_keys_of_several_values_are_found_by_parts_as_they_are_as_wholes(
    monkeypatch, rows_per_key
):
    """Other combinations of the same values, and what a database takes for equal, are not
    found; where there are several rows, they are in the order of their keys."""
    roots = [Category.objects.create(name=name) for name in ("a", "b", "a")]
    for parent in (None, *roots):
        for name in ("a", "A", "ä", "b", "x", "y", "a"):
            Category.objects.create(name=name, parent=parent)
    # PostgreSQL tells of rows that were changed last, unless it is asked for an order.
    Category.objects.filter(pk__in=[root.pk for root in roots[:2]]).update(parent=None)
    Category.objects.filter(parent=roots[0], name="a").first().save()
    monkeypatch.setattr(database, "_ROWS_PER_KEY", rows_per_key)
    names = ("a", "A", "b", "c", "o'x", "")
    wanted = [(name, parent) for name in names for parent in ("a", "b", "z", None)]
    wanted.remove(("b", "a"))
    lookup = natural_lookup(Category)
    assert lookup is not None
    found = DatabaseEnd(side(LOCAL)).by_natural_key(lookup, wanted)
    by_key: dict[Any, list[Any]] = {}
    for row in Category.objects.select_related("parent").order_by("pk"):
        key = (row.name, row.parent and row.parent.name)
        if key in wanted:
            by_key.setdefault(key, []).append(row.pk)
    assert found == by_key


@pytest.mark.parametrize("others", [0, 40])
def test_many_keys_of_several_values_are_one_question(others):
    """Unless there are too many other combinations of the values."""
    country = Country.objects.create(code="PL", name="Polska")
    City.objects.bulk_create(City(name=str(number), country=country) for number in range(40))
    cities = list(City.objects.all())
    names = [str(number) for number in range(40)]
    Street.objects.bulk_create(
        Street(name=name, city=city)
        for index, city in enumerate(cities)
        for name in (names[:others] or names[index : index + 1])
    )
    lookup = natural_lookup(Street)
    assert lookup is not None
    wanted = [(name, city.name, "Polska") for name, city in zip(names, cities, strict=True)]
    wanted += [("nowhere", str(number), "Polska") for number in range(160)]
    end = DatabaseEnd(side(LOCAL))
    with CaptureQueriesContext(connections[LOCAL]) as queries:
        found = end.by_natural_key(lookup, wanted)
    streets = Street.objects.select_related("city")
    here = {(s.name, s.city.name, "Polska"): [s.pk] for s in streets if s.name == s.city.name}
    assert found == here
    assert len(queries) == (3 if others else 1)


def test_a_foreign_key_in_a_natural_key_is_told_as_remote_has_it():
    """The keys of its targets are others there, and one of them is not there at all."""
    codes = ["pl", "de", "cz"]
    for alias, order in ((LOCAL, codes), (REMOTE, ["other", "de", "pl"])):
        with DisableSynchroLog():
            for code in order:
                Country.objects.using(alias).create(code=code, name=code)
    for code in ("pl", "de"):
        country = on_remote(Country).get(code=code)
        with DisableSynchroLog():
            Town.objects.using(REMOTE).create(name="Zgorzelec", country=country)
    there = {town.country.code: town.pk for town in on_remote(Town)}
    for code in codes:
        Town.objects.create(name="Zgorzelec", country=Country.objects.get(code=code))
    synchronize()
    found = {town.country.code: town.pk for town in on_remote(Town)}
    assert {code: found[code] for code in there} == there
    assert set(found) == {*codes}
    assert on_remote(Town).count() == 3


@pytest.mark.parametrize("many", [1, 20_000])
def test_what_is_matched_is_written_down_whether_keys_differ_or_not(monkeypatch, settings, many):
    """Also of rows that are only referred to."""
    monkeypatch.setattr(keytimes, "MANY", many)
    monkeypatch.setattr(keynumbers, "_CROWD", 0)
    settings.SYNCHRO_BATCH_SIZE = 1
    keys = {"a": (1001, 1009), "b": (1002, 1002), "c": (1003, 1003)}
    for code, (here, there) in keys.items():
        with DisableSynchroLog():
            on_remote(Country).create(pk=there, code=code)
            country = Country.objects.create(pk=here, code=code)
        City.objects.create(name=code, country=country)
    synchronize()
    found = Reference.objects.using(REMOTE).filter(label="testapp.country")
    assert {*found.values_list("remote_object_id", "local_object_id")} == {
        (str(here), str(there)) for here, there in keys.values()
    }


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("many", [1, 20_000])
def test_a_row_that_another_object_has_taken_over_stays(monkeypatch, settings, many, first):
    """Its old owner is deleted, and the new one has its key: the later one has it, also where
    keys are packed."""
    monkeypatch.setattr(keytimes, "MANY", many)
    monkeypatch.setattr(keynumbers, "_CROWD", 0)
    settings.SYNCHRO_BATCH_SIZE = 1
    occupy(Gear, number=5, name="x")
    Gear.objects.create(number=9, name="x")
    Gear.objects.create(number=6, name="y")
    synchronize()
    if first:
        # Its key is packed before the others are asked for.
        Gear.objects.get(number=6).delete()
    Gear.objects.get(number=9).delete()
    Gear.objects.create(number=5, name="z")
    synchronize()
    left = [] if first else [(6, "y")]
    assert sorted(on_remote(Gear).values_list("pk", "name")) == [(5, "z"), *left]
    assert not synchronize().total
