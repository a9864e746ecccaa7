"""The overview: what is pending, what is held, and how the last runs went."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.formats import date_format, number_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from synchro import log
from synchro.conf import conf
from synchro.exceptions import SynchroError
from synchro.liveness import going_on, outcome, outcome_in_words
from synchro.models import DONE, HELD, SyncRun
from synchro.pages import access, charts
from synchro.pages.addresses import address, list_address
from synchro.pages.runs import launch
from synchro.pages.showing import app_name, model_name
from synchro.pairs import remote_alias
from synchro.status import Status, read_status

_RUNS: Final = 20


def overview(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """The state of LOCAL and REMOTE. POST ``synchro`` starts a run; POST ``reset``, as 0.x had it,
    leads to the page that asks first."""
    if "synchro" in request.POST:
        access.require(request, access.SYNCHRONIZE)
        return launch(request)
    if "reset" in request.POST:
        return HttpResponseRedirect(address(request, "reset"))
    if request.method == "POST":
        return HttpResponseRedirect(address(request, "synchro"))
    context: dict[str, Any] = {
        **site.each_context(request),
        "title": _("Synchronization"),
        "may_synchronize": access.may(request, access.SYNCHRONIZE),
        "may_preview": access.may(request, access.VIEW_PREVIEW),
        "may_adopt": access.may(request, access.ADOPT),
        "may_reset": conf.allow_reset and access.may(request, access.RESET),
        "held_list": list_address(site.name, "heldchange")
        if access.may(request, access.VIEW_HELD)
        else None,
        "run_list": list_address(site.name, "syncrun"),
    }
    try:
        if conf.remote is None:
            return TemplateResponse(request, "synchro/overview.html", context)
        alias = remote_alias(None)
        status = read_status(alias)
    except (SynchroError, ImproperlyConfigured) as error:
        messages.error(request, str(error))
        context["broken"] = True
        return TemplateResponse(request, "synchro/overview.html", context)
    context |= {
        "remote": alias,
        "status": status,
        "pending": _bars(status),
        "pending_total": sum(one.objects for one in status.pending),
        "held_by_model": _held(status),
        "going_on": going_on(alias),
        **_history(alias),
    }
    return TemplateResponse(request, "synchro/overview.html", context)


def _bars(status: Status) -> list[dict[str, Any]]:
    most = max((one.objects for one in status.pending), default=0)
    return [
        {
            "name": model_name(one.label),
            "app": app_name(one.label),
            "objects": one.objects,
            "oldest": one.oldest,
            "length": charts.share(one.objects, most),
        }
        for one in status.pending
    ]


def _held(status: Status) -> list[tuple[str, int]]:
    found: dict[str, int] = {}
    for one in status.held:
        found[one.label] = found.get(one.label, 0) + 1
    return [(model_name(label), number) for label, number in found.items()]


def _history(alias: str) -> dict[str, Any]:
    runs = list(
        SyncRun.objects.using(conf.local)
        .filter(remote=alias)
        .defer("written", "report", "counts")[:_RUNS]
    )
    columns = [
        (run.objects_written, _seconds(run), _label(run), _colour(run)) for run in reversed(runs)
    ]
    return {
        "runs": [(run, outcome_in_words(run), _seconds(run)) for run in runs[:5]],
        "chart": charts.columns(columns) if len(runs) > 1 else [],
        "chart_width": charts.WIDTH,
        "chart_height": charts.HEIGHT,
    }


def _seconds(run: SyncRun) -> float:
    return (run.ended - run.started).total_seconds() if run.ended else 0.0


def _label(run: SyncRun) -> str:
    when = date_format(localtime(log.aware(run.started)), "SHORT_DATETIME_FORMAT")
    objects = ngettext("%d object", "%d objects", run.objects_written) % run.objects_written
    return f"{when}: {objects}, {number_format(_seconds(run), 1)} s, {outcome_in_words(run)}"


def _colour(run: SyncRun) -> str:
    found = outcome(run)
    return "done" if found == DONE else "held" if found == HELD else "failed"
