"""What a deletion takes along, and what it must never take along."""

from __future__ import annotations

import pytest
from django.db import connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from synchro import DisableSynchroLog, synchronize
from synchro.exceptions import SynchroError
from synchro.models import options
from tests.compare import assert_same
from tests.otherapp.models import Collection, Remark
from tests.runs import LOCAL, REMOTE, age, occupy, on_remote
from tests.testapp.models import (
    Author,
    Book,
    CascadeLeaf,
    Chapter,
    Club,
    DoNothingLeaf,
    Folder,
    Hub,
    Item,
    Label,
    Member,
    Membership,
    Note,
    Paper,
    Passport,
    Place,
    Post,
    ProtectLeaf,
    Rack,
    Restaurant,
    RestrictLeaf,
    SetDefaultLeaf,
    SetNullLeaf,
    Shelf,
    Slot,
    Tag,
)

LEAVES = [CascadeLeaf, ProtectLeaf, RestrictLeaf, SetNullLeaf, SetDefaultLeaf, DoNothingLeaf]


@pytest.fixture(params=["auto", "save", "bulk"], autouse=True)
def mode(request):
    with override_settings(SYNCHRO_REPLAY=request.param):
        yield request.param


@pytest.fixture
def hubs():
    """Two hubs that both databases have."""
    Hub.objects.create(code="main")
    Hub.objects.create(code="a")
    synchronize()
    return Hub.objects.get(code="a"), Hub.objects.get(code="main")


# Rows that LOCAL knows


def test_a_tree_goes_whole():
    root = Folder.objects.create(name="root")
    leaf = root
    for number in range(5):
        leaf = Folder.objects.create(name=str(number), parent=leaf)
    kept = Folder.objects.create(name="kept")
    synchronize()
    root.delete()
    synchronize()
    assert [folder.name for folder in on_remote(Folder).all()] == [kept.name]


def test_many_rows_with_composite_keys_go_at_once(mode):
    """By themselves, and along with a row that they depend on."""
    if mode == "save":
        pytest.skip("goes one by one")
    keys = [(room, hour) for room in "ab" for hour in range(600)]
    for alias in (LOCAL, REMOTE):
        Slot.objects.using(alias).bulk_create(Slot(room=r, hour=h) for r, h in keys)
    Rack.objects.create(name="r")
    synchronize()
    there = on_remote(Rack).get().pk
    Shelf.objects.using(REMOTE).bulk_create(Shelf(rack_id=there, number=n) for n in range(1200))
    for slot in Slot.objects.filter(room="a") | Slot.objects.filter(hour__lt=590):
        slot.delete()
    Rack.objects.get().delete()
    with (
        override_settings(SYNCHRO_CASCADE=True),
        CaptureQueriesContext(connections[REMOTE]) as queries,
    ):
        synchronize()
    left = on_remote(Slot).order_by("hour").values_list("room", "hour")
    assert list(left) == [("b", hour) for hour in range(590, 600)]
    assert not on_remote(Shelf).exists()
    assert not on_remote(Rack).exists()
    about = [q["sql"] for q in queries if "_slot" in q["sql"] or "_shelf" in q["sql"]]
    assert len(about) < 15, [sql[:100] for sql in about]


def test_a_chain_goes_whole():
    author = Author.objects.create(name="a")
    book = Book.objects.create(title="b", author=author)
    Chapter.objects.create(title="c", book=book)
    Passport.objects.create(holder=author)
    synchronize()
    author.delete()
    synchronize()
    assert_same()
    assert not on_remote(Chapter).exists()


@pytest.mark.parametrize("model", LEAVES)
def test_leaves_that_were_deleted_first_are_no_obstacle(model, hubs):
    leaf = model.objects.create(name="l", hub=hubs[0])
    synchronize()
    leaf.delete()
    hubs[0].delete()
    synchronize()
    assert_same()
    assert [hub.code for hub in on_remote(Hub).all()] == ["main"]


@pytest.mark.parametrize("model", LEAVES)
def test_leaves_that_moved_away_stay(model, hubs):
    leaf = model.objects.create(name="l", hub=hubs[0])
    synchronize()
    leaf.hub = hubs[1]
    leaf.save()
    hubs[0].delete()
    synchronize()
    assert on_remote(model).get().hub_id == "main"
    assert_same()


@pytest.mark.parametrize("model", LEAVES)
def test_leaves_that_moved_away_without_a_log_row_are_not_lost(model, hubs):
    leaf = model.objects.create(name="l", hub=hubs[0])
    synchronize()
    model.objects.filter(pk=leaf.pk).update(hub=hubs[1])
    hubs[0].delete()
    try:
        synchronize()
    except SynchroError as error:
        assert model._meta.model_name in str(error).lower()
    assert on_remote(model).filter(name="l").exists()


