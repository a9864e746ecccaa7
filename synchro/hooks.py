"""Signals of runs. All of them have ``local`` and ``remote``, the aliases, as arguments.

``pre_synchronize``
    before a run looks at the log
``object_synchronized``
    after the run, for each object that it wrote: the sender is the model, ``key`` and
    ``remote_key`` its primary keys as text (None where there is none), ``action`` is ``create``,
    ``update``, ``link`` or ``delete``
``post_synchronize``
    after each run that did not fail, with its ``result``
``sync_complete``
    the same, but only if something was changed on REMOTE
"""

from __future__ import annotations

from django.dispatch import Signal

from synchro.names import model_named
from synchro.results import SyncResult

pre_synchronize = Signal()
object_synchronized = Signal()
post_synchronize = Signal()
sync_complete = Signal()


def tell(result: SyncResult, *, local: str, remote: str) -> None:
    """Send the signals of a run that has ended. What receivers raise goes to the caller."""
    sides = {"local": local, "remote": remote}
    if object_synchronized.receivers:
        for one in result.objects():
            if one.status == "success":
                object_synchronized.send(
                    sender=model_named(one.model),
                    key=one.key,
                    remote_key=one.remote_key,
                    action=one.action,
                    **sides,
                )
    post_synchronize.send(sender=None, result=result, **sides)
    if result.counts:
        sync_complete.send(sender=None, result=result, **sides)
