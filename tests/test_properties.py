"""Whatever happened on LOCAL: after a run LOCAL and REMOTE are equal, and the next run rests."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from django.test import override_settings
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from synchro import DisableSynchroLog, Plan, diff, synchronize
from synchro.conf import conf
from synchro.models import ChangeLog, Reference
from tests.compare import Snapshot, assert_same, watched_models
from tests.operations import OPERATIONS, SIMPLE, Step, World, apply
from tests.runs import LOCAL, REMOTE, age, synchronize_back
from tests.testapp.models import (
    Author,
    Country,
    Folder,
    Label,
    LocalOnly,
    Note,
    Paper,
    Place,
    Team,
)

RUN = "run"
fewer = settings(max_examples=max(1, settings.default.max_examples // 3))
"""For stories of few kinds, of which there are many tests."""
small = st.integers(0, 5)


@st.composite
def steps(draw: st.DrawFn, names: Any) -> list[Step]:
    """A story, half of the time of a world that has rows to begin with."""
    step = st.tuples(st.sampled_from(sorted(names)), small, small)
    # Lists of lists are longer than lists, and shrink as well.
    story = sum(draw(st.lists(st.lists(step, max_size=10), max_size=8)), [])
    if draw(st.booleans()):
        makers = [name for name in OPERATIONS if name in names and name[:4] in ("add_", "put_")]
        furniture = [(name, number, number) for number in (1, 2) for name in makers]
        return [*furniture, (RUN, 0, 0), *story]
    return story


def group(*words: str) -> list[str]:
    """The operations whose names hold one of the words: fewer kinds, denser stories."""
    return [name for name in OPERATIONS if any(word in name for word in words)]


def played_models() -> list[Any]:
    return [model for model in watched_models() if model._meta.app_label == "testapp"]


def everything_on(alias: str) -> Any:
    """All that a run could write to: the data and synchro's own tables."""
    snapshot = Snapshot(alias)
    return (
        {model: snapshot.content(model) for model in played_models()},
        list(ChangeLog.objects.using(alias).order_by("pk").values()),
        list(Reference.objects.using(alias).order_by("pk").values()),
    )


def shift_keys() -> None:
    """Automatic keys of REMOTE differ from those of LOCAL."""
    with DisableSynchroLog():
        for model in (Note, Author, Country, Folder, Label, Paper, Place, Team):
            rows = [model._base_manager.using(REMOTE).create() for _ in range(1)]
            for row in rows:
                row.delete()


def assert_settled() -> None:
    """LOCAL and REMOTE are equal, and another run finds nothing to do and writes nothing."""
    assert_same(*played_models())
    before = everything_on(REMOTE)
    result = synchronize()
    assert (result.changed, result.counts, result.skipped) == (False, {}, [])
    assert everything_on(REMOTE) == before


