"""Models at the edges: few unique values, unusual keys, managers and methods that hold back."""

from typing import Any

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models.functions import Lower

from synchro import NaturalKeyModel
from tests.testapp.models.natural import Country

__all__ = [
    "Appointment",
    "Contestant",
    "Currency",
    "Drawer",
    "Emblem",
    "Favourite",
    "Invoice",
    "Letter",
    "Mail",
    "Nickname",
    "Phrase",
    "Rack",
    "Reluctant",
    "Reminder",
    "Sheet",
    "Shelf",
    "Step",
    "Ticket",
    "Town",
    "Word",
]


class Currency(models.Model):
    """A unique value of which there is only one: at most one row is the default."""

    name = models.CharField(max_length=50)
    is_default = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=models.Q(is_default=True),
                name="testapp_one_default_currency",
            )
        ]


class Letter(models.Model):
    """A unique value of one character: free values are few."""

    letter = models.CharField(max_length=1, unique=True)


class Contestant(models.Model):
    """A unique value with a check: a row cannot take any number for a moment."""

    place = models.IntegerField(unique=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(place__gte=0, place__lte=100), name="testapp_place_range"
            )
        ]


class Nickname(models.Model):
    """Unique over an expression, where the database allows that."""

    name = models.CharField(max_length=50)

    class Meta:
        constraints = [models.UniqueConstraint(Lower("name"), name="testapp_nickname_lower")]


class Step(models.Model):
    """A unique value that PostgreSQL checks no earlier than at the commit."""

    position = models.IntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["position"],
                name="testapp_step_position",
                deferrable=models.Deferrable.DEFERRED,
            )
        ]


class Drawer(models.Model):
    """A field that is not synchronized is part of what must be unique together."""

    SYNCHRO_SKIP = ("room",)

    room = models.CharField(max_length=20, default="attic")
    number = models.IntegerField()

    class Meta:
        unique_together = [("room", "number")]


class Favourite(models.Model):
    """The target of a generic foreign key is unique.

    The content type has no constraint for the same reason as that of Tag.
    """

    content_type = models.ForeignKey(ContentType, models.CASCADE, db_constraint=False)
    object_id = models.PositiveBigIntegerField()
    target = GenericForeignKey()

    class Meta:
        unique_together = [("content_type", "object_id")]


class Town(NaturalKeyModel):
    """A foreign key is part of the natural key: it can be told only while the parent is known."""

    _natural_key = ("name", "country")

    name = models.CharField(max_length=50)
    country = models.ForeignKey(Country, models.CASCADE)


class Emblem(models.Model):
    """The parent is the primary key, and has a natural key."""

    country = models.OneToOneField(Country, models.CASCADE, primary_key=True)
    motto = models.CharField(max_length=50)


class Invoice(models.Model):
    """A parent with values that save() rewrites or that an instance cannot tell apart."""

    name = models.CharField(max_length=50)
    modified = models.DateTimeField(auto_now=True)
    document = models.JSONField(null=True)
    file = models.FileField(null=True)


class Reminder(Invoice):
    """Its save() writes the parent's row as well."""

    text = models.CharField(max_length=50)


class Sheet(models.Model):
    """A field that save() rewrites is not synchronized."""

    SYNCHRO_SKIP = ("modified",)

    name = models.CharField(max_length=50)
    modified = models.DateTimeField(auto_now=True)


class PresentManager(models.Manager["Mail"]):
    def get_queryset(self) -> "models.QuerySet[Mail]":
        return super().get_queryset().filter(deleted=False)


class Mail(models.Model):
    """Even its base manager hides rows, which are "deleted" by a flag."""

    name = models.CharField(max_length=50)
    deleted = models.BooleanField(default=False)

    objects = PresentManager()

    class Meta:
        base_manager_name = "objects"


class Reluctant(models.Model):
    """Its save() writes nothing outside the default database if the name is "no"."""

    name = models.CharField(max_length=50)

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.name != "no" or kwargs.get("using", "default") == "default":
            super().save(*args, **kwargs)


class Phrase(models.Model):
    """A composite key of two long texts."""

    pk = models.CompositePrimaryKey("text", "meaning")
    text = models.CharField(max_length=60)
    meaning = models.CharField(max_length=60)
    uses = models.IntegerField(default=0)


class Word(models.Model):
    """A key longer than most columns."""

    text = models.CharField(max_length=400, primary_key=True)
    uses = models.IntegerField(default=0)


class Appointment(models.Model):
    """A time is part of the key: it can be told in any time zone."""

    pk = models.CompositePrimaryKey("name", "start")
    name = models.CharField(max_length=20)
    start = models.DateTimeField()
    room = models.IntegerField(default=0)


class Ticket(models.Model):
    """A part of the key is unique together with something else."""

    pk = models.CompositePrimaryKey("tenant", "number")
    tenant = models.IntegerField()
    number = models.IntegerField()
    code = models.CharField(max_length=20)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "code"], name="testapp_ticket_code")
        ]


class Rack(models.Model):
    name = models.CharField(max_length=20)


class Shelf(models.Model):
    """A composite key that leads to another row."""

    pk = models.CompositePrimaryKey("rack_id", "number")
    rack = models.ForeignKey(Rack, models.CASCADE)
    number = models.IntegerField()
