"""Giving a copied database an identity of its own, behind a page that says what would be done."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from synchro.adopt import countable, is_copy
from synchro.conf import conf
from synchro.exceptions import SynchroError
from synchro.launch import start_adoption
from synchro.models import SyncRun
from synchro.pages import trail
from synchro.pages.addresses import address
from synchro.pages.showing import model_name
from synchro.pairs import remote_alias, sides


class SinceForm(forms.Form):
    since = forms.SplitDateTimeField(
        label=gettext_lazy("When the export was made"),
        help_text=gettext_lazy("Only needed where the logs of the two databases cannot tell."),
        required=False,
        # The browser's own pickers: no script, and no format to be guessed.
        widget=forms.SplitDateTimeWidget(date_attrs={"type": "date"}, time_attrs={"type": "time"}),
    )


def adopt(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """GET: whether LOCAL is a copy, and what would be matched. POST: adopt it."""
    form = SinceForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        return _adopt(request, form)
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": _("Adopt a copy"),
        "form": form,
    }
    try:
        here, there = sides(remote_alias(None), make=False)
        context |= {"remote": there.alias, "is_copy": is_copy(here, there)}
        if context["is_copy"]:
            numbers = [(model_name(label), number) for label, number in countable(here)]
            context |= {"numbers": numbers, "total": sum(number for _name, number in numbers)}
    except (SynchroError, ImproperlyConfigured, DatabaseError) as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(address(request, "synchro"))
    return TemplateResponse(request, "synchro/adopt.html", context)


def _adopt(request: HttpRequest, form: SinceForm) -> HttpResponse:
    try:
        run = start_adoption(request.user.get_username(), since=form.cleaned_data["since"])
    except (SynchroError, ImproperlyConfigured) as error:
        if conf.debug:
            raise
        messages.error(request, str(error))
        return HttpResponseRedirect(address(request, "synchro"))
    trail.note(request, SyncRun, run.pk, run.remote, trail.ADDITION, _("Adoption started."))
    return HttpResponseRedirect(address(request, "run", run.pk))
