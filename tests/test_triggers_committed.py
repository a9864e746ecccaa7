"""Triggers and what is committed: other programs, migrations, the command, rights."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connections, migrations, models, transaction
from django.db.migrations.state import ProjectState
from django.test import override_settings
from django.utils import timezone

from synchro import DisableSynchroLog, checks, synchronize
from synchro.exceptions import TriggerError
from synchro.keys import object_id
from synchro.models import ADDITION, CHANGE, DELETION, ChangeLog
from synchro.triggers import install, presence, silence
from synchro.triggers.base import place
from synchro.triggers.spec import Column, Table
from synchro.triggers.vendors import dialect
from tests.runs import LOCAL, REMOTE, logged
from tests.testapp.models import Appointment, Item, Note, Plant
from tests.triggered import execute, migrate, quoted, shell, triggers, vendor

pytestmark = pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])

FEW = {"*": "signals", "testapp.Note": "triggers", "testapp.Item": "triggers"}


@pytest.fixture(autouse=True)
def few(transactional_db: None) -> Iterator[None]:
    """Removed before the tables are emptied: nobody shall log that."""
    with triggers(FEW):
        yield


def rows() -> list[tuple[str, int]]:
    found = ChangeLog.objects.order_by("pk")
    return list(found.values_list("object_id", "action"))


def forget() -> None:
    ChangeLog.objects.all().delete()


def table(model: type[models.Model]) -> str:
    return quoted(model._meta.db_table)


# Other programs


def test_a_shell_is_captured():
    shell("INSERT INTO testapp_item (code, name) VALUES ('a', ''), ('b', '')")
    shell("UPDATE testapp_item SET name = 'x' WHERE code = 'a'")
    shell("DELETE FROM testapp_item WHERE code = 'b'")
    assert sorted(rows()) == [("a", ADDITION), ("a", CHANGE), ("b", ADDITION), ("b", DELETION)]
    synchronize()
    assert list(Item.objects.using(REMOTE).values_list("code", "name")) == [("a", "x")]


def test_a_shell_can_be_silent_as_the_docs_say():
    before, after = {
        "postgresql": ("BEGIN; SET LOCAL synchro.silent = '1';", "COMMIT;"),
        "mysql": ("SET @synchro_silent = 1;", "SET @synchro_silent = NULL;"),
        "sqlite": (
            "BEGIN IMMEDIATE; INSERT INTO synchro_silence VALUES (1);",
            "DELETE FROM synchro_silence; COMMIT;",
        ),
    }[vendor()]
    shell(f"{before} INSERT INTO testapp_item (code, name) VALUES ('a', ''); {after}")
    assert rows() == []
    shell("INSERT INTO testapp_item (code, name) VALUES ('b', '')")
    assert rows() == [("b", ADDITION)]


def test_a_shell_is_captured_while_others_are_silent():
    if vendor() == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    with DisableSynchroLog(), transaction.atomic():
        Note.objects.create(name="silent")
        shell("INSERT INTO testapp_item (code, name) VALUES ('a', '')")
    assert rows() == [("a", ADDITION)]


def test_a_transaction_that_commits_late_is_not_lost():
    if vendor() == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    written, go_on = threading.Event(), threading.Event()

    def late() -> None:
        try:
            with transaction.atomic():
                Item.objects.bulk_create([Item(code="late")])
                written.set()
                go_on.wait(30)
        finally:
            connections.close_all()

    thread = threading.Thread(target=late)
    thread.start()
    assert written.wait(30)
    Item.objects.bulk_create([Item(code="early")])
    synchronize()
    go_on.set()
    thread.join(30)
    synchronize()
    found = Item.objects.using(REMOTE).order_by("code").values_list("code", flat=True)
    assert list(found) == ["early", "late"]


# Silence outside transactions


WRITES: dict[str, Any] = {
    "save": lambda: Note.objects.create(name="a").save(),
    "update": lambda: Note.objects.update(name="silent"),
    "bulk": lambda: Note.objects.bulk_create([Note(name="a"), Note(name="b")]),
    "raw": lambda: execute(f"INSERT INTO {table(Item)} (code, name) VALUES ('s', '')"),
    "delete": lambda: Note.objects.all().delete(),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written_silently_without_a_transaction_is_not_logged(name):
    Note.objects.create(name="0")
    forget()
    with DisableSynchroLog():
        WRITES[name]()
    assert rows() == []
    assert not silence.is_silent(connections[LOCAL])
    Note.objects.create(name="loud")
    assert len(rows()) == 1


def test_what_returning_gives_can_be_read_in_a_silent_block():
    if vendor() == "mysql":
        pytest.skip("its RETURNING needs nothing of synchro")
    with DisableSynchroLog(), connections[LOCAL].cursor() as cursor:
        sql = f"INSERT INTO {table(Item)} (code, name) VALUES ('a', ''), ('b', '') RETURNING code"
        cursor.execute(sql)
        assert [cursor.fetchone(), *cursor.fetchall()] == [("a",), ("b",)]
        cursor.execute(f"SELECT code FROM {table(Item)} ORDER BY code")
        assert cursor.fetchmany(5) == [("a",), ("b",)]
    assert rows() == []


def test_an_error_leaves_nothing_on_a_connection_that_is_used_again():
    with pytest.raises(ZeroDivisionError), DisableSynchroLog():
        Note.objects.create(name="a")
        with transaction.atomic():
            Note.objects.create(name="b")
            raise ZeroDivisionError
    connections[LOCAL].close_if_unusable_or_obsolete()
    assert rows() == []
    Note.objects.create(name="c")
    assert len(rows()) == 1
    if vendor() == "sqlite":
        with connections[LOCAL].cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM synchro_silence")
            assert cursor.fetchone() == (0,)


def test_a_new_connection_is_silent_as_well():
    with DisableSynchroLog():
        Note.objects.create(name="a")
        connections[LOCAL].close()
        Note.objects.create(name="b")
    assert rows() == []


# The command


def command(*args: str, **options: Any) -> str:
    out = StringIO()
    call_command("synchro_triggers", *args, stdout=out, **options)
    return out.getvalue()


def test_installing_twice_changes_nothing():
    assert "made" not in command("install")
    assert "all as they should be" in command("status")


def test_remove_removes_all_and_signals_go_on():
    out = command("remove")
    assert "removed: synchro_" in out
    assert presence.installed(LOCAL) == []
    assert "signals log" in out
    Note.objects.create(name="a")
    Note.objects.update(name="b")
    assert len(rows()) == 1
    with pytest.raises(CommandError, match="not as they should be"):
        command("status")
    assert "made: synchro_" in command("install")
    Note.objects.update(name="c")
    assert len(rows()) == 2


def test_where_settings_say_signals_the_command_says_so():
    with override_settings(SYNCHRO_CAPTURE="signals"):
        assert "asks for no triggers" in command("install")
        out = command("status")
    assert "asks for no triggers" in out
    assert "all as they should be" in out


def drop_one() -> None:
    trigger = next(one for one in presence.installed(LOCAL) if one.table == "testapp_note")
    for sql in dialect(LOCAL).drop(trigger):
        execute(sql)
    presence.forget()


def test_a_run_warns_of_triggers_that_are_missing():
    assert synchronize().warnings == []
    drop_one()
    (warning,) = synchronize().warnings
    assert "1 are missing or out of date" in warning
    assert f"synchro_triggers install --database {LOCAL}" in warning
    Note.objects.create(name="a")
    assert synchronize().warnings == [warning]


def test_the_status_warns_of_triggers_that_are_missing():
    out = StringIO()
    call_command("synchro_status", json=True, stdout=out)
    assert json.loads(out.getvalue())["warnings"] == []
    drop_one()
    out = StringIO()
    call_command("synchro_status", stdout=out)
    assert "1 are missing or out of date" in out.getvalue()


def test_looking_for_drift_costs_nothing_without_triggers(
    django_assert_num_queries, django_assert_max_num_queries
):
    with override_settings(SYNCHRO_CAPTURE="signals"), django_assert_num_queries(0):
        assert install.drift(LOCAL) == ""
    with django_assert_max_num_queries(4):
        assert install.drift(LOCAL) == ""


def test_sql_is_printed_and_not_executed():
    assert command("install", "--sql") == ""
    removal = command("remove", "--sql")
    assert removal.count("DROP TRIGGER") == len(presence.installed(LOCAL))
    command("remove")
    printed = command("install", "--sql")
    assert "CREATE TRIGGER" in printed
    assert presence.installed(LOCAL) == []


def test_a_trigger_with_other_sql_is_seen_and_renewed():
    for trigger in presence.installed(LOCAL):
        if trigger.place == place("testapp_note") and trigger.event == "i":
            for sql in dialect(LOCAL).drop(trigger):
                execute(sql)
    presence.forget()
    Note.objects.create(name="a")
    assert len(rows()) == 1  # by signals: with a trigger missing, the table is theirs
    (warning,) = checks.check_triggers(databases=[LOCAL])
    assert warning.id == "synchro.W003"
    command("install")
    assert checks.check_triggers(databases=[LOCAL]) == []


def test_a_model_that_is_no_longer_named_loses_its_triggers():
    with override_settings(SYNCHRO_CAPTURE={"testapp.Note": "triggers"}):
        assert "to be removed" in _failing_status()
        command("install")
        assert {trigger.table for trigger in presence.installed(LOCAL)} == {"testapp_note"}
        Item.objects.create(code="a")
    assert rows() == [("a", ADDITION)]


def _failing_status() -> str:
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("synchro_triggers", "status", stdout=out)
    return out.getvalue()


def test_while_settings_say_signals_both_log_and_nothing_is_lost():
    with override_settings(SYNCHRO_CAPTURE="signals"):
        Note.objects.create(name="a")
        Note.objects.update(name="b")
        assert [action for _, action in logged(Note)].count(CHANGE) == 1
        synchronize()
    assert Note.objects.using(REMOTE).get().name == "b"


def test_a_database_that_is_not_logged_on_is_refused():
    with pytest.raises(CommandError, match="--database"):
        command("install", "--database", "elsewhere")


def test_what_cannot_be_captured_is_said():
    with override_settings(SYNCHRO_CAPTURE="triggers"):
        found = {message.obj._meta.label for message in checks.check_capture() if message.obj}
    assert "testapp.Note" not in found


# Migrations


def columns(model: type[models.Model]) -> set[str]:
    with connections[LOCAL].cursor() as cursor:
        found = connections[LOCAL].introspection.get_table_description(
            cursor, model._meta.db_table
        )
    return {column.name for column in found}


def test_a_column_that_a_trigger_names_can_be_removed_and_added_again():
    migrate(migrations.RemoveField("note", "number"))
    assert "number" not in columns(Note)
    migrate_back = migrations.AddField("note", "number", models.IntegerField(default=0))
    state = ProjectState.from_apps(apps)
    state.remove_field("testapp", "note", "number")
    with connections[LOCAL].schema_editor() as editor:
        to = state.clone()
        migrate_back.state_forwards("testapp", to)
        migrate_back.database_forwards("testapp", editor, state, to)
    install.renew(LOCAL)
    assert install.state(LOCAL).is_current
    Note.objects.create(name="a")
    Note.objects.update(number=2)
    assert [action for _, action in logged(Note)] == [ADDITION, CHANGE]


def test_a_table_that_is_rebuilt_regains_its_triggers():
    """SQLite changes a column by building a new table."""
    Note.objects.create(name="a")
    forget()
    migrate(migrations.AlterField("note", "name", models.CharField(max_length=120)))
    assert install.state(LOCAL).is_current
    Note.objects.update(number=2)
    assert [action for _, action in logged(Note)] == [CHANGE]
    migrate(migrations.AlterField("note", "name", models.CharField(max_length=100)))


def move(old: str, new: str) -> None:
    execute(f"ALTER TABLE {quoted(old)} RENAME TO {quoted(new)}")


def install_instead(capture: Table) -> None:
    """The triggers of Note's table as they were before a migration."""
    for trigger in presence.installed(LOCAL):
        if trigger.table != Item._meta.db_table:
            for sql in dialect(LOCAL).drop(trigger):
                execute(sql)
    for trigger in dialect(LOCAL).triggers(capture):
        for sql in trigger.sql:
            execute(sql)
    presence.forget()


