"""Which models must be replayed by ``save()`` and ``delete()``, one object at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Model
from django.db.models.signals import (
    m2m_changed,
    post_delete,
    post_save,
    pre_delete,
    pre_save,
)
from django.dispatch import Signal

from synchro.capture import is_own
from synchro.conf import conf

# Overridden by Django itself, without an effect on rows that are replayed.
_HARMLESS: Final = frozenset({Model.save, Model.delete, AbstractBaseUser.save})


def needs_save(model: type[Model]) -> bool:
    """Whether rows of the model are written by ``save()``."""
    mode = conf.replay_mode(model)
    if mode != "auto":
        return mode == "save"
    return (
        model.save not in _HARMLESS
        or _has_receivers(pre_save, model)
        or _has_receivers(post_save, model)
    )


def needs_delete(model: type[Model]) -> bool:
    """Whether rows of the model are deleted by ``delete()``."""
    mode = conf.replay_mode(model)
    if mode != "auto":
        return mode == "save"
    return (
        model.delete not in _HARMLESS
        or _has_receivers(pre_delete, model)
        or _has_receivers(post_delete, model)
    )


def needs_link_signals(owner: type[Model], through: type[Model]) -> bool:
    """Whether links are added and removed by the related manager."""
    mode = conf.replay_mode(owner)
    return mode == "save" if mode != "auto" else _has_receivers(m2m_changed, through)


def _has_receivers(signal: Signal, sender: type[Model]) -> bool:
    return any(not is_own(receiver) for receiver in _receivers(signal, sender))


def _receivers(signal: Signal, sender: type[Model]) -> Iterator[Any]:
    plain, asynchronous = signal._live_receivers(sender)
    yield from plain
    yield from asynchronous
