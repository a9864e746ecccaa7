"""What waits for the visitor of `make serve`: pending changes, and one that is held."""

from __future__ import annotations

from geo import edits, source
from geo.models import City, Country
from synchro import DisableSynchroLog, SyncFlags, diff, synchronize
from synchro.status import read_status

REMOTE = "remote"
OWN_COUNTRY = "LI"
"""REMOTE holds small towns of this country that LOCAL never had."""


def load() -> None:
    """Fill both databases, if there is nothing in LOCAL, and synchronize them."""
    if not Country.objects.using(REMOTE).exists():
        source.load_small_country(OWN_COUNTRY, using=REMOTE)
    source.load("default")
    synchronize(REMOTE)


def hold_one() -> str | None:
    """Hold a change that REMOTE refuses, unless one is held already; returns what it is.

    LOCAL adds a town that REMOTE has added, too: its number is taken there. What else is pending
    stays so.
    """
    if read_status(REMOTE).held:
        return None
    theirs = _town_of_remote()
    ours = City.objects.create(
        geonameid=theirs.geonameid,
        name=f"{theirs.name} (entered twice)",
        country=Country.objects.get(iso=theirs.country.iso),
        latitude=theirs.latitude,
        longitude=theirs.longitude,
        population=theirs.population,
        timezone=theirs.timezone,
    )
    plan = diff(REMOTE, models=[City]).filter(lambda entry: entry.key == str(ours.pk))
    synchronize(REMOTE, plan=plan, flags=SyncFlags.CONTINUE_ON_FAILURE)
    return f"{ours}: REMOTE has a city with its GeoNames number {ours.geonameid} already"


def make_changes() -> list[str]:
    """Edit LOCAL a little, unless changes are pending already; returns what was done."""
    status = read_status(REMOTE)
    if status.pending or status.excluded:
        return []
    return edits.edit_a_little()


def _town_of_remote() -> City:
    """A city that LOCAL does not know."""
    towns = City.objects.using(REMOTE).select_related("country")
    known = set(City.objects.values_list("geonameid", flat=True))
    for town in towns.filter(country__iso=OWN_COUNTRY):
        if town.geonameid not in known:
            return town
    model = towns.filter(geonameid__in=known)[0]
    with DisableSynchroLog():
        return City.objects.using(REMOTE).create(
            geonameid=edits.free_number(),
            name="Newtown",
            country=model.country,
            latitude=model.latitude,
            longitude=model.longitude,
            population=1000,
            timezone=model.timezone,
        )
