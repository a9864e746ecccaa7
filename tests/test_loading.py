"""The fast way of a database, and the plain one, do the same."""

from __future__ import annotations

import datetime
import sqlite3
from typing import Any
from unittest import mock
from uuid import UUID

import pytest
from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.models import AutoField
from django.test.utils import CaptureQueriesContext
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from synchro import members
from synchro.conversion import converter
from synchro.exceptions import NaturalKeyError
from synchro.keys import load_object_ids, object_id, object_ids
from synchro.loading.base import PlainLoader
from synchro.loading.vendors import FAST, loader
from synchro.members import Members, members_of
from synchro.models import CHANGE, ChangeLog
from synchro.nodes import side
from synchro.remotes import database
from synchro.remotes.database import DatabaseEnd
from synchro.reserving import reserve_keys
from synchro.sql import TableWriter
from tests.runs import LOCAL, REMOTE
from tests.testapp.models import Contestant, Everything, Item, Note, Numbered, Slot, Ticket, Token

UTC = datetime.UTC

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
# MariaDB refuses those of no version that there is.
uuids = st.one_of(st.uuids(version=1), st.uuids(version=4))
places = st.tuples(st.sampled_from(["a", "b'", '"c', "\\", "{d,e}", "ż"]), st.integers(-2, 2))
columns = {
    "price": st.decimals(-(10**7), 10**7, places=2),
    "real": st.floats(-1e300, 1e300),
    "big": st.integers(-(2**63), 2**63 - 1),
    "flag": st.booleans(),
    "moment": st.datetimes(
        datetime.datetime(1000, 1, 2), datetime.datetime(9999, 12, 30), timezones=st.just(UTC)
    ),
    "day": st.dates(datetime.date(1000, 1, 1)),
    "clock": st.times(),
    "data": st.binary(max_size=20),
    "text": texts,
}
rows = st.lists(
    st.tuples(*(st.one_of(st.none(), strategy) for strategy in columns.values())), max_size=6
)


