"""Changes that cannot be applied are held, shown and tried again; all others are applied."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.models.signals import pre_delete
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from synchro import DisableSynchroLog, SyncFlags, reset_synchro, synchronize
from synchro.exceptions import SynchroError
from synchro.models import ADDITION, ChangeLog, HeldChange, Peer
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, age, occupy, on_remote, poison, synchronize_back
from tests.testapp.models import (
    Author,
    Badge,
    Book,
    Chapter,
    Folder,
    Item,
    Kit,
    Label,
    Note,
    Paper,
    Parcel,
    Place,
    Player,
    Restaurant,
    Seat,
    Stock,
    Tag,
    Team,
    Twin,
    Warehouse,
)


@pytest.fixture(params=["auto", "save"], autouse=True)
def mode(request):
    with override_settings(SYNCHRO_REPLAY=request.param):
        yield request.param


def apply_what_can_be():
    return synchronize(flags=SyncFlags.CONTINUE_ON_FAILURE)


def held():
    """What is held: label, key, field, reason, attempts."""
    rows = HeldChange.objects.using(REMOTE).filter(waiting=True).order_by("id")
    return [(r.label, r.object_id, r.field, r.reason, r.attempts) for r in rows]


def names_of(rows):
    return [(label, key) for label, key, *_ in rows]


# -- rows


def test_without_the_option_one_bad_row_stops_all():
    occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="ours", position=1)
    Note.objects.create(name="good")
    with pytest.raises(SynchroError, match="--continue-on-failure"):
        synchronize()
    assert not on_remote(Note).exists()
    assert held() == []


def test_what_can_be_applied_is_and_the_rest_is_held_with_its_reason():
    theirs = occupy(Seat, name="theirs", position=1)
    bad = Seat.objects.create(name="ours", position=1)
    Seat.objects.create(name="fine", position=2)
    Note.objects.create(name="good")
    result = apply_what_can_be()
    assert set(on_remote(Seat).values_list("name", flat=True)) == {"theirs", "fine"}
    assert on_remote(Note).get().name == "good"
    (one,) = result.held
    assert (one.label, one.object_id, one.reason) == ("testapp.seat", str(bad.pk), "refused")
    assert f"testapp.Seat {bad.pk}" in str(one)
    assert held() == [("testapp.seat", str(bad.pk), "", "refused", 1)]
    row = HeldChange.objects.using(REMOTE).get()
    assert row.detail == str(one)
    assert "Nothing was changed" not in row.detail
    # Later runs try again, whatever their options, and do not fail for it.
    assert len(synchronize().held) == 1
    assert held() == [("testapp.seat", str(bad.pk), "", "refused", 2)]
    theirs.delete()
    result = synchronize()
    assert (result.held, held()) == ([], [])
    assert result.counts == {("testapp.seat", "create"): 1}
    assert_same()
    assert not synchronize().changed


def test_a_held_change_that_is_changed_again_counts_as_new():
    occupy(Seat, name="theirs", position=1)
    bad = Seat.objects.create(name="ours", position=1)
    apply_what_can_be()
    bad.name = "still ours"
    bad.save()
    with pytest.raises(SynchroError, match=f"testapp.Seat {bad.pk}"):
        synchronize()
    apply_what_can_be()
    assert held() == [("testapp.seat", str(bad.pk), "", "refused", 1)]
    bad.position = 5
    bad.save()
    synchronize()
    assert held() == []
    assert on_remote(Seat).get(position=5).name == "still ours"


def test_a_new_failure_beside_a_held_change_stops_the_run():
    occupy(Seat, name="theirs", position=1)
    occupy(Seat, name="theirs", position=2)
    Seat.objects.create(name="one", position=1)
    apply_what_can_be()
    two = Seat.objects.create(name="two", position=2)
    Note.objects.create(name="good")
    with pytest.raises(SynchroError, match=f"testapp.Seat {two.pk}"):
        synchronize()
    assert not on_remote(Note).exists()
    assert [row[-1] for row in held()] == [1]


def test_a_held_addition_that_is_deleted_again_is_forgotten():
    occupy(Seat, name="theirs", position=1)
    bad = Seat.objects.create(name="ours", position=1)
    apply_what_can_be()
    bad.delete()
    synchronize()
    assert held() == []
    assert on_remote(Seat).get().name == "theirs"


def test_a_change_that_is_refused_leaves_the_row_as_it_was():
    seat = Seat.objects.create(name="one", position=1)
    synchronize()
    theirs = occupy(Seat, name="theirs", position=2)
    seat.name, seat.position = "moved", 2
    seat.save()
    apply_what_can_be()
    assert on_remote(Seat).get(position=1).name == "one"
    assert len(held()) == 1
    theirs.delete()
    synchronize()
    assert_same()


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_several_bad_rows_among_many(where):
    numbers = {"first": [0, 1], "middle": [33, 70, 71], "last": [98, 99]}[where]
    for number in numbers:
        occupy(Seat, name="theirs", position=number)
    for number in range(100):
        Seat.objects.create(name=f"s{number}", position=number)
    result = apply_what_can_be()
    assert result.counts == {("testapp.seat", "create"): 100 - len(numbers)}
    bad = Seat.objects.filter(position__in=numbers)
    assert {row[1] for row in held()} == {str(seat.pk) for seat in bad}


def test_one_bad_row_costs_few_queries(mode):
    if mode == "save":
        pytest.skip("rows go one by one")

    def run(first):
        numbers = range(first, first + 10_000)
        Seat.objects.bulk_create(Seat(pk=n, name="s", position=n) for n in numbers)
        log_additions(Seat, numbers)
        with CaptureQueriesContext(connections[REMOTE]) as queries:
            result = apply_what_can_be()
        return len(queries), len(result.held)

    good, none = run(100_000)
    occupy(Seat, name="theirs", position=200_777)
    bad, one = run(200_000)
    assert (none, one) == (0, 1)
    assert bad - good <= 100


def log_additions(model, pks):
    content_type = ContentType.objects.get_for_model(model)
    ChangeLog.objects.bulk_create(
        ChangeLog(
            content_type=content_type,
            label=model._meta.label_lower,
            object_id=str(pk),
            action=ADDITION,
        )
        for pk in pks
    )


# -- what depends on a held row


def test_children_of_a_held_parent_are_held_with_it():
    author = Author.objects.create(name="poison")
    book = Book.objects.create(title="b", author=author)
    chapter = Chapter.objects.create(title="c", book=book)
    fine = Book.objects.create(title="fine", author=Author.objects.create(name="a"))
    with poison():
        apply_what_can_be()
    assert [book.title for book in on_remote(Book)] == [fine.title]
    assert [row[:4] for row in held()] == [
        ("testapp.author", str(author.pk), "", "refused"),
        ("testapp.book", str(book.pk), "", "needs-held"),
        ("testapp.chapter", str(chapter.pk), "", "needs-held"),
    ]
    synchronize()
    assert held() == []
    assert_same()


def test_a_child_that_comes_later_waits_for_its_held_parent():
    author = Author.objects.create(name="poison")
    with poison():
        apply_what_can_be()
        Book.objects.create(title="b", author=author)
        with pytest.raises(SynchroError, match="which is held"):
            synchronize()
        apply_what_can_be()
    assert [row[3] for row in held()] == ["refused", "needs-held"]
    synchronize()
    assert_same()


def test_a_child_of_a_parent_that_is_only_held_in_an_update_goes_on():
    author = Author.objects.create(name="a")
    synchronize()
    author.name = "poison"
    author.save()
    Book.objects.create(title="b", author=author)
    with poison():
        apply_what_can_be()
    assert on_remote(Book).get().author.name == "a"
    assert names_of(held()) == [("testapp.author", str(author.pk))]


def test_a_parent_that_nobody_logged_holds_its_child():
    with DisableSynchroLog():
        author = Author.objects.create(name="poison")
    book = Book.objects.create(title="b", author=author)
    with poison():
        apply_what_can_be()
        assert len(synchronize().held) == 1
    assert names_of(held()) == [("testapp.book", str(book.pk))]
    synchronize()
    assert_same()


def test_a_circle_is_held_as_a_whole():
    """The team is written before its captain; it must not stay there without."""
    team = Team.objects.create(name="t")
    team.captain = Player.objects.create(name="poison", team=team)
    team.save()
    Team.objects.create(name="fine")
    with poison():
        apply_what_can_be()
    assert [team.name for team in on_remote(Team)] == ["fine"]
    assert {row[0] for row in held()} == {"testapp.team", "testapp.player"}
    synchronize()
    assert held() == []
    assert_same()


def test_a_tree_below_a_held_row_is_held():
    root = Folder.objects.create(name="root")
    bad = Folder.objects.create(name="poison", parent=root)
    Folder.objects.create(name="below", parent=bad)
    with poison():
        apply_what_can_be()
    assert [folder.name for folder in on_remote(Folder)] == ["root"]
    synchronize()
    assert_same()


@pytest.mark.by_signals("triggers log each table of an object")
def test_an_object_in_several_tables_is_held_in_all_of_them():
    Restaurant.objects.create(name="good", stars=1)
    bad = Restaurant.objects.create(name="r", stars=2)
    with poison("2"):
        apply_what_can_be()
    assert [place.name for place in on_remote(Place)] == ["good"]
    assert names_of(held()) == [("testapp.restaurant", str(bad.pk))]
    synchronize()
    assert_same()


def test_a_generic_link_to_a_held_row_is_held():
    author = Author.objects.create(name="poison")
    tag = Tag.objects.create(label="t", target=author)
    with poison():
        apply_what_can_be()
    assert not on_remote(Tag).exists()
    assert ("testapp.tag", str(tag.pk)) in names_of(held())
    synchronize()
    assert_same()


def test_links_to_and_from_held_rows_are_held():
    paper = Paper.objects.create(title="p")
    bad_paper = Paper.objects.create(title="poison")
    label, bad_label = Label.objects.create(name="l"), Label.objects.create(name="poison")
    paper.labels.add(label, bad_label)
    bad_paper.labels.add(label)
    other = Paper.objects.create(title="other")
    other.labels.add(label)
    with poison():
        apply_what_can_be()
    assert [p.title for p in on_remote(Label).get().papers.all()] == ["other"]
    assert {row[:3] for row in held()} == {
        ("testapp.paper", str(bad_paper.pk), ""),
        ("testapp.paper", str(bad_paper.pk), "labels"),
        ("testapp.label", str(bad_label.pk), ""),
        ("testapp.paper", str(paper.pk), "labels"),
    }
    synchronize()
    assert held() == []
    assert_same()


def test_a_row_that_cannot_be_made_anew_keeps_its_old_links():
    paper, label = Paper.objects.create(title="old"), Label.objects.create(name="l")
    paper.labels.add(label)
    synchronize()
    key = paper.pk
    paper.delete()
    paper = Paper.objects.create(pk=key, title="poison")
    with poison():
        apply_what_can_be()
    there = on_remote(Paper).get()
    assert (there.title, [label.name for label in there.labels.all()]) == ("old", ["l"])
    synchronize()
    assert held() == []
    assert_same()


def test_a_unique_value_whose_holder_is_held_is_not_lost():
    """The holder gives the value up, then cannot be written: the pass must be made again."""
    one = Seat.objects.create(name="one", position=1)
    two = Seat.objects.create(name="two", position=2)
    synchronize()
    one.delete()
    two.position, two.name = 1, "poison"
    two.save()
    Seat.objects.create(name="three", position=2)
    with poison():
        apply_what_can_be()
    assert {"name": "two", "position": 2} in on_remote(Seat).values("name", "position")
    synchronize()
    synchronize()
    assert_same()
    assert held() == []


# -- deletions


def test_a_deletion_that_is_refused_is_held():
    author, gone = Author.objects.create(name="a"), Note.objects.create(name="n")
    synchronize()
    theirs = occupy(Book, title="theirs", author=on_remote(Author).get())
    key = str(author.pk)
    author.delete()
    gone.delete()
    result = apply_what_can_be()
    assert not on_remote(Note).exists()
    assert on_remote(Author).exists()
    assert held() == [("testapp.author", key, "", "refused", 1)]
    assert "testapp.Book.author" in str(result.held[0])
    synchronize()
    assert held() == [("testapp.author", key, "", "refused", 2)]
    theirs.delete()
    synchronize()
    assert held() == []
    assert_same()


def test_one_refused_deletion_among_many():
    authors = [Author.objects.create(name=f"a{n}") for n in range(20)]
    synchronize()
    occupy(Book, title="theirs", author=on_remote(Author).get(name="a13"))
    for author in authors:
        author.delete()
    result = apply_what_can_be()
    assert result.counts == {("testapp.author", "delete"): 19}
    assert [author.name for author in on_remote(Author)] == ["a13"]


def test_a_parent_whose_child_cannot_be_deleted_stays_with_it():
    author = Author.objects.create(name="a")
    book = Book.objects.create(title="b", author=author)
    synchronize()
    occupy(Chapter, title="theirs", book=on_remote(Book).get())
    keys = {("testapp.book", str(book.pk)), ("testapp.author", str(author.pk))}
    author.delete()
    apply_what_can_be()
    assert on_remote(Author).exists() and on_remote(Book).exists()
    assert set(names_of(held())) == keys
    on_remote(Chapter).all().delete()
    synchronize()
    assert held() == []
    assert_same()


def test_a_conflict_beside_a_refused_deletion_is_told_once():
    one, two = Author.objects.create(name="one"), Author.objects.create(name="two")
    book = Book.objects.create(title="b", author=one)
    synchronize()
    age(LOCAL)
    age(REMOTE)
    occupy(Book, title="theirs", author=on_remote(Author).get(name="two"))
    keys = str(book.pk), str(one.pk), str(two.pk)
    one.delete()
    two.delete()
    age(LOCAL, 30)
    theirs = on_remote(Book).get(title="b")
    theirs.title = "newer"
    theirs.save(using=REMOTE)
    result = apply_what_can_be()
    assert [(one.label, str(one.pk)) for one in result.skipped] == [
        ("testapp.book", keys[0]),
        ("testapp.author", keys[1]),
    ]
    assert names_of(held()) == [("testapp.author", keys[2])]
    assert on_remote(Author).count() == 2


def test_a_receiver_that_forbids_a_deletion():
    parcel = Parcel.objects.create(name="p")
    synchronize()
    parcel.delete()

    def forbid(sender, instance, using, **kwargs):
        if using == REMOTE:
            raise RuntimeError("not this one")

    pre_delete.connect(forbid, sender=Parcel)
    try:
        result = apply_what_can_be()
    finally:
        pre_delete.disconnect(forbid, sender=Parcel)
    assert "not this one" in str(result.held[0])
    assert on_remote(Parcel).exists()
    synchronize()
    assert_same()


# -- entries that cannot be read or planned


def test_an_entry_of_a_model_that_is_gone_is_held():
    ChangeLog.objects.create(label="gone.model", object_id="1", action=1)
    Note.objects.create(name="good")
    with pytest.raises(SynchroError, match=r"gone\.model"):
        synchronize()
    apply_what_can_be()
    assert on_remote(Note).exists()
    assert held() == [("gone.model", "1", "", "unreadable", 1)]
    assert len(synchronize().held) == 1


def test_a_key_that_cannot_be_is_held():
    log_additions(Note, ["no number"])
    Note.objects.create(name="good")
    apply_what_can_be()
    assert on_remote(Note).exists()
    assert held() == [("testapp.note", "no number", "", "unreadable", 1)]


def test_an_ambiguous_natural_key_holds_the_object():
    for model in (Twin, Badge):
        name = model._meta.fields[1].name
        for _ in range(2):
            occupy(model, **{name: "two"})
        bad = model.objects.create(**{name: "two"})
        model.objects.create(**{name: "one"})
        result = apply_what_can_be()
        assert names_of(held())[-1] == (model._meta.label_lower, str(bad.pk))
        assert "several rows" in str(result.held[-1]) or "finds 2 rows" in str(result.held[-1])
        assert on_remote(model).filter(**{name: "one"}).count() == 1
        assert on_remote(model).count() == 3


@pytest.mark.django_db(transaction=True)
def test_a_foreign_key_that_only_the_commit_refuses_is_held():
    """It points at a column that is not the key; REMOTE's row has another value in it."""
    warehouse = Warehouse.objects.create(code="w")
    synchronize()
    on_remote(Warehouse).update(code="elsewhere")
    bad = Stock.objects.create(name="bad", warehouse=warehouse)
    tag = Tag.objects.create(label="t", target=bad)
    Note.objects.create(name="good")
    with pytest.raises(SynchroError, match=f"testapp.Stock {bad.pk}"):
        synchronize()
    apply_what_can_be()
    assert on_remote(Note).exists()
    assert not on_remote(Stock).exists() and not on_remote(Tag).exists()
    assert names_of(held()) == [("testapp.stock", str(bad.pk)), ("testapp.tag", str(tag.pk))]
    on_remote(Warehouse).update(code="w")
    synchronize()
    assert_same()


