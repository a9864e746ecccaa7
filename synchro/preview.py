"""A plan: what a run would do, as data that can be read, filtered, saved and applied."""

from __future__ import annotations

import io
import json
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

from synchro.entries import ACTIONS, Entry
from synchro.exceptions import PlanError

FORMAT: Final = 1
_IN_MEMORY: Final = 4 * 1024 * 1024
_READ_AT_ONCE: Final = 64 * 1024
_SHOWN: Final = 200


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a plan was made from: it can only be applied to that."""

    local: str
    """LOCAL's uid."""
    remote: str
    """REMOTE's uid."""
    remote_alias: str
    schema: str
    """A hash of the tables of the models in SYNCHRO_MODELS."""
    full: bool = False
    """Whether the databases were compared, instead of reading the log."""
    after: int = 0
    """The batch that REMOTE has been brought to."""
    upto: int = 0
    """The newest batch of LOCAL."""
    unnumbered: tuple[tuple[int, int], ...] = ()
    """The ids of log rows that had no batch yet, as ranges: first and last."""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Basis:
        """The basis in parsed JSON. Raises KeyError, ValueError or TypeError if it is none."""
        known = {name: data[name] for name in cls.__dataclass_fields__}
        ranges = tuple((int(first), int(last)) for first, last in known["unnumbered"])
        return cls(**{**known, "unnumbered": ranges})


