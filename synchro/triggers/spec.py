"""What triggers are to capture: plain data made of models, before any SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, cast

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models, router
from django.db.models import Field, Model, UniqueConstraint

from synchro.conf import conf, many_to_many_fields
from synchro.graph import concrete, ends, parents, skipped_fields, through
from synchro.keys import key_field, natural_lookup
from synchro.members import NUMBERS, TEXTS

INTEGER: Final = "integer"
TEXT: Final = "text"
UUID: Final = "uuid"
DECIMAL: Final = "decimal"
DATE: Final = "date"
DATETIME: Final = "datetime"
BOOLEAN: Final = "boolean"

# Exact types only: a field of the project may store something else than Python sees.
_KINDS: Final[dict[type[Any], str]] = {
    **dict.fromkeys(NUMBERS, INTEGER),
    **dict.fromkeys(TEXTS, TEXT),
    models.UUIDField: UUID,
    models.DecimalField: DECIMAL,
    models.DateField: DATE,
    models.DateTimeField: DATETIME,
    models.BooleanField: BOOLEAN,
}
_NO_KEYS: Final = (BOOLEAN,)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column whose value a trigger writes down as text."""

    name: str
    attribute: str
    """The name of the value on an instance."""
    kind: str
    decimals: int = 0


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose rows are objects."""

    name: str
    label: str
    content_type: int | None
    key: tuple[Column, ...]
    compared: tuple[str, ...]
    """The columns whose change counts, besides the key."""
    binary: frozenset[str]
    """Those of them that are not numbers: they are compared byte by byte."""
    ignored: tuple[str, ...]
    """The columns whose change does not count."""
    tombstone: tuple[Column, ...]
    """What a deletion writes down of the row, for the natural key."""
    uniques: tuple[tuple[str, ...], ...]
    """Sets of columns in which rows must differ."""
    coarse: bool = False
    """Whether every update counts: such triggers name no columns but those of the key."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """An end of a link whose object has the many-to-many field."""

    label: str
    content_type: int | None
    field: str
    column: Column


@dataclass(frozen=True, kw_only=True)
class Links:
    """A table whose rows are links of a many-to-many field."""

    name: str
    owners: tuple[Owner, ...]


Capture = Table | Links


def kind(field: Field[Any, Any]) -> str | None:
    """What a trigger makes of the field's values, None if it cannot."""
    return _KINDS.get(type(key_field(field)))


def _column(field: Field[Any, Any]) -> Column:
    found = kind(field)
    assert found is not None
    target: Any = key_field(field)
    return Column(
        name=str(field.column),
        attribute=field.attname,
        kind=found,
        decimals=target.decimal_places if found == DECIMAL else 0,
    )


def why_not(model: type[Model]) -> str:
    """Why triggers cannot capture the model, in one sentence; empty if they can."""
    for field in model._meta.pk_fields:
        if kind(field) is None or kind(field) in _NO_KEYS:
            return f"triggers cannot write down its key {field.name} ({type(field).__name__})"
    for parent in parents(model):
        if parent not in conf.valid_models or not conf.captured_by_triggers(parent):
            return f"its parent {parent._meta.label} is not captured by triggers"
        if reason := why_not(parent):
            return f"its parent {parent._meta.label} cannot be: {reason}"
    for name in _natural_names(model):
        own = _own_field(model, name)
        if own is not None and kind(own) is None:
            return (
                f"triggers cannot write down {name} ({type(own).__name__}), which a natural "
                "key needs"
            )
    return ""


def links_why_not(field: models.ManyToManyField[Any, Any]) -> str:
    """Why triggers cannot capture the links of an automatic table; empty if they can."""
    for end in ends(field):
        if kind(end) is None or kind(end) in _NO_KEYS:
            return f"triggers cannot write down the key of {end.related_model._meta.label}"
    return ""


def captured_models() -> list[type[Model]]:
    """The models that the settings want captured by triggers, and that can be."""
    return [
        model
        for model in sorted(conf.valid_models, key=lambda model: model._meta.label_lower)
        if conf.captured_by_triggers(model) and not why_not(model)
    ]


def captured_links() -> list[models.ManyToManyField[Any, Any]]:
    """The many-to-many fields whose automatic tables are to be captured, and can be."""
    watched = conf.valid_models
    return [
        field
        for field in many_to_many_fields()
        if through(field)._meta.auto_created
        and (concrete(field.model) in watched or concrete(field.related_model) in watched)
        and conf.captured_by_triggers(field.model)
        and field.name not in skipped_fields(field.model)
        and not links_why_not(field)
    ]


