"""Values as a database stores them, made of Python's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from math import isfinite, isnan
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BooleanField,
    DateField,
    DateTimeField,
    DecimalField,
    Field,
    FloatField,
    JSONField,
    UUIDField,
)

from synchro.keys import key_field
from synchro.members import NUMBERS, TEXTS

_zone: Final = attrgetter("tzinfo")

Convert = Callable[[Any], Any]
ConvertColumn = Callable[[Sequence[Any]], Sequence[Any]]
Check = Callable[[Any], None]

_SQLITE_DIGITS: Final = 15
_NAIVE: Final = ("sqlite", "mysql")
"""To these databases times go as text without a zone, in that of the connection."""

# The drivers take the values of such fields as they give them. (That of SQLite gives times of day
# that it does not take.)
_KEPT_BY_DRIVERS: Final = frozenset(
    {BooleanField, DateField, DateTimeField, DecimalField, FloatField}
)


def holds_plain_json(field: Field[Any, Any]) -> bool:
    """Whether a JSON field may be carried as text: only so JSON null and SQL NULL differ."""
    return (
        isinstance(field, JSONField)
        and type(field).get_db_prep_value is JSONField.get_db_prep_value
        and type(field).from_db_value is JSONField.from_db_value
    )


def passes_through(
    field: Field[Any, Any], source: BaseDatabaseWrapper, target: BaseDatabaseWrapper
) -> bool:
    """Whether a column's values may go from one database to another as the driver gives them:
    both store them alike, and Django would only turn them to and fro."""
    return (
        type(field) in _KEPT_BY_DRIVERS
        and source.vendor == target.vendor
        and source.timezone_name == target.timezone_name
        and type(source) is type(target)
    )


def converter(field: Field[Any, Any], connection: BaseDatabaseWrapper) -> ConvertColumn | None:
    """What makes stored values of Python's own, of one or more rows; None if they are the same.
    Raises ValueError where the database cannot hold a value exactly."""
    kind: Any = key_field(field) if field.remote_field is not None else field
    if holds_plain_json(field) or type(kind) in NUMBERS or type(kind) in TEXTS:
        return None

    convert = _by_django(field, connection)
    if type(field) is DateTimeField and settings.USE_TZ:
        return _time_converter(convert, connection)
    if type(kind) is UUIDField:
        return _uuid_converter(convert, connection)
    check = checker(field, connection)
    return _each(convert if check is None else _checked(check, convert))


def checker(field: Field[Any, Any], connection: BaseDatabaseWrapper) -> Check | None:
    """What raises ValueError for values of a field that the database cannot hold, though neither
    it nor Django says so: it would round a decimal, for example. None if there are no such."""
    kind: Any = key_field(field) if field.remote_field is not None else field
    if connection.vendor == "sqlite" and isinstance(field, DecimalField):
        return _decimal_checker(field)
    if connection.vendor in ("sqlite", "mysql") and isinstance(kind, FloatField):
        return _float_checker(field, connection)
    return None


def _checked(check: Check, convert: Convert) -> Convert:
    def convert_checked(value: Any) -> Any:
        check(value)
        return convert(value)

    return convert_checked


def _by_django(field: Field[Any, Any], connection: BaseDatabaseWrapper) -> Convert:
    return lambda value: field.get_db_prep_save(value, connection=connection)


def _each(convert: Convert) -> ConvertColumn:
    return lambda values: list(map(convert, values))


def _time_converter(convert: Convert, connection: BaseDatabaseWrapper) -> ConvertColumn:
    """What Django makes of times, in one step instead of a dozen. ``convert``: Django's way."""
    zone = connection.timezone

    def as_text(value: Any) -> Any:
        if not _is_aware(value):
            return convert(value)
        if value.tzinfo is not zone:
            value = value.astimezone(zone)
        # Quicker than to have the zone written, and to take it off.
        return str(datetime.combine(value, value.time()))

    def as_texts(values: Sequence[Any]) -> Sequence[Any]:
        # Equal ones would not do: the hour that comes twice in autumn is equal to itself.
        if len(set(map(id, values))) == 1:
            return [as_text(values[0])] * len(values)
        if set(map(type, values)) == {datetime} and set(map(id, map(_zone, values))) == {id(zone)}:
            return list(map(str, map(datetime.combine, values, map(datetime.time, values))))
        return list(map(as_text, values))

    def as_they_are(values: Sequence[Any]) -> Sequence[Any]:
        return [value if _is_aware(value) else convert(value) for value in values]

    return as_texts if connection.vendor in _NAIVE else as_they_are


def _is_aware(value: Any) -> bool:
    return type(value) is datetime and value.tzinfo is not None


def _uuid_converter(convert: Convert, connection: BaseDatabaseWrapper) -> ConvertColumn:
    """What Django makes of UUIDs. ``convert``: Django's way."""

    def as_text(values: Sequence[Any]) -> Sequence[Any]:
        return [value.hex if type(value) is UUID else convert(value) for value in values]

    def as_they_are(values: Sequence[Any]) -> Sequence[Any]:
        return [value if type(value) is UUID else convert(value) for value in values]

    return as_they_are if connection.features.has_native_uuid_field else as_text


def _decimal_checker(field: Field[Any, Any]) -> Check:
    def check(value: Any) -> None:
        if isinstance(value, Decimal) and (
            not value.is_finite() or len(value.normalize().as_tuple().digits) > _SQLITE_DIGITS
        ):
            raise ValueError(
                f"{field.name}: SQLite keeps {_SQLITE_DIGITS} digits of a decimal, "
                f"{value} has more"
            )

    return check


def _float_checker(field: Field[Any, Any], connection: BaseDatabaseWrapper) -> Check:
    holds = _holds_infinity if connection.vendor == "sqlite" else isfinite

    def check(value: Any) -> None:
        if isinstance(value, float) and not holds(value):
            raise ValueError(f"{field.name}: {connection.display_name} cannot hold {value}")

    return check


def _holds_infinity(value: float) -> bool:
    """SQLite stores infinity, and NULL for nan."""
    return not isnan(value)