def stored(way: Any, given_rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What the table holds after rows were inserted in a certain way."""
    connection = connections[REMOTE]
    fields = [Everything._meta.get_field(name) for name in ("code", *columns)]
    Everything.objects.using(REMOTE).all().delete()
    writer = TableWriter(connection, Everything, fields)
    numbered = [(str(number), *row) for number, row in enumerate(given_rows, start=1)]
    table = connection.ops.quote_name(Everything._meta.db_table)
    names = [connection.ops.quote_name(field.column) for field in fields]
    if numbered:
        way(connection).load(table, names, writer.stored(numbered))
    found = Everything.objects.using(REMOTE).order_by("pk").values_list(*columns)
    return [
        tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
        for row in found
    ]


class Ways(TestCase):
    databases = {LOCAL, REMOTE}

    @given(rows)
    def test_the_fast_ways_store_what_the_plain_one_does(self, found):
        plain = stored(PlainLoader, found)
        for fast in FAST:
            if fast.supports(connections[REMOTE]):
                assert stored(fast, found) == plain

    @given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5), st.lists(texts, max_size=5))
    def test_a_set_in_one_piece_finds_what_a_list_finds(self, numbers, names):
        Note.objects.bulk_create(Note(number=number % 2**31) for number in numbers)
        keys = [*Note.objects.values_list("pk", flat=True), *numbers]
        assert find(Note, "pk", keys) == set(Note.objects.filter(pk__in=keys))
        Note.objects.bulk_create(Note(name=name) for name in names)
        assert find(Note, "name", names) == set(Note.objects.filter(name__in=names))

    @example([1, 1, 3], [1, 2, 3])
    @example([2**63 - 2, 2**63 - 1], [2**63 - 1])
    @given(st.lists(st.integers(-2, 5), max_size=6), st.lists(st.integers(-3, 6), max_size=6))
    def test_whole_numbers_one_after_the_other_are_found_like_others(self, asked, there):
        Everything.objects.using(REMOTE).all().delete()
        Everything.objects.using(REMOTE).bulk_create(
            Everything(code=str(number), big=value) for number, value in enumerate(there)
        )
        end = DatabaseEnd(side(REMOTE))
        for locks in (True, False):
            found = end.among(Everything, "big", asked, locks=locks)
            values = sorted(found.values_list("big", flat=True))
            assert values == sorted(value for value in there if value in asked)

    @given(st.lists(texts, max_size=5), st.lists(texts, max_size=5))
    def test_keys_as_text_are_compared_exactly(self, there, others):
        ChangeLog.objects.all().delete()
        ChangeLog.objects.bulk_create(
            ChangeLog(label="a.b", object_id=text, action=CHANGE) for text in there
        )
        wanted = members_of(ChangeLog, "object_id", others, connections[LOCAL])
        found = ChangeLog.objects.filter(object_id__in=wanted)
        assert set(found.values_list("object_id", flat=True)) == {*there} & {*others}
        # Where the database does not take the set in one piece.
        found.update(field="x")
        assert ChangeLog.objects.filter(field="x").count() == found.count()
        found._raw_delete(LOCAL)
        rest = ChangeLog.objects.values_list("object_id", flat=True)
        assert set(rest) == {*there} - {*others}

    @given(st.sets(uuids, max_size=5), st.sets(uuids, max_size=5))
    def test_uuids_are_found_and_stored_as_django_does(self, there, others):
        """Keys, foreign keys to them would be the same, and plain columns that may be NULL."""
        asked = [*others, *list(there)[:3]]
        for alias in (LOCAL, REMOTE):
            Token.objects.using(alias).all().delete()
            Token.objects.using(alias).bulk_create(Token(id=key) for key in there)
            wanted = members_of(Token, "pk", asked, connections[alias])
            assert isinstance(wanted, Members) or not asked
            found = Token.objects.using(alias).filter(pk__in=wanted)
            assert set(found.values_list("pk", flat=True)) == there & {*asked}
            end = DatabaseEnd(side(alias))
            assert end.existing(Token, asked) == there & {*asked}
            assert {pk for (pk,) in end.rows(Token, asked, [])} == there & {*asked}
            found._raw_delete(alias)
            assert set(Token.objects.using(alias).values_list("pk", flat=True)) == (
                there - {*asked}
            )
            field = Everything._meta.get_field("uuid")
            convert = converter(field, connections[alias])
            given_values = [None, *asked, *map(str, asked)]
            assert convert is not None
            assert convert(given_values) == [
                field.get_db_prep_save(value, connection=connections[alias])
                for value in given_values
            ]
        texts = object_ids(Token, asked)
        assert texts == [object_id(Token, key) for key in asked]
        assert load_object_ids(Token, texts) == asked
        assert load_object_ids(Token, [key.hex for key in asked]) == asked

    @example(set(), set(), False)
    @given(st.sets(places, max_size=5), st.sets(places, max_size=5), st.booleans())
    def test_composite_keys_are_found(self, there, others, in_one_piece):
        """And no other combinations of their parts."""
        asked = [*others, *list(there)[:3]]
        supports = mock.patch.object(members, "supports_members", lambda _: in_one_piece)
        for alias in (LOCAL, REMOTE):
            Slot.objects.using(alias).all().delete()
            Slot.objects.using(alias).bulk_create(Slot(room=r, hour=h) for r, h in there)
            end = DatabaseEnd(side(alias))
            with supports, mock.patch.object(database, "_COMBINATIONS_PER_QUERY", 2):
                assert end.existing(Slot, asked) == there & {*asked}
                assert {pk for (pk,) in end.rows(Slot, asked, [])} == there & {*asked}
                found = end.among(Slot, "pk", asked)
                assert set(found.values_list("pk", flat=True)) == there & {*asked}
                assert found.update(title="x") == len(there & {*asked})
                found._raw_delete(alias)
            left = Slot.objects.using(alias).values_list("pk", flat=True)
            assert set(left) == there - {*asked}

    @given(st.lists(st.tuples(columns["real"], columns["data"], texts), min_size=2, max_size=5))
    def test_what_rows_share_is_stored_in_each_of_them(self, found):
        shared = (None, 7, True, None, datetime.date(2026, 1, 2), datetime.time(3))
        given_rows = [(shared[0], real, *shared[1:], data, text) for real, data, text in found]
        plain = stored(PlainLoader, given_rows)
        for fast in FAST:
            if fast.supports(connections[REMOTE]):
                assert stored(fast, given_rows) == plain

    @given(rows, rows, st.sets(st.sampled_from([*columns])))
    def test_all_ways_to_update_do_the_same(self, before, after, given_columns):
        """With keys that are texts, and such that are numbers."""
        after = after[: len(before)]
        new = [
            {name: row[name] for name in given_columns}
            for row in (dict(zip(columns, values, strict=True)) for values in after)
        ]
        for model in (Everything, Numbered):
            found = []
            for prepared in (False, True):
                model.objects.using(REMOTE).all().delete()
                for number, values in enumerate(before):
                    named = dict(zip(columns, values, strict=True))
                    key = {"code": str(number)} if model is Everything else {"id": number + 1}
                    model.objects.using(REMOTE).create(**named, **key)
                found.append(updated(model, new, prepared=prepared))
            assert found[0] == found[1]


def updated(
    model: Any, given_rows: list[dict[str, Any]], *, prepared: bool
) -> list[dict[str, Any]]:
    """What the table holds after rows that are there were updated."""
    fields = model._meta.concrete_fields
    known = list(model.objects.using(REMOTE).order_by("pk").values())
    rows = [row | new for row, new in zip(known, given_rows, strict=False)]
    writer = TableWriter(connections[REMOTE], model, fields)
    if prepared:
        writer.prepare_update()
    writer.update([[row[field.attname] for field in fields] for row in rows])
    writer.close()
    return list(model.objects.using(REMOTE).order_by("pk").values())


def test_values_that_are_only_equal_stay_what_they_are():
    """A way may send a value that all rows have only once."""
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    day = datetime.time(1, 2, 3)
    rows = [
        (None, 0.0, 1, True, moment, moment.date(), day, b"\0'", '"a\\b\u2028%s'),
        (None, -0.0, 1, True, moment, moment.date(), day, b"\0'", '"a\\b\u2028%s'),
    ]
    plain = stored(PlainLoader, rows)
    assert plain[0][2:] == plain[1][2:] == rows[0][2:]
    for fast in FAST:
        if fast.supports(connections[REMOTE]):
            assert stored(fast, rows) == plain


class Odd(str):
    """A type that no way knows."""


def test_rows_with_values_of_any_type_go_along_with_plain_ones(monkeypatch):
    monkeypatch.setattr("synchro.loading.postgresql._ROWS_AHEAD", 2)
    texts = ["a\tb", "\\N", "c\nd", Odd("e\tf"), "", None, "\\.", "g\r"]
    rows = [
        (None, 1.5, number, True, None, None, None, b"\0\\", text)
        for number, text in enumerate(texts)
    ]
    plain = stored(PlainLoader, rows)
    assert [row[8] for row in plain] == texts
    for fast in FAST:
        if fast.supports(connections[REMOTE]):
            assert sorted(stored(fast, rows), key=repr) == sorted(plain, key=repr)


def note_writer(*names: str) -> TableWriter:
    fields = [Note._meta.get_field(name) for name in names or all_of_a_note()]
    return TableWriter(connections[REMOTE], Note, fields)


def all_of_a_note() -> list[str]:
    return [field.name for field in Note._meta.concrete_fields]


def notes() -> list[tuple[Any, ...]]:
    return list(Note.objects.using(REMOTE).order_by("pk").values_list(*all_of_a_note()))


def test_rows_that_are_updated_keep_what_is_not_given():
    Note.objects.using(REMOTE).bulk_create(Note(name=name, number=7) for name in "abc")
    before = notes()
    writer = note_writer("id", "name")
    with transaction.atomic(using=REMOTE):
        writer.prepare_update()
        writer.update([(row[0], f"{row[1]}!") for row in before])
        writer.close()
    named = all_of_a_note().index("name")
    assert notes() == [(*r[:named], f"{r[named]}!", *r[named + 1 :]) for r in before]


def statements(run: Any) -> list[str]:
    """The statements about notes that something runs on REMOTE."""
    seen: list[str] = []

    def watch(execute, sql, params, many, context):
        seen.append(sql)
        return execute(sql, params, many, context)

    with connections[REMOTE].execute_wrapper(watch):
        run()
    return [sql for sql in seen if Note._meta.db_table in sql and "sqlite_master" not in sql]


def number_notes(rows: list[tuple[Any, ...]], number: int) -> list[str]:
    """Give notes another number. Returns the statements."""
    at = all_of_a_note().index("number")
    new = [(*row[:at], number, *row[at + 1 :]) for row in rows]

    def run():
        with transaction.atomic(using=REMOTE):
            writer = note_writer()
            writer.prepare_update()
            writer.update(new)
            writer.close()

    seen = statements(run)
    assert notes() == new
    return seen


def test_many_rows_are_updated_with_few_statements():
    Note.objects.using(REMOTE).bulk_create(Note(name=f"{number}") for number in range(300))
    found = number_notes(notes(), 8)
    # Also those that make a table for the new values, and remove it.
    assert len(found) <= 4


BY_A_TABLE = ["INSERT", "UPDATE", "DELETE"]


@pytest.mark.parametrize(
    ("model", "kind", "number", "longest", "statements"),
    [
        (Numbered, str, 3, 1000, ["UPDATE"]),
        (Numbered, str, 1, 1000, ["UPDATE"]),
        (Numbered, str, 4, 400, ["UPDATE"] * 2),
        # Who knows how such values look in JSON?
        (Numbered, Odd, 3, 1000, BY_A_TABLE),
        (Numbered, Odd, 4, 400, ["INSERT", *BY_A_TABLE]),
        # Text from JSON is not compared as that of the column is.
        (Everything, str, 3, 1000, BY_A_TABLE),
    ],
)
def test_mariadb_updates_rows_from_one_parameter_where_it_can(
    monkeypatch, model, kind, number, longest, statements
):
    monkeypatch.setattr("synchro.loading.base._BYTES_PER_STATEMENT", longest)
    connection = connections[REMOTE]
    if not members.has_json_tables(connection):
        pytest.skip("only MariaDB makes a table of a parameter")
    for at in range(number + 1):
        key = {"code": f"{at}"} if model is Everything else {}
        model.objects.using(REMOTE).create(text="it's", price=1, **key)
    *before, untouched = model.objects.using(REMOTE).order_by("pk").values()
    same = {"clock": datetime.time(3), "text": "%s", "small": 7}
    wanted = [
        row | same | {"big": at, "word": (kind if at == number else str)(f"{at}")}
        for at, row in enumerate(before, start=1)
    ]
    seen: list[str] = []

    def watch(execute, sql, params, many, context):
        seen.append(sql.split()[0])
        return execute(sql, params, many, context)

    fields = model._meta.concrete_fields
    writer = TableWriter(connection, model, fields)
    with transaction.atomic(using=REMOTE):
        writer.prepare_update()
        with connection.execute_wrapper(watch):
            writer.update([[row[field.attname] for field in fields] for row in wanted])
        writer.close()
    assert [*model.objects.using(REMOTE).order_by("pk").values()] == [*wanted, untouched]
    assert seen == statements


def test_rows_with_a_key_of_several_numbers_are_updated_by_all_of_them():
    for tenant, number in ((1, 1), (1, 2), (2, 1), (2, 2)):
        Ticket.objects.using(REMOTE).create(tenant=tenant, number=number, code="x" * number)
    writer = TableWriter(connections[REMOTE], Ticket, Ticket._meta.concrete_fields)
    with transaction.atomic(using=REMOTE):
        writer.prepare_update()
        writer.update([(1, 1, "a"), (2, 1, "b"), (2, 2, "c")])
        writer.close()
    found = Ticket.objects.using(REMOTE).values_list("tenant", "number", "code")
    assert {*found} == {(1, 1, "a"), (1, 2, "xx"), (2, 1, "b"), (2, 2, "c")}


@pytest.mark.parametrize("kind", ["TRIGGER", "TEMP TRIGGER"])
def test_triggers_are_not_told_that_updated_rows_are_new(kind):
    connection = connections[REMOTE]
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite updates rows by INSERT ... ON CONFLICT")
    Note.objects.using(REMOTE).bulk_create(Note(name=name) for name in "abc")
    assert number_notes(notes(), 8)[0].startswith("INSERT")
    table = connection.ops.quote_name(Note._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE {kind} no_new_notes BEFORE INSERT ON {table} "
            "BEGIN SELECT RAISE(ABORT, 'a new note'); END"
        )
        try:
            assert number_notes(notes(), 9)[0].startswith("UPDATE")
        finally:
            cursor.execute("DROP TRIGGER no_new_notes")


def test_a_row_with_the_key_0_is_updated_as_any_other():
    connection = connections[REMOTE]
    Note.objects.using(REMOTE).bulk_create(Note(name=name) for name in "ab")
    with connection.cursor() as cursor:
        table = connection.ops.quote_name(Note._meta.db_table)
        cursor.execute(f"UPDATE {table} SET id = 0 WHERE name = 'a'")
    assert notes()[0][0] == 0
    number_notes(notes(), 8)


def test_values_that_other_rows_have_are_refused_by_any_way_to_update():
    """No other key than the primary one tells which row is meant."""
    Contestant.objects.using(REMOTE).bulk_create(Contestant(place=number) for number in (1, 2, 3))
    names = [field.attname for field in Contestant._meta.concrete_fields]
    before = list(Contestant.objects.using(REMOTE).order_by("pk").values_list(*names))
    first, second, third = (dict(zip(names, row, strict=True)) for row in before)
    wanted = [{**first, "place": second["place"]}, {**third, "place": 4}]
    writer = TableWriter(connections[REMOTE], Contestant, Contestant._meta.concrete_fields)
    with transaction.atomic(using=REMOTE):
        writer.prepare_update()
        with pytest.raises(IntegrityError), transaction.atomic(using=REMOTE):
            writer.update([tuple(row.values()) for row in wanted])
        writer.close()
    assert list(Contestant.objects.using(REMOTE).order_by("pk").values_list(*names)) == before


def test_rows_that_are_gone_stay_gone():
    """They are to be updated, and somebody's receiver may have deleted them."""
    Note.objects.using(REMOTE).bulk_create(Note(name=name) for name in "abc")
    first, *rest = notes()
    Note.objects.using(REMOTE).filter(pk=first[0]).delete()
    writer = note_writer()
    with transaction.atomic(using=REMOTE):
        writer.prepare_update()
        writer.update([(*row[:-1], 7) for row in (first, *rest)])
        writer.close()
    assert notes() == [(*row[:-1], 7) for row in rest]


@pytest.mark.parametrize(
    "made",
    [
        "VIEW odd AS SELECT 1 AS id, 2 AS number",
        "TABLE odd (id integer, number integer)",
        "TABLE odd (id integer PRIMARY KEY, number integer, more integer NOT NULL)",
        "TABLE odd (id integer, number integer, PRIMARY KEY (id, number))",
        "VIRTUAL TABLE odd USING fts5(id, number)",
        "TABLE odd (id integer PRIMARY KEY, number integer UNIQUE ON CONFLICT IGNORE)",
    ],
)
def test_tables_that_are_not_as_the_model_says_are_updated_row_by_row(made):
    connection = connections[REMOTE]
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite updates rows by INSERT ... ON CONFLICT")
    kind = "VIEW" if made.startswith("VIEW") else "TABLE"
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE even (id integer PRIMARY KEY, number integer)")
        cursor.execute(f"CREATE {made}")
        try:
            way = loader(connection)
            assert way.can_update("even", ["id", "number"], ["id"], {AutoField})
            assert not way.can_update("odd", ["id", "number"], ["id"], {AutoField})
        finally:
            cursor.execute("DROP TABLE even")
            cursor.execute(f"DROP {kind} odd")


def test_a_table_may_be_called_as_sql_calls_the_row_in_the_way():
    connection = connections[REMOTE]
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite updates rows by INSERT ... ON CONFLICT")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE Excluded (id integer PRIMARY KEY, number integer)")
        try:
            assert not loader(connection).can_update(
                "Excluded", ["id", "number"], ["id"], {AutoField}
            )
        finally:
            cursor.execute("DROP TABLE Excluded")


