"""Who wins where both databases changed the same object: pure functions."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class RemoteChange(NamedTuple):
    """The newest change of an object by REMOTE's log."""

    made: datetime
    origin: str
    batch: int | None
    action: int


def newest_wins(
    made: datetime, remote: RemoteChange, *, local_uid: str, received_batch: int
) -> bool:
    """Whether LOCAL's change is applied: it is, unless REMOTE's is as new or newer.

    A change that REMOTE has from LOCAL, or that LOCAL has received from REMOTE already, is not a
    conflict.
    """
    if remote.origin == local_uid:
        return True
    if remote.batch is not None and remote.batch <= received_batch:
        return True
    return made > remote.made
