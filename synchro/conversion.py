"""Values as a database stores them, made of Python's own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite, isnan
from typing import Any, Final

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
)

from synchro.keys import key_field
from synchro.members import NUMBERS, TEXTS

Convert = Callable[[Any], Any]

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


def converter(field: Field[Any, Any], connection: BaseDatabaseWrapper) -> Convert | None:
    """What makes a stored value of a Python one; None if they are the same. Raises ValueError
    where the database cannot hold the value exactly."""
    kind: Any = key_field(field) if field.remote_field is not None else field
    if holds_plain_json(field) or type(kind) in NUMBERS or type(kind) in TEXTS:
        return None

    def convert(value: Any) -> Any:
        return field.get_db_prep_save(value, connection=connection)

    if type(field) is DateTimeField and settings.USE_TZ:
        return _time_converter(convert, connection)
    if connection.vendor == "sqlite" and isinstance(field, DecimalField):
        return _decimal_converter(convert, field)
    if connection.vendor in ("sqlite", "mysql") and isinstance(kind, FloatField):
        return _float_converter(convert, field, connection)
    return convert


def _time_converter(convert: Convert, connection: BaseDatabaseWrapper) -> Convert:
    """What Django makes of times, in one step instead of a dozen. ``convert``: Django's way."""
    zone = connection.timezone
    last: Any = None
    text = ""

    def as_text(value: Any) -> Any:
        nonlocal last, text
        if value is last and last is not None:
            return text
        if type(value) is datetime and value.tzinfo is zone is UTC:
            last, text = value, value.isoformat(" ")[: -len("+00:00")]
            return text
        if type(value) is datetime and value.tzinfo is not None:
            return str(value.astimezone(zone).replace(tzinfo=None))
        return convert(value)

    def as_it_is(value: Any) -> Any:
        aware = type(value) is datetime and value.tzinfo is not None
        return value if aware else convert(value)

    return as_text if connection.vendor in _NAIVE else as_it_is


def _decimal_converter(convert: Convert, field: Field[Any, Any]) -> Convert:
    def convert_decimal(value: Any) -> Any:
        if isinstance(value, Decimal) and (
            not value.is_finite() or len(value.normalize().as_tuple().digits) > _SQLITE_DIGITS
        ):
            raise ValueError(
                f"{field.name}: SQLite keeps {_SQLITE_DIGITS} digits of a decimal, "
                f"{value} has more"
            )
        return convert(value)

    return convert_decimal


def _float_converter(
    convert: Convert, field: Field[Any, Any], connection: BaseDatabaseWrapper
) -> Convert:
    holds = _holds_infinity if connection.vendor == "sqlite" else isfinite

    def convert_float(value: Any) -> Any:
        if isinstance(value, float) and not holds(value):
            raise ValueError(f"{field.name}: {connection.display_name} cannot hold {value}")
        return convert(value)

    return convert_float


def _holds_infinity(value: float) -> bool:
    """SQLite stores infinity, and NULL for nan."""
    return not isnan(value)
