"""How a row finds its counterpart: explicit key, reference, natural key, or none."""

from __future__ import annotations

import datetime

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.test import override_settings

from synchro import DisableSynchroLog, synchronize
from synchro.exceptions import SynchroError
from synchro.models import Reference
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, age, occupy, on_remote, synchronize_back
from tests.testapp.models import (
    Author,
    Badge,
    Book,
    Category,
    City,
    Country,
    Extended,
    Item,
    Note,
    Person,
    Reading,
    Shouted,
    Slot,
    Street,
    Token,
    Twin,
)

# Explicit keys


@pytest.mark.parametrize(
    ("model", "key", "field"),
    [
        (Item, {"code": "a"}, "name"),
        (Token, {"id": "12345678-1234-5678-1234-567812345678"}, "name"),
        (Slot, {"room": "a", "hour": 1}, "title"),
    ],
)
def test_rows_with_the_same_explicit_key_are_one_object(model, key, field):
    occupy(model, **key, **{field: "theirs"})
    model.objects.create(**key, **{field: "ours"})
    synchronize()
    assert getattr(on_remote(model).get(), field) == "ours"
    assert_same(model)


def test_explicit_keys_are_compared_exactly():
    for code in ("Zurich", "Zürich", "zurich", "Zurich ", "Ζurich"):
        if not Item.objects.filter(code=code).exists():
            Item.objects.create(code=code, name=code)
    try:
        synchronize()
    except SynchroError as error:
        # MariaDB and MySQL cannot hold two keys that are equal in the collation.
        assert (connections[LOCAL].vendor, connections[REMOTE].vendor) != ("mysql", "mysql")
        assert connections[REMOTE].vendor == "mysql"
        assert "testapp.Item" in str(error)
        assert not on_remote(Item).exists()
    else:
        assert_same(Item)


def test_an_explicit_key_does_not_find_a_row_that_is_only_equal_in_the_collation():
    """MariaDB and MySQL take them for equal: then it is an error, never the wrong row."""
    occupy(Item, code="Zürich", name="theirs")
    Item.objects.create(code="Zurich", name="ours")
    if connections[REMOTE].vendor == "mysql":
        with pytest.raises(SynchroError, match="Zurich"):
            synchronize()
        assert on_remote(Item).get().name == "theirs"
    else:
        synchronize()
        assert sorted(on_remote(Item).values_list("name", flat=True)) == ["ours", "theirs"]


# Automatic keys


def test_equal_automatic_keys_of_different_rows_are_different_objects():
    theirs = Note.objects.using(REMOTE).create(name="theirs")
    Note.objects.create(pk=theirs.pk, name="ours")
    synchronize()
    assert sorted(on_remote(Note).values_list("name", flat=True)) == ["ours", "theirs"]


def test_a_reference_is_kept_for_a_row_with_an_automatic_key():
    occupy(Note, name="theirs")
    note = Note.objects.create(name="ours")
    synchronize()
    arrived = on_remote(Note).get(name="ours")
    reference = Reference.objects.using(REMOTE).get(label="testapp.note")
    assert (reference.local_object_id, reference.remote_object_id) == (
        str(arrived.pk),
        str(note.pk),
    )


def test_a_reference_leads_changes_and_deletions_to_the_right_row():
    occupy(Note, name="theirs")
    one, two = Note.objects.create(name="one"), Note.objects.create(name="two")
    synchronize()
    one.name = "one, changed"
    one.save()
    two.delete()
    synchronize()
    assert sorted(on_remote(Note).values_list("name", flat=True)) == ["one, changed", "theirs"]


def test_what_local_created_on_remote_is_found_again_from_remote():
    occupy(Note, name="theirs")
    note = Note.objects.create(name="ours")
    synchronize()
    arrived = on_remote(Note).get(name="ours")
    arrived.name = "changed on remote"
    arrived.save()
    synchronize_back()
    note.refresh_from_db()
    assert note.name == "changed on remote"
    assert Note.objects.count() == 1


def test_a_row_deleted_on_remote_goes_on_local_when_remote_synchronizes_back():
    occupy(Note, name="theirs")
    Note.objects.create(name="kept")
    Note.objects.create(name="gone")
    synchronize()
    on_remote(Note).get(name="gone").delete()
    synchronize_back()
    assert list(Note.objects.values_list("name", flat=True)) == ["kept"]


