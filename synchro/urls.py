"""``path("synchro/", include(("synchro.urls", "synchro"), namespace="synchro"))``.

For an admin site of the project's own: ``include((urls_of(site), "synchro"), namespace="...")``.
"""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.http import HttpResponse
from django.urls import URLPattern, path

from synchro.pages import access
from synchro.pages.addresses import SITE
from synchro.pages.adopting import adopt
from synchro.pages.held import held_change
from synchro.pages.overview import overview
from synchro.pages.previews import new, preview
from synchro.pages.previews import state as preview_state
from synchro.pages.resetting import reset
from synchro.pages.runs import cancel, run
from synchro.pages.runs import state as run_state

_SHOW = ("GET", "HEAD")
_FORM = ("GET", "HEAD", "POST")
_DO = ("POST",)

_PAGES: tuple[tuple[str, access.View, str, tuple[str, ...], str], ...] = (
    ("", overview, access.VIEW_RUNS, _FORM, "synchro"),
    ("preview/", new, access.VIEW_PREVIEW, _FORM, "new-preview"),
    ("preview/<int:pk>/", preview, access.VIEW_PREVIEW, _FORM, "preview"),
    ("preview/<int:pk>/state/", preview_state, access.VIEW_PREVIEW, _SHOW, "preview-state"),
    ("run/<int:pk>/", run, access.VIEW_RUNS, _SHOW, "run"),
    ("run/<int:pk>/state/", run_state, access.VIEW_RUNS, _SHOW, "run-state"),
    ("run/<int:pk>/cancel/", cancel, access.SYNCHRONIZE, _DO, "cancel"),
    ("held/<int:pk>/", held_change, access.VIEW_HELD, _FORM, "held"),
    ("reset/", reset, access.RESET, _FORM, "reset"),
    ("adopt/", adopt, access.ADOPT, _FORM, "adopt"),
)


def _page(
    site: AdminSite, view: access.View, needs: str, methods: tuple[str, ...]
) -> Callable[..., HttpResponse]:
    found = access.page(view, site, needs=needs, methods=methods)
    setattr(found, SITE, site.name)
    return found


def urls_of(site: AdminSite) -> list[URLPattern]:
    """The pages of synchro for the users and in the look of an admin site."""
    return [
        path(route, _page(site, view, needs, methods), name=name)
        for route, view, needs, methods, name in _PAGES
    ]


urlpatterns = urls_of(admin.site)
