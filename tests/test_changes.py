"""Changes beside a plain dictionary of them."""

from __future__ import annotations

import datetime
from contextlib import contextmanager
from decimal import Decimal
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synchro import keynumbers, keytimes
from synchro.changes import Changes
from synchro.keytimes import KeyTimes, TimeLine

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

keys = st.integers(0, 5)
changes = st.tuples(
    st.datetimes(timezones=st.just(datetime.UTC)),
    st.sampled_from(["", "", "other", "third"]),
    st.booleans(),
    st.booleans(),
)
steps = st.one_of(
    st.tuples(st.just("put"), keys, changes),
    st.tuples(st.just("discard"), keys),
    st.tuples(st.just("update"), st.dictionaries(keys, changes)),
    st.tuples(st.just("take"), st.lists(keys, unique=True)),
    st.tuples(st.just("keep"), st.lists(keys, unique=True)),
)


@contextmanager
def of_many(number):
    """So many are packed, even if they have no company."""
    with mock.patch.object(keytimes, "MANY", number), mock.patch.object(keynumbers, "_CROWD", 0):
        yield


def made_of(plain):
    found = Changes()
    for pk, (made, origin, recreated, logged) in plain.items():
        found.put(pk, made, origin, recreated=recreated, logged=logged)
    return found


def plain_of(found):
    assert {*found.origin} | found.recreated | found.unlogged <= {*found}
    assert len(found) == len(list(found))
    return {
        pk: (
            found.made[pk],
            found.origin.get(pk, ""),
            pk in found.recreated,
            pk not in found.unlogged,
        )
        for pk in found
    }


@pytest.mark.parametrize("many", [1, 20_000])
@given(st.lists(steps))
def test_changes_are_those_of_a_dictionary(many, story):
    """Few of them in its order; many are packed, and come by their keys."""
    with of_many(many):
        check(story, Changes(), {}, in_order=many > 1)


def check(story, found, plain, *, in_order):
    for name, *arguments in story:
        if name == "put":
            plain[arguments[0]] = arguments[1]
            made, origin, recreated, logged = arguments[1]
            found.put(arguments[0], made, origin, recreated=recreated, logged=logged)
        elif name == "discard":
            plain.pop(arguments[0], None)
            found.discard(arguments[0])
        elif name == "update":
            plain.update(arguments[0])
            found.update(made_of(arguments[0]))
        elif name == "keep":
            plain = {pk: plain[pk] for pk in plain if pk in arguments[0]}
            found.keep([pk for pk in arguments[0] if pk in plain])
        else:
            some = [pk for pk in arguments[0] if pk in plain]
            taken = found.take(some)
            assert plain_of(taken) == {pk: plain.pop(pk) for pk in some}
            assert list(taken) == some
        assert plain_of(found) == plain
        if in_order:
            assert list(found) == list(plain)


@pytest.mark.parametrize("many", [0, 20_000])
@given(st.dictionaries(keys, changes), st.integers(1, 4))
def test_changes_are_handed_over_in_portions(many, plain, size):
    with of_many(many):
        found = Changes()
        found.update(made_of(plain))
        parts = list(found.portions(size))
    assert all(0 < len(part) <= size for part in parts)
    together = {}
    for part in parts:
        together.update(plain_of(part))
    assert together == plain
    assert sum(map(len, parts)) == len(plain)


@given(st.dictionaries(keys, changes, min_size=1), st.lists(steps))
def test_a_portion_may_be_changed(plain, story):
    """Of many it is packed, as long as it is not changed."""
    with of_many(0):
        found = Changes()
        found.update(made_of(plain))
        (portion,) = found.portions(100)
    plain = {pk: plain[pk] for pk in portion}
    other = Changes()
    other.update(portion)
    assert plain_of(other) == plain
    assert isinstance(other.made, KeyTimes) is isinstance(portion.made, TimeLine)
    with of_many(0):
        check(story, portion, dict(plain), in_order=False)
        # What was packed has been copied.
        assert plain_of(found) == plain_of(other) == plain


@given(st.dictionaries(keys, changes), st.lists(st.none() | keys, min_size=6))
def test_changes_get_other_keys(plain, names):
    """Of two that get the same key, the later one counts; None is left out."""
    found = made_of(plain)
    renamed = dict(zip(plain, names, strict=False))
    expected = {new: plain[old] for old, new in renamed.items() if new is not None}
    assert plain_of(found.renamed(lambda keys: [renamed[key] for key in keys])) == expected
    assert plain_of(found) == plain


def test_changes_that_keep_their_keys_are_the_same():
    found = made_of({1: (NOW, "", False, True)})
    assert found.renamed(list) is found
    with of_many(0):
        many = Changes()
        many.update(made_of(dict.fromkeys(range(300, 310), (NOW, "", False, True))))
        (portion,) = many.portions(100)
        # Its keys are made anew each time.
        assert portion.renamed(list) is portion
    assert [*map(type, found.renamed(lambda keys: [*map(Decimal, keys)]))] == [Decimal]
