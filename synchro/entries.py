"""One object of a plan, as plain data."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import math
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

CREATE: Final = "create"
UPDATE: Final = "update"
DELETE: Final = "delete"
SKIP: Final = "skip"
NO_CHANGE: Final = "no-change"
ACTIONS: Final = (CREATE, UPDATE, DELETE, SKIP, NO_CHANGE)


@dataclass(slots=True, kw_only=True)
class Entry:
    """What a run would do with one object, and why."""

    model: str
    """The model's label, ``orders.order``."""
    action: str
    """One of ``create``, ``update``, ``delete``, ``skip`` and ``no-change``."""
    key: str | None
    """The primary key on LOCAL, as text; None for a row that only REMOTE knows."""
    remote_key: str | None = None
    """The primary key on REMOTE; None if it has no such row."""
    natural_key: list[Any] | None = None
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """Field -> (REMOTE's value, LOCAL's value), of fields that would change. A foreign key is the
    key on REMOTE; ``+7`` stands for the row that is to be made of LOCAL's row 7."""
    links: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)
    """Many-to-many field -> (what would be linked, what would be unlinked): keys as for foreign
    keys."""
    reason: str = ""
    """Why it is skipped: ``remote-newer``, ``vanished``, or one of those of held changes; for
    others, why it is here at all: ``needed`` by another row, ``only-on-remote``."""
    detail: str = ""
    """The same in a sentence."""

    @property
    def has_diffs(self) -> bool:
        """Whether applying it would write anything."""
        return self.action in (CREATE, UPDATE, DELETE)

    @property
    def identity(self) -> tuple[str, str]:
        """What tells it from the others of its plan: the model, and the key on LOCAL or, of a row
        that only REMOTE knows, the key there."""
        return self.model, f"there {self.remote_key}" if self.key is None else self.key

    @property
    def name(self) -> str:
        """The key, and the natural key in brackets."""
        key = self.key if self.key is not None else f"(there {self.remote_key})"
        natural = ", ".join(map(str, self.natural_key or ()))
        return f"{key} ({natural})" if natural else key

    def as_json(self) -> str:
        """One line of JSON, the same for equal entries."""
        data: dict[str, Any] = {"model": self.model, "action": self.action, "key": self.key}
        for name in ("remote_key", "natural_key", "fields", "links", "reason", "detail"):
            value = getattr(self, name)
            if value not in (None, {}, ""):
                data[name] = value
        return json.dumps(data, ensure_ascii=False, sort_keys=True, default=str)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Entry:
        """The entry in parsed JSON. Raises ValueError, KeyError or TypeError if it is none."""
        if data["action"] not in ACTIONS:
            raise ValueError(f"{data['action']!r} is no action")
        fields = {name: (old, new) for name, (old, new) in data.get("fields", {}).items()}
        links = {name: (more, fewer) for name, (more, fewer) in data.get("links", {}).items()}
        return cls(**{**data, "fields": fields, "links": links})

    @property
    def digest(self) -> bytes:
        """16 bytes that tell whether two entries would do the same."""
        return hashlib.blake2b(self.as_json().encode(), digest_size=16).digest()

    def lines(self) -> list[str]:
        """The entry as a person reads it: the object, then a line for each field and link."""
        why = self.detail or self.reason
        found = [f"{self.action} {self.name}" + (f": {why}" if why else "")]
        for field_name, (old, new) in self.fields.items():
            change = show(new) if self.action == CREATE else f"{show(old)} -> {show(new)}"
            found.append(f"  {field_name}: {show(old) if self.action == DELETE else change}")
        for field_name, (more, fewer) in self.links.items():
            if more:
                found.append(f"  {field_name}: linked to {', '.join(more)}")
            if fewer:
                found.append(f"  {field_name}: unlinked from {', '.join(fewer)}")
        return found


def show(value: Any) -> str:
    """A plain value in a line of text, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def plain(value: Any) -> Any:
    """A field's value as JSON has it, exact and the same for equal values."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, decimal.Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.UTC)
        return value.isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta | uuid.UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"hex:{bytes(value).hex()}"
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in sorted(value.items(), key=repr)}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return str(value)
