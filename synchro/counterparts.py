"""Which row on REMOTE stands for which object of LOCAL.

In this order: an equal explicit primary key; a reference; a natural key. What is found is kept
for the whole run (keys only); None stands for an object that REMOTE lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from django.db.models import CompositePrimaryKey, ForeignKey, Model

from synchro.chunks import batched
from synchro.conf import conf
from synchro.exceptions import NaturalKeyError, PlanError
from synchro.graph import (
    concrete,
    foreign_keys,
    has_automatic_key,
    identity,
    points_at_key,
    target,
)
from synchro.holds import Holds
from synchro.keypairs import KeyPairs
from synchro.keys import NaturalKey, NaturalLookup, natural_lookup
from synchro.keytimes import are_many
from synchro.references import References
from synchro.remotes.base import AmbiguousKey, End, Source

Link = ForeignKey[Any, Any]

Existing = Callable[[type[Model], Iterable[Any]], set[Any]]
"""Which primary keys of a model have a row on REMOTE."""


class Counterparts:
    def __init__(self, source: Source, remote: End, references: References, holds: Holds) -> None:
        self.source = source
        self.remote = remote
        self.references = references
        self.holds = holds
        self._known: dict[type[Model], MutableMapping[Any, Any]] = {}
        self._owners: dict[type[Model], KeyPairs] = {}
        """REMOTE key -> LOCAL key, of the models of which somebody asked for that."""
        self.tombstones: dict[type[Model], dict[Any, NaturalKey]] = {}
        """The natural keys of objects that are gone on LOCAL, by key there."""
        self._matched: dict[type[Model], KeyPairs] = {}
        self._busy: dict[type[Model], set[Any]] = {}
        self._doubtful: dict[type[Model], dict[Any, Any]] = {}
        """REMOTE key -> the LOCAL key that a reference gives it, of those references that are
        not in REMOTE's table. (In one table no two contradict each other.)"""

    def get(self, model: type[Model], pk: Any) -> Any:
        """The key on REMOTE, None if REMOTE lacks the object or it was not resolved."""
        return self.known(model).get(pk)

    def known(self, model: type[Model]) -> MutableMapping[Any, Any]:
        """LOCAL key -> REMOTE key (or None), of all objects resolved so far. Not to be kept: what
        is resolved later may be in another one."""
        return self._known.setdefault(identity(model), {})

    def of(self, model: type[Model], pks: Iterable[Any]) -> dict[Any, Any]:
        """LOCAL key -> REMOTE key of objects; None where REMOTE lacks them or they were not
        resolved."""
        known = self.known(model)
        if isinstance(known, KeyPairs):
            return known.pick(pks)
        return {pk: known.get(pk) for pk in pks}

    def owner(self, model: type[Model], remote_pk: Any) -> Any:
        """The LOCAL key of the object that a row on REMOTE stands for, as far as resolved."""
        root = identity(model)
        owners = self._owners.get(root)
        if owners is None:
            owners = self._owners[root] = KeyPairs(
                {there: pk for pk, there in self.known(root).items() if there is not None}
            )
        return owners.get(remote_pk)

    def set(self, model: type[Model], pk: Any, remote_pk: Any) -> None:
        """Note that the object has this row on REMOTE now."""
        self.note(model, {pk: remote_pk})

    def note(self, model: type[Model], pairs: Mapping[Any, Any]) -> None:
        """Note which rows on REMOTE objects have now: LOCAL key -> REMOTE key."""
        root = identity(model)
        known = self.known(root)
        if isinstance(known, KeyPairs):
            self._keep_owners(root, pairs)
        known.update(pairs)
        owners = self._owners.get(root)
        if owners is not None:
            owners.update({there: pk for pk, there in pairs.items() if there is not None})

    def forget(self, model: type[Model], pk: Any) -> None:
        remote_pk = self.known(model).pop(pk, None)
        owners = self._owners.get(identity(model))
        if owners is not None:
            owners.pop(remote_pk, None)

    def matched(self) -> Iterator[tuple[type[Model], dict[Any, Any]]]:
        """What was found by natural key and still holds, in portions: model, LOCAL key -> REMOTE
        key."""
        for model, pairs in self._matched.items():
            for pks in batched(pairs, conf.batch_size):
                known = self.of(model, pks)
                yield (
                    model,
                    {
                        pk: there
                        for pk, there in pairs.pick(pks).items()
                        if known[pk] == there and self.owner(model, there) == pk
                    },
                )

    def resolve(self, model: type[Model], pks: Iterable[Any], *, to_write: bool = False) -> None:
        """Find the counterparts of objects that are not known yet. ``to_write``: REMOTE's rows
        will be written, so that they may be locked already.

        Natural keys are read from LOCAL; those of objects that are gone there from their
        ``tombstones``. An object whose natural key finds several rows is held, or raises
        NaturalKeyError where that was not asked for.
        """
        known = self.known(model)
        # Natural keys may lead back to objects that are being resolved at this moment.
        busy = self._busy.setdefault(identity(model), set())
        todo: Iterable[Any] = dict.fromkeys(pks)
        if isinstance(known, KeyPairs):
            todo = known.lacking(todo)
        todo = [pk for pk in todo if pk not in known and pk not in busy]
        for level in self._levels(model, todo):
            for chunk in batched(level, conf.batch_size):
                busy.update(chunk)
                self._resolve(model, chunk, to_write)
                busy.difference_update(chunk)

    def _resolve(self, model: type[Model], pks: list[Any], to_write: bool) -> None:
        root = identity(model)
        existing = self.remote.existing
        if to_write and root is model:
            existing = self.remote.existing_to_write
        found = self._by_primary_key(model, pks, existing)
        rest = [pk for pk in pks if pk not in found]
        found.update(self._by_reference(root, rest, existing))
        rest = [pk for pk in rest if pk not in found]
        matched = self._by_natural_key(model, rest)
        self._matched.setdefault(root, KeyPairs()).update(matched)
        found.update(matched)
        self.note(root, {pk: found.get(pk) for pk in pks})
        self._pack(root, found)

    def _pack(self, root: type[Model], found: Mapping[Any, Any]) -> None:
        """Have the keys of many objects take less memory, where they are the same on both sides
        (as in what was ``found`` just now; where that is nothing, what will be made mostly gets
        the key that it has on LOCAL)."""
        known = self.known(root)
        if isinstance(known, KeyPairs) or not are_many(known):
            return
        if all(type(pk) is int and pk == remote_pk for pk, remote_pk in found.items()):
            self._keep_owners(root, known)
            self._known[root] = KeyPairs(known)

    def _keep_owners(self, root: type[Model], pairs: Mapping[Any, Any]) -> None:
        """Of two objects that claim a row the later one has it. Packed keys do not tell which that
        is, so it is kept where keys differ."""
        if any(there is not None and there != pk for pk, there in pairs.items()):
            self.owner(root, None)

    def _levels(self, model: type[Model], pks: list[Any]) -> Iterator[list[Any]]:
        """The objects in portions, each after what its natural keys point at: a key may name the
        parent, which is an object of the same model."""
        lookup = natural_lookup(model)
        own = [
            index
            for index, link in enumerate(self._links(lookup) if lookup else [])
            if link is not None and identity(target(link)) is identity(model)
        ]
        if lookup is None or lookup.fields is None or not own:
            yield pks
            return
        gone = self.tombstones.get(model, {})
        needs = {pk: {gone[pk][index] for index in own} for pk in pks if pk in gone}
        rows = self.source.rows(model, pks, [lookup.fields[index] for index in own])
        needs.update((pk, set(values)) for pk, *values in rows)
        rest = dict.fromkeys(pks)
        while rest:
            ready = [pk for pk in rest if not needs.get(pk, set()) & rest.keys()]
            # In a circle nobody is first.
            ready = ready or list(rest)
            yield ready
            for pk in ready:
                del rest[pk]

    # -- by primary key

    def _by_primary_key(
        self, model: type[Model], pks: list[Any], existing_there: Existing
    ) -> dict[Any, Any]:
        root = identity(model)
        if has_automatic_key(root) or not pks:
            return {}
        wanted = self._translated(root, pks)
        existing = existing_there(root, [key for key in wanted.values() if key is not None])
        return {pk: key for pk, key in wanted.items() if key in existing}

    def _translated(self, model: type[Model], pks: list[Any]) -> dict[Any, Any]:
        """Primary keys as they are on REMOTE: parts that are foreign keys point elsewhere there.
        None where REMOTE lacks what a part points at."""
        links = {field.name: field for field in foreign_keys(model) if points_at_key(field)}
        parts = [links.get(field.name) for field in model._meta.pk_fields]
        if not any(parts):
            return {pk: pk for pk in pks}
        composite = isinstance(model._meta.pk, CompositePrimaryKey)
        split = {pk: tuple(pk) if composite else (pk,) for pk in pks}
        for index, field in enumerate(parts):
            if field is not None:
                self.resolve(target(field), [values[index] for values in split.values()])
        translated: dict[Any, Any] = {}
        for pk, values in split.items():
            there = tuple(
                value if field is None else self.get(target(field), value)
                for field, value in zip(parts, values, strict=True)
            )
            key = there if composite else there[0]
            translated[pk] = None if None in there else key
        return translated

    def translated(self, model: type[Model], pk: Any) -> Any:
        """The key under which an object with an explicit key is to be made on REMOTE."""
        return self._translated(model, [pk])[pk]

    # -- by reference

    def _by_reference(
        self, root: type[Model], pks: list[Any], existing_there: Existing
    ) -> dict[Any, Any]:
        if not pks:
            return {}
        found = self.references.to_remote(root, pks)
        existing = existing_there(root, found.values())
        found = {pk: key for pk, key in found.items() if key in existing}
        for pk, other in self._contradictions(root, found):
            key, label = found[pk], root._meta.label_lower
            raise PlanError(
                f"{root._meta.label} {other} and {pk} both stand for {key} on "
                f"{self.remote.side.alias!r}, as references say that contradict each other. "
                "Delete the wrong one, in both databases: "
                f"Reference.objects.using({self.source.side.alias!r}).filter(label={label!r}, "
                f"local_object_id=...), Reference.objects.using({self.remote.side.alias!r})"
                f".filter(label={label!r}, remote_object_id=...)"
            )
        return found

    def _contradictions(
        self, root: type[Model], found: dict[Any, Any]
    ) -> Iterator[tuple[Any, Any]]:
        """Pairs of LOCAL keys of which references (LOCAL key -> REMOTE key) say the same row."""
        doubtful = self._doubtful.setdefault(root, {})
        certain = self.references.certain(root, found)
        for pk, key in found.items():
            if certain[pk] != key:
                other = self.owner(root, key)
                if other is not None and self.references.certain(root, [other])[other] == key:
                    yield pk, other
                doubtful.setdefault(key, pk)
        if doubtful:
            for pk, key in found.items():
                if doubtful.get(key, pk) != pk:
                    yield pk, doubtful[key]

    # -- by natural key

    def _by_natural_key(self, model: type[Model], pks: list[Any]) -> dict[Any, Any]:
        lookup = natural_lookup(model)
        if lookup is None or not pks:
            return {}
        gone = self.tombstones.get(model, {})
        links = self._links(lookup)
        for index, link in enumerate(links):
            if link is not None:
                values = [gone[pk][index] for pk in pks if pk in gone]
                self.resolve(target(link), [value for value in values if value is not None])
        wanted: dict[Any, NaturalKey | None] = {
            pk: self._key_there(links, gone[pk]) for pk in pks if pk in gone
        }
        wanted.update(self._natural_keys(lookup, pks))
        there = {pk: key for pk, key in wanted.items() if key is not None}
        rows = self._rows_by_natural_key(lookup, there)
        taken = self._taken(model, [pk for found in rows.values() for pk in found])
        matched: dict[Any, Any] = {}
        used: set[Any] = set()
        for pk, key in there.items():
            candidates = rows.get(key, [])
            if len(candidates) > 1 and not lookup.allow_many:
                error = NaturalKeyError(
                    f"{lookup.model._meta.label} {pk}: its natural key {key!r} finds "
                    f"{len(candidates)} rows on {self.remote.side.alias!r} "
                    f"({', '.join(map(str, candidates[:5]))}). Make it unique there, or allow "
                    "it with NaturalManager(..., allow_many=True)."
                )
                self.holds.add(model, pk, error)
                continue
            for candidate in candidates:
                if candidate not in used and taken.get(candidate, pk) == pk:
                    matched[pk] = candidate
                    used.add(candidate)
                    break
        return matched

    def _rows_by_natural_key(
        self, lookup: NaturalLookup, keys: dict[Any, NaturalKey]
    ) -> dict[NaturalKey, list[Any]]:
        """The keys on REMOTE by natural key. Objects (key on LOCAL -> natural key) whose key a
        method of the project finds ambiguous are held, and taken out."""
        while True:
            try:
                return self.remote.by_natural_key(lookup, keys.values())
            except AmbiguousKey as error:
                for pk in [pk for pk, key in keys.items() if key == error.key]:
                    self.holds.add(lookup.model, pk, error)
                    del keys[pk]

    def natural_keys(self, model: type[Model], pks: Iterable[Any]) -> dict[Any, NaturalKey | None]:
        """The natural keys of objects on LOCAL, as they are on REMOTE; None where that points at
        something that REMOTE lacks. Empty for a model without natural keys."""
        lookup = natural_lookup(model)
        return {} if lookup is None else self._natural_keys(lookup, list(pks))

    def _natural_keys(self, lookup: NaturalLookup, pks: list[Any]) -> dict[Any, NaturalKey | None]:
        """The natural keys of objects on LOCAL, as they are on REMOTE."""
        if lookup.fields is None:
            keys: dict[Any, NaturalKey | None] = {}
            for instance in self.source.instances(lookup.model, pks):
                key: NaturalKey = tuple(instance.natural_key())  # type: ignore[attr-defined]
                keys[instance.pk] = tuple(
                    self._instance_there(part) if isinstance(part, Model) else part for part in key
                )
            return keys
        rows = list(self.source.rows(lookup.model, pks, lookup.fields))
        links = self._links(lookup)
        if not any(links):
            return {row[0]: row[1:] for row in rows}
        for index, link in enumerate(links):
            if link is not None:
                values = [row[index + 1] for row in rows if row[index + 1] is not None]
                self.resolve(target(link), values)
        return {row[0]: self._key_there(links, row[1:]) for row in rows}

    def _instance_there(self, instance: Model) -> Any:
        model = concrete(type(instance))
        self.resolve(model, [instance.pk])
        return self.get(model, instance.pk)

    @staticmethod
    def _links(lookup: NaturalLookup) -> list[Link | None]:
        """The parts of a natural key that are foreign keys themselves (``country``)."""
        links = {
            name: field
            for field in foreign_keys(lookup.model)
            if points_at_key(field)
            for name in (field.name, field.attname)
        }
        return [links.get(name) for name in lookup.fields or ()]

    def _key_there(self, links: Sequence[Link | None], key: NaturalKey) -> NaturalKey | None:
        """A natural key as it is on REMOTE; None if it points at something that REMOTE lacks.
        ``links``: the parts of it that are foreign keys; empty if it is none of fields."""
        there = []
        for value, link in zip(key, links or [None] * len(key), strict=True):
            if link is not None and value is not None:
                self.resolve(target(link), [value])
                value = self.get(target(link), value)
                if value is None:
                    return None
            there.append(value)
        return tuple(there)

    def _taken(self, model: type[Model], remote_pks: list[Any]) -> dict[Any, Any]:
        """REMOTE key -> LOCAL key, of rows that stand for an object that LOCAL still has.

        Such a row is not free for another object that has got its natural key.
        """
        root = identity(model)
        owners = {key: own for key in remote_pks if (own := self.owner(root, key)) is not None}
        rest = [key for key in remote_pks if key not in owners]
        if not rest:
            return owners
        owners.update(self.references.to_local(root, rest))
        if not has_automatic_key(root):
            owners.update({key: key for key in rest if key not in owners})
        alive = self.source.existing(root, owners.values())
        return {key: own for key, own in owners.items() if own in alive}
