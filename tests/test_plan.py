"""A run as data: what it would do, what it leaves out, and a plan that is applied later."""

from __future__ import annotations

import datetime
import io
import json
import logging
import uuid

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from synchro import DisableSynchroLog, ModelFlags, Plan, SyncFlags, diff, synchronize
from synchro.conf import conf
from synchro.exceptions import PlanError, ReplayError
from synchro.hooks import (
    object_synchronized,
    post_synchronize,
    pre_synchronize,
    sync_complete,
)
from synchro.models import ChangeLog, HeldChange, SyncRun
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, age, occupy, on_remote
from tests.testapp.models import (
    Author,
    Book,
    Country,
    Everything,
    Folder,
    Item,
    Label,
    LocalOnly,
    Note,
    Paper,
    Pizzeria,
    Place,
    Restaurant,
    Seat,
    Team,
)


def entries(plan):
    return [(entry.action, entry.model, entry.key) for entry in plan]


def compare(**options):
    """A full comparison. (LocalOnly has no table on REMOTE.)"""
    return {"full": True, "models": [m for m in conf.models if m is not LocalOnly], **options}


def only(plan):
    (entry,) = plan
    return entry


def everything_there():
    """What a run that only looks must leave alone."""
    return [
        list(model._base_manager.using(alias).order_by("pk").values())
        for alias in (LOCAL, REMOTE)
        for model in (ChangeLog, HeldChange, SyncRun, Note, Item, Author, Book, Paper)
    ]


# -- what is in a plan


def test_an_empty_plan():
    plan = diff()
    assert not plan.has_diffs()
    assert (len(plan), list(plan), str(plan)) == (0, [], "Nothing to do.")
    assert plan.summary()["create"] == 0


def test_a_new_object_with_its_fields():
    note = Note.objects.create(name="n", number=3)
    entry = only(diff())
    assert (entry.action, entry.model, entry.key) == ("create", "testapp.note", str(note.pk))
    assert (entry.remote_key, entry.fields) == (None, {"name": (None, "n"), "number": (None, 3)})


def test_a_changed_object_has_old_and_new_values_of_what_differs():
    note = Note.objects.create(name="old", number=3)
    synchronize()
    note.name = "new"
    note.save()
    entry = only(diff())
    assert entry.action == "update"
    assert entry.fields == {"name": ("old", "new")}
    assert entry.remote_key == str(on_remote(Note).get().pk)


@pytest.mark.by_signals("a save() that changes nothing is logged")
def test_an_object_that_is_the_same_on_both_sides():
    Note.objects.create(name="n").save()
    synchronize()
    Note.objects.get().save()
    plan = diff()
    assert entries(plan)[0][0] == "no-change"
    assert not plan.has_diffs()


def test_a_deleted_object_has_the_values_that_go():
    country = Country.objects.create(code="c", name="n")
    synchronize()
    key = str(country.pk)
    country.delete()
    entry = only(diff())
    assert (entry.action, entry.key, entry.natural_key) == ("delete", key, ["c"])
    assert entry.fields["name"] == ("n", None)


def test_links_that_come_and_go():
    paper = Paper.objects.create(title="p")
    one, two = Label.objects.create(name="one"), Label.objects.create(name="two")
    paper.labels.add(one)
    synchronize()
    paper.labels.set([two])
    three = Label.objects.create(name="three")
    paper.labels.add(three)
    entry = next(entry for entry in diff() if entry.model == "testapp.paper")
    keys = {label.name: str(label.pk) for label in on_remote(Label)}
    assert entry.action == "update"
    assert entry.links == {"labels": (sorted([keys["two"], f"+{three.pk}"]), [keys["one"]])}


def test_a_foreign_key_is_shown_as_it_is_on_remote():
    occupy(Author, name="theirs")
    author = Author.objects.create(name="a")
    book = Book.objects.create(title="b", author=author)
    plan = {entry.model: entry for entry in diff()}
    assert plan["testapp.book"].fields["author"] == (None, f"+{author.pk}")
    synchronize()
    assert not diff().has_diffs()
    other = Author.objects.create(name="other")
    synchronize()
    book.author = other
    book.save()
    there = {one.name: one.pk for one in on_remote(Author)}
    assert only(diff()).fields == {"author": (there["a"], there["other"])}


