"""Links of every kind end as they are on LOCAL."""

from __future__ import annotations

import pytest
from django.db import connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from synchro import DisableSynchroLog, synchronize
from synchro.models import M2M_CHANGE, ChangeLog
from tests.compare import assert_same
from tests.otherapp.models import Collection, Region
from tests.runs import REMOTE, age, occupy, on_remote, synchronize_back
from tests.testapp.models import (
    Board,
    Club,
    Fan,
    Friend,
    Item,
    Kit,
    Label,
    Member,
    Membership,
    Note,
    NoteProxy,
    Paper,
    PaperProxy,
    Route,
    Stop,
)


@pytest.fixture(params=["auto", "save", "bulk"], autouse=True)
def mode(request):
    with override_settings(SYNCHRO_REPLAY=request.param):
        yield request.param


@pytest.fixture(autouse=True)
def shifted_keys():
    with DisableSynchroLog():
        for model in (Label, Friend, Fan, Member, Note, Stop, Region):
            occupy(model, name="x").delete()


def links(owner, field="labels"):
    """The names linked to the only row of `owner` on REMOTE."""
    return sorted(row.name for row in getattr(on_remote(owner).get(), field).all())


@pytest.fixture
def paper():
    return Paper.objects.create(title="p")


@pytest.fixture
def labels():
    return [Label.objects.create(name=name) for name in "abc"]


def test_links_are_added_removed_set_and_cleared(paper, labels):
    paper.labels.add(*labels[:2])
    synchronize()
    assert links(Paper) == ["a", "b"]
    paper.labels.remove(labels[0])
    synchronize()
    assert links(Paper) == ["b"]
    paper.labels.set([labels[0], labels[2]])
    synchronize()
    assert links(Paper) == ["a", "c"]
    paper.labels.clear()
    synchronize()
    assert links(Paper) == []
    assert_same()


def test_links_are_changed_from_the_other_side(paper, labels):
    labels[0].papers.add(paper)
    labels[1].papers.add(paper)
    synchronize()
    assert links(Paper) == ["a", "b"]
    labels[0].papers.clear()
    synchronize()
    assert links(Paper) == ["b"]
    labels[1].papers.remove(paper)
    labels[2].papers.set([paper])
    synchronize()
    assert links(Paper) == ["c"]


def test_links_of_a_new_row_to_rows_that_were_never_logged_arrive(paper):
    with DisableSynchroLog():
        label = Label.objects.create(name="never logged")
    paper.labels.add(label)
    synchronize()
    assert_same()


def test_links_of_a_row_that_was_never_logged_bring_it_along():
    with DisableSynchroLog():
        paper, label = Paper.objects.create(title="p"), Label.objects.create(name="l")
    paper.labels.add(label)
    synchronize()
    assert_same()


def test_the_result_counts_changed_links(paper, labels):
    synchronize()
    paper.labels.add(labels[0])
    assert synchronize().counts == {("testapp.paper", "link"): 1}


def test_linking_and_unlinking_between_two_runs_changes_nothing(paper, labels):
    synchronize()
    paper.labels.add(labels[0])
    paper.labels.clear()
    synchronize()
    assert links(Paper) == []


def test_saving_the_row_again_does_not_undo_links_of_remote(paper, labels):
    """A change of the row says nothing about its links."""
    paper.labels.add(labels[0])
    synchronize()
    on_remote(Paper).get().labels.clear()
    paper.title = "changed"
    paper.save()
    synchronize()
    assert on_remote(Paper).get().title == "changed"
    assert links(Paper) == []


def test_deleting_either_side_deletes_the_links(paper, labels):
    paper.labels.set(labels)
    synchronize()
    labels[0].delete()
    synchronize()
    assert links(Paper) == ["b", "c"]
    paper.delete()
    synchronize()
    assert_same()


def test_a_link_to_a_row_that_was_deleted_afterwards_is_no_link(paper, labels):
    synchronize()
    paper.labels.set(labels)
    labels[1].delete()
    synchronize()
    assert links(Paper) == ["a", "c"]


def test_links_of_remote_to_rows_of_its_own_go_when_local_decides(paper, labels):
    """What is replayed is the newest state of the row's links."""
    paper.labels.add(labels[0])
    synchronize()
    with DisableSynchroLog():
        theirs = Label.objects.using(REMOTE).create(name="theirs")
        on_remote(Paper).get().labels.add(theirs)
    paper.labels.add(labels[1])
    synchronize()
    assert links(Paper) == ["a", "b"]
    assert on_remote(Label).filter(name="theirs").exists()


def test_links_made_on_remote_come_back(paper, labels):
    synchronize()
    age(REMOTE)
    on_remote(Paper).get().labels.set(on_remote(Label).filter(name__in="ab"))
    synchronize_back()
    assert sorted(label.name for label in paper.labels.all()) == ["a", "b"]


def test_links_to_an_unwatched_model_arrive(paper):
    paper.regions.add(Region.objects.create(name="r"))
    synchronize()
    assert links(Paper, "regions") == ["r"]


def test_links_of_an_unwatched_owner_arrive():
    collection = Collection.objects.create(name="c")
    collection.notes.add(Note.objects.create(name="n"))
    synchronize()
    assert links(Collection, "notes") == ["n"]


def test_links_between_explicit_keys_arrive():
    kit = Kit.objects.create(code="k")
    items = [Item.objects.create(code=code) for code in "ab"]
    kit.items.set(items)
    synchronize()
    kit.items.remove(items[0])
    synchronize()
    assert_same()