class Traced:
    """What libraries that trace queries put in a cursor's place: it says that it is one."""

    def __init__(self, cursor: Any) -> None:
        self.cursor = cursor

    __class__ = sqlite3.Cursor  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cursor, name)


def test_what_stands_in_for_a_cursor_is_no_cursor(monkeypatch):
    connection = connections[REMOTE]
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite's own cursors are used directly")
    create = connection.create_cursor
    monkeypatch.setattr(connection, "create_cursor", lambda name=None: Traced(create(name)))
    note_writer("name", "number").insert([("a", 1), ("b", 2)], returning=False)
    monkeypatch.undo()
    assert Note.objects.using(REMOTE).count() == 2


def test_wrappers_are_called_as_django_calls_them():
    """In its order, and with its marks."""

    def run(statement: Any) -> list[tuple[int, bool]]:
        seen: list[tuple[int, bool]] = []

        def watcher(number: int) -> Any:
            def watch(execute, sql, params, many, context):
                if Note._meta.db_table in sql and sql.startswith(("INSERT", "COPY")):
                    seen.append((number, "?" in sql))
                return execute(sql, params, many, context)

            return watch

        connection = connections[REMOTE]
        with connection.execute_wrapper(watcher(1)), connection.execute_wrapper(watcher(2)):
            statement()
        return seen

    ours = run(lambda: note_writer("name", "number").insert([("a", 1), ("b", 2)], returning=False))
    assert ours == run(lambda: Note.objects.using(REMOTE).create(name="c"))


