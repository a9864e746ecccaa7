"""Where the pages of synchro are, for links from one to another and from the admin."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.urls import NoReverseMatch, Resolver404, get_resolver, get_urlconf, resolve, reverse
from django.utils.http import urlencode

from synchro.names import model_named

APP_NAME: Final = "synchro"
SITE: Final = "synchro_site"
"""The attribute of a page's view that has the name of its admin site."""


def address(request: HttpRequest, name: str, *args: Any, **query: str) -> str:
    """The address of a page of synchro, in the same set of pages as the request's own, or that of
    the same admin site. Raises NoReverseMatch if the project has none in its ``urlpatterns``."""
    match = request.resolver_match
    if match is not None and APP_NAME in match.app_names:
        instance: str | None = match.namespace
    else:
        instance = _instance(getattr(request, "current_app", None))
    found = reverse(f"{APP_NAME}:{name}", args=args, current_app=instance)
    return f"{found}?{urlencode(query)}" if query else found


def site_address(site: AdminSite, name: str, *args: Any) -> str:
    """The address of a page of synchro, for a list in an admin site. Raises NoReverseMatch."""
    return reverse(f"{APP_NAME}:{name}", args=args, current_app=_instance(site.name))


def _instance(site_name: str | None) -> str | None:
    """The namespace of the pages that belong to an admin site."""
    for instance in get_resolver(get_urlconf()).app_dict.get(APP_NAME, ()):
        try:
            view = resolve(reverse(f"{instance}:{APP_NAME}"), get_urlconf()).func
        except (NoReverseMatch, Resolver404):
            continue
        if getattr(view, SITE, None) == site_name:
            return str(instance)
    return None


def list_address(site_name: str, model: str, **query: str) -> str | None:
    """The address of the admin's list of one of synchro's own models; None if it has none."""
    try:
        found = reverse(f"admin:synchro_{model}_changelist", current_app=site_name)
    except NoReverseMatch:
        return None
    return f"{found}?{urlencode(query)}" if query else found


def change_address(site: AdminSite, label: str, key: str | None) -> str | None:
    """The admin's page of an object on LOCAL; None if its model is not in the admin."""
    model = model_named(label)
    if key is None or model is None or not site.is_registered(model):
        return None
    options = model._meta
    try:
        return reverse(
            f"admin:{options.app_label}_{options.model_name}_change",
            args=[quote(key)],
            current_app=site.name,
        )
    except NoReverseMatch:
        return None
