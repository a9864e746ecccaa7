"""Models by their labels, which may be those of models that are gone."""

from __future__ import annotations

from django.apps import apps
from django.db.models import Model

from synchro.graph import concrete


def model_named(label: str) -> type[Model] | None:
    """The model (never a proxy) that a label names; None if it is not installed."""
    try:
        return concrete(apps.get_model(label))
    except (LookupError, ValueError):
        return None


def canonical(label: str) -> str:
    """The label of a model as synchro writes it: small letters, never a proxy's. That of a model
    that is not installed stays as it is."""
    model = model_named(label)
    return label if model is None else model._meta.label_lower
