"""Models without relations: each kind of primary key, generated and skipped fields, a proxy."""

import uuid

from django.db import models
from django.db.models import F

__all__ = [
    "Account",
    "Box",
    "Hidden",
    "Item",
    "LocalOnly",
    "Note",
    "NoteProxy",
    "Slot",
    "Stamp",
    "Strict",
    "Token",
    "Unmanaged",
]


class Note(models.Model):
    """An automatic key and nothing that names the row elsewhere."""

    name = models.CharField(max_length=100)
    number = models.IntegerField(default=0)

    def __str__(self) -> str:
        return self.name


class NoteProxy(Note):
    class Meta:
        proxy = True


class Item(models.Model):
    """An explicit character key."""

    code = models.CharField(max_length=50, primary_key=True)
    name = models.CharField(max_length=100, default="")


class Token(models.Model):
    """A UUID key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=100)


class Slot(models.Model):
    """A composite key."""

    pk = models.CompositePrimaryKey("room", "hour")
    room = models.CharField(max_length=20)
    hour = models.IntegerField()
    title = models.CharField(max_length=100)


class Box(models.Model):
    """A field that the database computes."""

    name = models.CharField(max_length=100)
    width = models.IntegerField()
    height = models.IntegerField()
    area = models.GeneratedField(
        expression=F("width") * F("height"), output_field=models.IntegerField(), db_persist=True
    )


class Stamp(models.Model):
    """Fields that save() rewrites."""

    name = models.CharField(max_length=100)
    created = models.DateTimeField(auto_now_add=True)
    modified = models.DateTimeField(auto_now=True)
    modified_day = models.DateField(auto_now=True)


class Account(models.Model):
    """Fields that are not synchronized, a many-to-many one among them."""

    SYNCHRO_SKIP = ("balance", "labels")

    name = models.CharField(max_length=100)
    balance = models.IntegerField(default=5)
    labels = models.ManyToManyField("testapp.Label", related_name="accounts")
    shared = models.ManyToManyField("testapp.Label", related_name="sharing_accounts")


class PublishedManager(models.Manager["Hidden"]):
    def get_queryset(self) -> "models.QuerySet[Hidden]":
        return super().get_queryset().filter(published=True)


class Hidden(models.Model):
    """Its only manager hides some rows."""

    name = models.CharField(max_length=100)
    published = models.BooleanField(default=True)

    objects = PublishedManager()


class Strict(models.Model):
    """A table in which REMOTE takes less than LOCAL: no NULL, and nine characters at most."""

    code = models.CharField(max_length=50, primary_key=True)
    name = models.CharField(max_length=100, null=True)

    class Meta:
        managed = False
        db_table = "testapp_strict"


class LocalOnly(models.Model):
    """A table that REMOTE lacks."""

    name = models.CharField(max_length=100)

    class Meta:
        managed = False
        db_table = "testapp_localonly"


class Unmanaged(models.Model):
    """A table that Django does not make."""

    name = models.CharField(max_length=100)

    class Meta:
        managed = False
        db_table = "testapp_unmanaged"
