"""What happens to the triggers when a project migrates."""

from __future__ import annotations

import logging
from typing import Any

from django.db import connections

from synchro.conf import conf
from synchro.exceptions import TriggerError
from synchro.nodes import has_log
from synchro.triggers import install, presence
from synchro.triggers.vendors import has_dialect

logger = logging.getLogger("synchro.triggers")

_READ: frozenset[str] = frozenset({"synchro"})
"""Apps whose tables the triggers write to: SQLite cannot rebuild those beneath them."""


def before(using: str, plan: Any = (), **kwargs: Any) -> None:
    """Receiver of pre_migrate."""
    apps = {migration.app_label for migration, _backwards in plan or ()}
    presence.forget()
    if not apps or not has_dialect(using) or not presence.has_any(using):
        return
    if connections[using].vendor == "sqlite" and apps & _READ:
        install.remove(using)
    else:
        install.loosen(using, apps)


def after(using: str, **kwargs: Any) -> None:
    """Receiver of post_migrate."""
    presence.forget()
    if using not in conf.logged_aliases or conf.problems() or not has_dialect(using):
        return
    if not has_log(using):
        return
    try:
        changed = install.renew(using)
    except TriggerError as error:
        # Signals go on logging, and the system check says so.
        logger.warning("%s", error)
        return
    if changed is not None and not changed.is_current:
        logger.info(
            "%s: %d triggers made, %d removed", using, len(changed.missing), len(changed.stale)
        )
