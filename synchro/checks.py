"""System checks: every mistake in the settings has an id, a hint and a page in the docs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core import checks
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model

from synchro.conf import conf
from synchro.exceptions import NaturalKeyError
from synchro.graph import skipped_fields
from synchro.keys import natural_lookup

TAG = "synchro"


def register() -> None:
    """Register the checks with Django."""
    checks.register(check_settings, TAG)
    checks.register(check_models, TAG)


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """synchro.E001 to E007, E011: the SYNCHRO_* settings; W001: synchro is of no use as set."""
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
