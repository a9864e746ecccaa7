"""Which values of a project's objects a user may see: those that the admin would show."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model
from django.http import HttpRequest

from synchro.conf import conf
from synchro.names import model_named


class Visibility:
    """What one user may see of the objects of a project."""

    def __init__(self, request: HttpRequest, site: AdminSite) -> None:
        self._request = request
        self._site = site
        self._models: dict[str, bool] = {}
        self._fields: dict[str, frozenset[str] | None] = {}

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
        return shown is None or name in shown or self._is_not_for_forms(model, name)

    def _is_not_for_forms(self, model: type[Model] | None, name: str) -> bool:
        """Whether no form could show the field, so that its absence from one says nothing."""
        if model is None:
            return False
        try:
            found: Any = model._meta.get_field(name)
        except FieldDoesNotExist:
            return False
        excluded = self._site.get_model_admin(model).get_exclude(self._request, model()) or ()
        return not getattr(found, "editable", True) and name not in excluded

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
        return all(self.field(label, lookup.split("__")[0]) for lookup in natural_fields)

    def everything(self) -> bool:
        """Whether the user may see every field of every model that is watched."""
        return all(self.whole(model._meta.label_lower) for model in conf.valid_models)

    def whole(self, label: str) -> bool:
        """Whether the user may see every field of a model. (What a database says when it refuses
        a row may quote any of them.)"""
        model = model_named(label)
        if model is None or self._user.is_superuser:
            return self.model(label)
        automatic = model._meta.auto_field
        return all(
            self.field(label, field.name)
            for field in model._meta.get_fields()
            if field.concrete and field is not automatic and not field.auto_created
        )
