"""What synchro is given may be wrong: it says so clearly, leaves everything, and can be repaired.

docs/howto/bad-input.rst has a table of all this, with the names of these tests.
"""

from __future__ import annotations

import datetime
import inspect
from contextlib import contextmanager
from io import StringIO
from unittest import mock

import pytest
from dbsettings.models import Setting
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings
from django.utils import timezone

from synchro import DisableSynchroLog, reset_synchro, synchronize
from synchro.core import adopt_copy
from synchro.exceptions import CheckpointError, NodeError, PlanError, ReplayError, SynchroError
from synchro.models import (
    CHANGE,
    DELETION,
    M2M_CHANGE,
    Batch,
    ChangeLog,
    HeldChange,
    Node,
    Peer,
    Reference,
    SyncRun,
    options,
)
from synchro.nodes import forget_tables, own_node
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, logged, occupy, on_remote
from tests.testapp.models import (
    Author,
    Book,
    Country,
    Item,
    Label,
    Note,
    Paper,
    Slot,
    Tag,
    Token,
)

COMMITTED = pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])
SYNCHRO = (ChangeLog, HeldChange, SyncRun, Reference, Peer, Node, Batch)


def state():
    """What a run that is refused must leave alone."""
    return (
        list(Setting.objects.order_by("pk").values()),
        list(Peer.objects.using(LOCAL).order_by("pk").values()),
        [
            list(model._base_manager.using(REMOTE).order_by("pk").values())
            for model in (*(ChangeLog, Reference, Peer), *(Note, Item, Country, Paper))
        ],
    )


def assert_refused(*words, error=PlanError, remote=None):
    """The run fails with these words, once and again, and the command in one line."""
    before = state()
    for _ in range(2):
        with pytest.raises(error) as caught:
            synchronize(remote)
    message = str(caught.value)
    for word in words:
        assert word in message, message
    with pytest.raises(CommandError) as failed:
        call_command("synchronize", **({"remote": remote} if remote else {}), skip_checks=True)
    assert "\n" not in str(failed.value)
    assert state() == before
    return message


@pytest.fixture
def bystander():
    """A good change in the same run: it arrives once the bad input is mended."""
    with DisableSynchroLog():
        Note.objects.using(REMOTE).create(name="shift").delete()
    note = Note.objects.create(name="first")
    synchronize()
    note.name = "bystander"
    note.save()
    return note


def assert_arrived():
    assert synchronize().changed
    assert on_remote(Note).filter(name="bystander").count() == 1
    assert not synchronize().changed


def log_entry(label, object_id, action=CHANGE, **values):
    return ChangeLog.objects.create(label=label, object_id=object_id, action=action, **values)


# The change log


@pytest.mark.parametrize("label", ["testapp.gone", "gone.note", "nonsense", ""])
def test_an_entry_of_a_model_that_is_gone(bystander, label):
    log_entry(label, "1")
    assert_refused(
        f"changes of {label}, which is not installed", "ChangeLog.objects.filter(label="
    )
    ChangeLog.objects.filter(label=label).delete()
    assert_arrived()


def test_entries_of_a_model_that_was_renamed(bystander):
    label = Label.objects.create(name="renamed")
    ChangeLog.objects.filter(label="testapp.label").update(label="testapp.oldname")
    assert_refused("testapp.oldname", "update the label")
    ChangeLog.objects.filter(label="testapp.oldname").update(label="testapp.label")
    assert_arrived()
    assert on_remote(Label).get().name == label.name


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Note, "abc"),
        (Note, ""),
        (Note, "1.5"),
        (Note, "9" * 30),
        (Token, "no-uuid"),
        (Slot, "5"),
        (Slot, '["attic"]'),
        (Slot, '{"room": "attic"}'),
        (Slot, '["attic", null]'),
        (Slot, '["attic", '),
    ],
)
def test_an_object_id_that_cannot_be_read(bystander, model, text):
    label = model._meta.label_lower
    log_entry(label, text)
    assert_refused("names an object that cannot be", repr(text), f"filter(label={label!r}")
    ChangeLog.objects.filter(label=label, object_id=text).delete()
    assert_arrived()