def test_an_object_in_several_tables_is_one_entry():
    restaurant = Restaurant.objects.create(name="r", stars=2)
    entry = only(diff())
    assert (entry.model, entry.key) == ("testapp.restaurant", str(restaurant.pk))
    assert entry.fields == {"name": (None, "r"), "stars": (None, 2)}
    synchronize()
    restaurant.delete()
    assert entries(diff()) == [("delete", "testapp.restaurant", entry.key)]


def test_a_row_that_another_one_needs_says_so():
    with DisableSynchroLog():
        author = Author.objects.create(name="a")
    Book.objects.create(title="b", author=author)
    plan = {entry.model: entry for entry in diff()}
    assert plan["testapp.author"].reason == "needed"
    assert plan["testapp.book"].reason == ""


def test_what_lost_a_conflict_is_skipped_with_its_reason():
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
    entry = only(diff())
    assert (entry.action, entry.reason) == ("skip", "remote-newer")
    assert "changed later" in entry.detail


@pytest.mark.by_signals("a save() that changes nothing is logged")
def test_every_kind_of_value_is_equal_after_it_has_arrived():
    values = {
        "decimal": "12.5000000000",
        "price": "1.10",
        "real": 0.1,
        "moment": datetime.datetime(2026, 1, 1, 12, 30, 0, 123456, tzinfo=datetime.UTC),
        "day": datetime.date(2026, 1, 1),
        "clock": datetime.time(1, 2, 3),
        "span": datetime.timedelta(days=1, microseconds=3),
        "data": b"\x00\xff",
        "document": {"b": [1, None], "a": 1.5},
        "text": "t\n\u00fc",
        "file": "f.txt",
        "uuid": uuid.UUID(int=7),
        "address": "::1",
        "flag": False,
    }
    row = Everything.objects.create(code="e", **values)
    fields = only(diff()).fields
    assert fields["data"] == (None, "hex:00ff")
    assert fields["document"] == (None, {"json": {"a": 1.5, "b": [1, None]}})
    assert fields["price"] == (None, "1.1")
    synchronize()
    row.save()
    assert only(diff()).action == "no-change"
    row.document = None
    row.save()
    assert only(diff()).fields == {"document": ({"json": {"a": 1.5, "b": [1, None]}}, None)}


# -- as data


def fill():
    author = Author.objects.create(name="a")
    Book.objects.create(title="b", author=author)
    gone = Item.objects.create(code="gone")
    synchronize()
    gone.delete()
    author.name = "new"
    author.save()
    for number in range(5):
        Note.objects.create(name=f"n{number}")
    return diff()


def test_counts_by_action_and_model():
    summary = fill().summary()
    assert (summary["create"], summary["update"], summary["delete"]) == (5, 1, 1)
    assert summary["models"]["testapp.note"] == {"create": 5}


def test_json_there_and_back():
    plan = fill()
    text = plan.to_json()
    document = json.loads(text)
    assert document["synchro_plan"]["summary"]["create"] == 5
    again = Plan.from_json(text)
    assert (list(again), again.basis) == (list(plan), plan.basis)
    assert again.to_json() == text
    assert list(Plan.from_json(json.dumps(document, indent=4))) == list(plan)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: "{}",
        lambda text: "[1]",
        lambda text: text[:-40],
        lambda text: text.replace('"action": "create"', '"action": "explode"', 1),
        lambda text: text.replace('"format": 1', '"format": 99'),
        lambda text: "no json at all",
    ],
)
def test_text_that_is_no_plan(spoil):
    with pytest.raises(PlanError, match="--save-plan"):
        Plan.from_json(spoil(fill().to_json()))


def test_a_part_of_a_plan():
    plan = fill()
    assert set(entries(plan.filter(actions=["delete"]))) == {("delete", "testapp.item", "gone")}
    assert len(plan.filter(models=["testapp.Note"])) == len(list(plan.of_model("testapp.note")))
    assert len(plan.filter(lambda entry: entry.fields.get("name") == (None, "n3"))) == 1
    assert plan.filter(models=[]).summary()["models"] == {}
    with pytest.raises(PlanError, match="explode"):
        plan.filter(actions=["explode"])


