"""The measured model: ten columns, a foreign key, a unique code as natural key, links."""

from __future__ import annotations

from django.db import models

from synchro import NaturalKeyModel


class Category(NaturalKeyModel):
    _natural_key = ("code",)

    code = models.CharField(max_length=20, unique=True)


class Label(NaturalKeyModel):
    _natural_key = ("name",)

    name = models.CharField(max_length=20, unique=True)


class Item(NaturalKeyModel):
    _natural_key = ("code",)

    code = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=100)
    note = models.TextField(blank=True)
    category = models.ForeignKey(Category, models.PROTECT)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    quantity = models.IntegerField()
    weight = models.FloatField()
    active = models.BooleanField()
    changed = models.DateTimeField()
    labels = models.ManyToManyField(Label)