def test_a_dangling_foreign_key_on_local_is_held(mode):
    if connections[LOCAL].vendor != "sqlite":
        pytest.skip("only SQLite can be told to forget its constraints for a moment")
    good = Author.objects.create(name="a")
    book = Book.objects.create(title="b", author=good)
    other = Book.objects.create(title="other", author=good)
    Book.objects.filter(pk=book.pk).update(author_id=4711)
    apply_what_can_be()
    assert [b.title for b in on_remote(Book)] == [other.title]
    assert names_of(held()) == [("testapp.book", str(book.pk))]
    Book.objects.filter(pk=book.pk).update(author=good)
    synchronize()
    assert held() == []
    assert_same()


# -- losers of conflicts


def test_the_loser_of_a_conflict_is_kept_and_not_tried_again():
    note = Note.objects.create(name="n")
    synchronize()
    age(LOCAL)
    age(REMOTE)
    note.name = "ours"
    note.save()
    age(LOCAL, 30)
    theirs = on_remote(Note).get()
    theirs.name = "theirs"
    theirs.save(using=REMOTE)
    assert [one.reason for one in synchronize().skipped] == ["remote-newer"]
    (row,) = HeldChange.objects.using(REMOTE)
    assert (row.object_id, row.waiting, row.reason) == (str(note.pk), False, "remote-newer")
    assert held() == []
    assert not synchronize().changed
    synchronize_back()
    note.refresh_from_db()
    note.name = "again"
    note.save()
    synchronize()
    assert not HeldChange.objects.using(REMOTE).exists()
    assert_same()