def of_note() -> Table:
    (found,) = (one for one in install._captures(LOCAL) if one.name == Note._meta.db_table)
    assert isinstance(found, Table)
    return found


def writes_are_captured_as_those_of(model: type[models.Model]) -> None:
    assert install.state(LOCAL).is_current
    assert {one.table for one in presence.installed(LOCAL)} == {"testapp_note", "testapp_item"}
    forget()
    Note.objects.update(number=9)
    Note.objects.all().delete()
    assert [action for _, action in logged(model)] == [CHANGE, DELETION]
    assert len(rows()) == 2


def test_a_renamed_column_is_captured():
    Note.objects.create(name="a")
    state = ProjectState.from_apps(apps)
    state.rename_field("testapp", "note", "number", "amount")
    with connections[LOCAL].schema_editor() as editor:
        editor.execute(f"ALTER TABLE {table(Note)} RENAME COLUMN number TO amount")
    number = Column(name="amount", attribute="amount", kind="integer")
    # As if the column were part of a natural key: so it is named in each trigger.
    before = replace(of_note(), compared=("name", "amount"), tombstone=(number,))
    install_instead(before)
    migrate(migrations.RenameField("note", "amount", "number"), state=state)
    writes_are_captured_as_those_of(Note)


def test_a_renamed_key_column_is_captured():
    Note.objects.create(name="a")
    state = ProjectState.from_apps(apps)
    state.rename_field("testapp", "note", "id", "uid")
    before = of_note()
    install.remove(LOCAL)
    execute(f"ALTER TABLE {table(Note)} RENAME COLUMN id TO uid")
    install_instead(
        replace(
            before,
            key=(Column(name="uid", attribute="uid", kind="integer"),),
            uniques=(("uid",),),
        )
    )
    migrate(migrations.RenameField("note", "uid", "id"), state=state)
    writes_are_captured_as_those_of(Note)


