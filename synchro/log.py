"""The change log in the database: reading, forgetting."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from sys import intern
from typing import Any, Final, cast

from django.conf import settings
from django.db import connections
from django.db.models import Q, QuerySet
from django.utils import timezone

from synchro.asis import AsIs, time_reader
from synchro.chunks import batched, transposed
from synchro.collapsed import LogRows
from synchro.conflicts import RemoteChange
from synchro.exceptions import PlanError
from synchro.members import members_of
from synchro.models import ACTIONS, DELETION, M2M_CHANGE, ChangeLog
from synchro.names import canonical
from synchro.triggers.tombstones import MARK, Raw, resolved

_COLUMNS: Final = (
    "label",
    "object_id",
    "action",
    AsIs("date"),
    AsIs("origin_date"),
    "field",
    "key",
    "origin",
)
_KEY: Final = _COLUMNS.index("key")
_DATE: Final[Any] = ChangeLog._meta.get_field("date")
_ACTIONS: Final = tuple(action for action, _ in ACTIONS)
_RANGES_PER_STATEMENT: Final = 200
_ROWS_PER_PAGE: Final = 5000
_ROWS_PER_CHUNK: Final = 2000

IdRanges = tuple[tuple[int, int], ...]
"""Ids of log rows: the first and the last one of each run of consecutive ones."""


def within(ranges: IdRanges) -> Iterator[Q]:
    """Makes conditions for log rows with these ids, as many as one statement each can hold."""
    for chunk in batched(ranges, _RANGES_PER_STATEMENT):
        yield Q(*(Q(id__range=one) for one in chunk), _connector=Q.OR)


def pending(
    alias: str,
    *,
    after: int,
    upto: int,
    since: datetime | None = None,
    more: IdRanges = (),
) -> Iterator[LogRows]:
    """The sealed log rows above a batch, in order; or those logged after a time, if given.
    ``more``: then those with these ids, which had no number when they were seen."""
    rows = ChangeLog.objects.using(alias)
    late = Q() if since is None else Q(date__gt=stored(since))
    wanted = Q(batch__gt=after) if since is None else late
    yield from _read(rows.filter(wanted, batch__lte=upto), "batch", "id")
    for condition in within(more):
        part = rows.filter(late, condition)
        yield from _read(part, "id", keys=_natural_keys(alias, part))


def _natural_keys(alias: str, rows: QuerySet[ChangeLog]) -> dict[int, str | None]:
    """Id of a log row -> its natural key, for rows that are not sealed and whose keys are still
    as triggers have written them down."""
    raw = rows.filter(key__startswith=MARK).values_list("id", "label", "object_id", "key")
    return resolved(alias, (Raw(*row[:3], str(row[3])) for row in raw))


def _read(
    rows: QuerySet[ChangeLog], *order: str, keys: Mapping[int, str | None] | None = None
) -> Iterator[LogRows]:
    """``keys``: id of a row -> what its natural key is instead of what the log has."""
    rows = rows.order_by(*order)
    keys = keys or {}
    if connections[rows.db].vendor != "mysql":
        yield from _log_rows(rows, keys)
        return
    # The drivers of MariaDB and MySQL take in all that a query finds at once.
    page = rows
    while True:
        left = _ROWS_PER_PAGE
        for some in _log_rows(page[:_ROWS_PER_PAGE], keys):
            left -= len(some.labels)
            yield some
        last = None
        if not left:
            last = page.values("batch", "id")[_ROWS_PER_PAGE - 1 : _ROWS_PER_PAGE].first()
        if last is None:
            return
        behind = Q(id__gt=last["id"])
        if "batch" in order:
            behind = Q(batch=last["batch"]) & behind | Q(batch__gt=last["batch"])
        page = rows.filter(behind)


def _log_rows(rows: QuerySet[ChangeLog], keys: Mapping[int, str | None]) -> Iterator[LogRows]:
    found = rows.values_list("id", *_COLUMNS).iterator(chunk_size=_ROWS_PER_CHUNK)
    # An error must not leave a cursor open on the server: whoever closes it later would break a
    # transaction of somebody else's.
    with closing(cast("Generator[Any]", found)):
        read = time_reader(_DATE, connections[rows.db])
        for chunk in batched(found, _ROWS_PER_CHUNK):
            ids, *columns = transposed(chunk)
            if keys:
                columns[_KEY] = list(map(keys.get, ids, columns[_KEY]))
            yield _made_of(columns, read)


def _made_of(columns: list[list[Any]], read: Callable[[Any], Any]) -> LogRows:
    """Rows of the log, of what was read of them as it is."""
    labels, object_ids, actions, logged, origin_dates, fields, keys, origins = columns
    for unknown in set(actions).difference(_ACTIONS):
        at = actions.index(unknown)
        raise _unknown_action(labels[at], object_ids[at], unknown)
    dates = made = _aware_all(read(logged))
    elsewhere = [date for date in origin_dates if date is not None]
    if elsewhere:
        times = iter(_aware_all(read(elsewhere)))
        made = [
            date if origin_date is None else next(times)
            for date, origin_date in zip(dates, origin_dates, strict=True)
        ]
    return LogRows(
        labels=_once(labels, canonical),
        object_ids=object_ids,
        actions=actions,
        made=made,
        fields=_once(fields),
        keys=keys,
        origins=_once(origins),
        dates=dates,
    )


def _once(texts: Sequence[str], as_known: Callable[[str], str] = str) -> Sequence[str]:
    """Texts that many rows have in common, so that each is kept in memory once. ``as_known``:
    what to make of them. (Somebody else may have logged a model under a proxy's label.)"""
    known = {text: intern(as_known(text)) for text in set(texts)}
    return list(map(known.__getitem__, texts))


def _unknown_action(label: str, object_id: str, action: int) -> PlanError:
    return PlanError(
        f"The change log has an entry of {label} {object_id} with the action {action}, which does "
        f"not exist (there are {', '.join(map(str, _ACTIONS))}). Correct or delete it: "
        f"ChangeLog.objects.filter(label={label!r}, object_id={object_id!r}, action={action})"
    )


def newest(
    alias: str, labels: Iterable[str], object_ids: Iterable[str]
) -> dict[tuple[str, str], RemoteChange]:
    """When objects were changed the last time by the log of a database.

    Returns (object_id, field) -> change; the field is empty for a change of the
    object's own fields and the name of the many-to-many field for a change of links.
    """
    rows = (
        _of_objects(alias, labels, object_ids)
        .order_by("batch", "id")
        .values_list("object_id", "action", "field", "date", "origin_date", "origin", "batch")
    )
    return {
        (object_id, field if action == M2M_CHANGE else ""): RemoteChange(
            made=aware(origin_date or date), origin=origin, batch=batch, action=action
        )
        for object_id, action, field, date, origin_date, origin, batch in rows
    }


def _of_objects(
    alias: str, labels: Iterable[str], object_ids: Iterable[str]
) -> QuerySet[ChangeLog]:
    wanted = members_of(ChangeLog, "object_id", list(object_ids), connections[alias])
    return ChangeLog.objects.using(alias).filter(label__in=list(labels), object_id__in=wanted)


def contested(
    alias: str,
    labels: Iterable[str],
    object_ids: Iterable[str],
    *,
    made_by_other_than: str,
    after: int,
) -> set[str]:
    """Which objects the log of a database says were changed by another node than one, in a batch
    above ``after`` or not sealed yet."""
    rows = (
        _of_objects(alias, labels, object_ids)
        # Said twice, so that the objects are looked up and not the batches, which may be many.
        .filter(Q(batch__isnull=True) | Q(batch__gt=after))
        .exclude(origin=made_by_other_than)
    )
    return set(rows.values_list("object_id", flat=True))


def tombstones(alias: str, label: str, *, made_by_other_than: str) -> dict[str, RemoteChange]:
    """The newest deletions in the log of a database, by natural key as JSON. Those that came
    from a certain node are left out."""
    rows = (
        ChangeLog.objects.using(alias)
        .filter(label=label, action=DELETION, key__isnull=False)
        .exclude(origin=made_by_other_than)
        .order_by("batch", "id")
        .values_list("id", "object_id", "key", "date", "origin_date", "origin", "batch")
    )
    found = list(rows)
    keys = resolved(
        alias,
        (
            Raw(id, label, object_id, key)
            for id, object_id, key, *_ in found
            if key is not None and key.startswith(MARK)
        ),
    )
    return {
        str(keys.get(id) or key): RemoteChange(
            made=aware(origin_date or date), origin=origin, batch=batch, action=DELETION
        )
        for id, _object_id, key, date, origin_date, origin, batch in found
        if keys.get(id, key) is not None
    }


def sent_by(alias: str, uid: str, label: str, object_ids: Iterable[str]) -> set[str]:
    """Which objects the log of a database says came from a node."""
    rows = _of_objects(alias, [label], object_ids).filter(origin=uid)
    return set(rows.values_list("object_id", flat=True))


def forget(alias: str) -> None:
    """Delete the whole log of a database. Batch numbers go on from where they are."""
    rows: Any = ChangeLog.objects.using(alias).filter(Q())
    rows._raw_delete(alias)


def aware(date: datetime) -> datetime:
    """A time from the log as an aware datetime, whether or not the project uses time zones."""
    return timezone.make_aware(date) if timezone.is_naive(date) else date


def _aware_all(dates: Sequence[datetime]) -> Sequence[datetime]:
    return dates if _uses_time_zones() else list(map(aware, dates))


def stored(date: datetime) -> datetime:
    """An aware datetime as the log stores it."""
    return date if _uses_time_zones() else timezone.make_naive(date)


def stored_all(dates: Iterable[datetime]) -> list[datetime]:
    """Aware datetimes as the log stores them."""
    return list(dates) if _uses_time_zones() else list(map(timezone.make_naive, dates))


def _uses_time_zones() -> bool:
    return bool(settings.USE_TZ)
