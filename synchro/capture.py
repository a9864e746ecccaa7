"""Capture by signals: every write of a watched model leaves a row in the change log.

The log row is written in the database and the transaction of the write itself. Two things make
that so. Django commits a ``save()`` outside ``atomic()`` before it sends ``post_save``; the
watched models' ``save_base`` is wrapped, so that the row and its log row are one transaction.
And synchro's receivers come first, so that none can fail between the write and its log row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import cache, wraps
from typing import Any, Final

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.signals import setting_changed
from django.db import connections, router, transaction
from django.db.models import ManyToManyField, Model, QuerySet
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete
from django.dispatch import Signal
from django.utils import timezone

from synchro.chunks import batched
from synchro.conf import conf, many_to_many_fields
from synchro.exceptions import NaturalKeyError
from synchro.graph import ends, through
from synchro.keys import (
    NaturalKey,
    cheap_natural_key,
    dump_key,
    natural_key,
    natural_lookup,
    object_id,
)
from synchro.models import ADDITION, CHANGE, DELETION, M2M_CHANGE, ChangeLog
from synchro.nodes import has_log
from synchro.suspend import is_suspended
from synchro.triggers import presence

logger = logging.getLogger("synchro.capture")

_COLUMNS: Final = (
    *("content_type", "label", "object_id"),
    *("date", "action", "field", "key", "origin"),
)
"""What is written of a change; the other columns of its row are empty."""
_ROWS_PER_STATEMENT: Final = 100

_KEY_ATTRIBUTE = "_synchro_natural_key"

# What connect() has connected, to be undone by disconnect().
_logged_as: dict[type[Model], tuple[type[Model], ...]] = {}
_links: dict[type[Model], ManyToManyField[Any, Any]] = {}
_wrapped: list[type[Model]] = []


def is_logged(alias: str) -> bool:
    """Whether a write to the database, in the current context, is logged."""
    return not is_suspended() and alias in conf.logged_aliases and has_log(alias)


def signals_log(alias: str, model: type[Model]) -> bool:
    """Whether a write of a model's row, in the current context, is logged by signals. (It is not
    where the database logs it itself.)"""
    return is_logged(alias) and not presence.log_rows(alias, model)


def connect() -> None:
    """Connect the receivers to the watched models. Wrong settings are left out here, logged,
    and reported by the system checks."""
    disconnect()
    problems = conf.problems()
    if problems:
        # A server does not run the checks: it must not go on in silence.
        ids = ", ".join(sorted({problem.id for problem in problems}))
        logger.error("The SYNCHRO_ settings have mistakes (%s): run manage.py check", ids)
    watched = conf.valid_models
    for model in apps.get_models(include_auto_created=False):
        concrete = model._meta.concrete_model or model
        if concrete in watched:
            _watch(model, (concrete,))
        else:
            # A child in another table: its save() writes the parent's row without a signal.
            parents = tuple(parent for parent in concrete._meta.all_parents if parent in watched)
            if parents:
                _watch(model, parents)
    for field in many_to_many_fields():
        links = through(field)
        if links._meta.auto_created:
            if field.model in watched or field.related_model in watched:
                _links[links] = field
                _connect_first(m2m_changed, log_links, links)
        elif links in watched:
            _links[links] = field
            _connect_first(m2m_changed, log_through_rows, links)


def disconnect() -> None:
    """Undo connect()."""
    for model in _logged_as:
        post_save.disconnect(log_save, sender=model)
        pre_delete.disconnect(keep_natural_key, sender=model)
        post_delete.disconnect(log_delete, sender=model)
    for links in _links:
        m2m_changed.disconnect(log_links, sender=links)
        m2m_changed.disconnect(log_through_rows, sender=links)
    for model in _wrapped:
        del model.save_base
    _logged_as.clear()
    _links.clear()
    _wrapped.clear()


def is_own(receiver: Any) -> bool:
    """Whether a receiver of a model signal is synchro's own."""
    return receiver in _OWN