def test_a_renamed_table_is_captured():
    Note.objects.create(name="a")
    state = ProjectState.from_apps(apps)
    state.models["testapp", "note"].options["db_table"] = "older"
    before = replace(of_note(), name="older")
    install.remove(LOCAL)
    move("testapp_note", "older")
    install_instead(before)
    migrate(migrations.AlterModelTable("note", "testapp_note"), state=state)
    writes_are_captured_as_those_of(Note)


def test_a_renamed_model_is_captured():
    with override_settings(SYNCHRO_CAPTURE={"testapp.Plant": "triggers"}):
        install.install(LOCAL)
        (before,) = install._captures(LOCAL)
        assert isinstance(before, Table)
        install.remove(LOCAL)
        state = ProjectState.from_apps(apps)
        state.rename_model("testapp", "plant", "Herb")
        move("testapp_plant", "testapp_herb")
        for trigger in dialect(LOCAL).triggers(
            replace(before, name="testapp_herb", label="testapp.herb")
        ):
            for sql in trigger.sql:
                execute(sql)
        migrate(migrations.RenameModel("Herb", "Plant"), state=state)
        assert install.state(LOCAL).is_current
        Plant.objects.bulk_create([Plant(name="a", serial=1)])
        Plant.objects.update(serial=2)
        execute(f"DELETE FROM {table(Plant)}")
        assert [action for _, action in logged(Plant)] == [ADDITION, CHANGE, DELETION]
        assert len(rows()) == 3


