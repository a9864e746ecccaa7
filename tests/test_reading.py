"""What a run reads and keeps in ways of its own is what the plain ways have."""

from __future__ import annotations

import datetime
from typing import Any

from django.db import connections
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from synchro import log
from synchro.asis import AsIs, time_reader
from synchro.keysets import KeyPairs, KeySet
from synchro.models import ADDITION, CHANGE, ChangeLog
from synchro.plan import Collapsed, Logged
from synchro.sealing import unnumbered
from tests.runs import LOCAL, REMOTE
from tests.testapp.models import Everything, Note

keys = st.one_of(st.integers(), st.integers(0, 70), st.text(max_size=3), st.uuids())
moments = st.datetimes(
    datetime.datetime(1000, 1, 2),
    datetime.datetime(9999, 12, 30),
    timezones=st.just(datetime.UTC),
)


@given(st.sets(keys), st.sets(keys))
def test_a_set_of_keys_has_what_was_put_into_it(inside, others):
    found = KeySet()
    found.update(inside)
    for key in inside | others:
        assert (key in found) is (key in inside)


few = st.one_of(st.integers(0, 40), st.booleans().map(str), st.just((1, 2)))


@given(st.lists(st.one_of(st.dictionaries(few, few), few)))
def test_pairs_of_keys_are_those_of_a_dictionary(steps):
    """A dictionary is put in, any other key is taken out."""
    found, plain = KeyPairs(), {}
    for step in steps:
        if isinstance(step, dict):
            # Most keys stand for themselves.
            pairs = {**{key: key for key in range(0, 40, 3)}, **step}
            found.update(pairs)
            plain.update(pairs)
        else:
            found.discard(step)
            plain.pop(step, None)
        for key in [*range(41), "True", "False", (1, 2)]:
            assert found.get(key) == plain.get(key)


class Times(TestCase):
    databases = {LOCAL, REMOTE}

    @given(st.lists(moments, max_size=4))
    def test_times_are_read_as_django_reads_them(self, given_times):
        for alias in (LOCAL, REMOTE):
            Everything.objects.using(alias).all().delete()
            Everything.objects.using(alias).bulk_create(
                Everything(code=str(number), moment=moment)
                for number, moment in enumerate(given_times)
            )
            rows = Everything.objects.using(alias).order_by("pk")
            field: Any = Everything._meta.get_field("moment")
            read = time_reader(field, connections[alias])
            found = [read(value) for value in rows.values_list(AsIs("moment"), flat=True)]
            assert found == list(rows.values_list("moment", flat=True))


def logged_rows() -> list[str]:
    return [row.object_id for row in log.pending(LOCAL, after=0, upto=10, more=unnumbered(LOCAL))]


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


def test_what_the_log_has_can_be_taken_again():
    """A pass uses it up; what is held has to be found in it later."""
    reads = []

    def read() -> Any:
        reads.append(1)
        return {"testapp.note": {"1": Collapsed()}}

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
