"""Countries, languages and cities: models as any project has them.

All primary keys are automatic, so they differ between the two databases. Continents, languages and
countries have natural keys, by which synchro finds them in the other database. Cities have
none: synchro remembers which row stands for which.
"""

from django.db import models

from synchro import NaturalKeyModel


class Continent(NaturalKeyModel):
    _natural_key = ("code",)

    code = models.CharField(max_length=2, unique=True)
    name = models.CharField(max_length=50)

    class Meta:
        ordering = ["code"]

    def __str__(self) -> str:
        return self.name


class Language(NaturalKeyModel):
    """A language as countries name it: ``fr``, or with a region ``fr-CH``."""

    _natural_key = ("tag",)

    tag = models.CharField(max_length=20, unique=True)

    class Meta:
        ordering = ["tag"]

    def __str__(self) -> str:
        return self.tag


class Country(NaturalKeyModel):
    _natural_key = ("iso",)

    iso = models.CharField("ISO code", max_length=2, unique=True)
    iso3 = models.CharField("ISO code, three letters", max_length=3)
    name = models.CharField(max_length=100)
    continent = models.ForeignKey(Continent, models.PROTECT)
    # Countries point at cities and cities at countries: a cycle.
    capital = models.ForeignKey(
        "City", models.SET_NULL, null=True, blank=True, related_name="capital_of"
    )
    population = models.BigIntegerField()
    area = models.PositiveIntegerField("area, km²")
    currency = models.CharField(max_length=50, blank=True)
    phone = models.CharField(max_length=50, blank=True)
    languages = models.ManyToManyField(Language, blank=True)
    neighbours = models.ManyToManyField("self", blank=True)

    class Meta:
        ordering = ["iso"]
        verbose_name_plural = "countries"

    def __str__(self) -> str:
        return self.name


class City(models.Model):
    geonameid = models.PositiveIntegerField("GeoNames number", unique=True)
    name = models.CharField(max_length=200)
    alternate_names = models.JSONField(default=list, blank=True)
    country = models.ForeignKey(Country, models.CASCADE)
    latitude = models.DecimalField(max_digits=8, decimal_places=5)
    longitude = models.DecimalField(max_digits=8, decimal_places=5)
    population = models.PositiveIntegerField()
    timezone = models.CharField(max_length=50)
    edited = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "cities"

    def __str__(self) -> str:
        return self.name
