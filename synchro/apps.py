"""Connects synchro to Django when the project starts."""

from django.apps import AppConfig


class SynchroConfig(AppConfig):
    name = "synchro"
    verbose_name = "Synchro"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from synchro import capture, checks
        from synchro.conf import conf

        conf.warn_if_remote_is_missing()
        capture.connect()
        checks.register()
