"""The measured model as Morango wants it: its own base class, keys that are UUIDs made of the
natural key, and a model for the links, since it does not transfer many-to-many fields."""

from __future__ import annotations

from typing import Any

from django.db import models
from morango.models.core import SyncableModel


class Shared(SyncableModel):
    morango_profile = "shop"

    class Meta:
        abstract = True

    def calculate_partition(self, *args: Any, **kwargs: Any) -> str:
        return "shop"


class Category(Shared):
    morango_model_name = "category"

    code = models.CharField(max_length=20, unique=True)

    def calculate_source_id(self, *args: Any, **kwargs: Any) -> str:
        return self.code


class Label(Shared):
    morango_model_name = "label"

    name = models.CharField(max_length=20, unique=True)

    def calculate_source_id(self, *args: Any, **kwargs: Any) -> str:
        return self.name


class Item(Shared):
    morango_model_name = "item"
    morango_model_dependencies = (Category,)

    code = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=100)
    note = models.TextField(blank=True)
    category = models.ForeignKey(Category, models.PROTECT)
    price = models.TextField()
    """A decimal: Morango's JSON has none."""
    quantity = models.IntegerField()
    weight = models.FloatField()
    active = models.BooleanField()
    changed = models.TextField()

    def calculate_source_id(self, *args: Any, **kwargs: Any) -> str:
        return self.code


class ItemLabel(Shared):
    morango_model_name = "itemlabel"
    morango_model_dependencies = (Item, Label)

    item = models.ForeignKey(Item, models.CASCADE)
    label = models.ForeignKey(Label, models.CASCADE)

    def calculate_source_id(self, *args: Any, **kwargs: Any) -> str:
        return f"{self.item_id}:{self.label_id}"
