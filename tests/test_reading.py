"""What a run reads and keeps in ways of its own is what the plain ways have."""

from __future__ import annotations

import datetime
from itertools import pairwise
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

import pytest
from django.db import connections
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from synchro import keynumbers, keytimes, log
from synchro.asis import AsIs, time_reader
from synchro.changes import Changes
from synchro.chunks import batched, transposed
from synchro.collapsed import (
    Collapsed,
    Logged,
    LogRows,
    Objects,
    collapse,
    forget_added,
    forget_what_came_from,
)
from synchro.conversion import converter
from synchro.keypairs import KeyPairs
from synchro.keysets import KeyList, KeySet
from synchro.keytimes import KeyTimes, are_close
from synchro.models import ADDITION, CHANGE, DELETION, M2M_CHANGE, ChangeLog
from synchro.sealing import unnumbered
from tests.runs import LOCAL, REMOTE
from tests.testapp.models import Everything, Note

# They ask no database.
often = settings(max_examples=10 * settings.default.max_examples)

keys = st.one_of(st.integers(), st.integers(0, 70), st.text(max_size=3), st.uuids())
moments = st.datetimes(
    datetime.datetime(1000, 1, 2),
    datetime.datetime(9999, 12, 30),
    timezones=st.just(datetime.UTC),
)

MOMENT: Any = Everything._meta.get_field("moment")
TWICE = [
    datetime.datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Warsaw"), fold=fold)
    for fold in (0, 1)
]
"""In the hour that comes twice; Python takes them for equal."""
texts_of_times = st.sampled_from(
    ["2026-11-29 09:21:27", "2026-11-29T09:21:27.5", "2026-11-29 09:21", "2026-11-29"]
    + ["2026-11-29 09:21:27+02:00", "2026-11-29 09:21:27Z", "2026-11-29 09:21:27,25"]
)

few = st.one_of(st.integers(0, 40), st.booleans().map(str), st.just((1, 2)))
# Keys one after the other, as there mostly are, also over the edges of blocks.
lines = st.builds(
    lambda start, length: list(range(start, start + length)),
    st.sampled_from([-3, 0, 1, 31, 250, 2**63 - 5, 2**70]),
    st.integers(0, 600),
)
many = st.one_of(st.lists(keys), lines)


@often
@given(st.lists(many, max_size=4), many)
def test_a_set_of_keys_has_what_was_put_into_it(parts, others):
    found, plain = KeySet(), set()
    for part in parts:
        found.update(part)
        plain.update(part)
    for key in {*plain, *others}:
        assert (key in found) is (key in plain)
    assert set(found) == plain
    assert len(found) == len(plain)
    for some in (*parts, others):
        assert found.outside(some) == [key for key in some if key not in plain]


def test_a_set_of_keys_knows_true_from_one():
    found = KeySet()
    found.update([True, 2])
    assert found.outside([1, 2]) == [1]


@often
@given(st.lists(st.lists(keys)))
def test_a_list_of_keys_has_what_was_added(parts):
    found = KeyList()
    for part in parts:
        found.extend(part)
    plain = [key for part in parts for key in part]
    assert list(found) == plain
    assert [type(key) for key in found] == [type(key) for key in plain]
    assert len(found) == len(plain)
    other = KeyList()
    other.extend(plain)
    assert found == other


# Most keys stand for themselves.
pairs = st.builds(
    lambda same, others: {**{key: key for key in same}, **others},
    st.sets(st.integers(0, 40)),
    st.dictionaries(st.integers(0, 40), st.one_of(st.none(), few), max_size=5),
)


# What is made gets keys one after the other, or none at first.
lines_of_pairs = st.builds(
    lambda start, length, of: {key: of(key) for key in range(start, start + length)},
    st.integers(0, 40),
    st.integers(1, 300),
    st.sampled_from([lambda key: key + 7, lambda key: None, lambda key: key, str])
    | st.sampled_from([lambda key: None if key % 3 else key + 1, lambda key: key - 2**63]),
)


