"""One step of a benchmark in a process of its own: ``python -m benchmarks.child STEP [...]``.

``make STATE N`` makes both databases and fills them, ``run CONTENDER`` puts them back into that
state, measures and prints one line of JSON, ``remove`` removes them.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

import django

ONCE = bool(os.environ.get("BENCH_ONCE"))
"""Whether what is made is measured but once, as it is."""


class Counter:
    """Counts statements; what one executemany() does counts as one."""

    def __init__(self) -> None:
        self.queries = 0

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        self.queries += 1
        return execute(sql, params, many, context)


def run(name: str) -> dict[str, Any]:
    from django.db import connections

    from benchmarks import databases
    from benchmarks.contenders import CONTENDERS
    from benchmarks.data import LOCAL
    from synchro.conf import conf
    from synchro.triggers import install

    if not ONCE:
        databases.put_back()
    if conf.uses_triggers:
        install.install(LOCAL)
    for connection in connections.all():
        connection.ensure_connection()
    timed = CONTENDERS[name]()
    counter = Counter()
    for connection in connections.all():
        connection.execute_wrappers.append(counter)
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


def main(step: str, *arguments: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    django.setup()
    from benchmarks import databases

    if step == "make":
        from benchmarks.data import STATES

        state, n = arguments
        databases.make()
        STATES[state](int(n))
        databases.keep(copied=not ONCE)
    elif step == "remove":
        databases.remove()
    else:
        print(json.dumps(run(*arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
