"""Foreign keys that the database itself looks after, where Django can ask for it (6.1)."""

from django.db import models

__all__ = ["Quarry", "Block", "Statue"]

_CASCADE = getattr(models, "DB_CASCADE", models.CASCADE)
_SET_NULL = getattr(models, "DB_SET_NULL", models.SET_NULL)


class Quarry(models.Model):
    name = models.CharField(max_length=100)


class Block(models.Model):
    name = models.CharField(max_length=100)
    quarry = models.ForeignKey(Quarry, _CASCADE)


class Statue(models.Model):
    name = models.CharField(max_length=100)
    block = models.ForeignKey(Block, _SET_NULL, null=True)
