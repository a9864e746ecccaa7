"""Models with every kind of value."""

from django.db import models

__all__ = ["Everything", "Numbered"]


class Values(models.Model):
    decimal = models.DecimalField(max_digits=30, decimal_places=10, null=True)
    price = models.DecimalField(max_digits=10, decimal_places=2, null=True)
    real = models.FloatField(null=True)
    big = models.BigIntegerField(null=True)
    small = models.SmallIntegerField(null=True)
    positive = models.PositiveBigIntegerField(null=True)
    flag = models.BooleanField(null=True)
    moment = models.DateTimeField(null=True)
    day = models.DateField(null=True)
    clock = models.TimeField(null=True)
    span = models.DurationField(null=True)
    data = models.BinaryField(null=True)
    document = models.JSONField(null=True)
    text = models.TextField(null=True)
    word = models.CharField(max_length=200, null=True)
    file = models.FileField(max_length=200, null=True)
    uuid = models.UUIDField(null=True)
    address = models.GenericIPAddressField(null=True)
    slug = models.SlugField(null=True)
    email = models.EmailField(null=True)
    url = models.URLField(null=True)

    class Meta:
        abstract = True


class Everything(Values):
    code = models.CharField(max_length=50, primary_key=True)


class Numbered(Values):
    """With a key that the database makes up."""