@often
@pytest.mark.parametrize("crowd", [0, 32])
@example(steps=[{number: number - 2**63 for number in range(4)}])
@given(
    steps=st.lists(st.one_of(pairs, lines_of_pairs, st.dictionaries(few, few), few), max_size=6)
)
def test_pairs_of_keys_are_those_of_a_dictionary(crowd, steps):
    """A dictionary is put in, any other key is taken out."""
    with mock.patch.object(keynumbers, "_CROWD", crowd):
        check_pairs(steps)


def check_pairs(steps):
    found, plain = KeyPairs(), {}
    for step in steps:
        if isinstance(step, dict):
            found.update(step)
            plain.update(step)
        else:
            found.discard(step)
            plain.pop(step, None)
        asked = [*range(41), "True", "False", (1, 2)]
        for key in asked:
            assert found.get(key) == plain.get(key)
            assert (key in found) is (key in plain)
        assert dict(found) == plain
        assert len(found) == len(plain)
        for part in (asked, list(range(41)), list(range(3)), list(plain)):
            assert found.pick(part) == {key: plain.get(key) for key in part}
            assert found.lacking(part) == [key for key in part if key not in plain]


many_times = st.one_of(
    st.dictionaries(st.one_of(st.integers(0, 40), keys), moments),
    st.builds(dict.fromkeys, st.one_of(lines, st.sets(st.integers(0, 300))), moments),
)


@often
@given(
    st.lists(
        st.one_of(st.tuples(st.booleans(), many_times), st.integers(0, 40), keys), max_size=6
    ),
    many,
)
def test_packed_times_are_those_of_a_dictionary(steps, some):
    """Dictionaries are put in packed or not, any other key is taken out."""
    found, plain = KeyTimes({}), {}
    for step in steps:
        if isinstance(step, tuple):
            packs, times = step
            for _twice in range(2):
                (found.add if packs else found.update)(times)
            plain.update(times)
        else:
            found.pop(step, None)
            plain.pop(step, None)
        assert dict(found) == plain
        assert len(found) == len(plain)
        for part in (some, list(plain)):
            inside = {key: plain[key] for key in part if key in plain}
            assert found.pick(part) == inside
            assert list(found.pick(part)) == list(inside)
            assert found.times(inside) == list(inside.values())
        for key in some:
            assert (key in found) is (key in plain)
            assert found.get(key) == plain.get(key)


def test_only_keys_that_are_close_together_are_packed(monkeypatch):
    monkeypatch.setattr(keynumbers, "_CROWD", 32)  # as it is outside tests
    now = datetime.datetime.now(datetime.UTC)
    assert are_close(dict.fromkeys(range(5, 100), now))
    for others in (
        dict.fromkeys(range(0, 10**6, 1000), now),
        dict.fromkeys(map(str, range(100)), now),
        dict.fromkeys(range(100), now.replace(tzinfo=None)),
        {},
    ):
        assert not are_close(others)


def test_a_later_change_takes_the_place_of_an_earlier_one():
    changes, later = Changes(), Changes()
    first, second = (datetime.datetime(2026, 1, day, tzinfo=datetime.UTC) for day in (1, 2))
    for key in (1, 2):
        changes.put(key, first, "elsewhere", recreated=True, logged=False)
    later.put(1, second)
    changes.update(later)
    assert changes.times([1, 2]) == [second, first]
    assert changes.inside([1, 2, 3]) == [1, 2]
    assert (changes.origin, changes.recreated, changes.unlogged) == ({2: "elsewhere"}, {2}, {2})