def test_text_for_people():
    text = str(fill())
    assert "testapp.author" in text
    assert '    name: "a" -> "new"' in text
    assert "5 create, 1 update, 1 delete" in text


def test_a_large_plan_is_kept_in_a_file(monkeypatch):
    monkeypatch.setattr("synchro.preview._IN_MEMORY", 1000)
    monkeypatch.setattr("synchro.preview._READ_AT_ONCE", 500)
    for number in range(50):
        Note.objects.create(name=f"{number}" * 20)
    plan = diff()
    assert len(plan.to_json()) > 1000
    first, second = iter(plan), iter(plan)
    assert [next(first).key for _ in range(20)] == [next(second).key for _ in range(20)]
    assert len(list(first)) == 30


# -- looking changes nothing


def test_a_preview_writes_nothing():
    fill()
    before = everything_there()
    with (
        CaptureQueriesContext(connections[LOCAL]) as here,
        CaptureQueriesContext(connections[REMOTE]) as there,
    ):
        diff(**compare())
        result = synchronize(dry_run=True)
    writing = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER", "TRUNCATE")
    wrote = [q["sql"] for q in (*here, *there) if q["sql"].lstrip("( ").startswith(writing)]
    assert wrote == []
    assert not [q["sql"] for q in there if "FOR UPDATE" in q["sql"]]
    assert result.plan.has_diffs()
    assert result.counts["testapp.note", "create"] == 5
    assert everything_there() == before


# -- applying a plan


def test_a_plan_that_is_applied_does_what_a_run_does():
    plan = fill()
    result = synchronize(plan=Plan.from_json(plan.to_json()))
    assert result.counts == {
        ("testapp.note", "create"): 5,
        ("testapp.author", "update"): 1,
        ("testapp.item", "delete"): 1,
    }
    assert (result.held, result.excluded) == ([], 0)
    assert_same()
    assert not diff().has_diffs()
    assert not synchronize().changed


def test_only_what_is_in_the_plan_is_applied_and_the_rest_stays_pending():
    plan = fill().filter(models=["testapp.author"])
    result = synchronize(plan=plan)
    assert result.counts == {("testapp.author", "update"): 1}
    assert result.excluded == 6
    assert on_remote(Note).count() == 0
    assert on_remote(Item).count() == 1
    assert synchronize().counts == {("testapp.note", "create"): 5, ("testapp.item", "delete"): 1}
    assert_same()


def test_what_was_logged_after_the_plan_stays_pending():
    plan = fill()
    Note.objects.create(name="later")
    synchronize(plan=plan)
    assert not on_remote(Note).filter(name="later").exists()
    assert ChangeLog.objects.filter(batch__isnull=True).count() == 1
    synchronize()
    assert_same()


@pytest.mark.parametrize("side", [LOCAL, REMOTE])
def test_an_object_that_changed_since_is_not_overwritten(side):
    plan = fill()
    author = Author.objects.using(side).get()
    author.name = "changed since"
    author.save(using=side)
    result = synchronize(plan=plan)
    assert result.counts == {("testapp.note", "create"): 5, ("testapp.item", "delete"): 1}
    (held,) = result.held
    assert (held.label, held.reason) == ("testapp.author", "stale")
    assert "changed since the plan was made" in str(held)
    assert on_remote(Author).get().name == ("a" if side == LOCAL else "changed since")
    synchronize()
    if side == LOCAL:
        assert_same()


def test_a_child_whose_parent_was_left_out_of_the_plan_waits():
    author = Author.objects.create(name="a")
    Book.objects.create(title="b", author=author)
    result = synchronize(plan=diff().filter(models=["testapp.book"]))
    assert not on_remote(Book).exists()
    assert [one.reason for one in result.held] == ["needs-held"]
    synchronize()
    assert_same()


