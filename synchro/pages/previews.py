"""Previews: what a run would do with each object, to be looked at, ticked and applied."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.request import QueryDict
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from synchro.conf import conf
from synchro.entries import CREATE, DELETE, SKIP, UPDATE, Entry
from synchro.exceptions import SynchroError
from synchro.launch import changed_since, check, saved_plan, start_preview
from synchro.models import CANCELLED, DONE, Preview, PreviewEntry
from synchro.names import model_named
from synchro.pages import access, trail
from synchro.pages.addresses import address
from synchro.pages.runs import ask_to_cancel, error_in_words, launch, progress
from synchro.pages.showing import Showing, action_name, app_name, model_name

_PER_PAGE: Final = 50
_PARAMETERS: Final = ("model", "action", "q", "p", "chosen")
"""What an address of a preview may ask for."""
_WRITING: Final = (CREATE, UPDATE, DELETE)


def new(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """GET: the newest preview of the user, or the button that makes one. POST: make one."""
    if request.method != "POST":
        rows = Preview.objects.using(conf.local).filter(user=_owner(request))
        newest = rows.exclude(outcome=CANCELLED).first()
        if newest is not None:
            return HttpResponseRedirect(address(request, "preview", newest.pk))
        context = {**site.each_context(request), "title": _("Preview"), "preview": None}
        return TemplateResponse(request, "synchro/preview.html", context)
    try:
        preview = start_preview(request.user.get_username(), full="full" in request.POST)
    except (SynchroError, ImproperlyConfigured) as error:
        if conf.debug:
            raise
        messages.error(request, str(error))
        return HttpResponseRedirect(address(request, "synchro"))
    trail.note(request, Preview, preview.pk, preview.remote, trail.ADDITION, _("Preview made."))
    return HttpResponseRedirect(address(request, "preview", preview.pk))


def _owner(request: HttpRequest) -> str:
    """The user as previews remember them."""
    return request.user.get_username()[: Preview._meta.get_field("user").max_length]


def find(request: HttpRequest, pk: int) -> Preview:
    """A preview that the user has made. Raises Http404."""
    found = Preview.objects.using(conf.local).filter(pk=pk).first()
    if found is None or found.user != _owner(request):
        raise Http404(_("There is no preview %d of yours.") % pk)
    return found


def state(request: HttpRequest, *, site: AdminSite, pk: int) -> HttpResponse:
    """How far a preview is, as JSON: for the script of its page."""
    return JsonResponse(progress(find(request, pk)))


def preview(request: HttpRequest, *, site: AdminSite, pk: int) -> HttpResponse:
    """GET: a page of the preview. POST: remember what is ticked, then what the button says."""
    found = find(request, pk)
    if request.method == "POST":
        return _act(request, site, found)
    showing = Showing(request, site)
    context = {
        **site.each_context(request),
        "title": _("Preview"),
        "preview": found,
        **progress(found),
    }
    if found.outcome == DONE:
        context |= _page(request, showing, found)
    elif not context["going_on"]:
        context["error"] = error_in_words(showing, found)
    return TemplateResponse(request, "synchro/preview.html", context)


def _rows(found: Preview) -> QuerySet[PreviewEntry]:
    return PreviewEntry.objects.using(conf.local).filter(preview=found)


def _filtered(showing: Showing, found: Preview, query: QueryDict) -> QuerySet[PreviewEntry]:
    """The entries that an address asks for, of models that the user may view."""
    rows = _rows(found)
    labels = list(rows.order_by("label").values_list("label", flat=True).distinct())
    seen = [label for label in labels if showing.visibility.model(label)]
    rows = rows.filter(label__in=seen)
    if query.get("model"):
        rows = rows.filter(label__in={query["model"]} & set(seen))
    if query.get("action"):
        rows = rows.filter(action__in={query["action"]} & {*_WRITING, SKIP})
    if query.get("chosen"):
        rows = rows.filter(chosen=True)
    text = query.get("q", "").replace("\0", "").strip()
    if text:
        # By what is shown only: a search must not tell what a page keeps to itself.
        limits = showing.visibility.limits_rows
        named = [label for label in seen if showing.shows_names(label) and not limits(label)]
        wanted = Q(label__in=named, name__icontains=text)
        if " (" not in text:
            # The key, without what may follow it in brackets.
            wanted |= Q(name=text) | Q(name__startswith=f"{text} (")
        rows = rows.filter(wanted)
    return rows.order_by("pk")


def _page(request: HttpRequest, showing: Showing, found: Preview) -> dict[str, Any]:
    rows = _filtered(showing, found, request.GET)
    count = rows.count()
    pages = max(-(-count // _PER_PAGE), 1)
    asked = request.GET.get("p", "1")
    page = min(max(int(asked) if asked.isdecimal() and len(asked) < 9 else 1, 1), pages)
    shown = []
    last = ""
    part = list(rows[(page - 1) * _PER_PAGE : page * _PER_PAGE])
    entries = [Entry.from_json(json.loads(row.entry)) for row in part]
    for row, entry in zip(part, showing.entries(entries, found.remote), strict=True):
        # They are in the order of replay: a heading stands where the model changes.
        heading = model_name(row.label) if row.label != last else ""
        last = row.label
        shown.append(
            {"row": row, "entry": entry, "can": row.action in _WRITING, "heading": heading}
        )
    models = _models(showing, found)
    actions = [
        action for action in (*_WRITING, SKIP) if any(one["numbers"].get(action) for one in models)
    ]
    for one in models:
        one["cells"] = [one["numbers"].get(action, 0) for action in actions]
    return {
        "models": models,
        "actions": [(action, action_name(action)) for action in actions],
        "shown": shown,
        "count": count,
        "page": page,
        "pages": pages,
        "query": {name: request.GET.get(name, "") for name in _PARAMETERS},
        "total": sum(one["total"] for one in models),
        "chosen_total": sum(one["chosen"] for one in models),
        "may_synchronize": access.may(request, access.SYNCHRONIZE),
        **_staleness(found),
    }


def _staleness(found: Preview) -> dict[str, Any]:
    try:
        check(found)
        return {"stale": "", "changed_since": changed_since(found)}
    except (SynchroError, ImproperlyConfigured) as error:
        return {"stale": str(error)}


def _models(showing: Showing, found: Preview) -> list[dict[str, Any]]:
    """The models of a preview with their numbers, in the order of the alphabet."""
    numbers = (
        _rows(found)
        .order_by("label", "action")
        .values_list("label", "action")
        .annotate(number=Count("pk"), chosen=Count("pk", filter=Q(chosen=True)))
    )
    models: dict[str, dict[str, Any]] = {}
    for label, action, number, chosen in numbers:
        model = models.setdefault(
            label,
            {
                "label": label,
                "name": model_name(label),
                "app": app_name(label),
                "numbers": {},
                "total": 0,
                "chosen": 0,
                "visible": showing.visibility.model(label),
            },
        )
        model["numbers"][action] = number
        if action in _WRITING:
            model["total"] += number
            model["chosen"] += chosen
    return sorted(models.values(), key=lambda model: (model["app"], model["name"]))


def _act(request: HttpRequest, site: AdminSite, found: Preview) -> HttpResponse:
    """What a button of the page asks for, once the ticks of the page are remembered."""
    if "cancel" in request.POST:
        ask_to_cancel(request, found)
        return HttpResponseRedirect(address(request, "preview", found.pk))
    _remember(request, found)
    writing = _rows(found).filter(action__in=_WRITING)
    if "choose" in request.POST or "clear" in request.POST:
        label = request.POST.get("choose") or request.POST.get("clear") or ""
        rows = writing if label == "*" else writing.filter(label=label.replace("\0", ""))
        if label == "shown":
            rows = _filtered(Showing(request, site), found, _query(request))
            rows = rows.filter(action__in=_WRITING)
        rows.order_by().update(chosen="choose" in request.POST)
        if model_named(label) is not None:
            return _back(request, found, part=f"model-{label}")
    elif "all" in request.POST or "chosen" in request.POST:
        access.require(request, access.SYNCHRONIZE)
        return _apply(request, found, chosen="chosen" in request.POST)
    return _back(request, found)


def _remember(request: HttpRequest, found: Preview) -> None:
    """Keep the ticks of the page that was sent: the boxes that were on it, and the ticked ones."""
    there = {int(one) for one in request.POST.getlist("on_page") if _is_key(one)}
    ticked = {int(one) for one in request.POST.getlist("ticked") if _is_key(one)} & there
    rows = _rows(found).filter(action__in=_WRITING)
    for pks, chosen in ((ticked, True), (there - ticked, False)):
        if pks:
            rows.filter(pk__in=sorted(pks)[:_PER_PAGE]).exclude(chosen=chosen).update(
                chosen=chosen
            )


def _is_key(text: str) -> bool:
    return text.isdecimal() and len(text) < 19


def _query(request: HttpRequest) -> QueryDict:
    """The filter that the page had, or the one that a button or the search asks for."""
    query = QueryDict(request.POST.get("to", request.POST.get("here", ""))[:1000], mutable=True)
    if "search" in request.POST:
        query["q"] = request.POST.get("q", "")[:200]
        query.pop("p", None)
    for name in list(query):
        if name not in _PARAMETERS:
            del query[name]
    return query


def _back(request: HttpRequest, found: Preview, part: str = "synchro-objects") -> HttpResponse:
    """To the page, and to that part of it where its reader was: the next press of the tab key goes
    on from there."""
    query = {name: str(value) for name, value in _query(request).items() if value}
    target = address(request, "preview", found.pk, **query)
    return HttpResponseRedirect(f"{target}#{quote(part)}")


def _apply(request: HttpRequest, found: Preview, *, chosen: bool) -> HttpResponse:
    rows = _rows(found).filter(action__in=_WRITING)
    number = rows.filter(chosen=True).count() if chosen else rows.count()
    if not number:
        messages.warning(request, _("Nothing is ticked: tick the objects to be synchronized."))
        return _back(request, found)
    try:
        check(found)
    except (SynchroError, ImproperlyConfigured) as error:
        messages.error(request, str(error))
        return _back(request, found)
    what = ngettext(
        "Synchronization of %d object of a preview started.",
        "Synchronization of %d objects of a preview started.",
        number,
    )
    return launch(
        request,
        make_plan=lambda tracker: saved_plan(found, chosen=chosen),
        full=found.full,
        what=what % number,
    )
