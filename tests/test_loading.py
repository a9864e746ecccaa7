"""The fast way of a database, and the plain one, do the same."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connections, transaction
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from synchro.loading import FAST, PlainLoader
from synchro.members import Members, members_of
from synchro.models import CHANGE, ChangeLog
from synchro.nodes import side
from synchro.remotes.database import DatabaseEnd
from synchro.reserving import reserve_keys
from synchro.sql import TableWriter
from tests.runs import LOCAL, REMOTE
from tests.testapp.models import Everything, Item, Note

UTC = datetime.UTC

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
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
    way(connection).load(table, names, writer._converted(numbered))
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

    @given(st.lists(st.tuples(columns["real"], columns["data"], texts), min_size=2, max_size=5))
    def test_what_rows_share_is_stored_in_each_of_them(self, found):
        shared = (None, 7, True, None, datetime.date(2026, 1, 2), datetime.time(3))
        given_rows = [(shared[0], real, *shared[1:], data, text) for real, data, text in found]
        plain = stored(PlainLoader, given_rows)
        for fast in FAST:
            if fast.supports(connections[REMOTE]):
                assert stored(fast, given_rows) == plain


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
    monkeypatch.setattr("synchro.loading._ROWS_AHEAD", 2)
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


def find(model: Any, name: str, values: list[Any]) -> set[Any]:
    wanted = members_of(model, name, values, connections[LOCAL])
    return set(model.objects.filter(**{f"{name}__in": wanted}))


def test_every_database_of_the_tests_has_a_fast_way():
    assert any(kind.supports(connections[REMOTE]) for kind in FAST)


def test_a_set_of_plain_keys_is_one_parameter():
    assert isinstance(members_of(Note, "pk", [1, 2], connections[LOCAL]), Members)
    assert isinstance(members_of(Item, "pk", ["a"], connections[LOCAL]), Members)


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
