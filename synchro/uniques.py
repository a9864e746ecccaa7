"""Unique values that change hands between rows of REMOTE.

Two rows may swap a unique value, or a new row may take that of a row that is about to go. The
database checks each statement, so the present holder must give its value up first.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from django.db import DatabaseError, connections, transaction
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
    Max,
    Min,
    Model,
    Q,
    TextField,
    TimeField,
    UniqueConstraint,
    UUIDField,
)

from synchro.chunks import batched
from synchro.exceptions import ReplayError
from synchro.graph import columns, skipped_fields
from synchro.holds import Holds
from synchro.remotes.database import DatabaseEnd
from synchro.transient import is_transient

_VALUES_PER_QUERY = 900
_COMBINATIONS_PER_QUERY = 150
_TRIES = 50
_SHORT = 6


class Group(NamedTuple):
    """Columns whose values must be unique together."""

    fields: tuple[Field[Any, Any], ...]
    condition: Q | None = None
    """Only rows that meet it count."""
    by_expression: bool = False
    """Whether other text may be taken for equal, in ways that only an expression knows."""


@cache
def unique_groups(model: type[Model]) -> tuple[Group, ...]:
    """The sets of columns of the model's own table whose values must be unique together."""
    own = {field.name: field for field in columns(model)}
    groups: list[tuple[Sequence[str], Q | None, bool]] = [
        ((field.name,), None, False)
        for field in own.values()
        if field.unique and not field.primary_key
    ]
    groups += [(tuple(names), None, False) for names in model._meta.unique_together]
    for constraint in model._meta.constraints:
        if isinstance(constraint, UniqueConstraint):
            if constraint.fields:
                groups.append((constraint.fields, constraint.condition, False))
            else:
                # Over expressions: any field in them may be the one in the way.
                names = sorted(_names_in(constraint) & own.keys())
                groups += [((name,), constraint.condition, True) for name in names]
    return tuple(
        Group(tuple(own[name] for name in names), condition, by_expression)
        for names, condition, by_expression in groups
        if all(name in own for name in names)
    )


def _names_in(constraint: UniqueConstraint) -> set[str]:
    found: set[str] = set()
    todo: list[Any] = list(constraint.expressions)
    while todo:
        expression = todo.pop()
        name = getattr(expression, "name", None)
        if isinstance(name, str):
            found.add(name)
        if hasattr(expression, "get_source_expressions"):
            todo += [part for part in expression.get_source_expressions() if part is not None]
    return found


