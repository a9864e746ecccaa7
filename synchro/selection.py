"""Which of the changes a run applies: flags, models, or a plan that somebody has approved.

What is left out is held, so that it is not forgotten: a later run without these limits applies it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from django.db.models import Model

from synchro.collapsed import Collapse
from synchro.conf import conf
from synchro.counterparts import Counterparts
from synchro.differ import Differ
from synchro.entries import DELETE, NO_CHANGE, Entry
from synchro.exceptions import PlanError, SynchroError
from synchro.flags import ModelFlags, SyncFlags
from synchro.graph import automatic_links, columns, concrete, family, identity
from synchro.holds import Holds
from synchro.keys import load_object_id
from synchro.models import EXCLUDED, STALE
from synchro.names import model_named
from synchro.nodes import Side
from synchro.plan import Agenda
from synchro.preview import Basis, Plan


class Selection:
    """The limits of one run."""

    def __init__(
        self,
        *,
        flags: SyncFlags = SyncFlags.NONE,
        models: Iterable[str | type[Model]] | None = None,
        plan: Plan | None = None,
    ) -> None:
        """Raises PlanError for a model that is not watched, and for what are no flags."""
        if not isinstance(flags, SyncFlags):
            raise PlanError(
                f"flags is {flags!r}: use members of synchro.SyncFlags, joined by |. There are "
                f"{', '.join(SyncFlags.__members__)}."
            )
        if isinstance(models, str):
            raise PlanError(f"models is {models!r}: put it into a list, [{models!r}].")
        self.flags = flags
        self.models = None if models is None else {watched(model) for model in models}
        self.plan = plan
        self._approved: dict[tuple[str, str], bytes] = {}
        self._writing: set[tuple[str, str]] = set()
        self._planned = None if plan is None else _labels(plan)
        for entry in plan or ():
            name = entry.identity
            self._approved[name] = entry.digest
            if entry.has_diffs:
                self._writing.add(name)

    def __bool__(self) -> bool:
        """Whether anything may be left out."""
        return (
            self.models is not None
            or self.plan is not None
            or bool(self.flags & SyncFlags.SKIP_UNMATCHED_BOTH)
            or bool(conf.flags)
        )

    def audits(self, label: str) -> bool:
        """Whether a full comparison looks at a model: of a plan, those that are in it."""
        return self.takes(label) and (self._planned is None or label in self._planned)

    def exclude_models(self, changes: Collapse, holds: Holds) -> None:
        """Hold the changes of models that are not asked for."""
        for label, objects in changes.items():
            model = model_named(label)
            if model is None or self._takes(model):
                continue
            for text, change in objects.items():
                try:
                    pk = load_object_id(model, text)
                except SynchroError:
                    continue
                if change.written or change.deleted:
                    self._exclude(holds, model, pk)
                for link in change.links:
                    self._exclude(holds, model, pk, link.field)

    def takes(self, label: str) -> bool:
        """Whether changes of a model are applied at all."""
        model = model_named(label)
        return model is None or self._takes(model)

    def _takes(self, model: type[Model]) -> bool:
        if ModelFlags.IGNORE in self._flags_of(model):
            return False
        return self.models is None or concrete(model) in self.models

    @staticmethod
    def _flags_of(model: type[Model]) -> ModelFlags:
        return conf.flags.get(concrete(model)._meta.label_lower, ModelFlags.NONE)

    def _skips(self, model: type[Model], flag: SyncFlags) -> bool:
        own = self._flags_of(model)
        return flag in self.flags or ModelFlags[flag.name or ""] in own

    def check(self, basis: Basis) -> None:
        """Raise PlanError unless the plan was made from what ``basis`` says of today."""
        if self.plan is None:
            return
        made = self.plan.basis
        again = "Make a new one: manage.py synchronize --dry-run --save-plan FILE"
        if made.local not in ("", basis.local) or made.remote not in ("", basis.remote):
            raise PlanError(
                f"The plan was made for another pair of databases than {basis.remote_alias!r} and "
                f"this one (or one of them was replaced since). {again}"
            )
        if made.schema != basis.schema:
            raise PlanError(
                f"The tables of the models have changed since the plan was made. {again}"
            )

    @staticmethod
    def _exclude(holds: Holds, model: type[Model], pk: Any, field: str = "") -> None:
        error = PlanError(
            f"{model._meta.label} {pk} was left out of the run, as its flags, models or plan said."
        )
        holds.add(model, pk, error, field=field, reason=EXCLUDED)

    def take_out(
        self, agenda: Agenda, counterparts: Counterparts, holds: Holds, differ: Differ
    ) -> bool:
        """Hold what the agenda has and this run is not to apply. Returns whether anything was
        held: the agenda has to be made again then."""
        before = len(holds)
        self._take_out_by_flags(agenda, counterparts, holds)
        if len(holds) == before and self.plan is not None:
            self._take_out_by_plan(agenda, holds, differ)
        return len(holds) > before

    def _take_out_by_flags(self, agenda: Agenda, counterparts: Counterparts, holds: Holds) -> None:
        for model, changes in agenda.writes.items():
            creates = self._skips(model, SyncFlags.SKIP_UNMATCHED_SRC)
            ignored = ModelFlags.IGNORE in self._flags_of(model)
            known = counterparts.known(model)
            for pk in list(changes):
                if ignored or (creates and known.get(pk) is None):
                    self._exclude(holds, model, pk)
        for model, deletions in agenda.deletions.items():
            if not self._skips(model, SyncFlags.SKIP_UNMATCHED_DST):
                continue
            for key, deletion in list(deletions.items()):
                if deletion.pk is None:
                    del deletions[key]
                else:
                    self._exclude(holds, model, deletion.pk)

    def _take_out_by_plan(self, agenda: Agenda, holds: Holds, differ: Differ) -> None:
        for entry in differ.entries():
            if entry.action == NO_CHANGE:
                continue
            name = entry.identity
            approved = self._approved.get(name)
            if approved == entry.digest or (not entry.has_diffs and name not in self._writing):
                continue
            model = model_named(entry.model)
            assert model is not None
            if entry.key is None:
                _drop(agenda, model, entry)
                continue
            pk = load_object_id(model, entry.key)
            if approved is None:
                self._hold_all(agenda, holds, model, pk, None)
            elif entry.reason not in (STALE, EXCLUDED):
                error = PlanError(
                    f"{model._meta.label} {pk} has changed since the plan was made. Look at a new "
                    "plan."
                )
                self._hold_all(agenda, holds, model, pk, error)

    def _hold_all(
        self,
        agenda: Agenda,
        holds: Holds,
        model: type[Model],
        pk: Any,
        error: SynchroError | None,
    ) -> None:
        """Hold an object's fields and links."""
        root = identity(model)
        fields = [""] + [
            name
            for (owner, name), links in agenda.links.items()
            if identity(owner) is root and pk in links
        ]
        for field in fields:
            if holds.get(model, pk, field) is None:
                if error is None:
                    self._exclude(holds, model, pk, field)
                else:
                    holds.add(model, pk, error, field=field, reason=STALE)


