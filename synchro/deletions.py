"""Deletes rows on REMOTE, and never more than LOCAL deleted.

What Django's ``on_delete`` does within one database is done here between two: links and
``SET_NULL`` are followed, but a row on REMOTE that LOCAL never knew stops the deletion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.contenttypes.fields import GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, models, transaction
from django.db.models import ForeignKey, Model, QuerySet

from synchro import log
from synchro.chunks import batched
from synchro.conf import conf
from synchro.counterparts import Counterparts
from synchro.exceptions import ReplayError
from synchro.graph import (
    concrete,
    family,
    has_automatic_key,
    has_constraint,
    identity,
    key_attribute,
    target,
)
from synchro.halving import settle
from synchro.holds import ADVICE, Holds
from synchro.journal import Journal
from synchro.keys import load_key, object_id
from synchro.plan import Agenda, Deletion, Skipped
from synchro.receivers import needs_delete
from synchro.remotes.base import Source
from synchro.remotes.database import DatabaseEnd, key_chunks
from synchro.work import Progress

_CASCADES = (models.CASCADE, getattr(models, "DB_CASCADE", models.CASCADE))
_SETS_NULL = (models.SET_NULL, getattr(models, "DB_SET_NULL", models.SET_NULL))
_SETS_DEFAULT = (models.SET_DEFAULT, getattr(models, "DB_SET_DEFAULT", models.SET_DEFAULT))


@dataclass(frozen=True)
class Relation:
    """A way in which rows of another model (or the same) depend on rows of a model."""

    model: type[Model]
    """The model of the depending rows."""
    field: ForeignKey[Any, Any] | GenericRelation

    @property
    def name(self) -> str:
        return f"{self.model._meta.label}.{self.field.name}"

    @property
    def on_delete(self) -> Any:
        if isinstance(self.field, GenericRelation):
            return models.CASCADE
        return self.field.remote_field.on_delete

    @property
    def is_parent_link(self) -> bool:
        """Whether the depending rows are the rest of the same objects, in a child's table."""
        return bool(getattr(self.field.remote_field, "parent_link", False))

    def rows(self, remote: DatabaseEnd, pks: Sequence[Any]) -> QuerySet[Any]:
        """The rows on REMOTE that depend on rows of the model."""
        if isinstance(self.field, GenericRelation):
            owner = concrete(self.field.model)
            manager = ContentType.objects.db_manager(remote.side.alias)
            content_type = manager.get_for_model(owner)
            return remote.objects(self.model).filter(
                **{
                    self.field.content_type_field_name: content_type.pk,
                    f"{self.field.object_id_field_name}__in": [object_id(owner, pk) for pk in pks],
                }
            )
        name = self.field.target_field.attname
        values: list[Any] = list(pks)
        if not self.field.target_field.primary_key:
            found = remote.rows(target(self.field), pks, [name])
            values = [value for _, value in found if value is not None]
        return remote.objects(self.model).filter(**{f"{self.field.attname}__in": values})


def relations(model: type[Model]) -> Iterator[Relation]:
    """What depends on rows of the model's own table, links of many-to-many fields left out."""
    found: Any
    for found in model._meta.get_fields(include_hidden=True):
        if isinstance(found, GenericRelation):
            if concrete(found.model) is model:
                yield Relation(concrete(found.related_model), found)
        elif (
            found.auto_created
            and not found.concrete
            and (found.one_to_one or found.one_to_many)
            and concrete(found.model) is model
        ):
            field: Any = found.field
            if field.model._meta.auto_created:
                continue
            if isinstance(field, ForeignKey) and concrete(field.model) is field.model:
                yield Relation(field.model, field)


