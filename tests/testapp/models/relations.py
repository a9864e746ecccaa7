"""Foreign keys: chains, cycles, references to itself, unique values, every on_delete."""

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models

from tests.otherapp.models import Region

__all__ = [
    "Author",
    "Book",
    "CascadeLeaf",
    "Chapter",
    "Desk",
    "DoNothingLeaf",
    "Folder",
    "Hub",
    "Locker",
    "Mirror",
    "Passport",
    "Player",
    "Post",
    "ProtectLeaf",
    "RestrictLeaf",
    "Ring",
    "Seat",
    "SetDefaultLeaf",
    "SetNullLeaf",
    "Shop",
    "Stock",
    "Tag",
    "Team",
    "Visa",
    "Warehouse",
    "Worker",
]


class Author(models.Model):
    name = models.CharField(max_length=100)


class Book(models.Model):
    title = models.CharField(max_length=100)
    author = models.ForeignKey(Author, models.CASCADE)


class Chapter(models.Model):
    title = models.CharField(max_length=100)
    book = models.ForeignKey(Book, models.CASCADE)


class Shop(models.Model):
    """Its parent is not watched."""

    name = models.CharField(max_length=100)
    region = models.ForeignKey(Region, models.CASCADE)


class Folder(models.Model):
    name = models.CharField(max_length=100)
    parent = models.ForeignKey("self", models.CASCADE, null=True, related_name="children")


class Worker(models.Model):
    name = models.CharField(max_length=100)
    boss = models.ForeignKey("self", models.SET_NULL, null=True, related_name="staff")
    mentor = models.ForeignKey("self", models.SET_NULL, null=True, related_name="pupils")


class Team(models.Model):
    name = models.CharField(max_length=100)
    captain = models.ForeignKey("Player", models.SET_NULL, null=True, related_name="captain_of")


class Player(models.Model):
    name = models.CharField(max_length=100)
    team = models.ForeignKey(Team, models.CASCADE, related_name="players")


class Ring(models.Model):
    """An explicit key and a reference to itself that is never NULL."""

    code = models.CharField(max_length=20, primary_key=True)
    next = models.ForeignKey("self", models.CASCADE, related_name="previous")


class Mirror(models.Model):
    """An automatic key and a reference to itself that is never NULL."""

    name = models.CharField(max_length=100)
    original = models.ForeignKey("self", models.CASCADE, related_name="copies")


class Seat(models.Model):
    name = models.CharField(max_length=100)
    position = models.IntegerField(unique=True)


class Locker(models.Model):
    """An explicit key, a unique value that may be missing and one that is a reference."""

    code = models.CharField(max_length=20, primary_key=True)
    key_number = models.CharField(max_length=20, unique=True, null=True)
    owner = models.OneToOneField(Author, models.CASCADE, null=True)


class Desk(models.Model):
    name = models.CharField(max_length=100)
    room = models.CharField(max_length=20)
    number = models.IntegerField()

    class Meta:
        unique_together = [("room", "number")]


class Passport(models.Model):
    holder = models.OneToOneField(Author, models.CASCADE, primary_key=True)
    number = models.CharField(max_length=20)


class Visa(models.Model):
    passport = models.OneToOneField(Passport, models.CASCADE, primary_key=True)
    country = models.CharField(max_length=50)


class Warehouse(models.Model):
    code = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=100, default="")


class Stock(models.Model):
    name = models.CharField(max_length=100)
    warehouse = models.ForeignKey(Warehouse, models.CASCADE, to_field="code")


class Hub(models.Model):
    code = models.CharField(max_length=20, primary_key=True)


class CascadeLeaf(models.Model):
    name = models.CharField(max_length=100)
    hub = models.ForeignKey(Hub, models.CASCADE)


class ProtectLeaf(models.Model):
    name = models.CharField(max_length=100)
    hub = models.ForeignKey(Hub, models.PROTECT)


class RestrictLeaf(models.Model):
    name = models.CharField(max_length=100)
    hub = models.ForeignKey(Hub, models.RESTRICT)


class SetNullLeaf(models.Model):
    name = models.CharField(max_length=100)
    hub = models.ForeignKey(Hub, models.SET_NULL, null=True)


class SetDefaultLeaf(models.Model):
    name = models.CharField(max_length=100)
    hub = models.ForeignKey(Hub, models.SET_DEFAULT, default="main")


class DoNothingLeaf(models.Model):
    name = models.CharField(max_length=100)
    hub = models.ForeignKey(Hub, models.DO_NOTHING)


class Tag(models.Model):
    """A generic foreign key.

    The content type has no constraint only because this app has no migrations: its tables are
    made before those of django.contrib.contenttypes.
    """

    label = models.CharField(max_length=100)
    content_type = models.ForeignKey(ContentType, models.CASCADE, db_constraint=False)
    object_id = models.CharField(max_length=50)
    target = GenericForeignKey()


class Post(models.Model):
    title = models.CharField(max_length=100)
    tags = GenericRelation(Tag)