def test_cascade_takes_leaves_that_local_knew_along(hubs):
    CascadeLeaf.objects.create(name="l", hub=hubs[0])
    synchronize()
    hubs[0].delete()
    synchronize()
    assert_same()
    assert not on_remote(CascadeLeaf).exists()


def test_set_null_takes_the_reference_away_on_remote_too(hubs):
    SetNullLeaf.objects.create(name="l", hub=hubs[0])
    synchronize()
    hubs[0].delete()
    assert SetNullLeaf.objects.get().hub is None
    synchronize()
    assert on_remote(SetNullLeaf).get().hub is None
    assert_same()


def test_set_default_sets_the_default_on_remote_too(hubs):
    SetDefaultLeaf.objects.create(name="l", hub=hubs[0])
    synchronize()
    hubs[0].delete()
    assert SetDefaultLeaf.objects.get().hub_id == "main"
    synchronize()
    assert on_remote(SetDefaultLeaf).get().hub_id == "main"
    assert_same()


def test_a_hub_replaced_under_the_same_key_keeps_leaves_that_still_refer_to_it(hubs):
    """Deleted and added again: on LOCAL the leaf moved away and came back."""
    leaf = CascadeLeaf.objects.create(name="l", hub=hubs[0])
    synchronize()
    leaf.hub = hubs[1]
    leaf.save()
    hubs[0].delete()
    leaf.hub = Hub.objects.create(code="a")
    leaf.save()
    synchronize()
    assert_same()
    assert on_remote(CascadeLeaf).get().hub_id == "a"


def test_links_are_no_obstacle():
    paper, label = Paper.objects.create(title="p"), Label.objects.create(name="l")
    synchronize()
    with DisableSynchroLog():
        on_remote(Paper).get().labels.add(on_remote(Label).get())
    label.delete()
    synchronize()
    assert not on_remote(Label).exists()
    assert on_remote(Paper).get().title == paper.title


def test_a_row_that_is_gone_on_remote_already_is_no_obstacle():
    note = Note.objects.create(name="a")
    synchronize()
    with DisableSynchroLog():
        on_remote(Note).get().delete()
    note.delete()
    synchronize()
    assert not on_remote(Note).exists()


@pytest.mark.by_signals("_raw_delete() writes silently")
def test_a_row_that_vanished_from_local_without_a_log_row_is_reported():
    note = Note.objects.create(name="a")
    key = note.pk
    synchronize()
    note.save()
    Note.objects.all()._raw_delete("default")
    result = synchronize()
    assert [(s.label, str(s.pk), s.reason) for s in result.skipped] == [
        ("testapp.note", str(key), "vanished")
    ]
    assert on_remote(Note).get().name == "a"
    assert synchronize().skipped == []


# Rows that only REMOTE has


@pytest.mark.parametrize("model", [CascadeLeaf, ProtectLeaf, RestrictLeaf, DoNothingLeaf])
def test_rows_of_its_own_that_remote_has_stop_the_deletion(model, hubs):
    theirs = occupy(model, name="theirs", hub_id="a")
    Note.objects.create(name="also in this run")
    checkpoint = options.last_check
    hubs[0].delete()
    with pytest.raises(SynchroError) as error:
        synchronize()
    for word in ("testapp.hub a", model._meta.model_name):
        assert word in str(error.value).lower()
    assert on_remote(model).get() == theirs
    assert on_remote(Hub).count() == 2
    assert not on_remote(Note).exists()
    assert options.last_check == checkpoint


def test_the_deletion_goes_on_once_the_obstacle_is_gone(hubs):
    theirs = occupy(CascadeLeaf, name="theirs", hub_id="a")
    hubs[0].delete()
    with pytest.raises(SynchroError):
        synchronize()
    theirs.delete()
    synchronize()
    assert_same(Hub)


@pytest.mark.parametrize("model", [SetNullLeaf, SetDefaultLeaf])
def test_rows_of_its_own_that_remote_has_are_not_deleted_with_what_they_refer_to(model, hubs):
    occupy(model, name="theirs", hub_id="a")
    hubs[0].delete()
    try:
        synchronize()
    except SynchroError as error:
        assert model._meta.model_name in str(error).lower()
        assert on_remote(model).get().hub_id == "a"
    else:
        assert on_remote(model).get().hub_id == (None if model is SetNullLeaf else "main")


