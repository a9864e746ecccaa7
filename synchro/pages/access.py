"""Who may do what on the pages of synchro, and how a request is let in."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any, Final

from django.conf import settings
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from synchro.conf import conf

VIEW_RUNS: Final = "view_syncrun"
VIEW_PREVIEW: Final = "view_preview"
VIEW_HELD: Final = "view_heldchange"
VIEW_LOG: Final = "view_changelog"
VIEW_REFERENCES: Final = "view_reference"
SYNCHRONIZE: Final = "synchronize"
RESOLVE: Final = "resolve"
RESET: Final = "reset"
ADOPT: Final = "adopt"


View = Callable[..., HttpResponse]
"""Called with the request, ``site`` and what the address has."""


def may(request: HttpRequest, action: str) -> bool:
    """Whether the user may do something, by the name of its permission. With
    SYNCHRO_REQUIRE_PERMISSIONS the permission is needed, else being staff is enough."""
    user: Any = request.user
    if not (user.is_active and user.is_staff):
        return False
    return not conf.require_permissions or bool(user.has_perm(f"synchro.{action}"))


def require(request: HttpRequest, action: str) -> None:
    """Raise PermissionDenied unless the user may do something."""
    if not may(request, action):
        raise PermissionDenied(
            _("You need the permission %(permission)s for this.")
            % {"permission": f"synchro.{action}"}
        )


def page(
    view: View, site: AdminSite, *, needs: str, methods: Collection[str] = ("GET", "HEAD")
) -> Callable[..., HttpResponse]:
    """A view for ``path()``: for staff of the site who have the permission ``needs``; not cached,
    protected against forged requests, outside of the transactions of ATOMIC_REQUESTS (a run
    counts on its own commits). Whoever lacks a permission is told which."""

    @wraps(view)
    def guarded(request: HttpRequest, **arguments: Any) -> HttpResponse:
        if request.method not in methods:
            return HttpResponseNotAllowed(methods)
        request.current_app = site.name
        try:
            require(request, needs)
            return view(request, site=site, **arguments)
        except PermissionDenied as denied:
            context = {
                **site.each_context(request),
                "title": _("Synchronization"),
                "reason": str(denied),
            }
            return TemplateResponse(request, "synchro/forbidden.html", context, status=403)

    return outside_transactions(site.admin_view(guarded))


def outside_transactions(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Keep a view out of the transactions of ATOMIC_REQUESTS, of every database."""
    for alias in settings.DATABASES:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view
