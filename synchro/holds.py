"""What one run cannot apply, and why: kept in memory until the run ends.

A change is held as a whole. Where part of it has been written already when it turns out that it
cannot be applied, the pass is *spoiled*: it is undone and made again without that change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple, NoReturn

from django.db.models import Model

from synchro.exceptions import ReplayError, SynchroError
from synchro.graph import identity
from synchro.models import EXCLUDED, NEEDS_HELD, REFUSED, STALE, UNREADABLE

Part = tuple[type[Model], str]
"""The identity of a model, and a many-to-many field; empty for the objects' own fields, and for
their deletion."""


class Cause(NamedTuple):
    reason: str
    """One of ``models.REASONS``."""
    error: SynchroError

    @property
    def detail(self) -> str:
        return self.error.reason


ADVICE: Final = (
    "Nothing was changed there; the next run tries again. To apply the rest all the same: "
    "manage.py synchronize --continue-on-failure"
)


ON_PURPOSE: Final = (EXCLUDED, STALE)
"""The reasons of changes that a run was told to leave out: no failures."""


class Spoiled(Exception):
    """The pass has half applied a change that is held now, and has to be made again."""


class Holds:
    """The changes that a run holds."""

    def __init__(self, *, tolerant: bool, before: Collection[tuple[Part, Any]] = ()) -> None:
        """``tolerant``: hold what cannot be applied instead of raising the error. ``before``:
        what earlier runs held, and nothing new was logged of (part, key on LOCAL)."""
        self.tolerant = tolerant
        self._before = frozenset(before)
        self._held: dict[Part, dict[Any, Cause]] = {}
        self._unread: dict[tuple[str, str], Cause] = {}
        self._touched: set[tuple[type[Model], Any]] = set()
        self._spoiling: set[tuple[Part, Any]] = set()

    def __bool__(self) -> bool:
        return any(self._held.values()) or bool(self._unread)

    def __len__(self) -> int:
        return sum(map(len, self._held.values())) + len(self._unread)

    def get(self, model: type[Model], pk: Any, field: str = "") -> Cause | None:
        """Why a change is held, None if it is not."""
        held = self._held.get((identity(model), field))
        return held.get(pk) if held else None

    def held(self, model: type[Model], field: str = "") -> list[Any]:
        """The keys on LOCAL of the objects whose change is held."""
        return list(self._held.get((identity(model), field), ()))

    def was_held(self, model: type[Model], pk: Any, field: str = "") -> bool:
        """Whether an earlier run held the change, and nothing new was logged of it."""
        return bool(self._before) and ((identity(model), field), pk) in self._before

    def __iter__(self) -> Iterator[tuple[Part, Any, Cause]]:
        for part, causes in self._held.items():
            for pk, cause in causes.items():
                yield part, pk, cause

    @property
    def unread(self) -> dict[tuple[str, str], Cause]:
        """(label, key as text) -> why the log's entry could not be read."""
        return self._unread

    def add(
        self,
        model: type[Model],
        pk: Any,
        error: SynchroError,
        *,
        field: str = "",
        reason: str = REFUSED,
        remote_pk: Any = None,
        half_done: bool = False,
    ) -> None:
        """Hold a change of the object (key on LOCAL), or raise the error where that is not asked
        for. ``half_done``: part of the change may have been written."""
        if not self.tolerant and reason not in ON_PURPOSE:
            raise error
        part = (identity(model), field)
        self._held.setdefault(part, {})[pk] = Cause(reason, error)
        if half_done or (remote_pk is not None and (part[0], remote_pk) in self._touched):
            self._spoiling.add((part, pk))

    def lacks(
        self, model: type[Model], pk: Any, needed: type[Model], needed_pk: Any
    ) -> ReplayError:
        """The error of a change that needs an object that is held itself."""
        cause = self.get(needed, needed_pk)
        why = f": {cause.detail}" if cause else "."
        return ReplayError(
            f"{model._meta.label} {pk} needs {needed._meta.label} {needed_pk}, which is held{why}",
            ADVICE,
        )

    def add_unread(self, label: str, text: str, error: SynchroError) -> None:
        """Hold an entry of the log that names no model or no object."""
        if not self.tolerant:
            raise error
        self._unread[label, text] = Cause(UNREADABLE, error)

    def touch(self, model: type[Model], remote_pk: Any) -> None:
        """Note that a row on REMOTE has been changed ahead of its own turn: if its change is
        held after all, the pass is spoiled."""
        self._touched.add((identity(model), remote_pk))

    def end_pass(self) -> None:
        """Raise Spoiled if a change was half applied. What is to blame stays held, so that the
        next pass leaves it out; what only needed it is found again."""
        if not self._spoiling:
            return
        self.start_again()

    def start_again(self) -> NoReturn:
        """Raise Spoiled."""
        for part, causes in self._held.items():
            self._held[part] = {
                pk: cause
                for pk, cause in causes.items()
                if cause.reason != NEEDS_HELD or (part, pk) in self._spoiling
            }
        self._spoiling.clear()
        self._touched.clear()
        raise Spoiled
