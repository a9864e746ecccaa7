from typing import Any

from django.apps import AppConfig, apps
from django.db import connections
from django.db.models.signals import post_migrate

STRICT_ON_REMOTE = """
    CREATE TABLE testapp_strict (
        code varchar(50) NOT NULL PRIMARY KEY,
        name varchar(100) NOT NULL CHECK (char_length(name) < 10)
    )
"""


def create_unmanaged_tables(using: str, **kwargs: Any) -> None:
    """Make the tables of the unmanaged models, which no migration makes."""
    from tests.testapp.models import LocalOnly, Strict, Unmanaged

    connection = connections[using]
    tables = connection.introspection.table_names()
    wanted = [Unmanaged] if using == "remote" else [Unmanaged, Strict, LocalOnly]
    for model in wanted:
        if model._meta.db_table not in tables:
            with connection.schema_editor() as editor:
                editor.create_model(model)
    if using == "remote" and Strict._meta.db_table not in tables:
        length = "length" if connection.vendor == "sqlite" else "char_length"
        with connection.cursor() as cursor:
            cursor.execute(STRICT_ON_REMOTE.replace("char_length", length))


def forget_permission_of_dbsettings(using: str, **kwargs: Any) -> None:
    """dbsettings saves a permission whenever tables are made: tests start with an empty log."""
    from synchro.models import ChangeLog

    ChangeLog.objects.using(using).filter(label="auth.permission", batch=None).delete()


class TestAppConfig(AppConfig):
    name = "tests.testapp"
    label = "testapp"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        post_migrate.connect(create_unmanaged_tables, sender=self)
        # The receiver of dbsettings is connected already, so this one is called after it.
        post_migrate.connect(
            forget_permission_of_dbsettings, sender=apps.get_app_config("synchro")
        )