class Times(TestCase):
    databases = {LOCAL, REMOTE}

    @given(st.lists(moments, max_size=4))
    def test_times_are_read_as_django_reads_them(self, given_times):
        for alias in (LOCAL, REMOTE):
            self.fill(alias, given_times)
            self.reads_as_django_does(alias)

    @example(["2026-11-29", "2026-11-30"])
    @given(st.lists(moments.map(str) | texts_of_times, min_size=1, max_size=4))
    def test_texts_that_others_store_are_read_as_django_reads_them(self, texts):
        for alias in (LOCAL, REMOTE):
            if connections[alias].vendor != "sqlite":
                continue  # they keep no texts
            self.fill(alias, [datetime.datetime.now(datetime.UTC)] * len(texts))
            with connections[alias].cursor() as cursor:
                cursor.executemany(
                    "UPDATE testapp_everything SET moment = %s WHERE code = %s",
                    [(text, str(number)) for number, text in enumerate(texts)],
                )
            self.reads_as_django_does(alias)

    def fill(self, alias, moments):
        Everything.objects.using(alias).all().delete()
        Everything.objects.using(alias).bulk_create(
            Everything(code=str(number), moment=moment) for number, moment in enumerate(moments)
        )

    def reads_as_django_does(self, alias):
        rows = Everything.objects.using(alias).order_by("pk")
        as_they_are = list(rows.values_list(AsIs("moment"), flat=True))
        read = time_reader(MOMENT, connections[alias])
        found = read(as_they_are) if as_they_are else []
        assert list(found) == list(rows.values_list("moment", flat=True))

    @given(st.lists(st.none() | moments | st.sampled_from(TWICE), min_size=1, max_size=4))
    def test_times_are_stored_as_django_stores_them(self, times):
        for alias in (LOCAL, REMOTE):
            connection = connections[alias]
            convert: Any = converter(MOMENT, connection)
            by_django = [MOMENT.get_db_prep_save(time, connection=connection) for time in times]
            assert [*map(str, convert(times))] == [*map(str, by_django)]


def logged_rows() -> list[str]:
    parts = log.pending(LOCAL, after=0, upto=10, more=unnumbered(LOCAL))
    return [object_id for rows in parts for object_id in rows.object_ids]


def test_a_log_is_read_in_order_page_by_page(monkeypatch):
    monkeypatch.setattr(log, "_ROWS_PER_PAGE", 2)
    ChangeLog.objects.all().delete()
    for number, batch in enumerate([2, 1, 1, None, 2, None, None, 1, 3]):
        ChangeLog.objects.create(
            label="testapp.note", object_id=str(number), action=CHANGE, batch=batch
        )
    assert logged_rows() == list("127048356")


def test_sealing_numbers_what_has_none_whatever_its_ids():
    for number in range(12):
        Note.objects.create(name=str(number))
    numbered = list(ChangeLog.objects.order_by("id").values_list("id", flat=True))
    ChangeLog.objects.filter(id__in=[*numbered[2:4], numbered[7]]).update(batch=1)
    ChangeLog.objects.filter(id=numbered[9]).delete()
    ChangeLog.objects.filter(batch__isnull=False).update(batch=1)
    (condition,) = log.within(unnumbered(LOCAL))
    within = ChangeLog.objects.filter(condition)
    assert set(within.values_list("id", flat=True)) == {
        number for index, number in enumerate(numbered) if index not in (2, 3, 7, 9)
    }


@often
@given(st.sets(st.integers(1, 9)))
def test_ids_of_rows_are_told_as_ranges(numbers):
    ChangeLog.objects.all().delete()
    ChangeLog.objects.bulk_create(
        ChangeLog(id=number, label="testapp.note", object_id="1", action=CHANGE)
        for number in numbers
    )
    ranges = unnumbered(LOCAL)
    assert [number for first, last in ranges for number in range(first, last + 1)] == sorted(
        numbers
    )
    # None of them could be told with the one before.
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(ranges))


def log_row(text, action, made, field, key, origin):
    field = field if action == M2M_CHANGE else ""
    return ("testapp.paper", text, action, made, field, key, origin, made)


def in_portions(rows: list[Any], size: int) -> list[LogRows]:
    return [LogRows(*transposed(some)) for some in batched(rows, size)]


