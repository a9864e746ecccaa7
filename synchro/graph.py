"""What models are made of, and the order in which they are replayed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, cast

from django.apps import apps
from django.contrib.contenttypes.fields import GenericForeignKey
from django.db.models import (
    AutoField,
    CompositePrimaryKey,
    Field,
    ForeignKey,
    ManyToManyField,
    Model,
)


def concrete(model: type[Model]) -> type[Model]:
    """The model whose table a proxy uses."""
    return model._meta.concrete_model or model


@cache
def identity(model: type[Model]) -> type[Model]:
    """The model that gives an object its primary key: of a child in another table, its root."""
    pk = model._meta.pk
    while pk.remote_field is not None and getattr(pk.remote_field, "parent_link", False):
        model = concrete(cast(Any, pk).related_model)
        pk = model._meta.pk
    return model


@cache
def depth(model: type[Model]) -> int:
    """How many tables lie between a model and its root."""
    return len(model._meta.all_parents)


@cache
def family(model: type[Model]) -> tuple[type[Model], ...]:
    """All models whose objects share their primary keys with this one's, itself included."""
    root = identity(model)
    return tuple(
        other
        for other in apps.get_models(include_auto_created=True)
        if not other._meta.proxy and identity(other) is root
    )


def key_attribute(model: type[Model]) -> str:
    """The name under which a query gives the primary key out of the model's own table."""
    return "pk" if isinstance(model._meta.pk, CompositePrimaryKey) else model._meta.pk.attname


@cache
def descendants(model: type[Model]) -> tuple[type[Model], ...]:
    """The model and its children in other tables: saving one of them writes the model's row."""
    return tuple(
        other for other in family(model) if other is model or model in other._meta.all_parents
    )


def has_automatic_key(model: type[Model]) -> bool:
    """Whether the database makes up the primary key, so that equal keys mean nothing."""
    return isinstance(model._meta.pk, AutoField)


def skipped_fields(model: type[Model]) -> frozenset[str]:
    """The names of the fields that are not synchronized (``SYNCHRO_SKIP``)."""
    return frozenset(getattr(model, "SYNCHRO_SKIP", ()))


@cache
def columns(model: type[Model]) -> tuple[Field[Any, Any], ...]:
    """The fields that are written in the model's own table. (Those of a parent in another table
    are the parent's; generated ones are the database's.)"""
    return tuple(
        field
        for field in model._meta.local_concrete_fields
        if not getattr(field, "generated", False)
    )


@cache
def foreign_keys(model: type[Model]) -> tuple[ForeignKey[Any, Any], ...]:
    """The foreign keys among the model's own columns."""
    return tuple(
        cast("ForeignKey[Any, Any]", field)
        for field in columns(model)
        if field.remote_field is not None
    )


@cache
def generic_foreign_keys(model: type[Model]) -> tuple[GenericForeignKey, ...]:
    """The generic foreign keys whose columns are in the model's own table."""
    own = {field.name for field in columns(model)}
    return tuple(
        field
        for field in model._meta.private_fields
        if isinstance(field, GenericForeignKey) and field.ct_field in own
    )


def points_at_key(field: ForeignKey[Any, Any]) -> bool:
    """Whether the foreign key holds a primary key (and not a ``to_field``)."""
    return bool(cast(Any, field.target_field).primary_key)


def has_constraint(field: ForeignKey[Any, Any]) -> bool:
    """Whether the database itself watches over the foreign key."""
    return bool(cast(Any, field).db_constraint)


def target(field: ForeignKey[Any, Any]) -> type[Model]:
    """The model that a foreign key points at."""
    return concrete(field.related_model)


def parents(model: type[Model]) -> dict[type[Model], ForeignKey[Any, Any]]:
    """The parents of a model in other tables, and the link to each."""
    return {
        concrete(parent): cast("ForeignKey[Any, Any]", link)
        for parent, link in model._meta.parents.items()
        if link is not None and concrete(parent) is not model
    }


def through(field: ManyToManyField[Any, Any]) -> type[Model]:
    """The model whose rows are the links of a many-to-many field."""
    return cast("type[Model]", field.remote_field.through)


def ends(field: ManyToManyField[Any, Any]) -> tuple[ForeignKey[Any, Any], ForeignKey[Any, Any]]:
    """The foreign keys of a link: to the object that owns the field, and to the other one."""
    get = through(field)._meta.get_field
    return (
        cast("ForeignKey[Any, Any]", get(field.m2m_field_name())),
        cast("ForeignKey[Any, Any]", get(field.m2m_reverse_field_name())),
    )


@cache
def automatic_links(model: type[Model]) -> tuple[ManyToManyField[Any, Any], ...]:
    """The model's many-to-many fields that have no explicit ``through`` model."""
    return tuple(
        field for field in model._meta.local_many_to_many if through(field)._meta.auto_created
    )


def in_order(
    models: Iterable[type[Model]],
    more: Mapping[type[Model], Iterable[type[Model]]] | None = None,
) -> list[type[Model]]:
    """Models with the targets of foreign keys first (Kahn 1962).

    ``more``: further targets, those of generic foreign keys.

    Where there is a cycle, the model with the fewest obligatory foreign keys into it goes first;
    the replay fills in what is missing in a second pass.
    """
    left = sorted(set(models), key=lambda model: model._meta.label_lower)
    waits = {
        model: {
            other: obligatory
            for other, obligatory in {
                **dict.fromkeys((more or {}).get(model, ()), 0),
                **_needs(model),
            }.items()
            if other is not model and other in set(left)
        }
        for model in left
    }
    ordered: list[type[Model]] = []
    while left:
        ready = next((model for model in left if not waits[model]), None)
        if ready is None:
            ready = min(left, key=lambda model: (sum(waits[model].values()), len(waits[model])))
        left.remove(ready)
        ordered.append(ready)
        for others in waits.values():
            others.pop(ready, None)
    return ordered


def _needs(model: type[Model]) -> dict[type[Model], int]:
    """The models that foreign keys point at -> 1 if one of them must not be empty, else 0."""
    needs: dict[type[Model], int] = {}
    for field in foreign_keys(model):
        # A parent's row must be there before the child's: its key is the child's key.
        weight = 1000 if field.primary_key else int(not field.null)
        needs[target(field)] = max(needs.get(target(field), 0), weight)
    return needs
