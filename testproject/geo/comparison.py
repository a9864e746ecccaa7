"""Compares the two databases value by value, without any help from synchro."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Model

from geo.models import City, Continent, Country, Language

Key = tuple[str, Hashable]
"""A model's name and what names the object in both databases; automatic keys do not."""


@dataclass(kw_only=True)
class Comparison:
    equal: int = 0
    """Objects that have the same values and links in both."""
    values: int = 0
    """How many values and links were compared."""
    other_pk: int = 0
    """Equal objects whose primary keys, given by each database, differ."""
    missing: list[Key] = field(default_factory=list)
    """On LOCAL only."""
    extra: list[Key] = field(default_factory=list)
    """On REMOTE only."""
    different: list[Key] = field(default_factory=list)
    """In both, but not the same."""


IDENTITY: dict[type[Model], str] = {
    Continent: "code",
    Language: "tag",
    Country: "iso",
    City: "geonameid",
}


def contents(using: str) -> dict[Key, tuple[int, dict[str, Any]]]:
    """Every object of a database: its primary key, and its values, references and links.

    References and links are told by what names their target in both databases.
    """
    found: dict[Key, tuple[int, dict[str, Any]]] = {}
    names = {
        model: dict(model._default_manager.using(using).values_list("pk", identity))
        for model, identity in IDENTITY.items()
    }
    for model, identity in IDENTITY.items():
        meta = model._meta
        plain = [f for f in meta.concrete_fields if not f.primary_key]
        rows = {}
        for pk, *row in model._default_manager.using(using).values_list(
            "pk", *(f.attname for f in plain)
        ):
            rows[pk] = {
                f.name: names[f.related_model].get(value, value) if f.is_relation else value
                for f, value in zip(plain, row, strict=True)
            }
            for links in meta.many_to_many:
                rows[pk][links.name] = set()
        for links in meta.many_to_many:
            pairs = links.remote_field.through._default_manager.using(using).values_list(
                links.m2m_column_name(), links.m2m_reverse_name()
            )
            for source, target in pairs:
                rows[source][links.name].add(names[links.related_model][target])
        for pk, row in rows.items():
            found[meta.verbose_name, row[identity]] = (pk, row)
    return found


def compare() -> Comparison:
    local, remote = contents("default"), contents("remote")
    result = Comparison(extra=[key for key in remote if key not in local])
    for key, (pk, row) in local.items():
        result.values += sum(len(v) if isinstance(v, set) else 1 for v in row.values())
        if key not in remote:
            result.missing.append(key)
            continue
        remote_pk, remote_row = remote[key]
        if row != remote_row:
            result.different.append(key)
        else:
            result.equal += 1
            result.other_pk += pk != remote_pk
    return result