class OneWay(TestCase):
    databases = {LOCAL, REMOTE}

    def play(self, story: list[Step]) -> None:
        shift_keys()
        world = World(LOCAL)
        for step in story:
            if step[0] == RUN:
                synchronize()
                assert_same(*played_models())
            else:
                apply(world, [step])
        assert synchronize().skipped == []
        assert_settled()

    @given(steps([*OPERATIONS, *[RUN] * 3]))
    def test_any_operations_arrive(self, story):
        self.play(story)

    @fewer
    @given(steps([*group("note", "item", "slot", "token", "gadget", "box", "stamp"), RUN]))
    def test_rows_without_relations_arrive(self, story):
        self.play(story)

    @fewer
    @given(
        steps([*group("country", "countries", "city", "plant", "serial", "truck", "plates"), RUN])
    )
    def test_natural_keys_arrive(self, story):
        self.play(story)

    @fewer
    @given(steps([*group("seat", "desk", "plant", "serial", "locker", "author"), RUN]))
    @example([("add_seat", 1, 0), ("add_seat", 2, 0), (RUN, 0, 0), ("swap_seats", 0, 1)])
    def test_unique_values_arrive(self, story):
        self.play(story)

    @fewer
    @given(steps([*group("author", "book", "passport", "hub", "leaf", "leaves"), RUN]))
    def test_foreign_keys_arrive(self, story):
        self.play(story)

    @fewer
    @given(steps([*group("folder", "worker", "team", "player", "captain", "ring"), RUN]))
    @example([("add_ring", 0, 0), ("add_ring", 0, 0), ("turn_ring", 0, 1)])
    @example([("add_worker", 0, 0), ("add_worker", 0, 0), ("move_worker", 0, 1)])
    def test_cycles_arrive(self, story):
        self.play(story)

    @fewer
    @given(steps([*group("post", "tag", "item"), RUN]))
    def test_generic_foreign_keys_arrive(self, story):
        self.play(story)

    @fewer
    @given(steps([*group("place", "pizzeria", "copier", "gadget", "truck", "plates"), RUN]))
    def test_inheritance_arrives(self, story):
        self.play(story)

    @fewer
    @given(steps([*group("label", "paper"), RUN]))
    def test_links_arrive(self, story):
        self.play(story)

    @fewer
    @given(steps([*group("friend", "fall_out", "follow"), RUN]))
    def test_links_to_the_same_model_arrive(self, story):
        self.play(story)

    @fewer
    @given(steps([*group("club", "join", "role", "leave", "member"), RUN]))
    def test_links_with_values_arrive(self, story):
        self.play(story)

    @fewer
    @given(steps([*group("parcel", "document", "note"), RUN]))
    def test_rows_with_behaviour_of_their_own_arrive(self, story):
        self.play(story)

    @fewer
    @given(steps([*OPERATIONS, RUN]), st.sampled_from(["save", "bulk"]), st.integers(1, 5))
    def test_neither_mode_nor_batch_size_matters(self, story, mode, size):
        with override_settings(SYNCHRO_REPLAY=mode, SYNCHRO_BATCH_SIZE=size):
            self.play(story)

    @fewer
    @given(steps([*OPERATIONS, RUN]))
    def test_the_plain_ways_do_what_the_fast_ones_do(self, story):
        with (
            patch("synchro.loading.vendors.FAST", ()),
            patch("synchro.members.supports_members", lambda connection: False),
            patch("synchro.remotes.database.passes_through", lambda *args: False),
        ):
            self.play(story)


class BothWays(TestCase):
    databases = {LOCAL, REMOTE}

    @fewer
    @given(
        st.lists(
            st.one_of(
                st.tuples(
                    st.sampled_from([LOCAL, REMOTE]), st.sampled_from(sorted(SIMPLE)), small, small
                ),
                st.tuples(st.just("there"), st.just(RUN), small, small),
                st.tuples(st.just("back"), st.just(RUN), small, small),
            ),
            max_size=30,
        )
    )
    def test_edits_on_both_sides_end_equal(self, story):
        """Each edit is later than the one before it, on whichever side it was made."""
        shift_keys()
        worlds = {LOCAL: World(LOCAL, "l"), REMOTE: World(REMOTE, "r")}
        for where, name, a, b in story:
            if where == "there":
                synchronize()
            elif where == "back":
                synchronize_back()
            else:
                for alias in (LOCAL, REMOTE):
                    age(alias)
                apply(worlds[where], [(name, a, b)])
        synchronize()
        synchronize_back()
        assert_same(*played_models())
        assert synchronize().counts == {}
        assert synchronize_back().counts == {}
        assert_same(*played_models())


class Planned(TestCase):
    """A plan that is applied does what a run does, and nothing is left to be planned then."""

    databases = {LOCAL, REMOTE}

    @given(steps([*OPERATIONS, *[RUN] * 3]))
    def test_a_plan_is_applied_as_it_was_shown(self, story: list[Step]) -> None:
        shift_keys()
        world = World(LOCAL)
        for step in story:
            if step[0] == RUN:
                plan = diff()
                before = everything_on(REMOTE)
                assert list(diff()) == list(plan)
                assert everything_on(REMOTE) == before
                result = synchronize(plan=Plan.from_json(plan.to_json()))
                assert (result.held, result.excluded) == ([], 0)
                assert not diff().has_diffs()
            else:
                apply(world, [step])
        result = synchronize(plan=diff())
        assert (result.held, result.excluded) == ([], 0)
        assert not diff().has_diffs()
        assert_settled()

    @given(steps([*OPERATIONS, *[RUN] * 3]))
    def test_a_full_comparison_finds_what_no_log_names(self, story: list[Step]) -> None:
        world = World(LOCAL)
        models = [model for model in conf.models if model is not LocalOnly]
        synchronize()
        with DisableSynchroLog():
            for step in story:
                if step[0] != RUN:
                    apply(world, [step])
        synchronize(full=True, models=models)
        assert_same(*played_models())
        assert not diff(full=True, models=models).has_diffs()
