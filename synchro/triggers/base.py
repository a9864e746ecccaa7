"""What a vendor's module does: SQL out of what is to be captured."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from synchro.models import ADDITION, CHANGE, DELETION, M2M_CHANGE, ChangeLog
from synchro.triggers.spec import Capture, Column, Links, Table

PREFIX: Final = "synchro_"
NAME: Final = "\x00name\x00"
"""Stands in rendered SQL for the trigger's name, which holds the hash of that SQL."""

COLUMNS: Final = (
    "content_type_id",
    "label",
    "object_id",
    "date",
    "action",
    "field",
    "key",
    "origin",
)

__all__ = ["ADDITION", "CHANGE", "DELETION", "M2M_CHANGE"]


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A trigger as it is to be, or as it is."""

    name: str
    """``synchro_<of the table>_<event>_<hash of the SQL>``"""
    table: str
    """The name of its table."""
    sql: tuple[str, ...] = ()
    """The statements that make it."""

    @property
    def place(self) -> str:
        """The part of the name that stands for the table."""
        return self.name.rpartition("_")[0].rpartition("_")[0]

    @property
    def event(self) -> str:
        return self.name.rpartition("_")[0].rpartition("_")[2]


def place(table: str) -> str:
    """What stands for a table in the names of its triggers."""
    return PREFIX + hashlib.sha256(table.encode()).hexdigest()[:8]


class Dialect(ABC):
    """Triggers in the SQL of one vendor."""

    is_transactional: ClassVar[bool]
    """Whether triggers are made in a transaction."""
    table_events: ClassVar[frozenset[str]]
    """The events that a captured table has triggers for."""
    link_events: ClassVar[frozenset[str]]

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    # -- what a vendor says

    @abstractmethod
    def support(self) -> list[str]:
        """Statements that make what the triggers need; they may be repeated."""

    @abstractmethod
    def installed(self, cursor: Any) -> list[Trigger]:
        """The triggers of synchro that the database has."""

    @abstractmethod
    def drop(self, trigger: Trigger) -> list[str]:
        """Statements that remove a trigger that the database has."""

    @abstractmethod
    def text(self, column: Column, row: str) -> str:
        """The value of a column as text, as ``keys.object_id()`` writes it."""

    @abstractmethod
    def now(self) -> str:
        """The present time as Django stores it in the change log."""

    @abstractmethod
    def _table_triggers(self, table: Table) -> Iterable[tuple[str, tuple[str, ...]]]:
        """(event, statements with NAME in the place of the name) of each trigger."""

    @abstractmethod
    def _link_triggers(self, links: Links) -> Iterable[tuple[str, tuple[str, ...]]]: ...

    @abstractmethod
    def json_text(self, text: str) -> str:
        """Text as a string of JSON."""

    @abstractmethod
    def json_object(self, pairs: Iterable[tuple[str, str]]) -> str:
        """A JSON object, as text, of names (literals) and values (expressions)."""

    @abstractmethod
    def concatenated(self, parts: Iterable[str]) -> str: ...

    # -- what they share

    def why_not(self) -> str:
        """Why triggers of this database would log what is wrong, and the way out; empty if they
        would not."""
        return ""

    def triggers(self, capture: Capture) -> list[Trigger]:
        """The triggers of a table as they are to be."""
        if isinstance(capture, Links):
            rendered = self._link_triggers(capture)
        else:
            rendered = self._table_triggers(capture)
        found = []
        for event, statements in rendered:
            digest = hashlib.sha256("\n".join(statements).encode()).hexdigest()[:12]
            name = f"{place(capture.name)}_{event}_{digest}"
            sql = tuple(
                statement.replace(NAME, self.quote(name)).strip() for statement in statements
            )
            found.append(Trigger(name=name, table=capture.name, sql=sql))
        return found

    def quote(self, name: str) -> str:
        return self.connection.ops.quote_name(name)

    def literal(self, text: str) -> str:
        """Text as a literal. (Labels and names of fields and columns come from the project's own
        code, and still nothing in them must end the literal.)"""
        return "'" + text.replace("'", "''") + "'"

    def column(self, row: str, name: str) -> str:
        return f"{row}.{self.quote(name)}"

    def log_table(self) -> str:
        return self.quote(ChangeLog._meta.db_table)

    def insert(self) -> str:
        names = ", ".join(self.quote(name) for name in COLUMNS)
        return f"INSERT INTO {self.log_table()} ({names})"

    def object_id(self, columns: tuple[Column, ...], row: str) -> str:
        """The text of a key; of a composite key a JSON list."""
        if len(columns) == 1:
            return self.text(columns[0], row)
        parts: list[str] = []
        for index, column in enumerate(columns):
            parts.append(self.literal(", " if index else "["))
            parts.append(self.json_text(self.text(column, row)))
        return self.concatenated([*parts, self.literal("]")])

    def values(self, table: Table, row: str, action: int) -> str:
        """What a log row about a row of a table holds."""
        key = "NULL"
        if action == DELETION and table.tombstone:
            key = self.json_object(
                (self.literal(column.attribute), self.text(column, row))
                for column in table.tombstone
            )
        return self._values(
            table.content_type, table.label, self.object_id(table.key, row), action, "", key
        )

    def _values(
        self, content_type: int | None, label: str, key: str, action: int, field: str, json: str
    ) -> str:
        type_ = "NULL" if content_type is None else str(int(content_type))
        return (
            f"{type_}, {self.literal(label)}, {key}, {self.now()}, {int(action)}, "
            f"{self.literal(field)}, {json}, ''"
        )

    def link_values(self, links: Links, row: str) -> list[str]:
        """What the log rows about a link hold, one an owner."""
        return [
            self._values(
                owner.content_type,
                owner.label,
                self.text(owner.column, row),
                M2M_CHANGE,
                owner.field,
                "NULL",
            )
            for owner in links.owners
        ]

    def same_key(self, table: Table, one: str, other: str) -> str:
        return " AND ".join(
            f"{self.column(one, column.name)} = {self.column(other, column.name)}"
            for column in table.key
        )


def uuid_with_dashes(dialect: Dialect, text: str) -> str:
    """32 hexadecimal digits as a UUID is written."""
    parts: list[str] = []
    for start, length in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12)):
        if parts:
            parts.append("'-'")
        parts.append(f"SUBSTR({text}, {start}, {length})")
    return dialect.concatenated(parts)
