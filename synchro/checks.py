"""System checks: every mistake in the settings has an id, a hint and a page in the docs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from django.apps import AppConfig, apps
from django.core import checks
from django.core.exceptions import FieldDoesNotExist
from django.db import connections
from django.db.models import Model

from synchro.conf import conf
from synchro.exceptions import NaturalKeyError
from synchro.graph import automatic_links, foreign_keys, skipped_fields
from synchro.keys import natural_lookup
from synchro.nodes import has_log
from synchro.triggers import install
from synchro.triggers.spec import links_why_not, why_not
from synchro.triggers.vendors import has_dialect

TAG = "synchro"


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_settings, TAG)
    checks.register(check_models, TAG)
    checks.register(check_capture, TAG)
    checks.register(check_triggers, TAG, checks.Tags.database)
    checks.register(check_permissions, TAG, checks.Tags.security, deploy=True)


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """synchro.E001 to E007, E011, E012: the SYNCHRO_* settings; W001: nothing is watched."""
    found: list[checks.CheckMessage] = [
        checks.Error(problem.message, hint=problem.hint, id=problem.id)
        for problem in conf.problems()
    ]
    if not found and not conf.valid_models:
        found.append(
            checks.Warning(
                "SYNCHRO_MODELS names no models: nothing is logged.",
                hint="Set it, for example SYNCHRO_MODELS = ('shop',).",
                id="synchro.W001",
            )
        )
    if not apps.is_installed("dbsettings"):
        found.append(
            checks.Error(
                "synchro keeps its checkpoint in dbsettings, which is not installed.",
                hint="Add 'dbsettings' to INSTALLED_APPS.",
                id="synchro.E008",
            )
        )
    return found


def check_models(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """synchro.E009 and E010: what the watched models themselves say."""
    found: list[checks.CheckMessage] = []
    for model in sorted(conf.valid_models, key=lambda model: model._meta.label):
        found += _check_skip(model)
        try:
            natural_lookup(model)
        except NaturalKeyError as error:
            found.append(
                checks.Error(
                    str(error),
                    hint="Name fields of the model, or look-ups over its relations.",
                    obj=model,
                    id="synchro.E010",
                )
            )
    return found


def _check_skip(model: type[Model]) -> list[checks.CheckMessage]:
    if isinstance(getattr(model, "SYNCHRO_SKIP", ()), str):
        return [
            checks.Error(
                f"{model._meta.label}.SYNCHRO_SKIP is text: it must be a tuple of field names.",
                hint=f"Write SYNCHRO_SKIP = ({model.SYNCHRO_SKIP!r},).",  # type: ignore[attr-defined]
                obj=model,
                id="synchro.E009",
            )
        ]
    found: list[checks.CheckMessage] = []
    for name in sorted(skipped_fields(model)):
        try:
            model._meta.get_field(name)
        except FieldDoesNotExist:
            found.append(
                checks.Error(
                    f"{model._meta.label}.SYNCHRO_SKIP names {name!r}, which is not a field.",
                    hint="Name fields of the model, many-to-many ones too.",
                    obj=model,
                    id="synchro.E009",
                )
            )
    return found


def check_capture(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """synchro.W004 and W005: what triggers cannot capture."""
    found: list[checks.CheckMessage] = []
    for model in sorted(conf.valid_models, key=lambda model: model._meta.label):
        if not conf.captured_by_triggers(model):
            continue
        reasons = {model._meta.label: why_not(model)}
        for field in automatic_links(model):
            reasons[f"{model._meta.label}.{field.name}"] = links_why_not(field)
        found += [
            checks.Warning(
                f"{name} is captured by signals, not by triggers: {reason}.",
                hint=f"Confirm it by SYNCHRO_CAPTURE = {{'{model._meta.label}': 'signals', ...}}.",
                obj=model,
                id="synchro.W004",
            )
            for name, reason in reasons.items()
            if reason
        ]
        if any(connections[alias].vendor == "mysql" for alias in conf.logged_aliases):
            found += _check_cascades(model)
    return found


def _check_cascades(model: type[Model]) -> list[checks.CheckMessage]:
    return [
        checks.Warning(
            f"{model._meta.label}.{field.name} lets the database delete or change rows, for "
            "which MariaDB and MySQL call no triggers.",
            hint="Use CASCADE, SET_NULL or SET_DEFAULT instead, which Django does itself.",
            obj=model,
            id="synchro.W005",
        )
        for field in foreign_keys(model)
        # DB_CASCADE and its like, since Django 6.1.
        if type(cast(Any, field.remote_field).on_delete).__name__ == "DatabaseOnDelete"
    ]


def check_permissions(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """synchro.W006, with --deploy only: every member of staff may synchronize and reset."""
    if conf.require_permissions:
        return []
    return [
        checks.Warning(
            "SYNCHRO_REQUIRE_PERMISSIONS is not True: every member of staff who finds the pages "
            "of synchro may synchronize, reset, and discard held changes.",
            hint="Set SYNCHRO_REQUIRE_PERMISSIONS = True, and grant the permissions of synchro to "
            "those who need them.",
            id="synchro.W006",
        )
    ]


def check_triggers(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[checks.CheckMessage]:
    """synchro.W003: the triggers of a database are not as they should be."""
    found: list[checks.CheckMessage] = []
    for alias in sorted(conf.logged_aliases & set(databases or ())):
        if conf.problems() or not has_dialect(alias) or not has_log(alias):
            continue
        state = install.state(alias)
        if not state.is_current:
            found.append(
                checks.Warning(
                    f"The triggers of {alias!r} are not as SYNCHRO_CAPTURE asks for: "
                    f"{len(state.missing)} are missing or out of date, {len(state.stale)} are to "
                    "be removed. Where they are missing, signals log.",
                    hint=f"Run: manage.py synchro_triggers install --database {alias}",
                    id="synchro.W003",
                )
            )
    return found