def test_rows_go_to_and_fro_without_doubles():
    occupy(Note, name="never logged")
    Note.objects.create(name="from local")
    Note.objects.using(REMOTE).create(name="from remote")
    synchronize()
    synchronize_back()
    for step in range(3):
        for alias, run in ((LOCAL, synchronize), (REMOTE, synchronize_back)):
            for note in Note.objects.using(alias).filter(name__startswith="from"):
                age(LOCAL)
                age(REMOTE)
                note.number += 1
                note.save()
            run()
            assert synchronize().changed is False, step
            assert synchronize_back().changed is False, step
    assert list(Note.objects.order_by("name").values_list("name", "number")) == [
        ("from local", 6),
        ("from remote", 6),
    ]
    assert on_remote(Note).count() == 3


def test_references_of_foreign_keys_work_in_the_other_direction_too():
    occupy(Country, code="XX", name="X")
    country = Country.objects.create(code="PL", name="Polska")
    synchronize()
    arrived = on_remote(Country).get(code="PL")
    City.objects.using(REMOTE).create(name="Łódź", country=arrived)
    synchronize_back()
    assert City.objects.get().country == country


@pytest.mark.by_signals("_raw_delete() writes silently")
def test_a_reference_to_a_row_that_is_gone_from_remote_makes_a_new_row():
    note = Note.objects.create(name="a")
    synchronize()
    on_remote(Note).all()._raw_delete(REMOTE)
    note.name = "b"
    note.save()
    synchronize()
    assert on_remote(Note).get().name == "b"
    note.name = "c"
    note.save()
    synchronize()
    assert on_remote(Note).get().name == "c"


def test_a_reused_automatic_key_is_a_new_object():
    """The row behind the key was deleted and another one was added under it."""
    occupy(Note, name="theirs")
    note = Note.objects.create(name="old")
    synchronize()
    key = note.pk
    note.delete()
    synchronize()
    Note.objects.create(pk=key, name="new")
    synchronize()
    assert sorted(on_remote(Note).values_list("name", flat=True)) == ["new", "theirs"]


# Natural keys


def make_country(alias=LOCAL, **values):
    values = {"code": "PL", "name": "Polska", **values}
    return Country._base_manager.using(alias).create(**values)


def test_a_natural_key_finds_the_row_of_remote():
    occupy(Country, code="XX", name="X")
    with DisableSynchroLog():
        theirs = make_country(REMOTE, population=1)
    make_country(population=2)
    synchronize()
    assert on_remote(Country).get(code="PL").pk == theirs.pk
    assert on_remote(Country).get(code="PL").population == 2


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [
        (Country, {"code": "PL", "name": "Polska"}, "population"),
        (Reading, {"code": "a", "day": datetime.date(2012, 1, 2)}, "value"),
        (Shouted, {"name": "a"}, "number"),
        (Extended, {"name": "a"}, "number"),
        (Badge, {"label": "a"}, "number"),
        (Twin, {"name": "a"}, "number"),
        (Person, {"first": "a", "last": "b"}, "age"),
        (Category, {"name": "a"}, None),
    ],
)
def test_each_kind_of_natural_key_leads_additions_changes_and_deletions(model, key, value):
    with DisableSynchroLog():
        model._base_manager.using(REMOTE).create(
            **{name: "other" if isinstance(part, str) else part for name, part in key.items()}
        )
        model._base_manager.using(REMOTE).create(**key)
    Reference.objects.using(REMOTE).all().delete()
    row = model._base_manager.create(**key)
    if value:
        setattr(row, value, 42)
        row.save()
    synchronize()
    assert on_remote(model).count() == 2
    if value:
        assert getattr(on_remote(model).get(**key), value) == 42
    Reference.objects.using(REMOTE).all().delete()
    row.delete()
    synchronize()
    assert not on_remote(model).filter(**key).exists()
    assert on_remote(model).count() == 1


def test_a_hand_written_manager_decides_what_it_finds():
    with DisableSynchroLog():
        Badge.objects.using(REMOTE).create(label="Gold")
    Badge.objects.create(label="GOLD", number=3)
    synchronize()
    assert list(on_remote(Badge).values_list("label", "number")) == [("GOLD", 3)]