def _watch(model: type[Model], logged_as: tuple[type[Model], ...]) -> None:
    _logged_as[model] = logged_as
    _connect_first(post_save, log_save, model)
    if (model._meta.concrete_model or model) in logged_as:
        lookup = natural_lookup(logged_as[0])
        if lookup is not None and lookup.spans_relations:
            _connect_first(pre_delete, keep_natural_key, model)
        _connect_first(post_delete, log_delete, model)
    if "save_base" not in vars(model):
        model.save_base = _in_one_transaction(model.save_base)  # type: ignore[method-assign]
        _wrapped.append(model)


def _connect_first(signal: Signal, receiver: Callable[..., None], sender: type[Model]) -> None:
    signal.connect(receiver, sender=sender)
    with signal.lock:
        signal.receivers.insert(0, signal.receivers.pop())
        signal.sender_receivers_cache.clear()


def _in_one_transaction(save_base: Any) -> Any:
    if getattr(save_base, "is_synchro_wrapper", False):
        return save_base

    @wraps(save_base)
    def save_base_in_one_transaction(self: Model, *args: Any, **kwargs: Any) -> Any:
        # Positional use is rare: save_base(raw, force_insert, force_update, using, ...).
        using = args[3] if len(args) > 3 else kwargs.get("using")
        using = using or router.db_for_write(type(self), instance=self)
        if (
            transaction.get_connection(using).in_atomic_block
            or not is_logged(using)
            or not any(signals_log(using, model) for model in _logged_as.get(type(self), ()))
        ):
            return save_base(self, *args, **kwargs)
        with transaction.atomic(using=using, savepoint=False):
            return save_base(self, *args, **kwargs)

    save_base_in_one_transaction.is_synchro_wrapper = True  # type: ignore[attr-defined]
    return save_base_in_one_transaction


def log_save(
    sender: type[Model],
    instance: Model,
    created: bool | None = None,
    using: str | None = None,
    update_fields: Iterable[str] | None = None,
    **kwargs: Any,
) -> None:
    """Receiver of post_save, also of one sent by hand without ``created`` or ``using``."""
    using = using or instance._state.db or router.db_for_write(sender, instance=instance)
    if not is_logged(using):
        return
    if update_fields and set(update_fields) <= set(getattr(sender, "SYNCHRO_SKIP", ())):
        return
    for model in _logged_as.get(sender, (sender,)):
        if presence.log_rows(using, model):
            continue
        own = model is (sender._meta.concrete_model or sender)
        write(
            using,
            model,
            [getattr(instance, _pk_name(model)) if not own else instance.pk],
            # A row of a parent was not made by saving a child a second time.
            ADDITION if created and own else CHANGE,
            key=cheap_natural_key(instance) if own else None,
        )


