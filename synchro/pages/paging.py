"""Pages of long tables, without counting their rows."""

from __future__ import annotations

from functools import cached_property
from typing import Final

from django.core.paginator import Paginator
from django.db.models import QuerySet

MOST: Final = 10_000
"""Rows of a filtered list that are counted, and can be leafed through."""


class LongPaginator(Paginator):
    """Takes the range of the primary keys for the number of rows of a whole table, and counts up
    to 10,000 of a filtered one."""

    @cached_property
    def is_cut(self) -> bool:
        """Whether there are more rows than can be leafed through."""
        return self._is_filtered and self.count >= MOST

    @cached_property
    def count(self) -> int:
        rows = self._rows.order_by()
        if self._is_filtered:
            return rows.values("pk")[:MOST].count()
        # One end at a time: SQLite reads the whole table for both at once.
        keys = rows.order_by("pk").values_list("pk", flat=True)
        first, last = keys.first(), keys.last()
        return 0 if first is None or last is None else int(last - first + 1)

    @property
    def _rows(self) -> QuerySet:
        rows = self.object_list
        assert isinstance(rows, QuerySet)
        return rows

    @cached_property
    def _is_filtered(self) -> bool:
        return bool(self._rows.query.where)
