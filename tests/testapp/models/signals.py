"""Models with behaviour of their own: receivers, an overridden save() and delete()."""

from typing import Any

from django.db import models
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from django.dispatch import receiver
from django.utils.text import slugify

from synchro import disable_synchro_log
from tests.testapp.models.links import Label

__all__ = ["EVENTS", "Basket", "Document", "Ledger", "Parcel", "Sale", "Wrapped"]

EVENTS: list[tuple[str, str, str]] = []
"""What the receivers and methods of this module saw: (event, database alias, name)."""


class Ledger(models.Model):
    """What the receivers of Sale write to, without logging it."""

    name = models.CharField(max_length=100)
    total = models.IntegerField(default=0)


class Sale(models.Model):
    name = models.CharField(max_length=100)
    ledger = models.ForeignKey(Ledger, models.CASCADE)
    amount = models.IntegerField(default=0)


class Parcel(models.Model):
    """Every save and delete signal has a receiver."""

    name = models.CharField(max_length=100)
    stamp = models.DateTimeField(auto_now=True)


class Basket(models.Model):
    """Only its many-to-many field has a receiver."""

    name = models.CharField(max_length=100)
    labels = models.ManyToManyField(Label)


class Document(models.Model):
    """Methods of its own."""

    title = models.CharField(max_length=100)
    slug = models.SlugField(default="")

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.slug = slugify(self.title)
        EVENTS.append(("save", kwargs.get("using") or self._state.db or "default", self.title))
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        EVENTS.append(("delete", kwargs.get("using") or self._state.db or "default", self.title))
        return super().delete(*args, **kwargs)


class Wrapped(models.Model):
    """Its receiver saves the row again."""

    name = models.CharField(max_length=100)
    saves = models.IntegerField(default=0)


@receiver(post_save, sender=Sale)
@disable_synchro_log
def add_to_ledger(sender: Any, instance: Sale, created: bool, using: str, **kwargs: Any) -> None:
    if created and not kwargs.get("raw"):
        ledger = Ledger.objects.using(using).get(pk=instance.ledger_id)
        ledger.total += instance.amount
        ledger.save()


@receiver(pre_save, sender=Parcel)
def before_parcel_save(sender: Any, instance: Parcel, using: str, **kwargs: Any) -> None:
    EVENTS.append(("pre_save", instance._state.db or "", instance.name))


@receiver(post_save, sender=Parcel)
def after_parcel_save(sender: Any, instance: Parcel, using: str, **kwargs: Any) -> None:
    word = "created" if kwargs["created"] else "changed"
    EVENTS.append((word, instance._state.db or "", instance.name))


@receiver(pre_delete, sender=Parcel)
def before_parcel_delete(sender: Any, instance: Parcel, using: str, **kwargs: Any) -> None:
    EVENTS.append(("pre_delete", instance._state.db or "", instance.name))


@receiver(post_delete, sender=Parcel)
def after_parcel_delete(sender: Any, instance: Parcel, using: str, **kwargs: Any) -> None:
    EVENTS.append(("post_delete", using, instance.name))


@receiver(m2m_changed, sender=Basket.labels.through)
def basket_labels_changed(
    sender: Any, instance: models.Model, action: str, using: str, **kwargs: Any
) -> None:
    EVENTS.append((action, using, str(getattr(instance, "name", ""))))


@receiver(post_save, sender=Wrapped)
def count_saves(sender: Any, instance: Wrapped, using: str, **kwargs: Any) -> None:
    Wrapped.objects.using(using).filter(pk=instance.pk).update(saves=models.F("saves") + 1)
