"""Work that a database is given ahead: it goes on with it while Python prepares the next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from types import TracebackType
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

MANY: Final = 100
"""From so many rows on it pays to have a thread wait for the database."""


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
        self._begun: list[Future[None]] = []

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
            self._close()

    def run(self, work: Callable[[], None], size: int) -> None:
        """Have work done that needs nothing but the database: so many rows are written."""
        # SQLite works in this process.
        if size < MANY or self.connection.vendor == "sqlite":
            work()
            return
        if self._executor is None:
            self._open()
        assert self._executor is not None
        self._begun.append(self._executor.submit(copy_context().run, work))

    def settle(self) -> None:
        """Wait until all of it is done. Raises what it raised."""
        begun, self._begun = self._begun, []
        for one in begun:
            one.result()

    def _open(self) -> None:
        self.connection.inc_thread_sharing()
        self.connection.execute_wrappers.append(self._in_turn)
        self._executor = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="synchro ahead", initializer=self._enter_worker
        )

    def _close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None
            self.connection.execute_wrappers.remove(self._in_turn)
            self.connection.dec_thread_sharing()

    def _enter_worker(self) -> None:
        self._worker = threading.get_ident()
        connections[self.connection.alias] = self.connection

    def _in_turn(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if self._begun and threading.get_ident() != self._worker:
            self.settle()
        return execute(sql, params, many, context)
