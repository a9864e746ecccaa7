"""Foreign keys of every shape arrive pointing at the counterparts of what they pointed at."""

from __future__ import annotations

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connections, models, transaction
from django.test import override_settings

from synchro import DisableSynchroLog, synchronize
from synchro.exceptions import SynchroError
from tests.compare import assert_same
from tests.otherapp.models import Region
from tests.runs import REMOTE, age, occupy, on_remote, synchronize_back
from tests.testapp.models import (
    Author,
    Book,
    Chapter,
    Folder,
    Item,
    Locker,
    Mirror,
    Note,
    Passport,
    Player,
    Post,
    Ring,
    Shop,
    Stock,
    Tag,
    Team,
    Visa,
    Warehouse,
    Worker,
)


@pytest.fixture(autouse=True)
def shifted_keys():
    """Automatic keys of REMOTE differ from those of LOCAL for every model used here."""
    for model, values in [
        (Author, {"name": "x"}),
        (Folder, {"name": "x"}),
        (Worker, {"name": "x"}),
        (Team, {"name": "x"}),
        (Region, {"name": "x"}),
        (Post, {"title": "x"}),
        (Note, {"name": "x"}),
        (Warehouse, {"code": "x"}),
    ]:
        with DisableSynchroLog():
            rows = [occupy(model, **{k: f"{v}{n}" for k, v in values.items()}) for n in range(3)]
            for row in rows:
                row.delete()


@pytest.fixture(params=["auto", "save", "bulk"], autouse=True)
def mode(request):
    with override_settings(SYNCHRO_REPLAY=request.param):
        yield request.param


# Parents


def test_a_foreign_key_points_at_the_counterpart():
    author = Author.objects.create(name="a")
    other = Author.objects.create(name="b")
    book = Book.objects.create(title="t", author=author)
    synchronize()
    assert_same()
    book.author = other
    book.save()
    synchronize()
    assert on_remote(Book).get().author.name == "b"
    assert_same()


def test_parents_that_were_never_logged_are_created_first_to_any_depth():
    with DisableSynchroLog():
        author = Author.objects.create(name="a")
        book = Book.objects.create(title="b", author=author)
    Chapter.objects.create(title="c", book=book)
    result = synchronize()
    assert_same()
    assert result.counts == {
        ("testapp.author", "create"): 1,
        ("testapp.book", "create"): 1,
        ("testapp.chapter", "create"): 1,
    }
    author.name = "renamed"
    author.save()
    synchronize()
    assert on_remote(Author).get().name == "renamed"


def test_a_long_chain_of_unlogged_parents_of_the_same_model_is_created():
    with DisableSynchroLog():
        folder = None
        for number in range(60):
            folder = Folder.objects.create(name=str(number), parent=folder)
    Folder.objects.create(name="leaf", parent=folder)
    synchronize()
    assert_same(Folder)


def test_a_parent_that_is_not_watched_is_created_too():
    with DisableSynchroLog():
        occupy(Region, name="theirs")
    shop = Shop.objects.create(name="s", region=Region.objects.create(name="r"))
    synchronize()
    assert on_remote(Shop).get().region.name == "r"
    shop.name = "again"
    shop.save()
    synchronize()
    assert on_remote(Region).filter(name="r").count() == 1


def test_a_parent_that_remote_has_already_is_not_overwritten_unless_it_changed():
    author = Author.objects.create(name="a")
    synchronize()
    theirs = on_remote(Author).get()
    theirs.name = "changed on remote"
    theirs.save()
    Book.objects.create(title="b", author=author)
    synchronize()
    assert on_remote(Book).get().author.name == "changed on remote"


def test_a_foreign_key_to_another_field_points_at_the_counterpart():
    warehouse = Warehouse.objects.create(code="W1", name="one")
    stock = Stock.objects.create(name="s", warehouse=warehouse)
    synchronize()
    assert_same()
    stock.warehouse = Warehouse.objects.create(code="W2", name="two")
    stock.save()
    synchronize()
    assert on_remote(Stock).get().warehouse.name == "two"
    assert_same()


def test_an_unlogged_parent_is_found_through_another_field_too():
    with DisableSynchroLog():
        warehouse = Warehouse.objects.create(code="W1", name="one")
    Stock.objects.create(name="s", warehouse=warehouse)
    synchronize()
    assert_same()


def test_a_null_reference_stays_null_and_may_be_set_and_taken_away():
    root, leaf = Folder.objects.create(name="root"), Folder.objects.create(name="leaf")
    synchronize()
    leaf.parent = root
    leaf.save()
    synchronize()
    assert on_remote(Folder).get(name="leaf").parent.name == "root"
    leaf.parent = None
    leaf.save()
    synchronize()
    assert on_remote(Folder).get(name="leaf").parent is None


