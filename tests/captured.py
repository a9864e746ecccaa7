"""The table "What is captured" of docs/howto/triggers.rst, as data: each way to write, what
comes of it by signals and by the triggers of each database, and how to do it.

A way to write is a generator: it prepares, yields, writes, and yields what should be logged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connections, migrations

from synchro import DisableSynchroLog
from synchro.models import ADDITION, CHANGE, DELETION, M2M_CHANGE
from synchro.triggers import presence
from synchro.triggers.base import Trigger
from synchro.triggers.spec import Column, Table
from synchro.triggers.vendors import dialect
from tests.runs import LOCAL
from tests.testapp.models import Account, Item, Label, Note, Paper, Plant
from tests.triggered import execute, migrate, quoted, shell, vendor

Log = set[tuple[str, str, int]]
Way = Callable[[], Iterator[Log | None]]

YES, NO, IMPOSSIBLE = "yes", "no", "--"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table."""

    text: str
    """What the docs call it."""
    ways: tuple[Way, ...]
    signals: str = NO
    postgresql: str = YES
    mysql: str = YES
    sqlite: str = YES

    def by_triggers(self) -> str:
        """What comes of it on LOCAL."""
        return str(getattr(self, vendor()))

    def cells(self) -> tuple[str, ...]:
        return self.signals, self.postgresql, self.mysql, self.sqlite


def note(action: int, *notes: Note) -> Log:
    return {("testapp.note", str(one.pk), action) for one in notes}


def item(action: int, *codes: str) -> Log:
    return {("testapp.item", code, action) for code in codes}


def table(model: Any) -> str:
    return quoted(model._meta.db_table)


# One by one


def save() -> Iterator[Log | None]:
    row = Note.objects.create(name="a")
    yield None
    row.name = "b"
    row.save()
    yield note(CHANGE, row)


def create() -> Iterator[Log | None]:
    yield None
    yield note(ADDITION, Note.objects.create(name="a"))


def delete() -> Iterator[Log | None]:
    row = Note.objects.create(name="a")
    found = note(DELETION, row)
    yield None
    row.delete()
    yield found


def delete_set() -> Iterator[Log | None]:
    rows = [Note.objects.create(name=name) for name in "ab"]
    yield None
    Note.objects.all().delete()
    yield note(DELETION, *rows)


def links(write: Callable[[Paper, list[Label]], object]) -> Way:
    def way() -> Iterator[Log | None]:
        paper = Paper.objects.create(title="a")
        labels = [Label.objects.create(name=name) for name in "abc"]
        paper.labels.set(labels[:2])
        yield None
        write(paper, labels)
        yield {("testapp.paper", str(paper.pk), M2M_CHANGE)}

    return way


def save_unchanged() -> Iterator[Log | None]:
    row = Note.objects.create(name="a")
    yield None
    row.save()
    yield note(CHANGE, row)


def save_skipped() -> Iterator[Log | None]:
    account = Account.objects.create(name="a", balance=1)
    yield None
    account.balance = 2
    account.save()
    yield {("testapp.account", str(account.pk), CHANGE)}


def save_skipped_fields() -> Iterator[Log | None]:
    account = Account.objects.create(name="a", balance=1)
    yield None
    account.balance = 2
    account.save(update_fields=["balance"])
    yield {("testapp.account", str(account.pk), CHANGE)}


def update_skipped() -> Iterator[Log | None]:
    account = Account.objects.create(name="a", balance=1)
    yield None
    Account.objects.update(balance=2)
    yield {("testapp.account", str(account.pk), CHANGE)}


# In sets


def update() -> Iterator[Log | None]:
    rows = [Note.objects.create(name=name) for name in "ab"]
    yield None
    Note.objects.update(name="c")
    yield note(CHANGE, *rows)


def bulk_update() -> Iterator[Log | None]:
    rows = [Note.objects.create(name=name) for name in "ab"]
    for row in rows:
        row.number = 5
    yield None
    Note.objects.bulk_update(rows, ["number"])
    yield note(CHANGE, *rows)


def bulk_create() -> Iterator[Log | None]:
    yield None
    Item.objects.bulk_create([Item(code="a"), Item(code="b")])
    yield item(ADDITION, "a", "b")


def bulk_create_ignoring() -> Iterator[Log | None]:
    Item.objects.create(code="a")
    yield None
    Item.objects.bulk_create([Item(code="a"), Item(code="b")], ignore_conflicts=True)
    yield item(ADDITION, "b")


