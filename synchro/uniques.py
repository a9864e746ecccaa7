"""Unique values that change hands between rows of REMOTE.

Two rows may swap a unique value, or a new row may take that of a row that is about to go. The
database checks each statement, so the present holder must give its value up first.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from django.db import connections
from django.db.models import (
    BinaryField,
    BooleanField,
    CharField,
    DateField,
    DateTimeField,
    DecimalField,
    DurationField,
    Field,
    FloatField,
    IntegerField,
    Model,
    TextField,
    TimeField,
    UniqueConstraint,
    UUIDField,
)

from synchro.chunks import batched
from synchro.graph import columns
from synchro.remotes.database import DatabaseEnd

_VALUES_PER_QUERY = 150


@cache
def unique_groups(model: type[Model]) -> tuple[tuple[Field[Any, Any], ...], ...]:
    """The sets of columns of the model's own table whose values must be unique together."""
    own = {field.name: field for field in columns(model)}
    groups: list[Sequence[str]] = [
        (field.name,) for field in own.values() if field.unique and not field.primary_key
    ]
    groups += [tuple(names) for names in model._meta.unique_together]
    for constraint in model._meta.constraints:
        if isinstance(constraint, UniqueConstraint):
            if constraint.fields:
                groups.append(constraint.fields)
            else:
                # Over expressions: any field in them may be the one in the way.
                names = sorted(_names_in(constraint) & own.keys())
                groups += [(name,) for name in names]
    return tuple(
        tuple(own[name] for name in names) for names in groups if all(n in own for n in names)
    )


def _names_in(constraint: UniqueConstraint) -> set[str]:
    found: set[str] = set()
    todo: list[Any] = list(constraint.expressions)
    while todo:
        expression = todo.pop()
        name = getattr(expression, "name", None)
        if isinstance(name, str):
            found.add(name)
        todo += [part for part in expression.get_source_expressions() if part is not None]
    return found


class Releaser:
    """Makes rows of one model on REMOTE give up unique values that others are to get."""

    def __init__(self, remote: DatabaseEnd, model: type[Model]) -> None:
        self.remote = remote
        self.model = model
        self._names = [field.attname for field in columns(model)]

    def release(self, rows: Sequence[tuple[Any, dict[str, Any]]], movable: set[Any]) -> bool:
        """Free the values of rows, given as (REMOTE key or None, attribute -> new value).

        ``movable``: the keys of rows that are still to be written or deleted in this run; only
        these give a value up. Returns whether any did.
        """
        released = False
        for group in unique_groups(self.model):
            attributes = [field.attname for field in group]
            wanted: dict[tuple[Any, ...], Any] = {}
            for pk, values in rows:
                if all(name in values for name in attributes):
                    key = tuple(values[name] for name in attributes)
                    if None not in key:
                        wanted[key] = pk
            for holder in self._holders(attributes, wanted):
                if holder in movable:
                    self._give_up(holder, group)
                    released = True
        return released

    def _holders(self, attributes: list[str], wanted: dict[tuple[Any, ...], Any]) -> Iterator[Any]:
        """The keys of rows that hold a wanted value that is not to be theirs."""
        keep = {pk: key for key, pk in wanted.items() if pk is not None}
        for chunk in batched(wanted, _VALUES_PER_QUERY):
            condition = self.remote.any_of(attributes, chunk)
            found = self.remote.objects(self.model).filter(condition)
            for pk, *values in list(found.values_list("pk", *attributes)):
                if keep.get(pk) != tuple(values):
                    yield pk

    def _give_up(self, pk: Any, group: tuple[Field[Any, Any], ...]) -> None:
        field = min(group, key=_reluctance)
        value = None if field.null else self._unused(field)
        self.remote.objects(self.model).filter(pk=pk).update(**{field.attname: value})

    def _unused(self, field: Field[Any, Any]) -> Any:
        """A value that no row has."""
        objects = self.remote.objects(self.model)
        while True:
            value = self._random(field)
            if not objects.filter(**{field.attname: value}).exists():
                return value

    def _random(self, field: Field[Any, Any]) -> Any:
        bits = uuid.uuid4()
        if field.remote_field is not None:
            # Put right before the transaction ends; foreign keys are checked then.
            field = field.target_field  # type: ignore[attr-defined]
        if isinstance(field, UUIDField):
            return bits
        if isinstance(field, CharField | TextField):
            return bits.hex[: field.max_length or 32]
        if isinstance(field, BinaryField):
            return bits.bytes[: field.max_length or 16]
        if isinstance(field, BooleanField):
            return bool(bits.int & 1)
        if isinstance(field, IntegerField):
            kind = field.get_internal_type()
            low, high = connections[self.remote.side.alias].ops.integer_field_range(kind)
            low = 0 if low is None else max(low, -(2**31))
            return low + bits.int % ((high or 2**31 - 1) - low)
        if isinstance(field, DecimalField):
            places = field.decimal_places or 0
            return field.to_python(bits.int % 10 ** min(field.max_digits or 9, 15)).scaleb(-places)
        if isinstance(field, FloatField):
            return float(bits.int % 2**52)
        if isinstance(field, DateTimeField):
            return field.to_python(f"{_far_date(bits)} 00:00:00+00:00")
        if isinstance(field, DateField):
            return field.to_python(_far_date(bits))
        if isinstance(field, TimeField):
            return field.to_python(f"00:00:00.{bits.int % 10**6:06}")
        if isinstance(field, DurationField):
            return field.to_python(f"0:00:00.{bits.int % 10**6:06}")
        return field.to_python(bits.hex)


def _far_date(bits: uuid.UUID) -> str:
    number = bits.int
    return f"{8000 + number % 1900}-{1 + number % 12:02}-{1 + number % 28:02}"


def _reluctance(field: Field[Any, Any]) -> int:
    """How hard it is to give up the value of a field."""
    if field.null:
        return 0
    if field.remote_field is not None:
        return 3
    if isinstance(field, BooleanField):
        return 2
    return 1