def test_a_natural_key_over_relations_finds_the_row_of_remote():
    occupy(Country, code="XX", name="X")
    for alias in (LOCAL, REMOTE):
        with DisableSynchroLog():
            country = make_country(alias)
            city = City._base_manager.using(alias).create(name="Łódź", country=country)
            Street._base_manager.using(alias).create(name="Główna", city=city)
    street = Street.objects.get()
    street.length = 9
    street.save()
    synchronize()
    assert on_remote(Street).get().length == 9
    assert on_remote(City).count() == 1
    assert on_remote(Country).count() == 2


def test_a_deletion_finds_the_row_by_its_natural_key_over_relations():
    for alias in (LOCAL, REMOTE):
        with DisableSynchroLog():
            country = make_country(alias)
            for name in ("Łódź", "Opole"):
                City._base_manager.using(alias).create(name=name, country=country)
    City.objects.get(name="Łódź").delete()
    synchronize()
    assert on_remote(City).get().name == "Opole"


def test_a_parent_and_its_children_go_by_their_natural_keys():
    for alias in (LOCAL, REMOTE):
        with DisableSynchroLog():
            country = make_country(alias)
            City._base_manager.using(alias).create(name="Łódź", country=country)
    Country.objects.get().delete()
    synchronize()
    assert not on_remote(City).exists()
    assert not on_remote(Country).exists()


def test_a_renamed_natural_key_changes_its_counterpart():
    country = make_country()
    synchronize()
    country.code = "POL"
    country.save()
    synchronize()
    assert list(on_remote(Country).values_list("code", flat=True)) == ["POL"]


def test_a_row_found_by_its_natural_key_may_be_renamed_later():
    with DisableSynchroLog():
        make_country(REMOTE)
    country = make_country()
    synchronize()
    country.code = "POL"
    country.save()
    synchronize()
    assert list(on_remote(Country).values_list("code", flat=True)) == ["POL"]


def test_a_natural_key_that_was_renamed_through_its_relation_changes_its_counterpart():
    country = make_country()
    city = City.objects.create(name="Łódź", country=country)
    synchronize()
    country.name = "Rzeczpospolita"
    country.save()
    city.population = 7
    city.save()
    synchronize()
    assert on_remote(City).get().population == 7
    assert_same(City, Country)


def test_natural_keys_that_swap_places_stay_with_their_rows():
    one = make_country(code="1", name="one")
    two = make_country(code="2", name="two")
    synchronize()
    keys = {name: on_remote(Country).get(name=name).pk for name in ("one", "two")}
    Country.objects.filter(pk=one.pk).update(code="tmp")
    two.code = "1"
    two.save()
    one.code = "2"
    one.save()
    synchronize()
    assert {row.name: (row.pk, row.code) for row in on_remote(Country).all()} == {
        "one": (keys["one"], "2"),
        "two": (keys["two"], "1"),
    }


def test_a_natural_key_handed_over_to_a_new_row_leads_to_the_right_rows():
    old = make_country(population=1)
    synchronize()
    key = on_remote(Country).get().pk
    old.code = "OLD"
    old.save()
    make_country(name="new", population=2)
    synchronize()
    assert_same(Country)
    assert on_remote(Country).get(code="OLD").pk == key


def test_a_row_deleted_and_added_again_under_the_same_natural_key_is_one_row():
    make_country(population=1).delete()
    make_country(population=2)
    synchronize()
    Country.objects.get().delete()
    make_country(population=3)
    synchronize()
    assert on_remote(Country).get().population == 3


def test_natural_keys_are_compared_exactly():
    """MariaDB and MySQL take them for equal: that may be an error, but never the wrong row."""
    with DisableSynchroLog():
        Twin.objects.using(REMOTE).create(name="Zürich", number=1)
    Twin.objects.create(name="Zurich", number=2)
    synchronize()
    assert sorted(on_remote(Twin).values_list("name", "number")) == [("Zurich", 2), ("Zürich", 1)]


def test_a_natural_key_that_finds_several_rows_fails_the_run():
    for number in (1, 2):
        occupy(Twin, name="a", number=number)
    Note.objects.create(name="also")
    twin = Twin.objects.create(name="a", number=3)
    with pytest.raises(SynchroError) as caught:
        synchronize()
    message = str(caught.value)
    assert "Twin" in message
    assert str(twin.pk) in message
    assert "'a'" in message or '"a"' in message
    assert sorted(on_remote(Twin).values_list("number", flat=True)) == [1, 2]
    assert not on_remote(Note).exists()


