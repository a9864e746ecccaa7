import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("synchro", "0002_held_changes_and_runs"),
    ]

    operations = [
        migrations.CreateModel(
            name="Preview",
            fields=[
                ("remote", models.CharField(max_length=100, verbose_name="other database")),
                (
                    "user",
                    models.CharField(blank=True, default="", max_length=150, verbose_name="user"),
                ),
                (
                    "started",
                    models.DateTimeField(
                        default=django.utils.timezone.now, verbose_name="started"
                    ),
                ),
                ("ended", models.DateTimeField(blank=True, null=True)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("running", "going on"),
                            ("done", "done"),
                            ("held", "done, but changes are held"),
                            ("failed", "failed"),
                            ("cancelled", "cancelled"),
                            ("died", "died"),
                        ],
                        default="running",
                        max_length=10,
                        verbose_name="outcome",
                    ),
                ),
                ("error", models.TextField(blank=True, default="")),
                ("stage", models.CharField(blank=True, default="", max_length=20)),
                ("model", models.CharField(blank=True, default="", max_length=200)),
                ("done", models.PositiveBigIntegerField(default=0)),
                ("total", models.PositiveBigIntegerField(default=0)),
                ("beat", models.DateTimeField(blank=True, null=True)),
                ("cancelled_by", models.CharField(blank=True, default="", max_length=150)),
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("basis", models.JSONField(default=dict)),
                ("full", models.BooleanField(default=False)),
            ],
            options={
                "verbose_name": "preview",
                "verbose_name_plural": "previews",
                "ordering": ["-id"],
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="Overview",
            fields=[],
            options={
                "verbose_name": "overview",
                "verbose_name_plural": "overview",
                "proxy": True,
                "default_permissions": (),
                "indexes": [],
                "constraints": [],
            },
            bases=("synchro.syncrun",),
        ),
        migrations.AlterModelOptions(
            name="heldchange",
            options={
                "permissions": [("resolve", "Can retry or discard held changes")],
                "verbose_name": "held change",
                "verbose_name_plural": "held changes",
            },
        ),
        migrations.AlterModelOptions(
            name="syncrun",
            options={
                "ordering": ["-id"],
                "permissions": [
                    ("synchronize", "Can synchronize, and cancel a synchronization"),
                    ("reset", "Can reset synchronization"),
                    ("adopt", "Can adopt a copy of a database"),
                ],
                "verbose_name": "synchronization",
                "verbose_name_plural": "synchronizations",
            },
        ),
        migrations.AddField(
            model_name="syncrun",
            name="beat",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="syncrun",
            name="cancelled_by",
            field=models.CharField(blank=True, default="", max_length=150),
        ),
        migrations.AddField(
            model_name="syncrun",
            name="done",
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="syncrun",
            name="kind",
            field=models.CharField(
                choices=[("synchronize", "synchronization"), ("adopt", "adoption of a copy")],
                default="synchronize",
                max_length=12,
                verbose_name="kind",
            ),
        ),
        migrations.AddField(
            model_name="syncrun",
            name="model",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.AddField(
            model_name="syncrun",
            name="report",
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name="syncrun",
            name="stage",
            field=models.CharField(blank=True, default="", max_length=20),
        ),
        migrations.AddField(
            model_name="syncrun",
            name="total",
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="syncrun",
            name="written",
            field=models.BinaryField(blank=True, default=bytes),
        ),
        migrations.AlterField(
            model_name="changelog",
            name="action",
            field=models.PositiveSmallIntegerField(
                choices=[(1, "Add"), (2, "Change"), (3, "Delete"), (4, "Change of links")],
                verbose_name="action",
            ),
        ),
        migrations.AlterField(
            model_name="changelog",
            name="batch",
            field=models.BigIntegerField(blank=True, null=True, verbose_name="batch"),
        ),
        migrations.AlterField(
            model_name="changelog",
            name="date",
            field=models.DateTimeField(default=django.utils.timezone.now, verbose_name="logged"),
        ),
        migrations.AlterField(
            model_name="changelog",
            name="field",
            field=models.CharField(blank=True, default="", max_length=200, verbose_name="field"),
        ),
        migrations.AlterField(
            model_name="changelog",
            name="origin",
            field=models.CharField(blank=True, default="", max_length=64, verbose_name="origin"),
        ),
        migrations.AlterField(
            model_name="heldchange",
            name="action",
            field=models.PositiveSmallIntegerField(
                choices=[(1, "Add"), (2, "Change"), (3, "Delete"), (4, "Change of links")],
                verbose_name="action",
            ),
        ),
        migrations.AlterField(
            model_name="heldchange",
            name="attempts",
            field=models.PositiveIntegerField(default=1, verbose_name="attempts"),
        ),
        migrations.AlterField(
            model_name="heldchange",
            name="field",
            field=models.CharField(blank=True, default="", max_length=200, verbose_name="field"),
        ),
        migrations.AlterField(
            model_name="heldchange",
            name="reason",
            field=models.CharField(
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
                verbose_name="reason",
            ),
        ),
        migrations.AlterField(
            model_name="heldchange",
            name="since",
            field=models.DateTimeField(
                default=django.utils.timezone.now, verbose_name="held since"
            ),
        ),
        migrations.AlterField(
            model_name="heldchange",
            name="tried",
            field=models.DateTimeField(
                default=django.utils.timezone.now, verbose_name="last tried"
            ),
        ),
        migrations.AlterField(
            model_name="heldchange",
            name="waiting",
            field=models.BooleanField(default=True, verbose_name="is tried again"),
        ),
        migrations.AlterField(
            model_name="syncrun",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("running", "going on"),
                    ("done", "done"),
                    ("held", "done, but changes are held"),
                    ("failed", "failed"),
                    ("cancelled", "cancelled"),
                    ("died", "died"),
                ],
                default="running",
                max_length=10,
                verbose_name="outcome",
            ),
        ),
        migrations.AlterField(
            model_name="syncrun",
            name="remote",
            field=models.CharField(max_length=100, verbose_name="other database"),
        ),
        migrations.AlterField(
            model_name="syncrun",
            name="started",
            field=models.DateTimeField(default=django.utils.timezone.now, verbose_name="started"),
        ),
        migrations.AlterField(
            model_name="syncrun",
            name="user",
            field=models.CharField(blank=True, default="", max_length=150, verbose_name="user"),
        ),
        migrations.CreateModel(
            name="PreviewEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("label", models.CharField(max_length=200)),
                ("action", models.CharField(max_length=10)),
                ("name", models.TextField()),
                ("entry", models.TextField()),
                ("chosen", models.BooleanField(default=False)),
                (
                    "preview",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="entries",
                        to="synchro.preview",
                    ),
                ),
            ],
            options={
                "verbose_name": "entry of a preview",
                "verbose_name_plural": "entries of previews",
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        fields=["preview", "label", "action"], name="synchro_preview_model"
                    )
                ],
            },
        ),
    ]
