"""Whether two databases remember the same history of one of them.

A database that was restored from a backup does not know what it did after that backup was made;
the others do. Batches have random tokens, so that one with the same number is not taken for the
same.
"""

from __future__ import annotations

from synchro.exceptions import NodeError
from synchro.models import Batch, Node, Peer
from synchro.nodes import SELF, Side, address, own_node, peer
from synchro.sealing import Sealed


def token(alias: str, number: int) -> str | None:
    """The token of one of a database's own batches; None if it has no such batch."""
    found = Batch.objects.using(alias).filter(number=number)
    return found.values_list("token", flat=True).first()


def has_forgotten(side: Side, known: Peer, newest: Sealed | None = None) -> bool:
    """Whether a database has no memory of the newest batch that another one has from it.
    ``newest``: its newest batch, if that was read already."""
    number = known.received_batch
    if not number:
        return False
    if newest is not None and newest.number == number and newest.token:
        return newest.token != known.received_token
    remembered = token(side.alias, number)
    if remembered is None:
        return number > own_node(side.alias).last_batch
    return remembered != known.received_token


def earlier_identity(side: Side, other: Side, known: Peer | None = None) -> str | None:
    """The identity under which ``other`` knows a database that has taken a new one since.
    ``known``: what ``other`` knows of the one in force, if that was read already."""
    if not (known or peer(other.alias, side.uid))._state.adding:
        return None
    peers = Peer.objects.using(side.alias)
    # The one that came along with a copy belongs to the original, which is a peer.
    retired = (
        Node.objects.using(side.alias)
        .exclude(pk=SELF)
        .exclude(uid__in=list(peers.values_list("node", flat=True)))
        .order_by("-retired", "-pk")
        .values_list("uid", flat=True)
    )
    peers_there = set(Peer.objects.using(other.alias).values_list("node", flat=True))
    return next((uid for uid in retired if uid in peers_there), None)


def require_same_place(local: Side, remote: Side, known: Peer) -> None:
    """Raise NodeError if the alias of a REMOTE without synchro's tables leads to another place
    than in the last run: nothing else tells whether it is the same database."""
    # A peer without tables has sent no batch: the field holds its address.
    if known.received_token in ("", address(remote.alias)):
        return
    peers = f"Peer.objects.using({local.alias!r}).filter(node={remote.uid!r})"
    references = f"Reference.objects.using({local.alias!r}).filter(node={remote.uid!r})"
    raise NodeError(
        f"{remote.alias!r} is not where it was in the last run (HOST, PORT or NAME in DATABASES "
        "has changed), and it has no tables of synchro by which to recognize it. If it is the "
        f"same database in another place: {peers}.update(received_token=''). If it is another "
        f"database: {references}.delete() and {peers}.delete() (both are in synchro.models)"
    )


def require_one_history(
    local: Side, remote: Side, *, here: Peer, there: Peer, newest: Sealed
) -> None:
    """Raise NodeError if one of the databases was restored from a backup, so that the two know
    different things of it. ``here``: what LOCAL knows of REMOTE; ``there``: the reverse;
    ``newest``: LOCAL's newest batch."""
    for side, other, known in ((local, remote, there), (remote, local, here)):
        if has_forgotten(side, known, newest if side is local else None):
            raise NodeError(
                f"{other.alias!r} has applied batch {known.received_batch} of {side.alias!r}, "
                f"which {side.alias!r} does not know: it was restored from a backup, or copied. "
                "Give it a new identity before it synchronizes again: "
                f"manage.py synchro_adopt --restored --remote {remote.alias}"
            )
        if earlier_identity(side, other, known) is not None:
            raise NodeError(
                f"{other.alias!r} knows {side.alias!r} by the identity that it gave up when it "
                "was restored from a backup. Bring over what is known of it: "
                f"manage.py synchro_adopt --restored --remote {remote.alias}"
            )
