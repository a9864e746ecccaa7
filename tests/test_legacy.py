"""The tables of synchro 0.x are taken over by migrate, and nothing in them is evaluated."""

from __future__ import annotations

import datetime
import json
from types import SimpleNamespace

import pytest
from dbsettings.models import Setting
from django.apps import apps
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections, models
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ModelState, ProjectState
from django.utils import timezone

from synchro import DisableSynchroLog, synchronize
from synchro.models import ADDITION, CHANGE, DELETION, ChangeLog, Reference, options
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, on_remote
from tests.testapp.models import Country, Note, Reading

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE]),
    pytest.mark.skipif(
        settings.LOCAL_VENDOR != settings.REMOTE_VENDOR,
        reason="a database is taken over by itself, whatever the other one is",
    ),
]

LAST_CHECK = "2017-11-12 10:00:00"
BEFORE = datetime.datetime(2017, 11, 1, tzinfo=datetime.UTC)
AFTER = datetime.datetime(2017, 12, 1, tzinfo=datetime.UTC)


def old_models():
    """The three models of 0.7, as its syncdb made them."""

    def content_type():
        return models.ForeignKey("contenttypes.ContentType", models.CASCADE)

    state = ProjectState()
    state.add_model(ModelState.from_model(ContentType))
    key = ("id", models.AutoField(primary_key=True))
    state.add_model(
        ModelState(
            "synchro",
            "Reference",
            [
                key,
                ("content_type", content_type()),
                ("local_object_id", models.CharField(max_length=20)),
                ("remote_object_id", models.CharField(max_length=20)),
            ],
            options={"unique_together": {("content_type", "local_object_id")}},
        )
    )
    state.add_model(
        ModelState(
            "synchro",
            "ChangeLog",
            [
                key,
                ("content_type", content_type()),
                ("object_id", models.CharField(max_length=20)),
                ("date", models.DateTimeField()),
                ("action", models.PositiveSmallIntegerField()),
            ],
        )
    )
    state.add_model(
        ModelState(
            "synchro",
            "DeleteKey",
            [
                key,
                ("changelog", models.OneToOneField("synchro.ChangeLog", models.CASCADE)),
                ("key", models.CharField(max_length=200)),
            ],
        )
    )
    names = ("Reference", "ChangeLog", "DeleteKey")
    return SimpleNamespace(**{name: state.apps.get_model("synchro", name) for name in names})


def drop_tables(alias):
    connection = connections[alias]
    models = [m for m in apps.get_app_config("synchro").get_models() if not m._meta.proxy]
    there = connection.introspection.table_names()
    # The newest first, since they refer to older ones: synchro_deletekey to synchro_changelog.
    for table in ["synchro_deletekey", *(model._meta.db_table for model in reversed(models))]:
        if table in there:
            with connection.cursor() as cursor:
                cursor.execute(f"DROP TABLE {connection.ops.quote_name(table)}")
    MigrationRecorder(connection).migration_qs.filter(app="synchro").delete()


class Old:
    """A database that 0.x used."""

    def __init__(self, alias):
        self.alias = alias
        self.models = old_models()
        with connections[alias].schema_editor() as editor:
            for model in vars(self.models).values():
                editor.create_model(model)

    def log(self, model, pk, action, date=AFTER, key=None):
        row = self.models.ChangeLog.objects.using(self.alias).create(
            content_type_id=self.kind(model), object_id=str(pk), action=action, date=date
        )
        if key is not None:
            self.models.DeleteKey.objects.using(self.alias).create(changelog=row, key=key)

    def refer(self, model, here, there):
        self.models.Reference.objects.using(self.alias).create(
            content_type_id=self.kind(model), local_object_id=here, remote_object_id=there
        )

    def kind(self, model):
        return ContentType.objects.db_manager(self.alias).get_for_model(model).pk

    def take_over(self):
        call_command("migrate", "synchro", database=self.alias, verbosity=0)


@pytest.fixture
def old():
    """LOCAL as 0.x left it."""
    drop_tables(LOCAL)
    try:
        old = Old(LOCAL)
        Setting.objects.create(
            module_name="synchro.models",
            class_name="",
            attribute_name="last_check",
            value=LAST_CHECK,
        )
        yield old
    finally:
        drop_tables(LOCAL)
        call_command("migrate", "synchro", database=LOCAL, verbosity=0)


def unlogged(model, **values):
    """A row of LOCAL, made while synchro's new tables are not there yet."""
    with DisableSynchroLog():
        return model.objects.create(**values)


def test_the_log_is_taken_over(old):
    note = unlogged(Note, name="a")
    old.log(Note, note.pk, ADDITION, BEFORE)
    old.log(Note, note.pk, CHANGE, AFTER)
    old.log(Note, 77, DELETION, AFTER)
    old.take_over()
    logs = ChangeLog.objects.order_by("pk").values_list("label", "object_id", "action", "date")
    assert list(logs) == [
        ("testapp.note", str(note.pk), ADDITION, BEFORE),
        ("testapp.note", str(note.pk), CHANGE, AFTER),
        ("testapp.note", "77", DELETION, AFTER),
    ]
    assert ChangeLog.objects.earliest("pk").object == note


def test_references_are_taken_over(old):
    old.refer(Note, "5", "7")
    old.take_over()
    reference = Reference.objects.get()
    assert reference.label == "testapp.note"
    assert (reference.local_object_id, reference.remote_object_id) == ("5", "7")


