"""Triggers of SQLite, row by row.

They use nothing that another program would lack: any ``sqlite3`` shell can write to a captured
table. They read no table but synchro's own small ones: a trigger that names the table of another
model would keep Django from rebuilding that table.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.conf import settings

from synchro.triggers import spec
from synchro.triggers.base import (
    ADDITION,
    CHANGE,
    COLUMNS,
    DELETION,
    NAME,
    PREFIX,
    Dialect,
    Trigger,
    uuid_with_dashes,
)
from synchro.triggers.spec import Column, Links, Table

SILENCE = "synchro_silence"
"""A row in this table silences the triggers. It is there only while a statement runs, in a
transaction that nobody else can look into."""
REPLACED = "synchro_replaced"
"""What a statement is about to replace: REPLACE calls no delete trigger."""

_ROWID: Final = ("rowid", "oid", "_rowid_")


class SQLite(Dialect):
    is_transactional = True
    table_events = frozenset("iukd")
    link_events = frozenset("iud")

    def support(self) -> list[str]:
        return [
            f"CREATE TABLE IF NOT EXISTS {self.quote(SILENCE)} (id integer PRIMARY KEY)",
            f"CREATE TABLE IF NOT EXISTS {self.quote(REPLACED)} "
            "(id integer PRIMARY KEY, label text NOT NULL, object_id text NOT NULL, key text)",
        ]

    def text(self, column: Column, row: str) -> str:
        value = self.column(row, column.name)
        if column.kind == spec.UUID:
            return uuid_with_dashes(self, value)
        if column.kind == spec.DECIMAL:
            return (
                f"CASE WHEN {value} IS NOT NULL THEN PRINTF('%.{column.decimals}f', {value}) END"
            )
        if column.kind == spec.DATETIME and settings.USE_TZ:
            return f"({value} || '+00:00')"
        return f"CAST({value} AS TEXT)"

    def now(self) -> str:
        if settings.USE_TZ and self.connection.timezone_name == "UTC":
            return "STRFTIME('%Y-%m-%d %H:%M:%f000', 'now')"
        return "STRFTIME('%Y-%m-%d %H:%M:%f000', 'now', 'localtime')"

    def json_text(self, text: str) -> str:
        return f"JSON_QUOTE({text})"

    def json_object(self, pairs: Iterable[tuple[str, str]]) -> str:
        inner = ", ".join(f"{name}, {value}" for name, value in pairs)
        return f"JSON_OBJECT({inner})"

    def concatenated(self, parts: Iterable[str]) -> str:
        return "(" + " || ".join(parts) + ")"

    def _table_triggers(self, table: Table) -> Iterable[tuple[str, tuple[str, ...]]]:
        def log(row: str, action: int) -> str:
            return f"{self.insert()} VALUES ({self.values(table, row, action)});"

        moved = " OR ".join(self._differs(column.name) for column in table.key)
        replaced = self._log_replaced(table)
        changed = "1"
        if not table.coarse:
            changed = " OR ".join(map(self._differs, table.compared)) or "0"
        name = table.name
        yield "i", self._statement(name, "AFTER INSERT", f"{replaced}{log('NEW', ADDITION)}")
        yield (
            "u",
            self._statement(
                name, "AFTER UPDATE", log("NEW", CHANGE), f"NOT ({moved}) AND ({changed})"
            ),
        )
        yield (
            "k",
            self._statement(
                name,
                f"AFTER UPDATE{self._of(table, (column.name for column in table.key))}",
                f"{log('OLD', DELETION)} {log('NEW', ADDITION)}",
                moved,
            ),
        )
        yield "d", self._statement(name, "AFTER DELETE", log("OLD", DELETION))
        if table.uniques:
            yield (
                "bi",
                self._statement(name, "BEFORE INSERT", self._note_replaced(table, table.uniques)),
            )
            unique = sorted({column for group in table.uniques for column in group})
            of = self._of(table, unique)
            other = " OR ".join(map(self._differs, unique))
            yield (
                "bu",
                self._statement(
                    name,
                    f"BEFORE UPDATE{of}",
                    self._note_replaced(table, table.uniques, but="OLD"),
                    other,
                ),
            )
            yield "au", self._statement(name, f"AFTER UPDATE{of}", replaced, other)

    def _of(self, table: Table, columns: Iterable[str]) -> str:
        """The trigger is for statements that set one of these columns: for all others it costs
        nothing."""
        names = list(columns)
        if not set(names).isdisjoint(table.ignored):
            # A generated column is never set, and changes all the same.
            return ""
        # A key may be set by the other names that SQLite has for it.
        return f" OF {', '.join([*map(self.quote, names), *_ROWID])}"

    def _note_replaced(
        self, table: Table, groups: Iterable[tuple[str, ...]], but: str = ""
    ) -> str:
        """Note the rows that the new one would replace. If a statement then does otherwise (an
        upsert, IGNORE, an error), nobody reads the note."""
        own = self.quote(table.name)
        same = " OR ".join(
            "("
            + " AND ".join(f"{own}.{self.quote(name)} = NEW.{self.quote(name)}" for name in group)
            + ")"
            for group in groups
        )
        if but:
            keys = " AND ".join(
                f"{own}.{self.quote(column.name)} IS OLD.{self.quote(column.name)}"
                for column in table.key
            )
            same = f"({same}) AND NOT ({keys})"
        key = "NULL"
        if table.tombstone:
            key = self.json_object(
                (self.literal(column.attribute), self.text(column, own))
                for column in table.tombstone
            )
        notes = self.quote(REPLACED)
        label = self.literal(table.label)
        return (
            f"DELETE FROM {notes} WHERE label = {label}; "
            f"INSERT INTO {notes} (label, object_id, key) "
            f"SELECT {label}, {self.object_id(table.key, own)}, {key} FROM {own} WHERE {same};"
        )

    def _log_replaced(self, table: Table) -> str:
        """The row is in, so those that stood in its way are gone."""
        if not table.uniques:
            return ""
        notes = self.quote(REPLACED)
        type_ = "NULL" if table.content_type is None else str(int(table.content_type))
        label = self.literal(table.label)
        assert COLUMNS[2] == "object_id"
        return (
            f"{self.insert()} SELECT {type_}, label, object_id, {self.now()}, {DELETION}, '', "
            f"key, '' FROM {notes} WHERE label = {label}; "
            f"DELETE FROM {notes} WHERE label = {label}; "
        )

    def _differs(self, name: str) -> str:
        return f"NEW.{self.quote(name)} IS NOT OLD.{self.quote(name)} COLLATE BINARY"

    def _link_triggers(self, links: Links) -> Iterable[tuple[str, tuple[str, ...]]]:
        def log(row: str) -> str:
            rows = ", ".join(f"({values})" for values in self.link_values(links, row))
            return f"{self.insert()} VALUES {rows};"

        yield "i", self._statement(links.name, "AFTER INSERT", log("NEW"))
        yield "u", self._statement(links.name, "AFTER UPDATE", log("OLD") + " " + log("NEW"))
        yield "d", self._statement(links.name, "AFTER DELETE", log("OLD"))

    def _statement(
        self, table: str, event: str, body: str, condition: str = ""
    ) -> tuple[str, ...]:
        more = f" AND ({condition})" if condition else ""
        return (
            f"CREATE TRIGGER {NAME} {event} ON {self.quote(table)} "
            f"WHEN NOT EXISTS (SELECT 1 FROM {self.quote(SILENCE)}){more} BEGIN {body} END",
        )

    def installed(self, cursor: Any) -> list[Trigger]:
        cursor.execute(
            "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger' "
            f"AND SUBSTR(name, 1, {len(PREFIX)}) = {self.literal(PREFIX)}"
        )
        return [Trigger(name=name, table=table) for name, table in cursor.fetchall()]

    def drop(self, trigger: Trigger) -> list[str]:
        return [f"DROP TRIGGER {self.quote(trigger.name)}"]
