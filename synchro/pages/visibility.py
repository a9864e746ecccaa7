"""Which values of a project's objects a user may see: those that the admin would show."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Final

from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError
from django.db.models import Model
from django.http import HttpRequest

from synchro.conf import conf
from synchro.exceptions import NaturalKeyError
from synchro.graph import concrete
from synchro.keys import load_object_id, object_id
from synchro.names import model_named

_BY_OBJECT: Final = (
    "has_view_permission",
    "has_change_permission",
    "has_view_or_change_permission",
)
"""Methods of an admin that may answer differently for each object."""


class Visibility:
    """What one user may see of the objects of a project."""

    def __init__(self, request: HttpRequest, site: AdminSite) -> None:
        self._request = request
        self._site = site
        self._models: dict[str, bool] = {}
        self._fields: dict[str, frozenset[str] | None] = {}
        self._limited: dict[str, bool] = {}

    @cached_property
    def _user(self) -> Any:
        return self._request.user

    def model(self, label: str) -> bool:
        """Whether the user may view objects of a model, by the permissions of the admin."""
        if label not in self._models:
            self._models[label] = self._may_view(label)
        return self._models[label]

    def _may_view(self, label: str) -> bool:
        model = model_named(label)
        if model is None:
            return bool(self._user.is_superuser)
        if self._site.is_registered(model):
            admin = self._site.get_model_admin(model)
            return bool(admin.has_view_or_change_permission(self._request))
        options = model._meta
        return any(
            self._user.has_perm(f"{options.app_label}.{action}_{options.model_name}")
            for action in ("view", "change")
        )

    def limits_rows(self, label: str) -> bool:
        """Whether the admin shows the user only some of the objects of a model, or may do so.
        Superusers see all of them here."""
        if label not in self._limited:
            model = model_named(label)
            self._limited[label] = (
                model is not None
                and not self._user.is_superuser
                and self._site.is_registered(model)
                and self._limits(self._site.get_model_admin(model))
            )
        return self._limited[label]

    def _limits(self, admin: ModelAdmin[Any]) -> bool:
        query = admin.get_queryset(self._request).query
        return bool(query.where or query.combinator) or any(
            getattr(type(admin), name) is not getattr(ModelAdmin, name) for name in _BY_OBJECT
        )

    def rows(self, label: str, keys: Iterable[str | None]) -> set[str]:
        """Which objects of LOCAL, given by their keys as text, the user may view. (Where the admin
        shows only some, that cannot be told of objects that LOCAL does not have.)"""
        texts = {key for key in keys if key is not None}
        model = model_named(label)
        if not self.model(label) or model is None or not self.limits_rows(label):
            return texts if self.model(label) else set()
        pks = []
        for text in texts:
            try:
                pks.append(load_object_id(model, text))
            except NaturalKeyError:
                continue
        admin = self._site.get_model_admin(model)
        found = admin.get_queryset(self._request).using(conf.local).filter(pk__in=pks)
        try:
            return {
                object_id(model, row.pk)
                for row in found
                if admin.has_view_or_change_permission(self._request, row)
            }
        except DatabaseError:
            return set()

    def row(self, label: str, key: str | None) -> bool:
        """Whether the user may view an object."""
        return self.model(label) and (not self.limits_rows(label) or bool(self.rows(label, [key])))

    def field(self, label: str, name: str) -> bool:
        """Whether the user may see the values of a field."""
        if not self.model(label):
            return False
        model = model_named(label)
        if model is not None and issubclass(model, AbstractBaseUser) and name == "password":
            return False  # the admin shows it masked
        if label not in self._fields:
            self._fields[label] = self._shown_fields(model)
        shown = self._fields[label]
        if shown is None:
            return self._shown_by_parent(model, name)
        return name in shown or self._is_not_for_forms(model, name)

    def _shown_by_parent(self, model: type[Model] | None, name: str) -> bool:
        """Whether the admin of the model that a field was inherited from, if it has one, shows the
        field."""
        try:
            owner = concrete(model._meta.get_field(name).model) if model is not None else None
        except FieldDoesNotExist:
            return True
        if owner is None or owner is model or not self._site.is_registered(owner):
            return True
        return self.field(owner._meta.label_lower, name)

    def _is_not_for_forms(self, model: type[Model] | None, name: str) -> bool:
        """Whether no form could show the field, so that its absence from one says nothing. (A
        field may be kept out of forms since it is a secret, but one that tells a time is not.)"""
        if model is None:
            return False
        try:
            found: Any = model._meta.get_field(name)
        except FieldDoesNotExist:
            return False
        excluded = self._site.get_model_admin(model).get_exclude(self._request, model()) or ()
        tells_time = getattr(found, "auto_now", False) or getattr(found, "auto_now_add", False)
        return (
            not getattr(found, "editable", True)
            and name not in excluded
            and bool(tells_time or self._user.is_superuser)
        )

    def _shown_fields(self, model: type[Model] | None) -> frozenset[str] | None:
        """The fields on the admin's pages of a model; None for all, of a model that has none."""
        if model is None or not self._site.is_registered(model):
            return None
        admin = self._site.get_model_admin(model)
        # Some admins (of users, for one) show other fields while an object is added.
        shown = flatten_fieldsets(admin.get_fieldsets(self._request, model()))
        listed = admin.get_list_display(self._request)
        return frozenset(
            str(name)
            for name in (*shown, *listed, *admin.get_readonly_fields(self._request, model()))
            if isinstance(name, str)
        )

    def name(self, label: str, natural_fields: Iterable[str] | None) -> bool:
        """Whether the user may see the natural key of objects, given the look-ups of its fields
        (None if they are not known)."""
        if natural_fields is None:
            return bool(self._user.is_superuser) and self.whole(label)
        return all(self._path(label, lookup.split("__")) for lookup in natural_fields)

    def _path(self, label: str, names: list[str]) -> bool:
        """Whether the user may see what a look-up over foreign keys leads to, all the way."""
        first, *rest = names
        if not self.field(label, first):
            return False
        model = model_named(label)
        if not rest or model is None:
            return True
        related = getattr(model._meta.get_field(first), "related_model", None)
        if related is None:
            return True  # a transform of the value
        other = concrete(related)._meta.label_lower
        # Of which row of it, is not known here.
        return not self.limits_rows(other) and self._path(other, rest)

    def everything(self) -> bool:
        """Whether the user may see every field of every model that is watched."""
        return all(self.whole(model._meta.label_lower) for model in conf.valid_models)

    def whole(self, label: str) -> bool:
        """Whether the user may see every field of a model. (What a database says when it refuses
        a row may quote any of them.)"""
        model = model_named(label)
        if model is None or self._user.is_superuser:
            return self.model(label)
        if self.limits_rows(label):
            return False
        automatic = model._meta.auto_field
        return all(
            self.field(label, field.name)
            for field in model._meta.get_fields()
            if field.concrete and field is not automatic and not field.auto_created
        )