# References to the same model


def test_children_logged_before_their_parents_arrive():
    leaf = Folder.objects.create(name="leaf")
    root = Folder.objects.create(name="root")
    leaf.parent = root
    leaf.save()
    synchronize()
    assert_same(Folder)


def test_a_tree_may_be_turned_upside_down():
    folders = [Folder.objects.create(name=str(number)) for number in range(4)]
    for parent, child in zip(folders, folders[1:], strict=False):
        child.parent = parent
        child.save()
    synchronize()
    folders[0].parent = folders[3]
    folders[1].parent = None
    for child, parent in zip(folders[1:], folders[2:], strict=False):
        child.parent = parent
    folders[3].parent = None
    for folder in folders:
        folder.save()
    synchronize()
    assert_same(Folder)


def test_a_row_that_points_at_itself_arrives():
    folder = Folder.objects.create(name="a")
    folder.parent = folder
    folder.save()
    synchronize()
    arrived = on_remote(Folder).get()
    assert arrived.parent_id == arrived.pk


def test_rows_that_point_at_each_other_arrive():
    one, two = Worker.objects.create(name="1"), Worker.objects.create(name="2")
    one.boss, one.mentor = two, one
    two.boss, two.mentor = one, None
    one.save()
    two.save()
    synchronize()
    assert_same(Worker)
    one.boss, one.mentor, two.mentor = None, two, one
    one.save()
    two.save()
    synchronize()
    assert_same(Worker)


def test_a_reference_to_itself_that_is_never_null_arrives():
    Ring.objects.create(code="a", next_id="a")
    Ring.objects.create(code="b", next_id="a")
    Ring.objects.create(code="0", next_id="b")
    synchronize()
    assert_same(Ring)


def test_a_ring_of_rows_with_explicit_keys_that_is_never_null_arrives():
    Ring.objects.create(code="a", next_id="a")
    Ring.objects.create(code="b", next_id="a")
    Ring.objects.filter(code="a").update(next_id="b")
    synchronize()
    assert_same(Ring)


def test_rows_with_automatic_keys_that_point_at_themselves_and_are_never_null_arrive():
    itself = Mirror.objects.create(pk=70001, name="itself", original_id=70001)
    Mirror.objects.create(name="copy", original=itself)
    synchronize()
    assert_same(Mirror)
    itself.name = "changed"
    itself.save()
    synchronize()
    assert_same(Mirror)


# Cycles of models


def test_a_cycle_of_two_models_arrives():
    team = Team.objects.create(name="t")
    captain = Player.objects.create(name="c", team=team)
    Player.objects.create(name="p", team=team)
    team.captain = captain
    team.save()
    synchronize()
    assert_same()
    assert on_remote(Team).get().captain.name == "c"


def test_a_cycle_of_which_nothing_but_one_row_was_logged_arrives():
    with DisableSynchroLog():
        team = Team.objects.create(name="t")
        captain = Player.objects.create(name="c", team=team)
        team.captain = captain
        team.save()
    captain.save()
    synchronize()
    assert_same()


def test_a_cycle_may_be_changed_and_deleted():
    teams = [Team.objects.create(name=f"t{number}") for number in range(2)]
    players = [Player.objects.create(name=f"p{n}", team=teams[n]) for n in range(2)]
    for team, player in zip(teams, players, strict=True):
        team.captain = player
        team.save()
    synchronize()
    for team, player in zip(teams, reversed(players), strict=True):
        team.captain = player
        team.save()
        player.team = team
        player.save()
    synchronize()
    assert_same()
    teams[0].delete()
    synchronize()
    assert_same()


# One-to-one


def test_one_to_one_primary_keys_follow_the_counterpart():
    author = Author.objects.create(name="a")
    passport = Passport.objects.create(holder=author, number="1")
    visa = Visa.objects.create(passport=passport, country="c")
    synchronize()
    arrived = on_remote(Visa).get()
    assert arrived.passport.holder.name == "a"
    assert arrived.pk == on_remote(Author).get().pk != author.pk
    passport.number = "2"
    passport.save()
    visa.country = "d"
    visa.save()
    synchronize()
    assert_same()
    visa.delete()
    passport.delete()
    synchronize()
    assert_same()
    assert on_remote(Author).count() == 1


def test_one_to_one_primary_keys_follow_an_unlogged_chain():
    with DisableSynchroLog():
        author = Author.objects.create(name="a")
        passport = Passport.objects.create(holder=author, number="1")
    Visa.objects.create(passport=passport, country="c")
    synchronize()
    assert_same()


