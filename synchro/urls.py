"""``path("synchro/", include(("synchro.urls", "synchro"), namespace="synchro"))``."""

from django.urls import path

from synchro.views import synchro

urlpatterns = [path("", synchro, name="synchro")]
