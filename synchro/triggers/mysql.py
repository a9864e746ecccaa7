"""Triggers of MariaDB and MySQL, row by row. They run with the rights of whoever made them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings

from synchro.triggers import spec
from synchro.triggers.base import (
    ADDITION,
    CHANGE,
    DELETION,
    NAME,
    PREFIX,
    Dialect,
    Trigger,
    uuid_with_dashes,
)
from synchro.triggers.spec import Column, Links, Table

VARIABLE = "@synchro_silent"


class MySQL(Dialect):
    is_transactional = False
    table_events = frozenset("iud")
    link_events = frozenset("iud")

    def support(self) -> list[str]:
        return []

    def literal(self, text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"

    def text(self, column: Column, row: str) -> str:
        value = self.column(row, column.name)
        if column.kind == spec.TEXT:
            return value
        shown = f"CAST({value} AS CHAR)"
        if column.kind == spec.UUID and not self.connection.features.has_native_uuid_field:
            return f"LOWER({uuid_with_dashes(self, shown)})"
        if column.kind == spec.DATETIME:
            shown = f"TRIM(TRAILING '.000000' FROM {shown})"
            return f"CONCAT({shown}, '+00:00')" if settings.USE_TZ else shown
        return shown

    def _zone(self) -> str:
        """The time zone of the times in the change log."""
        return str(self.connection.timezone_name if settings.USE_TZ else settings.TIME_ZONE)

    def why_not(self) -> str:
        zone = self._zone()
        if zone == "UTC":
            return ""
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', %s)", [zone])
            if cursor.fetchone() != (None,):
                return ""
        return (
            f"the server does not know the time zone {zone!r}, in which the project stores times. "
            "Load its tables of time zones (mysql_tzinfo_to_sql), set USE_TZ = True, or set "
            "SYNCHRO_CAPTURE to 'signals'"
        )

    def now(self) -> str:
        zone = self._zone()
        if zone == "UTC":
            return "UTC_TIMESTAMP(6)"
        # A write must not fail should the server have lost its tables of time zones.
        there = f"CONVERT_TZ(UTC_TIMESTAMP(6), '+00:00', {self.literal(zone)})"
        return f"COALESCE({there}, NOW(6))"

    def json_text(self, text: str) -> str:
        return f"JSON_QUOTE({text})"

    def json_object(self, pairs: Iterable[tuple[str, str]]) -> str:
        inner = ", ".join(f"{name}, {value}" for name, value in pairs)
        return f"JSON_OBJECT({inner})"

    def concatenated(self, parts: Iterable[str]) -> str:
        return f"CONCAT({', '.join(parts)})"

    def _table_triggers(self, table: Table) -> Iterable[tuple[str, tuple[str, ...]]]:
        def log(row: str, action: int) -> str:
            return f"{self.insert()} VALUES ({self.values(table, row, action)});"

        same = " AND ".join(
            self._same(column.name, binary=column.kind != spec.INTEGER) for column in table.key
        )
        changed = "TRUE"
        if not table.coarse:
            # Numbers first: they cost the least, and one difference is enough.
            columns = (
                f"NOT ({self._same(name, binary=name in table.binary)})"
                for name in sorted(table.compared, key=lambda name: name in table.binary)
            )
            changed = " OR ".join(columns) or "FALSE"
        yield "i", self._statements(table.name, "INSERT", log("NEW", ADDITION))
        yield (
            "u",
            self._statements(
                table.name,
                "UPDATE",
                f"IF NOT ({same}) THEN {log('OLD', DELETION)} {log('NEW', ADDITION)} "
                f"ELSEIF {changed} THEN {log('NEW', CHANGE)} END IF;",
            ),
        )
        yield "d", self._statements(table.name, "DELETE", log("OLD", DELETION))

    def _same(self, name: str, *, binary: bool) -> str:
        old, new = self.column("OLD", name), self.column("NEW", name)
        if binary:
            # The usual collations take 'Zurich' and 'Zürich' for equal.
            old, new = f"CAST({old} AS BINARY)", f"CAST({new} AS BINARY)"
        return f"{new} <=> {old}"

    def _link_triggers(self, links: Links) -> Iterable[tuple[str, tuple[str, ...]]]:
        def log(row: str) -> str:
            rows = ", ".join(f"({values})" for values in self.link_values(links, row))
            return f"{self.insert()} VALUES {rows};"

        yield "i", self._statements(links.name, "INSERT", log("NEW"))
        yield "u", self._statements(links.name, "UPDATE", log("OLD") + " " + log("NEW"))
        yield "d", self._statements(links.name, "DELETE", log("OLD"))

    def _statements(self, table: str, event: str, body: str) -> tuple[str, ...]:
        return (
            f"CREATE TRIGGER {NAME} AFTER {event} ON {self.quote(table)} FOR EACH ROW "
            f"BEGIN IF {VARIABLE} IS NULL THEN {body} END IF; END",
        )

    def installed(self, cursor: Any) -> list[Trigger]:
        cursor.execute(
            "SELECT trigger_name, event_object_table FROM information_schema.triggers "
            "WHERE trigger_schema = DATABASE() AND LEFT(trigger_name, %s) = %s",
            [len(PREFIX), PREFIX],
        )
        return [Trigger(name=name, table=table) for name, table in cursor.fetchall()]

    def drop(self, trigger: Trigger) -> list[str]:
        return [f"DROP TRIGGER {self.quote(trigger.name)}"]
