"""Child processes that share this process's test databases, and die on purpose."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from django.db import connections

from tests.faults.events import Event, watched

KILLED = 77
_watches: list[Any] = []
"""They end when nobody holds them any more."""


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a child process; returns its process id. The child exits with status 0, or
    1 after an exception (which it prints)."""
    connections.close_all()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        connections.close_all()
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        # Not sys.exit: the test runner's own clean-up belongs to the parent.
        os._exit(status)


def wait(child: int) -> int:
    """The exit status of a child process."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def die_at(event: int) -> None:
    """End this process, as a kill would, right before the `event`-th event. Events are the
    statements on both databases, and each commit before and after it."""

    def happened(seen: Event) -> None:
        if seen.number == event:
            os._exit(KILLED)

    watch = watched(happened)
    watch.__enter__()
    _watches.append(watch)
