"""Where the pages of synchro are, for links from one to another and from the admin."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from synchro.names import model_named

APP_NAME = "synchro"


def address(request: HttpRequest | None, name: str, *args: Any, **query: str) -> str:
    """The address of a page of synchro, in the same set of pages as the request's own. Raises
    NoReverseMatch if the project has none in its ``urlpatterns``."""
    match = request.resolver_match if request is not None else None
    instance = match.namespace if match is not None and APP_NAME in match.app_names else None
    found = reverse(f"{APP_NAME}:{name}", args=args, current_app=instance)
    return f"{found}?{urlencode(query)}" if query else found


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