def test_the_old_tables_are_gone(old):
    old.take_over()
    assert "synchro_deletekey" not in connections[LOCAL].introspection.table_names()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("(u'PL',)", ["PL"]),
        ("('PL',)", ["PL"]),
        ("(u'a', 1L, datetime.date(2012, 1, 2))", ["a", 1, "2012-01-02"]),
        ("(u'\\u0141\\xf3d\\u017a', u'Polska')", ["Łódź", "Polska"]),
        ('(u"it\'s", None, True, -3, 1.5)', ["it's", None, True, -3, 1.5]),
        ("(u'1L', u'u\\'x\\'')", ["1L", "u'x'"]),
        ("(Decimal('1.50'),)", ["1.50"]),
    ],
)
def test_key_texts_of_python_2_are_read(old, text, key):
    old.log(Country, 5, DELETION, key=text)
    old.take_over()
    assert json.loads(ChangeLog.objects.get().key) == key


def test_key_texts_are_never_evaluated(old, tmp_path):
    trap = tmp_path / "trap"
    old.log(Country, 5, DELETION, key=f"__import__('pathlib').Path({str(trap)!r}).touch()"[:200])
    old.log(Country, 6, DELETION, key=f"(open({str(trap)!r}, 'w'),)"[:200])
    old.log(Country, 7, DELETION, key="(u'fine',)")
    old.take_over()
    assert not trap.exists()
    assert json.loads(ChangeLog.objects.get(object_id="7").key) == ["fine"]
    assert set(ChangeLog.objects.exclude(object_id="7").values_list("key", flat=True)) == {None}


@pytest.mark.parametrize("text", ["(u'cut off in the mid", "", "()) or 1", "x" * 200, "1"])
def test_a_key_text_that_cannot_be_read_does_not_stop_migrate(old, text):
    old.log(Country, 5, DELETION, key=text)
    old.take_over()
    assert ChangeLog.objects.get().key is None


def test_the_checkpoint_is_taken_over(old):
    old.take_over()
    here = timezone.get_current_timezone()
    assert options.last_check == datetime.datetime(2017, 11, 12, 10, tzinfo=here)


def test_pending_changes_are_replayed_and_older_ones_are_not(old):
    with DisableSynchroLog():
        for name in ("shift", "shift again"):
            Note.objects.using(REMOTE).create(name=name).delete()
        theirs = Note.objects.using(REMOTE).create(name="stale")
        untouched = Note.objects.using(REMOTE).create(name="untouched")
        Country.objects.using(REMOTE).create(code="PL", name="Polska")
        Country.objects.using(REMOTE).create(code="DE", name="Niemcy")
        Reading.objects.using(REMOTE).create(code="a", day="2012-01-02")
    known, old_change = unlogged(Note, name="changed"), unlogged(Note, name="older")
    new = unlogged(Note, name="new")
    old.refer(Note, str(known.pk), str(theirs.pk))
    old.refer(Note, str(old_change.pk), str(untouched.pk))
    old.log(Note, old_change.pk, CHANGE, BEFORE)
    old.log(Note, known.pk, CHANGE)
    old.log(Note, new.pk, ADDITION)
    old.log(Country, 5, DELETION, key="(u'PL',)")
    old.log(Reading, 6, DELETION, key="(u'a', datetime.date(2012, 1, 2))")
    old.take_over()
    synchronize()
    assert on_remote(Note).get(pk=theirs.pk).name == "changed"
    assert on_remote(Note).get(pk=untouched.pk).name == "untouched"
    assert on_remote(Note).filter(name="new").count() == 1
    assert on_remote(Note).count() == 3
    assert [country.code for country in on_remote(Country).all()] == ["DE"]
    assert not on_remote(Reading).exists()
    assert synchronize().changed is False


def test_old_references_go_on_leading_to_their_rows(old):
    with DisableSynchroLog():
        Note.objects.using(REMOTE).create(name="shift").delete()
        theirs = Note.objects.using(REMOTE).create(name="stale")
    note = unlogged(Note, name="first")
    old.refer(Note, str(note.pk), str(theirs.pk))
    old.take_over()
    note.name = "second"
    note.save()
    synchronize()
    assert on_remote(Note).get().name == "second"
    note.delete()
    synchronize()
    assert not on_remote(Note).exists()


def test_a_second_migrate_changes_nothing(old):
    old.log(Country, 5, DELETION, key="(u'PL',)")
    old.take_over()
    old.take_over()
    assert ChangeLog.objects.count() == 1


def test_a_remote_that_0x_used_is_taken_over_too():
    drop_tables(REMOTE)
    try:
        old = Old(REMOTE)
        with DisableSynchroLog():
            theirs = Note.objects.using(REMOTE).create(name="theirs")
        old.log(Note, theirs.pk, ADDITION)
        old.take_over()
        assert ChangeLog.objects.using(REMOTE).get().object_id == str(theirs.pk)
        Note.objects.create(name="ours")
        synchronize()
        assert on_remote(Note).count() == 2
    finally:
        drop_tables(REMOTE)
        call_command("migrate", "synchro", database=REMOTE, verbosity=0)


def test_a_new_database_needs_no_taking_over():
    drop_tables(LOCAL)
    call_command("migrate", "synchro", database=LOCAL, verbosity=0)
    Note.objects.create(name="a")
    synchronize()
    assert_same(Note)
