"""Makes a plan of what the log says: which rows to write, link and delete on REMOTE.

Only keys are read here (primary keys, foreign keys, natural keys), set by set. Rows that the
log does not name join the plan where another row needs them: parents that REMOTE lacks, and the
rows of parents in other tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db.models import ForeignKey, ManyToManyField, Model

from synchro.chunks import batched
from synchro.conf import conf
from synchro.conflicts import RemoteChange
from synchro.counterparts import Counterparts
from synchro.exceptions import NaturalKeyError, PlanError, SynchroError
from synchro.graph import (
    automatic_links,
    concrete,
    depth,
    family,
    foreign_keys,
    generic_foreign_keys,
    has_automatic_key,
    has_constraint,
    identity,
    in_order,
    parents,
    points_at_key,
    skipped_fields,
    target,
)
from synchro.holds import Holds
from synchro.keys import (
    NaturalKey,
    NaturalLookup,
    load_key,
    load_object_id,
    natural_lookup,
    object_id,
)
from synchro.models import NEEDS_HELD, REMOTE_NEWER, UNREADABLE, VANISHED
from synchro.plan import (
    Agenda,
    Change,
    Collapse,
    Collapsed,
    Deletion,
    Deletions,
    LinkChange,
    Skipped,
)
from synchro.remotes.base import Source
from synchro.remotes.database import DatabaseEnd
from synchro.rivals import Rivals


class _Wanted:
    """What the log has of one model, by primary key on LOCAL."""

    def __init__(self) -> None:
        self.gone: dict[Any, Collapsed] = {}
        self.written: dict[Any, Change] = {}
        self.vanished: set[Any] = set()
        """Of these, the ones that are not there."""
        self.recreated: dict[Any, LinkChange] = {}
        """Objects that were deleted and made again: all of their links."""
        self.links: dict[str, dict[Any, LinkChange]] = {}
        """By many-to-many field; those under an empty name are of all fields."""

    def add(self, pk: Any, change: Collapsed, now: datetime) -> None:
        made = change.made or now
        if change.deleted:
            self.gone[pk] = change
        if change.written:
            self.written[pk] = Change(
                pk=pk, made=made, origin=change.origin, recreated=change.recreated
            )
        if change.recreated:
            self.recreated[pk] = LinkChange(pk=pk, made=made, logged=False)
        for link in change.links:
            links = self.links.setdefault(link.field, {})
            links[pk] = LinkChange(pk=pk, made=link.made, origin=link.origin)

    def of(self, name: str) -> dict[Any, LinkChange]:
        """What is to be done with the links in one field."""
        named = self.links.pop(name, {})
        unnamed = self.links.get("", {})
        if unnamed or self.recreated:
            return {**unnamed, **named, **self.recreated}
        return named


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
        self._checked: set[type[Model]] = set()
        self._generic: dict[type[Model], set[type[Model]]] = {}
        """Where generic foreign keys lead in this run."""
        self._waiting: list[tuple[type[Model], list[Change]]] = []

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
            wanted = by_model[model] = _Wanted()
            for text in list(objects):
                change = objects.pop(text)
                try:
                    pk = self._pk(model, text)
                except PlanError as error:
                    self.holds.add_unread(label, text, error)
                else:
                    wanted.add(pk, change, self.now)
        return by_model

    def _hold(self, model: type[Model], pk: Any, error: SynchroError, **how: Any) -> None:
        """Hold an object, and take its parts in all tables out of the plan."""
        self.holds.add(model, pk, error, **how)
        for other in family(model):
            self.plan.writes.get(other, {}).pop(pk, None)

    def _model(self, label: str) -> type[Model]:
        try:
            model = concrete(apps.get_model(label))
        except (LookupError, ValueError):
            raise PlanError(
                f"The change log has changes of {label}, which is not installed (any more). "
                "If the model was renamed, update the label in synchro's change log; if it was "
                f"removed, delete its entries: ChangeLog.objects.filter(label={label!r}).delete()"
            ) from None
        self._check(model)
        return model

    def _check(self, model: type[Model]) -> None:
        """Raise PlanError if the model may not be on REMOTE."""
        if model not in self._checked:
            self.remote.require(model)
            self._checked.add(model)

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
                        self._hold(model, pk, error, reason=UNREADABLE)

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
                    self._skip_as_older(model, pk, "delete", times[pk], lost[pk])
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
            writes = self.plan.writes.get(model, {})
            for remote_pk, deletion in list(deletions.items()):
                owner = self.counterparts.owner(model, remote_pk)
                if owner is not None and owner != deletion.pk:
                    del deletions[remote_pk]
                    if deletion.pk is not None:
                        self.counterparts.known(model)[deletion.pk] = None
                    if owner in writes:
                        writes[owner].recreated = True

    def _plan_surplus(self, model: type[Model], deletions: dict[Any, Deletion]) -> None:
        kept = self.plan.kept.get(identity(model), set())
        planned = self.plan.deletions.setdefault(model, {})
        for key, deletion in deletions.items():
            if key not in kept:
                planned.setdefault(key, deletion)

    # -- writes

    def _plan_writes(self, model: type[Model], wanted: _Wanted) -> None:
        written = wanted.written
        for chunk in batched(list(written), conf.batch_size):
            present = self.source.existing(model, chunk)
            for pk in chunk:
                if pk not in present:
                    wanted.vanished.add(pk)
                    self._skip_as_vanished(model, pk, "write")
            pks = [pk for pk in chunk if pk in present]
            self._forget_vanished_counterparts(model, pks)
            self.counterparts.resolve(model, pks)
            self._write(model, [written.pop(pk) for pk in pks])
        wanted.written = {}
        self._bring_all_along()

    def _forget_vanished_counterparts(self, model: type[Model], pks: list[Any]) -> None:
        """A tombstone under another label of the family may have resolved the key already."""
        if len(family(model)) == 1:
            return
        known = self.counterparts.known(model)
        for pk in pks:
            if pk in known and known[pk] is None:
                self.counterparts.forget(model, pk)

    def _write(self, model: type[Model], changes: list[Change], *, contested: bool = True) -> None:
        """Agenda rows to be written, and everything that they need. Their counterparts are
        resolved, and they exist on LOCAL. ``contested``: unless REMOTE has changed them later."""
        lost: dict[Any, RemoteChange] = {}
        if contested:
            times = {change.pk: change.made for change in changes}
            found = self._remote_keys(model, times)
            lost = self.rivals.newer(model, "", {pk: times[pk] for pk in found}, found)
            lost |= self.rivals.deleted(model, {pk: times[pk] for pk in times if pk not in found})
            for pk, remote in lost.items():
                self._skip_as_older(model, pk, "write", times[pk], remote)
        planned = self.plan.writes.setdefault(model, {})
        fresh: list[Change] = []
        for change in changes:
            if change.pk in lost or self.holds.get(model, change.pk) is not None:
                continue
            if change.pk not in planned:
                fresh.append(change)
                planned[change.pk] = change
            elif change.logged and not planned[change.pk].logged:
                planned[change.pk] = change
        if fresh:
            # Not at once: a chain of parents may be longer than Python's stack.
            self._waiting.append((model, fresh))

    def _bring_all_along(self) -> None:
        while self._waiting:
            self._bring_along(*self._waiting.pop())

    def _remote_keys(self, model: type[Model], pks: Iterable[Any]) -> dict[Any, Any]:
        """The keys under which REMOTE's log may know objects, also rows that are gone there."""
        known = self.counterparts.known(model)
        found = {pk: known[pk] for pk in pks if known.get(pk) is not None}
        rest = [pk for pk in pks if pk not in found]
        if rest:
            root = identity(model)
            found.update(self.counterparts.references.to_remote(root, rest))
            found.update(
                {
                    pk: key
                    for pk in rest
                    if pk not in found and (key := self._explicit_key(root, pk)) is not None
                }
            )
        return found

    def _explicit_key(self, root: type[Model], pk: Any) -> Any:
        if has_automatic_key(root):
            return None
        return self.counterparts.translated(root, pk)

    def _bring_along(self, model: type[Model], changes: list[Change]) -> None:
        """Add to the plan what rows need on REMOTE: the targets of their foreign keys."""
        skip = skipped_fields(model)
        fields = [
            field
            for field in foreign_keys(model)
            if field.name not in skip and field.attname not in skip
        ]
        generic = [field for field in generic_foreign_keys(model) if field.name not in skip]
        if not fields and not generic:
            return
        by_pk = {c.pk: c for c in changes if self.holds.get(model, c.pk) is None}
        links = {link: parent for parent, link in parents(model).items()}
        for chunk in batched(by_pk, conf.batch_size):
            names = [field.attname for field in fields]
            for one in generic:
                type_field: Any = model._meta.get_field(one.ct_field)
                names += [type_field.attname, one.fk_field]
            rows = list(self.source.rows(model, chunk, names))
            for index, field in enumerate(fields, start=1):
                if field in links:
                    own = {row[index]: by_pk[row[0]] for row in rows if row[index] is not None}
                    self._write_parents(links[field], own)
                else:
                    self._need(model, field, [(row[0], row[index]) for row in rows])
            for index, _ in enumerate(generic):
                at = 1 + len(fields) + 2 * index
                self._need_generic(model, [(row[0], row[at], row[at + 1]) for row in rows])

    def _write_parents(self, parent: type[Model], children: dict[Any, Change]) -> None:
        """A changed child may have changed its row in the parent's table as well."""
        if not self._may_have(parent, [(parent, pk) for pk in children]):
            return
        self.counterparts.resolve(parent, children)
        self._write(
            parent,
            [
                Change(
                    pk=pk,
                    made=child.made,
                    origin=child.origin,
                    recreated=child.recreated,
                    logged=False,
                )
                for pk, child in children.items()
            ],
        )

    def _need(
        self, model: type[Model], field: ForeignKey[Any, Any], pairs: list[tuple[Any, Any]]
    ) -> None:
        """Rows (key, value of the foreign key) need the field's targets on REMOTE."""
        needed = {value: pk for pk, value in pairs if value is not None}
        other = target(field)
        if not self._may_have(other, [(model, pk) for pk, value in pairs if value is not None]):
            return
        if not points_at_key(field):
            keys = self.source.by_field(other, field.target_field.attname, needed)
            missing = self._bring(other, keys.values()) | {
                value for value in needed if value not in keys
            }
        else:
            missing = self._bring(other, needed)
        if missing and has_constraint(field):
            for pk, value in pairs:
                if value in missing:
                    error = PlanError(
                        f"{model._meta.label} {pk}: {field.name} points at {other._meta.label} "
                        f"{value}, which does not exist on {self.source.side.alias!r}. Mend the "
                        "row there."
                    )
                    self._hold(model, pk, error)

    def _may_have(self, model: type[Model], owners: Iterable[tuple[type[Model], Any]]) -> bool:
        """Whether REMOTE may have rows of the model. If not, what needs them (model, key) is
        held."""
        try:
            self._check(model)
        except PlanError as error:
            for owner, pk in owners:
                self._hold(owner, pk, error)
            return False
        return True

    def _need_generic(self, model: type[Model], links: list[tuple[Any, Any, Any]]) -> None:
        """Rows (key, content type, object id) need what their generic foreign key points at."""
        by_type: dict[Any, list[tuple[Any, str]]] = {}
        for pk, type_id, text in links:
            if type_id is not None and text is not None:
                by_type.setdefault(type_id, []).append((pk, text))
        for type_id, pairs in by_type.items():
            other = self._generic_target(type_id)
            if other is None or not self._may_have(other, [(model, pk) for pk, _ in pairs]):
                continue
            pks = []
            for text in {text for _, text in pairs}:
                try:
                    pks.append(load_object_id(other, str(text)))
                except NaturalKeyError:
                    continue
            self._generic.setdefault(model, set()).add(other)
            self._bring(other, pks)

    def _generic_target(self, type_id: Any) -> type[Model] | None:
        alias = self.source.side.alias
        try:
            content_type = ContentType.objects.db_manager(alias).get_for_id(type_id)
        except ContentType.DoesNotExist:
            return None
        found = content_type.model_class()
        return None if found is None else concrete(found)

    def _bring(self, model: type[Model], pks: Iterable[Any]) -> set[Any]:
        """Make sure that objects will be on REMOTE. Returns those that LOCAL lacks as well."""
        pks = list(pks)
        self.counterparts.resolve(model, pks)
        known = self.counterparts.known(model)
        planned = self.plan.writes.get(model, {})
        lacking = [pk for pk in pks if known[pk] is None and pk not in planned]
        present = self.source.existing(model, lacking)
        if present:
            self._write(
                model,
                [Change(pk=pk, made=self.now, logged=False) for pk in lacking if pk in present],
                contested=False,
            )
        doomed = self.plan.deletions.get(model, {})
        again = [pk for pk in pks if known[pk] in doomed]
        for pk in self.source.existing(model, again):
            # Deleted by the log, and yet there: LOCAL wrote it again without a log row.
            doomed.pop(known[pk], None)
        return {pk for pk in lacking if pk not in present}

    # -- links

    def _plan_links(self, model: type[Model], wanted: _Wanted) -> None:
        skip = skipped_fields(model)
        self._check_links(model, wanted.links)
        fields = {field.name: field for field in automatic_links(model) if field.name not in skip}
        for name, field in fields.items():
            links = wanted.of(name)
            if links:
                self._link(model, field, links, wanted.vanished)

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
        links: dict[Any, LinkChange],
        vanished: set[Any],
    ) -> None:
        other = concrete(field.related_model)
        try:
            self._check(other)
        except PlanError as error:
            for pk in links:
                self.holds.add(model, pk, error, field=field.name)
            return
        planned = self.plan.links.setdefault((model, field.name), {})
        for chunk in batched(list(links), conf.batch_size):
            wanted = {pk: links.pop(pk) for pk in chunk}
            present = self.source.existing(model, chunk)
            for pk in chunk:
                if pk not in present and pk not in vanished:
                    self._skip_as_vanished(model, pk, "link", field.name)
            pks = [pk for pk in chunk if pk in present]
            self.counterparts.resolve(model, pks)
            pks = [pk for pk in pks if self._may_link(model, field.name, wanted[pk])]
            found = self._remote_keys(model, pks)
            times = {pk: wanted[pk].made for pk in found if wanted[pk].logged}
            lost = self.rivals.newer(model, field.name, times, found)
            for pk, remote in lost.items():
                self._skip_as_older(model, pk, "link", wanted[pk].made, remote, field.name)
            pks = [pk for pk in pks if pk not in lost]
            planned.update((pk, wanted[pk]) for pk in pks)
            self._bring(model, pks)
            self._bring(other, self.source.linked(field, pks))
            self._bring_all_along()

    def _may_link(self, model: type[Model], name: str, change: LinkChange) -> bool:
        """Whether the links of an object can be replayed: neither they are held, nor an object
        that REMOTE lacks or that is made anew."""
        pk = change.pk
        if self.holds.get(model, pk, name) is not None:
            return False
        there = change.logged and self.counterparts.get(model, pk) is not None
        if there or self.holds.get(model, pk) is None:
            return True
        error = self.holds.lacks(model, pk, model, pk)
        self.holds.add(model, pk, error, field=name, reason=NEEDS_HELD)
        return False

    # -- what is left out

    def _skip_as_older(
        self,
        model: type[Model],
        pk: Any,
        action: str,
        made: datetime,
        remote: RemoteChange,
        field: str = "",
    ) -> None:
        self.plan.skipped.append(
            Skipped(
                label=model._meta.label_lower,
                pk=pk,
                action=action,
                reason=REMOTE_NEWER,
                detail=f"changed later on {self.remote.side.alias!r} "
                f"({remote.made:%Y-%m-%d %H:%M:%S}) than here ({made:%Y-%m-%d %H:%M:%S})",
                field=field,
            )
        )

    def _skip_as_vanished(self, model: type[Model], pk: Any, action: str, field: str = "") -> None:
        self.plan.skipped.append(
            Skipped(
                label=model._meta.label_lower,
                pk=pk,
                action=action,
                reason=VANISHED,
                detail="the row is gone, and no deletion was logged",
                field=field,
            )
        )

    # -- order

    def _arrange(self) -> None:
        """Put models into the order of replay, and leave out those with nothing to do."""
        plan = self.plan
        order = in_order(plan.writes, self._generic)
        plan.writes = {m: plan.writes[m] for m in order if plan.writes[m]}
        order = in_order([m for m in plan.deletions if plan.deletions[m]])
        plan.deletions = {model: plan.deletions[model] for model in reversed(order)}
        plan.links = {key: links for key, links in plan.links.items() if links}