def keep_natural_key(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
    """Receiver of pre_delete: read the natural key while the rows that it needs are there."""
    if signals_log(using, sender._meta.concrete_model or sender):
        instance.__dict__[_KEY_ATTRIBUTE] = natural_key(instance)


def log_delete(
    sender: type[Model], instance: Model, using: str | None = None, **kwargs: Any
) -> None:
    """Receiver of post_delete: the tombstone carries the natural key."""
    using = using or instance._state.db or router.db_for_write(sender, instance=instance)
    if not signals_log(using, sender._meta.concrete_model or sender):
        return
    key = instance.__dict__.pop(_KEY_ATTRIBUTE, None) or natural_key(instance)
    write(using, sender._meta.concrete_model or sender, [instance.pk], DELETION, key=key)


def log_links(
    sender: type[Model],
    instance: Model,
    action: str,
    reverse: bool = False,
    pk_set: Iterable[Any] | None = None,
    using: str | None = None,
    **kwargs: Any,
) -> None:
    """Receiver of m2m_changed: log the objects that own the field, whichever side was used."""
    using = using or instance._state.db or router.db_for_write(sender, instance=instance)
    if not is_logged(using):
        return
    field = _links[sender]
    if presence.log_links(using, field.model, sender):
        return
    near, far = (end.attname for end in ends(field))
    symmetrical = bool(field.remote_field.symmetrical)
    owners: set[Any] = set()
    if action in ("post_add", "post_remove"):
        if not pk_set:
            return
        if reverse or symmetrical:
            owners.update(pk_set)
        if not reverse:
            owners.add(getattr(instance, _pk_name(field.model)))
    elif action == "pre_clear":
        if reverse or symmetrical:
            # After clear() nobody knows any more who was linked.
            me = far if reverse else near
            found: QuerySet[Any] = QuerySet(sender, using=using).filter(**{me: instance.pk})
            owners.update(found.values_list(near if reverse else far, flat=True))
        if not reverse:
            owners.add(getattr(instance, _pk_name(field.model)))
    if owners:
        write(using, field.model, owners, M2M_CHANGE, field=field.name)


def log_through_rows(
    sender: type[Model],
    instance: Model,
    action: str,
    reverse: bool = False,
    pk_set: Iterable[Any] | None = None,
    using: str | None = None,
    **kwargs: Any,
) -> None:
    """Receiver of m2m_changed for an explicit ``through`` model: ``add()`` writes its rows in
    bulk, without post_save. (``remove()`` and ``clear()`` send post_delete for each.)"""
    using = using or instance._state.db or router.db_for_write(sender, instance=instance)
    if action != "post_add" or not pk_set or not signals_log(using, sender):
        return
    field = _links[sender]
    near, far = (end.attname for end in ends(field))
    sides = [(far, near)] if reverse else [(near, far)]
    if field.remote_field.symmetrical:
        sides.append((far, near))
    rows: QuerySet[Any] = QuerySet(sender, using=using)
    for me, other in sides:
        added = rows.filter(**{me: instance.pk, f"{other}__in": pk_set})
        write(using, sender, added.values_list("pk", flat=True), ADDITION)


def write(
    using: str,
    model: type[Model],
    pks: Iterable[Any],
    action: int,
    *,
    field: str = "",
    key: NaturalKey | None = None,
) -> None:
    """Write log rows for objects of one model, all with the same action and time."""
    connection = connections[using]
    content_type = ContentType.objects.db_manager(using).get_for_model(model)
    start = (content_type.pk, model._meta.label_lower)
    end = (
        connection.ops.adapt_datetimefield_value(timezone.now()),
        action,
        field,
        _key_text(model, key),
        "",
    )
    # Every watched save() comes through here: no instance, no query to be compiled.
    marks = f"({', '.join(['%s'] * len(_COLUMNS))})"
    for chunk in batched(pks, _ROWS_PER_STATEMENT):
        parameters = [value for pk in chunk for value in (*start, object_id(model, pk), *end)]
        with connection.cursor() as cursor:
            cursor.execute(f"{_insert(using)} {', '.join([marks] * len(chunk))}", parameters)


@cache
def _insert(using: str) -> str:
    quote = connections[using].ops.quote_name
    columns = [ChangeLog._meta.get_field(name).column for name in _COLUMNS]  # type: ignore[union-attr]
    names = ", ".join(quote(str(column)) for column in columns)
    return f"INSERT INTO {quote(ChangeLog._meta.db_table)} ({names}) VALUES"


def _key_text(model: type[Model], key: NaturalKey | None) -> str | None:
    if key is None:
        return None
    try:
        return dump_key(key)
    except NaturalKeyError as error:
        # The change itself must be logged all the same, and the write must not fail for it.
        logger.warning("%s is logged without its natural key: %s", model._meta.label, error)
        return None


def _pk_name(model: type[Model]) -> str:
    return model._meta.pk.attname


_OWN = frozenset({log_save, keep_natural_key, log_delete, log_links, log_through_rows})


def _reconnect(*, setting: str, **kwargs: Any) -> None:
    if setting in ("SYNCHRO_MODELS", "INSTALLED_APPS") and apps.ready:
        connect()


setting_changed.connect(_reconnect, dispatch_uid="synchro.capture")
