"""Work that a database is given ahead: it goes on with it while Python prepares the next."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from itertools import count
from types import TracebackType
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from synchro import turns

MANY = 100
"""From so many rows on it pays to have a thread wait for the database."""


Work = Callable[[], object]
"""Needs nothing but the database, and what is given along."""


def processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Begun(NamedTuple):
    """Work that is being done, or waits for its turn."""

    number: int
    result: Future[object]
    done: Callable[[Any], None]
    failed: Callable[[Exception], None]


def _nothing(result: Any) -> None:
    pass


def _raise(error: Exception) -> None:
    raise error


class Ahead:
    """Work on one connection, and in its transaction, that nobody waits for at once. As a context
    manager it goes around the work; at its end all of it is done.

    The connection is used by one thread at a time: whatever else goes to it, from the thread that
    the context belongs to, waits for the work that was given ahead.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self._executor: ThreadPoolExecutor | None = None
        self._worker = 0
        self._begun: deque[_Begun] = deque()
        self._numbers = count(1)
        self._error: Exception | None = None
        self._in_transaction = False

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.settle()
        finally:
            self._close(error)

    def takes(self, size: int) -> bool:
        """Whether work on so many rows is given ahead."""
        return size >= MANY and self._can_be_beside()

    def _can_be_beside(self) -> bool:
        """Whether the database can work beside Python. SQLite does so in this process: with one
        processor they would only be in each other's way, and some builds know no threads."""
        connection: Any = self.connection
        return connection.vendor != "sqlite" or (
            processors() > 1 and connection.Database.threadsafety > 0
        )

    def run(
        self,
        work: Work,
        size: int,
        *,
        done: Callable[[Any], None] = _nothing,
        failed: Callable[[Exception], None] = _raise,
    ) -> int:
        """Have work done, on so many rows: after all that was given before, and here and now if it
        is not worth while. By the next ``settle`` ``done`` is called with what it returned, or
        ``failed`` with what it raised. Returns a number by which ``settle`` knows it."""
        number = next(self._numbers)
        result = self._submit(work) if self.takes(size) else None
        if result is None:
            self._settle_one(work, done, failed)
        else:
            self._begun.append(_Begun(number, result, done, failed))
        return number

    def _submit(self, work: Work) -> Future[object] | None:
        """Have work begun by the thread; None if there is none, and all before it is done."""
        try:
            executor = self._executor or self._open()
            return executor.submit(copy_context().run, self._do, work)
        except RuntimeError:
            # The process has no more threads, or is about to end and begins none.
            self.settle()
            return None

    def _do(self, work: Work) -> object:
        if self._in_transaction and not self._is_in_transaction():
            # Some errors (a full disk) undo the whole transaction there: whatever was given behind
            # them would be committed by itself.
            self.connection.needs_rollback = True
            raise TransactionManagementError("SQLite has undone the transaction.")
        return work()

    def _is_in_transaction(self) -> bool:
        """Whether SQLite has one open. (Servers do not go on by themselves.)"""
        driver = self.connection.connection
        return self.connection.vendor == "sqlite" and getattr(driver, "in_transaction", False)

    def settle(self, upto: int | None = None) -> None:
        """Wait until all work is done, and what follows from it; or that up to a number. Raises
        what goes wrong, and that again from then on: whoever takes it for his own error must not
        be able to go on."""
        if self._error is not None:
            raise self._error
        try:
            while self._begun and (upto is None or self._begun[0].number <= upto):
                # Who is interrupted here must know that it is under way.
                wait([self._begun[0].result])
                _number, result, done, failed = self._begun.popleft()
                self._settle_one(result.result, done, failed)
        except BaseException as error:
            if isinstance(error, Exception):
                self._error = error
            # On its way the error closes cursors: nobody else may be at the connection then.
            self._drop(error)
            raise

    def _drop(self, error: BaseException | None) -> None:
        """Give up what waits for its turn, and wait for what has been begun."""
        under_way = [one.result for one in self._begun if not one.result.cancel()]
        cancel = getattr(self.connection.connection, "cancel", None)
        if not isinstance(error, Exception | None) and cancel is not None and under_way:
            # Somebody has interrupted the run, and the server may be waiting for a lock.
            # (psycopg has this; MariaDB gives up by itself after a while.)
            cancel()
        wait(under_way)
        self._begun.clear()

    @staticmethod
    def _settle_one(
        work: Work, done: Callable[[Any], None], failed: Callable[[Exception], None]
    ) -> None:
        try:
            found = work()
        except Exception as error:
            failed(error)
        else:
            done(found)

    def _open(self) -> ThreadPoolExecutor:
        self._in_transaction = self._is_in_transaction()
        self.connection.inc_thread_sharing()
        # The first one, before any that speaks to the database itself (``triggers.silence``).
        self.connection.execute_wrappers.insert(0, self._in_turn)
        self._executor = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="synchro ahead", initializer=self._enter_worker
        )
        turns.shorten()
        # Now, and not with work in hand, which would be left in the queue if there is no thread.
        self._executor.submit(_nothing, None).result()
        return self._executor

    def _close(self, error: BaseException | None) -> None:
        executor, self._executor = self._executor, None
        if executor is None:
            return
        try:
            self._drop(error)
        finally:
            # Waits once more, if somebody has lost patience: the connection must be free.
            executor.shutdown(cancel_futures=True)
            self._begun.clear()
            turns.restore()
            self.connection.execute_wrappers.remove(self._in_turn)
            self.connection.dec_thread_sharing()

    def _enter_worker(self) -> None:
        self._worker = threading.get_ident()
        connections[self.connection.alias] = self.connection

    def _in_turn(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if threading.get_ident() != self._worker and (self._begun or self._error):
            self.settle()
        return execute(sql, params, many, context)
