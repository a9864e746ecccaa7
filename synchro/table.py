"""One model's rows on REMOTE: which columns are written, and by which statements."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from django.db import transaction
from django.db.models import DateField, Field, Model, TimeField

from synchro.conversion import holds_plain_json
from synchro.counterparts import Counterparts
from synchro.graph import columns, has_automatic_key, skipped_fields
from synchro.receivers import needs_save
from synchro.remotes.base import Source
from synchro.remotes.database import DatabaseEnd
from synchro.sql import TableWriter, key_values
from synchro.uniques import unique_groups

Rows = dict[Any, dict[str, Any]]
"""Key on LOCAL -> attribute -> value, with keys as they are on REMOTE."""


class RemoteTable:
    """The table of one model, written in sets."""

    def __init__(
        self, model: type[Model], source: Source, remote: DatabaseEnd, counterparts: Counterparts
    ) -> None:
        self.model = model
        self.source = source
        self.remote = remote
        self.counterparts = counterparts
        self.automatic = has_automatic_key(model)
        skip = skipped_fields(model)
        self.fields = [
            field
            for field in columns(model)
            if field.name not in skip and field.attname not in skip
        ]
        self.skipped = [field for field in columns(model) if field not in self.fields]
        self.key_fields = list(model._meta.pk_fields)
        # The database itself fills in the defaults that it knows.
        self.insert_fields = [
            field
            for field in (*self.fields, *self.skipped)
            if field not in self.key_fields
            and (field in self.fields or not _has_database_default(field))
        ]
        self.unconverted = self._unconverted()
        own = [field for field in self.fields if field not in self.key_fields]
        inserted = (
            self.insert_fields if self.automatic else [*self.key_fields, *self.insert_fields]
        )
        self._inserter = self._writer(inserted)
        self._updater = self._writer([*self.key_fields, *own])
        self._restorer = self._writer([*self.key_fields, *self.insert_fields])

    def _unconverted(self) -> frozenset[str]:
        """The attributes whose values need not become Python ones on their way."""
        if needs_save(self.model):
            return frozenset()
        # Unique values are compared with those of REMOTE's rows where they are in the way.
        unique = {field for group in unique_groups(self.model) for field in group.fields}
        return frozenset(
            field.attname
            for field in self.fields
            if field not in unique
            and field not in self.key_fields
            and self.source.passes_through(field, self.remote)
        )

    def _writer(self, fields: list[Field[Any, Any]]) -> TableWriter:
        return TableWriter(
            self.remote.connection, self.model, fields, unconverted=self.unconverted
        )

    # -- what rows hold

    def fresh(self, rows: Rows) -> Rows:
        """Rows as they are when they are made: with the defaults of skipped fields."""
        return {pk: self.with_defaults(row) for pk, row in rows.items()}

    def with_defaults(self, row: dict[str, Any]) -> dict[str, Any]:
        defaults = {
            field.attname: _json_text(field, self._default(field))
            for field in self.skipped
            if not _has_database_default(field)
        }
        return {**row, **defaults}

    def _default(self, field: Field[Any, Any]) -> Any:
        """What a new object has in a field: the default, or what saving puts there itself
        (``auto_now``)."""
        if isinstance(field, DateField | TimeField):
            return field.pre_save(self.model(), True)
        return field.get_default()

    def key_there(self, pk: Any) -> Any:
        """The key on REMOTE of a row that is there, or of one with an explicit key."""
        found = self.counterparts.get(self.model, pk)
        return self.counterparts.translated(self.model, pk) if found is None else found

    # -- statements

    def prepare(self, old: Rows, again: Rows) -> None:
        """Make what updates of such rows need. Call it outside a savepoint that may be rolled
        back."""
        if old:
            self._updater.prepare_update()
        if again:
            self._restorer.prepare_update()

    def insert(self, rows: Rows) -> None:
        """Insert rows, and note their keys."""
        keys, values = self._values_to_insert(rows)
        made = self._inserter.insert(values, returning=keys is None)
        pairs = zip(rows, made if keys is None else keys, strict=True)
        self.counterparts.note(self.model, dict(pairs))

    def update(self, rows: Rows) -> None:
        """Update rows that are there."""
        self._updater.update(self._values_to_update(self._updater, rows))

    def restore(self, rows: Rows) -> None:
        """Update rows as if they were new: skipped fields get the values that the rows have."""
        self._restorer.update(self._values_to_update(self._restorer, rows))

    def work(self, new: Rows, old: Rows, again: Rows) -> Callable[[], dict[Any, Any]]:
        """What writes new rows, and rows to be updated and restored, all of them or none, and
        returns the keys of the new ones. All is done beforehand that does not need the
        database; raises ValueError and the like where REMOTE cannot hold a value."""
        writes: list[Callable[[], Any]] = []
        for writer, rows in ((self._updater, old), (self._restorer, self.fresh(again))):
            if rows:
                columns = writer.stored(self._values_to_update(writer, rows))
                writes.append(writer.updating(columns))
        keys: list[Any] | None = []
        if new:
            keys, values = self._values_to_insert(self.fresh(new))
            columns = self._inserter.stored(values)
            if keys is None:
                insert = self._inserter.insert_stored
                writes.append(partial(insert, columns, len(values), returning=True))
            else:
                writes.append(self._inserter.inserting(columns, len(values)))

        def write_all() -> dict[Any, Any]:
            with transaction.atomic(using=self.remote.side.alias):
                # The keys, if the database makes them up, come last.
                for write in writes:
                    made = write()
            return dict(zip(new, made if keys is None else keys, strict=True))

        return write_all

    def close(self) -> None:
        """Remove what ``prepare`` made."""
        self._updater.close()
        self._restorer.close()

    def _values_to_insert(self, rows: Rows) -> tuple[list[Any] | None, list[Sequence[Any]]]:
        """The keys of new rows, None if the database makes them up; and the rows."""
        names = [field.attname for field in self.insert_fields]
        values: list[Sequence[Any]] = [_values(row, names) for row in rows.values()]
        if self.automatic:
            return None, values
        keys = [self.key_there(pk) for pk in rows]
        parts = (key_values(self.model, key) for key in keys)
        return keys, [(*key, *row) for key, row in zip(parts, values, strict=True)]

    def _values_to_update(self, writer: TableWriter, rows: Rows) -> list[Sequence[Any]]:
        names = [field.attname for field in writer.fields[len(self.key_fields) :]]
        # Rows that are updated are there, so that their keys are known.
        known = self.counterparts.of(self.model, rows)
        keys = (key_values(self.model, key) for key in known.values())
        return [(*key, *_values(row, names)) for key, row in zip(keys, rows.values(), strict=True)]


def _values(row: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    if len(names) > 1:
        found: tuple[Any, ...] = itemgetter(*names)(row)
        return found
    return tuple(row[name] for name in names)


def _has_database_default(field: Field[Any, Any]) -> bool:
    return bool(field.has_db_default())


def _json_text(field: Any, value: Any) -> Any:
    """A Python value of a plain JSON field as the text that synchro carries."""
    if value is not None and holds_plain_json(field):
        return json.dumps(value, cls=field.encoder)
    return value
