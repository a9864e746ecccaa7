"""The steps of a benchmark: one that is given as arguments, or each in a fork of this process, in
which Django is set up once.

Reads these a step a line, as a list in JSON: ``make STATE N`` makes both databases and fills them,
``run CONTENDER`` puts them back into that state, measures and prints one line of JSON, ``remove``
removes them. With ``once`` behind it, the state is measured as it was made, and not remembered.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
import traceback
from typing import Any

import django

from benchmarks.nursery import DONE, FAILED


class Counter:
    """Counts statements; what one executemany() does counts as one."""

    def __init__(self) -> None:
        self.queries = 0

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        self.queries += 1
        return execute(sql, params, many, context)


def run(name: str, *, once: bool) -> dict[str, Any]:
    from django.db import connections

    from benchmarks import databases
    from benchmarks.contenders import CONTENDERS
    from benchmarks.data import LOCAL
    from synchro.conf import conf
    from synchro.triggers import install

    if not once:
        databases.put_back()
    if conf.uses_triggers:
        install.install(LOCAL)
    for connection in connections.all():
        connection.ensure_connection()
    timed = CONTENDERS[name]()
    counter = Counter()
    for connection in connections.all():
        connection.execute_wrappers.append(counter)
    # A fork copies a page of memory when it first writes there: that is not to be measured.
    gc.collect()
    cpu = time.process_time()
    started = time.perf_counter()
    objects = timed()
    found = {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "objects": objects,
        "queries": counter.queries,
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    if conf.uses_triggers:
        # What the next run puts back shall not be logged.
        install.remove(LOCAL)
    return found


def do(step: str, *arguments: str) -> None:
    from benchmarks import databases

    once = arguments[-1:] == ("once",)
    if step == "make":
        from benchmarks.data import STATES

        state, n = arguments[:2]
        databases.make()
        STATES[state](int(n))
        databases.keep(copied=not once)
    elif step == "remove":
        databases.remove()
    else:
        print(json.dumps(run(arguments[0], once=once)))


def in_a_fork(arguments: list[str]) -> bool:
    """Do a step. Returns whether it was done."""
    child = os.fork()
    if child:
        _pid, status = os.waitpid(child, 0)
        return status == 0
    status = 1
    try:
        do(*arguments)
        sys.stdout.flush()
        status = 0
    except KeyboardInterrupt:
        # Who interrupted knows.
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        # Nothing of this process's own is left to be done.
        os._exit(status)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    django.setup()
    # What every step needs is there before it.
    from benchmarks import contenders, data, databases  # noqa: F401

    if sys.argv[1:]:
        do(*sys.argv[1:])
        return
    for line in sys.stdin:
        done = in_a_fork(json.loads(line))
        sys.stdout.write(DONE if done else FAILED)
        sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(1)
