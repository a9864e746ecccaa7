"""Values that a row of REMOTE may have for a moment, until it gets its own."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from typing import Any, Final

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
    Max,
    Min,
    Model,
    TextField,
    TimeField,
    UUIDField,
)

from synchro.remotes.database import DatabaseEnd

_TRIES: Final = 50
_SHORT: Final = 6
_SAFE: Final = 20
"""So many hexadecimal digits, drawn at random, nobody else has."""


class Placeholders:
    """Values for the rows of one model."""

    def __init__(self, remote: DatabaseEnd, model: type[Model]) -> None:
        self.remote = remote
        self.model = model

    def many(
        self, field: Field[Any, Any], number: int, taken: Collection[Any]
    ) -> list[Any] | None:
        """So many values, which no row has, none of them one of those that are ``taken``. None
        where that takes a look at each of them."""
        if field.null:
            return [None] * number
        if field.remote_field is not None:
            return None
        if isinstance(field, IntegerField):
            return self._numbers(field, number, taken)
        if isinstance(field, UUIDField):
            return [uuid.uuid4() for _ in range(number)]
        if isinstance(field, CharField | TextField) and (field.max_length or 32) >= _SAFE:
            return [uuid.uuid4().hex[: field.max_length] for _ in range(number)]
        return None

    def _numbers(
        self, field: Field[Any, Any], number: int, taken: Collection[Any]
    ) -> list[Any] | None:
        """Those above all that there are."""
        ends = self._objects().aggregate(high=Max(field.attname))
        known = [ends["high"], *(value for value in taken if value is not None)]
        if set(map(type, known)) != {int}:
            return None
        start = max(known) + 1
        _, most = self._range(field)
        if most is not None and start + number > most:
            return None
        return list(range(start, start + number))

    def one(self, field: Field[Any, Any], held: Any) -> Iterator[Any]:
        """Values for a row that has this one, the likeliest first."""
        if field.null:
            yield None
        if isinstance(field, BooleanField):
            yield not held
            return
        kind: Any = field if field.remote_field is None else field.target_field  # type: ignore[attr-defined]
        objects = self._objects()
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
            low, high = self._range(field)
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

    def _objects(self) -> Any:
        return self.remote.objects(self.model)

    def _range(self, field: Field[Any, Any]) -> tuple[int | None, int | None]:
        """The least and the greatest number that a field can hold."""
        ops = connections[self.remote.side.alias].ops
        return ops.integer_field_range(field.get_internal_type())


def _far_date(bits: uuid.UUID) -> str:
    number = bits.int
    return f"{8000 + number % 1900}-{1 + number % 12:02}-{1 + number % 28:02}"


def reluctance(field: Field[Any, Any]) -> int:
    """How hard it is to give up the value of a field."""
    if field.null:
        return 0
    if field.remote_field is not None:
        return 3
    if isinstance(field, BooleanField):
        return 2
    return 1
