"""What a run did, for whoever started it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from synchro.held import Held
from synchro.keys import object_id
from synchro.keysets import KeyList
from synchro.models import NEEDS_HELD, STALE, UNREADABLE
from synchro.names import model_named
from synchro.plan import Skipped
from synchro.preview import Plan

_PERFORMED = _("Synchronization performed successfully.")
_NO_CHANGES = _("No changes since last synchronization.")

SUCCESS: Final = "success"
FAILURE: Final = "failure"
ERROR: Final = "error"
HELD: Final = "held"
STALE_STATUS: Final = "stale"
_STATUS: Final = {UNREADABLE: ERROR, NEEDS_HELD: HELD, STALE: STALE_STATUS, "excluded": HELD}


def counted(action: str, number: int) -> str:
    """What was done with how many objects, in words of the active language."""
    texts = {
        "create": ngettext("%d created", "%d created", number),
        "update": ngettext("%d updated", "%d updated", number),
        "link": ngettext("%d links changed", "%d links changed", number),
        "delete": ngettext("%d deleted", "%d deleted", number),
        "matched": ngettext("%d matched", "%d matched", number),
    }
    return texts[action] % number if action in texts else f"{number} {action}"


class Done:
    """The objects of one model with which one thing was done: keys on both sides."""

    __slots__ = ("pks", "remote_pks")

    def __init__(self) -> None:
        self.pks = KeyList()
        self.remote_pks = KeyList()

    def add(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        """Note more of them: keys on LOCAL and REMOTE."""
        self.pks.extend([pk for pk, _ in pairs])
        self.remote_pks.extend([remote_pk for _, remote_pk in pairs])


Record = Mapping[tuple[str, str], Done]
"""(model label, action) -> objects."""


class ObjectResult(NamedTuple):
    """What became of one object."""

    model: str
    """The model's label."""
    key: str | None
    """The primary key on LOCAL, as text; None for a row that only REMOTE had."""
    remote_key: str | None
    action: str
    """``create``, ``update``, ``link``, ``delete``; empty where nothing was done."""
    status: str
    """``success``, ``failure`` (refused), ``error`` (unreadable), ``held`` or ``stale``."""
    message: str


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """What a run did."""

    changed: bool
    """Whether the log had anything for REMOTE."""
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """(model label, action) -> objects; actions are create, update, link and delete."""
    skipped: list[Skipped] = field(default_factory=list)
    """Changes that were not applied and are not tried again, and why."""
    held: list[Held] = field(default_factory=list)
    """Changes that could not be applied, and why. Every later run tries them again."""
    excluded: int = 0
    """How many changes were left out on purpose, by flags, models or a plan. They stay pending."""
    overwritten: list[Skipped] = field(default_factory=list)
    """Changes on REMOTE that lost against later ones here: the other half of the conflicts."""
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    """What a person should know about this pair of databases."""
    plan: Plan | None = None
    """Of a dry run: what would be done."""
    record: Record = field(default_factory=dict, repr=False)
    """The keys of the objects that were written, as ``objects`` reads them."""

    @property
    def message(self) -> str:
        """The outcome in one sentence, in the active language."""
        return str(_PERFORMED if self.changed else _NO_CHANGES)

    @property
    def total(self) -> int:
        """How many objects were created, updated, linked or deleted."""
        return sum(self.counts.values())

    @property
    def rows_per_second(self) -> float:
        """Objects a second, of the whole run; 0 if it took no time that could be measured."""
        return self.total / self.seconds if self.seconds > 0 else 0.0

    def by_model(self) -> dict[str, str]:
        """Model label -> what was done with its objects, in words of the active language."""
        labels = sorted({label for label, _action in self.counts})
        return {
            label: ", ".join(
                counted(action, self.counts[label, action])
                for action in ("create", "update", "link", "delete")
                if self.counts.get((label, action))
            )
            for label in labels
        }

    def objects(self) -> Iterator[ObjectResult]:
        """What became of each object, one by one."""
        for (label, action), done in self.record.items():
            model = model_named(label)
            if model is None:
                continue
            for pk, remote_pk in zip(done.pks, done.remote_pks, strict=True):
                yield ObjectResult(
                    label,
                    None if pk is None else object_id(model, pk),
                    None if remote_pk is None else object_id(model, remote_pk),
                    action,
                    SUCCESS,
                    "",
                )
        for held in self.held:
            status = _STATUS.get(held.reason, FAILURE)
            yield ObjectResult(held.label, held.object_id, None, "", status, held.detail)

    def summary(self) -> dict[str, Any]:
        """The counts as plain data, without the objects."""
        models: dict[str, dict[str, int]] = {}
        for (label, action), number in sorted(self.counts.items()):
            models.setdefault(label, {})[action] = number
        actions = Counter[str]()
        for (_label, action), number in self.counts.items():
            actions[action] += number
        return {
            "changed": self.changed,
            "total": self.total,
            "counts": dict(sorted(actions.items())),
            "models": models,
            "skipped": [
                {
                    "model": one.label,
                    "key": str(one.pk),
                    "reason": one.reason,
                    "detail": one.detail,
                }
                for one in self.skipped
            ],
            "held": [
                {
                    "model": one.label,
                    "key": one.object_id,
                    "field": one.field or None,
                    "reason": one.reason,
                    "detail": one.detail,
                    "attempts": one.attempts,
                }
                for one in self.held
            ],
            "excluded": self.excluded,
            "overwritten": [
                {"model": one.label, "key": str(one.pk), "detail": one.detail}
                for one in self.overwritten
            ],
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rows_per_second, 1),
            "warnings": self.warnings,
        }

    def to_json(self, *, objects: bool = False) -> str:
        """``summary`` as JSON; with ``objects``, each object's result, too."""
        data = self.summary()
        if objects:
            data["objects"] = [one._asdict() for one in self.objects()]
        return json.dumps(data, ensure_ascii=False)
