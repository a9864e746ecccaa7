"""What names an object across databases: natural keys, and keys as text."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache, reduce
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Self, cast
from uuid import UUID

from django.contrib.auth.base_user import BaseUserManager
from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist, ValidationError
from django.db.models import (
    AutoField,
    BigAutoField,
    BigIntegerField,
    CompositePrimaryKey,
    Field,
    IntegerField,
    Manager,
    Model,
    UUIDField,
)
from django.db.models.base import ModelBase
from django.utils.duration import duration_iso_string
from django.utils.functional import Promise

from synchro.exceptions import NaturalKeyError

NaturalKey = tuple[Any, ...]


class NaturalManager(Manager[Any]):
    """A manager that finds objects by the fields it is given.

    ``NaturalManager('code', 'country__name', allow_many=False, manager=Manager)`` makes a new
    subclass of the given manager and an instance of it. The subclass remembers the fields, so
    that it can be instantiated without arguments, as related managers do (Django ticket 13313).

    Raises NaturalKeyError if there are no fields, or if ``manager`` is not a Manager class.
    """

    fields: tuple[str, ...] = ()
    """Field lookups, in the order of the natural key."""
    allow_many: bool = False
    """Whether the first of several rows is taken; otherwise several rows are an error."""

    def __new__(
        cls,
        *fields: Any,
        allow_many: bool = False,
        manager: Any = Manager,
        **kwargs: Any,
    ) -> Self:
        if cls.fields and not (fields and all(isinstance(field, str) for field in fields)):
            return super().__new__(cls)
        if not fields or not all(isinstance(field, str) and field for field in fields):
            raise NaturalKeyError(
                "NaturalManager needs the names of the fields that make up the natural key, "
                f"for example NaturalManager('code'); it was given {fields!r}."
            )
        if not (isinstance(manager, type) and issubclass(manager, Manager)):
            name = getattr(manager, "__name__", repr(manager))
            raise NaturalKeyError(
                f"NaturalManager was given manager={name}, which is not a subclass of "
                "django.db.models.Manager."
            )
        bases = (cls,) if issubclass(cls, manager) else (cls, manager)
        prepared = type(
            f"Natural{manager.__name__}",
            bases,
            {
                "fields": fields,
                "allow_many": allow_many,
                "__init__": _init_without_arguments,
                "__module__": cls.__module__,
            },
        )
        return cast(Self, super().__new__(prepared))

    def get_by_natural_key(self, *args: Any) -> Any:
        """The object with this natural key; raises DoesNotExist or MultipleObjectsReturned."""
        lookups = dict(zip(self.fields, args, strict=True))
        if not self.allow_many:
            return self.get(**lookups)
        found = self.filter(**lookups).order_by("pk").first()
        if found is None:
            raise self.model.DoesNotExist(
                f"{self.model._meta.object_name} matching {lookups} does not exist."
            )
        return found


def _init_without_arguments(self: NaturalManager, *args: Any, **kwargs: Any) -> None:
    super(NaturalManager, self).__init__()


class _NaturalKeyModelBase(ModelBase):
    def __new__(
        cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any], **kwargs: Any
    ) -> Any:
        options = attrs.pop("_natural_manager_kwargs", {})
        fields = attrs.get("_natural_key")
        if fields:
            if isinstance(fields, str):
                raise NaturalKeyError(
                    f"{name}._natural_key is {fields!r}: it must be a tuple, ({fields!r},)."
                )
            manager = cls._objects_class(bases, attrs)
            attrs["objects"] = NaturalManager(*fields, **{"manager": manager, **options})
        return super().__new__(cls, name, bases, attrs, **kwargs)

    @staticmethod
    def _objects_class(bases: tuple[type, ...], attrs: dict[str, Any]) -> type[Manager[Any]]:
        """The class of the model's own ``objects`` manager, also if a base declares it."""
        if "objects" in attrs:
            return type(attrs["objects"])
        for base in bases:
            if isinstance(base, ModelBase) and hasattr(base, "_meta"):
                found = base._meta.managers_map.get("objects")
                if found is not None and not isinstance(found, NaturalManager):
                    return type(found)
        return Manager


class NaturalKeyModel(Model, metaclass=_NaturalKeyModelBase):
    """Base class that gives a model ``natural_key()`` and a manager to look it up.

    ``_natural_key`` names the fields (a tuple; lookups over relations such as
    ``country__name`` are allowed), ``_natural_manager_kwargs`` goes to NaturalManager.
    """

    _natural_key: tuple[str, ...] = ()

    def natural_key(self) -> NaturalKey:
        return tuple(_follow(self, lookup) for lookup in self._natural_key)

    class Meta:
        abstract = True


def _follow(instance: Any, lookup: str) -> Any:
    """The value at the end of ``country__name``; None where a link on the way is empty."""

    def step(value: Any, name: str) -> Any:
        return None if value is None else getattr(value, name)

    return reduce(step, lookup.split("__"), instance)


