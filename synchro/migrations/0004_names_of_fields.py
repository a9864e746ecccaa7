import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("synchro", "0003_jobs_and_previews"),
    ]

    operations = [
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
            model_name="preview",
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
            model_name="preview",
            name="remote",
            field=models.CharField(max_length=100, verbose_name="other database"),
        ),
        migrations.AlterField(
            model_name="preview",
            name="started",
            field=models.DateTimeField(default=django.utils.timezone.now, verbose_name="started"),
        ),
        migrations.AlterField(
            model_name="preview",
            name="user",
            field=models.CharField(blank=True, default="", max_length=150, verbose_name="user"),
        ),
        migrations.AlterField(
            model_name="syncrun",
            name="kind",
            field=models.CharField(
                choices=[("synchronize", "synchronization"), ("adopt", "adoption of a copy")],
                default="synchronize",
                max_length=12,
                verbose_name="kind",
            ),
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
    ]
