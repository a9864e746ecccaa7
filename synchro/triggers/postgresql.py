"""Triggers of PostgreSQL: one call a statement, whatever the number of its rows.

The functions run with the rights of whoever made them, so that whoever writes to a captured
table needs none on synchro's own; that is why their search path is fixed.
"""

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
)
from synchro.triggers.spec import Column, Links, Table

SETTING = "synchro.silent"
_TABLE = "\x00table\x00"
"""Stands for the table's own name in a statement that is put together when it runs."""


class PostgreSQL(Dialect):
    is_transactional = True
    table_events = frozenset("iudt")
    link_events = frozenset("iudt")

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._schema: str | None = None

    def support(self) -> list[str]:
        return []

    def literal(self, text: str) -> str:
        text = text.replace("'", "''")
        # Whatever standard_conforming_strings says.
        return " E'" + text.replace("\\", "\\\\") + "'" if "\\" in text else f"'{text}'"

    def log_table(self) -> str:
        """With its schema: the functions do not use the writer's search path."""
        if self._schema is None:
            with self.connection.cursor() as cursor:
                cursor.execute(
                    "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = "
                    "c.relnamespace WHERE c.oid = to_regclass(%s)",
                    [super().log_table()],
                )
                row = cursor.fetchone()
            self._schema = str(row[0]) if row else "public"
        return f"{self.quote(self._schema)}.{super().log_table()}"

    def _function(self) -> str:
        """The trigger's function, beside the change log."""
        self.log_table()
        assert self._schema is not None
        return f"{self.quote(self._schema)}.{NAME}"

    def text(self, column: Column, row: str) -> str:
        value = self.column(row, column.name)
        if column.kind == spec.DATE:
            return f"to_char({value}, 'YYYY-MM-DD')"
        if column.kind == spec.DATETIME:
            zone, end = ("UTC", "+00:00") if settings.USE_TZ else (settings.TIME_ZONE, "")
            shown = f"to_char({value} AT TIME ZONE {self.literal(zone)}, "
            shown = f"{shown}'YYYY-MM-DD HH24:MI:SS.US')"
            return f"(replace({shown}, '.000000', '') || {self.literal(end)})"
        if column.kind == spec.BOOLEAN:
            return f"(CASE WHEN {value} THEN '1' WHEN NOT {value} THEN '0' END)"
        return f"{value}::text"

    def now(self) -> str:
        return "clock_timestamp()"

    def json_text(self, text: str) -> str:
        return f"to_json({text})::text"

    def json_object(self, pairs: Iterable[tuple[str, str]]) -> str:
        inner = ", ".join(f"{name}, {value}" for name, value in pairs)
        return f"json_build_object({inner})::text"

    def concatenated(self, parts: Iterable[str]) -> str:
        return "(" + " || ".join(parts) + ")"

    def _table_triggers(self, table: Table) -> Iterable[tuple[str, tuple[str, ...]]]:
        insert = self.insert()
        added = f"{insert} SELECT {self.values(table, 'n', ADDITION)} FROM synchro_new n"
        deleted = f"{insert} SELECT {self.values(table, 'o', DELETION)} FROM synchro_old o"
        changed = (
            f"{insert} SELECT {self.values(table, 'n', CHANGE)} FROM synchro_new n "
            f"JOIN synchro_old o ON {self.same_key(table, 'n', 'o')}"
        )
        if not table.coarse:
            changed += f" WHERE {self._differ(table)}"
        same = self.same_key(table, "n", "o")
        gone = f"NOT EXISTS (SELECT 1 FROM synchro_new n WHERE {same})"
        new = f"NOT EXISTS (SELECT 1 FROM synchro_old o WHERE {same})"
        yield "i", self._statements("INSERT", "NEW", [added])
        yield (
            "u",
            self._statements(
                "UPDATE",
                "BOTH",
                [
                    changed,
                    "GET DIAGNOSTICS logged = ROW_COUNT",
                    # If not all were logged, some rows are as they were, or have another key.
                    "IF logged <> (SELECT count(*) FROM synchro_new) AND "
                    f"EXISTS (SELECT 1 FROM synchro_old o WHERE {gone}) THEN\n"
                    f"    {deleted} WHERE {gone};\n    {added} WHERE {new};\n  END IF",
                ],
            ),
        )
        yield "d", self._statements("DELETE", "OLD", [deleted])
        values = self.values(table, "o", DELETION)
        yield "t", self._truncate([f"{insert} SELECT {values} FROM {_TABLE} o"])

    def _differ(self, table: Table) -> str:
        """Whether a row has changed, byte by byte and without naming its columns: they may be
        renamed while the trigger is there."""
        if not table.ignored:
            return "n *<> o"
        left_out = "ARRAY[" + ", ".join(map(self.literal, table.ignored)) + "]"
        return f"to_jsonb(n) - {left_out} <> to_jsonb(o) - {left_out}"

    def _link_triggers(self, links: Links) -> Iterable[tuple[str, tuple[str, ...]]]:
        insert = self.insert()

        def all_of(source: str) -> list[str]:
            # Each owner once: the time of a row would make them all different.
            found = []
            for owner, values in zip(links.owners, self.link_values(links, "x"), strict=True):
                column = self.quote(owner.column.name)
                found.append(
                    f"{insert} SELECT {values} FROM (SELECT DISTINCT {column} {source}) x"
                )
            return found

        yield "i", self._statements("INSERT", "NEW", all_of("FROM synchro_new"))
        both = "FROM (SELECT * FROM synchro_new UNION ALL SELECT * FROM synchro_old) b"
        yield "u", self._statements("UPDATE", "BOTH", all_of(both))
        yield "d", self._statements("DELETE", "OLD", all_of("FROM synchro_old"))
        yield "t", self._truncate(all_of(f"FROM {_TABLE}"))

    def _body(self, statements: Iterable[str]) -> str:
        inner = "".join(f"  {statement};\n" for statement in statements)
        return (
            "DECLARE logged bigint;\n"
            "BEGIN\n"
            f"  IF current_setting('{SETTING}', true) = '1' THEN RETURN NULL; END IF;\n"
            f"{inner}  RETURN NULL;\nEND"
        )

    def _make_function(self, statements: Iterable[str]) -> str:
        return (
            f"CREATE FUNCTION {self._function()}() RETURNS trigger LANGUAGE plpgsql "
            "SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS "
            f"{self.literal(self._body(statements))}"
        )

    def _statements(
        self, event: str, tables: str, statements: list[str], when: str = "AFTER"
    ) -> tuple[str, ...]:
        names = {
            "NEW": "REFERENCING NEW TABLE AS synchro_new ",
            "OLD": "REFERENCING OLD TABLE AS synchro_old ",
            "BOTH": "REFERENCING OLD TABLE AS synchro_old NEW TABLE AS synchro_new ",
            "": "",
        }[tables]
        return (
            self._make_function(statements),
            f"CREATE TRIGGER {NAME} {when} {event} ON {self._current} {names}"
            f"FOR EACH STATEMENT EXECUTE FUNCTION {self._function()}()",
        )

    def _truncate(self, statements: Iterable[str]) -> tuple[str, ...]:
        # The table may have been renamed since; it is asked for its name.
        name = " || format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME) || "
        dynamic = ["EXECUTE " + name.join(map(self.literal, s.split(_TABLE))) for s in statements]
        return self._statements("TRUNCATE", "", dynamic, when="BEFORE")

    _current = ""

    def triggers(self, capture: Any) -> list[Trigger]:
        self._current = self.quote(capture.name)
        return super().triggers(capture)

    def installed(self, cursor: Any) -> list[Trigger]:
        cursor.execute(
            "SELECT t.tgname, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
            "WHERE NOT t.tgisinternal AND starts_with(t.tgname, %s) "
            "AND pg_table_is_visible(c.oid)",
            [PREFIX],
        )
        return [Trigger(name=name, table=table) for name, table in cursor.fetchall()]

    def drop(self, trigger: Trigger) -> list[str]:
        function = self._function().replace(NAME, self.quote(trigger.name))
        return [
            f"DROP TRIGGER {self.quote(trigger.name)} ON {self.quote(trigger.table)}",
            f"DROP FUNCTION IF EXISTS {function}()",
        ]