def captures(
    alias: str, types: dict[tuple[str, str], int], tables: Iterable[str]
) -> Iterator[Capture]:
    """What triggers are to capture on a database.

    ``types``: its content types, (app label, model) -> primary key. ``tables``: those it has.
    """
    present = set(tables)
    for model in captured_models():
        if model._meta.db_table in present and router.allow_migrate_model(alias, model):
            yield _table(model, types)
    for field in captured_links():
        if through(field)._meta.db_table in present:
            yield _links(field, types)


def coarse(capture: Capture) -> Capture:
    """The same capture that depends on no more columns than it must: for while a migration
    changes them. It logs updates that change nothing, and deletions without natural keys."""
    if isinstance(capture, Links):
        return capture
    return replace(capture, compared=(), ignored=(), tombstone=(), uniques=(), coarse=True)


def _content_type(model: type[Model], types: dict[tuple[str, str], int]) -> int | None:
    return types.get((model._meta.app_label, str(model._meta.model_name)))


def _table(model: type[Model], types: dict[tuple[str, str], int]) -> Table:
    options = model._meta
    skipped = skipped_fields(model)
    compared, ignored, binary = [], [], set()
    for field in options.local_concrete_fields:
        column = str(field.column)
        if field.primary_key or field in options.pk_fields:
            continue
        if field.name in skipped or getattr(field, "generated", False):
            ignored.append(column)
            continue
        compared.append(column)
        if kind(field) not in (INTEGER, DECIMAL, DATE, DATETIME, BOOLEAN):
            binary.add(column)
    return Table(
        name=options.db_table,
        label=options.label_lower,
        content_type=_content_type(model, types),
        key=tuple(_column(field) for field in options.pk_fields),
        compared=tuple(compared),
        binary=frozenset(binary),
        ignored=tuple(ignored),
        tombstone=tuple(
            _column(own)
            for name in sorted(_natural_names(model))
            if (own := _own_field(model, name)) is not None and not own.primary_key
        ),
        uniques=_uniques(model),
    )


def _links(field: models.ManyToManyField[Any, Any], types: dict[tuple[str, str], int]) -> Links:
    near, far = ends(field)
    columns = [near, far] if field.remote_field.symmetrical else [near]
    return Links(
        name=through(field)._meta.db_table,
        owners=tuple(
            Owner(
                label=field.model._meta.label_lower,
                content_type=_content_type(field.model, types),
                field=field.name,
                column=_column(end),
            )
            for end in columns
        ),
    )


def _uniques(model: type[Model]) -> tuple[tuple[str, ...], ...]:
    options = model._meta
    own = {field.name: str(field.column) for field in options.local_concrete_fields}
    found: list[tuple[str, ...]] = [tuple(str(field.column) for field in options.pk_fields)]
    found += [
        (str(field.column),)
        for field in options.local_concrete_fields
        if field.unique and not field.primary_key
    ]
    groups = [tuple(names) for names in options.unique_together]
    groups += [
        tuple(constraint.fields)
        for constraint in options.constraints
        if isinstance(constraint, UniqueConstraint)
        and constraint.fields
        and constraint.condition is None
    ]
    found += [tuple(own[name] for name in group) for group in groups if set(group) <= set(own)]
    return tuple(dict.fromkeys(found))


def _own_field(model: type[Model], name: str) -> Field[Any, Any] | None:
    """The field of the model's own table; None if it has no such column."""
    try:
        field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return cast("Any", field) if field in model._meta.local_concrete_fields else None


def _natural_names(model: type[Model]) -> frozenset[str]:
    """The fields of the model that natural keys need, its own or those of others."""
    return _all_natural_names().get(model, frozenset())


@cache
def _all_natural_names() -> dict[type[Model], frozenset[str]]:
    needed: dict[type[Model], set[str]] = {}
    for model in apps.get_models():
        current: type[Model]
        lookup = natural_lookup(model) if not model._meta.proxy else None
        if lookup is None:
            continue
        if lookup.fields is None:
            # Nobody knows what natural_key() looks at.
            names = needed.setdefault(model, set())
            names |= {
                field.name
                for field in model._meta.local_concrete_fields
                if kind(field) is not None
            }
            continue
        for path in lookup.fields:
            current = model
            for name in path.split("__"):
                field: Any = current._meta.pk if name == "pk" else current._meta.get_field(name)
                holder = concrete(field.model)
                needed.setdefault(holder, set()).add(field.name)
                if field.remote_field is None:
                    break
                current = concrete(field.related_model)
                if not field.target_field.primary_key:
                    # A child that goes with its parent knows no more of it than this value.
                    holder = concrete(field.target_field.model)
                    needed.setdefault(holder, set()).add(field.target_field.name)
    return {model: frozenset(names) for model, names in needed.items()}
