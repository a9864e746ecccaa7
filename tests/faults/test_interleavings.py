"""Edits on both sides, runs in both directions, and runs that are killed, in any order: in the
end both databases are equal, and nothing is left to be written.

Each story is played within transactions that are rolled back, so that many can be played. A kill
is an exception that nothing catches, at any statement; test_kill.py ends real processes.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django.test
import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.db import connections
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from synchro import DisableSynchroLog, synchronize
from synchro.core import adopt_copy
from synchro.models import ChangeLog, Peer, Reference
from synchro.nodes import own_node
from tests.compare import Snapshot, assert_same, watched_models
from tests.faults.events import Event, watched
from tests.operations import SIMPLE, World, apply
from tests.runs import LOCAL, REMOTE, age, synchronize_back
from tests.test_adopt import SYNCHRO, copy
from tests.testapp.models import (
    Author,
    Country,
    Folder,
    Label,
    Note,
    Paper,
    Plant,
    Seat,
)

pytestmark = [
    pytest.mark.django_db(databases=[LOCAL, REMOTE]),
    # Who is killed does not close his cursors on PostgreSQL.
    pytest.mark.filterwarnings("ignore:.* was deleted while still open:ResourceWarning"),
]

STORIES = int(os.environ.get("SYNCHRO_STORIES") or 10)
STEPS = int(os.environ.get("SYNCHRO_STORY_STEPS") or 25)
MOST_ROUNDS = 4
"""After so many runs in both directions there must be peace."""

OTHER = {LOCAL: REMOTE, REMOTE: LOCAL}
FREE = sorted(SIMPLE)
"""What both sides may do at any time: the later one wins."""
OWNED = {
    "seats": ["add_seat", "swap_seats", "move_seat", "delete_seat"],
    "plants": [
        "add_plant",
        "swap_plants",
        "swap_serials",
        "delete_and_replace_plant",
        "delete_and_readd_plant",
    ],
    "folders": ["add_folder", "move_folder", "delete_folder"],
    "books": ["add_author", "add_book", "move_book", "delete_author"],
    "friends": ["add_friend", "befriend", "fall_out", "delete_friend"],
}
"""What only one side does until it has sent it. If both gave the same unique value away, or one
deleted the parent of the other's new child, a run would rightly refuse."""
OF_PRODUCTION = sorted({*FREE, *(name for names in OWNED.values() for name in names)})
NOTING = 0
"""In place of a statement's number: when REMOTE has everything, and LOCAL is about to note it."""
WRITES_PEER = re.compile(rf"(INSERT INTO|UPDATE) .{Peer._meta.db_table}\b")
small = st.integers(0, 5)
side = st.sampled_from([LOCAL, REMOTE])


played: Counter[str] = Counter()
"""What took place, for the summary."""


class Killed(BaseException):
    """What a kill does: nothing after it takes place, and nothing catches it."""


class Case(django.test.TestCase):
    """Lends its transactions."""

    databases = {LOCAL, REMOTE}


def played_models() -> list[Any]:
    return [model for model in watched_models() if model._meta.app_label == "testapp"]


def everything() -> Any:
    """All that a run could write to, on both sides."""
    found = []
    for alias in (LOCAL, REMOTE):
        snapshot = Snapshot(alias)
        found.append({model: snapshot.content(model) for model in played_models()})
        for model in (ChangeLog, Reference):
            found.append(list(model.objects.using(alias).order_by("pk").values()))
    return found


def send_from(alias: str) -> Any:
    return synchronize() if alias == LOCAL else synchronize_back()


def start_anew() -> None:
    """What a new process does not have."""
    cache.clear()
    ContentType.objects.clear_cache()