def test_who_logs_the_queries_sees_values():
    Note.objects.using(REMOTE).bulk_create(Note(name=name) for name in ("Zürich", "a"))
    connection = connections[REMOTE]
    if connection.vendor != "sqlite":
        pytest.skip("the other ways go past the log of queries, or are Django's own")
    with CaptureQueriesContext(connection) as captured:
        note_writer("name", "number").insert([("b%s", 1), ("c?", 1)], returning=False)
    assert "'b%s'" in captured[-1]["sql"]
    assert {"b%s", "c?"} <= set(Note.objects.using(REMOTE).values_list("name", flat=True))


def find(model: Any, name: str, values: list[Any]) -> set[Any]:
    wanted = members_of(model, name, values, connections[LOCAL])
    return set(model.objects.filter(**{f"{name}__in": wanted}))


def test_every_database_of_the_tests_has_a_fast_way():
    assert any(kind.supports(connections[REMOTE]) for kind in FAST)


def test_a_set_of_plain_keys_is_one_parameter():
    assert isinstance(members_of(Note, "pk", [1, 2], connections[LOCAL]), Members)
    assert isinstance(members_of(Item, "pk", ["a"], connections[LOCAL]), Members)
    assert isinstance(members_of(Token, "pk", [UUID(int=1)], connections[LOCAL]), Members)


