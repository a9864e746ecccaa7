"""Which columns the tables of a database have, asked in one query."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from django.db import connections

# Django's own introspection asks a dozen questions a table on SQLite.
_SQL: Final = {
    "sqlite": 'SELECT m.name, c.name, c."notnull" '
    "FROM sqlite_master m, pragma_table_xinfo(m.name) c "
    "WHERE m.type IN ('table', 'view') AND m.name IN ({})",
    "postgresql": "SELECT t.relname, c.attname, c.attnotnull FROM pg_catalog.pg_class t "
    "JOIN pg_catalog.pg_attribute c ON c.attrelid = t.oid "
    "WHERE t.relkind IN ('r', 'v', 'm', 'f', 'p') AND pg_catalog.pg_table_is_visible(t.oid) "
    "AND c.attnum > 0 AND NOT c.attisdropped AND t.relname IN ({})",
    "mysql": "SELECT table_name, column_name, is_nullable = 'NO' FROM information_schema.columns "
    "WHERE table_schema = DATABASE() AND table_name IN ({})",
}


def columns_of(alias: str, tables: Collection[str]) -> dict[str, dict[str, bool]]:
    """Table -> its columns -> whether they are NOT NULL, of those of the tables that the database
    has."""
    connection: Any = connections[alias]
    found: dict[str, dict[str, bool]] = {}
    if not tables:
        return found
    with connection.cursor() as cursor:
        if connection.vendor not in _SQL:
            names = set(connection.introspection.table_names(cursor)) & set(tables)
            for table in names:
                description = connection.introspection.get_table_description(cursor, table)
                found[table] = {column.name: not column.null_ok for column in description}
            return found
        places = ", ".join(["%s"] * len(tables))
        cursor.execute(_SQL[connection.vendor].format(places), list(tables))
        for table, column, filled in cursor.fetchall():
            found.setdefault(table, {})[column] = bool(filled)
    return found
