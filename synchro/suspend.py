"""Writing without logging, for exactly the current context."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from types import TracebackType
from typing import Any, TypeVar

from django.db.models import signals
from django.dispatch import Signal
from django.dispatch.dispatcher import _make_id  # type: ignore[attr-defined]

F = TypeVar("F", bound=Callable[..., Any])

_depth: ContextVar[int] = ContextVar("synchro_suspended", default=0)
"""How many suspensions are open in the current context."""


on_end: list[Callable[[], None]] = []
"""What is called when a context is no longer suspended."""


def is_suspended() -> bool:
    """Whether writes in the current context (thread, task) are not logged."""
    return _depth.get() > 0


class DisableSynchroLog:
    """Context manager: what is written inside is not logged. It nests.

    Only the current thread or asynchronous task is silent; all others go on logging.
    """

    __slots__ = ()

    def __enter__(self) -> DisableSynchroLog:
        _depth.set(_depth.get() + 1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _depth.set(_depth.get() - 1)
        if not is_suspended():
            for function in on_end:
                function()


def disable_synchro_log(function: F) -> F:
    """Decorator: what the function (plain or ``async``) writes is not logged.

    It may stand above or below ``@receiver``: a function that is connected to a model signal
    already is replaced there by the decorated one.
    """
    wrapper: Any
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def silent_coroutine(*args: Any, **kwargs: Any) -> Any:
            with DisableSynchroLog():
                return await function(*args, **kwargs)

        wrapper = silent_coroutine
    else:

        @wraps(function)
        def silent(*args: Any, **kwargs: Any) -> Any:
            with DisableSynchroLog():
                return function(*args, **kwargs)

        wrapper = silent
    for signal in vars(signals).values():
        if isinstance(signal, Signal):
            _replace_receiver(signal, function, wrapper)
    return wrapper  # type: ignore[no-any-return]


def _replace_receiver(signal: Signal, function: Any, wrapper: Any) -> None:
    """Put the wrapper in the place of the function wherever the signal has it connected.

    A signal does not tell which sender a receiver was connected for, so that disconnecting and
    connecting again cannot do this; the entry (lookup key, receiver, ...) is changed in place.
    """
    with signal.lock:
        for index, (key, reference, *rest) in enumerate(signal.receivers):
            weak = isinstance(reference, weakref.ReferenceType)
            if (reference() if weak else reference) is not function:
                continue
            # The first part of the key is the receiver's id unless a dispatch_uid was given.
            if key[0] == _make_id(function):
                key = (_make_id(wrapper), *key[1:])
            signal.receivers[index] = (key, weakref.ref(wrapper) if weak else wrapper, *rest)
        signal.sender_receivers_cache.clear()