# Natural keys of Django's own models, whose managers do not say which fields they look at.
_KNOWN = {
    "django.contrib.auth.models.GroupManager": ("name",),
    "django.contrib.auth.models.PermissionManager": (
        "codename",
        "content_type__app_label",
        "content_type__model",
    ),
    "django.contrib.contenttypes.models.ContentTypeManager": ("app_label", "model"),
    "django.contrib.sites.models.SiteManager": ("domain",),
}


class NaturalLookup:
    """How the objects of one model are looked up by natural key."""

    def __init__(self, model: type[Model], manager: Manager[Any]):
        self.model = model
        self.manager = manager
        self.allow_many = bool(getattr(manager, "allow_many", False))
        self.fields = self._fields()
        """The field lookups of the key if they are known: then sets are looked up in one query."""

    def _fields(self) -> tuple[str, ...] | None:
        found: Any = None
        method = getattr(type(self.manager), "get_by_natural_key", None)
        if isinstance(self.manager, NaturalManager):
            if method is NaturalManager.get_by_natural_key:
                found = self.manager.fields
        elif method is BaseUserManager.get_by_natural_key:
            found = (cast(Any, self.model).USERNAME_FIELD,)
        else:
            for base in type(self.manager).__mro__:
                if "get_by_natural_key" in vars(base):
                    found = _KNOWN.get(f"{base.__module__}.{base.__qualname__}")
                    break
        return tuple(found) if found else None

    @property
    def spans_relations(self) -> bool:
        return self.fields is None or any("__" in field for field in self.fields)

    def clean(self, key: Iterable[Any]) -> NaturalKey:
        """The key with the Python types of its fields: a key from JSON equals one from a row."""
        if self.fields is None:
            return tuple(key)
        values = tuple(key)
        if len(values) != len(self.fields):
            raise NaturalKeyError(
                f"{self.model._meta.label}: the natural key {values!r} has {len(values)} parts, "
                f"the manager looks at {len(self.fields)} ({', '.join(self.fields)})."
            )
        return tuple(
            None if value is None else _clean(field_at(self.model, lookup), value)
            for lookup, value in zip(self.fields, values, strict=True)
        )


def _clean(field: Field[Any, Any], value: Any) -> Any:
    try:
        return field.to_python(value)
    except ValidationError as error:
        raise NaturalKeyError(f"{field}: {value!r} cannot be read ({error}).") from error


def field_at(model: type[Model], lookup: str) -> Field[Any, Any]:
    """The field at the end of a lookup such as ``country__name``; a foreign key's target field."""
    current = model
    field: Any = None
    for name in lookup.split("__"):
        field = current._meta.pk if name == "pk" else current._meta.get_field(name)
        if field.remote_field is not None:
            current = field.related_model
    while field.remote_field is not None:
        field = field.target_field
    return cast("Field[Any, Any]", field)


@cache
def natural_lookup(model: type[Model]) -> NaturalLookup | None:
    """How objects of the model are found by natural key, or None if it has no natural key."""
    if not hasattr(model, "natural_key"):
        return None
    for manager in (model._default_manager, getattr(model, "objects", None)):
        if manager is not None and hasattr(manager, "get_by_natural_key"):
            lookup = NaturalLookup(model, manager)
            if lookup.fields is not None:
                try:
                    for name in lookup.fields:
                        field_at(model, name)
                except FieldDoesNotExist as error:
                    raise NaturalKeyError(
                        f"{model._meta.label}: its natural key names a field that does not "
                        f"exist ({error})."
                    ) from error
            return lookup
    return None


def cheap_natural_key(instance: Model) -> NaturalKey | None:
    """The natural key of an instance if reading it surely costs no query, else None."""
    lookup = natural_lookup(type(instance)._meta.concrete_model or type(instance))
    if lookup is None or lookup.fields is None:
        return None
    current: Any
    values = []
    for path in lookup.fields:
        *links, last = path.split("__")
        current = instance
        for link in links:
            if current is not None:
                if link not in current._state.fields_cache:
                    return None
                current = current._state.fields_cache[link]
        if current is not None:
            name = current._meta.pk.attname if last == "pk" else last
            if current._meta.get_field(name).attname in current.get_deferred_fields():
                return None
            current = getattr(current, current._meta.get_field(name).attname)
        values.append(current)
    return tuple(values)


def natural_key(instance: Model) -> NaturalKey | None:
    """The natural key of an instance, None if it has none or a row it needs is not there."""
    if natural_lookup(type(instance)._meta.concrete_model or type(instance)) is None:
        return None
    try:
        key = cast(Any, instance).natural_key()
        return tuple(part.pk if isinstance(part, Model) else part for part in key)
    except (ObjectDoesNotExist, AttributeError):
        # A fixture may be loaded before the rows that the key needs; a link may be empty.
        return None


