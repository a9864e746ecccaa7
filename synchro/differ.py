"""Compares what is planned with what REMOTE has: the entries of a plan.

Both sides are read chunk by chunk, so memory does not grow with the plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.db.models import Field, ManyToManyField, Model

from synchro.changes import Changes
from synchro.chunks import batched
from synchro.conf import conf
from synchro.conversion import holds_plain_json
from synchro.counterparts import Counterparts
from synchro.entries import CREATE, DELETE, NO_CHANGE, SKIP, UPDATE, Entry, plain
from synchro.exceptions import NaturalKeyError
from synchro.graph import (
    automatic_links,
    columns,
    concrete,
    descendants,
    family,
    identity,
    parents,
    skipped_fields,
)
from synchro.keys import load_key, natural_lookup, object_id
from synchro.names import model_named
from synchro.plan import Agenda, Deletion
from synchro.remotes.base import Source
from synchro.remotes.database import DatabaseEnd
from synchro.translate import Awaited, Translator


class Differ:
    """Makes the entries of an agenda."""

    def __init__(
        self,
        agenda: Agenda,
        source: Source,
        remote: DatabaseEnd,
        counterparts: Counterparts,
    ) -> None:
        self.agenda = agenda
        self.source = source
        self.remote = remote
        self.counterparts = counterparts
        self.holds = counterparts.holds
        self._translators: dict[type[Model], Translator] = {}

    def entries(self) -> Iterator[Entry]:
        """In the order of replay: rows with their links, deletions, then what is skipped."""
        for root, models in self._roots():
            yield from self._written(root, models)
        for model, deletions in self.agenda.deletions.items():
            yield from self._deletions(model, deletions)
        yield from self._skipped()

    # -- what is written

    def _roots(self) -> list[tuple[type[Model], list[type[Model]]]]:
        """The models of the agenda by the tables that make up one object, parents first."""
        found: dict[type[Model], list[type[Model]]] = {}
        for model in (*self.agenda.writes, *(model for model, _ in self.agenda.links)):
            models = found.setdefault(identity(model), [])
            if model not in models:
                models.append(model)
        return list(found.items())

    def _written(self, root: type[Model], models: list[type[Model]]) -> Iterator[Entry]:
        pks: dict[Any, None] = {}
        for model in models:
            pks.update(dict.fromkeys(self.agenda.writes.get(model, ())))
            for field in automatic_links(model):
                pks.update(dict.fromkeys(self.agenda.links.get((model, field.name), ())))
        for chunk in batched(pks, conf.batch_size):
            yield from self._chunk(root, models, chunk)

    def _chunk(
        self, root: type[Model], models: list[type[Model]], pks: list[Any]
    ) -> Iterator[Entry]:
        entries: dict[Any, Entry] = {}
        for pk, there in self.counterparts.of(root, pks).items():
            entries[pk] = Entry(
                model=root._meta.label_lower,
                action=UPDATE if there is not None else CREATE,
                key=object_id(root, pk),
                remote_key=None if there is None else object_id(root, there),
            )
        for model in models:
            changes = self.agenda.writes.get(model, Changes())
            own = [pk for pk in pks if pk in changes]
            for pk in own:
                entry = entries[pk]
                if len(descendants(model)) <= len(descendants(model_named(entry.model))):
                    entry.model = model._meta.label_lower
                if pk not in changes.unlogged:
                    entry.reason = ""
                elif not entry.reason:
                    entry.reason = "needed"
            self._compare_rows(model, own, entries)
            self._name(model, pks, entries)
        for model in models:
            for field in automatic_links(model):
                self._compare_links(model, field, pks, entries)
        for entry in entries.values():
            if entry.action == UPDATE and not entry.fields and not entry.links:
                entry.action = NO_CHANGE
            yield entry

    def _translator(self, model: type[Model]) -> Translator:
        if model not in self._translators:
            self._translators[model] = Translator(
                self.source, self.counterparts, model, self.agenda.writes
            )
        return self._translators[model]

    def _compare_rows(self, model: type[Model], pks: list[Any], entries: dict[Any, Entry]) -> None:
        """Note the fields in which the rows differ."""
        skip = skipped_fields(model)
        fields = [
            field
            for field in columns(model)
            if field.name not in skip and field.attname not in skip
        ]
        ties = {link.attname for link in parents(model).values()}
        names = [field.attname for field in fields]
        rows = {
            pk: dict(zip(names, values, strict=True))
            for pk, *values in self.source.rows(model, pks, names)
        }
        translator = self._translator(model)
        translator.translate(rows)
        known = self.counterparts.of(model, rows)
        remote_pks = {key: pk for pk, key in known.items() if key is not None}
        there = {
            remote_pks[key]: dict(zip(names, values, strict=True))
            for key, *values in self.remote.rows(model, remote_pks, names)
        }
        awaited: dict[Any, dict[str, Awaited]] = {}
        for missing in (translator.awaited, translator.lacking):
            for pk, found in missing.items():
                awaited.setdefault(pk, {}).update((f.attname, one) for f, one in found.items())
        for pk, row in rows.items():
            old = there.get(pk)
            waits = awaited.get(pk, {})
            for field in fields:
                name = field.attname
                new: Any
                if name in waits:
                    new = f"+{object_id(waits[name].model, waits[name].pk)}"
                else:
                    new = value_of(field, row[name])
                before = None if old is None else value_of(field, old[name])
                if name in ties or field.primary_key:
                    # It is the same object, or its key.
                    continue
                if old is None or before != new:
                    entries[pk].fields[field.name] = (before, new)

    def _name(self, model: type[Model], pks: list[Any], entries: dict[Any, Entry]) -> None:
        """Note the natural keys."""
        lookup = natural_lookup(model)
        if lookup is None or lookup.fields is None:
            return
        for pk, *values in self.source.rows(lookup.model, pks, lookup.fields):
            entries[pk].natural_key = [plain(value) for value in values]

    def _compare_links(
        self,
        model: type[Model],
        field: ManyToManyField[Any, Any],
        pks: list[Any],
        entries: dict[Any, Entry],
    ) -> None:
        changes = self.agenda.links.get((model, field.name), ())
        own = [pk for pk in pks if pk in changes]
        if not own:
            return
        other = concrete(field.related_model)
        wanted: dict[Any, set[str]] = {}
        links = list(self.source.links(field, own))
        self.counterparts.resolve(other, {there for _, there in links})
        others = self.counterparts.of(other, {there for _, there in links})
        for here, there in links:
            key = others[there]
            name = f"+{object_id(other, there)}" if key is None else object_id(other, key)
            wanted.setdefault(here, set()).add(name)
        known = self.counterparts.of(model, own)
        remote_pks = {key: pk for pk, key in known.items() if key is not None}
        present: dict[Any, set[str]] = {}
        for near, far in self.remote.links(field, remote_pks):
            present.setdefault(remote_pks[near], set()).add(object_id(other, far))
        for pk in own:
            more = wanted.get(pk, set()) - present.get(pk, set())
            fewer = present.get(pk, set()) - wanted.get(pk, set())
            if more or fewer:
                entries[pk].links[field.name] = (sorted(more), sorted(fewer))

    # -- what is deleted

    def _deletions(self, model: type[Model], deletions: dict[Any, Deletion]) -> Iterator[Entry]:
        # Of an object in several tables only the last part is named.
        children = [
            other
            for other in family(model)
            if other is not model and model in other._meta.all_parents
        ]
        rest = [
            key
            for key in deletions
            if not any(key in self.agenda.deletions.get(child, ()) for child in children)
        ]
        skip = skipped_fields(model)
        fields = [
            field
            for field in columns(model)
            if not field.primary_key and field.name not in skip and field.attname not in skip
        ]
        names = [field.attname for field in fields]
        for chunk in batched(rest, conf.batch_size):
            rows = {key: values for key, *values in self.remote.rows(model, chunk, names)}
            for key in chunk:
                deletion = deletions[key]
                yield Entry(
                    model=model._meta.label_lower,
                    action=DELETE,
                    key=None if deletion.pk is None else object_id(model, deletion.pk),
                    remote_key=object_id(model, key),
                    natural_key=_parts(deletion.key),
                    fields={
                        field.name: (value_of(field, value), None)
                        for field, value in zip(fields, rows.get(key, ()), strict=False)
                    },
                    reason="only-on-remote" if deletion.unknown else "",
                )

    # -- what is left out

    def _skipped(self) -> Iterator[Entry]:
        for skipped in self.agenda.skipped:
            model = model_named(skipped.label)
            assert model is not None
            yield Entry(
                model=skipped.label,
                action=SKIP,
                key=None if skipped.pk is None else object_id(model, skipped.pk),
                reason=skipped.reason,
                detail=skipped.detail,
            )
        for (label, text), cause in self.holds.unread.items():
            yield Entry(
                model=label, action=SKIP, key=text, reason=cause.reason, detail=cause.detail
            )
        for (root, field), pk, cause in self.holds:
            detail = f"{field}: {cause.detail}" if field else cause.detail
            yield Entry(
                model=root._meta.label_lower,
                action=SKIP,
                key=object_id(root, pk),
                reason=cause.reason,
                detail=detail,
            )


def value_of(field: Field[Any, Any], value: Any) -> Any:
    """A column's value as plain data, equal where the values are."""
    if holds_plain_json(field):
        # It comes as text, since JSON null is not SQL NULL.
        return None if value is None else {"json": plain(json.loads(value))}
    return plain(value)


def _parts(key: str | None) -> list[Any] | None:
    if key is None:
        return None
    try:
        return [plain(part) for part in load_key(key)]
    except NaturalKeyError:
        return None