def bulk_create_updating() -> Iterator[Log | None]:
    Item.objects.create(code="a")
    fields: dict[str, Any] = {} if vendor() == "mysql" else {"unique_fields": ["code"]}
    yield None
    Item.objects.bulk_create(
        [Item(code="a", name="x"), Item(code="b")],
        update_conflicts=True,
        update_fields=["name"],
        **fields,
    )
    yield item(CHANGE, "a") | item(ADDITION, "b")


def bulk_create_links() -> Iterator[Log | None]:
    paper, label = Paper.objects.create(title="a"), Label.objects.create(name="a")
    links = Paper.labels.through
    yield None
    links.objects.bulk_create([links(paper=paper, label=label)])
    yield {("testapp.paper", str(paper.pk), M2M_CHANGE)}


def data_migration() -> Iterator[Log | None]:
    row = Note.objects.create(name="a")
    yield None
    migrate(
        migrations.RunPython(lambda a, e: a.get_model("testapp", "Note").objects.update(number=5))
    )
    yield note(CHANGE, row)


def saving_data_migration() -> Iterator[Log | None]:
    row = Note.objects.create(name="a")

    def write(apps: Any, editor: Any) -> None:
        for one in apps.get_model("testapp", "Note").objects.all():
            one.number = 5
            one.save()

    yield None
    migrate(migrations.RunPython(write))
    yield note(CHANGE, row)


# SQL


def raw_sql() -> Iterator[Log | None]:
    for code in "ab":
        Item.objects.create(code=code)
    yield None
    execute(f"INSERT INTO {table(Item)} (code, name) VALUES ('c', '')")
    execute(f"UPDATE {table(Item)} SET name = 'x' WHERE code = 'a'")
    execute(f"DELETE FROM {table(Item)} WHERE code = 'b'")
    yield item(ADDITION, "c") | item(CHANGE, "a") | item(DELETION, "b")


def other_program() -> Iterator[Log | None]:
    Item.objects.create(code="a")
    yield None
    shell("INSERT INTO testapp_item (code, name) VALUES ('b', ''); DELETE FROM testapp_item")
    yield item(ADDITION, "b") | item(DELETION, "a", "b")


def copy() -> Iterator[Log | None]:
    yield None
    sql = f"COPY {table(Item)} (code, name) FROM STDIN"
    with connections[LOCAL].cursor() as cursor, cursor.copy(sql) as lines:
        lines.write("a\tx\n")
    yield item(ADDITION, "a")


def upsert() -> Iterator[Log | None]:
    Item.objects.create(code="a", name="1")
    end = (
        "ON DUPLICATE KEY UPDATE name = VALUES(name)"
        if vendor() == "mysql"
        else "ON CONFLICT (code) DO UPDATE SET name = excluded.name"
    )
    yield None
    execute(f"INSERT INTO {table(Item)} (code, name) VALUES ('a', '2'), ('b', '') {end}")
    yield item(CHANGE, "a") | item(ADDITION, "b")


def merge() -> Iterator[Log | None]:
    Item.objects.create(code="a", name="1")
    yield None
    execute(
        f"MERGE INTO {table(Item)} i USING (VALUES ('a'), ('b')) v (code) ON v.code = i.code "
        "WHEN MATCHED THEN UPDATE SET name = 'x' "
        "WHEN NOT MATCHED THEN INSERT (code, name) VALUES (v.code, '')"
    )
    yield item(CHANGE, "a") | item(ADDITION, "b")


def replace() -> Iterator[Log | None]:
    old = Plant.objects.create(name="a", serial=1)
    yield None
    execute(f"REPLACE INTO {table(Plant)} (name, serial) VALUES ('b', 1)")
    yield {
        ("testapp.plant", str(old.pk), DELETION),
        ("testapp.plant", str(Plant.objects.get().pk), ADDITION),
    }


def changed_key() -> Iterator[Log | None]:
    Item.objects.create(code="a")
    yield None
    Item.objects.update(code="b")
    yield item(DELETION, "a") | item(ADDITION, "b")


def on_delete(action: str) -> Way:
    """A row with a foreign key that the database itself looks after."""
    spec = Table(
        name="synchro_test_child",
        label="test.child",
        content_type=None,
        key=(Column(name="id", attribute="id", kind="integer"),),
        compared=("parent_id",),
        binary=frozenset(),
        ignored=(),
        tombstone=(),
        uniques=(),
    )

    def way() -> Iterator[Log | None]:
        made: list[Trigger] = []
        execute("CREATE TABLE synchro_test_parent (id integer PRIMARY KEY)")
        execute(
            f"CREATE TABLE {spec.name} (id integer PRIMARY KEY, parent_id integer NULL, "
            f"FOREIGN KEY (parent_id) REFERENCES synchro_test_parent (id) ON DELETE {action})"
        )
        try:
            if presence.installed(LOCAL):
                made = dialect(LOCAL).triggers(spec)
            for trigger in made:
                for sql in trigger.sql:
                    execute(sql)
            execute("INSERT INTO synchro_test_parent VALUES (1)")
            execute(f"INSERT INTO {spec.name} VALUES (7, 1)")
            yield None
            execute("DELETE FROM synchro_test_parent")
            yield {(spec.label, "7", DELETION if action == "CASCADE" else CHANGE)}
        finally:
            for trigger in made:
                for sql in dialect(LOCAL).drop(trigger):
                    execute(sql)
            execute(f"DROP TABLE {spec.name}")
            execute("DROP TABLE synchro_test_parent")

    return way


