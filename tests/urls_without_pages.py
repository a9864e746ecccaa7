"""A project that has the admin, and has not included ``synchro.urls``."""

from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