def detach(
    remote: DatabaseEnd,
    model: type[Model],
    pks: Iterable[Any],
    counterparts: Counterparts | None = None,
) -> None:
    """Undo the links to rows on REMOTE: many-to-many ones, and those that ``on_delete`` sets to
    something else."""
    pks = list(pks)
    if not pks:
        return
    for through, name in _link_columns(model):
        for chunk in key_chunks(pks):
            rows = remote.objects(through).filter(**{f"{name}__in": chunk})
            rows._raw_delete(remote.side.alias)
    for relation in relations(model):
        field = relation.field
        if isinstance(field, GenericRelation):
            continue
        on_delete = relation.on_delete
        if on_delete in _SETS_NULL:
            value = None
        elif on_delete in _SETS_DEFAULT:
            value = _there(field, field.get_default(), counterparts)
        elif hasattr(on_delete, "deconstruct") and not isinstance(on_delete, type):
            (given,) = on_delete.deconstruct()[1]
            value = _there(field, given() if callable(given) else given, counterparts)
        else:
            continue
        for chunk in key_chunks(pks):
            relation.rows(remote, chunk).update(**{field.attname: value})


def _there(field: ForeignKey[Any, Any], value: Any, counterparts: Counterparts | None) -> Any:
    """The value of a foreign key on LOCAL, as it is on REMOTE."""
    if isinstance(value, Model):
        value = getattr(value, field.target_field.attname)
    if value is None or counterparts is None or not field.target_field.primary_key:
        return value
    counterparts.resolve(target(field), [value])
    found = counterparts.get(target(field), value)
    return value if found is None else found


def _link_columns(model: type[Model]) -> Iterator[tuple[type[Model], str]]:
    """The automatic ``through`` models that hold links of the model, and in which column."""
    found: Any
    for found in model._meta.get_fields(include_hidden=True):
        if found.auto_created and not found.concrete and found.one_to_many:
            field: Any = found.field
            if field.model._meta.auto_created and concrete(found.model) is model:
                yield field.model, field.attname


