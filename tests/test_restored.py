"""LOCAL or REMOTE is restored from a backup, and goes on synchronizing."""

from __future__ import annotations

import datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from synchro import synchronize
from synchro.core import adopt_restored
from synchro.exceptions import NodeError
from synchro.models import ChangeLog, Node, Peer, new_token
from synchro.nodes import own_node, take_identity
from synchro.retention import purge
from tests.backups import Backup
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, age, on_remote, reversed_direction, synchronize_back
from tests.testapp.models import (
    Author,
    Book,
    Country,
    Item,
    Label,
    Note,
    Paper,
    Pizzeria,
    Place,
    Restaurant,
)

KINDS = (
    *(Author, Book, Country, Item, Note, Label, Paper, Paper.labels.through),
    *(Place, Restaurant, Pizzeria),
)
LATER = 9_000


def backup(alias):
    return Backup(alias, *KINDS)


def names(model=Note, alias=REMOTE):
    return sorted(model._base_manager.using(alias).values_list("name", flat=True))


@pytest.fixture
def known():
    """Rows that both databases have, under other keys."""
    note = Note.objects.create(name="known")
    # However far each database has counted.
    while Note.objects.using(REMOTE).create(name="x").pk <= note.pk:
        pass
    for row in on_remote(Note).all():
        row.delete()
    synchronize()
    assert on_remote(Note).get().pk != note.pk
    age(LOCAL, 86_400)
    age(REMOTE, 86_400)
    return note


# LOCAL


def test_a_restored_local_is_refused_and_told_the_way_out(known):
    saved = backup(LOCAL)
    known.save()
    synchronize()
    saved.restore()
    way_out = "synchro_adopt --restored --remote remote"
    with pytest.raises(NodeError, match=way_out):
        synchronize()
    Note.objects.create(name="new")
    with pytest.raises(NodeError, match=way_out):
        synchronize()
    with pytest.raises(NodeError, match=way_out):
        synchronize()
    with pytest.raises(NodeError, match="synchro_adopt --restored --remote default"):
        synchronize_back()
    assert names() == ["known"]


def test_a_row_that_the_backup_has_is_still_known(known):
    saved = backup(LOCAL)
    known.name = "lost"
    known.save()
    synchronize()
    saved.restore()
    note = Note.objects.get()
    note.name = "after the restore"
    note.save()
    (renewal,) = adopt_restored()
    assert (renewal.alias, renewal.edits) == (LOCAL, 1)
    assert (renewal.kept, renewal.dropped) == ({"testapp.note": 1}, {})
    synchronize()
    assert names() == ["after the restore"]
    assert not synchronize().changed


def test_a_key_that_another_row_has_got_by_now_is_not_taken_for_the_old_row(known):
    saved = backup(LOCAL)
    Note.objects.create(pk=LATER, name="lost")
    synchronize()
    saved.restore()
    Note.objects.create(pk=LATER, name="another one")
    (renewal,) = adopt_restored()
    assert renewal.dropped == {"testapp.note": 1}
    assert renewal.examples == [
        f"testapp.note {LATER}, there {on_remote(Note).get(name='lost').pk}"
    ]
    synchronize()
    assert names() == ["another one", "known", "lost"]
    Note.objects.get(pk=LATER).delete()
    synchronize()
    assert names() == ["known", "lost"]


def test_a_key_reused_without_a_log_row_is_not_taken_for_the_old_row_either(known):
    saved = backup(LOCAL)
    lost = Note.objects.create(pk=LATER, name="lost")
    synchronize()
    lost.save()
    synchronize()
    # REMOTE's own log was purged: the newest row of the object stays.
    first = ChangeLog.objects.using(REMOTE).filter(object_id=str(on_remote(Note).last().pk))
    first.order_by("id").first().delete()
    saved.restore()
    Note.objects.bulk_create([Note(pk=LATER, name="another one")])
    adopt_restored()
    another = Note.objects.get(pk=LATER)
    another.name = "saved"
    another.save()
    synchronize()
    assert names() == ["known", "lost", "saved"]


def test_a_row_that_was_pending_in_the_backup_is_not_made_twice(known):
    """It was sent after the backup was made, and is pending again."""
    Note.objects.create(name="pending")
    saved = backup(LOCAL)
    synchronize()
    saved.restore()
    (renewal,) = adopt_restored()
    assert renewal.dropped == {}
    assert renewal.edits == 1
    result = synchronize()
    assert names() == ["known", "pending"]
    assert (result.skipped, result.overwritten) == ([], [])
    assert_same(Note)