def test_links_made_through_a_proxy_arrive(labels):
    paper = PaperProxy.objects.create(title="p")
    paper.labels.add(labels[0])
    synchronize()
    assert links(Paper) == ["a"]
    assert_same()


def test_links_to_a_proxy_arrive():
    board = Board.objects.create(name="b")
    board.notes.add(NoteProxy.objects.create(name="n"))
    synchronize()
    assert links(Board, "notes") == ["n"]
    board.notes.clear()
    synchronize()
    assert links(Board, "notes") == []


def test_symmetrical_links_arrive_and_go_on_both_ends():
    one, two, three = (Friend.objects.create(name=name) for name in "123")
    one.friends.add(two, three)
    synchronize()
    assert_same()
    two.friends.remove(one)
    synchronize()
    assert_same()
    three.friends.clear()
    synchronize()
    assert_same()
    assert not on_remote(Friend.friends.through).exists()


def test_one_way_links_to_the_same_model_keep_their_direction():
    star, fan = Fan.objects.create(name="star"), Fan.objects.create(name="fan")
    fan.follows.add(star)
    synchronize()
    assert [row.name for row in on_remote(Fan).get(name="fan").follows.all()] == ["star"]
    assert not on_remote(Fan).get(name="star").follows.exists()
    star.follows.add(star)
    star.followers.remove(fan)
    synchronize()
    assert_same()


# Explicit through models


def test_links_with_values_of_their_own_arrive_change_and_go():
    club, member = Club.objects.create(name="c"), Member.objects.create(name="m")
    sponsor = Member.objects.create(name="s")
    link = Membership.objects.create(club=club, member=member, role="chair", sponsor=sponsor)
    synchronize()
    assert_same()
    link.role, link.sponsor = "plain", None
    link.save()
    synchronize()
    assert_same()
    link.delete()
    synchronize()
    assert_same()


def test_the_same_pair_may_be_linked_twice():
    club, member = Club.objects.create(name="c"), Member.objects.create(name="m")
    for role in ("chair", "cook"):
        Membership.objects.create(club=club, member=member, role=role)
    synchronize()
    assert_same()
    Membership.objects.get(role="chair").delete()
    synchronize()
    assert_same()


def test_links_with_values_made_by_the_manager_arrive():
    club, member = Club.objects.create(name="c"), Member.objects.create(name="m")
    club.members.add(member, through_defaults={"role": "chair"})
    synchronize()
    assert on_remote(Membership).get().role == "chair"
    assert_same()
    member.clubs.add(Club.objects.create(name="d"), through_defaults={"role": "cook"})
    synchronize()
    assert_same()
    assert on_remote(Membership).count() == 2


@pytest.mark.parametrize("change", ["remove", "clear", "set"])
@pytest.mark.parametrize("side", ["forward", "reverse"])
def test_links_with_values_go_by_the_manager(side, change):
    club, member = Club.objects.create(name="c"), Member.objects.create(name="m")
    Membership.objects.create(club=club, member=member, role="chair")
    synchronize()
    manager, other = (club.members, member) if side == "forward" else (member.clubs, club)
    getattr(manager, change)(*{"remove": [other], "clear": [], "set": [[]]}[change])
    synchronize()
    assert not on_remote(Membership).exists()


def test_links_with_values_made_while_one_side_only_is_watched_arrive():
    with override_settings(SYNCHRO_MODELS=["testapp.Club"]):
        club, member = Club.objects.create(name="c"), Member.objects.create(name="m")
        Membership.objects.create(club=club, member=member, role="chair")
        synchronize()
    assert_same(Club, Member, Membership)


def test_links_with_values_between_rows_of_one_model_arrive():
    one, two = Stop.objects.create(name="1"), Stop.objects.create(name="2")
    Route.objects.create(start=one, end=two, minutes=5)
    two.nexts.add(one, through_defaults={"minutes": 7})
    synchronize()
    assert_same()
    one.nexts.clear()
    synchronize()
    assert_same()
    assert on_remote(Route).get().minutes == 7


def test_links_with_values_go_with_either_side():
    club, member = Club.objects.create(name="c"), Member.objects.create(name="m")
    Membership.objects.create(club=club, member=member)
    synchronize()
    member.delete()
    synchronize()
    assert_same()


def test_links_are_removed_in_sets(mode):
    """Not owner by owner, nor some hundred of them at a time."""
    if mode == "save":
        pytest.skip("goes one by one")
    labels = [Label.objects.create(name=name) for name in "ab"]
    Paper.objects.bulk_create(Paper(title=str(number)) for number in range(1200))
    papers = list(Paper.objects.all())
    add = Paper.labels.through.objects.bulk_create
    add(Paper.labels.through(paper=paper, label=label) for paper in papers for label in labels)
    for paper in papers:
        log_links(paper)
    synchronize()
    assert on_remote(Paper.labels.through).count() == 2400
    Paper.labels.through.objects.filter(label=labels[0]).delete()
    Paper.labels.through.objects.filter(paper=papers[0]).delete()
    for paper in papers:
        log_links(paper)
    with CaptureQueriesContext(connections[REMOTE]) as queries:
        synchronize()
    left = on_remote(Paper.labels.through).values_list("paper__title", "label__name")
    assert sorted(left) == sorted((str(number), "b") for number in range(1, 1200))
    table = Paper.labels.through._meta.db_table
    about = [query["sql"] for query in queries if table in query["sql"]]
    # What is there, which rows these are, and away with them.
    assert len(about) == 3, [sql[:100] for sql in about]


def log_links(paper):
    ChangeLog.objects.create(
        label="testapp.paper", object_id=str(paper.pk), action=M2M_CHANGE, field="labels"
    )
