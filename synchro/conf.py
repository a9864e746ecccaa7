"""The SYNCHRO_* settings: read late, typed, forgotten whenever a setting changes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS
from django.db.models import ManyToManyField, Model

from synchro.flags import ModelFlags, model_flags
from synchro.graph import through

REPLAY_MODES: Final = ("auto", "save", "bulk")
CAPTURE_MODES: Final = ("signals", "triggers")
DEFAULT_BATCH_SIZE: Final = 2000
DEFAULT_RETRIES: Final = 3


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A mistake in the settings, in the words of a system check."""

    id: str
    """The id of the system check, for example ``synchro.E002``."""
    message: str
    hint: str


def _app_config(name: str) -> AppConfig | None:
    """The installed app with this label or this dotted path, if there is one."""
    for config in apps.get_app_configs():
        if name in (config.label, config.name):
            return config
    return None


def _model(app: str, name: str) -> type[Model] | None:
    config = _app_config(app)
    if config is None:
        return None
    try:
        return config.get_model(name)
    except LookupError:
        return None


class Conf:
    """One attribute a setting. A wrong setting raises ImproperlyConfigured where it is used."""

    def reset(self) -> None:
        """Forget what was read: the next access reads the settings again."""
        self.__dict__.clear()

    @cached_property
    def local(self) -> str:
        """The alias whose changes are replayed."""
        return self._alias("SYNCHRO_LOCAL", getattr(settings, "SYNCHRO_LOCAL", DEFAULT_DB_ALIAS))

    @cached_property
    def remote(self) -> str | None:
        """The alias that changes are replayed to; None if this project only logs."""
        alias = getattr(settings, "SYNCHRO_REMOTE", None)
        return None if alias is None else self._alias("SYNCHRO_REMOTE", alias)

    @cached_property
    def allow_reset(self) -> bool:
        return bool(getattr(settings, "SYNCHRO_ALLOW_RESET", True))

    @cached_property
    def require_permissions(self) -> bool:
        """Whether a member of staff needs a permission for each action in the admin."""
        return bool(getattr(settings, "SYNCHRO_REQUIRE_PERMISSIONS", False))

    @cached_property
    def background(self) -> bool:
        """Whether what the admin starts goes on in a thread of the server, after the request."""
        return bool(getattr(settings, "SYNCHRO_BACKGROUND", True))

    @cached_property
    def debug(self) -> bool:
        return bool(getattr(settings, "SYNCHRO_DEBUG", False))

    @cached_property
    def cascade(self) -> bool:
        """Whether a deletion may take along REMOTE rows that LOCAL never knew."""
        return bool(getattr(settings, "SYNCHRO_CASCADE", False))

    @cached_property
    def batch_size(self) -> int:
        """How many objects are read and written in one step."""
        size = getattr(settings, "SYNCHRO_BATCH_SIZE", DEFAULT_BATCH_SIZE)
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ImproperlyConfigured(
                f"SYNCHRO_BATCH_SIZE is {size!r}: it must be a whole number of at least 1."
            )
        return size

    @cached_property
    def retries(self) -> int:
        """How often a run is tried again after an error that passes by itself."""
        number = getattr(settings, "SYNCHRO_RETRIES", DEFAULT_RETRIES)
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ImproperlyConfigured(
                f"SYNCHRO_RETRIES is {number!r}: it must be a whole number, 0 for never."
            )
        return number

    @cached_property
    def logged_aliases(self) -> frozenset[str]:
        """The databases on which a write is logged."""
        local = getattr(settings, "SYNCHRO_LOCAL", DEFAULT_DB_ALIAS)
        remote = getattr(settings, "SYNCHRO_REMOTE", None)
        return frozenset(alias for alias in (local, remote) if alias in settings.DATABASES)

    @cached_property
    def models(self) -> frozenset[type[Model]]:
        """The models named by SYNCHRO_MODELS and the explicit ``through`` models between them."""
        models, problems = self._read_models()
        if problems:
            raise ImproperlyConfigured(problems[0].message)
        return models

    @cached_property
    def valid_models(self) -> frozenset[type[Model]]:
        """Like ``models``, but wrong entries are left out (a system check reports them)."""
        return self._read_models()[0]

    def replay_mode(self, model: type[Model]) -> str:
        """'auto', 'save' or 'bulk': how changes of the model are replayed."""
        mode: Any = self._replay_modes.get(
            model._meta.label_lower, self._replay_modes.get("*", "auto")
        )
        if mode not in REPLAY_MODES:
            raise ImproperlyConfigured(
                f"SYNCHRO_REPLAY is {mode!r}: it must be one of {', '.join(REPLAY_MODES)}."
            )
        return str(mode)

    @cached_property
    def _replay_modes(self) -> dict[str, Any]:
        return self._by_model("SYNCHRO_REPLAY", "auto")

    @cached_property
    def flags(self) -> dict[str, ModelFlags]:
        """Model label -> what runs leave out of that model (``SYNCHRO_FLAGS``)."""
        flags, problems = self._read_flags()
        if problems:
            raise ImproperlyConfigured(problems[0].message)
        return flags

    def _read_flags(self) -> tuple[dict[str, ModelFlags], list[Problem]]:
        given: Any = getattr(settings, "SYNCHRO_FLAGS", {})
        hint = "Map labels to flags, for example SYNCHRO_FLAGS = {'shop.Order': 'IGNORE'}."
        if not isinstance(given, Mapping):
            message = f"SYNCHRO_FLAGS is {given!r}: it must be a dictionary."
            return {}, [Problem(id="synchro.E012", message=message, hint=hint)]
        values = {
            model._meta.label_lower: model.SYNCHRO_FLAGS
            for model in self.valid_models
            if hasattr(model, "SYNCHRO_FLAGS")
        }
        found: dict[str, ModelFlags] = {}
        problems = []
        for label, value in {**values, **{str(k).lower(): v for k, v in given.items()}}.items():
            model = _model(*label.split(".")) if label.count(".") == 1 else None
            if model is None or (model._meta.concrete_model or model) not in self.valid_models:
                message = f"SYNCHRO_FLAGS names {label!r}, which is not in SYNCHRO_MODELS."
                problems.append(Problem(id="synchro.E012", message=message, hint=hint))
                continue
            try:
                found[label] = model_flags(value)
            except ValueError as error:
                message = f"SYNCHRO_FLAGS of {label}: {error}."
                problems.append(Problem(id="synchro.E012", message=message, hint=hint))
        return {label: flags for label, flags in found.items() if flags}, problems

    def captured_by_triggers(self, model: type[Model]) -> bool:
        """Whether the database itself is to log changes of the model. (Wrong settings count as
        signals; a system check reports them.)"""
        label = (model._meta.concrete_model or model)._meta.label_lower
        return self._capture_modes.get(label, self._capture_modes.get("*")) == "triggers"

    @cached_property
    def uses_triggers(self) -> bool:
        """Whether any model is to be captured by triggers."""
        return "triggers" in self._capture_modes.values()

    @cached_property
    def _capture_modes(self) -> dict[str, Any]:
        return self._by_model("SYNCHRO_CAPTURE", "signals")

    def _capture_problems(self) -> list[Problem]:
        found = []
        for name, mode in self._capture_modes.items():
            if mode not in CAPTURE_MODES:
                found.append(
                    Problem(
                        id="synchro.E013",
                        message=f"SYNCHRO_CAPTURE has {mode!r} for {name!r}.",
                        hint=f"Use one of {', '.join(map(repr, CAPTURE_MODES))}.",
                    )
                )
            elif name != "*" and _model(*(name.rpartition(".")[::2])) is None:
                found.append(
                    Problem(
                        id="synchro.E013",
                        message=f"SYNCHRO_CAPTURE names {name!r}, which is no installed model.",
                        hint="Name models as 'app.Model', or '*' for all others.",
                    )
                )
        return found

    @staticmethod
    def _by_model(setting: str, default: str) -> dict[str, Any]:
        """A setting that is one value, or a dictionary of them: label (or ``*``) -> value."""
        value = getattr(settings, setting, default)
        if isinstance(value, Mapping):
            return {str(name).lower(): mode for name, mode in value.items()}
        return {"*": value}

    def _alias(self, setting: str, alias: Any) -> str:
        if not isinstance(alias, str) or alias not in settings.DATABASES:
            raise ImproperlyConfigured(
                f"{setting} is {alias!r}: there is no such database in DATABASES "
                f"(it has {', '.join(sorted(settings.DATABASES))})."
            )
        return alias

    def _read_models(self) -> tuple[frozenset[type[Model]], list[Problem]]:
        entries = getattr(settings, "SYNCHRO_MODELS", ())
        problems: list[Problem] = []
        named: set[type[Model]] = set()
        if isinstance(entries, str) or not isinstance(entries, Iterable):
            problems.append(
                Problem(
                    id="synchro.E003",
                    message=f"SYNCHRO_MODELS is {entries!r}: it must be a list or a tuple.",
                    hint="Put the entry into a tuple, for example SYNCHRO_MODELS = ('shop',).",
                )
            )
            entries = ()
        for entry in entries:
            found, unknown = self._read_entry(entry)
            named.update(found)
            problems += [
                Problem(
                    id="synchro.E003",
                    message=f"SYNCHRO_MODELS names {name}, which is not installed.",
                    hint="Name an app label, a dotted app path, 'app.Model' or "
                    "('app', 'Model', ...), as they stand in INSTALLED_APPS.",
                )
                for name in unknown
            ]
        own = {model for model in named if model._meta.app_label == "synchro"}
        own = {model for model in own if model.__module__ == "synchro.models"}
        if own:
            labels = ", ".join(sorted(model._meta.label for model in own))
            problems.append(
                Problem(
                    id="synchro.E004",
                    message=f"SYNCHRO_MODELS names synchro's own tables: {labels}.",
                    hint="Take them out: synchro brings its own tables up to date itself.",
                )
            )
        watched = {model._meta.concrete_model or model for model in named - own}
        watched |= {
            through(field)
            for field in many_to_many_fields()
            if not through(field)._meta.auto_created
            and (field.model in watched or field.related_model in watched)
        }
        return frozenset(watched), problems

    def _read_entry(self, entry: Any) -> tuple[list[type[Model]], list[str]]:
        """The models of one entry of SYNCHRO_MODELS, and the names in it that are unknown."""
        if isinstance(entry, str):
            entry = (entry,)
        if (
            not isinstance(entry, list | tuple)
            or not entry
            or not all(isinstance(part, str) for part in entry)
        ):
            return [], [repr(entry)]
        app, *names = entry
        if names:
            if _app_config(app) is None:
                return [], [f"the app {app!r}"]
            models = {name: _model(app, name) for name in names}
            return (
                [model for model in models.values() if model is not None],
                [f"the model {app}.{name}" for name, model in models.items() if model is None],
            )
        config = _app_config(app)
        if config is not None:
            return list(config.get_models()), []
        path, _, name = app.rpartition(".")
        model = _model(path, name) if path else None
        return ([model], []) if model is not None else ([], [repr(app)])

    def problems(self) -> list[Problem]:
        """Every mistake in the settings."""
        found: list[Problem] = []
        aliases = ", ".join(sorted(settings.DATABASES))
        for id, setting in (("synchro.E001", "SYNCHRO_REMOTE"), ("synchro.E002", "SYNCHRO_LOCAL")):
            try:
                _ = self.remote if setting == "SYNCHRO_REMOTE" else self.local
            except ImproperlyConfigured as error:
                found.append(
                    Problem(
                        id=id,
                        message=str(error),
                        hint=f"Name one of: {aliases}"
                        + (", or None." if setting == "SYNCHRO_REMOTE" else "."),
                    )
                )
        local = getattr(settings, "SYNCHRO_LOCAL", DEFAULT_DB_ALIAS)
        if local == getattr(settings, "SYNCHRO_REMOTE", None):
            found.append(
                Problem(
                    id="synchro.E005",
                    message=f"SYNCHRO_REMOTE and SYNCHRO_LOCAL are the same database, {local!r}.",
                    hint="Name two databases, or set SYNCHRO_REMOTE = None to log only.",
                )
            )
        found += self._read_models()[1]
        found += self._read_flags()[1]
        try:
            _ = self.batch_size
        except ImproperlyConfigured as error:
            found.append(
                Problem(
                    id="synchro.E006",
                    message=str(error),
                    hint=f"The default is {DEFAULT_BATCH_SIZE}.",
                )
            )
        try:
            _ = self.retries
        except ImproperlyConfigured as error:
            found.append(
                Problem(
                    id="synchro.E011",
                    message=str(error),
                    hint=f"The default is {DEFAULT_RETRIES}.",
                )
            )
        for name, mode in self._replay_modes.items():
            if mode not in REPLAY_MODES:
                found.append(
                    Problem(
                        id="synchro.E007",
                        message=f"SYNCHRO_REPLAY has {mode!r} for {name!r}.",
                        hint=f"Use one of {', '.join(map(repr, REPLAY_MODES))}.",
                    )
                )
            elif name != "*" and _model(*(name.rpartition(".")[::2])) is None:
                found.append(
                    Problem(
                        id="synchro.E007",
                        message=f"SYNCHRO_REPLAY names {name!r}, which is no installed model.",
                        hint="Name models as 'app.Model', or '*' for all others.",
                    )
                )
        return found + self._capture_problems()

    def warn_if_remote_is_missing(self) -> None:
        """Say once, when the project starts, that nothing will be synchronized."""
        if not hasattr(settings, "SYNCHRO_REMOTE"):
            warnings.warn(
                "SYNCHRO_REMOTE is not set: changes are logged, but synchronization is disabled. "
                "Set it to the alias of a database, or to None to confirm that.",
                RuntimeWarning,
                stacklevel=2,
            )


def many_to_many_fields() -> list[ManyToManyField[Any, Any]]:
    """Every many-to-many field of every installed model, each once."""
    return [field for model in apps.get_models() for field in model._meta.local_many_to_many]


conf = Conf()


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting.startswith("SYNCHRO_") or setting in ("INSTALLED_APPS", "DATABASES"):
        conf.reset()


setting_changed.connect(_forget, dispatch_uid="synchro.conf")