def test_the_time_of_the_backup_tells_more(known):
    """The row was added before the backup, and changed between the backup and the run."""
    pending = Note.objects.create(name="pending")
    age(LOCAL, 60)
    saved = backup(LOCAL)
    when = timezone.now() - datetime.timedelta(seconds=30)
    pending.name = "changed and lost"
    pending.save()
    synchronize()
    saved.restore()
    Note.objects.create(pk=LATER, name="new")
    (renewal,) = adopt_restored(since=when)
    assert renewal.dropped == {}
    pending = Note.objects.get(name="pending")
    pending.name = "newest"
    pending.save()
    synchronize()
    assert names() == ["known", "new", "newest"]


def test_without_that_time_a_row_may_be_made_twice_but_nothing_is_mixed_up(known):
    pending = Note.objects.create(name="pending")
    saved = backup(LOCAL)
    pending.name = "changed and lost"
    pending.save()
    synchronize()
    saved.restore()
    (renewal,) = adopt_restored()
    assert renewal.dropped == {"testapp.note": 1}
    synchronize()
    assert names() == ["changed and lost", "known", "pending"]


def test_what_was_lost_here_wins_there_if_it_is_later(known):
    known.name = "pending"
    known.save()
    saved = backup(LOCAL)
    age(LOCAL)
    known.name = "lost"
    known.save()
    synchronize()
    saved.restore()
    age(LOCAL)
    adopt_restored()
    result = synchronize()
    assert [skipped.reason for skipped in result.skipped] == ["remote-newer"]
    assert names() == ["lost"]


def test_a_run_the_other_way_brings_back_what_was_lost(known):
    synchronize_back()
    saved = backup(LOCAL)
    author = Author.objects.create(name="lost")
    Book.objects.create(title="lost", author=author)
    known.name = "changed"
    known.save()
    synchronize()
    saved.restore()
    Author.objects.create(name="new")
    adopt_restored()
    synchronize()
    synchronize_back()
    assert names(alias=LOCAL) == ["changed"]
    assert names(Author, LOCAL) == ["lost", "new"]
    assert_same(Note)
    assert_same(Author)
    assert_same(Book)


def test_both_directions_go_on_without_duplicates(known):
    theirs = Note.objects.using(REMOTE).create(name="theirs")
    synchronize_back()
    saved = backup(LOCAL)
    synchronize()
    known.save()
    synchronize()
    saved.restore()
    adopt_restored()
    for _ in range(2):
        synchronize()
        synchronize_back()
    assert names(alias=LOCAL) == names() == ["known", "theirs"]
    theirs.name = "changed there"
    theirs.save()
    synchronize_back()
    assert names(alias=LOCAL) == ["changed there", "known"]


def test_a_change_that_remote_had_seen_is_no_conflict(known):
    theirs = on_remote(Note).get()
    saved = backup(LOCAL)
    Note.objects.create(name="lost")
    synchronize()
    theirs.name = "with ours in view"
    theirs.save()
    saved.restore()
    adopt_restored()
    result = synchronize_back()
    assert (result.skipped, result.overwritten) == ([], [])
    assert "with ours in view" in names(alias=LOCAL)


def test_rows_with_explicit_and_natural_keys_stay_the_same():
    Item.objects.create(code="a", name="known")
    Country.objects.using(REMOTE).create(code="XX", name="x").delete()
    Country.objects.create(code="PL", name="known")
    synchronize()
    age(LOCAL, 60)
    age(REMOTE, 60)
    Item.objects.create(code="b", name="pending")
    saved = backup(LOCAL)
    Item.objects.create(code="c", name="lost")
    Country.objects.create(code="CZ", name="lost")
    synchronize()
    saved.restore()
    for model, code in ((Item, "a"), (Country, "PL")):
        row = model.objects.get(code=code)
        row.name = "edited"
        row.save()
    Country.objects.create(code="CZ", name="made again")
    adopt_restored()
    result = synchronize()
    assert result.skipped == []
    assert names(Item) == ["edited", "lost", "pending"]
    assert names(Country) == ["edited", "made again"]


