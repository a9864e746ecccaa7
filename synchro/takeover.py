"""Takes over the tables of synchro 0.x, which had no migrations, when ``migrate`` first runs.

The old tables are copied aside and dropped, so that the new ones can be made under the same
names; then their rows move in. Dates and keys are moved by SQL as they are stored.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from synchro.keys import dump_key
from synchro.legacy import read_key

logger = logging.getLogger("synchro.takeover")

# In the order in which they can be dropped: synchro_deletekey points at synchro_changelog.
_TABLES: Final = ("synchro_deletekey", "synchro_reference", "synchro_changelog")


def _aside(table: str) -> str:
    return table.replace("synchro_", "synchro_0x_")


def set_aside(apps: Any, schema_editor: Any) -> None:
    """Copy the tables of 0.x to other names and drop them. Does nothing without such tables."""
    connection, quote = schema_editor.connection, schema_editor.quote_name
    for table in _TABLES:
        if not _is_of_0x(connection, table):
            continue
        if _aside(table) in _names(connection):
            # A migration was broken off here; what it copied is still in the old table.
            schema_editor.execute(f"DROP TABLE {quote(_aside(table))}")
        schema_editor.execute(
            f"CREATE TABLE {quote(_aside(table))} AS SELECT * FROM {quote(table)}"
        )
        schema_editor.execute(f"DROP TABLE {quote(table)}")


def take_over(apps: Any, schema_editor: Any) -> None:
    """Move the rows that were set aside into the new tables."""
    connection, quote = schema_editor.connection, schema_editor.quote_name
    names = _names(connection)
    if not any(_aside(table) in names for table in _TABLES):
        return
    content_types = apps.get_model("contenttypes", "ContentType")
    labels = {
        content_type.pk: f"{content_type.app_label}.{content_type.model}"
        for content_type in content_types.objects.using(connection.alias)
    }
    with connection.cursor() as cursor:
        if _aside("synchro_changelog") in names:
            _move_log(cursor, quote, labels)
            _reset_sequences(connection, cursor, apps.get_model("synchro", "ChangeLog"))
        if _aside("synchro_reference") in names:
            _move_references(cursor, quote, labels)
        if _aside("synchro_deletekey") in names:
            _move_keys(cursor, quote)
    for table in _TABLES:
        if _aside(table) in names:
            schema_editor.execute(f"DROP TABLE {quote(_aside(table))}")


def _move_log(cursor: Any, quote: Any, labels: dict[Any, str]) -> None:
    columns = ("id", "content_type_id", "object_id", "date", "action")
    old = ", ".join(map(quote, columns))
    new = ", ".join(map(quote, (*columns, "label", "field", "origin")))
    for content_type, label in labels.items():
        cursor.execute(
            f"INSERT INTO {quote('synchro_changelog')} ({new}) SELECT {old}, %s, %s, %s "
            f"FROM {quote(_aside('synchro_changelog'))} "
            f"WHERE {quote('content_type_id')} = %s",
            [label, "", "", content_type],
        )


def _move_references(cursor: Any, quote: Any, labels: dict[Any, str]) -> None:
    columns = ("content_type_id", "local_object_id", "remote_object_id")
    old = ", ".join(map(quote, columns))
    new = ", ".join(map(quote, (*columns, "label", "node")))
    table = quote(_aside("synchro_reference"))
    # 0.x could write down one REMOTE row for several LOCAL ones: the newest holds.
    newest = (
        f"SELECT MAX({quote('id')}) FROM {table} "
        f"GROUP BY {quote('content_type_id')}, {quote('remote_object_id')}"
    )
    for content_type, label in labels.items():
        cursor.execute(
            f"INSERT INTO {quote('synchro_reference')} ({new}) SELECT {old}, %s, %s FROM {table} "
            f"WHERE {quote('content_type_id')} = %s AND {quote('id')} IN ({newest})",
            [label, "", content_type],
        )


def _move_keys(cursor: Any, quote: Any) -> None:
    cursor.execute(
        f"SELECT {quote('changelog_id')}, {quote('key')} FROM {quote(_aside('synchro_deletekey'))}"
    )
    for changelog, text in cursor.fetchall():
        try:
            key = dump_key(read_key(text))
        except ValueError as error:
            logger.warning(
                "Log entry %s is taken over without its natural key: %s", changelog, error
            )
            continue
        cursor.execute(
            f"UPDATE {quote('synchro_changelog')} SET {quote('key')} = %s "
            f"WHERE {quote('id')} = %s",
            [key, changelog],
        )


def _reset_sequences(connection: Any, cursor: Any, model: Any) -> None:
    from django.core.management.color import no_style

    for sql in connection.ops.sequence_reset_sql(no_style(), [model]):
        cursor.execute(sql)


def _names(connection: Any) -> set[str]:
    with connection.cursor() as cursor:
        return set(connection.introspection.table_names(cursor))


def _is_of_0x(connection: Any, table: str) -> bool:
    if table not in _names(connection):
        return False
    with connection.cursor() as cursor:
        description = connection.introspection.get_table_description(cursor, table)
    return "label" not in {column.name for column in description}