# -- how the rest of synchro sees them


def test_a_reset_forgets_what_is_held():
    occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="ours", position=1)
    apply_what_can_be()
    reset_synchro()
    assert Peer.objects.get().reset_batch > 0
    assert synchronize().held == []
    assert held() == []


def test_what_is_held_is_not_sent_by_the_other_side():
    """The row on REMOTE stays REMOTE's: its own run does not take the held change for done."""
    occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="ours", position=1)
    apply_what_can_be()
    assert not synchronize_back().changed
    assert len(held()) == 1


def test_without_tables_on_remote_they_are_kept_on_local(monkeypatch):
    from synchro import nodes

    real = nodes.has_tables
    for module in ("nodes", "capture", "core"):
        target = f"synchro.{module}.has_tables"
        monkeypatch.setattr(target, lambda alias: alias != REMOTE and real(alias), raising=False)
    theirs = occupy(Seat, name="theirs", position=1)
    bad = Seat.objects.create(name="ours", position=1)
    Item.objects.create(code="good")
    apply_what_can_be()
    (row,) = HeldChange.objects.using(LOCAL)
    assert (row.node, row.object_id) == (f"alias:{REMOTE}", str(bad.pk))
    assert not HeldChange.objects.using(REMOTE).exists()
    assert len(synchronize().held) == 1
    with DisableSynchroLog():
        theirs.delete()
    synchronize()
    assert not HeldChange.objects.using(LOCAL).exists()
    assert on_remote(Seat).get().name == "ours"


