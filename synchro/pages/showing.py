"""Objects of a plan as the pages show them: names, old and new values, links."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.contrib.admin import AdminSite
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import DateField, TimeField
from django.http import HttpRequest
from django.utils.formats import localize
from django.utils.text import capfirst
from django.utils.timezone import is_aware, localtime
from django.utils.translation import gettext as _

from synchro.entries import CREATE, DELETE, SKIP, UPDATE, Entry, show
from synchro.exceptions import NaturalKeyError
from synchro.graph import concrete, points_at_key
from synchro.keys import natural_lookup
from synchro.models import NEEDS_HELD, REASONS
from synchro.names import model_named
from synchro.pages.addresses import change_address
from synchro.pages.naming import Names
from synchro.pages.visibility import Visibility

_NOTHING: Final = "–"
_LONGEST: Final = 200


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


def one_name(label: str) -> str:
    """The name of a model for one of its objects."""
    model = model_named(label)
    return label if model is None else capfirst(str(model._meta.verbose_name))


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

    def entries(self, entries: Sequence[Entry], remote: str) -> list[ShownEntry]:
        """Objects of a plan to the database behind an alias. Names are read in sets."""
        names = Names(remote)
        wanted: dict[tuple[str, bool], list[str | None]] = {}
        for entry in entries:
            if entry.action == DELETE:
                wanted.setdefault((entry.model, False), []).append(entry.remote_key)
            else:
                wanted.setdefault((entry.model, True), []).append(entry.key)
            for label, here, key in self._targets(entry):
                wanted.setdefault((label, here), []).append(key)
        for (label, here), keys in wanted.items():
            self.load(names, label, keys, here=here)
        seen = {
            label: self.visibility.rows(label, (e.key for e in entries if e.model == label))
            for label in {entry.model for entry in entries}
        }
        return [self._entry(entry, names, seen[entry.model]) for entry in entries]

    def load(
        self, names: Names, label: str, keys: Iterable[str | None], *, here: bool = True
    ) -> None:
        """Read the names of those objects that the user may view."""
        if here:
            names.load(label, self.visibility.rows(label, keys))
        elif self.visibility.model(label) and not self.visibility.limits_rows(label):
            names.load(label, keys, here=False)

    def _targets(self, entry: Entry) -> Iterator[tuple[str, bool, str]]:
        """What the foreign keys and links of an entry lead to: label, whether the key is one of
        LOCAL, key."""
        for name, values in entry.fields.items():
            for one in values:
                target = self._target(entry.model, name, one)
                if target is not None:
                    yield target
        for name, (more, fewer) in entry.links.items():
            for one in (*more, *fewer):
                target = self._target(entry.model, name, one)
                if target is not None:
                    yield target

    def _target(self, label: str, name: str, key: Any) -> tuple[str, bool, str] | None:
        found = field_of(label, name)
        related = getattr(found, "related_model", None)
        if related is None or key is None or not points_at_key(found):
            return None
        text = str(key)
        # ``+7`` is a row that is to be made of LOCAL's row 7.
        return concrete(related)._meta.label_lower, text.startswith("+"), text.removeprefix("+")

    def _entry(self, entry: Entry, names: Names, seen: set[str]) -> ShownEntry:
        label = entry.model
        may_view = not self.visibility.limits_rows(label) or entry.key in seen
        here = entry.action != DELETE
        known = names.get(label, entry.key if here else entry.remote_key, here=here)
        natural = ""
        if may_view and self.shows_names(label):
            natural = ", ".join(map(str, entry.natural_key or ()))
        bare = entry.key if entry.key is not None else _("%s on the other side") % entry.remote_key
        title = known or natural
        found = ShownEntry(
            name=f"{title} ({bare})" if title else str(bare),
            address=change_address(self.site, label, entry.key) if may_view else None,
            action=entry.action,
            action_name=action_name(entry.action),
            why=self.why(label, entry.reason, entry.detail),
        )
        for name, (old, new) in entry.fields.items():
            if not (may_view and self.visibility.field(label, name)):
                found.hidden += 1
                continue
            found.fields.append(
                ShownField(
                    name=self.field_name(label, name),
                    old="" if entry.action == CREATE else self._value(label, name, old, names),
                    new="" if entry.action == DELETE else self._value(label, name, new, names),
                )
            )
        for name, (more, fewer) in entry.links.items():
            if not (may_view and self.visibility.field(label, name)):
                found.hidden += 1
                continue
            found.links.append(
                ShownLinks(
                    name=self.field_name(label, name),
                    more=[self._value(label, name, key, names) for key in more],
                    fewer=[self._value(label, name, key, names) for key in fewer],
                )
            )
        return found

    def _value(self, label: str, name: str, plain: Any, names: Names) -> str:
        """A plain value as the admin would write it."""
        target = self._target(label, name, plain)
        if target is not None:
            other, here, key = target
            return names.get(other, key, here=here) or str(plain)
        return value(plain, field_of(label, name))

    def why(self, label: str, reason: str, detail: str) -> str:
        """Why something is left out: the whole sentence only for who may see the whole object
        (or all of them, where it tells of another one)."""
        named = reasons().get(reason, reason)
        if not detail:
            return named
        of_another = reason == NEEDS_HELD
        may = self.visibility.everything() if of_another else self.visibility.whole(label)
        return detail if may else named

    def field_name(self, label: str, name: str) -> str:
        """The name of a field as the admin writes it."""
        found: Any = field_of(label, name)
        return capfirst(str(getattr(found, "verbose_name", name)))


def field_of(label: str, name: str) -> Any:
    """A field of a model; None if there is none."""
    model = model_named(label)
    if model is None:
        return None
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist:
        return None


def reasons() -> dict[str, str]:
    """Why objects are in a plan or left out, in words of the active language."""
    return {
        **{name: str(text) for name, text in REASONS},
        "needed": _("another object needs it"),
        "only-on-remote": _("only the other side has it"),
    }


def value(plain: Any, field: Any = None) -> str:
    """A plain value of a field as a person reads it, in the user's language and time zone."""
    if plain is None:
        return _NOTHING
    if isinstance(plain, bool):
        return _("yes") if plain else _("no")
    if field is not None and field.flatchoices:
        named = [name for choice, name in field.flatchoices if choice == plain]
        return str(named[0] if named else plain)
    if isinstance(plain, str):
        if isinstance(field, DateField | TimeField):
            return _time(plain, field)
        return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"
    return show(plain)


def _time(text: str, field: Any) -> str:
    """A date or time, which plans have in ISO 8601. Seconds are shown: they may be all that
    differs."""
    try:
        found = field.to_python(text)
    except ValidationError:
        return text
    if isinstance(found, datetime):
        found = localtime(found) if is_aware(found) else found
        return f"{localize(found.date())} {found:%H:%M:%S}"
    return localize(found) if isinstance(field, DateField) else text
