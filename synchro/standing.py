"""How far REMOTE has been brought, and whether it is who it was."""

from __future__ import annotations

from typing import NamedTuple

from django.db import transaction
from django.db.models import Exists

from synchro.exceptions import NodeError
from synchro.held import changes_held, move_held
from synchro.histories import require_one_history, require_same_place, token
from synchro.models import Peer, Reference
from synchro.nodes import Side, peer
from synchro.sealing import Sealed


class Standing(NamedTuple):
    """What LOCAL and REMOTE say of each other."""

    peer: Peer
    """What LOCAL has written down of REMOTE."""
    after: int
    """The batch after which a run takes over."""
    any_held: bool
    """Whether changes from LOCAL may be held."""


def standing(local: Side, remote: Side, newest: Sealed, *, dry: bool) -> Standing:
    """Where a run begins. ``newest``: LOCAL's newest batch; ``dry``: nothing may be written.
    Raises NodeError if REMOTE is not who it was, or knows more of LOCAL than LOCAL does."""
    here = peer(local.alias, remote.uid)
    if not remote.has_tables:
        require_same_place(local, remote, here)
        return Standing(here, here.sent_batch, True)
    if not dry:
        here = _recognized(local, remote, here)
    if remote.uid and remote.uid == local.uid:
        raise NodeError(
            f"{local.alias!r} and {remote.alias!r} are copies of one database: "
            "synchro's own tables are the same in both, so nobody can tell whose changes "
            f"are whose. If {local.alias!r} is the copy, give it an identity of its own "
            f"first: manage.py synchro_adopt --remote {remote.alias}"
        )
    held = Exists(changes_held(local, remote))
    there = peer(remote.alias, local.uid, any_held=held)
    require_one_history(local, remote, here=here, there=there, newest=newest)
    # What REMOTE has committed counts: LOCAL may have been killed before it wrote that down,
    # and REMOTE may have been restored from a backup.
    return Standing(here, there.received_batch, getattr(there, "any_held", True))


def _recognized(local: Side, remote: Side, here: Peer) -> Peer:
    """REMOTE may have got synchro's tables since the last run: what LOCAL kept under its alias
    belongs to its uid now."""
    if not here._state.adding:
        return here
    old = peer(local.alias, f"alias:{remote.alias}")
    if old._state.adding:
        return here
    there = peer(remote.alias, local.uid)
    there.received_batch = max(there.received_batch, old.sent_batch)
    there.received_token = token(local.alias, there.received_batch) or ""
    there.save(using=remote.alias)
    with transaction.atomic(using=local.alias):
        references = Reference.objects.using(local.alias).filter(node=old.node)
        references.update(node=remote.uid)
        move_held(old.node, local, remote)
        old.node, old.received_token = remote.uid, ""
        old.save(using=local.alias)
    return old
