"""How long one thread of the process keeps Python to itself while another one wants it.

That is 5 ms, unless somebody has set it. A thread that works for a database needs Python for a
moment after each answer, and until it gets it the database has nothing to do: while another thread
is busy, most of the time goes that way. So turns are shortened for as long as there is such work.
"""

from __future__ import annotations

import sys
import threading
from typing import Final

_SHORT: Final = 0.0005
"""Seconds."""

_HALF: Final = 0.0000005
"""Half a microsecond: Python cuts off what is not a whole one."""

_lock = threading.Lock()
_shortened = 0
"""How many want them to be short."""
_before = _ours = 0.0


def shorten() -> None:
    """Have turns be short, in the whole process, until ``restore`` is called as often as this."""
    global _shortened, _before, _ours
    with _lock:
        _shortened += 1
        if _shortened == 1:
            _before = sys.getswitchinterval()
            if _before > _SHORT:
                sys.setswitchinterval(_SHORT)
            _ours = sys.getswitchinterval()


def restore() -> None:
    """Have them be what they were, unless somebody else has set them since."""
    global _shortened
    with _lock:
        _shortened -= 1
        if not _shortened and sys.getswitchinterval() == _ours:
            sys.setswitchinterval(_before + _HALF)
