"""Rows to be written on REMOTE, and the rows that come along: what they need there.

Rows that the log does not name join the plan where another row needs them: targets of foreign
keys that REMOTE lacks, and the rows of parents in other tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db.models import ForeignKey, Model

from synchro.changes import Changes
from synchro.chunks import batched, transposed
from synchro.conf import conf
from synchro.conflicts import RemoteChange
from synchro.counterparts import Counterparts
from synchro.exceptions import NaturalKeyError, PlanError, SynchroError
from synchro.graph import (
    concrete,
    family,
    foreign_keys,
    generic_foreign_keys,
    has_automatic_key,
    has_constraint,
    identity,
    parents,
    points_at_key,
    skipped_fields,
    target,
)
from synchro.holds import Holds
from synchro.keys import load_object_id
from synchro.models import REMOTE_NEWER, VANISHED
from synchro.plan import Agenda, Skipped
from synchro.remotes.base import Source
from synchro.remotes.database import DatabaseEnd
from synchro.rivals import Rivals


class Companions:
    """The rows to be written of an agenda, each with what it needs."""

    def __init__(
        self,
        plan: Agenda,
        source: Source,
        remote: DatabaseEnd,
        counterparts: Counterparts,
        rivals: Rivals,
        holds: Holds,
        now: datetime,
    ) -> None:
        self.plan = plan
        self.source = source
        self.remote = remote
        self.counterparts = counterparts
        self.rivals = rivals
        self.holds = holds
        self.now = now
        self.generic: dict[type[Model], set[type[Model]]] = {}
        """Where generic foreign keys lead in this run."""
        self._checked: set[type[Model]] = set()
        self._waiting: list[tuple[type[Model], Changes]] = []

    def add(self, model: type[Model], changes: Changes, *, contested: bool = True) -> None:
        """Plan rows to be written, which are handed over, and (by ``settle``) everything that they
        need. Their counterparts are resolved, and they exist on LOCAL. ``contested``: unless
        REMOTE has changed them later."""
        lost: dict[Any, RemoteChange] = {}
        if contested:
            times = changes.made
            found = self.remote_keys(model, times)
            lost = self.rivals.newer(model, "", times, found)
            if len(found) < len(times):
                unknown = {pk: times[pk] for pk in times if pk not in found}
                lost |= self.rivals.deleted(model, unknown)
            for pk, remote in lost.items():
                self.skip_as_older(model, pk, "write", times[pk], remote)
                changes.discard(pk)
        if self.holds:
            for pk in [pk for pk in changes if self.holds.get(model, pk) is not None]:
                changes.discard(pk)
        planned = self.plan.writes.setdefault(model, Changes())
        again = changes.take(planned.inside(changes))
        # One object may have two texts for its key in the log.
        later = [
            pk
            for pk in again
            if pk not in again.unlogged
            and (pk in planned.unlogged or planned.made[pk] < again.made[pk])
        ]
        again.recreated |= (planned.recreated - planned.unlogged) & {*later}
        planned.update(again.take(later))
        if changes:
            planned.update(changes)
            # Not at once: a chain of parents may be longer than Python's stack.
            self._waiting.append((model, changes))

    def settle(self) -> None:
        """Plan what the rows that were added need, and what that needs."""
        while self._waiting:
            self._bring_along(*self._waiting.pop())

    def need(self, model: type[Model], pks: Iterable[Any]) -> set[Any]:
        """Make sure that objects will be on REMOTE. Returns those that LOCAL lacks as well."""
        pks = list(pks)
        self.counterparts.resolve(model, pks)
        known = self.counterparts.of(model, pks)
        planned = self.plan.writes.get(model, ())
        lacking = [pk for pk in pks if known[pk] is None and pk not in planned]
        present = self.source.existing(model, lacking)
        if present:
            needed = Changes()
            for pk in lacking:
                if pk in present:
                    needed.put(pk, self.now, logged=False)
            self.add(model, needed, contested=False)
        doomed = self.plan.deletions.get(model, {})
        again = [pk for pk in pks if known[pk] in doomed]
        for pk in self.source.existing(model, again):
            # Deleted by the log, and yet there: LOCAL wrote it again without a log row.
            doomed.pop(known[pk], None)
        return {pk for pk in lacking if pk not in present}

    def require(self, model: type[Model]) -> None:
        """Raise PlanError if the model may not be on REMOTE."""
        if model not in self._checked:
            self.remote.require(model)
            self._checked.add(model)

    def hold(self, model: type[Model], pk: Any, error: SynchroError, **how: Any) -> None:
        """Hold an object, and take its parts in all tables out of the plan."""
        self.holds.add(model, pk, error, **how)
        for other in self.plan.writes.keys() & {*family(model)}:
            self.plan.writes[other].discard(pk)

    def remote_keys(self, model: type[Model], pks: Iterable[Any]) -> dict[Any, Any]:
        """The keys under which REMOTE's log may know objects, also rows that are gone there."""
        known = self.counterparts.of(model, pks)
        found = {pk: key for pk, key in known.items() if key is not None}
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

    def _bring_along(self, model: type[Model], changes: Changes) -> None:
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
        pks = [pk for pk in changes if self.holds.get(model, pk) is None]
        links = {link: parent for parent, link in parents(model).items()}
        for chunk in batched(pks, conf.batch_size):
            names = [field.attname for field in fields]
            for one in generic:
                type_field: Any = model._meta.get_field(one.ct_field)
                names += [type_field.attname, one.fk_field]
            rows = list(self.source.rows(model, chunk, names))
            if not rows:
                continue
            found, *values = transposed(rows)
            for field, targets in zip(fields, values, strict=False):
                if field in links:
                    own = {
                        key: pk for pk, key in zip(found, targets, strict=True) if key is not None
                    }
                    self._write_parents(links[field], own, changes)
                else:
                    self._need_targets(model, field, found, targets)
            for index, _ in enumerate(generic):
                at = len(fields) + 2 * index
                self._need_generic(model, zip(found, *values[at : at + 2], strict=True))

    def _write_parents(
        self, parent: type[Model], children: dict[Any, Any], changes: Changes
    ) -> None:
        """A changed child may have changed its row in the parent's table as well. ``children``:
        the parents' keys -> their own."""
        if not self._may_have(parent, [(parent, pk) for pk in children]):
            return
        self.counterparts.resolve(parent, children)
        rows = Changes()
        for pk, child in children.items():
            rows.put(
                pk,
                changes.made[child],
                changes.origin.get(child, ""),
                recreated=child in changes.recreated,
                logged=False,
            )
        self.add(parent, rows)

    def _need_targets(
        self, model: type[Model], field: ForeignKey[Any, Any], pks: list[Any], values: list[Any]
    ) -> None:
        """Rows (their keys, and their values of the foreign key) need the field's targets on
        REMOTE."""
        other = target(field)
        needed = dict.fromkeys(values)
        needed.pop(None, None)
        pairs = zip(pks, values, strict=True)
        if not self._may_have(other, ((model, pk) for pk, value in pairs if value is not None)):
            return
        if not points_at_key(field):
            keys = self.source.by_field(other, field.target_field.attname, needed)
            missing = self.need(other, keys.values()) | {
                value for value in needed if value not in keys
            }
        else:
            missing = self.need(other, needed)
        if missing and has_constraint(field):
            for pk, value in zip(pks, values, strict=True):
                if value in missing:
                    error = PlanError(
                        f"{model._meta.label} {pk}: {field.name} points at {other._meta.label} "
                        f"{value}, which does not exist on {self.source.side.alias!r}. Mend the "
                        "row there."
                    )
                    self.hold(model, pk, error)

    def _may_have(self, model: type[Model], owners: Iterable[tuple[type[Model], Any]]) -> bool:
        """Whether REMOTE may have rows of the model. If not, what needs them (model, key) is
        held."""
        try:
            self.require(model)
        except PlanError as error:
            for owner, pk in owners:
                self.hold(owner, pk, error)
            return False
        return True

    def _need_generic(self, model: type[Model], links: Iterable[tuple[Any, Any, Any]]) -> None:
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
            self.generic.setdefault(model, set()).add(other)
            self.need(other, pks)

    def _generic_target(self, type_id: Any) -> type[Model] | None:
        alias = self.source.side.alias
        try:
            content_type = ContentType.objects.db_manager(alias).get_for_id(type_id)
        except ContentType.DoesNotExist:
            return None
        found = content_type.model_class()
        return None if found is None else concrete(found)

    def skip_as_older(
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

    def skip_as_vanished(self, model: type[Model], pk: Any, action: str, field: str = "") -> None:
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
