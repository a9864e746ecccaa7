"""synchro's own tables, and ``options``, the checkpoint in dbsettings."""

from __future__ import annotations

import uuid
from typing import Any, Final

import dbsettings
from django.apps import apps
from django.contrib.admin.models import ADDITION, CHANGE, DELETION
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from synchro.checkpoint import NEVER, CheckpointValue
from synchro.fields import UNSEALED, BatchField, KeyField

__all__ = [
    "ADDITION",
    "CHANGE",
    "DELETION",
    "M2M_CHANGE",
    "Batch",
    "ChangeLog",
    "HeldChange",
    "Node",
    "Overview",
    "Peer",
    "Preview",
    "PreviewEntry",
    "Reference",
    "SyncRun",
    "options",
]

M2M_CHANGE: Final = 4

REFUSED: Final = "refused"
NEEDS_HELD: Final = "needs-held"
UNREADABLE: Final = "unreadable"
REMOTE_NEWER: Final = "remote-newer"
VANISHED: Final = "vanished"
EXCLUDED: Final = "excluded"
STALE: Final = "stale"

REASONS: Final = (
    (REFUSED, _("refused")),
    (NEEDS_HELD, _("needs something that is held")),
    (UNREADABLE, _("cannot be read")),
    (REMOTE_NEWER, _("changed later on the other side")),
    (VANISHED, _("gone without a deletion in the log")),
    (EXCLUDED, _("left out on purpose")),
    (STALE, _("changed since the plan was made")),
)

RUNNING: Final = "running"
DONE: Final = "done"
HELD: Final = "held"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
DIED: Final = "died"

OUTCOMES: Final = (
    (RUNNING, _("going on")),
    (DONE, _("done")),
    (HELD, _("done, but changes are held")),
    (FAILED, _("failed")),
    (CANCELLED, _("cancelled")),
    (DIED, _("died")),
)

SYNCHRONIZE: Final = "synchronize"
ADOPT: Final = "adopt"

KINDS: Final = (
    (SYNCHRONIZE, _("synchronization")),
    (ADOPT, _("adoption of a copy")),
)

ACTIONS: Final = (
    # With a context: alone, these words are the admin's buttons.
    (ADDITION, pgettext_lazy("kind of change", "Add")),
    (CHANGE, pgettext_lazy("kind of change", "Change")),
    (DELETION, pgettext_lazy("kind of change", "Delete")),
    (M2M_CHANGE, _("Change of links")),
)


class SynchroSettings(dbsettings.Group):  # type: ignore[misc]
    last_check = CheckpointValue("Last synchronization", default=NEVER)


options = SynchroSettings()


def checkpoint_value() -> CheckpointValue:
    """The value behind ``options.last_check``, for reading and writing with its mark."""
    value: CheckpointValue = type(options).__dict__["last_check"]
    return value


def new_token() -> str:
    """32 random hexadecimal digits."""
    return uuid.uuid4().hex


class Node(models.Model):
    """Who this database is. The row with primary key 1 is in force, others are retired."""

    id = models.BigAutoField(primary_key=True)
    uid = models.CharField(max_length=32, unique=True, default=new_token)
    last_batch = models.BigIntegerField(default=0)
    created = models.DateTimeField(default=timezone.now)
    retired = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("node")
        verbose_name_plural = _("nodes")

    def __str__(self) -> str:
        return self.uid


class Batch(models.Model):
    """A number that a run gave to the log rows that it saw. Never used twice."""

    number = models.BigIntegerField(primary_key=True)
    token = models.CharField(max_length=32, default=new_token)
    """Random: tells a batch from one with the same number in a restored or copied database."""
    date = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("batch")
        verbose_name_plural = _("batches")

    def __str__(self) -> str:
        return str(self.number)


class Peer(models.Model):
    """Another node, as this database knows it: what went there, and what came from there."""

    id = models.BigAutoField(primary_key=True)
    node = models.CharField(max_length=64, unique=True)
    """The other's uid; ``alias:NAME`` for a database without synchro's tables."""
    sent_batch = models.BigIntegerField(default=0)
    """Batches of this database up to here have been applied there."""
    sent_at = models.DateTimeField(null=True, blank=True)
    received_batch = models.BigIntegerField(default=0)
    """Batches of the other up to here have been applied here."""
    received_token = models.CharField(max_length=32, blank=True, default="")
    """The token of that batch."""
    received_at = models.DateTimeField(null=True, blank=True)
    reset_batch = models.BigIntegerField(default=0)
    """Changes that were held in batches up to here have been forgotten by a reset."""

    class Meta:
        verbose_name = _("peer")
        verbose_name_plural = _("peers")

    def __str__(self) -> str:
        return self.node


