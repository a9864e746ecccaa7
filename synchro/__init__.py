"""Replays what changed in one Django database into another."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "1.0.0"

if TYPE_CHECKING:
    from synchro.core import call_synchronize, diff, reset_synchro, synchronize
    from synchro.flags import ModelFlags, SyncFlags
    from synchro.keys import NaturalKeyModel, NaturalManager
    from synchro.preview import Plan
    from synchro.suspend import DisableSynchroLog, disable_synchro_log

__all__ = [
    "DisableSynchroLog",
    "ModelFlags",
    "NaturalKeyModel",
    "NaturalManager",
    "Plan",
    "SyncFlags",
    "call_synchronize",
    "diff",
    "disable_synchro_log",
    "reset_synchro",
    "synchronize",
]

# Loaded on first use: a project's models.py may import from here before the apps are ready.
_HOME = {
    "NaturalKeyModel": "synchro.keys",
    "NaturalManager": "synchro.keys",
    "DisableSynchroLog": "synchro.suspend",
    "disable_synchro_log": "synchro.suspend",
    "ModelFlags": "synchro.flags",
    "SyncFlags": "synchro.flags",
    "Plan": "synchro.preview",
    "diff": "synchro.core",
    "reset_synchro": "synchro.core",
    "synchronize": "synchro.core",
    "call_synchronize": "synchro.core",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'synchro' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
