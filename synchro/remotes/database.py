"""A ``DATABASES`` alias as an end of a run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist
from django.db import DatabaseError, IntegrityError, connections, router, transaction
from django.db.models import (
    CompositePrimaryKey,
    Exists,
    Field,
    ManyToManyField,
    Model,
    OuterRef,
    Q,
    QuerySet,
    TextField,
)
from django.db.models.functions import Cast

from synchro.asis import AsIs
from synchro.chunks import batched, transposed
from synchro.conversion import holds_plain_json, passes_through
from synchro.exceptions import PlanError
from synchro.graph import (
    ends,
    foreign_keys,
    has_constraint,
    key_attribute,
    target,
    through,
)
from synchro.keys import NaturalKey, NaturalLookup, field_at
from synchro.keysets import KeySet
from synchro.members import (
    Among,
    Members,
    among,
    are_exact,
    ends_of,
    field_of,
    members,
    members_of,
)
from synchro.nodes import Side
from synchro.remotes.base import AmbiguousKey, End, Source
from synchro.transient import is_lost, is_transient

_KEYS_PER_QUERY = 2000
_COMBINATIONS_PER_QUERY = 150
_ROWS_PER_KEY = 4
"""So many rows may be read for a natural key of several values."""


def key_chunks(pks: Iterable[Any]) -> Iterator[list[Any]]:
    """Primary keys in portions that one query can hold on every database."""
    yield from batched(pks, _KEYS_PER_QUERY)


class DatabaseEnd(End):
    def __init__(self, side: Side, *, locks: bool = True) -> None:
        """``locks``: whether rows may be locked; not where nothing will be written."""
        self.side = side
        self.connection = connections[side.alias]
        # SQLite shows one state for as long as a transaction goes on.
        self.locks = locks and self.connection.features.has_select_for_update
        self._locked: dict[type[Model], KeySet] = {}

    def among(
        self, model: type[Model], name: str, values: Collection[Any], *, locks: bool = True
    ) -> QuerySet[Any]:
        """The rows of a model whose field (by attribute name, or ``pk``) has one of the values.
        ``locks``: whether they will be locked, changed or deleted: from InnoDB's lock on a range
        nobody else could add rows."""
        if name == "pk" and isinstance(model._meta.pk, CompositePrimaryKey):
            return self.objects(model).filter(self._composite_in(model, list(values)))
        ends = None
        if not locks or self.connection.vendor != "mysql":
            ends = ends_of(field_of(model, name), values)
        if ends is not None:
            first, last = ends
            return self.objects(model).filter(**{f"{name}__gte": first, f"{name}__lte": last})
        wanted = members_of(model, name, values, self.connection)
        return self.objects(model).filter(**{f"{name}__in": wanted})

    def _composite_in(self, model: type[Model], pks: list[Any]) -> Among | Q:
        """The condition that a composite primary key is one of these."""
        if not pks:
            return Q(pk__in=[])
        names = [field.attname for field in model._meta.pk_fields]
        condition = among(model, names, pks, self.connection)
        if condition is not None:
            return condition
        # To SQLite that is a tree of conditions, which may not be deep.
        size = _KEYS_PER_QUERY if self.connection.vendor == "mysql" else _COMBINATIONS_PER_QUERY
        return Q(*(Q(pk__in=some) for some in batched(pks, size)), _connector=Q.OR)

    def objects(self, model: type[Model]) -> QuerySet[Any]:
        """All rows of a model, past any manager of its own."""
        return QuerySet(model, using=self.side.alias)

    def require(self, model: type[Model]) -> None:
        """Raise PlanError if a database router keeps the model off this database."""
        if not router.allow_migrate_model(self.side.alias, model):
            raise PlanError(
                f"{model._meta.label}: a database router does not allow this model on "
                f"{self.side.alias!r}. Take it out of SYNCHRO_MODELS, or change DATABASE_ROUTERS."
            )

    def lock(self, model: type[Model], pks: Iterable[Any]) -> set[Any]:
        """Keep others from changing rows until the transaction ends, where databases can.
        Returns the keys of the rows that others cannot change now."""
        if not self.locks:
            return set(pks)
        before = self._locked.setdefault(model, KeySet())
        locked: set[Any] = set()
        rest: list[Any] = []
        for pk in pks:
            if pk in before:
                locked.add(pk)
            else:
                rest.append(pk)
        name = key_attribute(model)
        for chunk in key_chunks(rest):
            rows = self.among(model, "pk", chunk).order_by("pk")
            found = list(rows.select_for_update().values_list(name, flat=True))
            before.update(found)
            locked.update(found)
        return locked

    def existing_to_write(self, model: type[Model], pks: Iterable[Any]) -> set[Any]:
        return self.lock(model, pks) if self.locks else self.existing(model, pks)

    def cannot_go_on(self, error: BaseException) -> bool:
        """Whether an error has ended the transaction as a whole, so that no row is to blame: the
        connection is lost, a deadlock was resolved, a disk is full."""
        return is_transient(error) or self.connection.needs_rollback

    def check_constraints_now(self) -> None:
        """Raise IntegrityError where changes so far would stop the COMMIT. On SQLite that reads
        whole tables, and rows that were wrong before the transaction count, too."""
        if self.connection.vendor != "mysql":
            self.connection.check_constraints()

    def check_links(self, model: type[Model], pks: Iterable[Any]) -> None:
        """Raise IntegrityError now where foreign keys of rows would stop the COMMIT."""
        if self.connection.vendor == "postgresql":
            self.connection.check_constraints()
        if self.connection.vendor != "sqlite":
            return
        pks = list(pks)
        for field in foreign_keys(model):
            if not has_constraint(field):
                continue
            there = self.objects(target(field)).filter(
                **{field.target_field.attname: OuterRef(field.attname)}
            )
            for chunk in key_chunks(pks):
                dangling = (
                    self.among(model, "pk", chunk, locks=False)
                    .filter(**{f"{field.attname}__isnull": False})
                    .exclude(Exists(there))
                )
                for value in dangling.values_list(field.attname, flat=True)[:1]:
                    raise IntegrityError(
                        f"{field.name} points at {target(field)._meta.label} {value}, "
                        "which is not there"
                    )

    def existing(self, model: type[Model], pks: Iterable[Any]) -> set[Any]:
        found: set[Any] = set()
        for chunk in key_chunks(set(pks)):
            rows = self.among(model, "pk", chunk, locks=False)
            if are_exact(model, chunk):
                # Mostly all of them are there, or none: that is less to read than all the keys.
                # (Text that is found may be spelled in another way.)
                number = rows.count()
                if number in (0, len(chunk)):
                    found.update(chunk if number else ())
                    continue
            found.update(rows.values_list(key_attribute(model), flat=True))
        return found

    def rows(
        self,
        model: type[Model],
        pks: Iterable[Any],
        names: Sequence[str],
        *,
        unconverted: Collection[str] = (),
    ) -> Iterator[tuple[Any, ...]]:
        wanted: list[Any] = [key_attribute(model)]
        for name in names:
            if name in _json_names(model):
                wanted.append(Cast(name, TextField()))
            elif name in unconverted:
                wanted.append(AsIs(name))
            else:
                wanted.append(name)
        for chunk in key_chunks(pks):
            yield from self.among(model, "pk", chunk, locks=False).values_list(*wanted)

    def passes_through(self, field: Field[Any, Any], target: End) -> bool:
        return isinstance(target, DatabaseEnd) and passes_through(
            field, self.connection, target.connection
        )

    def links(
        self, field: ManyToManyField[Any, Any], pks: Iterable[Any]
    ) -> Iterator[tuple[Any, Any]]:
        near, far = (end.attname for end in ends(field))
        for chunk in key_chunks(pks):
            rows = self.among(through(field), near, chunk, locks=False)
            yield from rows.values_list(near, far)

    def linked(self, field: ManyToManyField[Any, Any], pks: Iterable[Any]) -> set[Any]:
        near, far = (end.attname for end in ends(field))
        found: set[Any] = set()
        for chunk in key_chunks(pks):
            rows = self.among(through(field), near, chunk, locks=False)
            found.update(rows.order_by().values_list(far, flat=True).distinct())
        return found

    def by_natural_key(
        self, lookup: NaturalLookup, keys: Iterable[NaturalKey]
    ) -> dict[NaturalKey, list[Any]]:
        keys = list(dict.fromkeys(keys))
        if lookup.fields is None:
            return self._one_by_one(lookup, keys)
        found: dict[NaturalKey, list[Any]] = {}
        for chunk in batched(keys, _KEYS_PER_QUERY):
            part = self._by_parts(lookup, [key for key in chunk if None not in key])
            if part is not None:
                found.update(part)
                # Where there are several, the exact question tells in which order.
                chunk = [key for key in chunk if None in key or len(part.get(key, ())) > 1]
            found.update(self._by_whole(lookup, chunk))
        return found

    def _by_whole(
        self, lookup: NaturalLookup, keys: Sequence[NaturalKey]
    ) -> dict[NaturalKey, list[Any]]:
        """Like ``by_natural_key``, asked for by whole keys."""
        fields = lookup.fields or ()
        size = _KEYS_PER_QUERY if len(fields) == 1 else _COMBINATIONS_PER_QUERY
        rows = self._by_manager(lookup).order_by("pk")
        found: dict[NaturalKey, list[Any]] = {}
        for chunk in batched(keys, size):
            part = rows.filter(self._any_of(lookup, chunk)).values_list("pk", *fields)
            _add_exact(part, set(chunk), found)
        return found

    def _by_parts(
        self, lookup: NaturalLookup, keys: Sequence[NaturalKey]
    ) -> dict[NaturalKey, list[Any]] | None:
        """Like ``by_natural_key`` for keys of several values, with the values of each field as
        one parameter. That also finds other combinations of them. None if it cannot be done, or
        there are too many of those."""
        fields = lookup.fields or ()
        if len(fields) < 2 or not keys:
            return None
        conditions = {}
        for name, values in zip(fields, transposed(keys), strict=True):
            wanted = members(field_at(lookup.model, name), set(values), self.connection)
            if not isinstance(wanted, Members):
                return None
            conditions[f"{name}__in"] = wanted
        rows = self._by_manager(lookup).order_by().filter(**conditions)
        most = _ROWS_PER_KEY * len(keys)
        read = list(rows.values_list("pk", *fields)[:most])
        return _add_exact(read, set(keys), {}) if len(read) < most else None

    def _by_manager(self, lookup: NaturalLookup) -> QuerySet[Any]:
        found: QuerySet[Any] = lookup.manager.db_manager(self.side.alias).get_queryset()
        return found

    def by_field(self, model: type[Model], name: str, values: Iterable[Any]) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for chunk in batched(values, _KEYS_PER_QUERY):
            rows = self.among(model, name, chunk, locks=False)
            found.update(rows.values_list(name, key_attribute(model)))
        return found

    def _any_of(self, lookup: NaturalLookup, keys: Sequence[NaturalKey]) -> Q:
        """Like ``any_of``, with all keys as one parameter where that is possible."""
        fields = lookup.fields or ()
        values = [key[0] for key in keys]
        if len(fields) > 1 or None in values:
            return self.any_of(fields, keys)
        wanted = members(field_at(lookup.model, fields[0]), values, self.connection)
        return Q(**{f"{fields[0]}__in": wanted})

    @staticmethod
    def any_of(fields: Sequence[str], keys: Sequence[NaturalKey]) -> Q:
        """The condition that the fields have one of some combinations of values."""
        if len(fields) == 1:
            values = [value for (value,) in keys if value is not None]
            condition = Q(**{f"{fields[0]}__in": values})
            if len(values) < len(keys):
                condition |= Q(**{f"{fields[0]}__isnull": True})
            return condition
        alternatives = [Q(**dict(zip(fields, key, strict=True))) for key in keys]
        return Q(*alternatives, _connector=Q.OR)

    def _one_by_one(
        self, lookup: NaturalLookup, keys: list[NaturalKey]
    ) -> dict[NaturalKey, list[Any]]:
        manager: Any = lookup.manager.db_manager(self.side.alias)
        found: dict[NaturalKey, list[Any]] = {}
        for key in keys:
            try:
                found[key] = [manager.get_by_natural_key(*key).pk]
            except ObjectDoesNotExist:
                continue
            except MultipleObjectsReturned as error:
                raise AmbiguousKey(
                    key,
                    f"{lookup.model._meta.label}: the natural key {key!r} finds several rows on "
                    f"{self.side.alias!r} ({error}). Make it unique there.",
                ) from error
        return found


class DatabaseSource(DatabaseEnd, Source):
    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._seen: dict[type[Model], KeySet] | None = None
        """Keys that were found, for as long as the database shows one state."""

    def existing(self, model: type[Model], pks: Iterable[Any]) -> set[Any]:
        if self._seen is None:
            return super().existing(model, pks)
        seen = self._seen.setdefault(model, KeySet())
        wanted = set(pks)
        rest = {pk for pk in wanted if pk not in seen}
        if not rest:
            return wanted
        found = super().existing(model, rest)
        seen.update(found)
        return wanted - (rest - found)

    def instances(self, model: type[Model], pks: Iterable[Any]) -> Iterator[Model]:
        for chunk in key_chunks(pks):
            yield from self.among(model, "pk", chunk, locks=False)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        connection = self.connection
        if connection.in_atomic_block or not self._can_snapshot():
            yield
            return
        if connection.vendor == "mysql":
            # Holds for the next transaction only, and that is the one below.
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        all_read = False
        try:
            with transaction.atomic(using=self.side.alias):
                if connection.vendor == "postgresql":
                    with connection.cursor() as cursor:
                        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                self._seen = {}
                try:
                    yield
                finally:
                    self._seen = None
                all_read = True
        except DatabaseError as error:
            # A connection that is lost now takes nothing along: all has been read.
            if not all_read or not is_lost(error):
                raise
            connection.close()

    def _can_snapshot(self) -> bool:
        if self.connection.vendor != "sqlite":
            return True
        # Without a write-ahead log, an open read would keep writers from committing.
        with self.connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode")
            return bool(cursor.fetchone()[0] == "wal")


def _json_names(model: type[Model]) -> frozenset[str]:
    return frozenset(
        field.attname for field in model._meta.concrete_fields if holds_plain_json(field)
    )


def _add_exact(
    rows: Iterable[tuple[Any, ...]],
    wanted: Set[NaturalKey],
    found: dict[NaturalKey, list[Any]],
) -> dict[NaturalKey, list[Any]]:
    """Add the keys of rows (key, values of the natural key) that were wanted."""
    for pk, *values in rows:
        # The database may take other text for equal (case, accents, spaces).
        if tuple(values) in wanted:
            found.setdefault(tuple(values), []).append(pk)
    return found