class Reference(models.Model):
    """Which row here stands for which row of another node, where primary keys differ."""

    id = models.BigAutoField(primary_key=True)
    node = models.CharField(max_length=64, blank=True, default="")
    """Whose row ``remote_object_id`` is; empty in rows that 0.x wrote."""
    content_type = models.ForeignKey(
        ContentType,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    label = models.CharField(max_length=200)
    local_object_id = KeyField(max_length=400)
    remote_object_id = KeyField(max_length=400)

    class Meta:
        verbose_name = _("reference")
        verbose_name_plural = _("references")
        constraints = [
            models.UniqueConstraint(
                fields=["label", "node", "local_object_id"], name="synchro_reference_here"
            ),
            models.UniqueConstraint(
                fields=["label", "node", "remote_object_id"], name="synchro_reference_there"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.label} {self.local_object_id} = {self.remote_object_id}"


class ChangeLog(models.Model):
    """One change of one object: which, how and when, never the values."""

    id = models.BigAutoField(primary_key=True)
    content_type = models.ForeignKey(
        ContentType,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    # remove_stale_contenttypes may take the content type away; the label stays.
    label = models.CharField(max_length=200)
    object_id = KeyField(max_length=400)
    object = GenericForeignKey()
    date = models.DateTimeField(_("logged"), default=timezone.now)
    action = models.PositiveSmallIntegerField(_("action"), choices=ACTIONS)
    field = models.CharField(_("field"), max_length=200, blank=True, default="")
    """The many-to-many field of a change of links."""
    key = models.TextField(null=True, blank=True)
    """The natural key as JSON."""
    batch = BatchField(_("batch"), blank=True, default=None, db_default=UNSEALED)
    """None until a run has seen the row."""
    origin = models.CharField(_("origin"), max_length=64, blank=True, default="")
    """The node where the change was made; empty if here."""
    origin_date = models.DateTimeField(null=True, blank=True)
    """When it was made there."""

    class Meta:
        verbose_name = _("change log entry")
        verbose_name_plural = _("change log")
        indexes = [
            models.Index(fields=["batch", "id"], name="synchro_log_batch"),
            models.Index(fields=["label", "object_id"], name="synchro_log_object"),
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {self.label} {self.object_id}"

    @property
    def made(self) -> Any:
        """When the change was made, on whichever node."""
        return self.origin_date or self.date

    def model_class(self) -> type[models.Model] | None:
        """The model that the label names, None if it is not installed."""
        try:
            return apps.get_model(self.label)
        except (LookupError, ValueError):
            return None


class HeldChange(models.Model):
    """A change that a run did not apply, and why.

    It is kept where it was to be applied, in the transaction of the run, so that what REMOTE has
    and what it lacks are always told together. For a REMOTE without synchro's tables it is kept
    on LOCAL.
    """

    id = models.BigAutoField(primary_key=True)
    node = models.CharField(max_length=64)
    """Whose change it is: a uid; on LOCAL, ``alias:NAME`` of the REMOTE that lacks it."""
    label = models.CharField(max_length=200)
    object_id = KeyField(max_length=400)
    """The key on the node whose change it is."""
    field = models.CharField(_("field"), max_length=200, blank=True, default="")
    """The many-to-many field of a change of links."""
    action = models.PositiveSmallIntegerField(_("action"), choices=ACTIONS)
    recreated = models.BooleanField(default=False)
    """Whether the object was deleted and made again under the same key."""
    key = models.TextField(null=True, blank=True)
    """The natural key as JSON."""
    made = models.DateTimeField()
    """When the change was made, on whichever node."""
    origin = models.CharField(max_length=64, blank=True, default="")
    """The node where the change was made; empty if it is ``node``."""
    batch = models.BigIntegerField()
    """The newest batch of ``node`` when the change was first held."""
    waiting = models.BooleanField(_("is tried again"), default=True)
    """Whether later runs try again; not for the loser of a conflict."""
    reason = models.CharField(_("reason"), max_length=20, choices=REASONS)
    detail = models.TextField()
    attempts = models.PositiveIntegerField(_("attempts"), default=1)
    since = models.DateTimeField(_("held since"), default=timezone.now)
    """When it was first held."""
    tried = models.DateTimeField(_("last tried"), default=timezone.now)
    """When a run tried it the last time."""

    class Meta:
        verbose_name = _("held change")
        verbose_name_plural = _("held changes")
        indexes = [models.Index(fields=["node", "label"], name="synchro_held_node")]
        permissions = [("resolve", "Can retry or discard held changes")]

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {self.label} {self.object_id}"


class Job(models.Model):
    """Work that goes on for a while, how far it is, and what came of it."""

    remote = models.CharField(_("other database"), max_length=100)
    """REMOTE's alias."""
    user = models.CharField(_("user"), max_length=150, blank=True, default="")
    """Who started it."""
    started = models.DateTimeField(_("started"), default=timezone.now)
    ended = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(_("outcome"), max_length=10, choices=OUTCOMES, default=RUNNING)
    error = models.TextField(blank=True, default="")
    stage = models.CharField(max_length=20, blank=True, default="")
    """What is being done: ``plan``, ``sync``, ``complete``."""
    model = models.CharField(max_length=200, blank=True, default="")
    """The label of the model that is being worked on."""
    done = models.PositiveBigIntegerField(default=0)
    """How many objects are done."""
    total = models.PositiveBigIntegerField(default=0)
    """How many there are; 0 if that is not known."""
    beat = models.DateTimeField(null=True, blank=True)
    """When the process that does it last said that it is alive."""
    cancelled_by = models.CharField(max_length=150, blank=True, default="")
    """Who asked for it to be given up."""

    class Meta:
        abstract = True


class SyncRun(Job):
    """A run from this database that had something to do."""

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(_("kind"), max_length=12, choices=KINDS, default=SYNCHRONIZE)
    node = models.CharField(max_length=64)
    """REMOTE's uid, or ``alias:NAME``."""
    batch = models.BigIntegerField(default=0)
    objects_written = models.PositiveIntegerField(default=0)
    counts = models.JSONField(default=dict, blank=True)
    """Model label -> action -> objects."""
    held = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    report = models.JSONField(default=dict, blank=True)
    """What a person should know: see ``synchro.history``."""
    written = models.BinaryField(default=bytes, blank=True)
    """The keys of the objects that were written: see ``synchro.history``."""

    class Meta:
        verbose_name = _("synchronization")
        verbose_name_plural = _("synchronizations")
        ordering = ["-id"]
        permissions = [
            ("synchronize", "Can synchronize, and cancel a synchronization"),
            ("reset", "Can reset synchronization"),
            ("adopt", "Can adopt a copy of a database"),
        ]

    def __str__(self) -> str:
        return f"{self.remote}: {self.get_outcome_display()}"


class Overview(SyncRun):
    """Only an entry of the admin's index, which leads to the overview."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = _("overview")
        verbose_name_plural = _("overview")


class Preview(Job):
    """A plan that somebody looks at in the admin."""

    id = models.BigAutoField(primary_key=True)
    basis = models.JSONField(default=dict)
    """What the plan was made from, as ``synchro.preview.Basis`` has it."""
    full = models.BooleanField(default=False)
    """Whether the databases were compared, instead of reading the log."""

    class Meta:
        verbose_name = _("preview")
        verbose_name_plural = _("previews")
        ordering = ["-id"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.remote}: {self.get_outcome_display()}"


class PreviewEntry(models.Model):
    """One object of a preview, in the order of replay."""

    id = models.BigAutoField(primary_key=True)
    preview = models.ForeignKey(Preview, on_delete=models.CASCADE, related_name="entries")
    label = models.CharField(max_length=200)
    action = models.CharField(max_length=10)
    name = models.TextField()
    """The key and the natural key, to be searched."""
    entry = models.TextField()
    """The object as JSON, as ``synchro.entries.Entry`` writes it."""
    chosen = models.BooleanField(default=False)

    class Meta:
        verbose_name = _("entry of a preview")
        verbose_name_plural = _("entries of previews")
        default_permissions = ()
        indexes = [
            models.Index(fields=["preview", "label", "action"], name="synchro_preview_model")
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.label} {self.name}"