def test_children_in_other_tables_keep_their_roots_reference():
    Place.objects.using(REMOTE).create(name="x").delete()
    pizzeria = Pizzeria.objects.create(name="n", stars=1, oven="o")
    synchronize()
    saved = backup(LOCAL)
    Pizzeria.objects.create(pk=LATER, name="lost", stars=1, oven="o")
    synchronize()
    saved.restore()
    Pizzeria.objects.create(pk=LATER, name="another", stars=1, oven="o")
    adopt_restored()
    row = Pizzeria.objects.get(pk=pizzeria.pk)
    row.oven = "edited"
    row.save()
    synchronize()
    assert sorted(on_remote(Pizzeria).values_list("name", "oven")) == [
        ("another", "o"),
        ("lost", "o"),
        ("n", "edited"),
    ]


def test_the_old_identity_is_retired(known):
    synchronize_back()
    old = Node.objects.get(pk=1).uid
    assert Peer.objects.using(REMOTE).get(node=old).sent_at
    saved = backup(LOCAL)
    known.save()
    synchronize()
    saved.restore()
    (renewal,) = adopt_restored()
    assert Node.objects.get(pk=1).uid == renewal.uid != old
    assert Node.objects.get(uid=old).retired
    # Nobody waits for it: what REMOTE logs may be purged without it.
    peers = Peer.objects.using(REMOTE)
    assert peers.get(node=old).sent_at is None
    assert peers.get(node=renewal.uid).sent_batch == own_node(REMOTE).last_batch > 0


def test_the_same_backup_may_be_restored_once_more(known):
    saved = backup(LOCAL)
    for number in range(3):
        known.name = f"lost {number}"
        known.save()
        Note.objects.create(pk=LATER, name="lost for ever")
        synchronize()
        saved.restore()
        with pytest.raises(NodeError, match="--restored"):
            synchronize()
        adopt_restored()
    known.name = "at last"
    known.save()
    synchronize()
    assert names() == ["at last", *["lost for ever"] * 3]


def test_an_interrupted_renewal_is_repeated(known, monkeypatch):
    from synchro import restored

    saved = backup(LOCAL)
    known.save()
    synchronize()
    saved.restore()

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(restored._Carrier, "carry", killed)
        with pytest.raises(KeyboardInterrupt):
            adopt_restored()
    with pytest.raises(NodeError, match="by the identity that it gave up"):
        synchronize()
    (renewal,) = adopt_restored()
    assert renewal.kept == {"testapp.note": 1}
    known = Note.objects.get()
    known.name = "edited"
    known.save()
    synchronize()
    assert names() == ["edited"]


def test_a_key_that_was_reused_in_what_was_lost_is_not_taken_for_the_row_in_the_backup(known):
    saved = backup(LOCAL)
    key = known.pk
    known.delete()
    synchronize()
    Note.objects.create(pk=key, name="lost, under the same key")
    synchronize()
    saved.restore()
    note = Note.objects.get()
    note.name = "edited"
    note.save()
    adopt_restored()
    synchronize()
    assert names() == ["edited", "lost, under the same key"]


def test_what_both_remember_is_no_conflict_whatever_the_clock_says(known):
    saved = backup(LOCAL)
    Note.objects.create(name="lost")
    synchronize()
    saved.restore()
    known.name = "edited"
    known.save()
    earlier = timezone.now() - datetime.timedelta(days=30)
    ChangeLog.objects.filter(batch=None).update(date=earlier)
    adopt_restored()
    assert synchronize().skipped == []
    assert names() == ["edited", "lost"]


def test_a_clock_that_was_put_back_does_not_hide_what_was_lost(known):
    known.save()
    synchronize()
    saved = backup(LOCAL)
    run = ChangeLog.objects.using(REMOTE).latest("id").id
    Note.objects.create(pk=LATER, name="lost")
    synchronize()
    earlier = timezone.now() - datetime.timedelta(hours=1)
    ChangeLog.objects.using(REMOTE).filter(id__gt=run).update(date=earlier)
    saved.restore()
    Note.objects.bulk_create([Note(pk=LATER, name="another one")])
    (renewal,) = adopt_restored()
    assert renewal.dropped == {"testapp.note": 1}


def test_a_remote_that_has_forgotten_nothing_knows_everything_as_before(known):
    """LOCAL took a new identity because of another REMOTE."""
    Note.objects.create(name="new")
    synchronize()
    Peer.objects.all().delete()
    ChangeLog.objects.all().delete()
    number = own_node(LOCAL).last_batch
    take_identity(LOCAL, new_token(), last_batch=number)
    with pytest.raises(NodeError, match="by the identity that it gave up"):
        synchronize()
    (renewal,) = adopt_restored()
    assert (renewal.agreed, renewal.edits) == (number, 0)
    assert (renewal.kept, renewal.dropped) == ({"testapp.note": 2}, {})
    origins = ChangeLog.objects.using(REMOTE).exclude(origin="").values_list("origin", flat=True)
    assert set(origins) == {renewal.uid}
    known.name = "edited"
    known.save()
    synchronize()
    assert names() == ["edited", "new"]


