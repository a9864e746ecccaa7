"""The number of a batch in the table of the log: None in Python, never NULL in the database."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connections, transaction
from django.db.migrations.loader import MigrationLoader

from synchro import DisableSynchroLog, synchronize
from synchro.exceptions import NodeError
from synchro.fields import UNSEALED
from synchro.models import CHANGE, ChangeLog
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True, databases=[LOCAL, REMOTE])


def rows(**values: Any) -> Any:
    return ChangeLog.objects.using(LOCAL).filter(**values)


def make(*batches: int | None) -> None:
    ChangeLog.objects.bulk_create(
        ChangeLog(label="a.b", object_id=str(number), action=CHANGE, batch=batch)
        for number, batch in enumerate(batches)
    )


def keys(found: Any) -> str:
    return "".join(found.values_list("object_id", flat=True))


def execute(sql: str, parameters: Any = ()) -> list[Any]:
    with connections[LOCAL].cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall()) if cursor.description else []


def test_what_no_run_has_seen_has_no_batch():
    make(3, None, 0)
    found = ChangeLog.objects.order_by("object_id")
    assert [row.batch for row in found] == [3, None, 0]
    assert list(found.values_list("batch", flat=True)) == [3, None, 0]
    assert execute("SELECT batch FROM synchro_changelog ORDER BY object_id") == [
        (3,),
        (UNSEALED,),
        (0,),
    ]


def test_rows_are_found_by_whether_a_run_has_seen_them():
    make(3, None, 0)
    in_order = ChangeLog.objects.order_by("object_id")
    assert keys(in_order.filter(batch=None)) == "1"
    assert keys(in_order.filter(batch__isnull=True)) == "1"
    assert keys(in_order.filter(batch__isnull=False)) == "02"
    assert keys(in_order.exclude(batch=None)) == "02"
    assert keys(in_order.exclude(batch__lte=2)) == "01"
    assert keys(in_order.filter(batch__gt=2)) == "01"
    assert keys(in_order.filter(batch__in=[0, 7])) == "2"
    assert keys(ChangeLog.objects.order_by("batch")) == "201"


def test_a_batch_can_be_taken_away():
    make(3, 4)
    rows(object_id="0").update(batch=None)
    row = rows(object_id="1").get()
    row.batch = None
    row.save()
    assert rows(batch=None).count() == 2
    row.refresh_from_db()
    assert row.batch is None


def test_who_writes_log_rows_past_django_need_not_know_of_batches():
    names = "label, object_id, action, field, origin, date"
    execute(
        f"INSERT INTO synchro_changelog ({names}) VALUES (%s, %s, %s, %s, %s, %s)",
        ["a.b", "1", CHANGE, "", "", "2026-01-01 00:00:00"],
    )
    assert rows(batch=None).count() == 1
    with pytest.raises(IntegrityError), transaction.atomic(using=LOCAL):
        # Such a row would never be sent.
        execute("UPDATE synchro_changelog SET batch = NULL")


OLD = "0003_jobs_and_previews"
NEW = "0004_batch_never_null"


def migrate(name: str, alias: str = LOCAL) -> Any:
    """Bring the tables to the state after a migration. Returns ChangeLog as it is then."""
    call_command("migrate", "synchro", name, database=alias, verbosity=0)
    loader = MigrationLoader(connections[alias])
    return loader.project_state([("synchro", name)]).apps.get_model("synchro", "ChangeLog")


@pytest.fixture
def migrated_in_the_end():
    yield
    for alias in (LOCAL, REMOTE):
        call_command("migrate", "synchro", database=alias, verbosity=0)


@pytest.mark.usefixtures("migrated_in_the_end")
@pytest.mark.parametrize("alias", [LOCAL, REMOTE])
def test_what_is_logged_in_old_tables_waits_until_they_are_migrated(alias):
    """Rows that are NULL there would not be found: on REMOTE, changes later than LOCAL's."""
    note = Note.objects.create(name="first")
    synchronize()
    migrate(OLD, alias)
    note.name = "changed"
    note.save()
    if alias == LOCAL:
        assert execute("SELECT COUNT(*) FROM synchro_changelog WHERE batch IS NULL") == [(1,)]
    with pytest.raises(NodeError, match=f"(?s)old ones.*migrate --database={alias}"):
        synchronize()
    assert Note.objects.using(REMOTE).get().name == "first"
    migrate(NEW, alias)
    synchronize()
    assert_same(Note)


@pytest.mark.usefixtures("migrated_in_the_end")
def test_what_is_pending_stays_so_when_tables_are_migrated():
    """Forwards, and back again."""
    sent = Note.objects.create(name="sent")
    synchronize()
    Note.objects.create(name="pending")
    log_then = migrate(OLD).objects.using(LOCAL)
    assert execute("SELECT COUNT(*) FROM synchro_changelog WHERE batch IS NULL") == [(1,)]
    assert log_then.get(batch=None).object_id != str(sent.pk)
    log_then.create(label="testapp.note", object_id=str(sent.pk), action=CHANGE)
    with DisableSynchroLog():
        Note.objects.filter(pk=sent.pk).update(name="changed")
    migrate(NEW)
    assert rows(batch=None).count() == 2
    assert rows(batch=1).count() == 1
    synchronize()
    assert_same(Note)
    assert not rows(batch=None).exists()


@pytest.mark.usefixtures("migrated_in_the_end")
def test_keys_of_removed_rows_are_not_given_again_after_a_migration():
    make(1, 1)
    newest = ChangeLog.objects.latest("pk").pk
    ChangeLog.objects.all().delete()
    migrate(OLD)
    migrate(NEW)
    make(1)
    assert ChangeLog.objects.get().pk > newest
