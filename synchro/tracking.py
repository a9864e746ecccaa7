"""How far a job is, written into its row while it goes on, and whether it is to be given up."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Any, Final, Self

from django.db import Error, connections
from django.utils import timezone

from synchro.exceptions import CancelledError
from synchro.models import Job

logger = logging.getLogger("synchro")

_SECONDS_BETWEEN_BEATS: Final = 0.5
_NO_WAITING: Final = {
    "sqlite": "PRAGMA busy_timeout = 0",
    "postgresql": "SET lock_timeout = '1s'",
    "mysql": "SET SESSION innodb_lock_wait_timeout = 1",
}
"""The row is never waited for: what cannot be written now is written half a second later."""


class Tracker:
    """Writes every half second how far a job is, from a thread with a connection of its own, and
    reads whether somebody has cancelled it.

    To be used in a ``with`` statement around the job. ``follow`` says which row it is.
    """

    def __init__(self, job: Job | None = None) -> None:
        self.job = job
        self._progress: tuple[str, str, int, int] = ("", "", 0, 0)
        self._cancelled_by = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="synchro tracker", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def follow(self, job: Job) -> None:
        """From now on this is the row of the job."""
        self.job = job

    def tell(self, stage: str, model: str, done: int, total: int) -> None:
        """The job is that far. Raises CancelledError if it has been cancelled."""
        self._progress = (stage, model, done, total)
        if self._cancelled_by:
            raise CancelledError(
                f"Cancelled by {self._cancelled_by}.",
                "Nothing was changed; what is pending stays pending.",
            )

    def _work(self) -> None:
        try:
            while not self._over.wait(_SECONDS_BETWEEN_BEATS):
                if self.job is not None:
                    self._beat(self.job)
        finally:
            connections.close_all()  # those of this thread

    def _beat(self, job: Job) -> None:
        alias = str(job._state.db)
        connection = connections[alias]
        try:
            if connection.connection is None:
                with connection.cursor() as cursor:
                    cursor.execute(_NO_WAITING.get(connection.vendor, "SELECT 1"))
            rows: Any = type(job)._base_manager.using(alias).filter(pk=job.pk)
            stage, model, done, total = self._progress
            rows.update(stage=stage, model=model, done=done, total=total, beat=timezone.now())
            self._cancelled_by = rows.values_list("cancelled_by", flat=True).first() or ""
        except Error as error:
            # Busy, or lost: the job itself goes on, and this is tried again.
            logger.debug("The progress of %s could not be written down: %s", job, error)
            connection.close()