# In UTC, a second hour of the same name does not exist.
here = moments.map(lambda time: time.replace(fold=0))
fields = st.sampled_from(["labels", "readers", ""])
texts = st.sampled_from(["1", "2", "-3", "007", "a"])
plain_rows = st.builds(
    log_row,
    texts,
    st.sampled_from([ADDITION, CHANGE, M2M_CHANGE, M2M_CHANGE]),
    here,
    fields,
    st.none(),
    st.just(""),
)
odd_rows = st.builds(
    log_row,
    texts,
    st.sampled_from([ADDITION, CHANGE, M2M_CHANGE, DELETION, DELETION]),
    st.one_of(here, moments.map(lambda time: time.astimezone(ZoneInfo("Europe/Warsaw")))),
    fields,
    st.sampled_from([None, "[]", "[1]"]),
    st.sampled_from(["", "remote", "third"]),
)
log_rows = st.one_of(plain_rows, plain_rows, plain_rows, plain_rows, odd_rows)


def one_by_one(rows: list[Any]) -> dict[str, Collapsed]:
    """What the log says of objects, taken in row by row."""
    entries: dict[str, Collapsed] = {}
    for _label, text, *change, _date in rows:
        entries.setdefault(text, Collapsed()).add(*change)
    return entries


def told(objects: Any) -> dict[str, Any]:
    """All that the entries of objects say; nothing of the objects that nothing is left of."""
    names = [name for name in Collapsed.__slots__ if name != "links"]
    return {
        text: (
            sorted(map(str, entry.links)),
            # Else there is nobody of whom that could be said.
            [str(getattr(entry, name)) for name in names]
            if entry.written or entry.deleted
            else [],
        )
        for text, entry in objects.items()
        if entry.written or entry.deleted or entry.links
    }


@often
@given(
    st.one_of(st.just([]), st.lists(log_rows, max_size=2)),
    st.lists(log_rows, min_size=1, max_size=12),
    st.sampled_from([10**9, 0, 1, 2]),
    st.sampled_from([1, 2, 12]),
    st.booleans(),
    st.booleans(),
)
def test_the_log_in_columns_says_what_its_rows_do(seeds, rows, many, size, over, back):
    """Times are packed at once, later, or not at all; some entries are there before."""
    with mock.patch.object(keytimes, "MANY", many), mock.patch.object(keynumbers, "_CROWD", 0):
        found = collapse(
            in_portions(rows, size), onto={"testapp.paper": Objects(one_by_one(seeds))}
        )
    plain = one_by_one([*seeds, *rows])
    if over:
        forget_added(found)
        for entry in plain.values():
            entry.added = False
    if back:
        forget_what_came_from(found, "remote")
        for entry in plain.values():
            entry.forget_what_came_from("remote")
    objects = found["testapp.paper"]
    assert told(objects) == told(plain)
    assert all(objects.links.values())
    assert len(objects) == len(list(objects))
    for text in told(plain):
        assert text in objects
        assert told({text: objects.pop(text)}) == told({text: plain[text]})
        assert text not in objects
        # Nothing is left of it.
        assert told({text: objects.setdefault(text, Collapsed())}) == {}
        del objects[text]
    assert told(objects) == {}
    for text in list(objects):
        del objects[text]
    again = collapse(in_portions(rows, size), onto={"testapp.paper": objects})
    assert told(again["testapp.paper"]) == told(one_by_one(rows))


@often
@given(st.lists(log_rows, min_size=1, max_size=12), st.sampled_from([1, 2, 12]))
def test_labels_are_told_apart(rows, size):
    labels = ["testapp.paper", "testapp.note"]
    named = [(labels[number % 3 % 2], *row[1:]) for number, row in enumerate(rows)]
    found = collapse(in_portions(named, size))
    for label in labels:
        own = one_by_one([row for row in named if row[0] == label])
        assert told(found.get(label, {})) == told(own)


def test_what_the_log_has_can_be_taken_again():
    """A pass uses it up; what is held has to be found in it later."""
    reads = []

    def read() -> Any:
        reads.append(1)
        return {"testapp.note": Objects({"1": Collapsed()})}

    logged = Logged(read)
    first = logged.take()
    first["testapp.note"].clear()
    other = Collapsed()
    other.written = bool(ADDITION + 1)
    logged.more = {"testapp.note": {"1": other, "2": other}}
    again = logged.take()
    assert len(reads) == 2
    assert logged.labels == ["testapp.note"]
    assert not again["testapp.note"]["1"].written  # what was logged goes first
    assert again["testapp.note"]["2"] is other