@pytest.mark.parametrize(
    "text", ['["PL"', '"PL"', "null", '[{"code": "PL"}]', '["PL", "Polska"]', "[]", "(u'PL',)"]
)
def test_a_natural_key_in_the_log_that_cannot_be_read(bystander, text):
    occupy(Country, code="XX")
    country = Country.objects.create(code="PL", name="Polska")
    synchronize()
    key = country.pk
    country.delete()
    ChangeLog.objects.filter(action=DELETION).update(key=text)
    bystander.save()
    assert_refused(
        f"deletion of testapp.Country {key} with a natural key that cannot be read", "key=None"
    )
    ChangeLog.objects.filter(label="testapp.country", object_id=str(key)).update(key=None)
    assert_arrived()
    assert [country.code for country in on_remote(Country)] == ["XX"]


@pytest.mark.parametrize("action", [0, 5, 99])
def test_an_action_that_does_not_exist(bystander, action):
    row = log_entry("testapp.note", str(bystander.pk), action)
    assert_refused(f"testapp.note {bystander.pk} with the action {action}, which does not exist")
    row.delete()
    assert_arrived()


def test_links_of_a_field_that_does_not_exist(bystander):
    paper = Paper.objects.create(title="p")
    paper.labels.add(Label.objects.create(name="l"))
    ChangeLog.objects.filter(action=M2M_CHANGE).update(field="tags")
    message = assert_refused("links testapp.Paper.tags, which is no many-to-many field")
    assert "update(field=...)" in message
    ChangeLog.objects.filter(field="tags").update(field="labels")
    assert_arrived()
    assert on_remote(Paper).get().labels.count() == 1


@pytest.mark.parametrize("content_type", [None, 424_242])
def test_an_entry_without_its_content_type(bystander, content_type):
    """The label is what counts: remove_stale_contenttypes may have taken the other away."""
    ChangeLog.objects.update(content_type=content_type)
    assert_arrived()


def test_a_generic_link_to_a_content_type_that_does_not_exist(bystander):
    Tag.objects.create(label="t", content_type_id=424_242, object_id="1")
    assert_arrived()
    assert on_remote(Tag).get().label == "t"


@pytest.mark.by_signals("update() writes silently")
def test_a_row_that_was_deleted_without_an_entry(bystander):
    gone = Item.objects.create(code="gone")
    Item.objects.all()._raw_delete(LOCAL)
    result = synchronize()
    assert [(skipped.pk, skipped.reason) for skipped in result.skipped] == [(gone.pk, "vanished")]
    assert "the row is gone, and no deletion was logged" in str(result.skipped[0])
    assert on_remote(Note).get().name == "bystander"


# The checkpoint


@pytest.mark.parametrize("text", ["garbage", "2021-13-45 10:00:00", " assigned", "0"])
def test_a_stored_checkpoint_that_is_no_date(bystander, client, text):
    Setting.objects.update(value=text)
    assert_refused(f"The stored checkpoint {text!r} is not a date", error=CheckpointError)
    with DisableSynchroLog():
        client.force_login(User.objects.create(username="staff", is_staff=True))
    page = client.get("/synchro/")
    assert page.status_code == 200
    assert "is not a date" in page.content.decode()
    options.last_check = timezone.now() - datetime.timedelta(hours=1)
    assert_arrived()


def test_a_stored_checkpoint_that_is_no_date_is_mended_by_a_reset():
    Setting.objects.all().delete()
    options.last_check = timezone.now()
    Setting.objects.update(value="garbage")
    reset_synchro()
    Note.objects.create(name="after")
    assert synchronize().changed


def test_a_checkpoint_that_was_assigned_in_the_future(bystander):
    options.last_check = timezone.now() + datetime.timedelta(days=365)
    assert_refused("The checkpoint was assigned a time in the future", error=CheckpointError)
    options.last_check = timezone.now() - datetime.timedelta(hours=1)
    assert_arrived()


def test_a_checkpoint_in_the_future_that_nobody_assigned(bystander):
    """It comes from a clock that was wrong; runs go by batches."""
    future = timezone.now() + datetime.timedelta(days=365)
    Setting.objects.update(value=future.isoformat())
    assert_arrived()


# References


