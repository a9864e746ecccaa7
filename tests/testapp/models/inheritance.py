"""Multi-table inheritance: three deep, of two parents, of a parent with a key of its own."""

from django.db import models

from synchro import NaturalKeyModel
from tests.testapp.models.plain import Item

__all__ = [
    "Copier",
    "Gadget",
    "Pizzeria",
    "Place",
    "Printer",
    "Restaurant",
    "Scanner",
    "Truck",
    "Vehicle",
]


class Place(models.Model):
    name = models.CharField(max_length=100)


class Restaurant(Place):
    stars = models.IntegerField(default=0)


class Pizzeria(Restaurant):
    oven = models.CharField(max_length=100)


class Printer(models.Model):
    printer_id = models.BigAutoField(primary_key=True)
    ink = models.CharField(max_length=100)


class Scanner(models.Model):
    scanner_id = models.BigAutoField(primary_key=True)
    lamp = models.CharField(max_length=100)


class Copier(Printer, Scanner):
    name = models.CharField(max_length=100)


class Gadget(Item):
    weight = models.IntegerField(default=0)


class Vehicle(NaturalKeyModel):
    _natural_key = ("plate",)

    plate = models.CharField(max_length=20, unique=True)
    wheels = models.IntegerField(default=4)


class Truck(Vehicle):
    load = models.IntegerField(default=0)
