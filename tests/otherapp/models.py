"""Models that are kept out of SYNCHRO_MODELS: nothing that happens to their rows is logged."""

from django.db import models


class Region(models.Model):
    """A parent that watched models point at."""

    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Remark(models.Model):
    """A child that points at a watched model: REMOTE may have some that LOCAL never knew."""

    note = models.ForeignKey("testapp.Note", models.CASCADE)
    text = models.CharField(max_length=100)


class Collection(models.Model):
    """The unwatched owner of a many-to-many field to a watched model."""

    name = models.CharField(max_length=100)
    notes = models.ManyToManyField("testapp.Note")
