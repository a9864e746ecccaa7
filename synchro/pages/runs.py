"""Starting a run, watching it, cancelling it, and what came of it."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from synchro import history
from synchro.conf import conf
from synchro.exceptions import LockError, SynchroError
from synchro.launch import PlanMaker, start_run
from synchro.liveness import going_on, outcome, outcome_in_words
from synchro.models import ADOPT, CANCELLED, DIED, DONE, HELD, RUNNING, Job, SyncRun
from synchro.pages import access, trail
from synchro.pages.addresses import address, change_address, list_address
from synchro.pages.naming import Names
from synchro.pages.showing import Showing, model_name, one_name
from synchro.results import counted

_PER_PAGE: Final = 100
_HARMLESS: Final = (
    "CancelledError",
    "CheckpointError",
    "ImproperlyConfigured",
    "LockError",
    "NodeError",
)
"""Errors that speak of databases and settings, never of an object."""


def launch(
    request: HttpRequest, *, make_plan: PlanMaker | None = None, full: bool = False, what: str = ""
) -> HttpResponse:
    """Start a run, and lead to its page; where one is going on already, to that."""
    try:
        # With SYNCHRO_DEBUG the first error is raised, instead of holding what it is about.
        run = start_run(
            request.user.get_username(), make_plan=make_plan, full=full, tolerant=not conf.debug
        )
    except LockError as error:
        messages.warning(request, str(error))
        other = going_on(conf.remote or "")
        return HttpResponseRedirect(
            address(request, "run", other.pk) if other else address(request, "synchro")
        )
    except (SynchroError, ImproperlyConfigured) as error:
        if conf.debug:
            raise
        messages.error(request, str(error))
        return HttpResponseRedirect(address(request, "synchro"))
    trail.note(
        request, SyncRun, run.pk, run.remote, trail.ADDITION, what or _("Synchronization started.")
    )
    return HttpResponseRedirect(address(request, "run", run.pk))


def find(pk: int) -> SyncRun:
    """The run with this number. Raises Http404."""
    found = SyncRun.objects.using(conf.local).filter(pk=pk).first()
    if found is None:
        raise Http404(_("There is no synchronization %d.") % pk)
    return found


def run(request: HttpRequest, *, site: AdminSite, pk: int) -> HttpResponse:
    """How far a run is; when it is over, what it did, by model, with links to the objects."""
    found = find(pk)
    context = {
        **site.each_context(request),
        "title": _("Adoption of a copy")
        if found.kind == ADOPT
        else _("Synchronization no. %d") % found.pk,
        "run": found,
        "run_list": list_address(site.name, "syncrun"),
        "may_cancel": access.may(request, access.SYNCHRONIZE),
        "may_synchronize": access.may(request, access.SYNCHRONIZE),
        "held_list": list_address(site.name, "heldchange")
        if access.may(request, access.VIEW_HELD)
        else None,
        **progress(found),
    }
    if not context["going_on"]:
        context |= _result(request, site, found)
    return TemplateResponse(request, "synchro/run.html", context)


def progress(job: Job) -> dict[str, Any]:
    """How far a job is, for a template or for the script of the page."""
    state = outcome(job)
    return {
        "going_on": state == RUNNING,
        "outcome": state,
        "outcome_name": outcome_in_words(job),
        "level": "success"
        if state == DONE
        else "warning"
        if state in (HELD, CANCELLED)
        else "error",
        "died": state == DIED,
        "stage": _stage(job),
        "done": job.done,
        "total": job.total,
        "percent": min(100, job.done * 100 // job.total) if job.total else None,
        "cancelling": bool(job.cancelled_by) and state == RUNNING,
    }


def _stage(job: Job) -> str:
    name, _sep, rest = job.model.partition(" ")
    label, _dot, field = name.rpartition(".") if name.count(".") == 2 else (name, "", "")
    model = model_name(label) if label else ""
    if job.stage == "sync" and model:
        return _("Writing: %s") % (f"{model} ({field or rest})" if field or rest else model)
    texts = {
        "plan": _("Comparing: %s") % model if model else _("Finding out what is to be done"),
        "sync": _("Writing"),
        "complete": _("Finishing"),
    }
    return texts.get(job.stage, _("Beginning"))


def state(request: HttpRequest, *, site: AdminSite, pk: int) -> HttpResponse:
    """How far a run is, as JSON: for the script of its page."""
    return JsonResponse(progress(find(pk)))


def cancel(request: HttpRequest, *, site: AdminSite, pk: int) -> HttpResponse:
    """Ask for a run to be given up."""
    found = find(pk)
    ask_to_cancel(request, found)
    return HttpResponseRedirect(address(request, "run", pk))


def ask_to_cancel(request: HttpRequest, job: Job) -> None:
    """Note that a job is to be given up; whoever works on it reads that soon."""
    name = request.user.get_username()
    rows = type(job)._base_manager.using(conf.local).filter(pk=job.pk, outcome=RUNNING)
    if rows.filter(cancelled_by="").update(cancelled_by=name[:150]):
        trail.note(request, type(job), job.pk, job.remote, trail.CHANGE, _("Cancelled."))
    else:
        messages.warning(request, _("It is over already, or somebody else has cancelled it."))


def _result(request: HttpRequest, site: AdminSite, found: SyncRun) -> dict[str, Any]:
    showing = Showing(request, site)
    report = found.report or {}
    written = history.objects_of(found)
    models = []
    for label, counts in (found.counts or {}).items():
        models.append(
            {
                "name": model_name(label),
                "label": label,
                "counts": [
                    {"text": counted(action, number), "action": action}
                    for action, number in counts.items()
                ],
                "known": showing.visibility.model(label)
                and any(model == label for model, _action, _keys in written),
            }
        )
    lists = {
        name: [_told(showing, one) for one in report.get(name, ())]
        for name in ("held", "skipped", "overwritten")
    }
    numbers = report.get("numbers", {})
    rest = {name: numbers.get(name, 0) - len(found) for name, found in lists.items()}
    return {
        "models": models,
        "message": report.get("message", ""),
        "warnings": report.get("warnings", ()),
        "excluded": report.get("excluded", 0),
        "lists": lists,
        "rest": rest,
        "seconds": (found.ended - found.started).total_seconds() if found.ended else None,
        "error": error_in_words(showing, found),
        **_objects(request, showing, found.remote, written),
    }


def error_in_words(showing: Showing, job: Job) -> str:
    """Why a job failed, as far as the user may know: the words of a database may quote any value
    of the object that it refused."""
    if job.outcome == CANCELLED and job.cancelled_by:
        return _("Cancelled by %(user)s. Nothing was changed; what is pending stays pending.") % {
            "user": job.cancelled_by
        }
    kind, _colon, text = job.error.partition(": ")
    if not job.error or kind in _HARMLESS or showing.visibility.everything():
        return text or job.error
    return (
        _(
            "A change could not be applied (%s). The details are shown to those who may view all "
            "models that are synchronized."
        )
        % kind
    )


def _told(showing: Showing, one: dict[str, Any]) -> dict[str, Any]:
    label = str(one.get("model", ""))
    may_view = showing.visibility.model(label)
    return {
        "model": one_name(label),
        "key": one.get("key") if may_view else "",
        "address": change_address(showing.site, label, one.get("key")) if may_view else None,
        "why": showing.why(label, str(one.get("reason", "")), str(one.get("detail", ""))),
    }


def action_done(action: str) -> str:
    """What was done with objects, in words of the active language."""
    names = {
        "create": _("created"),
        "update": _("updated"),
        "link": _("links changed"),
        "delete": _("deleted"),
        "matched": _("matched"),
    }
    return names.get(action, action)


def _objects(
    request: HttpRequest,
    showing: Showing,
    remote: str,
    written: list[tuple[str, str, list[list[str | None]]]],
) -> dict[str, Any]:
    """The objects of one model and action, a page of them, as the address asks."""
    label, action = request.GET.get("model", ""), request.GET.get("action", "")
    keys = next((keys for model, done, keys in written if (model, done) == (label, action)), None)
    if keys is None or not showing.visibility.model(label):
        return {}
    number = request.GET.get("p", "1")
    pages = max(-(-len(keys) // _PER_PAGE), 1)
    page = min(max(int(number) if number.isdecimal() and len(number) < 9 else 1, 1), pages)
    shown = keys[(page - 1) * _PER_PAGE : page * _PER_PAGE]
    names = Names(remote)
    showing.load(names, label, [here for here, _there in shown])
    return {
        "objects": [
            (
                names.get(label, here),
                here if here is not None else _("%s on the other side") % there,
                change_address(showing.site, label, here) if action != "delete" else None,
            )
            for here, there in shown
        ],
        "objects_of": f"{model_name(label)}: {action_done(action)}",
        "objects_model": label,
        "objects_action": action,
        "page": page,
        "pages": pages,
    }
