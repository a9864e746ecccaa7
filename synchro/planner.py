"""Makes a plan of what the log says: which rows to write, link and delete on REMOTE.

Only keys are read here (primary keys, foreign keys, natural keys), set by set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from django.apps import apps
from django.db.models import ForeignKey, ManyToManyField, Model

from synchro.changes import Changes
from synchro.chunks import batched
from synchro.collapsed import Collapse, Collapsed, Key, Objects
from synchro.companions import Companions
from synchro.conf import conf
from synchro.counterparts import Counterparts
from synchro.exceptions import NaturalKeyError, PlanError
from synchro.graph import (
    automatic_links,
    concrete,
    depth,
    family,
    identity,
    in_order,
    parents,
    skipped_fields,
)
from synchro.holds import Holds
from synchro.keys import (
    NaturalKey,
    NaturalLookup,
    load_key,
    load_object_id,
    load_object_ids,
    natural_lookup,
    object_id,
)
from synchro.models import NEEDS_HELD, UNREADABLE
from synchro.plan import Agenda, Deletion, Deletions
from synchro.remotes.base import Source
from synchro.remotes.database import DatabaseEnd
from synchro.rivals import Rivals


class _Wanted:
    """What the log has of one model, by primary key on LOCAL."""

    def __init__(
        self, objects: Objects, pks: Callable[[Sequence[Key]], list[Any]], now: datetime
    ) -> None:
        """``pks``: the primary keys that keys of the log stand for, None for what stands for
        none."""
        self._pks = pks
        self._objects = objects
        self.gone: dict[Any, Collapsed] = {}
        self.vanished: set[Any] = set()
        """Of what was written, what is not there."""
        self.recreated: dict[Any, datetime] = {}
        """Objects that were deleted and made again, all of their links with them, and when."""
        self._written = Changes()
        """What ``objects`` has entries of."""
        self._links: dict[str, Changes] = {}
        """And of their links, by many-to-many field."""
        for keys in batched(list(objects.entries), conf.batch_size):
            for pk, entry in zip(pks(keys), map(objects.entries.pop, keys), strict=True):
                if pk is not None:
                    self._add(pk, entry, now)
        self.all_links = Changes()
        """Of all many-to-many fields: the log has no name."""
        for part in self._links_in(""):
            self.all_links.update(part)

    def _add(self, pk: Any, entry: Collapsed, now: datetime) -> None:
        made = entry.made or now
        if entry.deleted:
            self.gone[pk] = entry
        if entry.written:
            self._written.put(pk, made, entry.origin, recreated=entry.recreated)
        if entry.recreated:
            self.recreated[pk] = made
        for link in entry.links:
            self._links.setdefault(link.field, Changes()).put(pk, link.made, link.origin)

    @property
    def fields(self) -> set[str]:
        """The many-to-many fields that the log names."""
        return {*self._objects.links, *self._links}

    def written(self) -> Iterator[Changes]:
        """What is to be written, in portions, each of which is handed over."""
        return self._by_pk(self._objects.written, self._written)

    def has_links(self, name: str) -> bool:
        """Whether there is anything to be done with the links in one field."""
        return bool(self.all_links or self.recreated or name in self.fields)

    def links(self, name: str) -> Iterator[Changes]:
        """What is to be done with the links in one field, in portions, each handed over."""
        named = self._links_in(name)
        if not self.all_links and not self.recreated:
            return named
        found = Changes()
        for part in (self.all_links, *named):
            found.update(part)
        for pk, made in self.recreated.items():
            found.put(pk, made, logged=False)
        return found.portions(conf.batch_size)

    def _links_in(self, name: str) -> Iterator[Changes]:
        links = self._objects.links.pop(name, Changes()), self._links.pop(name, Changes())
        return self._by_pk(*links)

    def _by_pk(self, logged: Changes, others: Changes) -> Iterator[Changes]:
        """Portions of changes by keys of the log, and of others."""
        for part in logged.portions(conf.batch_size):
            yield part.renamed(self._pks)
        yield from others.portions(conf.batch_size)


class Planner:
    def __init__(
        self,
        source: Source,
        remote: DatabaseEnd,
        counterparts: Counterparts,
        rivals: Rivals,
        holds: Holds,
        now: datetime,
    ) -> None:
        self.source = source
        self.remote = remote
        self.counterparts = counterparts
        self.rivals = rivals
        self.holds = holds
        self.now = now
        self.plan = Agenda()
        self.rows = Companions(self.plan, source, remote, counterparts, rivals, holds, now)

    def make(self, collapsed: Collapse, surplus: Callable[[], Deletions] | None = None) -> Agenda:
        """The plan for the collapsed log, which is used up, and for the deletions of rows that
        only REMOTE has (``surplus``). What cannot be planned is held, or raises PlanError
        or NaturalKeyError where that was not asked for."""
        by_model = self._read(collapsed)
        # Children in other tables first: their natural key may tell the counterpart of the root.
        models = sorted(by_model, key=depth, reverse=True)
        for model in models:
            self._read_tombstones(model, by_model[model].gone)
        for model in models:
            self._plan_deletions(model, by_model[model].gone)
        for model in models:
            self._plan_writes(model, by_model[model])
        for model in models:
            self._plan_links(model, by_model[model])
        for model, deletions in surplus().items() if surplus else ():
            self._plan_surplus(model, deletions)
        self._add_parents_in_other_tables_of_deletions()
        self._give_claimed_rows_to_their_new_owners()
        self._arrange()
        return self.plan

    def _read(self, collapsed: Collapse) -> dict[type[Model], _Wanted]:
        """The log by models and primary keys instead of labels and texts."""
        by_model: dict[type[Model], _Wanted] = {}
        while collapsed:
            label = next(iter(collapsed))
            objects = collapsed.pop(label)
            try:
                model = self._model(label)
            except PlanError as error:
                for text in objects:
                    self.holds.add_unread(label, text, error)
                continue
            pks = partial(self._pks_or_held, model, label)
            by_model[model] = _Wanted(objects, pks, self.now)
        return by_model

    def _pks_or_held(self, model: type[Model], label: str, keys: Sequence[Key]) -> list[Any]:
        """The primary keys that keys of the log stand for; None where one cannot be read, which
        is held."""
        with suppress(NaturalKeyError):
            return load_object_ids(model, keys)
        pks: list[Any] = []
        for text in map(str, keys):
            try:
                pks.append(self._pk(model, text))
            except PlanError as error:
                self.holds.add_unread(label, text, error)
                pks.append(None)
        return pks

    def _model(self, label: str) -> type[Model]:
        try:
            model = concrete(apps.get_model(label))
        except (LookupError, ValueError):
            raise PlanError(
                f"The change log has changes of {label}, which is not installed (any more). "
                "If the model was renamed, update the label in synchro's change log; if it was "
                f"removed, delete its entries: ChangeLog.objects.filter(label={label!r}).delete()"
            ) from None
        self.rows.require(model)
        return model

    @staticmethod
    def _pk(model: type[Model], text: str) -> Any:
        try:
            return load_object_id(model, text)
        except NaturalKeyError as error:
            raise PlanError(
                f"The change log names an object that cannot be: {error} Delete the entry: "
                f"ChangeLog.objects.filter(label={model._meta.label_lower!r}, "
                f"object_id={text!r}).delete()"
            ) from error

    # -- deletions

    def _read_tombstones(self, model: type[Model], gone: dict[Any, Collapsed]) -> None:
        """Whatever asks for the counterpart of an object that is gone must know its natural
        key: a child's own key may lead over it."""
        lookup = natural_lookup(model)
        if lookup is not None:
            # What was also added in this window REMOTE cannot know, except by reference.
            keys = self.counterparts.tombstones[model] = {}
            for pk, change in gone.items():
                known = not change.added or bool(self.rivals.beaten(model))
                if change.key is not None and known:
                    try:
                        keys[pk] = self._tombstone_key(lookup, pk, change.key)
                    except PlanError as error:
                        self.rows.hold(model, pk, error, reason=UNREADABLE)

    @staticmethod
    def _tombstone_key(lookup: NaturalLookup, pk: Any, text: str) -> NaturalKey:
        try:
            return lookup.clean(load_key(text))
        except NaturalKeyError as error:
            label = lookup.model._meta.label_lower
            raise PlanError(
                f"The change log has a deletion of {lookup.model._meta.label} {pk} with a natural "
                f"key that cannot be read: {error} To go by its reference alone: "
                f"ChangeLog.objects.filter(label={label!r}, "
                f"object_id={object_id(lookup.model, pk)!r}).update(key=None)"
            ) from error

    def _plan_deletions(self, model: type[Model], gone: dict[Any, Collapsed]) -> None:
        if len(family(model)) > 1:
            # A child that came back under its key brought its parent's row back unlogged.
            for pk in self.source.existing(model, gone):
                del gone[pk]
        for chunk in batched(gone, conf.batch_size):
            added = {pk for pk in chunk if gone[pk].added}
            self._resolve_added_and_deleted(model, added)
            pks = [pk for pk in chunk if pk not in added]
            self._forget_vanished_counterparts(model, pks)
            self.counterparts.resolve(model, pks)
            known = self.counterparts.known(model)
            found = {
                pk: known[pk]
                for pk in chunk
                if known[pk] is not None and self.holds.get(model, pk) is None
            }
            times = {pk: gone[pk].made or self.now for pk in found}
            # Any part of the object that was changed later keeps all of it.
            lost = self.rivals.newer(model, "", times, found, labels=family(model))
            deletions = self.plan.deletions.setdefault(model, {})
            for pk, remote_pk in found.items():
                change = gone[pk]
                if pk in lost:
                    self.plan.kept.setdefault(identity(model), set()).add(remote_pk)
                    self.rows.skip_as_older(model, pk, "delete", times[pk], lost[pk])
                    continue
                deletions[remote_pk] = Deletion(
                    pk=pk,
                    remote_pk=remote_pk,
                    made=times[pk],
                    origin=change.origin,
                    key=change.key,
                )

    def _resolve_added_and_deleted(self, model: type[Model], pks: set[Any]) -> None:
        """An equal explicit or natural key on REMOTE is no proof that REMOTE has it from here,
        unless the deletion has won already against REMOTE's own row of this key."""
        if not pks:
            return
        root = identity(model)
        beaten = self.rivals.beaten(model)
        if beaten:
            self.counterparts.resolve(model, pks)
            for pk in pks:
                found_there = self.counterparts.get(model, pk)
                if found_there is None or object_id(root, found_there) not in beaten:
                    self.counterparts.forget(model, pk)
        found = self.counterparts.references.to_remote(root, pks)
        existing = self.remote.existing(root, found.values())
        for pk in pks:
            if pk not in self.counterparts.known(model):
                key = found.get(pk)
                self.counterparts.set(model, pk, key if key in existing else None)

    def _add_parents_in_other_tables_of_deletions(self) -> None:
        for model in list(self.plan.deletions):
            for parent, link in parents(model).items():
                self._add_parent_deletions(model, parent, link)

    def _add_parent_deletions(
        self, model: type[Model], parent: type[Model], link: ForeignKey[Any, Any]
    ) -> None:
        """A deleted child takes its parent's row along, unless LOCAL kept it."""
        deletions = self.plan.deletions[model]
        if link.primary_key:
            there = {key: deletion.pk for key, deletion in deletions.items()}
            kept = self.source.existing(parent, [pk for pk in there.values() if pk is not None])
            rows = {key: key for key, pk in there.items() if pk not in kept}
        else:
            # A second parent has a key of its own; REMOTE's row tells which.
            rows = {
                key: parent_key
                for key, parent_key in self.remote.rows(model, deletions, [link.attname])
                if parent_key is not None
            }
            own = self.counterparts.references.to_local(identity(parent), rows.values())
            kept = self.source.existing(parent, own.values())
            rows = {key: value for key, value in rows.items() if own.get(value) not in kept}
        present = self.remote.existing(parent, rows.values())
        others = self.plan.deletions.setdefault(parent, {})
        for key, parent_key in rows.items():
            if parent_key in present and parent_key not in others:
                child = deletions[key]
                others[parent_key] = Deletion(
                    pk=child.pk if link.primary_key else None,
                    remote_pk=parent_key,
                    made=child.made,
                    origin=child.origin,
                )
        for grandparent, upward in parents(parent).items():
            self._add_parent_deletions(parent, grandparent, upward)

    def _give_claimed_rows_to_their_new_owners(self) -> None:
        """A row that is to go, but now is the counterpart of another object, is made over."""
        for model, deletions in self.plan.deletions.items():
            writes = self.plan.writes.get(model, Changes())
            for remote_pk, deletion in list(deletions.items()):
                owner = self.counterparts.owner(model, remote_pk)
                if owner is not None and owner != deletion.pk:
                    del deletions[remote_pk]
                    if deletion.pk is not None:
                        self.counterparts.known(model)[deletion.pk] = None
                    if owner in writes:
                        writes.recreated.add(owner)

    def _plan_surplus(self, model: type[Model], deletions: dict[Any, Deletion]) -> None:
        kept = self.plan.kept.get(identity(model), set())
        planned = self.plan.deletions.setdefault(model, {})
        for key, deletion in deletions.items():
            if key not in kept:
                planned.setdefault(key, deletion)

    # -- writes

    def _plan_writes(self, model: type[Model], wanted: _Wanted) -> None:
        for changes in wanted.written():
            present = self.source.existing(model, changes)
            for pk in [pk for pk in changes if pk not in present]:
                wanted.vanished.add(pk)
                self.rows.skip_as_vanished(model, pk, "write")
                changes.discard(pk)
            self._forget_vanished_counterparts(model, changes)
            self.counterparts.resolve(model, changes, to_write=True)
            self.rows.add(model, changes)
        self.rows.settle()

    def _forget_vanished_counterparts(self, model: type[Model], pks: Iterable[Any]) -> None:
        """A tombstone under another label of the family may have resolved the key already."""
        if len(family(model)) == 1:
            return
        known = self.counterparts.known(model)
        for pk in pks:
            if pk in known and known[pk] is None:
                self.counterparts.forget(model, pk)

    # -- links

    def _plan_links(self, model: type[Model], wanted: _Wanted) -> None:
        skip = skipped_fields(model)
        self._check_links(model, wanted.fields)
        fields = {field.name: field for field in automatic_links(model) if field.name not in skip}
        for name, field in fields.items():
            if wanted.has_links(name):
                self._link(model, field, wanted.links(name), wanted.vanished)

    @staticmethod
    def _check_links(model: type[Model], logged: Iterable[str]) -> None:
        """Raise PlanError if the log names links that the model does not have."""
        names = {field.name for field in model._meta.many_to_many} | {""}
        for name in sorted(set(logged) - names):
            rows = f"ChangeLog.objects.filter(label={model._meta.label_lower!r}, field={name!r})"
            raise PlanError(
                f"The change log has changes of the links {model._meta.label}.{name}, which is no "
                "many-to-many field (any more). If the field was renamed: "
                f"{rows}.update(field=...); if it was removed: {rows}.delete()"
            )

    def _link(
        self,
        model: type[Model],
        field: ManyToManyField[Any, Any],
        links: Iterable[Changes],
        vanished: set[Any],
    ) -> None:
        other = concrete(field.related_model)
        try:
            self.rows.require(other)
        except PlanError as error:
            for part in links:
                for pk in part:
                    self.holds.add(model, pk, error, field=field.name)
            return
        planned = self.plan.links.setdefault((model, field.name), Changes())
        for wanted in links:
            present = self.source.existing(model, wanted)
            for pk in wanted:
                if pk not in present and pk not in vanished:
                    self.rows.skip_as_vanished(model, pk, "link", field.name)
            pks = [pk for pk in wanted if pk in present]
            self.counterparts.resolve(model, pks, to_write=True)
            if self.holds:
                pks = [pk for pk in pks if self._may_link(model, field.name, pk, wanted)]
            found = self.rows.remote_keys(model, pks)
            if wanted.unlogged:
                found = {pk: key for pk, key in found.items() if pk not in wanted.unlogged}
            lost = self.rivals.newer(model, field.name, wanted.made, found)
            for pk, remote in lost.items():
                self.rows.skip_as_older(model, pk, "link", wanted.made[pk], remote, field.name)
            pks = [pk for pk in pks if pk not in lost]
            wanted.keep(pks)
            planned.update(wanted)
            self.rows.need(model, pks)
            self.rows.need(other, self.source.linked(field, pks))
            self.rows.settle()

    def _may_link(self, model: type[Model], name: str, pk: Any, links: Changes) -> bool:
        """Whether the links of an object can be replayed: neither they are held, nor an object
        that REMOTE lacks or that is made anew."""
        if self.holds.get(model, pk, name) is not None:
            return False
        there = pk not in links.unlogged and self.counterparts.get(model, pk) is not None
        if there or self.holds.get(model, pk) is None:
            return True
        error = self.holds.lacks(model, pk, model, pk)
        self.holds.add(model, pk, error, field=name, reason=NEEDS_HELD)
        return False

    # -- order

    def _arrange(self) -> None:
        """Put models into the order of replay, and leave out those with nothing to do."""
        plan = self.plan
        order = in_order(plan.writes, self.rows.generic)
        plan.writes = {m: plan.writes[m] for m in order if plan.writes[m]}
        order = in_order([m for m in plan.deletions if plan.deletions[m]])
        plan.deletions = {model: plan.deletions[model] for model in reversed(order)}
        plan.links = {key: links for key, links in plan.links.items() if links}
