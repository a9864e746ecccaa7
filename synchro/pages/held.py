"""Held changes: the object on both sides, and what can be done about it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from synchro.conf import conf
from synchro.core import diff, discard_held
from synchro.entries import plain
from synchro.exceptions import SynchroError
from synchro.flags import SyncFlags
from synchro.graph import concrete, points_at_key
from synchro.held import changes_held
from synchro.inspecting import both
from synchro.models import EXCLUDED, HeldChange
from synchro.names import model_named
from synchro.pages import access, trail
from synchro.pages.addresses import address, change_address, list_address
from synchro.pages.naming import Names
from synchro.pages.runs import launch
from synchro.pages.showing import Showing, one_name, value
from synchro.pairs import remote_alias, sides
from synchro.preview import Plan
from synchro.tracking import Tracker

_SHOWN_LINKS: Final = 20
_MOST: Final = 500
"""Changes that are discarded at once."""


def held_changes() -> QuerySet[HeldChange]:
    """The held changes between LOCAL and SYNCHRO_REMOTE. Raises SynchroError or
    ImproperlyConfigured if the databases cannot be asked."""
    return changes_held(*sides(remote_alias(None), make=False))


def find(pks: Collection[int]) -> list[HeldChange]:
    """Held changes by their numbers; those that are gone are left out."""
    return list(held_changes().filter(pk__in=pks))


def held_change(request: HttpRequest, *, site: AdminSite, pk: int) -> HttpResponse:
    """A held change, with its object on both sides. POST: retry it, or discard it."""
    try:
        found = held_changes().filter(pk=pk).first()
    except (SynchroError, ImproperlyConfigured) as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(address(request, "synchro"))
    showing = Showing(request, site)
    if found is None or not showing.visibility.row(found.label, found.object_id):
        raise Http404(_("There is no held change %d.") % pk)
    if request.method == "POST":
        return resolve(request, site, [found])
    context = {
        **site.each_context(request),
        "title": _("Held change"),
        "held": found,
        "name": f"{one_name(found.label)}: {found.object_id}",
        "address": change_address(site, found.label, found.object_id),
        "field": showing.field_name(found.label, found.field) if found.field else "",
        "why": showing.why(found.label, found.reason, found.detail),
        "on_purpose": found.reason == EXCLUDED,
        "may_resolve": access.may(request, access.RESOLVE),
        "list": list_address(site.name, "heldchange"),
        **_both_sides(showing, found),
    }
    return TemplateResponse(request, "synchro/held_change.html", context)


def _both_sides(showing: Showing, found: HeldChange) -> dict[str, Any]:
    here, there = sides(remote_alias(None), make=False)
    try:
        ours, theirs = both(here, there, found.label, found.object_id)
    except (DatabaseError, SynchroError) as error:
        return {"cannot_compare": " ".join(str(error).split())}
    model = model_named(found.label)
    rows = []
    hidden = 0
    names = Names(there.alias)
    fields = [*model._meta.concrete_fields, *model._meta.many_to_many] if model else []
    for field in fields:
        if not showing.visibility.field(found.label, field.name) and not field.primary_key:
            hidden += 1
            continue
        left = _value(showing, names, ours, field, here=True)
        right = _value(showing, names, theirs, field, here=False)
        different = left != right or (
            # What is shown is shortened.
            ours is not None
            and theirs is not None
            and not field.is_relation
            and plain(field.value_from_object(ours)) != plain(field.value_from_object(theirs))
        )
        rows.append((showing.field_name(found.label, field.name), left, right, different))
    return {
        "rows": rows,
        "hidden": hidden,
        "ours": ours is not None,
        "theirs": theirs is not None,
        "remote": there.alias,
    }


def _value(showing: Showing, names: Names, row: Model | None, field: Any, *, here: bool) -> str:
    """A field of an object of one side, as the pages write it."""
    if row is None:
        return ""
    if field.many_to_many:
        links = getattr(row, field.name).using(row._state.db).order_by("pk")
        keys = [str(key) for key in links.values_list("pk", flat=True)[: _SHOWN_LINKS + 1]]
        shown = sorted(_names(showing, names, field, keys[:_SHOWN_LINKS], here=here))
        return ", ".join(shown) + (", …" if len(keys) > _SHOWN_LINKS else "")
    found = field.value_from_object(row)
    if found is not None and field.is_relation and points_at_key(field):
        return _names(showing, names, field, [str(found)], here=here)[0]
    return value(plain(found), field)


def _names(
    showing: Showing, names: Names, field: Any, keys: list[str], *, here: bool
) -> list[str]:
    """What a relation leads to: the names that the user may view, else the keys."""
    label = concrete(field.related_model)._meta.label_lower
    showing.load(names, label, keys, here=here)
    return [names.get(label, key, here=here) or key for key in keys]


def resolve(request: HttpRequest, site: AdminSite, found: list[HeldChange]) -> HttpResponse:
    """Retry held changes, or discard them, once the user has confirmed that."""
    access.require(request, access.RESOLVE)
    if "retry" in request.POST:
        return retry(request, found)
    if "confirmed" in request.POST:
        return _discard(request, site, found)
    if len(found) > _MOST:
        # The form that asks has a field for each; Django takes a thousand.
        text = _("Please discard no more than %d changes at once.")
        messages.warning(request, text % _MOST)
        back = list_address(site.name, "heldchange")
        return HttpResponseRedirect(back or address(request, "synchro"))
    context = {
        **site.each_context(request),
        "title": _("Discard held changes"),
        "found": [(one_name(one.label), one) for one in found],
        "list": list_address(site.name, "heldchange"),
    }
    return TemplateResponse(request, "synchro/discard.html", context)


def retry(request: HttpRequest, found: Iterable[HeldChange]) -> HttpResponse:
    """Start a run that tries these held changes and nothing else."""
    wanted = {(one.label, one.object_id) for one in found}
    labels = sorted({label for label, _object_id in wanted if model_named(label) is not None})

    def make_plan(tracker: Tracker) -> Plan:
        plan = diff(
            remote_alias(None),
            models=labels,
            flags=SyncFlags.CONTINUE_ON_FAILURE,
            tracker=tracker,
        )
        return plan.filter(lambda entry: (entry.model, entry.key) in wanted)

    what = ngettext(
        "Retry of %d held change started.", "Retry of %d held changes started.", len(wanted)
    )
    return launch(request, make_plan=make_plan, what=what % len(wanted))


def _discard(request: HttpRequest, site: AdminSite, found: list[HeldChange]) -> HttpResponse:
    try:
        number = discard_held(ids=[one.pk for one in found])
    except (SynchroError, ImproperlyConfigured) as error:
        if conf.debug:
            raise
        messages.error(request, str(error))
        return HttpResponseRedirect(address(request, "synchro"))
    trail.note_all(
        request,
        HeldChange,
        [(one.pk, f"{one.label} {one.object_id} {one.field}".strip()) for one in found],
        trail.DELETION,
        _("Held change discarded: it will not be synchronized."),
    )
    messages.success(
        request,
        ngettext("%d held change discarded.", "%d held changes discarded.", number) % number,
    )
    return HttpResponseRedirect(
        list_address(site.name, "heldchange") or address(request, "synchro")
    )