def _drop(agenda: Agenda, model: type[Model], entry: Entry) -> None:
    """Take the deletion of a row that only REMOTE knows out of the agenda, in all its tables."""
    assert entry.action == DELETE and entry.remote_key is not None
    key = load_object_id(model, entry.remote_key)
    for one in family(model):
        agenda.deletions.get(one, {}).pop(key, None)


def _labels(plan: Plan) -> set[str]:
    """The models of a plan, and their parents in other tables."""
    models = [model for label in plan.models() if (model := model_named(label)) is not None]
    return {
        concrete(one)._meta.label_lower
        for model in models
        for one in (model, *model._meta.all_parents)
    }


def watched(model: str | type[Model]) -> type[Model]:
    """The model of a label (or the model itself). Raises PlanError unless it is in
    SYNCHRO_MODELS."""
    found = model_named(model) if isinstance(model, str) else concrete(model)
    if found is None or found not in {concrete(one) for one in conf.models}:
        label = model if isinstance(model, str) else model._meta.label
        raise PlanError(f"{label!r} is not one of the models in SYNCHRO_MODELS.")
    return found


def basis_of(local: Side, remote: Side) -> Basis:
    """What a plan made today would be made from."""
    return Basis(
        local=local.uid, remote=remote.uid, remote_alias=remote.alias, schema=schema_hash()
    )


def schema_hash() -> str:
    """32 digits that change with the columns of the models in SYNCHRO_MODELS."""
    text = [
        [
            model._meta.label_lower,
            model._meta.db_table,
            [[field.name, field.column, field.get_internal_type()] for field in columns(model)],
            [field.name for field in automatic_links(model)],
        ]
        for model in sorted(conf.models, key=lambda model: model._meta.label_lower)
    ]
    return hashlib.sha256(json.dumps(text).encode()).hexdigest()[:32]