def test_the_page_shows_what_is_held(admin_client):
    occupy(Seat, name="theirs", position=1)
    bad = Seat.objects.create(name="ours", position=1)
    apply_what_can_be()
    overview = admin_client.get(reverse("synchro:synchro")).content.decode()
    assert "Seats: 1" in overview
    held = HeldChange.objects.using(REMOTE).get()
    page = admin_client.get(reverse("synchro:held", args=[held.pk])).content.decode()
    assert f"refused testapp.Seat {bad.pk}" in page


def test_the_command_says_so_and_exits_with_its_own_status(capsys):
    occupy(Seat, name="theirs", position=1)
    bad = Seat.objects.create(name="ours", position=1)
    Kit.objects.create(code="k")
    with pytest.raises(CommandError) as caught:
        call_command("synchronize", continue_on_failure=True)
    assert caught.value.returncode == 3
    assert "1 change is held" in str(caught.value)
    assert f"testapp.Seat {bad.pk}" in capsys.readouterr().out
    with pytest.raises(CommandError) as caught:
        call_command("synchronize")
    assert caught.value.returncode == 3


def status(**options):
    """The status command: exit status and error, and what it printed."""
    out = StringIO()
    try:
        call_command("synchro_status", stdout=out, **options)
    except CommandError as error:
        return error.returncode, str(error), out.getvalue()
    return 0, "", out.getvalue()


