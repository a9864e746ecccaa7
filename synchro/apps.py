"""Connects synchro to Django when the project starts."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SynchroConfig(AppConfig):
    name = "synchro"
    verbose_name = _("Synchronization")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.db.models.signals import post_migrate, pre_migrate

        from synchro import capture, checks
        from synchro.conf import conf
        from synchro.triggers import migrating, silence

        conf.warn_if_remote_is_missing()
        capture.connect()
        silence.connect()
        pre_migrate.connect(migrating.before, sender=self, dispatch_uid="synchro.triggers")
        post_migrate.connect(migrating.after, sender=self, dispatch_uid="synchro.triggers")
        checks.register()