def truncate() -> Iterator[Log | None]:
    for code in "ab":
        Item.objects.create(code=code)
    yield None
    if vendor() == "mysql":
        with connections[LOCAL].constraint_checks_disabled():
            execute(f"TRUNCATE TABLE {table(Item)}")
    else:
        execute(f"TRUNCATE {table(Item)} CASCADE")
    yield item(DELETION, "a", "b")


def silently(way: Way) -> Way:
    """The same inside ``DisableSynchroLog``."""

    def silent() -> Iterator[Log | None]:
        steps = way()
        yield next(steps)
        with DisableSynchroLog():
            found = next(steps)
        yield found

    silent.__name__ = f"silent_{way.__name__}"
    return silent


def named(name: str, way: Way) -> Way:
    way.__name__ = name
    return way


LINKS = tuple(
    named(name, links(write))
    for name, write in {
        "add": lambda paper, labels: paper.labels.add(labels[2]),
        "remove": lambda paper, labels: paper.labels.remove(labels[0]),
        "set": lambda paper, labels: paper.labels.set(labels[1:]),
        "clear": lambda paper, labels: paper.labels.clear(),
        "add_reverse": lambda paper, labels: labels[2].papers.add(paper),
        "clear_reverse": lambda paper, labels: labels[0].papers.clear(),
    }.items()
)
ON_DELETE = (
    named("on_delete_cascade", on_delete("CASCADE")),
    named("on_delete_set_null", on_delete("SET NULL")),
)
ONE_BY_ONE = (save, create, delete, delete_set)
IN_SETS = (update, bulk_update)
BULK_CREATE = (bulk_create, bulk_create_ignoring, bulk_create_updating, bulk_create_links)

COMMITTED = (data_migration, saving_data_migration, other_program, *ON_DELETE, truncate)
"""What must be seen by others, or what MariaDB commits by itself."""

TABLE = (
    Row(text="``save()``, ``create()``, ``delete()``", ways=ONE_BY_ONE, signals=YES),
    Row(text="``add()``, ``remove()``, ``set()``, ``clear()``", ways=LINKS, signals=YES),
    Row(
        text="``save()`` that changes nothing, or ``SYNCHRO_SKIP`` fields alone",
        ways=(save_unchanged, save_skipped),
        signals=YES,
        postgresql=NO,
        mysql=NO,
        sqlite=NO,
    ),
    Row(
        text="``save(update_fields=...)``, ``update()`` of ``SYNCHRO_SKIP`` fields alone",
        ways=(save_skipped_fields, update_skipped),
        postgresql=NO,
        mysql=NO,
        sqlite=NO,
    ),
    Row(text="``QuerySet.update()``, ``bulk_update()``", ways=IN_SETS),
    Row(text="``bulk_create()``, with and without conflicts", ways=BULK_CREATE),
    Row(
        text="data migrations (historical models)",
        ways=(data_migration, saving_data_migration),
    ),
    Row(text="raw SQL, other programs", ways=(raw_sql, other_program)),
    Row(text="``ON CONFLICT``, ``ON DUPLICATE KEY``", ways=(upsert,)),
    Row(text="``COPY``, ``MERGE``", ways=(copy, merge), mysql=IMPOSSIBLE, sqlite=IMPOSSIBLE),
    Row(text="``REPLACE``", ways=(replace,), postgresql=IMPOSSIBLE),
    Row(text="a changed primary key (deletion and addition)", ways=(changed_key,)),
    Row(
        text="rows deleted or changed by ``ON DELETE`` of the database",
        ways=ON_DELETE,
        mysql=NO,
    ),
    Row(text="``TRUNCATE``", ways=(truncate,), mysql=NO, sqlite=IMPOSSIBLE),
    Row(
        text="inside ``DisableSynchroLog``",
        ways=tuple(
            map(silently, (*ONE_BY_ONE, *LINKS, *IN_SETS, *BULK_CREATE, raw_sql, changed_key))
        ),
        postgresql=NO,
        mysql=NO,
        sqlite=NO,
    ),
)