def test_a_reference_to_a_row_that_is_gone_on_remote(bystander):
    with DisableSynchroLog():
        on_remote(Note).all().delete()
    occupy(Note, name="another")
    assert_arrived()
    assert on_remote(Note).count() == 2
    bystander.delete()
    synchronize()
    assert [note.name for note in on_remote(Note)] == ["another"]


def test_a_reference_to_a_row_that_is_gone_on_local(bystander):
    Reference.objects.using(REMOTE).filter(label="testapp.note").update(remote_object_id="999")
    log_entry("testapp.note", "999")
    result = synchronize()
    assert [skipped.pk for skipped in result.skipped] == [999]
    assert on_remote(Note).filter(name="first").exists()


@pytest.mark.by_signals("a save() that changes nothing is logged")
def test_references_that_contradict_each_other(bystander):
    there = on_remote(Note).get()
    with DisableSynchroLog():
        other = Note.objects.create(name="other")
    wrong = Reference.objects.create(
        node=own_node(REMOTE).uid,
        label="testapp.note",
        local_object_id=str(other.pk),
        remote_object_id=str(there.pk),
    )
    other.save()
    message = assert_refused(f"both stand for {there.pk} on 'remote'", "Delete the wrong one")
    assert {str(bystander.pk), str(other.pk)} <= set(message.replace(",", " ").split())
    wrong.delete()
    assert_arrived()
    assert on_remote(Note).count() == 2


def test_a_reference_that_cannot_be_read(bystander):
    Reference.objects.using(REMOTE).update(local_object_id="abc")
    assert_refused(
        f"A reference of testapp.Note {bystander.pk} leads to a row that cannot be", "'abc'"
    )
    Reference.objects.using(REMOTE).all().delete()
    synchronize()
    assert on_remote(Note).filter(name="bystander").count() == 1


# Tables


def rename(alias, model, column=None, *, back=False):
    """Take a model's table, or a column of it, out of the way."""
    quote = connections[alias].ops.quote_name
    table = model._meta.db_table
    with connections[alias].cursor() as cursor:
        if column is None:
            names = (f"{table}_aside", table) if back else (table, f"{table}_aside")
            cursor.execute(f"ALTER TABLE {quote(names[0])} RENAME TO {quote(names[1])}")
        else:
            names = (f"{column}_x", column) if back else (column, f"{column}_x")
            cursor.execute(
                f"ALTER TABLE {quote(table)} RENAME COLUMN {quote(names[0])} TO {quote(names[1])}"
            )
    forget_tables()


@contextmanager
def without(alias, *what):
    """A database that lacks tables (models) or columns (model, name)."""
    pairs = [one if isinstance(one, tuple) else (one, None) for one in what]
    for model, column in pairs:
        rename(alias, model, column)
    try:
        yield
    finally:
        for model, column in reversed(pairs):
            rename(alias, model, column, back=True)


def assert_refused_without(*what, words, error=NodeError, alias=REMOTE):
    checkpoint = list(Setting.objects.values())
    peers = list(Peer.objects.values()) if alias == REMOTE else None
    with without(alias, *what):
        with pytest.raises(error) as caught:
            synchronize()
        for word in words:
            assert word in str(caught.value), caught.value
    assert list(Setting.objects.values()) == checkpoint
    if peers is not None:
        assert list(Peer.objects.values()) == peers


@COMMITTED
def test_a_table_that_remote_lacks(bystander):
    Item.objects.create(code="i")
    assert_refused_without(
        Item, words=["'remote' lacks the table or columns of testapp.Item", "--database=remote"]
    )
    assert_arrived()
    assert_same(Item)


@COMMITTED
def test_a_table_that_remote_lacks_of_a_model_that_another_one_needs(bystander):
    with DisableSynchroLog():
        author = Author.objects.create(name="a")
    Book.objects.create(title="b", author=author)
    assert_refused_without(Author, words=["'remote' lacks the table or columns of testapp.Author"])
    assert_arrived()
    assert_same(Book, Author)


@COMMITTED
def test_a_column_that_remote_lacks(bystander):
    assert_refused_without(
        (Note, "number"), words=["'remote' lacks the table or columns of testapp.Note"]
    )
    assert_arrived()


