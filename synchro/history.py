"""The runs of a database, as it remembers them.

``SyncRun.report`` is a dictionary with ``message`` (a sentence), ``warnings`` (sentences),
``held``, ``skipped`` and ``overwritten`` (the first of each, as dictionaries with ``model``,
``key``, ``reason`` and ``detail``), and ``numbers`` (how many there are of each).
``SyncRun.written`` is JSON, compressed by zlib: ``[[model, action, keys, remote_keys], ...]`` with
keys as text, of the first 100,000 objects; ``remote_keys`` is null where they are the same.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from django.db import Error
from django.db.models import Model, Q
from django.utils import timezone

from synchro.chunks import batched
from synchro.exceptions import CancelledError
from synchro.keys import object_id, object_ids
from synchro.models import CANCELLED, DIED, DONE, FAILED, HELD, RUNNING, Job, SyncRun
from synchro.names import model_named
from synchro.nodes import Side
from synchro.results import SyncResult

logger = logging.getLogger("synchro")

SILENCE: Final = timedelta(minutes=1)
"""Whoever gives no sign of life for that long, and ought to, has died."""
_REPORTED: Final = 200
_OBJECTS: Final = 100_000
_PORTION: Final = 2000


def begin(
    local: Side, remote: Side, *, batch: int, user: str, noted: SyncRun | None = None
) -> SyncRun:
    """Write down that a run has begun, in the row ``noted`` if there is one already. The caller
    holds the lock of the pair, so whatever else is going on by the table has died."""
    run = noted or SyncRun(user=user[:150])
    running = SyncRun.objects.using(local.alias).filter(outcome=RUNNING).exclude(pk=run.pk)
    # What waits for the lock does not know REMOTE's uid yet, but gives signs of life.
    silent = Q(node="", remote=remote.alias, beat__lt=timezone.now() - SILENCE)
    running.filter(Q(node=remote.uid) | silent).update(outcome=DIED, ended=timezone.now())
    run.node, run.remote, run.batch, run.outcome = remote.uid, remote.alias, batch, RUNNING
    if noted is None:
        run.save(using=local.alias, force_insert=True)
    else:
        run.save(using=local.alias, update_fields=["node", "remote", "batch", "outcome"])
    return run


def end(run: SyncRun, result: SyncResult) -> None:
    """Write down what a run did."""
    run.outcome = HELD if result.held else DONE
    run.error = ""  # of an earlier attempt
    run.objects_written = result.total
    summary = result.summary()
    run.counts = summary["models"]
    run.held = len(result.held)
    run.skipped = len(result.skipped)
    lists = {name: summary[name] for name in ("held", "skipped", "overwritten")}
    run.report = {
        "message": result.message,
        "warnings": result.warnings,
        "excluded": result.excluded,
        "numbers": {name: len(found) for name, found in lists.items()},
        **{name: found[:_REPORTED] for name, found in lists.items()},
    }
    run.written = _packed(result)
    close(run, "error", "objects_written", "counts", "held", "skipped", "report", "written")


def fail(job: Job, error: Exception) -> None:
    """Write down why a job failed, or that it was cancelled."""
    job.outcome = CANCELLED if isinstance(error, CancelledError) else FAILED
    job.error = f"{type(error).__name__}: {' '.join(str(error).split())}"
    close(job, "error")


def close(job: Job, *fields: str) -> None:
    """Write down that a job is over. Other fields than those of its end and ``fields`` are left
    to whoever writes how far it is."""
    job.ended = timezone.now()
    try:
        job.save(using=job._state.db, update_fields=["ended", "outcome", *fields])
    except Error as error:
        # The job itself is over; the next run notes that this one did not come to an end.
        logger.warning("The end of %s could not be written down: %s", job, error)


def objects_of(run: SyncRun) -> list[tuple[str, str, list[list[str | None]]]]:
    """What a run wrote: model label, action, and the keys on LOCAL and REMOTE as text."""
    if not run.written:
        return []
    return [
        (label, action, [*map(list, zip(keys, remote_keys or keys, strict=True))])
        for label, action, keys, remote_keys in json.loads(zlib.decompress(run.written))
    ]


def _packed(result: SyncResult) -> bytes:
    """What a run wrote, as ``SyncRun.written`` holds it."""
    compressor = zlib.compressobj(1)
    # The keys may be many: their texts need not all be there at a time.
    parts = [compressor.compress(text.encode()) for text in _as_json(result)]
    return b"".join([*parts, compressor.flush()])


def _as_json(result: SyncResult) -> Iterator[str]:
    left = _OBJECTS
    before = "["
    for (label, action), done in result.record.items():
        model = model_named(label)
        if model is None or not left:
            continue
        yield f"{before}[{json.dumps(label)}, {json.dumps(action)}, "
        yield from _json_list(model, islice(done.pks, left))
        if done.pks == done.remote_pks:
            yield ", null]"
        else:
            yield ", "
            yield from _json_list(model, islice(done.remote_pks, left))
            yield "]"
        left -= min(left, len(done.pks))
        before = ", "
    yield "[]" if before == "[" else "]"


def _json_list(model: type[Model], pks: Iterable[Any]) -> Iterator[str]:
    before = "["
    for chunk in batched(pks, _PORTION):
        yield before + json.dumps(_texts(model, chunk), ensure_ascii=False)[1:-1]
        before = ", "
    yield "[]" if before == "[" else "]"


def _texts(model: type[Model], pks: list[Any]) -> list[str | None]:
    if None in pks:
        return [None if pk is None else object_id(model, pk) for pk in pks]
    return [*object_ids(model, pks)]