def test_the_status_shows_what_is_pending_and_what_is_held():
    assert status()[0] == 0
    assert "Nothing is pending" in status()[2]
    occupy(Seat, name="theirs", position=1)
    bad = Seat.objects.create(name="ours", position=1)
    Note.objects.create(name="n").save()
    code, _, text = status()
    assert code == 0
    assert "Pending: 2 objects" in text
    assert "testapp.note  1" in text
    apply_what_can_be()
    synchronize()
    code, error, text = status()
    assert (code, error) == (3, "1 change is held.")
    assert "tried 2 times" in text
    assert f"testapp.Seat {bad.pk}" in text
    code, _, text = status(json=True)
    document = json.loads(text)
    assert code == 3
    assert document["held"][0]["object_id"] == str(bad.pk)
    assert (document["pending"], document["remote"]) == ([], REMOTE)


def test_the_status_fails_where_a_change_waits_too_long():
    Note.objects.create(name="n")
    assert status(max_age="1h")[0] == 0
    age(LOCAL, 7200)
    code, error, _ = status(max_age="1h")
    assert (code, error) == (5, "A change is pending for 2h, longer than 1h.")
    assert status(max_age="3h")[0] == 0
    synchronize()
    assert status(max_age="1h")[0] == 0
    assert "--max-age" in status(max_age="soon")[1]


def test_the_status_does_not_count_what_came_from_remote():
    theirs = Note(name="theirs")
    theirs.save(using=REMOTE)
    synchronize_back()
    assert "Nothing is pending" in status()[2]


def test_the_losers_of_conflicts_are_purged():
    occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="ours", position=1)
    apply_what_can_be()
    row = HeldChange.objects.using(REMOTE).get()
    row.pk, row.waiting, row.node = None, False, "other"
    for alias in (LOCAL, REMOTE):
        row.pk = None
        row.tried = timezone.now() - timedelta(days=40)
        row.save(using=alias, force_insert=True)
    out = StringIO()
    call_command("synchro_purge", older_than="30d", dry_run=True, stdout=out)
    assert "1 changes that were not applied would be removed" in out.getvalue()
    call_command("synchro_purge", older_than="30d", stdout=out)
    assert not HeldChange.objects.using(LOCAL).exists()
    assert len(held()) == 1
