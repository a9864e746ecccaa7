"""The same pages for REMOTE, to look at only: what is there came from LOCAL."""

from django.contrib import admin
from django.contrib.admin import AdminSite

from geo.models import City, Continent, Country, Language


class RemoteSite(AdminSite):
    site_header = site_title = "REMOTE (read only)"
    index_title = "What synchro brought here"


site = RemoteSite(name="remote")


@admin.register(City, Continent, Country, Language, site=site)
class ReadOnlyAdmin(admin.ModelAdmin):
    def get_queryset(self, request):
        return super().get_queryset(request).using("remote")

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False