def test_during_a_migration_nothing_is_lost():
    if vendor() == "sqlite":
        pytest.skip("its tables are rebuilt, and the triggers with them")
    Note.objects.create(name="a")
    forget()

    def write(apps: Any, editor: Any) -> None:
        apps.get_model("testapp", "Note").objects.update(number=5)

    migrate(
        migrations.AddField("note", "extra", models.CharField(max_length=9, default="")),
        migrations.RunPython(write),
        migrations.RemoveField("note", "extra"),
    )
    assert [action for _, action in logged(Note)] == [CHANGE]
    assert install.state(LOCAL).is_current


def test_a_data_migration_is_captured():
    Note.objects.create(name="a")
    forget()
    migrate(
        migrations.RunPython(lambda a, e: a.get_model("testapp", "Note").objects.update(number=5))
    )
    assert [action for _, action in logged(Note)] == [CHANGE]


def test_a_migration_of_another_project_leaves_writes_possible():
    """Without synchro nobody renews the triggers: adding a column must do no harm."""
    execute(f"ALTER TABLE {table(Note)} ADD COLUMN extra integer NULL")
    try:
        note = Note.objects.create(name="a")
        Note.objects.update(number=3)
        note.delete()
        assert [action for _, action in logged(Note)] == [ADDITION, CHANGE, DELETION]
    finally:
        install.remove(LOCAL)
        execute(f"ALTER TABLE {table(Note)} DROP COLUMN extra")


