import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import synchro.fields
import synchro.models
import synchro.takeover


class Migration(migrations.Migration):
    # Not an initial migration in Django's sense: --fake-initial must not take the tables of
    # synchro 0.x, which have the same names, for these.
    initial = False

    dependencies = [
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.RunPython(synchro.takeover.set_aside, migrations.RunPython.noop, atomic=False),
        migrations.CreateModel(
            name="Batch",
            fields=[
                ("number", models.BigIntegerField(primary_key=True, serialize=False)),
                ("token", models.CharField(default=synchro.models.new_token, max_length=32)),
                ("date", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "verbose_name": "batch",
                "verbose_name_plural": "batches",
            },
        ),
        migrations.CreateModel(
            name="Node",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "uid",
                    models.CharField(default=synchro.models.new_token, max_length=32, unique=True),
                ),
                ("last_batch", models.BigIntegerField(default=0)),
                ("created", models.DateTimeField(default=django.utils.timezone.now)),
                ("retired", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "node",
                "verbose_name_plural": "nodes",
            },
        ),
        migrations.CreateModel(
            name="Peer",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("node", models.CharField(max_length=64, unique=True)),
                ("sent_batch", models.BigIntegerField(default=0)),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("received_batch", models.BigIntegerField(default=0)),
                ("received_token", models.CharField(blank=True, default="", max_length=32)),
                ("received_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "peer",
                "verbose_name_plural": "peers",
            },
        ),
        migrations.CreateModel(
            name="ChangeLog",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("label", models.CharField(max_length=200)),
                ("object_id", synchro.fields.KeyField(max_length=400)),
                ("date", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "action",
                    models.PositiveSmallIntegerField(
                        choices=[(1, "Add"), (2, "Change"), (3, "Delete"), (4, "Change of links")]
                    ),
                ),
                ("field", models.CharField(blank=True, default="", max_length=200)),
                ("key", models.TextField(blank=True, null=True)),
                ("batch", models.BigIntegerField(blank=True, null=True)),
                ("origin", models.CharField(blank=True, default="", max_length=64)),
                ("origin_date", models.DateTimeField(blank=True, null=True)),
                (
                    "content_type",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="contenttypes.contenttype",
                    ),
                ),
            ],
            options={
                "verbose_name": "change log entry",
                "verbose_name_plural": "change log",
                "indexes": [
                    models.Index(fields=["batch", "id"], name="synchro_log_batch"),
                    models.Index(fields=["label", "object_id"], name="synchro_log_object"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Reference",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("node", models.CharField(blank=True, default="", max_length=64)),
                ("label", models.CharField(max_length=200)),
                ("local_object_id", synchro.fields.KeyField(max_length=400)),
                ("remote_object_id", synchro.fields.KeyField(max_length=400)),
                (
                    "content_type",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="contenttypes.contenttype",
                    ),
                ),
            ],
            options={
                "verbose_name": "reference",
                "verbose_name_plural": "references",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("label", "node", "local_object_id"), name="synchro_reference_here"
                    ),
                    models.UniqueConstraint(
                        fields=("label", "node", "remote_object_id"),
                        name="synchro_reference_there",
                    ),
                ],
            },
        ),
        migrations.RunPython(synchro.takeover.take_over, migrations.RunPython.noop, atomic=False),
    ]
