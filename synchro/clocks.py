"""Clocks that are wrong, as far as the change logs show it.

Within a database the order of changes is that of its log; times decide only between changes that
two databases made without knowing of each other. A clock that is ahead wins there wrongly.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db.models import Max, Q

from synchro import log
from synchro.models import ChangeLog
from synchro.nodes import Side

TOLERANCE: Final = timedelta(minutes=1)
"""So much two clocks may differ without a warning."""

_NEWEST_ROWS: Final = 500


def ahead(alias: str, now: datetime) -> timedelta:
    """By how much the newest times that a database itself has logged lie in the future; zero if
    they do not. What came from elsewhere carries the time of the run that brought it."""
    rows = ChangeLog.objects.using(alias).order_by("-pk")[:_NEWEST_ROWS]
    newest = rows.aggregate(newest=Max("date", filter=Q(origin="")))["newest"]
    return timedelta() if newest is None else max(log.aware(newest) - now, timedelta())


def warnings(local: Side, remote: Side, now: datetime) -> list[str]:
    """What to tell about the clocks of the two databases, as sentences."""
    found = []
    for side in (local, remote):
        by = ahead(side.alias, now) if side.has_tables else timedelta()
        if by > TOLERANCE:
            found.append(
                f"The change log of {side.alias!r} has times that are {_words(by)} ahead of the "
                "clock of this machine. Until then its changes win conflicts that they should "
                "lose. Set the clocks right, of this machine or of those that write to "
                f"{side.alias!r}; nothing is lost on the way, and every change that loses is "
                "reported."
            )
    return found


def _words(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    if minutes < 120:
        return f"{minutes} minutes"
    hours = round(minutes / 60)
    return f"{hours} hours" if hours < 48 else f"{round(hours / 24)} days"
