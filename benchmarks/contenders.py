"""What is measured. Each is run in a process of its own; what it reads beforehand is not timed.

A contender is a function that prepares and returns what is to be timed; that returns how many
objects it has written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connections, transaction
from django.db.models import F
from django.db.models.signals import post_save

from benchmarks.data import CATEGORIES, COLUMNS, LOCAL, REMOTE
from benchmarks.shop.models import Item
from synchro import DisableSynchroLog, synchronize

Timed = Callable[[], int]
Through = Item.labels.through

FEW = 1000
"""So many objects are enough where they go one by one."""


# -- bringing changed or new rows to REMOTE


def raw() -> Timed:
    """The floor: the driver's executemany() upserts rows and links that are in memory."""
    rows = _raw_rows()
    return _raw(lambda: rows)


def raw_copy() -> Timed:
    """The floor of a copy: the same, with reading them from LOCAL."""
    return _raw(_raw_rows)


def _raw_rows() -> tuple[list[Any], list[Any]]:
    """Rows and links on LOCAL, as the driver has them."""
    with connections[LOCAL].cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM shop_item")
        items = [tuple(row) for row in cursor.cursor.fetchall()]
        cursor.execute("SELECT item_id, label_id FROM shop_item_labels")
        return items, [tuple(row) for row in cursor.cursor.fetchall()]


def _raw(read: Callable[[], tuple[list[Any], list[Any]]]) -> Timed:
    mark = "?" if settings.VENDOR == "sqlite" else "%s"
    marks = ", ".join([mark] * len(COLUMNS))
    sql = f"INSERT INTO shop_item ({', '.join(COLUMNS)}) VALUES ({marks}) "
    link = f"INSERT INTO shop_item_labels (item_id, label_id) VALUES ({mark}, {mark}) "
    if settings.VENDOR == "mariadb":
        sql += "ON DUPLICATE KEY UPDATE " + ", ".join(f"{c} = VALUES({c})" for c in COLUMNS[1:])
        link += "ON DUPLICATE KEY UPDATE label_id = label_id"
    else:
        sql += "ON CONFLICT (id) DO UPDATE SET "
        sql += ", ".join(f"{c} = excluded.{c}" for c in COLUMNS[1:])
        link += "ON CONFLICT DO NOTHING"

    def timed() -> int:
        items, links = read()
        with transaction.atomic(using=REMOTE), connections[REMOTE].connection.cursor() as cursor:
            cursor.executemany(sql, items)
            cursor.executemany(link, links)
        return len(items)

    if settings.VENDOR == "sqlite":

        def timed_on_sqlite() -> int:
            items, links = read()
            with transaction.atomic(using=REMOTE):
                connection = connections[REMOTE].connection
                connection.executemany(sql, items)
                connection.executemany(link, links)
            return len(items)

        return timed_on_sqlite
    return timed


def bulk() -> Timed:
    """Django's bulk_create(update_conflicts=True) of rows and links, read from LOCAL by the ORM,
    2,000 at a time."""
    options: dict[str, Any] = {"update_conflicts": True, "update_fields": COLUMNS_TO_UPDATE}
    if settings.VENDOR != "mariadb":
        options["unique_fields"] = ["id"]
    return lambda: _bulk(**options)


COLUMNS_TO_UPDATE = [field.name for field in Item._meta.concrete_fields if not field.primary_key]


def bulk_new() -> Timed:
    """Django's bulk_create() of rows and links, read from LOCAL by the ORM, 2,000 at a time."""
    return _bulk


def _bulk(**options: Any) -> int:
    done = 0
    with transaction.atomic(using=REMOTE):
        for items in _portions(Item):
            Item.objects.using(REMOTE).bulk_create(items, batch_size=2000, **options)
            done += len(items)
        for links in _portions(Through):
            Through.objects.using(REMOTE).bulk_create(
                links, batch_size=2000, ignore_conflicts=bool(options)
            )
    return done


def _portions(model: Any) -> Iterator[list[Any]]:
    rows = iter(model.objects.using(LOCAL).iterator(chunk_size=2000))
    while portion := [row for _, row in zip(range(2000), rows, strict=False)]:
        yield portion


def save() -> Timed:
    """save() and labels.set() one by one, in one transaction."""

    def timed() -> int:
        items = list(Item.objects.using(LOCAL).prefetch_related("labels")[:FEW])
        with transaction.atomic(using=REMOTE), DisableSynchroLog():
            for item in items:
                labels = [label.pk for label in item.labels.all()]
                item.save(using=REMOTE)
                item.labels.set(labels)
        return len(items)

    return timed