_TO_TEXT: dict[type, Callable[[Any], str]] = {
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: duration_iso_string,
    Decimal: str,
    UUID: str,
    bytes: lambda value: b64encode(value).decode("ascii"),
    memoryview: lambda value: b64encode(value).decode("ascii"),
    Promise: str,
    IPv4Address: str,
    IPv6Address: str,
}


def _json_default(value: Any) -> Any:
    """Exact text of the values that JSON lacks (DjangoJSONEncoder would cut microseconds)."""
    for kind, to_text in _TO_TEXT.items():
        if isinstance(value, kind):
            return to_text(value)
    raise NaturalKeyError(
        f"{value!r} ({type(value).__name__}) cannot be part of a natural key: "
        "return text, numbers, dates, decimals, UUIDs or bytes from natural_key()."
    )


def dump_key(key: Sequence[Any]) -> str:
    """A natural key as JSON text (ASCII only, so that every database stores it alike)."""
    return json.dumps(list(key), default=_json_default, separators=(",", ":"))


def load_key(text: str) -> NaturalKey:
    """The natural key in a JSON text; raises NaturalKeyError if it is not one."""
    try:
        key = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NaturalKeyError(f"{text!r} is not a natural key as JSON.") from error
    if not isinstance(key, list):
        raise NaturalKeyError(f"{text!r} is not a natural key as JSON: it is not a list.")
    return tuple(map(_tuples, key))


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        raise NaturalKeyError(f"{value!r} cannot be part of a natural key.")
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def object_id(model: type[Model], pk: Any) -> str:
    """A primary key as text: ``str(pk)``, of a composite key a JSON list.

    One key has one text, however the instance holds it: a UUID may be given without dashes, a
    time in any time zone.
    """
    if type(pk) is int:
        return str(pk)
    if isinstance(pk, tuple | list):
        fields = model._meta.pk_fields
        return json.dumps(
            [_key_text(field, part) for field, part in zip(fields, pk, strict=True)],
            ensure_ascii=False,
        )
    return _key_text(cast(Any, model._meta.pk), pk)


def object_ids(model: type[Model], pks: Sequence[Any]) -> list[str]:
    """Primary keys as text."""
    types = set(map(type, pks))
    if types <= {int} or (types == {UUID} and _is_uuid(model)):
        return list(map(str, pks))
    return [object_id(model, pk) for pk in pks]


def _key_text(field: Field[Any, Any], value: Any) -> str:
    with suppress(ValidationError, ValueError, TypeError):
        value = key_field(field).to_python(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)
    return str(value)


@cache
def key_field(field: Field[Any, Any]) -> Field[Any, Any]:
    """The field that decides the type of a key: of a foreign key that of its target."""
    while field.remote_field is not None:
        field = cast(Any, field).target_field
    return field


def _part(field: Field[Any, Any], value: Any) -> Any:
    found = key_field(field).to_python(value)
    if found is None:
        raise ValueError("a key is never empty")
    return _checked(found) if isinstance(found, int) else found


def _checked(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise ValueError("no database has numbers of this size")
    return number


@cache
def _is_number(model: type[Model]) -> bool:
    """Whether the primary key is a plain number."""
    pk = cast(Any, model._meta.pk)
    if isinstance(pk, CompositePrimaryKey):
        return False
    return type(key_field(pk)) in (AutoField, BigAutoField, BigIntegerField, IntegerField)


@cache
def _is_uuid(model: type[Model]) -> bool:
    """Whether the primary key is a UUID."""
    return type(key_field(cast(Any, model._meta.pk))) is UUIDField


def load_object_ids(model: type[Model], keys: Sequence[str | int]) -> list[Any]:
    """The primary keys in texts made by ``object_id``, or in numbers that stand for their texts;
    raises NaturalKeyError if one is unreadable."""
    if keys and _is_number(model):
        with suppress(ValueError, TypeError):
            numbers = list(map(int, keys))
            _ = _checked(min(numbers)), _checked(max(numbers))
            return numbers
    texts = list(map(str, keys))
    if _is_uuid(model):
        with suppress(ValueError, TypeError, AttributeError):
            return list(map(UUID, texts))
    return [load_object_id(model, text) for text in texts]


def load_object_id(model: type[Model], text: str) -> Any:
    """The primary key in a text made by ``object_id``; raises NaturalKeyError if unreadable."""
    pk = model._meta.pk
    try:
        if _is_number(model):
            return _checked(int(text))
        if isinstance(pk, CompositePrimaryKey):
            parts = json.loads(text)
            fields = model._meta.pk_fields
            if not isinstance(parts, list) or len(parts) != len(fields):
                raise ValueError(f"it needs {len(fields)} parts")
            return tuple(_part(field, part) for field, part in zip(fields, parts, strict=True))
        return _part(cast(Any, pk), text)
    except (ValidationError, ValueError, TypeError) as error:
        raise NaturalKeyError(
            f"{model._meta.label}: {text!r} is not a primary key of this model ({error})."
        ) from error