class Deleter:
    """Deletes the rows of a plan."""

    def __init__(
        self,
        source: Source,
        remote: DatabaseEnd,
        counterparts: Counterparts,
        journal: Journal,
        plan: Agenda,
        holds: Holds,
        *,
        careful: bool = False,
    ) -> None:
        self.source = source
        self.remote = remote
        self.counterparts = counterparts
        self.journal = journal
        self.plan = plan
        self.holds = holds
        self.careful = careful
        self._gone: list[tuple[type[Model], list[Deletion]]] = []
        """What the attempt in hand has deleted of the plan."""
        self._along: list[tuple[type[Model], list[Deletion]]] = []
        """What went along with it."""
        self._kept: list[tuple[type[Model], Any]] = []
        """What the attempt in hand has left in place."""
        self.deleted: list[tuple[type[Model], list[Deletion]]] = []
        """What is gone, rows that the plan did not name included."""

    def delete(self, model: type[Model], progress: Progress) -> None:
        """Delete the plan's rows of a model."""
        deletions = self.plan.deletions[model]
        for key in [
            key
            for key, deletion in deletions.items()
            if deletion.pk is not None and self.holds.get(model, deletion.pk) is not None
        ]:
            # Another part of the object is held.
            del deletions[key]

        def attempt(keys: Sequence[Any]) -> Exception | None:
            return self._attempt(model, {key: deletions[key] for key in keys})

        def refuse(key: Any, error: Exception) -> None:
            self._hold(model, deletions.pop(key), error)

        done, total = 0, len(deletions)
        for chunk in batched(list(deletions), conf.batch_size):
            settle(chunk, attempt(chunk), attempt, refuse)
            done += len(chunk)
            progress(f"{model._meta.label_lower} (deleted)", done, total)

    def _attempt(self, model: type[Model], deletions: dict[Any, Deletion]) -> Exception | None:
        """Delete all of the rows, or none. Returns the error that says why not."""
        self.journal.ahead.settle()
        self._gone, self._along, self._kept = [], [], []
        skipped = len(self.plan.skipped)
        try:
            with transaction.atomic(using=self.remote.side.alias):
                self._delete(model, deletions, self._gone)
                if self.careful:
                    self.remote.check_constraints_now()
        except (ReplayError, DatabaseError) as error:
            if self.remote.cannot_go_on(error):
                raise
            for root, key in self._kept:
                self.plan.kept[root].discard(key)
            del self.plan.skipped[skipped:]
            return error
        for root, key in self._kept:
            if root is identity(model):
                # Nor does its parent go, then.
                self.plan.deletions[model].pop(key, None)
        for other, gone in (*self._along, *self._gone):
            self.deleted.append((other, gone))
            self._record(other, gone)
        return None

    def _record(self, model: type[Model], gone: list[Deletion]) -> None:
        for deletion in gone:
            owner = self.counterparts.owner(model, deletion.remote_pk)
            if deletion.pk is not None and owner in (None, deletion.pk):
                self.counterparts.set(model, deletion.pk, None)
        self.journal.forget(model, gone)

    def _hold(self, model: type[Model], deletion: Deletion, error: Exception) -> None:
        """Hold a deletion, or raise the error where that was not asked for."""
        refused = (
            error
            if isinstance(error, ReplayError)
            else self._refused(model, deletion, f"{type(error).__name__}: {error}")
        )
        if deletion.pk is None:
            # It goes along with another object, which is gone already.
            raise refused from error
        # The rest of the object may be in other tables.
        half_done = len(family(model)) > 1
        try:
            self.holds.add(
                model,
                deletion.pk,
                refused,
                remote_pk=deletion.remote_pk,
                half_done=half_done,
            )
        except ReplayError:
            raise refused from error.__cause__ or error

    def _delete(
        self,
        model: type[Model],
        deletions: dict[Any, Deletion],
        gone: list[tuple[type[Model], list[Deletion]]],
    ) -> None:
        """Delete rows and what has to go first. What went is added to ``gone``."""
        pending = False
        for relation in relations(model):
            pending |= self._clear_the_way(model, relation, deletions)
        if not deletions:
            return
        if not needs_delete(model):
            detach(self.remote, model, deletions, self.counterparts)
        connection = self.remote.connection
        # MariaDB checks foreign keys row by row, also between rows that all go.
        off = pending and connection.vendor == "mysql"
        if off:
            connection.disable_constraint_checking()
        try:
            self._delete_rows(model, deletions)
        finally:
            if off:
                connection.enable_constraint_checking()
        gone.append((model, list(deletions.values())))

    def _delete_rows(self, model: type[Model], deletions: dict[Any, Deletion]) -> None:
        alias = self.remote.side.alias
        if needs_delete(model):
            for chunk in key_chunks(deletions):
                for instance in self.remote.among(model, "pk", chunk):
                    deletion = deletions[instance.pk]
                    # A parent's row in another table has its own place in the plan, if it goes.
                    options = {"keep_parents": True} if model._meta.parents else {}
                    try:
                        with transaction.atomic(using=alias):
                            instance.delete(using=alias, **options)
                    except Exception as error:
                        if self.remote.cannot_go_on(error):
                            raise
                        # Whatever a receiver or delete() of the project raises, by name.
                        cause = f"{type(error).__name__}: {error}"
                        raise self._refused(model, deletion, cause) from error
            return
        for chunk in key_chunks(deletions):
            self.remote.among(model, "pk", chunk)._raw_delete(alias)

    def _clear_the_way(
        self, model: type[Model], relation: Relation, deletions: dict[Any, Deletion]
    ) -> bool:
        """Deal with rows on REMOTE that depend on rows to be deleted. Takes out of ``deletions``
        what has to stay. Returns whether rows still depend on them that will go later."""
        on_delete = relation.on_delete
        follows = on_delete in _CASCADES
        blocks = on_delete in (models.PROTECT, models.RESTRICT) or (
            on_delete is models.DO_NOTHING
            and isinstance(relation.field, ForeignKey)
            and has_constraint(relation.field)
        )
        if not follows and not blocks:
            return False
        going = self.plan.deletions.get(relation.model, {})
        name = _owner_column(relation)
        later = False
        for chunk in key_chunks(deletions):
            found = relation.rows(self.remote, chunk)
            rows = {
                pk: owner
                for pk, owner in found.values_list(key_attribute(relation.model), name)
                if owner is not None
            }
            later |= any(pk in going for pk in rows)
            rest = {pk: owner for pk, owner in rows.items() if pk not in going}
            if rest:
                self._deal_with(model, relation, deletions, rest, follows=follows)
        return later

    def _deal_with(
        self,
        model: type[Model],
        relation: Relation,
        deletions: dict[Any, Deletion],
        rest: dict[Any, Any],
        *,
        follows: bool,
    ) -> None:
        kept = self.plan.kept.get(identity(relation.model), set())
        owners = self._owners(model, relation, deletions)
        along: dict[Any, Deletion] = {}
        known = self._gone_on_local(relation, list(rest)) if follows else set()
        for pk, value in rest.items():
            deletion = owners.get(str(value))
            if deletion is None or deletion.remote_pk not in deletions:
                continue
            if pk in kept:
                self._keep(model, deletions, deletion, relation, pk)
            elif follows and (pk in known or conf.cascade):
                along[pk] = Deletion(
                    pk=None, remote_pk=pk, made=deletion.made, origin=deletion.origin
                )
            else:
                raise self._refused(
                    model,
                    deletion,
                    f"{relation.name} of {relation.model._meta.label} {pk} there points at it, "
                    "and that row did not come from here. Delete or re-link it on "
                    f"{self.remote.side.alias!r}"
                    + (", or set SYNCHRO_CASCADE = True" if follows else ""),
                )
        if along:
            self._delete(relation.model, along, self._along)

    def _owners(
        self, model: type[Model], relation: Relation, deletions: dict[Any, Deletion]
    ) -> dict[Any, Deletion]:
        """The deletions by the value (as text) with which depending rows name them."""
        if not isinstance(relation.field, GenericRelation):
            named = relation.field.target_field
            if not named.primary_key:
                rows = self.remote.rows(model, deletions, [named.attname])
                return {str(value): deletions[pk] for pk, value in rows}
        return {object_id(model, pk): deletion for pk, deletion in deletions.items()}

    def _keep(
        self,
        model: type[Model],
        deletions: dict[Any, Deletion],
        deletion: Deletion,
        relation: Relation,
        pk: Any,
    ) -> None:
        """A row stays because one that depends on it was changed later on REMOTE."""
        del deletions[deletion.remote_pk]
        self.plan.kept.setdefault(identity(model), set()).add(deletion.remote_pk)
        self._kept.append((identity(model), deletion.remote_pk))
        self.plan.skipped.append(
            Skipped(
                label=model._meta.label_lower,
                pk=deletion.pk,
                action="delete",
                reason="remote-newer",
                detail=f"{relation.model._meta.label} {pk}, which needs it, was changed later on "
                f"{self.remote.side.alias!r}",
            )
        )

    def _gone_on_local(self, relation: Relation, remote_pks: list[Any]) -> set[Any]:
        """Which depending rows on REMOTE stand for rows that LOCAL had and has no more."""
        model, root = relation.model, identity(relation.model)
        own: dict[Any, Any] = {}
        if not relation.is_parent_link:
            own = self.counterparts.references.to_local(root, remote_pks)
        if self.remote.side.has_tables:
            # Equal explicit keys have no references, nor have the parts of one object.
            texts = {object_id(model, pk): pk for pk in remote_pks if pk not in own}
            sent = log.sent_by(
                self.remote.side.alias, self.source.side.uid, model._meta.label_lower, texts
            )
            found = {texts[text] for text in sent}
            own.update(
                self.counterparts.references.to_local(root, found)
                if has_automatic_key(root)
                else {pk: pk for pk in found}
            )
        alive = self.source.existing(model, own.values())
        return {remote_pk for remote_pk, pk in own.items() if pk not in alive}

    def _refused(self, model: type[Model], deletion: Deletion, cause: str) -> ReplayError:
        name = f"{model._meta.label} {deletion.pk}"
        if deletion.key:
            name += f" (natural key {load_key(deletion.key)!r})"
        return ReplayError(
            f"{self.remote.side.alias!r} cannot delete {name}, "
            f"there {deletion.remote_pk}: {' '.join(cause.split())}.",
            ADVICE,
        )


def _owner_column(relation: Relation) -> str:
    if isinstance(relation.field, GenericRelation):
        return relation.field.object_id_field_name
    return relation.field.attname
