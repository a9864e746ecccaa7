from typing import Any

from django.db import migrations

import synchro.models


def empty(apps: Any, schema_editor: Any) -> None:
    """Going back: what no run has seen has no number again."""
    rows = apps.get_model("synchro", "ChangeLog").objects.using(schema_editor.connection.alias)
    rows.filter(batch=synchro.models.UNSEALED).update(batch=None)


class Migration(migrations.Migration):
    dependencies = [
        ("synchro", "0003_jobs_and_previews"),
    ]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, empty),
        migrations.AlterField(
            model_name="changelog",
            name="batch",
            field=synchro.models.BatchField(
                blank=True, db_default=synchro.models.UNSEALED, default=None, verbose_name="batch"
            ),
        ),
    ]
