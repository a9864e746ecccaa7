"""Forgetting what is pending, behind a page that says in numbers what that is."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from synchro.conf import conf
from synchro.core import reset_synchro
from synchro.exceptions import LockError, SynchroError
from synchro.liveness import going_on
from synchro.models import ChangeLog, SyncRun
from synchro.pages import trail
from synchro.pages.addresses import address
from synchro.pages.showing import model_name
from synchro.pairs import remote_alias
from synchro.status import read_status


def reset(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """GET: what would be forgotten. POST: forget it."""
    if not conf.allow_reset:
        messages.error(request, _("Resetting is not allowed (SYNCHRO_ALLOW_RESET)."))
        return HttpResponseRedirect(address(request, "synchro"))
    if request.method == "POST":
        return _forget(request)
    context: dict[str, Any] = {**site.each_context(request), "title": _("Reset synchronization")}
    try:
        local = conf.local
        context["rows"] = ChangeLog.objects.using(local).count()
        if conf.remote is not None:
            status = read_status(remote_alias(None))
            context |= {
                "remote": status.remote,
                "error": status.error,
                "pending": [(model_name(one.label), one.objects) for one in status.pending],
                "pending_total": sum(one.objects for one in status.pending),
                "held": len(status.held),
            }
    except (SynchroError, ImproperlyConfigured) as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(address(request, "synchro"))
    return TemplateResponse(request, "synchro/reset.html", context)


def _forget(request: HttpRequest) -> HttpResponse:
    try:
        if conf.remote is not None and going_on(conf.remote) is not None:
            raise LockError(_("A synchronization is going on already."))
        reset_synchro()
    except (SynchroError, ImproperlyConfigured) as error:
        if conf.debug:
            raise
        messages.error(request, str(error))
        return HttpResponseRedirect(address(request, "synchro"))
    done = _("Synchronization has been reset.")
    trail.note(request, SyncRun, None, conf.remote or conf.local, trail.DELETION, done)
    messages.success(request, done)
    return HttpResponseRedirect(address(request, "synchro"))