def synchro() -> Timed:
    """synchronize(), from sealing to checkpoint, with default settings."""

    def timed() -> int:
        counts = synchronize().counts
        # Whoever has new values and new links is one object all the same.
        return sum(number for (_, action), number in counts.items() if action != "link")

    return timed


# -- other work


def delete_one_by_one() -> Timed:
    """delete() one by one, in one transaction."""

    def timed() -> int:
        items = list(Item.objects.using(REMOTE)[:FEW])
        with transaction.atomic(using=REMOTE), DisableSynchroLog():
            for item in items:
                item.delete()
        return len(items)

    return timed


def _receive(**kwargs: Any) -> None:
    received.append(kwargs["instance"].pk)


received: list[Any] = []


def save_with_receiver() -> Timed:
    """save() and labels.set() one by one, of a model with a receiver, in one transaction."""
    post_save.connect(_receive, sender=Item)
    return save()


def save_rows_with_receiver() -> Timed:
    """save() one by one, and nothing else, of a model with a receiver, in one transaction."""
    post_save.connect(_receive, sender=Item)

    def timed() -> int:
        items = list(Item.objects.using(LOCAL)[:FEW])
        with transaction.atomic(using=REMOTE), DisableSynchroLog():
            for item in items:
                item.save(using=REMOTE)
        return len(items)

    return timed


def synchro_with_receiver() -> Timed:
    """synchronize() of a model with a receiver."""
    post_save.connect(_receive, sender=Item)
    return synchro()


def cities_bulk() -> Timed:
    """bulk_create() of the demo's data, in the order of foreign keys, 2,000 at a time."""
    from geo.models import City, Continent, Country

    def timed() -> int:
        done = 0
        with transaction.atomic(using=REMOTE):
            for model in (Continent, Country, City):
                for portion in _portions(model):
                    model._base_manager.using(REMOTE).bulk_create(portion, batch_size=2000)
                    done += len(portion)
        return done

    return timed


# -- what it costs to be watched: by signals, by triggers (BENCH_TRIGGERS), or not at all
# (BENCH_UNWATCHED)


def capture_one() -> Timed:
    """save() of rows that are there, in one transaction."""

    def timed() -> int:
        with transaction.atomic(using=LOCAL):
            return _save(items)

    items = _warm_items()
    return timed


def capture_committed() -> Timed:
    """save() of rows that are there, each committed by itself."""
    return partial(_save, _warm_items())


def _warm_items() -> list[Item]:
    """Items that have been saved once before: what is measured is not how a database that was
    filled a moment ago reads its indexes from the disk."""
    items = list(Item.objects.using(LOCAL)[:FEW])
    _save(items)
    return items


def _save(items: list[Item]) -> int:
    for item in items:
        # MariaDB does not write a row that stays as it is.
        item.quantity += 1
        item.save()
    return len(items)


def capture_bulk_create() -> Timed:
    """bulk_create() of as many rows as there are, committed. (Signals do not see it.)"""

    def timed() -> int:
        return len(Item.objects.using(LOCAL).bulk_create(items, batch_size=2000))

    items = list(Item.objects.using(LOCAL))
    for item in items:
        item.pk = None
        item.code = f"new-{item.code}"
    return timed


def capture_update() -> Timed:
    """One update() of all rows, committed: of a number without an index, the cheapest there is.
    (Signals do not see it.)"""
    return lambda: Item.objects.using(LOCAL).update(quantity=F("quantity") + 1)


def capture_update_key() -> Timed:
    """One update() of all rows, committed: of a foreign key, with its index."""
    other = F("category_id") % CATEGORIES + 1
    return lambda: Item.objects.using(LOCAL).update(category_id=other)


def suspend() -> Timed:
    """Entering and leaving DisableSynchroLog."""

    def timed() -> int:
        for _ in range(100_000):
            with DisableSynchroLog():
                pass
        return 100_000

    return timed


CONTENDERS: dict[str, Callable[[], Timed]] = {
    function.__name__: function
    for function in (
        *(raw, raw_copy, bulk, bulk_new, save, synchro, delete_one_by_one),
        *(save_with_receiver, save_rows_with_receiver, synchro_with_receiver, cities_bulk),
        *(capture_one, capture_committed, capture_bulk_create),
        *(capture_update, capture_update_key, suspend),
    )
}
