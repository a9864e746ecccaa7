import django.utils.timezone
from django.db import migrations, models

import synchro.fields
import synchro.models


class Migration(migrations.Migration):
    dependencies = [
        ("synchro", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="SyncRun",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("node", models.CharField(max_length=64)),
                ("remote", models.CharField(max_length=100)),
                ("user", models.CharField(blank=True, default="", max_length=150)),
                ("batch", models.BigIntegerField(default=0)),
                ("started", models.DateTimeField(default=django.utils.timezone.now)),
                ("ended", models.DateTimeField(blank=True, null=True)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("running", "going on"),
                            ("done", "done"),
                            ("held", "done, but changes are held"),
                            ("failed", "failed"),
                            ("died", "died"),
                        ],
                        default="running",
                        max_length=10,
                    ),
                ),
                ("objects_written", models.PositiveIntegerField(default=0)),
                ("counts", models.JSONField(blank=True, default=dict)),
                ("held", models.PositiveIntegerField(default=0)),
                ("skipped", models.PositiveIntegerField(default=0)),
                ("error", models.TextField(blank=True, default="")),
            ],
            options={
                "verbose_name": "synchronization",
                "verbose_name_plural": "synchronizations",
                "ordering": ["-id"],
            },
        ),
        migrations.AddField(
            model_name="peer",
            name="reset_batch",
            field=models.BigIntegerField(default=0),
        ),
        migrations.CreateModel(
            name="HeldChange",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("node", models.CharField(max_length=64)),
                ("label", models.CharField(max_length=200)),
                ("object_id", synchro.fields.KeyField(max_length=400)),
                ("field", models.CharField(blank=True, default="", max_length=200)),
                (
                    "action",
                    models.PositiveSmallIntegerField(
                        choices=[(1, "Add"), (2, "Change"), (3, "Delete"), (4, "Change of links")]
                    ),
                ),
                ("recreated", models.BooleanField(default=False)),
                ("key", models.TextField(blank=True, null=True)),
                ("made", models.DateTimeField()),
                ("origin", models.CharField(blank=True, default="", max_length=64)),
                ("batch", models.BigIntegerField()),
                ("waiting", models.BooleanField(default=True)),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("refused", "refused"),
                            ("needs-held", "needs something that is held"),
                            ("unreadable", "cannot be read"),
                            ("remote-newer", "changed later on the other side"),
                            ("vanished", "gone without a deletion in the log"),
                            ("excluded", "left out on purpose"),
                            ("stale", "changed since the plan was made"),
                        ],
                        max_length=20,
                    ),
                ),
                ("detail", models.TextField()),
                ("attempts", models.PositiveIntegerField(default=1)),
                ("since", models.DateTimeField(default=django.utils.timezone.now)),
                ("tried", models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                "verbose_name": "held change",
                "verbose_name_plural": "held changes",
                "indexes": [models.Index(fields=["node", "label"], name="synchro_held_node")],
            },
        ),
    ]
