"""Unique values that change hands between rows of REMOTE.

Two rows may swap a unique value, or a new row may take that of a row that is about to go. The
database checks each statement, so the present holder must give its value up first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from django.db import DatabaseError, transaction
from django.db.models import BooleanField, Field, Model, Q, UniqueConstraint

from synchro.chunks import batched
from synchro.exceptions import ReplayError
from synchro.graph import columns, skipped_fields
from synchro.holds import Holds
from synchro.placeholders import Placeholders, reluctance
from synchro.remotes.database import DatabaseEnd
from synchro.sql import TableWriter, key_values
from synchro.transient import is_transient

_VALUES_PER_QUERY = 900
_COMBINATIONS_PER_QUERY = 150
_FEW = 10
"""So many rows give their values up one by one."""


class Group(NamedTuple):
    """Columns whose values must be unique together."""

    fields: tuple[Field[Any, Any], ...]
    condition: Q | None = None
    """Only rows that meet it count."""
    by_expression: bool = False
    """Whether other text may be taken for equal, in ways that only an expression knows."""


@cache
def unique_groups(model: type[Model]) -> tuple[Group, ...]:
    """The sets of columns of the model's own table whose values must be unique together."""
    own = {field.name: field for field in columns(model)}
    groups: list[tuple[Sequence[str], Q | None, bool]] = [
        ((field.name,), None, False)
        for field in own.values()
        if field.unique and not field.primary_key
    ]
    groups += [(tuple(names), None, False) for names in model._meta.unique_together]
    for constraint in model._meta.constraints:
        if isinstance(constraint, UniqueConstraint):
            if constraint.fields:
                groups.append((constraint.fields, constraint.condition, False))
            else:
                # Over expressions: any field in them may be the one in the way.
                names = sorted(_names_in(constraint) & own.keys())
                groups += [((name,), constraint.condition, True) for name in names]
    return tuple(
        Group(tuple(own[name] for name in names), condition, by_expression)
        for names, condition, by_expression in groups
        if all(name in own for name in names)
    )


def _names_in(constraint: UniqueConstraint) -> set[str]:
    found: set[str] = set()
    todo: list[Any] = list(constraint.expressions)
    while todo:
        expression = todo.pop()
        name = getattr(expression, "name", None)
        if isinstance(name, str):
            found.add(name)
        if hasattr(expression, "get_source_expressions"):
            todo += [part for part in expression.get_source_expressions() if part is not None]
    return found


