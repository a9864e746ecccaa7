"""The two databases of a run: who they are, and whether one can start."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections

from synchro.conf import conf
from synchro.exceptions import NodeError, SynchroError
from synchro.lock import are_one
from synchro.nodes import Side, require_file, require_tables, side


def remote_alias(remote: str | None) -> str:
    """The alias of REMOTE, if it is one. Raises SynchroError or ImproperlyConfigured."""
    alias = conf.remote if remote is None else remote
    if alias is None:
        raise SynchroError(
            "No REMOTE database is set: set SYNCHRO_REMOTE to an alias of DATABASES, or name one."
        )
    if alias not in connections.settings:
        raise ImproperlyConfigured(
            f"There is no database {alias!r} in DATABASES "
            f"(it has {', '.join(sorted(connections.settings))})."
        )
    if alias == conf.local:
        raise SynchroError(f"{alias!r} is LOCAL itself: name another database as REMOTE.")
    return alias


def refuse_open_transactions(*aliases: str) -> None:
    """Raise SynchroError if the caller has a transaction open on one of the databases. The run
    counts on its own commits: what the caller rolled back would be taken for done. (The
    transaction of django.test.TestCase is let through, as by ``atomic(durable=True)``.)"""
    for alias in aliases:
        connection = connections[alias]
        blocks = connection.atomic_blocks
        if not all(getattr(block, "_from_testcase", False) for block in blocks) or not (
            blocks or connection.get_autocommit()
        ):
            raise SynchroError(
                f"A run cannot start inside a transaction on {alias!r}: its own commits would "
                "not count. Call it outside atomic(); in a view, use "
                f"@transaction.non_atomic_requests(using={alias!r})."
            )


def sides(remote: str, *, make: bool = True) -> tuple[Side, Side]:
    """LOCAL and REMOTE. ``make``: give them identities if they have none yet. Raises NodeError if
    one does not answer, or LOCAL has no tables."""
    found = []
    for alias in (conf.local, remote):
        try:
            require_file(alias)
            if alias == conf.local:
                require_tables(alias)
            found.append(side(alias, make=make))
        except DatabaseError as error:
            cause = " ".join(str(error).split())
            raise NodeError(
                f"The database {alias!r} does not answer: {cause}. Nothing was changed; "
                "the next run tries again."
            ) from error
    here, there = found
    if here.uid and here.uid == there.uid and are_one(here, there):
        raise SynchroError(
            f"{here.alias!r} and {there.alias!r} lead to one and the same database: name another "
            "one as REMOTE."
        )
    return here, there