def test_a_plan_of_another_pair_or_of_other_tables():
    plan = fill()
    text = plan.to_json()
    for name, value in (("local", "x" * 32), ("remote", "y" * 32), ("schema", "z" * 32)):
        document = json.loads(text)
        document["synchro_plan"][name] = value
        before = everything_there()
        with pytest.raises(PlanError, match="Make a new one"):
            synchronize(plan=Plan.from_json(json.dumps(document)))
        assert everything_there() == before


def test_the_same_plan_twice():
    plan = fill()
    synchronize(plan=plan)
    result = synchronize(plan=plan)
    assert (result.counts, result.held) == ({}, [])
    assert_same()


# -- limits


def test_models_that_are_asked_for():
    Note.objects.create(name="n")
    Item.objects.create(code="i")
    result = synchronize(models=["testapp.Note"])
    assert (result.counts, result.excluded) == ({("testapp.note", "create"): 1}, 1)
    assert not on_remote(Item).exists()
    assert entries(diff(models=[Item])) == [("create", "testapp.item", "i")]
    synchronize(models=[Item])
    assert_same()
    with pytest.raises(PlanError, match=r"gone\.Model"):
        synchronize(models=["gone.Model"])


@pytest.mark.parametrize(
    "options", [{"flags": "CONTINUE"}, {"flags": 1}, {"models": "testapp.Note"}]
)
def test_what_are_no_flags_and_no_list_of_models(options):
    Note.objects.create(name="n")
    with pytest.raises(PlanError, match=next(iter(options))):
        synchronize(**options)
    with pytest.raises(PlanError, match=next(iter(options))):
        diff(**options)
    assert not on_remote(Note).exists()


def test_nothing_is_created():
    note = Note.objects.create(name="n")
    synchronize()
    note.name = "new"
    note.save()
    Note.objects.create(name="other")
    Book.objects.create(title="b", author=Author.objects.create(name="a"))
    result = synchronize(flags=SyncFlags.SKIP_UNMATCHED_SRC)
    assert result.counts == {("testapp.note", "update"): 1}
    assert result.excluded + len(result.held) == 3
    synchronize()
    assert_same()


def test_nothing_is_deleted():
    note = Note.objects.create(name="n")
    synchronize()
    note.delete()
    Note.objects.create(name="other")
    result = synchronize(flags=SyncFlags.SKIP_UNMATCHED_DST)
    assert result.counts == {("testapp.note", "create"): 1}
    assert on_remote(Note).count() == 2
    synchronize()
    assert_same()


def test_flags_of_a_model():
    note = Note.objects.create(name="n")
    item = Item.objects.create(code="i")
    synchronize()
    note.delete()
    item.delete()
    Seat.objects.create(name="s", position=1)
    flags = {"testapp.Note": "SKIP_UNMATCHED_DST", "testapp.seat": ModelFlags.IGNORE}
    with override_settings(SYNCHRO_FLAGS=flags):
        assert synchronize().counts == {("testapp.item", "delete"): 1}
        assert not synchronize(models=["testapp.item"]).changed
    synchronize()
    assert_same()


@pytest.mark.parametrize(
    "flags",
    ["IGNORE", {"testapp.Note": "WHATEVER"}, {"gone.Model": "IGNORE"}, {"testapp.Note": 3}],
)
def test_wrong_flags(flags):
    with override_settings(SYNCHRO_FLAGS=flags):
        with pytest.raises(Exception, match="SYNCHRO_FLAGS"):
            synchronize()
        with pytest.raises(CommandError, match=r"synchro\.E012"):
            call_command("check")


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_run_that_finds_no_end_is_given_up(monkeypatch, dry_run):
    """And neither one that only looks says that there is nothing to do."""
    fill()
    for module in ("run", "dryrun"):
        monkeypatch.setattr(f"synchro.{module}.PASSES", 1)
    with pytest.raises(ReplayError, match="was given up after"):
        synchronize(flags=SyncFlags.SKIP_UNMATCHED_DST, dry_run=dry_run)
    assert not on_remote(Note).exists()
    monkeypatch.undo()
    synchronize()
    assert_same()


# -- comparing the databases