class Releaser:
    """Makes rows of one model on REMOTE give up unique values that others are to get."""

    def __init__(self, remote: DatabaseEnd, model: type[Model], holds: Holds) -> None:
        self.remote = remote
        self.model = model
        self.holds = holds
        self._skip = skipped_fields(model)
        self._placeholders = Placeholders(remote, model)

    def release(self, rows: Sequence[tuple[Any, dict[str, Any]]], movable: set[Any]) -> bool:
        """Free the values of rows, given as (REMOTE key or None, attribute -> new value).

        ``movable``: the keys of rows that are still to be written or deleted in this run; only
        these give a value up. Returns whether any did.
        """
        released = False
        for group in unique_groups(self.model):
            attributes = [field.attname for field in group.fields]
            wanted: dict[tuple[Any, ...], Any] = {}
            for pk, values in rows:
                if all(name in values for name in attributes):
                    key = tuple(values[name] for name in attributes)
                    if None not in key:
                        wanted[key] = pk
            holders = {
                holder: held
                for holder, held in self._holders(attributes, wanted, group)
                if holder in movable
            }
            released |= bool(holders)
            if len(holders) > _FEW and self._give_up_all(holders, group, rows):
                for holder in holders:
                    self.holds.touch(self.model, holder)
                continue
            for holder, held in holders.items():
                self.holds.touch(self.model, holder)
                self._give_up(holder, group, held, rows)
        return released

    def _holders(
        self,
        attributes: list[str],
        wanted: dict[tuple[Any, ...], Any],
        group: Group,
    ) -> Iterator[tuple[Any, tuple[Any, ...]]]:
        """Rows that hold a wanted value that is not to be theirs: (key, values)."""
        keep = {pk: key for key, pk in wanted.items() if pk is not None}
        simple = len(attributes) == 1 and not group.by_expression
        size = _VALUES_PER_QUERY if simple else _COMBINATIONS_PER_QUERY
        for chunk in batched(wanted, size):
            if simple:
                # Compared as the index does.
                (name,) = attributes
                found = self.remote.among(self.model, name, [value for (value,) in chunk])
            else:
                condition = self.remote.any_of(attributes, chunk)
                if len(attributes) == 1 and isinstance(chunk[0][0], str):
                    (name,) = attributes
                    alike = (Q(**{f"{name}__iexact": value}) for (value,) in chunk)
                    condition |= Q(*alike, _connector=Q.OR)
                found = self.remote.objects(self.model).filter(condition)
            if group.condition is not None:
                found = found.filter(group.condition)
            for pk, *values in list(found.values_list("pk", *attributes)):
                if keep.get(pk) != tuple(values):
                    yield pk, tuple(values)

    def _give_up_all(
        self,
        holders: Mapping[Any, tuple[Any, ...]],
        group: Group,
        rows: Sequence[tuple[Any, dict[str, Any]]],
    ) -> bool:
        """Let rows of the group (key -> values) go from their values, all of them in the same
        way, if REMOTE accepts it. Returns whether it does."""
        field = next(iter(self._own(group)), None)
        if field is None:
            return False
        # Nor may one take what another one of the rows is about to get.
        taken = {new.get(field.attname) for _, new in rows}
        values = self._placeholders.many(field, len(holders), taken)
        if values is None:
            return False
        fields = [*self.model._meta.pk_fields, field]
        writer = TableWriter(self.remote.connection, self.model, fields)
        writer.prepare_update()
        try:
            with transaction.atomic(using=self.remote.side.alias):
                keys = (key_values(self.model, pk) for pk in holders)
                writer.update([(*key, one) for key, one in zip(keys, values, strict=True)])
        except DatabaseError as refused:
            if is_transient(refused):
                raise
            # A check constraint, for example, that not all of them meet.
            accepted = False
        else:
            accepted = True
        writer.close()
        return accepted

    def _own(self, group: Group) -> list[Field[Any, Any]]:
        """The fields of a group by how hard it is to give up their values. One that is skipped
        is not written again: its value must stay. And by its primary key a row is found."""
        fixed = {field.attname for field in self.model._meta.pk_fields} | self._skip
        own = [f for f in group.fields if f.name not in fixed and f.attname not in fixed]
        return sorted(own, key=reluctance)

    def _give_up(
        self,
        pk: Any,
        group: Group,
        values: tuple[Any, ...],
        rows: Sequence[tuple[Any, dict[str, Any]]],
    ) -> None:
        """Let a row of the group go from its values, by the first way that REMOTE accepts."""
        alias = self.remote.side.alias
        row = self.remote.objects(self.model).filter(pk=pk)
        held = dict(zip(group.fields, values, strict=True))
        error: Exception | None = None
        for field in self._own(group):
            # Nor may it take what another one of the rows is about to get.
            free = field.null or isinstance(field, BooleanField)
            wanted = set() if free else {new.get(field.attname) for _, new in rows}
            for value in self._placeholders.one(field, held[field]):
                if value in wanted:
                    continue
                try:
                    with transaction.atomic(using=alias):
                        row.update(**{field.attname: value})
                except DatabaseError as refused:
                    if is_transient(refused):
                        raise
                    # A check constraint, or somebody has that value, too: try the next.
                    error = refused
                else:
                    return
        names = ", ".join(field.name for field in group.fields)
        because = "" if error is None else f" ({error})"
        raise ReplayError(
            f"{alias!r}: {self.model._meta.label} {pk} there has to give up its {names} "
            f"({', '.join(map(repr, values))}) to another row first, and no other value is "
            f"accepted for a moment{because}. Change one of the rows by hand."
        ) from error
