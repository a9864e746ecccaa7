from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
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


# REMOTE itself refuses rows of these tables for as long as testapp_poison says so:
# table -> column whose values are looked up there.
POISONED = {
    "testapp_author": "name",
    "testapp_folder": "name",
    "testapp_label": "name",
    "testapp_paper": "title",
    "testapp_player": "name",
    "testapp_restaurant": "stars",
    "testapp_seat": "name",
}
POISON_FUNCTION = """
    CREATE FUNCTION testapp_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT 1 FROM testapp_poison WHERE word = to_jsonb(NEW) ->> TG_ARGV[0]) THEN
            RAISE EXCEPTION 'refused by the test' USING ERRCODE = '23000';
        END IF;
        RETURN NEW;
    END $$
"""
POISON_TRIGGERS = {
    "sqlite": """
        CREATE TRIGGER {table}_{event} BEFORE {event} ON {table}
        WHEN EXISTS (SELECT 1 FROM testapp_poison WHERE word = CAST(NEW.{column} AS text))
        BEGIN SELECT RAISE(ABORT, 'refused by the test'); END
    """,
    "postgresql": """
        CREATE TRIGGER {table}_{event} BEFORE {event} ON {table}
        FOR EACH ROW EXECUTE FUNCTION testapp_refuse('{column}')
    """,
    "mysql": """
        CREATE TRIGGER {table}_{event} BEFORE {event} ON {table} FOR EACH ROW
        IF EXISTS (SELECT 1 FROM testapp_poison WHERE word = CAST(NEW.{column} AS char)) THEN
            SIGNAL SQLSTATE '23000' SET MESSAGE_TEXT = 'refused by the test';
        END IF
    """,
}


def create_poison(using: str, **kwargs: Any) -> None:
    """Make the triggers by which REMOTE refuses rows."""
    connection = connections[using]
    if using != "remote" or "testapp_poison" in connection.introspection.table_names():
        return
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE testapp_poison (word varchar(50) NOT NULL PRIMARY KEY)")
        if connection.vendor == "postgresql":
            cursor.execute(POISON_FUNCTION)
        for table, column in POISONED.items():
            for event in ("INSERT", "UPDATE"):
                trigger = POISON_TRIGGERS[connection.vendor]
                cursor.execute(trigger.format(table=table, column=column, event=event))


def forget_permission_of_dbsettings(using: str, **kwargs: Any) -> None:
    """dbsettings saves a permission whenever tables are made: tests start with an empty log."""
    from synchro.models import ChangeLog

    ChangeLog.objects.using(using).filter(label="auth.permission", batch=None).delete()


class TestAppConfig(AppConfig):
    name = "tests.testapp"
    verbose_name = "Office"
    label = "testapp"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Not at the head: the models are not ready there.
        from synchro import ahead, keynumbers, keytimes, sealing

        if settings.FEW_ARE_MANY:
            ahead.MANY = sealing.MANY = keytimes.MANY = 1
            # Even a single one has company enough.
            keynumbers._CROWD = 0
        post_migrate.connect(create_unmanaged_tables, sender=self)
        post_migrate.connect(create_poison, sender=self)
        # The receiver of dbsettings is connected already, so this one is called after it.
        post_migrate.connect(
            forget_permission_of_dbsettings, sender=apps.get_app_config("synchro")
        )