@COMMITTED
def test_a_column_that_only_remote_has_and_that_must_be_filled(bystander):
    """REMOTE was migrated first."""
    field = models.IntegerField()
    field.set_attributes_from_name("extra")
    field.model = Country
    Country.objects.create(code="PL", name="Polska")
    with connections[REMOTE].schema_editor() as editor:
        editor.add_field(Country, field)
    try:
        with pytest.raises(ReplayError, match="(?s)testapp.Country.*extra"):
            synchronize()
        assert not on_remote(Country).exists()
    finally:
        with connections[REMOTE].schema_editor() as editor:
            editor.remove_field(Country, field)
    assert_arrived()
    assert_same(Country)


@COMMITTED
@pytest.mark.parametrize("model", SYNCHRO, ids=lambda model: model.__name__)
def test_a_remote_with_some_of_synchros_tables(bystander, model):
    assert_refused_without(
        model,
        words=[
            "The database 'remote' has only some of synchro's tables",
            model._meta.db_table,
            "Run: manage.py migrate --database=remote",
        ],
    )
    assert_arrived()


@COMMITTED
@pytest.mark.parametrize("what", [(ChangeLog, "origin_date"), (Peer, "received_token")])
def test_a_remote_with_old_tables_of_synchro(bystander, what):
    """A migration of synchro was not run there."""
    assert_refused_without(what, words=["has only some of synchro's tables, or old ones"])
    assert_arrived()


@COMMITTED
def test_a_person_who_has_migrated_need_not_wait(bystander, monkeypatch):
    """Another process migrates: no signal of it comes here."""
    with without(REMOTE, Peer), pytest.raises(NodeError, match="only some"):
        synchronize()
    with without(REMOTE, Peer):
        with pytest.raises(NodeError, match="only some"):
            synchronize()
        monkeypatch.setitem(globals(), "forget_tables", lambda: None)
    assert_arrived()


@COMMITTED
@pytest.mark.parametrize("model", [HeldChange, Peer, Reference, Node, Batch])
def test_writes_to_a_remote_with_some_tables_are_logged_on(bystander, model):
    with without(REMOTE, model):
        Note.objects.using(REMOTE).create(name="theirs")
    assert len(logged(Note, REMOTE)) == 2


@COMMITTED
@pytest.mark.parametrize("what", [ChangeLog, (ChangeLog, "origin_date")])
def test_writes_to_a_remote_without_a_log_work(bystander, what):
    with without(REMOTE, what):
        Note.objects.using(REMOTE).create(name="theirs")
    assert len(logged(Note, REMOTE)) == 1


@COMMITTED
def test_a_local_with_some_of_synchros_tables(bystander):
    assert_refused_without(
        Peer,
        alias=LOCAL,
        words=[
            "The database 'default' has no tables of synchro, not all, or old ones",
            "--database=",
        ],
    )
    assert_arrived()


# Databases


@contextmanager
def alias(name, **changes):
    """Another entry of DATABASES, like REMOTE's or another one's but for some values."""
    like = changes.pop("like", REMOTE)
    found = connections[like].settings_dict
    connections.settings[name] = {**found, **changes}
    # Django's test case lets only the aliases connect that were there when it began.
    guarded = BaseDatabaseWrapper.ensure_connection
    free = inspect.getclosurevars(guarded).nonlocals.get("real_ensure_connection", guarded)
    try:
        with mock.patch.object(BaseDatabaseWrapper, "ensure_connection", free):
            yield
    finally:
        connections[name].close()
        del connections[name]
        del connections.settings[name]


SERVER = pytest.mark.skipif(settings.REMOTE_VENDOR == "sqlite", reason="a file needs no server")


@SERVER
@COMMITTED
@pytest.mark.parametrize(
    "changes",
    [{"PORT": "1"}, {"USER": "nobody", "PASSWORD": "wrong"}, {"NAME": "no_such_database"}],
    ids=["no-server", "password", "no-database"],
)
def test_a_remote_that_does_not_answer(bystander, changes, monkeypatch):
    monkeypatch.setattr("synchro.retries.pause", lambda seconds: None)
    with alias("elsewhere", **changes):
        assert_refused(
            "The database 'elsewhere' does not answer:", error=NodeError, remote="elsewhere"
        )
    assert_arrived()