class Story(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.going_well = True
        self.atomics = Case._enter_atomics()
        start_anew()
        self.worlds = {LOCAL: World(LOCAL, "l"), REMOTE: World(REMOTE, "r")}
        self.owners: dict[str, str] = {}

    @contextmanager
    def step(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.going_well = False
            raise

    def edit(self, alias: str, name: str, a: int, b: int) -> None:
        """An edit that is later than all before it, on whichever side."""
        for one in (LOCAL, REMOTE):
            age(one)
        apply(self.worlds[alias], [(name, a, b)])
        played["edits"] += 1

    @initialize(shifted=st.booleans())
    def shift_keys(self, shifted: bool) -> None:
        if shifted:
            with DisableSynchroLog():
                for model in (Note, Author, Country, Folder, Label, Paper, Plant, Seat):
                    model._base_manager.using(REMOTE).create(**UNIQUE.get(model, {})).delete()

    @rule(alias=side, name=st.sampled_from(FREE), a=small, b=small)
    def edit_freely(self, alias: str, name: str, a: int, b: int) -> None:
        with self.step():
            self.edit(alias, name, a, b)

    @rule(alias=side, kind=st.sampled_from(sorted(OWNED)), which=small, a=small, b=small)
    def edit_what_one_side_owns(self, alias: str, kind: str, which: int, a: int, b: int) -> None:
        alias = self.owners.setdefault(kind, alias)
        with self.step():
            self.edit(alias, OWNED[kind][which % len(OWNED[kind])], a, b)

    @rule(alias=side)
    def run(self, alias: str) -> None:
        with self.step():
            self.send_from(alias)
            self.has_sent(alias)

    @rule(
        alias=side,
        where=st.one_of(st.just(NOTING), st.integers(1, 80)),
        name=st.sampled_from(FREE),
        a=small,
        b=small,
    )
    def run_that_is_killed(self, alias: str, where: int, name: str, a: int, b: int) -> None:
        """Right after an edit, so that it has something to do."""

        def happened(seen: Event) -> None:
            notes = seen.alias == alias and WRITES_PEER.match(seen.sql)
            if seen.number == where or (where == NOTING and notes):
                raise Killed

        with self.step():
            self.edit(alias, name, a, b)
            try:
                with watched(happened):
                    self.send_from(alias)
            except Killed:
                played["killed runs"] += 1
                start_anew()
            else:
                self.has_sent(alias)

    def send_from(self, alias: str) -> Any:
        return send_from(alias)

    def has_sent(self, alias: str) -> None:
        played["runs"] += 1
        self.owners = {kind: owner for kind, owner in self.owners.items() if owner != alias}

    def teardown(self) -> None:
        try:
            if self.going_well:
                self.come_to_rest()
                played["stories"] += 1
        finally:
            Case._rollback_atomics(self.atomics)
            start_anew()

    def come_to_rest(self) -> None:
        for _ in range(MOST_ROUNDS):
            results = [self.send_from(alias) for alias in (LOCAL, REMOTE)]
            if not any(result.counts for result in results):
                break
        else:
            raise AssertionError(f"still writing after {MOST_ROUNDS} rounds: {results}")
        assert_same(*played_models())
        before = everything()
        for alias in (LOCAL, REMOTE):
            assert send_from(alias).counts == {}
        assert everything() == before


UNIQUE: dict[Any, dict[str, Any]] = {
    Plant: {"name": "spare", "serial": -5},
    Seat: {"name": "spare", "position": -5},
    Country: {"code": "spare"},
}


class CopiedStory(Story):
    """LOCAL was imported from an export of REMOTE, and both were edited before LOCAL was adopted;
    the adoption is killed now and then as well."""

    shift_keys = None  # type: ignore[assignment]

    @initialize(edits=st.lists(st.tuples(st.sampled_from(OF_PRODUCTION), small, small)))
    def import_copy(self, edits: list[tuple[str, int, int]]) -> None:
        self.adopted = False
        with self.step():
            apply(self.worlds[REMOTE], edits)
            own_node(REMOTE)
            with connections[LOCAL].constraint_checks_disabled():
                copy(REMOTE, LOCAL, [ContentType, Permission, *played_models(), *SYNCHRO])

    def send_from(self, alias: str) -> Any:
        if not self.adopted:
            adopt_copy()
            self.adopted = True
        return super().send_from(alias)


def play(story: type[Story], stories: int) -> None:
    played.clear()
    run_state_machine_as_test(
        story, settings=settings(max_examples=stories, stateful_step_count=STEPS)
    )
    assert played["killed runs"] >= stories / 2
    print(dict(played))


def test_whatever_the_order_both_sides_end_equal():
    play(Story, STORIES)


def test_a_copy_that_is_adopted_ends_equal_to_its_original():
    play(CopiedStory, max(1, STORIES // 2))