def test_a_full_comparison_finds_what_no_log_names():
    with DisableSynchroLog():
        one = Country.objects.create(code="1", name="one")
        Country.objects.create(code="2", name="two")
        paper = Paper.objects.create(title="p")
        paper.labels.add(Label.objects.create(name="l"))
    occupy(Country, code="1", name="elsewhere")
    occupy(Country, code="3", name="three")
    plan = diff(**compare(models=[Country]))
    found = {(entry.action, tuple(entry.natural_key or ())) for entry in plan}
    assert ("update", ("1",)) in found
    assert ("create", ("2",)) in found
    assert [entry.reason for entry in plan if entry.action == "delete"] == ["only-on-remote"]
    assert diff().has_diffs() is False
    synchronize(plan=diff(**compare()))
    assert_same()
    assert not diff(**compare()).has_diffs()
    assert one


def test_a_full_run_deletes_what_only_remote_has_unless_told_otherwise():
    occupy(Item, code="theirs")
    Item.objects.create(code="ours")
    synchronize(**compare(flags=SyncFlags.SKIP_UNMATCHED_DST))
    assert on_remote(Item).count() == 2
    synchronize(**compare())
    assert_same()


def test_a_row_that_somebody_on_local_stands_for_by_now_is_not_deleted_by_a_plan():
    occupy(Country, code="c", name="theirs")
    plan = diff(**compare(models=[Country]))
    assert [entry.action for entry in plan] == ["delete"]
    with DisableSynchroLog():
        Country.objects.create(code="c", name="ours")
    before = on_remote(Country).get().pk
    synchronize(plan=plan)
    assert on_remote(Country).get().pk == before


def test_a_row_in_several_tables_that_is_not_in_the_plan_is_not_deleted():
    keep = occupy(Pizzeria, name="keep", stars=1, oven="o")
    occupy(Pizzeria, name="go", stars=1, oven="o")
    plan = diff(**compare(models=[Place, Restaurant, Pizzeria]))
    assert [entry.model for entry in plan] == ["testapp.pizzeria"] * 2
    result = synchronize(plan=plan.filter(lambda entry: entry.remote_key != str(keep.pk)))
    assert result.held == []
    for model in (Place, Restaurant, Pizzeria):
        assert on_remote(model).get().name == "keep"


def test_a_full_run_leaves_alone_what_remote_has_made_since():
    Item.objects.create(code="ours")
    synchronize()
    Item.objects.using(REMOTE).create(code="new there")
    theirs = Item.objects.using(REMOTE).get(code="ours")
    theirs.name = "newer"
    theirs.save(using=REMOTE)
    plan = diff(**compare(models=[Item]))
    assert not plan.has_diffs()
    synchronize(**compare(models=[Item]))
    assert on_remote(Item).get(code="ours").name == "newer"
    assert on_remote(Item).count() == 2


def test_a_full_comparison_of_trees_circles_and_several_tables():
    with DisableSynchroLog():
        root = Folder.objects.create(name="root")
        Folder.objects.create(name="leaf", parent=root)
        team = Team.objects.create(name="t")
        team.captain = team.players.create(name="p")
        team.save()
        Restaurant.objects.create(name="r", stars=1)
    occupy(Restaurant, name="theirs", stars=2)
    synchronize(**compare())
    assert_same()
    assert on_remote(Place).count() == 1
    assert not diff(**compare()).has_diffs()


# -- what is told


def test_the_stages_of_a_run():
    fill()
    told = []
    synchronize(callback=lambda *step: told.append(step))
    assert [stage for stage, _, _ in told][:1] == ["plan"]
    assert told[-1][0] == "complete"
    steps = [(current, total) for stage, current, total in told if stage == "sync"]
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1] > 0


def test_signals_of_a_run():
    told = []

    def note(name):
        def receiver(signal, sender, **kwargs):
            told.append((name, sender, kwargs.get("key"), kwargs.get("action")))

        return receiver

    signals = {
        "pre": pre_synchronize,
        "object": object_synchronized,
        "post": post_synchronize,
        "complete": sync_complete,
    }
    receivers = {name: note(name) for name in signals}
    for name, signal in signals.items():
        signal.connect(receivers[name])
    try:
        created = Note.objects.create(name="n")
        synchronize()
        first, told[:] = list(told), []
        synchronize()
    finally:
        for name, signal in signals.items():
            signal.disconnect(receivers[name])
    assert first == [
        ("pre", None, None, None),
        ("object", Note, str(created.pk), "create"),
        ("post", None, None, None),
        ("complete", None, None, None),
    ]
    assert [name for name, *_ in told] == ["pre", "post"]


