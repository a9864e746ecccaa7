"""Compares two databases row by row, whatever their logs say.

What exists only on LOCAL, only on REMOTE, or differs comes out as changes, as if it had been read
from the log. Both sides are read in chunks; only keys are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from django.db.models import Model

from synchro import log
from synchro.chunks import batched
from synchro.collapsed import Collapsed, LinkTime
from synchro.conf import conf
from synchro.counterparts import Counterparts
from synchro.differ import value_of
from synchro.graph import (
    automatic_links,
    columns,
    concrete,
    depth,
    descendants,
    family,
    identity,
    in_order,
    key_attribute,
    parents,
    skipped_fields,
)
from synchro.keys import object_id
from synchro.models import DELETION
from synchro.plan import Deletion, Deletions
from synchro.remotes.database import DatabaseEnd, DatabaseSource
from synchro.translate import Translator

LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When rows were changed that no log names: whoever logged a change is newer."""


class Audit:
    """The comparison of the models in SYNCHRO_MODELS."""

    def __init__(
        self,
        source: DatabaseSource,
        remote: DatabaseEnd,
        counterparts: Counterparts,
        *,
        received_batch: int,
        takes: Callable[[str], bool] = lambda label: True,
        progress: Callable[[str, int, int], None] = lambda label, done, total: None,
    ) -> None:
        """``received_batch``: up to here LOCAL has received REMOTE's own batches. ``takes``: which
        models to look at, by label. Of these every row is read: only so it is known which rows
        nobody on LOCAL stands for. ``progress`` is called with the label of a model and how many
        of its rows have been compared (of how many, is not known: 0)."""
        self.source = source
        self.remote = remote
        self.counterparts = counterparts
        self.holds = counterparts.holds
        self.received_batch = received_batch
        self.takes = takes
        self.progress = progress

    def models(self) -> list[type[Model]]:
        """Parents before children."""
        wanted = {concrete(model) for model in conf.models if self.takes(model._meta.label_lower)}
        return [model for model in in_order(wanted) if not model._meta.auto_created]

    def changes(self) -> dict[str, dict[str, Collapsed]]:
        """What differs, or exists only on LOCAL."""
        found: dict[str, dict[str, Collapsed]] = {}
        for model in self.models():
            label = model._meta.label_lower
            done = 0
            for chunk in batched(self._keys(model), conf.batch_size):
                self.progress(label, done, 0)
                different = self._compare(model, chunk)
                done += len(chunk)
                if different:
                    found.setdefault(label, {}).update(different)
        return found

    def _keys(self, model: type[Model]) -> Iterator[Any]:
        rows = self.source.objects(model).order_by("pk")
        yield from rows.values_list(key_attribute(model), flat=True).iterator(chunk_size=2000)

    def _compare(self, model: type[Model], pks: list[Any]) -> dict[str, Collapsed]:
        self.counterparts.resolve(model, pks)
        known = self.counterparts.of(model, pks)
        there = {pk: key for pk, key in known.items() if key is not None}
        differing = self._different(model, there)
        written = {pk for pk in pks if pk not in there} | differing
        links = self._different_links(model, pks, there)
        times = self._times(model, [pk for pk in pks if pk in written or pk in links])
        found: dict[str, Collapsed] = {}
        for pk, made in times.items():
            collapsed = found[object_id(model, pk)] = Collapsed()
            collapsed.made = made
            collapsed.written = pk in written
            collapsed.links = tuple(LinkTime(name, made, "") for name in links.get(pk, ()))
        return found

    def _different(self, model: type[Model], there: dict[Any, Any]) -> set[Any]:
        """The objects whose rows differ in the model's own table."""
        skip = skipped_fields(model)
        fields = [
            field
            for field in columns(model)
            if field.name not in skip and field.attname not in skip
        ]
        names = [field.attname for field in fields]
        ties = {link.attname for link in parents(model).values()} | {model._meta.pk.attname}
        rows = {
            pk: dict(zip(names, values, strict=True))
            for pk, *values in self.source.rows(model, there, names)
        }
        translator = Translator(self.source, self.counterparts, model, {})
        translator.translate(rows)
        others = {key: pk for pk, key in there.items()}
        theirs = {
            others[key]: dict(zip(names, values, strict=True))
            for key, *values in self.remote.rows(model, others, names)
        }
        return {
            pk
            for pk, row in rows.items()
            if pk not in theirs
            or pk in translator.changed
            or pk in translator.lacking
            or any(
                row[field.attname] != theirs[pk][field.attname]
                and value_of(field, row[field.attname])
                != value_of(field, theirs[pk][field.attname])
                for field in fields
                if field.attname not in ties
            )
        }

    def _different_links(
        self, model: type[Model], pks: list[Any], there: dict[Any, Any]
    ) -> dict[Any, list[str]]:
        skip = skipped_fields(model)
        found: dict[Any, list[str]] = {}
        for field in automatic_links(model):
            if field.name in skip:
                continue
            other = concrete(field.related_model)
            pairs = list(self.source.links(field, pks))
            self.counterparts.resolve(other, {far for _, far in pairs})
            known = self.counterparts.of(other, {far for _, far in pairs})
            ours: dict[Any, set[Any]] = {}
            for near, far in pairs:
                key = known[far]
                ours.setdefault(near, set()).add((None, far) if key is None else key)
            owners = {key: pk for pk, key in there.items()}
            theirs: dict[Any, set[Any]] = {}
            for near, far in self.remote.links(field, owners):
                theirs.setdefault(owners[near], set()).add(far)
            for pk in ours.keys() | theirs.keys():
                if ours.get(pk, set()) != theirs.get(pk, set()):
                    found.setdefault(pk, []).append(field.name)
        return found

    def _times(self, model: type[Model], pks: Iterable[Any]) -> dict[Any, datetime]:
        """When objects were changed the last time by LOCAL's log."""
        texts = {object_id(model, pk): pk for pk in pks}
        times = dict.fromkeys(texts.values(), LONG_AGO)
        labels = [other._meta.label_lower for other in descendants(model)]
        for chunk in batched(texts, 500):
            for (text, _), change in log.newest(self.source.side.alias, labels, chunk).items():
                pk = texts[text]
                times[pk] = max(times[pk], change.made)
        return times

    def surplus(self) -> Deletions:
        """Rows that only REMOTE has, as deletions, by key there. Those that REMOTE has made or
        changed since LOCAL received from it the last time are left out. To be called after
        ``changes``, which finds out what the others stand for."""
        found: Deletions = {}
        for model in sorted(self.models(), key=depth, reverse=True):
            if any(self.counterparts.get(model, pk) is None for pk in self.holds.held(model)):
                # Any row there may be the one that could not be found.
                continue
            rows = self.remote.objects(model).order_by("pk")
            keys = rows.values_list(key_attribute(model), flat=True).iterator(chunk_size=2000)
            for chunk in batched(keys, conf.batch_size):
                alone = [key for key in chunk if self._owner(model, key) is None]
                for key in self._not_new(model, alone):
                    found.setdefault(model, {})[key] = Deletion(
                        pk=None, remote_pk=key, made=LONG_AGO, unknown=True
                    )
        return found

    def _owner(self, model: type[Model], remote_pk: Any) -> Any:
        return self.counterparts.owner(identity(model), remote_pk)

    def _not_new(self, model: type[Model], remote_pks: list[Any]) -> list[Any]:
        if not remote_pks or not self.remote.side.has_tables:
            return remote_pks
        texts = {object_id(model, pk): pk for pk in remote_pks}
        labels = [other._meta.label_lower for other in family(model)]
        fresh: set[Any] = set()
        for chunk in batched(texts, 500):
            newest = log.newest(self.remote.side.alias, labels, chunk)
            for (text, _), change in newest.items():
                received = change.batch is not None and change.batch <= self.received_batch
                if (
                    change.action != DELETION
                    and change.origin != self.source.side.uid
                    and not received
                ):
                    fresh.add(texts[text])
        return [pk for pk in remote_pks if pk not in fresh]
