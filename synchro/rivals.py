"""Changes on REMOTE that compete with LOCAL's: what REMOTE's log knows of the same objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db.models import Model

from synchro import log
from synchro.chunks import batched
from synchro.conf import conf
from synchro.conflicts import RemoteChange, is_conflict, newest_wins
from synchro.counterparts import Counterparts
from synchro.graph import descendants, family
from synchro.keys import dump_key, natural_lookup, object_ids
from synchro.keysets import KeySet
from synchro.models import DELETION, M2M_CHANGE, REMOTE_NEWER, HeldChange
from synchro.nodes import Side
from synchro.plan import Skipped
from synchro.remotes.database import DatabaseEnd


class Rivals:
    def __init__(
        self, local: Side, remote: DatabaseEnd, counterparts: Counterparts, received_batch: int
    ) -> None:
        self.local = local
        self.remote = remote
        self.counterparts = counterparts
        self.received_batch = received_batch
        """Up to here LOCAL has received REMOTE's own batches."""
        self._tombstones: dict[type[Model], dict[str, RemoteChange]] = {}
        self._overwritten: dict[tuple[str, Any, str], Skipped] = {}
        self._beaten: dict[type[Model], set[str]] = {}
        self._settled: dict[tuple[type[Model], tuple[str, ...]], KeySet] = {}
        """Rows of REMOTE (by model, and the labels of its log) that only LOCAL has changed, and
        that are locked: nobody else will change them before the run has ended."""

    @property
    def overwritten(self) -> list[Skipped]:
        """Changes of REMOTE's that LOCAL had not seen, and that lost against LOCAL's."""
        return list(self._overwritten.values())

    def newer(
        self,
        model: type[Model],
        field: str,
        times: Mapping[Any, datetime],
        remote_keys: Mapping[Any, Any],
        labels: Iterable[type[Model]] | None = None,
    ) -> dict[Any, RemoteChange]:
        """Which of LOCAL's changes REMOTE has newer ones of, and those.

        ``field``: the many-to-many field of a change of links, else empty. ``times``: when LOCAL
        changed objects. ``remote_keys``: those to be looked at, with their keys on REMOTE.
        ``labels``: the models whose log rows count; by default those whose objects have a row in
        the model's table.
        """
        if not remote_keys or not self.remote.side.has_tables:
            return {}
        names = tuple(other._meta.label_lower for other in labels or descendants(model))
        settled = self._settled.setdefault((model, names), KeySet())
        outside = {*settled.outside(remote_keys.values())}
        if not outside:
            return {}
        rest = {pk: key for pk, key in remote_keys.items() if key in outside}
        texts = dict(zip(rest, object_ids(model, list(rest.values())), strict=True))
        lost: dict[Any, RemoteChange] = {}
        for chunk in batched(texts, conf.batch_size):
            # From here to the end of the run nobody else changes these rows on REMOTE.
            locked = self.remote.lock(model, [remote_keys[pk] for pk in chunk])
            # Most objects have no rival, and their log rows need not be read.
            suspects = log.contested(
                self.remote.side.alias,
                names,
                [texts[pk] for pk in chunk],
                made_by_other_than=self.local.uid,
                after=self.received_batch,
            )
            settled.update(
                remote_keys[pk]
                for pk in chunk
                if texts[pk] not in suspects and remote_keys[pk] in locked
            )
            doubtful = [pk for pk in chunk if texts[pk] in suspects]
            newest = log.newest(self.remote.side.alias, names, [texts[pk] for pk in doubtful])
            for pk in doubtful:
                rivals = [newest.get((texts[pk], field))]
                if field:
                    # Links go with their object: its deletion is a change of its links, too.
                    own = newest.get((texts[pk], ""))
                    rivals.append(own if own is not None and own.action == DELETION else None)
                for rival in rivals:
                    if rival is None:
                        continue
                    if not self._wins(times[pk], rival):
                        lost[pk] = rival
                    elif self._is_conflict(rival):
                        self._note(model, pk, field, times[pk], rival)
        return lost

    def _wins(self, made: datetime, rival: RemoteChange) -> bool:
        return newest_wins(
            made,
            rival,
            local_uid=self.local.uid,
            received_batch=self.received_batch,
        )

    def _is_conflict(self, rival: RemoteChange) -> bool:
        return is_conflict(rival, local_uid=self.local.uid, received_batch=self.received_batch)

    def _note(
        self, model: type[Model], pk: Any, field: str, made: datetime, rival: RemoteChange
    ) -> None:
        """Whoever made the losing change on REMOTE must be able to learn of it."""
        label = model._meta.label_lower
        self._overwritten[label, pk, field] = Skipped(
            label=label,
            pk=pk,
            action={DELETION: "delete", M2M_CHANGE: "link"}.get(rival.action, "write"),
            reason="local-newer",
            detail=f"the change on {self.remote.side.alias!r} "
            f"({rival.made:%Y-%m-%d %H:%M:%S}) is earlier than the one here "
            f"({made:%Y-%m-%d %H:%M:%S})",
        )

    def beaten(self, model: type[Model]) -> set[str]:
        """The keys on REMOTE, as text, of objects whose change lost against one made here when
        REMOTE sent it: for both sides they are the same object as that of the winner."""
        if model not in self._beaten:
            rows = HeldChange.objects.using(self.local.alias).filter(
                node=self.remote.side.uid,
                waiting=False,
                reason=REMOTE_NEWER,
                label__in=[other._meta.label_lower for other in family(model)],
            )
            self._beaten[model] = set(rows.values_list("object_id", flat=True))
        return self._beaten[model]

    def deleted(self, model: type[Model], times: dict[Any, datetime]) -> dict[Any, RemoteChange]:
        """Which objects that REMOTE lacks it has deleted later, by their natural keys."""
        if not times or not self.remote.side.has_tables or not natural_lookup(model):
            return {}
        if model not in self._tombstones:
            self._tombstones[model] = log.tombstones(
                self.remote.side.alias,
                model._meta.label_lower,
                made_by_other_than=self.local.uid,
            )
        tombstones = self._tombstones[model]
        if not tombstones:
            return {}
        lost: dict[Any, RemoteChange] = {}
        for pk, key in self.counterparts.natural_keys(model, times).items():
            rival = None if key is None else tombstones.get(dump_key(key))
            if rival is None:
                continue
            if not self._wins(times[pk], rival):
                lost[pk] = rival
            elif self._is_conflict(rival):
                self._note(model, pk, "", times[pk], rival)
        return lost
