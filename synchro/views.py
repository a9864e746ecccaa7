"""The page from which a member of staff synchronizes without a shell."""

from __future__ import annotations

from datetime import datetime

from django.contrib import admin, messages
from django.contrib.admin.views.decorators import staff_member_required
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect

from synchro.checkpoint import NEVER
from synchro.conf import conf
from synchro.core import reset_synchro, synchronize
from synchro.exceptions import CheckpointError, SynchroError
from synchro.models import options
from synchro.pairs import remote_alias
from synchro.status import HeldStatus, read_status

_SHOWN = 20
_HELD_SHOWN = 100


@never_cache
@csrf_protect
@staff_member_required
@transaction.non_atomic_requests
def synchro(request: HttpRequest) -> HttpResponse:
    """Show the state; POST ``synchro`` runs, POST ``reset`` forgets what is pending."""
    if request.method not in ("GET", "HEAD", "POST"):
        return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
    if "synchro" in request.POST:
        _synchronize(request)
        return HttpResponseRedirect(request.path)
    if "reset" in request.POST:
        _reset(request)
        return HttpResponseRedirect(request.path)
    last = _last(request)
    context = {
        **admin.site.each_context(request),
        "title": _("Synchronization"),
        "last": None if last == NEVER else last,
        "remote": _remote_name(),
        "reset_allowed": conf.allow_reset,
        "held": _held(),
    }
    return TemplateResponse(request, "synchro.html", context)


def _last(request: HttpRequest) -> datetime | None:
    try:
        return options.last_check  # type: ignore[no-any-return]
    except CheckpointError as error:
        messages.error(request, str(error))
        return None


def _remote_name() -> str | None:
    try:
        return conf.remote
    except ImproperlyConfigured:
        return None


def _held() -> list[HeldStatus]:
    """What the last runs could not apply; nothing where REMOTE cannot be asked."""
    try:
        return read_status(remote_alias(None)).held[:_HELD_SHOWN]
    except (SynchroError, ImproperlyConfigured):
        return []


def _synchronize(request: HttpRequest) -> None:
    try:
        result = synchronize(user=request.user.get_username())
    except (SynchroError, ImproperlyConfigured) as error:
        if conf.debug:
            raise
        messages.error(
            request,
            _("An error occurred: %(msg)s (%(type)s)")
            % {"msg": str(error), "type": type(error).__name__},
        )
        return
    messages.info(request, result.message)
    for label, text in result.by_model().items():
        messages.info(request, f"{label}: {text}")
    left_out = [*result.skipped, *result.held]
    for change in left_out[:_SHOWN]:
        messages.warning(request, _("Not applied: %s") % change)
    if len(left_out) > _SHOWN:
        rest = len(left_out) - _SHOWN
        messages.warning(request, _("Not applied: %d more") % rest)
    for skipped in result.overwritten[:_SHOWN]:
        messages.warning(request, _("Overwritten: %s") % skipped)
    if len(result.overwritten) > _SHOWN:
        rest = len(result.overwritten) - _SHOWN
        messages.warning(request, _("Overwritten: %d more") % rest)
    for warning in result.warnings:
        messages.warning(request, warning)


def _reset(request: HttpRequest) -> None:
    if not conf.allow_reset:
        messages.error(request, _("Resetting is not allowed (SYNCHRO_ALLOW_RESET)."))
        return
    reset_synchro()
    messages.info(request, _("Synchronization has been reset."))
