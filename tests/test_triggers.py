"""Capture by triggers: what the database itself writes into the log, and what it does not."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, connections, transaction
from django.db.models import F
from django.utils import timezone

from synchro import DisableSynchroLog, diff, synchronize
from synchro.models import ADDITION, CHANGE, DELETION, M2M_CHANGE, ChangeLog
from synchro.sealing import seal
from synchro.triggers.silence import is_silent
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, logged, on_remote, synchronize_back
from tests.testapp.models import (
    Account,
    Appointment,
    Author,
    Book,
    Box,
    Category,
    City,
    Club,
    Country,
    Crate,
    Depot,
    Fan,
    Friend,
    Item,
    Kit,
    Label,
    Member,
    Membership,
    Note,
    Paper,
    Place,
    Plant,
    Reading,
    Restaurant,
    Shouted,
    Slot,
    Street,
    Token,
)
from tests.triggered import execute, quoted, triggers, vendor

ALL = (LOCAL, REMOTE)


@pytest.fixture(scope="module", autouse=True)
def installed(django_db_setup: None, django_db_blocker: object) -> Iterator[None]:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        context = triggers()
        context.__enter__()
    yield
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        context.__exit__(None, None, None)


def forget(alias: str = LOCAL) -> None:
    ChangeLog.objects.using(alias).all().delete()


def table(model: type) -> str:
    return quoted(model._meta.db_table)


def make(model: type, **values: object):
    """A row whose log row has been forgotten."""
    row = model._base_manager.create(**values)
    forget()
    return row


def rows() -> list[tuple[str, str, int, str]]:
    found = ChangeLog.objects.order_by("pk")
    return list(found.values_list("label", "object_id", "action", "field"))


# The rows of the log


def test_a_save_is_logged_once_and_as_signals_do():
    before = timezone.now()
    note = Note.objects.create(name="a")
    (row,) = ChangeLog.objects.all()
    assert (row.label, row.object_id, row.action) == ("testapp.note", str(note.pk), ADDITION)
    assert row.content_type == ContentType.objects.get_for_model(Note)
    assert (row.field, row.key, row.batch, row.origin, row.origin_date) == (
        "",
        None,
        None,
        "",
        None,
    )
    assert row.object == note
    # SQLite knows milliseconds, and cuts the rest off.
    assert before - timedelta(milliseconds=1) <= row.date
    assert row.date <= timezone.now() + timedelta(milliseconds=1)


def test_changes_and_deletions_are_logged_once():
    note = make(Note, name="a")
    note.name = "b"
    note.save()
    note.delete()
    assert [action for _, action in logged(Note)] == [CHANGE, DELETION]


def test_an_update_that_changes_nothing_is_not_logged():
    note = make(Note, name="a")
    note.save()
    Note.objects.update(name="a")
    assert rows() == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("Zurich", "zurich"), ("Zurich", "Zürich"), ("a", "a "), ("", "0"), ("1", "1.0")],
)
def test_text_that_collations_take_for_equal_is_a_change(old, new):
    note = make(Note, name=old)
    Note.objects.update(name=new)
    assert logged(Note) == [(str(note.pk), CHANGE)]


def test_null_is_a_value():
    folder = make(Category, name="a", parent=None)
    Category.objects.update(parent=folder)
    Category.objects.update(parent=None)
    assert [action for _, action in logged(Category)] == [CHANGE, CHANGE]


def test_a_change_of_skipped_fields_alone_is_not_logged():
    account = make(Account, name="a", balance=1)
    Account.objects.update(balance=2)
    assert rows() == []
    Account.objects.update(balance=3, name="b")
    assert logged(Account) == [(str(account.pk), CHANGE)]


def test_a_generated_field_does_not_get_in_the_way():
    box = make(Box, name="a", width=1, height=2)
    Box.objects.update(width=F("width"))
    assert rows() == []
    Box.objects.update(width=3)
    assert logged(Box) == [(str(box.pk), CHANGE)]


KEYS = [
    (Item, {"code": "a'b\"c\\d ü"}),
    (Token, {"id": uuid.UUID("00a1b2c3-d4e5-4f60-8a0b-0c0d0e0f0001"), "name": "a"}),
    (Slot, {"room": "a\"b\\c ü, '", "hour": 1, "title": "t"}),
    (Appointment, {"name": "a", "start": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}),
    (Appointment, {"name": "a", "start": datetime(2026, 1, 2, 3, 4, 5, 60, tzinfo=UTC)}),
]


@pytest.mark.parametrize(("model", "values"), KEYS)
def test_keys_are_written_as_signals_write_them(model, values):
    from synchro.keys import load_object_id, object_id

    row = model._base_manager.create(**values)
    ((found, _action),) = logged(model)
    assert found == object_id(model, row.pk)
    assert model._base_manager.get(pk=load_object_id(model, found)) == row


# By whatever statement


def test_bulk_create_update_and_delete_are_logged():
    notes = Note.objects.bulk_create(Note(name=str(number)) for number in range(5))
    if not notes[0].pk:
        notes = list(Note.objects.order_by("pk"))
    keys = [str(note.pk) for note in notes]
    assert sorted(logged(Note)) == sorted((key, ADDITION) for key in keys)
    forget()
    Note.objects.filter(name__gt="0").update(number=7)
    assert sorted(logged(Note)) == sorted((key, CHANGE) for key in keys[1:])
    forget()
    for note in notes:
        note.number = 8
    Note.objects.bulk_update(notes, ["number"])
    assert sorted(logged(Note)) == sorted((key, CHANGE) for key in keys)
    forget()
    Note.objects.all()._raw_delete(LOCAL)
    assert sorted(logged(Note)) == sorted((key, DELETION) for key in keys)


def test_raw_sql_is_logged():
    execute(f"INSERT INTO {table(Item)} (code, name) VALUES ('a', ''), ('b', '')")
    execute(f"UPDATE {table(Item)} SET name = 'x' WHERE code = 'b'")
    execute(f"DELETE FROM {table(Item)}")
    assert sorted(logged(Item)) == [
        ("a", ADDITION),
        ("a", DELETION),
        ("b", ADDITION),
        ("b", CHANGE),
        ("b", DELETION),
    ]


def test_a_changed_key_is_a_deletion_and_an_addition():
    make(Item, code="a")
    Item.objects.update(code="b")
    assert logged(Item) == [("a", DELETION), ("b", ADDITION)]


def test_a_key_that_changes_its_case_is_another_key():
    make(Item, code="a")
    Item.objects.update(code="A")
    assert logged(Item) == [("a", DELETION), ("A", ADDITION)]


def test_keys_that_change_places_leave_nothing_out():
    Item.objects.bulk_create([Item(code="a", name="1"), Item(code="b", name="2")])
    synchronize()
    Item.objects.filter(code="a").update(code="c")
    Item.objects.filter(code="b").update(code="a")
    Item.objects.filter(code="c").update(code="b")
    synchronize()
    assert_same(Item)


def test_a_key_that_moves_among_others_that_stay_is_found():
    Item.objects.bulk_create([Item(code="a"), Item(code="b"), Item(code="c", name="x")])
    forget()
    execute(
        f"UPDATE {table(Item)} SET name = 'x', code = CASE WHEN code = 'a' THEN 'd' ELSE code END"
    )
    assert sorted(logged(Item)) == [("a", DELETION), ("b", CHANGE), ("d", ADDITION)]


def test_a_key_that_is_set_by_another_name_is_found():
    if vendor() != "sqlite":
        pytest.skip("only SQLite has other names for a key")
    note = make(Note, name="a")
    execute(f"UPDATE {table(Note)} SET rowid = {note.pk + 1}")
    assert logged(Note) == [(str(note.pk), DELETION), (str(note.pk + 1), ADDITION)]


def upsert(code: str, name: str) -> None:
    end = (
        "ON DUPLICATE KEY UPDATE name = VALUES(name)"
        if vendor() == "mysql"
        else "ON CONFLICT (code) DO UPDATE SET name = excluded.name"
    )
    sql = f"INSERT INTO {table(Item)} (code, name) VALUES (%s, %s) {end}"
    execute(sql, [code, name])


def test_an_upsert_is_logged_as_what_it_does():
    upsert("a", "1")
    upsert("a", "2")
    upsert("a", "2")
    assert logged(Item) == [("a", ADDITION), ("a", CHANGE)]


def test_bulk_create_with_conflicts_is_logged_as_what_it_does():
    make(Item, code="a", name="1")
    Item.objects.bulk_create([Item(code="a", name="2"), Item(code="b")], ignore_conflicts=True)
    assert logged(Item) == [("b", ADDITION)]
    forget()
    fields = {} if vendor() == "mysql" else {"unique_fields": ["code"]}
    Item.objects.bulk_create(
        [Item(code="a", name="3"), Item(code="c")],
        update_conflicts=True,
        update_fields=["name"],
        **fields,
    )
    assert sorted(logged(Item)) == [("a", CHANGE), ("c", ADDITION)]


def test_replace_logs_every_row_that_goes():
    if vendor() == "postgresql":
        pytest.skip("PostgreSQL has no REPLACE")
    one = make(Plant, name="a", serial=1)
    two = make(Plant, name="b", serial=2)
    execute(f"REPLACE INTO {table(Plant)} (name, serial) VALUES ('a', 2)")
    (new,) = Plant.objects.all()
    assert sorted(logged(Plant)) == sorted(
        [(str(one.pk), DELETION), (str(two.pk), DELETION), (str(new.pk), ADDITION)]
    )
    seal(LOCAL)
    keys = ChangeLog.objects.filter(action=DELETION).values_list("key", flat=True)
    assert sorted(keys) == ['["a"]', '["b"]']


def test_an_insert_that_is_ignored_logs_nothing():
    make(Plant, name="a", serial=1)
    if vendor() == "mysql":
        execute(f"INSERT IGNORE INTO {table(Plant)} (name, serial) VALUES ('a', 1)")
    else:
        execute(
            f"INSERT INTO {table(Plant)} (name, serial) VALUES ('a', 1) ON CONFLICT DO NOTHING"
        )
    assert rows() == []
    Plant.objects.create(name="b", serial=2)
    assert [action for _, action in logged(Plant)] == [ADDITION]


def test_an_update_that_replaces_logs_the_row_that_goes():
    if vendor() != "sqlite":
        pytest.skip("only SQLite has UPDATE OR REPLACE")
    one = make(Plant, name="a", serial=1)
    two = make(Plant, name="b", serial=2)
    execute(f"UPDATE OR REPLACE {table(Plant)} SET name = 'a' WHERE name = 'b'")
    assert sorted(logged(Plant)) == sorted([(str(one.pk), DELETION), (str(two.pk), CHANGE)])


def test_a_statement_that_fails_logs_nothing():
    make(Item, code="a")
    with pytest.raises(IntegrityError), transaction.atomic():
        execute(f"INSERT INTO {table(Item)} (code, name) VALUES ('b', ''), ('a', '')")
    assert rows() == []


def test_truncate_is_logged_on_postgresql():
    if vendor() != "postgresql":
        pytest.skip("only PostgreSQL has triggers for TRUNCATE")
    tokens = [Token.objects.create(name=name) for name in "ab"]
    paper = Paper.objects.create(title="a")
    paper.labels.add(Label.objects.create(name="a"), Label.objects.create(name="b"))
    forget()
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    execute(f"TRUNCATE {table(Token)}, {table(Paper.labels.through)}")
    assert sorted(logged(Token)) == sorted((str(token.pk), DELETION) for token in tokens)
    assert logged(Paper) == [(str(paper.pk), M2M_CHANGE)]


def test_a_merge_is_logged_on_postgresql():
    if vendor() != "postgresql":
        pytest.skip("only PostgreSQL has MERGE")
    make(Item, code="a")
    execute(
        f"MERGE INTO {table(Item)} i USING (VALUES ('a'), ('b')) v (code) ON v.code = i.code "
        "WHEN MATCHED THEN UPDATE SET name = 'x' "
        "WHEN NOT MATCHED THEN INSERT (code, name) VALUES (v.code, '')"
    )
    assert sorted(logged(Item)) == [("a", CHANGE), ("b", ADDITION)]


# Relations


def test_a_cascade_of_the_orm_is_logged_with_natural_keys():
    country = Country.objects.create(code="pl", name="Poland")
    city = City.objects.create(name="Łódź", country=country)
    Street.objects.create(name="a", city=city)
    forget()
    country.delete()
    seal(LOCAL)
    keys = dict(ChangeLog.objects.values_list("label", "key"))
    assert {label: json.loads(key) for label, key in keys.items()} == {
        "testapp.country": ["pl"],
        "testapp.city": ["Łódź", "Poland"],
        "testapp.street": ["a", "Łódź", "Poland"],
    }
    assert keys["testapp.city"].isascii()


def test_a_cascade_over_another_unique_value_is_logged_with_natural_keys():
    depots = [Depot.objects.create(name=f"depot {code}", code=code) for code in "ab"]
    for depot in depots:
        Crate.objects.create(number=7, depot=depot)
    forget()
    Depot.objects.all().delete()
    seal(LOCAL)
    found = ChangeLog.objects.filter(label="testapp.crate").values_list("key", flat=True)
    assert sorted(map(str, found)) == ['[7,"depot a"]', '[7,"depot b"]']


def test_a_crate_whose_depot_stays_is_logged_with_its_natural_key():
    Crate.objects.create(number=7, depot=Depot.objects.create(name="d", code="c")).delete()
    seal(LOCAL)
    (key,) = ChangeLog.objects.filter(action=DELETION).values_list("key", flat=True)
    assert key == '[7,"d"]'


def test_a_deletion_finds_what_remote_knows_by_natural_key_alone():
    country = Country.objects.create(code="pl", name="Poland")
    city = City.objects.create(name="Łódź", country=country)
    with DisableSynchroLog():
        Country.objects.using(REMOTE).create(code="xx", name="x").delete()
        there = Country.objects.using(REMOTE).create(code="pl", name="Poland")
        City.objects.using(REMOTE).create(name="Łódź", country=there)
    forget()
    City.objects.filter(pk=city.pk)._raw_delete(LOCAL)
    Country.objects.filter(pk=country.pk)._raw_delete(LOCAL)
    synchronize()
    assert not on_remote(City).exists()
    assert not on_remote(Country).exists()


def test_a_plan_knows_the_natural_key_of_a_deletion_that_is_not_sealed():
    country = Country.objects.create(code="c", name="n")
    City.objects.create(name="t", country=country)
    synchronize()
    country.delete()
    found = {entry.model: (entry.action, entry.natural_key) for entry in diff()}
    assert found == {
        "testapp.country": ("delete", ["c"]),
        "testapp.city": ("delete", ["t", "n"]),
    }


def test_natural_keys_of_other_kinds_are_resolved():
    Reading.objects.create(code="a", day=date(2026, 1, 2)).delete()
    Shouted.objects.create(name="ß").delete()
    seal(LOCAL)
    keys = ChangeLog.objects.filter(action=DELETION).order_by("pk").values_list("key", flat=True)
    assert list(keys) == ['["a","2026-01-02"]', '["\\u00df"]']


def test_a_parent_that_went_earlier_is_found_in_the_log():
    country = Country.objects.create(code="pl", name="Poland")
    city = City.objects.create(name="a", country=country)
    street = Street.objects.create(name="s", city=city)
    with connections[LOCAL].constraint_checks_disabled():
        City.objects.filter(pk=city.pk)._raw_delete(LOCAL)
        seal(LOCAL)
        Street.objects.filter(pk=street.pk)._raw_delete(LOCAL)
        seal(LOCAL)
    (key,) = ChangeLog.objects.filter(label="testapp.street", action=DELETION).values_list("key")
    assert key == ('["s","a","Poland"]',)


def test_a_parent_row_that_is_changed_alone_is_logged_and_arrives():
    restaurant = Restaurant.objects.create(name="a")
    synchronize()
    forget()
    execute(f"UPDATE {table(Place)} SET name = 'b'")
    assert logged(Place) == [(str(restaurant.pk), CHANGE)]
    synchronize()
    assert_same(Place, Restaurant)


# Links


def test_links_are_logged_as_changes_of_the_object_that_owns_them():
    paper, label = Paper.objects.create(title="a"), Label.objects.create(name="a")
    forget()
    expected = ("testapp.paper", str(paper.pk), M2M_CHANGE, "labels")
    paper.labels.add(label)
    assert rows() == [expected]
    forget()
    label.papers.clear()
    assert rows() == [expected]
    forget()
    execute(
        f"INSERT INTO {table(Paper.labels.through)} (paper_id, label_id) VALUES (%s, %s)",
        [paper.pk, label.pk],
    )
    assert rows() == [expected]


def test_a_link_that_moves_is_a_change_of_both_owners():
    one, two = (Paper.objects.create(title=title) for title in "ab")
    one.labels.add(Label.objects.create(name="a"))
    forget()
    Paper.labels.through.objects.update(paper=two)
    assert {row[1] for row in rows()} == {str(one.pk), str(two.pk)}


def test_links_of_equals_are_logged_at_both_ends():
    one, two = (Friend.objects.create(name=name) for name in "ab")
    forget()
    one.friends.add(two)
    assert {row[1:] for row in rows()} == {
        (str(one.pk), M2M_CHANGE, "friends"),
        (str(two.pk), M2M_CHANGE, "friends"),
    }
    fan, idol = (Fan.objects.create(name=name) for name in "ab")
    forget()
    idol.followers.add(fan)
    assert rows() == [("testapp.fan", str(fan.pk), M2M_CHANGE, "follows")]


def test_links_of_explicit_keys_are_logged():
    kit = Kit.objects.create(code="k'1")
    item = Item.objects.create(code="i")
    forget()
    kit.items.add(item)
    assert rows() == [("testapp.kit", "k'1", M2M_CHANGE, "items")]


def test_skipped_links_are_not_logged():
    account, label = Account.objects.create(name="a"), Label.objects.create(name="a")
    forget()
    Account.labels.through.objects.create(account=account, label=label)
    assert rows() == []


def test_rows_of_an_explicit_through_model_are_logged_once():
    club, member = Club.objects.create(name="a"), Member.objects.create(name="a")
    forget()
    club.members.add(member)
    (link,) = Membership.objects.all()
    assert rows() == [("testapp.membership", str(link.pk), ADDITION, "")]


# Silence


WRITES = {
    "save": lambda: Note.objects.create(name="a").save(),
    "update": lambda: Note.objects.update(name="silent"),
    "bulk": lambda: Note.objects.bulk_create([Note(name="a"), Note(name="b")]),
    "raw": lambda: execute(f"INSERT INTO {table(Item)} (code, name) VALUES ('s', '')"),
    "delete": lambda: Note.objects.all().delete(),
    "comment": lambda: execute(f"/* x */ -- y\n DELETE FROM {table(Note)}"),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written_silently_is_not_logged(name):
    make(Note, name="0")
    with DisableSynchroLog():
        WRITES[name]()
        WRITES[name]() if name != "raw" else None
    assert rows() == []
    Note.objects.create(name="loud")
    assert len(rows()) == 1


def test_an_empty_suspension_costs_no_statement(django_assert_num_queries):
    with django_assert_num_queries(0):
        with DisableSynchroLog():
            pass
        assert not is_silent(connections[LOCAL])


def test_reading_silently_says_nothing_to_the_database():
    with DisableSynchroLog():
        list(Note.objects.all())
        assert not is_silent(connections[LOCAL])


def test_a_savepoint_that_is_rolled_back_leaves_the_silence_as_it_was():
    with DisableSynchroLog():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Note.objects.create(name="a")
            raise ZeroDivisionError
        Note.objects.create(name="b")
    assert rows() == []


def test_after_a_savepoint_that_was_left_loud_the_rest_is_logged():
    with pytest.raises(ZeroDivisionError), DisableSynchroLog():
        Note.objects.create(name="a")
        with transaction.atomic():
            Note.objects.create(name="b")
            raise ZeroDivisionError
    Note.objects.create(name="c")
    assert len(rows()) == 1


def test_a_statement_that_fails_silently_leaves_no_silence():
    make(Item, code="a")
    with pytest.raises(IntegrityError), transaction.atomic(), DisableSynchroLog():
        Item.objects.bulk_create([Item(code="a")])
    Note.objects.create(name="loud")
    assert len(rows()) == 1
    assert not is_silent(connections[LOCAL])


def test_a_replay_is_logged_on_remote_only_as_what_was_received():
    note = Note.objects.create(name="a")
    paper = Paper.objects.create(title="a")
    paper.labels.add(Label.objects.create(name="a"))
    synchronize()
    assert not ChangeLog.objects.using(REMOTE).filter(origin="").exists()
    assert len(logged(Note, REMOTE)) == 1
    note.delete()
    synchronize()
    assert [action for _, action in logged(Note, REMOTE)] == [ADDITION, DELETION]
    assert not synchronize_back().counts


def test_a_write_to_remote_is_logged_there():
    Note.objects.using(REMOTE).bulk_create([Note(name="a")])
    synchronize_back()
    assert Note.objects.get().name == "a"


def test_books_and_authors_in_raw_statements_arrive():
    author = Author.objects.create(name="a")
    Book.objects.bulk_create(Book(title=str(n), author=author) for n in range(3))
    synchronize()
    Book.objects.filter(title="1")._raw_delete(LOCAL)
    Book.objects.update(title=F("title"))
    Book.objects.filter(title="2").update(title="two")
    synchronize()
    assert_same(Author, Book)
