"""Work that failed by an error that passes is tried again, after a pause."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from django.contrib.contenttypes.models import ContentType
from django.db import connections

from synchro.conf import conf
from synchro.exceptions import LockError
from synchro.transient import is_lost, is_transient

logger = logging.getLogger("synchro")

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 60.0
_GROWTH: Final = 4

Result = TypeVar("Result")


def pause(seconds: float) -> None:
    time.sleep(seconds)


def length_of_pause(failed: int) -> float:
    """Seconds to wait after so many failures: four times as long each time, up to a minute. By
    chance up to half of it is left out, so that two that were in each other's way part."""
    longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * _GROWTH ** min(failed - 1, 10))
    return longest * random.uniform(0.5, 1)


def persist(
    work: Callable[[], Result], name: str, *, may_run_again: Callable[[], bool] = lambda: True
) -> Result:
    """Do the work, and again up to SYNCHRO_RETRIES times while it fails by an error that passes
    (and ``may_run_again`` says yes). Raises the last error otherwise.

    Connections that were lost are closed, so that Django opens new ones. ``name`` begins the
    message in the log.
    """
    retries = conf.retries
    failed = 0
    while True:
        try:
            return work()
        except Exception as error:
            # It may hold rows that were rolled back.
            ContentType.objects.clear_cache()
            lost = is_lost(error)
            if lost:
                close_broken()
            # The lock that a lost connection held stays until the server has noticed.
            passes = is_transient(error) or (failed > 0 and isinstance(error, LockError))
            if not passes or failed >= retries or not may_run_again() or _is_stuck():
                raise
            failed += 1
            seconds = length_of_pause(failed)
            logger.warning(
                "%s failed: %s. It is tried again in %.1f s (%d of %d).",
                name,
                describe(error),
                seconds,
                failed,
                retries,
            )
        pause(seconds)


def describe(error: BaseException) -> str:
    """The kind and the text of an error, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()).removesuffix('.')}"


def close_broken() -> None:
    """Close connections on which something failed, except those in a transaction of the caller.
    Whether they still work is not asked: PyMySQL would connect anew, without locks and session."""
    for connection in connections.all(initialized_only=True):
        if (
            connection.connection is not None
            and connection.errors_occurred
            and not connection.in_atomic_block
        ):
            connection.close()


def _is_stuck() -> bool:
    """Whether a transaction of the caller (that of a test case) cannot go on."""
    return any(
        connection.in_atomic_block and (connection.needs_rollback or connection.connection is None)
        for connection in connections.all(initialized_only=True)
    )