def test_what_became_of_each_object():
    occupy(Seat, name="theirs", position=1)
    bad = Seat.objects.create(name="ours", position=1)
    note = Note.objects.create(name="n")
    result = synchronize(flags=SyncFlags.CONTINUE_ON_FAILURE)
    there = str(on_remote(Note).get().pk)
    assert [tuple(one)[:5] for one in result.objects()] == [
        ("testapp.note", str(note.pk), there, "create", "success"),
        ("testapp.seat", str(bad.pk), None, "", "failure"),
    ]
    data = json.loads(result.to_json(objects=True))
    assert data["counts"] == {"create": 1}
    assert data["objects"][0]["status"] == "success"
    assert data["rows_per_second"] > 0


def test_runs_are_remembered():
    synchronize()
    assert not SyncRun.objects.exists()
    Note.objects.create(name="n")
    synchronize(user="anna")
    run = SyncRun.objects.get()
    assert (run.outcome, run.user, run.objects_written) == ("done", "anna", 1)
    assert run.counts == {"testapp.note": {"create": 1}}
    occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="ours", position=1)
    with pytest.raises(Exception, match="refused"):
        synchronize()
    run = SyncRun.objects.first()
    assert run.outcome == "failed"
    assert "testapp.Seat" in run.error
    SyncRun.objects.update(outcome="running")
    synchronize(flags=SyncFlags.CONTINUE_ON_FAILURE)
    assert [run.outcome for run in SyncRun.objects.all()] == ["held", "died", "died"]


@pytest.mark.by_signals("a save() that changes nothing is logged")
def test_no_values_in_the_log(caplog):
    caplog.set_level(logging.DEBUG, logger="synchro")
    Note.objects.create(name="a secret")
    synchronize(flags=SyncFlags.LOG_UNCHANGED_RECORDS)
    Note.objects.get().save()
    synchronize(flags=SyncFlags.LOG_UNCHANGED_RECORDS)
    assert "testapp.note: 1 created" in caplog.text
    assert "no change" in caplog.text
    assert "secret" not in caplog.text


# -- the command


def run_command(**options):
    out = io.StringIO()
    call_command("synchronize", stdout=out, **options)
    return out.getvalue()


def test_the_command_shows_and_saves_and_applies(tmp_path):
    fill()
    file = str(tmp_path / "plan.json")
    text = run_command(dry_run=True)
    assert "testapp.note    5 create" in text
    assert '"a" -> "new"' in run_command(diff=True)
    printed = run_command(dry_run=True, json=True)
    assert json.loads(printed)["synchro_plan"]["summary"]["create"] == 5
    assert printed == diff().to_json()
    run_command(save_plan=file)
    assert on_remote(Note).count() == 0
    assert json.loads(run_command(plan=file, json=True))["total"] == 7
    assert_same()


def test_wrong_options(tmp_path):
    missing = str(tmp_path / "missing.json")
    for options, word in [
        ({"plan": missing}, "missing.json"),
        ({"plan": missing, "dry_run": True}, "--plan"),
        ({"save_plan": str(tmp_path / "no" / "plan.json")}, "--save-plan"),
        ({"models": ["gone.Model"]}, "gone.Model"),
    ]:
        with pytest.raises(CommandError, match=word):
            run_command(**options)


def test_the_options_that_leave_out():
    note = Note.objects.create(name="n")
    synchronize()
    note.delete()
    Item.objects.create(code="i")
    assert "left out on purpose, still pending: 2" in run_command(
        skip_creates=True, skip_deletes=True
    )
    run_command(models=["testapp.item"])
    assert on_remote(Item).exists() and on_remote(Note).exists()
    run_command()
    assert_same()
