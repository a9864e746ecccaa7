from typing import Any

from django.db import migrations

import synchro.fields


def empty(apps: Any, schema_editor: Any) -> None:
    """Going back: what no run has seen has no number again."""
    rows = apps.get_model("synchro", "ChangeLog").objects.using(schema_editor.connection.alias)
    rows.filter(batch=synchro.fields.UNSEALED).update(batch=None)


class AlterField(migrations.AlterField):
    """SQLite makes the table anew, and with it the counter of its keys: where the newest rows had
    been removed, their keys would be given again."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        connection = schema_editor.connection
        table = from_state.apps.get_model(app_label, self.model_name)._meta.db_table
        last = None
        if connection.vendor == "sqlite" and not schema_editor.collect_sql:
            with connection.cursor() as cursor:
                cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
                last = cursor.fetchone()
        super().database_forwards(app_label, schema_editor, from_state, to_state)
        if last is not None:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table])
                cursor.execute(
                    "INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, *last]
                )


class Migration(migrations.Migration):
    dependencies = [
        ("synchro", "0003_jobs_and_previews"),
    ]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, empty),
        AlterField(
            model_name="changelog",
            name="batch",
            field=synchro.fields.BatchField(
                blank=True, db_default=synchro.fields.UNSEALED, default=None, verbose_name="batch"
            ),
        ),
    ]
