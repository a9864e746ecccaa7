"""Objects of a plan as the pages show them: names, old and new values, links."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import FieldDoesNotExist
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from synchro.entries import CREATE, DELETE, SKIP, UPDATE, Entry, show
from synchro.exceptions import NaturalKeyError
from synchro.keys import natural_lookup
from synchro.models import REASONS
from synchro.names import model_named
from synchro.pages.addresses import change_address
from synchro.pages.visibility import Visibility


@dataclass(kw_only=True)
class ShownField:
    """A field that would change."""

    name: str
    old: str
    new: str


@dataclass(kw_only=True)
class ShownLinks:
    """A many-to-many field that would change."""

    name: str
    more: list[str]
    fewer: list[str]


@dataclass(kw_only=True)
class ShownEntry:
    """An object of a plan, with what the user may see of it."""

    name: str
    address: str | None
    action: str
    action_name: str
    fields: list[ShownField] = field(default_factory=list)
    links: list[ShownLinks] = field(default_factory=list)
    hidden: int = 0
    """How many fields change that the user may not see."""
    why: str = ""


def action_name(action: str) -> str:
    """What would be done with an object, in words of the active language."""
    names = {
        CREATE: _("to be created"),
        UPDATE: _("to be changed"),
        DELETE: _("to be deleted"),
        SKIP: _("left out"),
    }
    return names.get(action, action)


def model_name(label: str) -> str:
    """The plural name of a model, as the admin writes it; the label if it is not installed."""
    model = model_named(label)
    return label if model is None else capfirst(str(model._meta.verbose_name_plural))


def app_name(label: str) -> str:
    """The name of the app of a model."""
    model = model_named(label)
    return "" if model is None else str(model._meta.app_config.verbose_name)


class Showing:
    """How objects are shown to one user."""

    def __init__(self, request: HttpRequest, site: AdminSite) -> None:
        self.site = site
        self.visibility = Visibility(request, site)

    def shows_names(self, label: str) -> bool:
        """Whether the user may see natural keys of objects of a model."""
        model = model_named(label)
        if model is None:
            return self.visibility.whole(label)
        try:
            lookup = natural_lookup(model)
        except NaturalKeyError:
            return False
        return lookup is None or self.visibility.name(label, lookup.fields)

    def entry(self, entry: Entry) -> ShownEntry:
        """An object of a plan."""
        label = entry.model
        named = self.shows_names(label)
        bare = entry.key if entry.key is not None else _("%s on the other side") % entry.remote_key
        natural = ", ".join(map(str, entry.natural_key or ())) if named else ""
        found = ShownEntry(
            name=f"{natural} ({bare})" if natural else str(bare),
            address=change_address(self.site, label, entry.key),
            action=entry.action,
            action_name=action_name(entry.action),
            why=self.why(label, entry.reason, entry.detail),
        )
        for name, (old, new) in entry.fields.items():
            if not self.visibility.field(label, name):
                found.hidden += 1
                continue
            found.fields.append(
                ShownField(
                    name=self.field_name(label, name),
                    old="" if entry.action == CREATE else value(old),
                    new="" if entry.action == DELETE else value(new),
                )
            )
        for name, (more, fewer) in entry.links.items():
            if not self.visibility.field(label, name):
                found.hidden += 1
                continue
            found.links.append(
                ShownLinks(name=self.field_name(label, name), more=more, fewer=fewer)
            )
        return found

    def why(self, label: str, reason: str, detail: str) -> str:
        """Why something is left out: the whole sentence only for who may see the whole object."""
        named = reasons().get(reason, reason)
        return detail if detail and self.visibility.whole(label) else named

    def field_name(self, label: str, name: str) -> str:
        """The name of a field as the admin writes it."""
        model = model_named(label)
        if model is None:
            return name
        try:
            verbose: Any = getattr(model._meta.get_field(name), "verbose_name", name)
        except FieldDoesNotExist:
            return name
        return capfirst(str(verbose))


def reasons() -> dict[str, str]:
    """Why objects are in a plan or left out, in words of the active language."""
    return {
        **{name: str(text) for name, text in REASONS},
        "needed": _("another object needs it"),
        "only-on-remote": _("only the other side has it"),
    }


def value(plain: Any) -> str:
    """A plain value as a person reads it."""
    if plain is None:
        return "–"
    if isinstance(plain, bool):
        return _("yes") if plain else _("no")
    if isinstance(plain, str):
        return plain if len(plain) <= 200 else f"{plain[:199]}…"
    return show(plain)
