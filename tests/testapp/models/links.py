"""Many-to-many relations: plain, to itself, through a model, to a proxy, to an unwatched model."""

from django.db import models

from tests.otherapp.models import Region
from tests.testapp.models.plain import Item, NoteProxy

__all__ = [
    "Board",
    "Club",
    "Fan",
    "Friend",
    "Journal",
    "Kit",
    "Label",
    "Member",
    "Membership",
    "Paper",
    "PaperProxy",
    "Route",
    "Stop",
]


class Label(models.Model):
    name = models.CharField(max_length=100)


class Paper(models.Model):
    title = models.CharField(max_length=100)
    labels = models.ManyToManyField(Label, related_name="papers")
    regions = models.ManyToManyField(Region)


class PaperProxy(Paper):
    class Meta:
        proxy = True


class Journal(Paper):
    """Inherits the many-to-many fields of its parent."""

    issue = models.IntegerField(default=1)


class Kit(models.Model):
    """Explicit keys on both sides."""

    code = models.CharField(max_length=20, primary_key=True)
    items = models.ManyToManyField(Item)


class Board(models.Model):
    """Linked to a proxy."""

    name = models.CharField(max_length=100)
    notes = models.ManyToManyField(NoteProxy)


class Friend(models.Model):
    name = models.CharField(max_length=100)
    friends = models.ManyToManyField("self")


class Fan(models.Model):
    name = models.CharField(max_length=100)
    follows = models.ManyToManyField("self", symmetrical=False, related_name="followers")


class Member(models.Model):
    name = models.CharField(max_length=100)


class Club(models.Model):
    name = models.CharField(max_length=100)
    members = models.ManyToManyField(
        Member,
        through="Membership",
        through_fields=("club", "member"),
        related_name="clubs",
    )


class Membership(models.Model):
    """Links that carry values of their own; the same pair may be linked twice."""

    club = models.ForeignKey(Club, models.CASCADE)
    member = models.ForeignKey(Member, models.CASCADE)
    role = models.CharField(max_length=50, default="plain")
    sponsor = models.ForeignKey(
        Member, models.SET_NULL, null=True, related_name="sponsored_memberships"
    )


class Stop(models.Model):
    name = models.CharField(max_length=100)
    nexts = models.ManyToManyField(
        "self",
        through="Route",
        through_fields=("start", "end"),
        symmetrical=False,
        related_name="previous",
    )


class Route(models.Model):
    """Links a model to itself, with a value of its own."""

    start = models.ForeignKey(Stop, models.CASCADE, related_name="routes_out")
    end = models.ForeignKey(Stop, models.CASCADE, related_name="routes_in")
    minutes = models.IntegerField(default=1)