def test_cascades_of_the_database_are_captured_where_it_calls_triggers():
    if vendor() == "mysql":
        pytest.skip("MariaDB and MySQL call no triggers for what a foreign key does")
    execute(
        f"CREATE TABLE synchro_test_child (code varchar(50) PRIMARY KEY REFERENCES "
        f"{table(Item)} (code) ON DELETE CASCADE)"
    )
    spec = Table(
        name="synchro_test_child",
        label="test.child",
        content_type=None,
        key=(Column(name="code", attribute="code", kind="text"),),
        compared=(),
        binary=frozenset(),
        ignored=(),
        tombstone=(),
        uniques=(),
    )
    try:
        for trigger in dialect(LOCAL).triggers(spec):
            for sql in trigger.sql:
                execute(sql)
        Item.objects.create(code="a")
        execute("INSERT INTO synchro_test_child VALUES ('a')")
        forget()
        execute(f"DELETE FROM {table(Item)}")
        found = ChangeLog.objects.values_list("label", "object_id", "action")
        assert set(found) == {
            ("testapp.item", "a", DELETION),
            ("test.child", "a", DELETION),
        }
    finally:
        install.remove(LOCAL)
        execute("DROP TABLE synchro_test_child")


def test_copy_is_captured_on_postgresql():
    if vendor() != "postgresql":
        pytest.skip("only PostgreSQL has COPY")
    sql = f"COPY {table(Item)} (code, name) FROM STDIN"
    with connections[LOCAL].cursor() as cursor, cursor.copy(sql) as copy:
        copy.write("a\tx\nb\ty\n")
    assert sorted(rows()) == [("a", ADDITION), ("b", ADDITION)]


def test_a_user_without_rights_on_synchros_tables_can_write():
    if vendor() == "sqlite":
        pytest.skip("SQLite has no users")
    user = f"synchro_{connections[LOCAL].settings_dict['NAME']}"[:32]
    name = quoted(user) if vendor() == "postgresql" else f"'{user}'@'%'"
    everything = f"SELECT, INSERT, UPDATE, DELETE ON {table(Item)}"
    try:
        execute(f"CREATE USER {name}")
        execute(f"GRANT {everything} TO {name}")
        connection = connections[LOCAL].copy()
        connection.settings_dict = {**connection.settings_dict, "USER": user}
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"INSERT INTO {table(Item)} (code, name) VALUES ('a', '')")
                cursor.execute(f"UPDATE {table(Item)} SET name = 'x'")
                cursor.execute(f"DELETE FROM {table(Item)}")
                with pytest.raises(DatabaseError):
                    cursor.execute("SELECT * FROM synchro_changelog")
        finally:
            connection.close()
        assert rows() == [("a", ADDITION), ("a", CHANGE), ("a", DELETION)]
    finally:
        if vendor() == "postgresql":
            execute(f"DROP OWNED BY {name}")
        execute(f"DROP USER {name}")


def long(text: str) -> str:
    """A name of 63 bytes, as many as PostgreSQL takes."""
    return text + "x" * (63 - len(text.encode()))