def test_a_natural_key_that_finds_several_rows_takes_one_where_that_is_expected():
    for age_ in (1, 2):
        occupy(Person, first="a", last="b", age=age_)
    Person.objects.create(first="a", last="b", age=3)
    synchronize()
    ages = sorted(on_remote(Person).values_list("age", flat=True))
    assert ages in ([1, 3], [2, 3])


def test_two_local_rows_with_one_expected_natural_key_stay_two_rows():
    for age_ in (1, 2):
        Person.objects.create(first="a", last="b", age=age_)
    synchronize()
    assert_same(Person)


def test_two_local_rows_with_one_unexpected_natural_key_fail_or_stay_two_rows():
    """Never one row that holds the values of the other."""
    for number in (1, 2):
        Twin.objects.create(name="a", number=number)
    try:
        synchronize()
    except SynchroError:
        assert not on_remote(Twin).exists()
    else:
        assert_same(Twin)


def test_a_reference_is_preferred_to_a_natural_key():
    country = make_country()
    synchronize()
    with DisableSynchroLog():
        mine = on_remote(Country).get()
        mine.code = "REMOTE"
        mine.save()
        make_country(REMOTE, name="another one took the key")
    country.code, country.population = "NEW", 5
    country.save()
    synchronize()
    assert on_remote(Country).get(pk=mine.pk).population == 5
    assert on_remote(Country).count() == 2


# Django's own models


def test_users_groups_and_permissions_find_their_counterparts():
    permissions = Permission.objects.using(REMOTE).count()
    occupy(Group, name="theirs")
    occupy(User, username="theirs")
    user = User.objects.create_user("ada", "ada@example.com", "secret")
    group = Group.objects.create(name="editors")
    permission = Permission.objects.get(codename="change_note")
    group.permissions.add(permission)
    user.groups.add(group)
    user.user_permissions.add(Permission.objects.get(codename="add_note"))
    synchronize()
    arrived = User.objects.using(REMOTE).get(username="ada")
    assert arrived.check_password("secret")
    assert [row.name for row in arrived.groups.all()] == ["editors"]
    assert [row.codename for row in arrived.user_permissions.all()] == ["add_note"]
    assert [row.codename for row in arrived.groups.get().permissions.all()] == ["change_note"]
    assert Permission.objects.using(REMOTE).count() == permissions
    user.groups.clear()
    user.email = "changed@example.com"
    user.save()
    synchronize()
    assert User.objects.using(REMOTE).get(username="ada").email == "changed@example.com"
    assert not User.objects.using(REMOTE).get(username="ada").groups.exists()


def test_a_user_with_the_same_name_on_remote_is_the_same_user():
    occupy(User, username="someone else")
    occupy(User, username="ada", email="old@example.com")
    User.objects.create(username="ada", email="new@example.com")
    synchronize()
    assert User.objects.using(REMOTE).get(username="ada").email == "new@example.com"
    assert User.objects.using(REMOTE).count() == 2


def test_permissions_find_their_counterparts_although_content_types_have_other_keys():
    with DisableSynchroLog():
        ContentType.objects.using(REMOTE).get(app_label="testapp", model="note").delete()
        ContentType.objects.clear_cache()
        kind = ContentType.objects.db_manager(REMOTE).get_for_model(Note)
        theirs = Permission.objects.using(REMOTE).create(
            codename="change_note", name="old name", content_type=kind
        )
    group = Group.objects.create(name="g")
    permission = Permission.objects.get(codename="change_note", content_type__model="note")
    assert permission.content_type_id != kind.pk
    group.permissions.add(permission)
    permission.name = "new name"
    permission.save()
    synchronize()
    assert list(Group.objects.using(REMOTE).get().permissions.all()) == [theirs]
    theirs.refresh_from_db()
    assert (theirs.name, theirs.content_type) == ("new name", kind)


def test_a_logged_parent_and_child_find_each_other_whatever_the_order_of_the_log():
    with override_settings(SYNCHRO_MODELS=[("testapp", "Book")]):
        author = Author.objects.create(name="a")
        Book.objects.create(title="b", author=author)
    author.save()
    synchronize()
    assert_same()
