"""Columns read as the database stores them, past what Django makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateField, DateTimeField, DecimalField, F, Field, Func

_TO_THE_SECOND: Final = len("2026-11-29 09:21:27")


class AsIs(Func):
    """A column with nothing that would convert its values, neither Django nor the driver."""

    template = "%(expressions)s"

    def __init__(self, name: str) -> None:
        # A plain Field has nothing that would convert the value.
        super().__init__(F(name), output_field=Field())

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        # What is no column any more has no declared type, by which the driver converts.
        return self.as_sql(compiler, connection, template="+%(expressions)s", **extra)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        # Of a time Django makes Python's value in Python; text is the same with its zone.
        if self._is(DateTimeField):
            return self.as_sql(compiler, connection, template="%(expressions)s::text", **extra)
        return self.as_sql(compiler, connection, **extra)

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        # Times, dates and decimals the drivers make of text, in Python.
        if self._is(DateField, DecimalField):
            template = "CAST(%(expressions)s AS CHAR)"
            return self.as_sql(compiler, connection, template=template, **extra)
        return self.as_sql(compiler, connection, **extra)

    def _is(self, *kinds: type[Field[Any, Any]]) -> bool:
        (column,) = self.source_expressions
        return isinstance(column.output_field, kinds)


def time_reader(
    field: DateTimeField[Any, Any], connection: BaseDatabaseWrapper
) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """What makes Python's values of one or more that were read as they are: what Django would, in
    one step instead of a dozen."""
    convert = _by_django(field, connection)
    zone = connection.timezone if settings.USE_TZ else None
    # To these databases times are texts without a zone; PostgreSQL's have one.
    end = "+00:00" if zone is UTC and connection.vendor in ("sqlite", "mysql") else ""

    def read(value: Any) -> Any:
        if type(value) is str:
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                return convert(value)
        if type(value) is datetime:
            if value.tzinfo is None:
                return value if zone is None else value.replace(tzinfo=zone)
            if zone is None:
                # The text is in the time zone of the connection, as Django's value would be.
                return value.replace(tzinfo=None)
            return value if value.tzinfo is zone else value.astimezone(zone)
        return convert(value)

    def read_all(values: Sequence[Any]) -> Sequence[Any]:
        if set(map(type, values)) != {str}:
            return list(map(read, values))
        if values.count(values[0]) == len(values):
            return [read(values[0])] * len(values)
        if zone is UTC and min(map(len, values)) >= _TO_THE_SECOND:
            try:
                # Several times as quick as to give a zone to a time that has none.
                found = [datetime.fromisoformat(value + end) for value in values]
            except ValueError:
                return list(map(read, values))
            if all(time.tzinfo is zone for time in found):
                return found
        return list(map(read, values))

    return read_all


def _by_django(
    field: DateTimeField[Any, Any], connection: BaseDatabaseWrapper
) -> Callable[[Any], Any]:
    column = field.cached_col
    converters = [
        *connection.ops.get_db_converters(column),
        *field.get_db_converters(connection),
    ]

    def convert(value: Any) -> Any:
        for one in converters:
            value = one(value, column, connection)
        return value

    return convert
