"""``page_url`` and ``synchro_tabs``, for the templates of synchro's pages."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context
from django.urls import NoReverseMatch
from django.utils.translation import gettext as _

from synchro.pages import access
from synchro.pages.addresses import address, list_address

register = template.Library()


@register.simple_tag(takes_context=True)
def page_url(context: Context, name: str, *args: Any) -> str:
    """The address of a page of synchro."""
    return address(context["request"], name, *args)


@register.inclusion_tag("synchro/tabs.html", takes_context=True)
def synchro_tabs(context: Context) -> dict[str, Any]:
    """Links to all pages that the user may open; the one that is open is marked."""
    request = context["request"]
    site_name = getattr(request, "current_app", None) or "admin"
    match = request.resolver_match
    here = match.url_name if match is not None else ""
    wanted: list[tuple[str, str, str | None, tuple[str, ...]]] = []
    for name, text, needs, pages in (
        ("synchro", _("Overview"), access.VIEW_RUNS, ("synchro", "reset", "adopt")),
        ("new-preview", _("Preview"), access.VIEW_PREVIEW, ("new-preview", "preview")),
    ):
        try:
            wanted.append((text, needs, address(request, name), pages))
        except NoReverseMatch:
            continue
    for model, text, needs, further in (
        ("syncrun", _("Synchronizations"), access.VIEW_RUNS, ("run",)),
        ("heldchange", _("Held changes"), access.VIEW_HELD, ("held",)),
        ("changelog", _("Change log"), access.VIEW_LOG, ()),
        ("reference", _("References"), access.VIEW_REFERENCES, ()),
    ):
        own = (*further, f"synchro_{model}_changelist")
        wanted.append((text, needs, list_address(site_name, model), own))
    return {
        "tabs": [
            {"text": text, "address": found, "open": here in pages}
            for text, needs, found, pages in wanted
            if found and access.may(request, needs)
        ]
    }
