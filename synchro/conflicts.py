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

    Times are compared only of changes that were made without knowing of each other.
    """
    if not is_conflict(remote, local_uid=local_uid, received_batch=received_batch):
        return True
    return made > remote.made


def is_conflict(remote: RemoteChange, *, local_uid: str, received_batch: int) -> bool:
    """Whether LOCAL changes an object without having seen this change of REMOTE's.

    It has seen what REMOTE has from LOCAL, and what LOCAL has received from REMOTE already: that
    is told by origin and batch, so no clock has a say in it.
    """
    if remote.origin == local_uid:
        return False
    return remote.batch is None or remote.batch > received_batch
