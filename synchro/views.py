"""The view of 0.x by its old name: the overview."""

from django.contrib import admin

from synchro.pages import access
from synchro.pages.overview import overview

synchro = access.page(
    overview, admin.site, needs=access.VIEW_RUNS, methods=("GET", "HEAD", "POST")
)
