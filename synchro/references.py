"""Which row on REMOTE stands for which row on LOCAL: what was written down about it.

A reference is stored in the database that received the object. So what LOCAL made on REMOTE is
found in REMOTE's table, and what REMOTE made on LOCAL is found in LOCAL's: both are asked. Where
REMOTE has no tables of synchro, references are stored on LOCAL once REMOTE has committed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import connections
from django.db.models import F, Model, QuerySet

from synchro.ahead import Ahead
from synchro.chunks import batched, transposed
from synchro.conf import conf
from synchro.exceptions import NaturalKeyError, PlanError
from synchro.keypairs import KeyPairs
from synchro.keys import load_object_id, object_id, object_ids
from synchro.keysets import KeyList, KeySet
from synchro.members import members_of
from synchro.models import Reference
from synchro.nodes import Side
from synchro.sql import insertion

_IDS_PER_QUERY = 2000


class References:
    """The references between the two databases of a run."""

    def __init__(self, local: Side, remote: Side) -> None:
        self.local = local
        self.remote = remote
        self._later: dict[type[Model], dict[str, str]] = {}
        self._gone: defaultdict[type[Model], KeyList] = defaultdict(KeyList)
        """The objects of which LOCAL's own table is out of date."""
        self._empty: dict[tuple[str, type[Model]], bool] = {}
        """Whether there is no reference in a database, as far as this run has not made any."""
        self._differing: set[type[Model]] = set()
        """The models of which not all keys have a reference to an equal one."""
        self._saved: dict[type[Model], tuple[KeySet, KeySet]] = {}
        """The keys, on LOCAL and on REMOTE, of the references that this run has made."""
        self._written: defaultdict[type[Model], KeyPairs] = defaultdict(KeyPairs)
        """What REMOTE's table is known to say, and LOCAL's does not gainsay: LOCAL key -> REMOTE
        key. It need not be written again."""

    def to_remote(self, model: type[Model], pks: Iterable[Any]) -> dict[Any, Any]:
        """LOCAL key -> REMOTE key, of the keys that have a reference."""
        return self._find(model, pks, here="local_object_id", there="remote_object_id")

    def to_local(self, model: type[Model], remote_pks: Iterable[Any]) -> dict[Any, Any]:
        """REMOTE key -> LOCAL key, of the keys that have a reference."""
        return self._find(model, remote_pks, here="remote_object_id", there="local_object_id")

    def _find(
        self, model: type[Model], pks: Iterable[Any], *, here: str, there: str
    ) -> dict[Any, Any]:
        """``here`` and ``there``: the columns of a row on LOCAL; on REMOTE they change places."""
        keys = list(pks)
        ids = dict(zip(object_ids(model, keys), keys, strict=True))
        found: dict[Any, Any] = {}
        certain: dict[Any, Any] = {}
        for chunk in batched(ids, _IDS_PER_QUERY):
            older: dict[str, str] = {}
            if not self._is_empty(self.local, model):
                older = dict(
                    self._among(self._on_local(model), here, chunk).values_list(here, there)
                )
            newer: dict[str, str] = {}
            if model in self._saved or not self._is_empty(self.remote, model):
                newer = self._on_remote_of(model, there, here, chunk)
            if not older and all(mine == other for mine, other in newer.items()):
                # The common case, in short.
                same = {ids[text]: ids[text] for text in newer}
                found.update(same)
                certain.update(same)
                continue
            for mine, other in (older | newer).items():
                try:
                    # The same text is the same key, which is kept in memory once.
                    key = ids[mine] if mine == other else load_object_id(model, other)
                except NaturalKeyError as error:
                    raise PlanError(
                        f"A reference of {model._meta.label} {ids[mine]} leads to a row that "
                        f"cannot be: {error} Delete it, in {self.local.alias!r} or "
                        f"{self.remote.alias!r}: Reference.objects.using(...).filter("
                        f"label={model._meta.label_lower!r}, {here}={mine!r}), or "
                        f"{there}={mine!r} in {self.remote.alias!r}"
                    ) from error
                found[ids[mine]] = key
                plain = mine == other or object_id(model, key) == other
                if plain and mine in newer and older.get(mine, other) == other:
                    certain[ids[mine]] = key
        if here == "remote_object_id":
            certain = {pk: remote_pk for remote_pk, pk in certain.items()}
        self._written[model].update(certain)
        return found

    def _on_remote_of(
        self, model: type[Model], column: str, other: str, ids: list[str]
    ) -> dict[str, str]:
        """What REMOTE's table has of keys in a column: the keys in the other one."""
        rows = self._among(self._on_remote(model), column, ids)
        if model not in self._differing:
            # Where one database began as a copy of the other, all keys are the same on both sides:
            # that is less to read than the keys.
            if rows.filter(**{column: F(other)}).count() == len(ids):
                return dict(zip(ids, ids, strict=True))
            self._differing.add(model)
        return dict(rows.values_list(column, other))

    def certain(self, model: type[Model], pks: Iterable[Any]) -> dict[Any, Any]:
        """LOCAL key -> REMOTE key, of references that REMOTE's own table is known to have; None
        of others."""
        return self._written[model].pick(pks)

    @staticmethod
    def _among(rows: QuerySet[Reference], column: str, ids: list[str]) -> QuerySet[Reference]:
        wanted = members_of(Reference, column, ids, connections[rows.db])
        return rows.filter(**{f"{column}__in": wanted})

    def save(
        self, model: type[Model], pairs: Mapping[Any, Any], ahead: Ahead | None = None
    ) -> None:
        """Write down LOCAL key -> REMOTE key, in place of what was known of either; if REMOTE may
        do it ahead, perhaps not at once."""
        written = self._written[model]
        certain = written.pick(pairs)
        new = [pk for pk, remote_pk in pairs.items() if certain[pk] != remote_pk]
        if not new:
            return
        there = object_ids(model, [pairs[pk] for pk in new])
        texts = dict(zip(object_ids(model, new), there, strict=True))
        if not self.remote.has_tables:
            self._later.setdefault(model, {}).update(texts)
            return
        rows = {remote_id: local_id for local_id, remote_id in texts.items()}
        # What LOCAL's own table said about these objects is out of date now.
        self._gone[model].extend(new)
        mine, theirs = self._saved.setdefault(model, (KeySet(), KeySet()))
        replaces = not self._is_empty(self.remote, model) or any(
            pk in mine or remote_pk in theirs for pk, remote_pk in pairs.items()
        )
        mine.update(pairs)
        theirs.update(pairs.values())
        older = self._on_remote(model) if replaces else None
        self._replace(self.remote.alias, older, model, self.local.uid, rows, ahead)

    def drop(self, model: type[Model], pks: Iterable[Any], remote_pks: Iterable[Any]) -> None:
        """Forget what was known of deleted rows."""
        gone = list(pks)
        written = self._written[model]
        for pk in gone:
            written.discard(pk)
        self._gone[model].extend(gone)
        if self.remote.has_tables:
            remote_ids = [object_id(model, pk) for pk in remote_pks]
            self._delete(self._on_remote(model), "local_object_id", remote_ids)

    def finish(self) -> None:
        """Write on LOCAL what belongs there. To be called once REMOTE has committed, and again
        if LOCAL could not commit."""
        for model, pks in self._gone.items():
            if not self._on_local(model).exists():
                continue
            ids = (object_id(model, pk) for pk in pks)
            self._delete(self._on_local(model), "local_object_id", ids)
        for model, pairs in self._later.items():
            rows = self._on_local(model)
            self._replace(self.local.alias, rows, model, self.remote.uid, pairs)

    @staticmethod
    def _replace(
        alias: str,
        rows: QuerySet[Reference] | None,
        model: type[Model],
        node: str,
        pairs: Mapping[str, str],
        ahead: Ahead | None = None,
    ) -> None:
        """Write references (key there -> other key). ``rows``: those that they may be in place
        of; None if there surely are none."""
        content_type = ContentType.objects.db_manager(alias).get_for_model(model)
        same = {"node": node, "content_type": content_type.pk, "label": model._meta.label_lower}
        for chunk in batched(pairs.items(), _IDS_PER_QUERY):
            mine, others = transposed(chunk)
            if rows is not None:
                References._delete(rows, "local_object_id", mine)
                References._delete(rows, "remote_object_id", others)
            columns = {"local_object_id": mine, "remote_object_id": others}
            insert = insertion(alias, Reference, columns, same=same)
            if ahead is None:
                insert()
            else:
                ahead.run(insert, len(chunk))

    @staticmethod
    def _delete(rows: QuerySet[Reference], column: str, ids: Iterable[str]) -> None:
        for chunk in batched(ids, _IDS_PER_QUERY):
            wanted = members_of(Reference, column, chunk, connections[rows.db])
            found: Any = rows.filter(**{f"{column}__in": wanted})
            found._raw_delete(rows.db)

    def _is_empty(self, side: Side, model: type[Model]) -> bool:
        """Whether a database had no references of a model when the run came to it."""
        if not side.has_tables:
            return True
        if (side.alias, model) not in self._empty:
            rows = self._on_local(model) if side is self.local else self._on_remote(model)
            self._empty[side.alias, model] = not rows.exists()
        return self._empty[side.alias, model]

    def _on_remote(self, model: type[Model]) -> QuerySet[Reference]:
        rows = Reference.objects.using(self.remote.alias)
        return rows.filter(label=model._meta.label_lower, node=self.local.uid)

    def _on_local(self, model: type[Model]) -> QuerySet[Reference]:
        rows = Reference.objects.using(self.local.alias).filter(label=model._meta.label_lower)
        if self.remote.alias == conf.remote:
            # 0.x had one REMOTE and did not write down which.
            return rows.filter(node__in=(self.remote.uid, ""))
        return rows.filter(node=self.remote.uid)