class Releaser:
    """Makes rows of one model on REMOTE give up unique values that others are to get."""

    def __init__(self, remote: DatabaseEnd, model: type[Model], holds: Holds) -> None:
        self.remote = remote
        self.model = model
        self.holds = holds
        self._skip = skipped_fields(model)

    def release(self, rows: Sequence[tuple[Any, dict[str, Any]]], movable: set[Any]) -> bool:
        """Free the values of rows, given as (REMOTE key or None, attribute -> new value).

        ``movable``: the keys of rows that are still to be written or deleted in this run; only
        these give a value up. Returns whether any did.
        """
        released = False
        for group in unique_groups(self.model):
            attributes = [field.attname for field in group.fields]
            wanted: dict[tuple[Any, ...], Any] = {}
            for pk, values in rows:
                if all(name in values for name in attributes):
                    key = tuple(values[name] for name in attributes)
                    if None not in key:
                        wanted[key] = pk
            for holder, held in self._holders(attributes, wanted, group):
                if holder in movable:
                    self.holds.touch(self.model, holder)
                    self._give_up(holder, group, held, rows)
                    released = True
        return released

    def _holders(
        self,
        attributes: list[str],
        wanted: dict[tuple[Any, ...], Any],
        group: Group,
    ) -> Iterator[tuple[Any, tuple[Any, ...]]]:
        """Rows that hold a wanted value that is not to be theirs: (key, values)."""
        keep = {pk: key for key, pk in wanted.items() if pk is not None}
        simple = len(attributes) == 1 and not group.by_expression
        size = _VALUES_PER_QUERY if simple else _COMBINATIONS_PER_QUERY
        for chunk in batched(wanted, size):
            if simple:
                # Compared as the index does.
                (name,) = attributes
                found = self.remote.among(self.model, name, [value for (value,) in chunk])
            else:
                condition = self.remote.any_of(attributes, chunk)
                if len(attributes) == 1 and isinstance(chunk[0][0], str):
                    (name,) = attributes
                    alike = (Q(**{f"{name}__iexact": value}) for (value,) in chunk)
                    condition |= Q(*alike, _connector=Q.OR)
                found = self.remote.objects(self.model).filter(condition)
            if group.condition is not None:
                found = found.filter(group.condition)
            for pk, *values in list(found.values_list("pk", *attributes)):
                if keep.get(pk) != tuple(values):
                    yield pk, tuple(values)

    def _give_up(
        self,
        pk: Any,
        group: Group,
        values: tuple[Any, ...],
        rows: Sequence[tuple[Any, dict[str, Any]]],
    ) -> None:
        """Let a row of the group go from its values, by the first way that REMOTE accepts."""
        alias = self.remote.side.alias
        row = self.remote.objects(self.model).filter(pk=pk)
        held = dict(zip(group.fields, values, strict=True))
        error: Exception | None = None
        # A skipped field is not written again: its value must stay.
        own = [f for f in group.fields if f.name not in self._skip and f.attname not in self._skip]
        for field in sorted(own, key=_reluctance):
            # Nor may it take what another one of the rows is about to get.
            free = field.null or isinstance(field, BooleanField)
            wanted = set() if free else {new.get(field.attname) for _, new in rows}
            for value in self._candidates(field, held[field]):
                if value in wanted:
                    continue
                try:
                    with transaction.atomic(using=alias):
                        row.update(**{field.attname: value})
                except DatabaseError as refused:
                    if is_transient(refused):
                        raise
                    # A check constraint, or somebody has that value, too: try the next.
                    error = refused
                else:
                    return
        names = ", ".join(field.name for field in group.fields)
        raise ReplayError(
            f"{alias!r}: {self.model._meta.label} {pk} there has to give up its {names} "
            f"({', '.join(map(repr, values))}) to another row first, and no other value is "
            f"accepted for a moment ({error}). Change one of the rows by hand."
        ) from error

    def _candidates(self, field: Field[Any, Any], held: Any) -> Iterator[Any]:
        """Values that a row may take for a moment, the likeliest first."""
        if field.null:
            yield None
        if isinstance(field, BooleanField):
            yield not held
            return
        kind: Any = field if field.remote_field is None else field.target_field  # type: ignore[attr-defined]
        objects = self.remote.objects(self.model)
        if isinstance(kind, IntegerField) and field.remote_field is None:
            ends = objects.aggregate(low=Min(field.attname), high=Max(field.attname))
            yield from (ends["high"] + 1, ends["low"] - 1)
            used = set(
                objects.filter(**{f"{field.attname}__range": (0, 200)}).values_list(
                    field.attname, flat=True
                )
            )
            yield from [number for number in range(201) if number not in used][:20]
        for _ in range(_TRIES):
            value = self._random(field)
            if not objects.filter(**{field.attname: value}).exists():
                yield value

    def _random(self, field: Field[Any, Any]) -> Any:
        bits = uuid.uuid4()
        if field.remote_field is not None:
            # Put right before the transaction ends; foreign keys are checked then.
            field = field.target_field  # type: ignore[attr-defined]
        if isinstance(field, UUIDField):
            return bits
        if isinstance(field, CharField | TextField):
            if (field.max_length or 32) < _SHORT:
                # Few texts are so short: draw from a large alphabet.
                return "".join(
                    chr(0x4E00 + bits.int % 20_000) for _ in range(field.max_length or 1)
                )
            return bits.hex[: field.max_length or 32]
        if isinstance(field, BinaryField):
            return bits.bytes[: field.max_length or 16]
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
