"""What a run leaves out: flags with the names and meanings of diffsync's."""

from __future__ import annotations

from enum import Flag, auto


class SyncFlags(Flag):
    """For a whole run."""

    NONE = 0
    CONTINUE_ON_FAILURE = auto()
    """Apply all that can be applied, and hold the rest."""
    SKIP_UNMATCHED_SRC = auto()
    """Create nothing on REMOTE."""
    SKIP_UNMATCHED_DST = auto()
    """Delete nothing on REMOTE."""
    SKIP_UNMATCHED_BOTH = SKIP_UNMATCHED_SRC | SKIP_UNMATCHED_DST
    LOG_UNCHANGED_RECORDS = auto()
    """Log objects that are the same on both sides, too (at the level DEBUG)."""


class ModelFlags(Flag):
    """For one model, in ``SYNCHRO_FLAGS``."""

    NONE = 0
    IGNORE = auto()
    """Apply nothing of this model."""
    SKIP_UNMATCHED_SRC = auto()
    SKIP_UNMATCHED_DST = auto()
    SKIP_UNMATCHED_BOTH = SKIP_UNMATCHED_SRC | SKIP_UNMATCHED_DST


def model_flags(value: object) -> ModelFlags:
    """Flags as a setting or a model names them: ``"IGNORE"``, several names, or a ModelFlags.

    Raises ValueError for anything else.
    """
    if isinstance(value, ModelFlags):
        return value
    names = [value] if isinstance(value, str) else value
    found = ModelFlags.NONE
    if not isinstance(names, list | tuple | set | frozenset):
        raise ValueError(f"{value!r} is no flag")
    for name in names:
        if name not in ModelFlags.__members__:
            raise ValueError(
                f"{name!r} is no flag; the flags are {', '.join(ModelFlags.__members__)}"
            )
        found |= ModelFlags[name]
    return found
