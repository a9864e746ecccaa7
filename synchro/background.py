"""Jobs in a thread of the server's process, so that a request need not wait for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections
from django.utils import timezone, translation

from synchro import history
from synchro.conf import conf
from synchro.exceptions import SynchroError
from synchro.models import DONE, RUNNING, Job
from synchro.tracking import Tracker

logger = logging.getLogger("synchro")

Work = Callable[[Tracker], None]
"""Does the job, and tells the tracker how far it is."""


def start(job: Job, work: Work) -> threading.Thread:
    """Begin a job, whose row is in the database already. It speaks the language and counts in the
    time zone that are active now. What goes wrong is written into the row."""
    language, zone = translation.get_language(), timezone.get_current_timezone()

    def run() -> None:
        try:
            with translation.override(language), timezone.override(zone):
                do(job, work)
        finally:
            connections.close_all()

    # No daemon: a server that is told to stop waits for the end of the run.
    thread = threading.Thread(target=run, name=f"synchro {type(job).__name__} {job.pk}")
    thread.start()
    return thread


def do(job: Job, work: Work) -> None:
    """Do a job here and now. What goes wrong is written into its row."""
    try:
        with Tracker(job) as tracker:
            work(tracker)
    except (SynchroError, ImproperlyConfigured, Error) as error:
        if job.outcome == RUNNING:
            history.fail(job, error)
        if conf.debug:
            raise
    except Exception as error:
        # A mistake of a receiver, of a project's manager or of synchro: nobody waits for it, so it
        # is told in the log, whole, and in the row.
        logger.exception("%s failed", job)
        if job.outcome == RUNNING:
            history.fail(job, error)
        if conf.debug:
            raise
    else:
        if job.outcome == RUNNING:
            job.outcome = DONE
            history.close(job)
