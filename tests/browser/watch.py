"""What goes wrong in a page without anybody looking: it fails the test."""

from __future__ import annotations

import re
import threading
import traceback
from typing import TYPE_CHECKING, Any

from django.core.signals import got_request_exception, request_finished, request_started

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Request, Response, WebError

_ABORTED = "net::ERR_ABORTED"
"""The page went elsewhere before the answer came: nobody misses it."""
_ICON = "/favicon.ico"
"""Browsers ask for it of their own accord."""
_PATIENCE = 60
_JOB = "synchro "
"""How the names of the threads of synchro.background begin."""


class Watch:
    """Collects the mishaps of all pages of a browser context: messages in the console (what the
    Content-Security-Policy blocks is among them), errors in scripts, failed requests."""

    def __init__(self) -> None:
        self.mishaps: list[str] = []
        self._expected: list[str] = []

    def follow(self, context: BrowserContext) -> None:
        context.on("console", self._console)
        context.on("weberror", self._error)
        context.on("requestfailed", self._failed)
        context.on("response", self._response)

    def expect(self, pattern: str) -> None:
        """A mishap that belongs to the test: at least one has to be like this regular
        expression, and all that are do no harm."""
        self._expected.append(pattern)

    def check(self) -> None:
        """Raise AssertionError if there was a mishap that nobody expected, or the reverse."""
        found = "\n".join(self.mishaps)
        for pattern in self._expected:
            assert re.search(pattern, found), f"Expected, but not seen: {pattern}\n{found}"
        left = [
            mishap
            for mishap in self.mishaps
            if not any(re.search(pattern, mishap) for pattern in self._expected)
        ]
        assert not left, "The browser complained:\n" + "\n".join(left)

    def _console(self, message: ConsoleMessage) -> None:
        place = message.location
        if message.type in ("error", "warning") and not place["url"].endswith(_ICON):
            where = f"{place['url']}:{place['lineNumber']}"
            self.mishaps.append(f"console {message.type} at {where}: {message.text}")

    def _error(self, error: WebError) -> None:
        self.mishaps.append(f"error in a script: {error.error}")

    def _failed(self, request: Request) -> None:
        if request.failure != _ABORTED:
            self.mishaps.append(f"request failed: {request.url}: {request.failure}")

    def _response(self, response: Response) -> None:
        if response.status >= 400 and not response.url.endswith(_ICON):
            self.mishaps.append(f"status {response.status}: {response.url}")


class Requests:
    """Follows the requests that the live server is answering."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        """Tracebacks of views."""
        self._going_on = 0
        self._changed = threading.Condition()

    def connect(self) -> None:
        request_started.connect(self._started)
        request_finished.connect(self._finished)
        got_request_exception.connect(self._failed)

    def disconnect(self) -> None:
        request_started.disconnect(self._started)
        request_finished.disconnect(self._finished)
        got_request_exception.disconnect(self._failed)

    def wait(self) -> None:
        """Until none is going on, nor a job that one has started: what they write later would be
        found by the next test."""
        with self._changed:
            idle = self._changed.wait_for(lambda: self._going_on <= 0, timeout=_PATIENCE)
        assert idle, f"A request was still going on {_PATIENCE} seconds after the test"
        for thread in threading.enumerate():
            if thread.name.startswith(_JOB):
                thread.join(_PATIENCE)
                assert not thread.is_alive(), f"{thread.name} still went on after the test"

    def _started(self, **kwargs: Any) -> None:
        with self._changed:
            self._going_on += 1

    def _finished(self, **kwargs: Any) -> None:
        with self._changed:
            self._going_on -= 1
            self._changed.notify_all()

    def _failed(self, **kwargs: Any) -> None:
        # Errors of the test client are raised to the test, which runs in the main thread.
        if threading.current_thread() is not threading.main_thread():
            self.errors.append(traceback.format_exc())
