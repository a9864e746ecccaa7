"""The checkpoint as a dbsettings value that survives what dbsettings does to values.

dbsettings 1.4 cuts microseconds and time zones off its own datetime value, parses it in the
active language, swallows errors on reading, and serves values from a cache that other processes
do not clear. This value is ISO 8601 text in UTC, read from the database every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import dbsettings
from dbsettings.loading import _get_cache_key
from dbsettings.settings import USE_CACHE
from dbsettings.signals import setting_changed
from django.core.cache import cache
from django.utils import timezone

from synchro.exceptions import CheckpointError

NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The checkpoint before the first run."""

ASSIGNED: Final = " assigned"
"""Mark in the stored text: a person set this checkpoint, the next run starts from it."""

# What 0.x wrote: the first input format of the language that was active, without time zone.
_FORMATS_OF_0X: Final = ("%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    date: datetime
    """Aware: what is logged up to here has been replayed."""
    assigned: bool
    """Whether a person (or 0.x) wrote it: then it bounds the next run instead of the batches."""


def parse(text: str) -> Checkpoint:
    """Read a stored checkpoint; text of 0.x counts as assigned. Raises CheckpointError."""
    body = text.removesuffix(ASSIGNED)
    try:
        date = datetime.fromisoformat(body)
    except ValueError:
        date = _parse_0x(text)
    if timezone.is_naive(date):
        return Checkpoint(date=timezone.make_aware(date), assigned=True)
    return Checkpoint(date=date, assigned=text.endswith(ASSIGNED))


def _parse_0x(text: str) -> datetime:
    for format in _FORMATS_OF_0X:
        try:
            return datetime.strptime(text, format)
        except ValueError:
            continue
    raise CheckpointError(
        f"The stored checkpoint {text!r} is not a date: assign synchro.models.options.last_check."
    )


def dump(date: datetime, *, assigned: bool) -> str:
    """The text to store; a naive date is taken in the current time zone."""
    if timezone.is_naive(date):
        date = timezone.make_aware(date)
    return date.astimezone(UTC).isoformat() + (ASSIGNED if assigned else "")


class CheckpointValue(dbsettings.DateTimeValue):  # type: ignore[misc]
    """``options.last_check``: an aware datetime with microseconds, whatever the language."""

    def __get__(self, instance: Any = None, cls: Any = None) -> Any:
        if instance is None:
            raise AttributeError(f"{self.attribute_name!r} is only read from an instance.")
        return self.read().date

    def __set__(self, instance: Any, value: Any) -> None:
        self.write(self.to_python(value), assigned=True)

    def read(self) -> Checkpoint:
        """The checkpoint as it stands in the database."""
        stored = self._stored().values_list("value", flat=True).first()
        return parse(stored) if stored else Checkpoint(date=NEVER, assigned=False)

    def write(self, date: datetime, *, assigned: bool) -> None:
        text = dump(date, assigned=assigned)
        if not self._stored().update(value=text):
            from dbsettings.models import Setting  # dbsettings' models load after ours

            Setting(**self._identity(), value=text).save()
        if USE_CACHE:
            cache.delete(_get_cache_key(*self.key))
        setting_changed.send(sender=self, value=parse(text).date)

    def _identity(self) -> dict[str, str]:
        module_name, class_name, attribute_name = self.key
        return {
            "module_name": module_name,
            "class_name": class_name,
            "attribute_name": attribute_name,
        }

    def _stored(self) -> Any:
        from dbsettings.models import Setting

        return Setting.objects.filter(**self._identity())

    def to_python(self, value: Any) -> datetime:
        if isinstance(value, datetime):
            return value
        if isinstance(value, str):
            return parse(value).date
        raise TypeError(f"The checkpoint must be a datetime, not {value!r}.")

    def get_db_prep_save(self, value: Any, oldvalue: Any = None) -> str:
        return dump(self.to_python(value), assigned=True)

    def to_editor(self, value: Any) -> Any:
        return value