def test_nothing_to_do_is_an_error(known):
    with pytest.raises(NodeError, match="there is nothing to do"):
        adopt_restored()
    assert Node.objects.count() == 1


def test_the_command_says_what_it_kept(known):
    saved = backup(LOCAL)
    Note.objects.create(pk=LATER, name="lost")
    synchronize()
    saved.restore()
    with pytest.raises(CommandError, match="synchro_adopt --restored --remote remote"):
        call_command("synchronize")
    out = StringIO()
    call_command("synchro_adopt", "--restored", interactive=False, stdout=out)
    assert "'default' is a node of its own now." in out.getvalue()
    assert "testapp.note  1 known as before, 1 not any more" in out.getvalue()
    assert "0 changes were logged in 'default'" in out.getvalue()


# REMOTE


@pytest.fixture
def shipped(known):
    """What LOCAL sends after REMOTE's backup was made: changes of every kind."""
    gone = Note.objects.create(name="to go")
    item = Item.objects.create(code="to go")
    paper = Paper.objects.create(title="p")
    labels = [Label.objects.create(name=name) for name in "ab"]
    paper.labels.add(labels[0])
    synchronize()
    age(LOCAL, 3600)
    age(REMOTE, 3600)
    saved = backup(REMOTE)
    known.name = "edited"
    known.save()
    gone.delete()
    item.delete()
    paper.labels.set([labels[1]])
    Note.objects.create(name="new").save()
    synchronize()
    assert_same()
    return saved


@pytest.mark.parametrize("purged", [False, True])
def test_a_restored_remote_gets_again_what_it_lost(shipped, purged):
    known = Note.objects.get(name="edited")
    known.save()
    if purged:
        synchronize()
        age(LOCAL, 40 * 86_400)
        assert purge(timezone.now() - datetime.timedelta(days=30)).removed
    shipped.restore()
    assert names() == ["known", "to go"]
    assert synchronize().changed
    assert_same()
    assert not synchronize().changed


def test_a_purge_keeps_that_a_row_was_deleted_and_made_again(known):
    """Else its old links would stay on a restored REMOTE."""
    paper = Paper.objects.create(title="p")
    paper.labels.add(Label.objects.create(name="l"))
    synchronize()
    saved = backup(REMOTE)
    key = paper.pk
    paper.delete()
    synchronize()
    Paper.objects.create(pk=key, title="another")
    synchronize()
    age(LOCAL, 40 * 86_400)
    purge(timezone.now() - datetime.timedelta(days=30))
    saved.restore()
    synchronize()
    assert not on_remote(Paper).get().labels.exists()
    assert_same()


def test_a_remote_that_was_restored_and_sends_as_well_is_recognized(known):
    """Its new batches have the numbers of those that LOCAL has received."""
    saved = backup(REMOTE)
    Note.objects.using(REMOTE).create(pk=LATER, name="lost there")
    synchronize_back()
    ours = Note.objects.get(name="lost there")
    saved.restore()
    Note.objects.using(REMOTE).create(pk=LATER, name="another one")
    ours.name = "edited here"
    ours.save()
    with pytest.raises(NodeError, match="'remote' does not know.*--restored --remote remote"):
        synchronize()
    assert names() == ["another one", "known"]
    (renewal,) = adopt_restored()
    assert renewal.alias == REMOTE
    assert renewal.dropped == {"testapp.note": 1}
    synchronize()
    synchronize_back()
    assert names() == names(alias=LOCAL) == ["another one", "edited here", "known"]


def test_an_edit_on_a_restored_remote_is_a_conflict_though_its_batch_number_is_old(known):
    for _ in range(3):
        Note.objects.using(REMOTE).create(name="more")
        synchronize_back()
    saved = backup(REMOTE)
    Note.objects.using(REMOTE).create(name="lost there")
    synchronize_back()
    saved.restore()
    age(LOCAL, 60)
    Note.objects.get(name="known").save()
    age(LOCAL, 60)
    row = on_remote(Note).get(name="known")
    row.name = "edited there"
    row.save()
    with reversed_direction():
        with pytest.raises(NodeError):
            synchronize()
        adopt_restored()
    result = synchronize()
    assert [skipped.reason for skipped in result.skipped] == ["remote-newer"]
    assert "edited there" in names()