@pytest.mark.parametrize("name", ["pk", "number"])
@pytest.mark.parametrize("values", [[3, 1, 2], {5, 6}, [-1, 0, 1, 1]])
def test_of_whole_numbers_one_after_the_other_the_ends_are_asked_for(name, values):
    rows = DatabaseEnd(side(REMOTE)).among(Note, name, values, locks=False)
    assert rows.query.sql_with_params()[1] == (min(values), max(values))


@pytest.mark.parametrize("values", [["a"], [1], [UUID(int=1), "a"], [None, UUID(int=1)]])
def test_a_set_of_what_are_no_uuids_is_a_list(values):
    assert members_of(Token, "pk", values, connections[LOCAL]) == values


@pytest.mark.parametrize("text", ["", "x", "1", "12345678-1234"])
def test_a_text_that_is_no_uuid_is_named(text):
    good = str(UUID(int=1))
    with pytest.raises(NaturalKeyError, match=f"Token.*'{text}' is not a primary key"):
        load_object_ids(Token, [good, text])


@pytest.mark.parametrize("values", [[], [None, 1], [True], [2**63], [1.5]])
def test_a_set_of_anything_else_is_a_list(values):
    assert members_of(Note, "pk", values, connections[LOCAL]) == values


def test_rows_that_are_refused_are_refused_by_django_s_own_errors():
    connection = connections[REMOTE]
    note = Note.objects.using(REMOTE).create(name="a")
    writer = TableWriter(
        connection, Note, [Note._meta.get_field(name) for name in ("id", "name", "number")]
    )
    with pytest.raises(IntegrityError), transaction.atomic(using=REMOTE):
        writer.insert([(note.pk, "b", 1)], returning=False)
    with pytest.raises(DatabaseError), transaction.atomic(using=REMOTE):
        writer.insert([(note.pk + 1, None, 1)], returning=False)
    if connection.vendor != "sqlite":
        with pytest.raises(DatabaseError), transaction.atomic(using=REMOTE):
            writer.insert([(note.pk + 1, "too long" * 100, 1)], returning=False)
        with pytest.raises(DatabaseError), transaction.atomic(using=REMOTE):
            writer.insert([(note.pk + 1, "not a number", "x")], returning=False)
    assert DatabaseEnd(side(REMOTE)).existing(Note, [note.pk, note.pk + 1]) == {note.pk}


