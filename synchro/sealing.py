"""Sealing: a run gives the log rows that it sees, and that have no batch yet, the next number.

Neither ids nor times are in the order of commits; a row that commits later has no number yet, so
that the next run takes it. Numbers are never used twice.

Many rows take the database a while. Where it can, it numbers them in a thread and on a connection
of its own, in one transaction as ever, while the run reads the same rows by their ids and goes on:
what counts is that their numbers are committed before REMOTE commits what they told.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Final

from django.db import connections, transaction
from django.db.models import Count, Exists, F, Max, Min, QuerySet

from synchro.exceptions import NodeError
from synchro.log import IdRanges, within
from synchro.models import Batch, ChangeLog, Node
from synchro.nodes import SELF, own_node
from synchro.retries import describe
from synchro.triggers.tombstones import resolve_batch

logger = logging.getLogger("synchro")

_PATIENCE: Final = 1.0
"""For so many seconds the rows wait until the run has read them."""

MANY = 2000
"""From so many rows on it pays to open a connection for them."""


class _Abandoned(Exception):
    """Nobody is there any more who would wait for the numbers."""


class _Numbering(threading.Thread):
    """Numbers log rows beside the run that has seen them."""

    def __init__(self, alias: str, only: IdRanges | None) -> None:
        # No daemon: what is begun is brought to its end.
        super().__init__(name=f"synchro numbers the log of {alias}")
        self.alias = alias
        self.only = only
        self.batch: Batch | None = None
        """Set once the rows have been seen."""
        self.rows: IdRanges = ()
        self.error: Exception | None = None
        self._seen = threading.Event()
        self._read = threading.Event()
        self._abandoned = False

    def begin(self) -> None:
        """Returns once the rows have been seen, or could not be."""
        self.start()
        self._seen.wait()

    def go_on(self) -> None:
        """Give the rows their number now: databases read rows slower that are being changed."""
        self._read.set()

    def end(self) -> None:
        """Returns once the numbers are committed. Raises what kept them from it."""
        self.go_on()
        self.join()
        if self.error is not None:
            raise NodeError(
                f"Numbering the log of {self.alias!r} failed: {describe(self.error)}."
            ) from self.error

    def close(self) -> None:
        """Bring it to an end, whatever became of the run."""
        # Whoever was interrupted while the rows were looked for has no use for them, and need not
        # wait until another run lets go of the log.
        self._abandoned = not self._seen.is_set()
        self.go_on()
        if not self._abandoned:
            self.join()

    def run(self) -> None:
        try:
            with _sealing_transaction(self.alias):
                batch = _next_batch(self.alias)
                parts = _unsealed(self.alias, self.only)
                self.rows = tuple(chain.from_iterable(map(ranges, parts)))
                self.batch = batch
                self._seen.set()
                # Not for long: whoever else seals has to wait.
                self._read.wait(_PATIENCE)
                if self._abandoned:
                    raise _Abandoned
                _number(self.alias, self.rows, batch.number)
        except Exception as error:
            # It belongs to the run, which asks for it.
            self.error = error
        finally:
            self._seen.set()
            connections[self.alias].close()


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """The newest batch of a node."""

    number: int
    token: str
    numbering: _Numbering | None = None
    """Who is giving its rows their number; None if they have it."""

    @property
    def rows(self) -> IdRanges:
        """The rows of the batch by their ids, if they may have no number yet."""
        return () if self.numbering is None else self.numbering.rows

    @property
    def numbered_upto(self) -> int:
        """The newest batch whose rows all have their number."""
        return self.number if self.numbering is None else self.number - 1

    def have_read(self) -> None:
        """Note that the run has read the rows."""
        if self.numbering is not None:
            self.numbering.go_on()

    def wait(self) -> None:
        """Wait until all rows have their number, and that is committed. Raises NodeError if it
        could not be done."""
        if self.numbering is not None:
            self.numbering.end()


@contextmanager
def sealed(alias: str, only: IdRanges | None = None) -> Iterator[Sealed]:
    """Like ``seal``, but the rows of the batch may get their number while the context is open.
    Whoever counts on it has to ``wait`` for that."""
    nothing = _nothing_to_seal(alias) if only is None else None
    if nothing is not None:
        yield nothing
        return
    if not _can_be_beside(alias) or not _are_many(alias, only):
        yield _seal(alias, only)
        return
    own_node(alias)
    numbering = _Numbering(alias, only)
    try:
        numbering.begin()
        batch = numbering.batch
        if batch is None:
            # There may be no connection left for it, for example.
            logger.info("The log is numbered first, and not beside the run: %s", numbering.error)
            yield _seal(alias, only)
        else:
            yield Sealed(number=batch.number, token=batch.token, numbering=numbering)
    finally:
        numbering.close()


def _can_be_beside(alias: str) -> bool:
    """Whether another connection can number rows. SQLite has one writer at a time; and in a
    transaction (of a test case) are rows that no other connection sees."""
    connection = connections[alias]
    return connection.vendor != "sqlite" and not connection.in_atomic_block


def _are_many(alias: str, only: IdRanges | None) -> bool:
    if only is not None:
        return sum(last - first + 1 for first, last in only) >= MANY
    (rows,) = _unsealed(alias, None)
    return bool(rows.order_by("id").values_list("id")[MANY - 1 : MANY])


def seal(alias: str, only: IdRanges | None = None) -> Sealed:
    """Number every visible log row that has no batch yet, and commit. ``only``: of those with
    these ids."""
    nothing = _nothing_to_seal(alias) if only is None else None
    return nothing or _seal(alias, only)


def _nothing_to_seal(alias: str) -> Sealed | None:
    """The newest batch, if all rows have a number: most of the time that is so, and one query
    tells."""
    own = Node.objects.using(alias).filter(pk=SELF)
    last = (
        Batch.objects.using(alias)
        .filter(number__in=own.values("last_batch"))
        .annotate(more=Exists(ChangeLog.objects.using(alias).filter(batch__isnull=True)))
        .first()
    )
    if last is None or last.more:
        return None
    return Sealed(number=last.number, token=last.token)


def _seal(alias: str, only: IdRanges | None) -> Sealed:
    parts = list(_unsealed(alias, only))
    if not any(rows.exists() for rows in parts):
        return newest_batch(alias)
    own_node(alias)
    with _sealing_transaction(alias):
        batch = _next_batch(alias)
        if connections[alias].vendor == "mysql":
            _number(alias, tuple(chain.from_iterable(map(ranges, parts))), batch.number)
        else:
            for rows in parts:
                rows.update(batch=batch.number)
            resolve_batch(alias, batch.number)
    return Sealed(number=batch.number, token=batch.token)


@contextmanager
def _sealing_transaction(alias: str) -> Iterator[None]:
    connection = connections[alias]
    if connection.vendor == "mysql" and not connection.in_atomic_block:
        # Under REPEATABLE READ InnoDB would lock the gaps into which others insert.
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    with transaction.atomic(using=alias, durable=True):
        yield


def _next_batch(alias: str) -> Batch:
    """Take the next number. Whoever else seals waits from here to the end of the transaction."""
    node = Node.objects.using(alias).filter(pk=SELF)
    node.update(last_batch=F("last_batch") + 1)
    batch = Batch(number=node.values_list("last_batch", flat=True).get())
    batch.save(using=alias, force_insert=True)
    return batch


def _number(alias: str, rows: IdRanges, number: int) -> None:
    """Give rows their number, by their ids: InnoDB locks every row that an UPDATE looks at, also
    those that open transactions have just inserted. A plain read has seen committed rows only, and
    keys touch nothing else."""
    unsealed = ChangeLog.objects.using(alias).filter(batch__isnull=True)
    for condition in within(rows):
        unsealed.filter(condition).update(batch=number)
    resolve_batch(alias, number)


def ranges(rows: QuerySet[ChangeLog]) -> IdRanges:
    """The ids of rows, found by the database itself: they may be many."""
    ids = rows.order_by().values_list("id")
    ends = ids.aggregate(first=Min("id"), last=Max("id"), number=Count("id"))
    if not ends["number"]:
        return ()
    if ends["last"] - ends["first"] + 1 == ends["number"]:
        # Mostly nobody else's are in between, and this is a third of the work.
        return ((ends["first"], ends["last"]),)
    connection = connections[rows.db]
    sql, parameters = ids.query.get_compiler(rows.db).as_sql()
    with connection.cursor() as cursor:
        # Consecutive ids have the same distance from their position among all of them.
        cursor.execute(
            "SELECT MIN(id), MAX(id) FROM (SELECT id, id - ROW_NUMBER() OVER (ORDER BY id) AS gap "
            f"FROM ({sql}) AS ids) AS numbered GROUP BY gap",
            parameters,
        )
        return tuple(sorted(cursor.fetchall()))


def unnumbered(alias: str) -> IdRanges:
    """The ids of the log rows that have no batch yet."""
    (rows,) = _unsealed(alias, None)
    return ranges(rows)


def _unsealed(alias: str, only: IdRanges | None) -> Iterator[QuerySet[ChangeLog]]:
    """The rows without a batch; ``only``: those with these ids, in portions."""
    rows = ChangeLog.objects.using(alias).filter(batch__isnull=True)
    if only is None:
        yield rows
        return
    for condition in within(only):
        yield rows.filter(condition)


def newest_batch(alias: str) -> Sealed:
    """The newest batch as it is. Writes nothing."""
    node = Node.objects.using(alias).filter(pk=SELF).first()
    number = node.last_batch if node else 0
    batch = Batch.objects.using(alias).filter(number=number).first()
    return Sealed(number=number, token=batch.token if batch else "")