def test_rows_of_an_unwatched_model_stop_the_deletion_too():
    note = Note.objects.create(name="a")
    synchronize()
    Remark.objects.using(REMOTE).create(note=on_remote(Note).get(), text="theirs")
    note.delete()
    with pytest.raises(SynchroError, match="(?i)remark"):
        synchronize()
    assert on_remote(Remark).count() == 1
    assert on_remote(Note).count() == 1


def test_rows_of_its_own_further_down_stop_the_deletion_too():
    author = Author.objects.create(name="a")
    Book.objects.create(title="b", author=author)
    synchronize()
    occupy(Chapter, title="theirs", book=on_remote(Book).get())
    author.delete()
    with pytest.raises(SynchroError, match="(?i)chapter"):
        synchronize()
    assert on_remote(Author).count() == on_remote(Book).count() == on_remote(Chapter).count() == 1


def test_a_child_that_only_remote_has_stops_the_deletion_of_its_parent():
    """REMOTE made a bigger object of the row, by multi-table inheritance."""
    place = Place.objects.create(name="p")
    synchronize()
    with DisableSynchroLog():
        theirs = Restaurant(place_ptr_id=on_remote(Place).get().pk, stars=5)
        theirs.save_base(raw=True, using=REMOTE)
    place.delete()
    with pytest.raises(SynchroError, match="(?i)restaurant"):
        synchronize()
    assert on_remote(Restaurant).count() == 1


def test_generic_relations_of_its_own_stop_the_deletion_too():
    post = Post.objects.create(title="p")
    synchronize()
    with DisableSynchroLog():
        on_remote(Post).get().tags.create(label="theirs")
    post.delete()
    with pytest.raises(SynchroError, match="(?i)tag"):
        synchronize()
    assert on_remote(Tag).count() == 1


def test_rows_that_remote_changed_meanwhile_are_known_rows():
    """LOCAL knew the child: that REMOTE changed it earlier does not make it REMOTE's own."""
    author = Author.objects.create(name="a")
    Book.objects.create(title="b", author=author)
    synchronize()
    on_remote(Book).get().save()
    age(REMOTE)
    author.delete()
    synchronize()
    assert_same()


def test_cascading_is_allowed_by_a_setting(hubs):
    occupy(CascadeLeaf, name="theirs", hub_id="a")
    hubs[0].delete()
    with override_settings(SYNCHRO_CASCADE=True):
        synchronize()
    assert not on_remote(CascadeLeaf).exists()
    assert_same(Hub)


def test_cascading_respects_protection(hubs):
    occupy(ProtectLeaf, name="theirs", hub_id="a")
    hubs[0].delete()
    with override_settings(SYNCHRO_CASCADE=True), pytest.raises(SynchroError, match="(?i)protect"):
        synchronize()
    assert on_remote(ProtectLeaf).count() == 1


def test_cascading_into_unwatched_models_is_allowed_by_the_same_setting():
    note = Note.objects.create(name="a")
    synchronize()
    Remark.objects.using(REMOTE).create(note=on_remote(Note).get(), text="theirs")
    note.delete()
    with override_settings(SYNCHRO_CASCADE=True):
        synchronize()
    assert not on_remote(Remark).exists()
    assert not on_remote(Note).exists()


def test_links_of_remotes_own_rows_go_with_the_deleted_row_but_the_rows_stay():
    note = Note.objects.create(name="a")
    synchronize()
    theirs = Collection.objects.using(REMOTE).create(name="theirs")
    with DisableSynchroLog():
        theirs.notes.add(on_remote(Note).get())
    note.delete()
    synchronize()
    assert on_remote(Collection).count() == 1
    assert not theirs.notes.exists()


def test_explicit_links_of_its_own_stop_the_deletion():
    club = Club.objects.create(name="c")
    synchronize()
    with DisableSynchroLog():
        member = Member.objects.using(REMOTE).create(name="theirs")
        Membership.objects.using(REMOTE).create(club=on_remote(Club).get(), member=member)
    club.delete()
    with pytest.raises(SynchroError, match="(?i)membership"):
        synchronize()
    assert on_remote(Membership).count() == 1


def test_a_deletion_that_was_never_replayed_finds_explicit_keys_only():
    """Without a natural key or a reference there is nothing to find: no other row goes."""
    theirs = occupy(Note, name="theirs")
    with DisableSynchroLog():
        note = Note.objects.create(pk=theirs.pk, name="ours")
        Item.objects.create(code="i")
    occupy(Item, code="i")
    note.delete()
    Item.objects.get().delete()
    synchronize()
    assert on_remote(Note).get() == theirs
    assert not on_remote(Item).exists()