def test_who_watches_a_connection_sees_rows_that_are_loaded():
    seen = []

    def watch(execute, sql, params, many, context):
        seen.append((sql, many))
        return execute(sql, params, many, context)

    connection = connections[REMOTE]
    writer = TableWriter(
        connection, Note, [Note._meta.get_field("name"), Note._meta.get_field("number")]
    )
    with connection.execute_wrapper(watch):
        writer.insert([("a", 1), ("b", 2)], returning=False)
    ((sql, _),) = [(sql, many) for sql, many in seen if Note._meta.db_table in sql]
    assert sql.startswith(("INSERT INTO", "COPY"))
    assert Note.objects.using(REMOTE).count() == 2


def test_new_rows_get_keys_that_no_row_had():
    """Also not one that is gone: somebody may remember it."""
    connection = connections[REMOTE]
    gone = Note.objects.using(REMOTE).create(name="gone")
    last = gone.pk
    gone.delete()
    fields = [Note._meta.get_field(name) for name in ("name", "number")]
    rows = [(f"{number}", number) for number in range(300)]
    keys = TableWriter(connection, Note, fields).insert(rows, returning=True)
    found = dict(Note.objects.using(REMOTE).values_list("pk", "number"))
    assert [found[key] for key in keys] == list(range(300))
    assert min(keys) > last
    later = Note.objects.using(REMOTE).create(name="later")
    assert later.pk > max(keys)


def test_reserved_keys_are_nobody_else_s():
    keys = reserve_keys(connections[REMOTE], Note, 300)
    if keys is None:
        pytest.skip("the database hands out keys with the rows only")
    assert len(set(keys)) == 300
    assert not Note.objects.using(REMOTE).filter(pk__in=keys).exists()