def test_one_to_one_rows_come_back_from_remote():
    Passport.objects.create(holder=Author.objects.create(name="a"), number="1")
    synchronize()
    age(REMOTE)
    theirs = on_remote(Passport).get()
    theirs.number = "2"
    theirs.save()
    synchronize_back()
    assert Passport.objects.get().number == "2"


def test_a_nullable_one_to_one_passes_from_row_to_row():
    author = Author.objects.create(name="a")
    one = Locker.objects.create(code="1", owner=author)
    two = Locker.objects.create(code="2")
    synchronize()
    one.owner = None
    one.save()
    two.owner = author
    two.save()
    synchronize()
    assert_same()


# Generic foreign keys


@pytest.fixture
def shifted_content_types():
    """The content types of the targets have other keys on REMOTE."""
    with DisableSynchroLog():
        for model in (Post, Item, Note):
            label = {"app_label": "testapp", "model": model._meta.model_name}
            ContentType.objects.using(REMOTE).get(**label).delete()
            ContentType.objects.clear_cache()
            there = ContentType.objects.db_manager(REMOTE).get_for_model(model)
            here = ContentType.objects.db_manager("default").get_for_model(model)
            assert here.pk != there.pk


@pytest.mark.usefixtures("shifted_content_types")
def test_generic_foreign_keys_point_at_the_counterparts():
    post, note = Post.objects.create(title="p"), Note.objects.create(name="n")
    item = Item.objects.create(code="i")
    tags = [
        Tag.objects.create(label=str(n), target=row) for n, row in enumerate([post, note, item])
    ]
    synchronize()
    assert_same(Tag, Post, Item, Note)
    tags[0].target, tags[1].target = note, item
    for tag in tags:
        tag.save()
    synchronize()
    assert_same(Tag, Post, Item, Note)


@pytest.mark.usefixtures("shifted_content_types")
def test_the_target_of_a_generic_foreign_key_is_created_though_it_was_never_logged():
    with DisableSynchroLog():
        post = Post.objects.create(title="p")
    Tag.objects.create(label="t", target=post)
    synchronize()
    assert_same(Tag, Post, Item, Note)


@pytest.mark.usefixtures("shifted_content_types")
def test_generic_relations_are_deleted_with_their_target():
    post, other = Post.objects.create(title="p"), Post.objects.create(title="q")
    for row in (post, other):
        row.tags.create(label=row.title)
    synchronize()
    post.delete()
    synchronize()
    assert [tag.label for tag in on_remote(Tag).all()] == ["q"]
    assert_same(Tag, Post, Item, Note)


@pytest.mark.usefixtures("shifted_content_types")
def test_generic_foreign_keys_work_in_the_other_direction():
    post = Post.objects.create(title="p")
    synchronize()
    Tag.objects.using(REMOTE).create(label="t", target=on_remote(Post).get())
    synchronize_back()
    assert Tag.objects.get().target == post


def test_a_generic_foreign_key_to_nothing_arrives_as_one_to_nothing():
    kind = ContentType.objects.get_for_model(Post)
    Tag.objects.create(label="t", content_type=kind, object_id="987654")
    synchronize()
    assert on_remote(Tag).get().target is None


# Routers


class NotesStayHere:
    """A router that forbids one model on REMOTE."""

    def allow_migrate(self, db, app_label, model_name=None, **hints):
        return False if (db, model_name) == (REMOTE, "note") else None


class ReadsElsewhere:
    """A router that would send every query to the other database."""

    def db_for_read(self, model: type[models.Model], **hints):
        return REMOTE if model._meta.app_label == "testapp" else None

    def allow_relation(self, one, two, **hints):
        return one._state.db == two._state.db or None


def test_a_router_that_forbids_a_model_on_remote_is_a_clear_error():
    Note.objects.create(name="a")
    with (
        override_settings(DATABASE_ROUTERS=[NotesStayHere()]),
        pytest.raises(SynchroError, match=r"(?i)testapp\.note.*router"),
    ):
        synchronize()
    assert not on_remote(Note).exists()


def test_a_router_that_forbids_a_model_does_not_disturb_others():
    Item.objects.create(code="a")
    with override_settings(DATABASE_ROUTERS=[NotesStayHere()]):
        synchronize()
    assert_same(Item)


def test_a_router_that_chooses_databases_does_not_change_what_is_read():
    author = Author.objects.create(name="a")
    Book.objects.create(title="b", author=author)
    with override_settings(DATABASE_ROUTERS=[ReadsElsewhere()]):
        synchronize()
    assert_same()


def test_constraints_hold_when_a_run_is_over():
    team = Team.objects.create(name="t")
    team.captain = Player.objects.create(name="c", team=team)
    team.save()
    synchronize()
    with transaction.atomic(using=REMOTE):
        connections[REMOTE].check_constraints()