@COMMITTED
def test_a_file_that_does_not_exist(bystander, tmp_path):
    path = tmp_path / "missing.sqlite3"
    with alias("elsewhere", ENGINE="django.db.backends.sqlite3", NAME=path, OPTIONS={}):
        assert_refused(
            "The database 'elsewhere' does not exist: there is no file",
            str(path),
            error=NodeError,
            remote="elsewhere",
        )
        assert not path.exists()
    assert_arrived()


def test_local_itself_as_remote(bystander):
    assert_refused("'default' is LOCAL itself", error=SynchroError, remote=LOCAL)
    assert_arrived()


@COMMITTED
def test_two_aliases_of_one_database(bystander):
    with alias("mirror", like=LOCAL):
        assert_refused(
            "'default' and 'mirror' lead to one and the same database",
            error=SynchroError,
            remote="mirror",
        )
        with pytest.raises(SynchroError, match="one and the same database"):
            adopt_copy("mirror")
    assert_arrived()


@COMMITTED
@pytest.mark.skipif(
    settings.DATABASES[LOCAL].get("HOST") != "127.0.0.1", reason="it has one address only"
)
def test_two_addresses_of_one_database(bystander):
    with alias("mirror", like=LOCAL, HOST="::ffff:127.0.0.1"):
        assert_refused("one and the same database", error=SynchroError, remote="mirror")
    assert_arrived()


@pytest.fixture
def bare_remote():
    """REMOTE has no tables of synchro at all, and has been synchronized."""
    with without(REMOTE, *SYNCHRO):
        note = Note.objects.create(name="first")
        synchronize()
        note.name = "bystander"
        note.save()
        yield note


MOVED = "'remote' is not where it was in the last run"


@COMMITTED
def test_an_alias_that_leads_elsewhere_by_now(bare_remote, monkeypatch):
    monkeypatch.setitem(connections[REMOTE].settings_dict, "PORT", "4242")
    node = f"alias:{REMOTE}"
    for _ in range(2):
        with pytest.raises(NodeError, match=MOVED) as caught:
            synchronize()
    assert f"Peer.objects.using('default').filter(node={node!r})" in str(caught.value)
    assert on_remote(Note).get().name == "first"
    Peer.objects.using("default").filter(node=node).update(received_token="")
    synchronize()
    assert on_remote(Note).get().name == "bystander"
    assert not synchronize().changed


@COMMITTED
def test_an_alias_that_leads_to_another_database_by_now(bare_remote, monkeypatch):
    """The row with this key there is somebody else's."""
    on_remote(Note).update(name="somebody else's")
    monkeypatch.setitem(connections[REMOTE].settings_dict, "PORT", "4242")
    with pytest.raises(NodeError, match=MOVED):
        synchronize()
    for model in (Reference, Peer):
        model.objects.using("default").filter(node=f"alias:{REMOTE}").delete()
    synchronize()
    assert sorted(note.name for note in on_remote(Note)) == ["bystander", "somebody else's"]


@COMMITTED
def test_a_remote_that_has_got_tables_is_recognized_wherever_it_is(bystander, monkeypatch):
    with without(REMOTE, *SYNCHRO):
        Note.objects.create(name="second")
        Peer.objects.all().delete()
        synchronize()
        token = Peer.objects.get(node=f"alias:{REMOTE}").received_token
        assert token
    for model in SYNCHRO:
        if model is not ChangeLog:
            model.objects.using(REMOTE).all().delete()
    monkeypatch.setitem(connections[REMOTE].settings_dict, "PORT", "4242")
    Note.objects.create(name="third")
    synchronize()
    assert on_remote(Note).filter(name="second").count() == 1
    assert Peer.objects.get().received_token == ""


def test_models_that_do_not_exist(bystander):
    """All forms of wrong entries: test_settings.py."""
    with override_settings(SYNCHRO_MODELS=["testapp", "shop.Order"]):
        with pytest.raises(Exception, match="SYNCHRO_MODELS names 'shop.Order'"):
            synchronize()
        with pytest.raises(CommandError):
            call_command("check", stderr=StringIO())
    assert_arrived()