def test_hostile_names_are_captured():
    # Django itself cannot name what holds the character that the database quotes with.
    mark = '"' if vendor() == "mysql" else "`"
    key, column = long(f"order by' {mark} %s"), long(f"it's a -- key \\ {mark};")
    name = long(f"group 'by \\ {mark} ü %d")
    spec = Table(
        name=name,
        label="some.label'); DROP %s \\",
        content_type=None,
        key=(Column(name=key, attribute="id", kind="integer"),),
        compared=(column,),
        binary=frozenset({column}),
        ignored=(),
        tombstone=(Column(name=column, attribute="it's", kind="text"),),
        uniques=((key,), (column,)),
    )
    try:
        execute(
            f"CREATE TABLE {quoted(name)} ({quoted(key)} integer PRIMARY KEY, "
            f"{quoted(column)} varchar(20) UNIQUE)"
        )
        for trigger in dialect(LOCAL).triggers(spec):
            for sql in trigger.sql:
                execute(sql)
        execute(f"INSERT INTO {quoted(name)} VALUES (1, 'a')")
        execute(f"UPDATE {quoted(name)} SET {quoted(column)} = 'b'")
        execute(f"UPDATE {quoted(name)} SET {quoted(column)} = 'b'")
        execute(f"UPDATE {quoted(name)} SET {quoted(key)} = 2")
        execute(f"DELETE FROM {quoted(name)}")
        found = list(ChangeLog.objects.order_by("pk").values_list("label", "object_id", "action"))
        assert found == [
            (spec.label, "1", ADDITION),
            (spec.label, "1", CHANGE),
            (spec.label, "1", DELETION),
            (spec.label, "2", ADDITION),
            (spec.label, "2", DELETION),
        ]
        keys = ChangeLog.objects.filter(action=DELETION).values_list("key", flat=True)
        assert [json.loads(str(one)) for one in keys] == [{"it's": "b"}] * 2
        if vendor() == "postgresql":
            forget()
            execute(f"INSERT INTO {quoted(name)} VALUES (1, 'a')")
            execute(f"TRUNCATE {quoted(name)}")
            assert rows() == [("1", ADDITION), ("1", DELETION)]
    finally:
        for trigger in presence.installed(LOCAL):
            if trigger.table == name:
                for sql in dialect(LOCAL).drop(trigger):
                    execute(sql)
        execute(f"DROP TABLE IF EXISTS {quoted(name)}")


# Times without zones


def knows_zones() -> bool:
    with connections[LOCAL].cursor() as cursor:
        cursor.execute("SELECT CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', 'Europe/Warsaw')")
        return cursor.fetchone() != (None,)


@pytest.fixture
def naive_times() -> Iterator[None]:
    zone = settings.TIME_ZONE
    if vendor() == "mysql" and not knows_zones():
        zone = "UTC"
    modes = {**FEW, "testapp.Appointment": "triggers"}
    with override_settings(USE_TZ=False, TIME_ZONE=zone, SYNCHRO_CAPTURE=modes):
        install.install(LOCAL)
        yield


def test_without_time_zones_times_are_logged_as_signals_log_them(naive_times):
    before = timezone.now()
    Item.objects.bulk_create([Item(code="a")])
    (date,) = ChangeLog.objects.values_list("date", flat=True)
    # SQLite knows milliseconds, and cuts the rest off.
    assert before - timedelta(milliseconds=1) <= date
    assert date <= timezone.now() + timedelta(milliseconds=1)


def test_without_time_zones_a_time_in_a_key_is_written_as_signals_write_it(naive_times):
    start = datetime(2026, 7, 2, 3, 4, 5, 60)
    row = Appointment.objects.create(name="a", start=start)
    Appointment.objects.update(room=2)
    expected = object_id(Appointment, row.pk)
    assert logged(Appointment) == [(expected, ADDITION), (expected, CHANGE)]
    synchronize()
    assert Appointment.objects.using(REMOTE).get().start == start


def test_a_server_that_cannot_tell_the_time_of_the_project_gets_no_triggers():
    if vendor() != "mysql" or knows_zones():
        pytest.skip("this server knows all time zones")
    with (
        override_settings(USE_TZ=False, TIME_ZONE="Europe/Warsaw"),
        pytest.raises(TriggerError, match="Europe/Warsaw.*mysql_tzinfo_to_sql"),
    ):
        install.install(LOCAL)
