from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from geo import remote_admin

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("remote/", remote_admin.site.urls),
    path("synchro/", include(("synchro.urls", "synchro"), namespace="synchro")),
]
