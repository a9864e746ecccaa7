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
                ("remote", models.CharField(max_length=100)),
                ("user", models.CharField(blank=True, default="", max_length=150)),
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
                            ("cancelled", "cancelled"),
                            ("died", "died"),
                        ],
                        default="running",
                        max_length=10,
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
            ),
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