class Plan:
    """What a run would do with each object, in the order of replay.

    The entries are kept in a temporary file once they are more than a few megabytes, so that a
    plan of any size takes little memory; iterating reads them one by one, as often as you like.
    """

    def __init__(self, basis: Basis) -> None:
        self.basis = basis
        self._file: IO[bytes] = _spool()
        weakref.finalize(self, self._file.close)
        self._counts: Counter[tuple[str, str]] = Counter()

    # -- filling

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        self._file.seek(0, io.SEEK_END)
        self._file.write(entry.as_json().encode() + b"\n")
        self._counts[entry.model, entry.action] += 1

    # -- reading

    def __iter__(self) -> Iterator[Entry]:
        position = 0
        while True:
            # Others may read or write between two entries.
            self._file.seek(position)
            lines = self._file.readlines(_READ_AT_ONCE)
            if not lines:
                return
            position = self._file.tell()
            for line in lines:
                yield Entry.from_json(json.loads(line))

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __bool__(self) -> bool:
        return len(self) > 0

    def models(self) -> list[str]:
        """The labels of the models in the plan, in the order of the alphabet."""
        return sorted({model for model, _ in self._counts})

    def of_model(self, model: str) -> Iterator[Entry]:
        """The entries of one model, given by its label."""
        return (entry for entry in self if entry.model == model.lower())

    def summary(self) -> dict[str, Any]:
        """Counts by action, and by model and action:
        ``{"create": 2, …, "models": {"orders.order": {"create": 2}}}``."""
        found: dict[str, Any] = dict.fromkeys(ACTIONS, 0)
        models: dict[str, dict[str, int]] = {}
        for (model, action), number in sorted(self._counts.items()):
            found[action] += number
            models.setdefault(model, {})[action] = number
        return {**found, "models": models}

    def has_diffs(self) -> bool:
        """Whether applying the plan would write anything."""
        return any(action in ("create", "update", "delete") for _, action in self._counts)

    def filter(
        self,
        condition: Callable[[Entry], bool] | None = None,
        *,
        models: Iterable[str] | None = None,
        actions: Iterable[str] | None = None,
    ) -> Plan:
        """A plan of the entries that are of one of the models, have one of the actions and meet
        the condition. Raises PlanError for an unknown action."""
        labels = None if models is None else {model.lower() for model in models}
        wanted = None if actions is None else set(actions)
        if wanted is not None and not wanted <= set(ACTIONS):
            raise PlanError(
                f"There is no action {min(wanted - set(ACTIONS))!r} in a plan: the actions are "
                f"{', '.join(ACTIONS)}."
            )
        found = Plan(self.basis)
        for entry in self:
            if (
                (labels is None or entry.model in labels)
                and (wanted is None or entry.action in wanted)
                and (condition is None or condition(entry))
            ):
                found.add(entry)
        return found

    # -- text

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, style: Any = None, *, limit: int = _SHOWN) -> Iterator[str]:
        """The plan as a person reads it, at most ``limit`` objects of each model. ``style``: a
        ``django.core.management.color.Style`` for colours."""
        if not self:
            yield "Nothing to do."
            return
        colours = {
            "create": getattr(style, "SUCCESS", str),
            "update": getattr(style, "WARNING", str),
            "delete": getattr(style, "ERROR", str),
        }
        heading = getattr(style, "MIGRATE_HEADING", str)
        shown: Counter[str] = Counter()
        last = ""
        for entry in self:
            shown[entry.model] += 1
            if shown[entry.model] > limit:
                continue
            if entry.model != last:
                yield heading(entry.model)
                last = entry.model
            for line in entry.lines():
                yield "  " + colours.get(entry.action, str)(line)
        for model, number in sorted(shown.items()):
            if number > limit:
                yield f"{model}: {number - limit} more"
        numbers = self.summary()
        yield ", ".join(f"{numbers[action]} {action}" for action in ACTIONS if numbers[action])

    # -- JSON

    def to_json(self) -> str:
        """The plan as one JSON document; ``save`` writes the same without building it whole."""
        return "".join(self.pieces())

    def save(self, file: IO[str]) -> None:
        """Write the plan to an open text file, one line an object."""
        file.writelines(self.pieces())

    def pieces(self) -> Iterator[str]:
        """The JSON document piece by piece."""
        header = {
            "format": FORMAT,
            **{
                name: getattr(self.basis, name)
                for name in Basis.__dataclass_fields__  # in the order of the class
            },
            "summary": self.summary(),
        }
        text = json.dumps({"synchro_plan": header}, ensure_ascii=False)
        yield text[:-1] + ', "objects": [\n'
        first = True
        for entry in self:
            yield ("" if first else ",\n") + entry.as_json()
            first = False
        yield "\n]}\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan in a JSON document. Raises PlanError if it is none, or of another version."""
        return cls.load(io.StringIO(text))

    @classmethod
    def load(cls, file: IO[str]) -> Plan:
        """The plan in an open text file. Raises PlanError if it is none, or of another version.

        A file as ``save`` writes it is read line by line; any other layout of the same document
        is read whole.
        """
        try:
            return cls._read(file)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlanError(
                f"This is no plan of synchro, or a damaged one ({type(error).__name__}: {error}). "
                "Make a new one: manage.py synchronize --dry-run --save-plan FILE"
            ) from error

    @classmethod
    def _read(cls, file: IO[str]) -> Plan:
        first = file.readline()
        ending = '"objects": [\n'
        if not first.endswith(ending):
            document = json.loads(first + file.read())
            plan = cls(_basis(document["synchro_plan"]))
            for data in document["objects"]:
                plan.add(Entry.from_json(data))
            return plan
        plan = cls(_basis(json.loads(first + "]}")["synchro_plan"]))
        for line in file:
            if line.startswith("]"):
                if line.strip() != "]}":
                    raise ValueError("the end is not where it should be")
                return plan
            if line.strip():
                plan.add(Entry.from_json(json.loads(line.rstrip("\n").removesuffix(","))))
        raise ValueError("the end is missing")


def _basis(header: dict[str, Any]) -> Basis:
    if header["format"] != FORMAT:
        raise PlanError(
            f"The plan has format {header['format']!r}, this version of synchro reads format "
            f"{FORMAT}. Make a new one: manage.py synchronize --dry-run --save-plan FILE"
        )
    return Basis.from_json(header)


def _spool() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)
