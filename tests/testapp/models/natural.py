"""Natural keys: of one field, of several, over relations, through managers of every kind."""

from django.db import models

from synchro import NaturalKeyModel, NaturalManager

__all__ = [
    "Badge",
    "Category",
    "City",
    "Country",
    "Depot",
    "Extended",
    "LoudManager",
    "Crate",
    "Gear",
    "Person",
    "Plant",
    "Reading",
    "Shouted",
    "Street",
    "Twin",
]


class Gear(models.Model):
    """An explicit key that is a whole number, and a natural key."""

    number = models.IntegerField(primary_key=True)
    name = models.CharField(max_length=100, unique=True)

    objects = NaturalManager("name")

    def natural_key(self) -> tuple[str]:
        return (self.name,)


class LoudManager(models.Manager):
    def loud(self) -> list[str]:
        return [row.name.upper() for row in self.all()]


class Country(NaturalKeyModel):
    _natural_key = ("code",)

    code = models.CharField(max_length=10, unique=True)
    name = models.CharField(max_length=100)
    population = models.IntegerField(default=0)

    class Meta:
        verbose_name_plural = "countries"


class City(NaturalKeyModel):
    _natural_key = ("name", "country__name")

    name = models.CharField(max_length=100)
    country = models.ForeignKey(Country, models.CASCADE)
    population = models.IntegerField(default=0)


class Street(NaturalKeyModel):
    _natural_key = ("name", "city__name", "city__country__name")

    name = models.CharField(max_length=100)
    city = models.ForeignKey(City, models.CASCADE)
    length = models.IntegerField(default=0)


class Category(NaturalKeyModel):
    """A key over a nullable relation to itself."""

    _natural_key = ("name", "parent__name")

    name = models.CharField(max_length=100)
    parent = models.ForeignKey("self", models.CASCADE, null=True)
    note = models.CharField(max_length=100, default="")


class Reading(models.Model):
    code = models.CharField(max_length=10)
    day = models.DateField()
    value = models.IntegerField(default=0)

    objects = NaturalManager("code", "day")

    def natural_key(self) -> tuple[object, ...]:
        return self.code, self.day


class Person(NaturalKeyModel):
    """A key that may find several rows, knowingly."""

    _natural_key = ("first", "last")
    _natural_manager_kwargs = {"allow_many": True}

    first = models.CharField(max_length=50)
    last = models.CharField(max_length=50)
    age = models.IntegerField(default=0)


class Twin(NaturalKeyModel):
    """A key that may find several rows, unknowingly."""

    _natural_key = ("name",)

    name = models.CharField(max_length=50)
    number = models.IntegerField(default=0)


class Plant(NaturalKeyModel):
    """A unique value beside the natural key."""

    _natural_key = ("name",)

    name = models.CharField(max_length=50, unique=True)
    serial = models.IntegerField(unique=True)


class Shouted(models.Model):
    name = models.CharField(max_length=50)
    number = models.IntegerField(default=0)

    objects = NaturalManager("name", manager=LoudManager)

    def natural_key(self) -> tuple[object, ...]:
        return (self.name,)


class Extended(NaturalKeyModel):
    _natural_key = ("name",)

    name = models.CharField(max_length=50)
    number = models.IntegerField(default=0)

    objects = LoudManager()


class BadgeManager(models.Manager["Badge"]):
    def get_by_natural_key(self, label: str) -> "Badge":
        return self.get(label__iexact=label)


class Badge(models.Model):
    """Both methods written by hand, as in Django's documentation."""

    label = models.CharField(max_length=50)
    number = models.IntegerField(default=0)

    objects = BadgeManager()

    def natural_key(self) -> tuple[object, ...]:
        return (self.label.lower(),)


class Depot(NaturalKeyModel):
    """Others refer to it by a unique value that is neither its primary nor its natural key."""

    _natural_key = ("name",)

    name = models.CharField(max_length=50)
    code = models.CharField(max_length=20, unique=True)


class Crate(NaturalKeyModel):
    _natural_key = ("number", "depot__name")

    number = models.IntegerField()
    depot = models.ForeignKey(Depot, models.CASCADE, to_field="code")
