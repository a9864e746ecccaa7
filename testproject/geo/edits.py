"""What somebody might do to the data between two synchronizations, with plain Django calls."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Max

from geo.models import City, Country, Language
from geo.source import load_towns, with_progress

BOTH = ("default", "remote")
CONTESTED = "Zürich"
"""The city that is edited in both databases."""


def edit_local() -> list[str]:
    """Edit, delete and re-link objects on LOCAL; returns what was done, line by line."""
    with transaction.atomic():
        return [
            _recount_cities(),
            _rename(),
            _merge_regional_tags(),
            _delete_dissolved_countries(),
            _delete_small_cities(),
            _add_towns(),
            _add_neighbours(),
            _edit_contested(),
        ]


def edit_remote() -> str:
    """Edit the contested city on REMOTE too, later than on LOCAL."""
    city = City.objects.using("remote").get(name=CONTESTED)
    city.population += 1
    city.save()
    return f"edited {CONTESTED} there as well, a moment later"


def edit_a_little() -> list[str]:
    """A few edits of each kind on LOCAL, as often as you like; returns what was done."""
    with transaction.atomic():
        return [_grow(), _found_a_town(), _give_up_a_town(), _rename_again(), _relink()]


def free_number() -> int:
    """A GeoNames number that no city has, in neither database."""
    numbers = (City.objects.using(alias).aggregate(n=Max("geonameid"))["n"] for alias in BOTH)
    return 1 + max(number or 0 for number in numbers)


def _grow() -> str:
    cities = City.objects.order_by("-population", "pk")[:25]
    for city in cities:
        city.population += 1000
        city.save()
    return f"the {len(cities)} largest cities have grown"


def _found_a_town() -> str:
    capital = City.objects.filter(capital_of__isnull=False).order_by("name")[0]
    town = City.objects.create(
        geonameid=free_number(),
        name=f"New {capital.name}",
        country=capital.country,
        latitude=capital.latitude,
        longitude=capital.longitude,
        population=20,
        timezone=capital.timezone,
    )
    return f"{town} was founded"


def _give_up_a_town() -> str:
    town = City.objects.filter(capital_of__isnull=True).order_by("population", "pk")[0]
    town.delete()
    return f"{town} was given up"


def _rename_again() -> str:
    country = Country.objects.get(iso="CZ")
    country.name = "Czechia" if country.name != "Czechia" else "Czech Republic"
    country.save()
    return f"a country is now called {country}"


def _relink() -> str:
    """Denmark and Canada share Hans Island, since 2022."""
    denmark, canada = Country.objects.get(iso="DK"), Country.objects.get(iso="CA")
    if denmark.neighbours.contains(canada):
        denmark.neighbours.remove(canada)
        return "Denmark and Canada are no neighbours any more"
    denmark.neighbours.add(canada)
    return "Denmark and Canada are neighbours"


def _recount_cities() -> str:
    cities = list(City.objects.filter(country__iso="DE"))
    for city in with_progress(cities, "population"):
        city.population = city.population * 101 // 100
        city.save()
    return f"changed the population of {len(cities):,} cities in Germany"


def _rename() -> str:
    country = Country.objects.get(iso="TR")
    country.name = "Türkiye"
    country.save()
    language = Language.objects.get(tag="sh")
    language.tag = "hbs"  # its natural key: REMOTE's row has to follow
    language.save()
    return "renamed Turkey to Türkiye, and the language tag sh, a natural key, to hbs"


def _merge_regional_tags() -> str:
    """Let countries name languages without their region: fr-CH becomes fr."""
    languages = {language.tag: language for language in Language.objects.all()}
    countries = Country.objects.filter(languages__tag__contains="-").distinct()
    count = len(countries)
    for country in countries:
        tags = {language.tag.partition("-")[0] for language in country.languages.all()}
        for tag in tags - languages.keys():
            languages[tag] = Language.objects.create(tag=tag)
        country.languages.set(languages[tag] for tag in tags)
    regional = Language.objects.filter(tag__contains="-")
    merged = len(regional)
    regional.delete()
    return f"merged {merged} regional language tags and re-linked {count} countries"


def _delete_dissolved_countries() -> str:
    Country.objects.filter(iso__in=["CS", "AN"]).delete()
    return "deleted Serbia and Montenegro and the Netherlands Antilles, with their links"


def _delete_small_cities() -> str:
    cities = City.objects.filter(country__iso="JP", population__lt=20_000)
    _, by_model = cities.delete()
    return f"deleted {by_model['geo.City']} cities in Japan"


def _add_towns() -> str:
    number = load_towns({"SM": Country.objects.get(iso="SM")}, using="default")
    return f"added {number} towns in San Marino"


def _add_neighbours() -> str:
    Country.objects.get(iso="DK").neighbours.add(Country.objects.get(iso="CA"))
    return "made Denmark and Canada neighbours (on Hans Island, since 2022)"


def _edit_contested() -> str:
    city = City.objects.get(name=CONTESTED)
    city.population += 1000
    city.save()
    return f"edited {CONTESTED}"
