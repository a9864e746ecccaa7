"""synchro's tables in Django's admin: to be read and searched, not to be edited.

``register(site)`` does the same for an admin site of the project's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin import AdminSite, ModelAdmin, ShowFacets, SimpleListFilter
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from synchro import log
from synchro.conf import conf
from synchro.exceptions import SynchroError
from synchro.liveness import outcome_in_words
from synchro.models import ChangeLog, HeldChange, Overview, Peer, Reference, SyncRun
from synchro.nodes import own_node
from synchro.pages import access, held
from synchro.pages.addresses import change_address, site_address
from synchro.pages.paging import LongPaginator
from synchro.pages.showing import model_name
from synchro.pages.visibility import Visibility
from synchro.pairs import remote_alias, sides

_EMPTY: Final = "–"


class ReadOnlyAdmin(ModelAdmin):
    """Lists rows of LOCAL to those who may view them; changes nothing."""

    permission = ""
    """What a user needs, by SYNCHRO_REQUIRE_PERMISSIONS."""
    actions: Sequence[Any] | None = None
    sortable_by = ()
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    """Facets would count the rows of the whole table."""
    list_display_links = None
    empty_value_display = _EMPTY

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        request.current_app = self.admin_site.name
        title = capfirst(str(self.model._meta.verbose_name_plural))
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return access.may(request, self.permission)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Only what the filters ask for: by other look-ups one could guess, letter by letter, what
        no page shows (natural keys, what a database said when it refused a row)."""
        filters = self.get_list_filter(request)
        own = {getattr(one, "parameter_name", one) for one in filters}
        name = lookup.partition("__")[0]
        fields = {field.name for field in self.opts.get_fields()}
        return lookup in own or name in filters or name not in fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request).using(conf.local)
        return self.only_visible(request, rows)

    def only_visible(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Without rows about objects of models that the user may not view."""
        seen = Visibility(request, self.admin_site)
        labels = [model._meta.label_lower for model in apps.get_models()]
        visible = [label for label in labels if seen.model(label)]
        everything = request.user.is_superuser and len(visible) == len(labels)
        return rows if everything else rows.filter(label__in=visible)

    def object_link(self, label: str, key: str) -> str:
        """The key of an object, as a link to its page if there is one."""
        found = change_address(self.admin_site, label, key)
        return format_html('<a href="{}">{}</a>', found, key) if found else key

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By whole keys, which the indexes find among millions of rows."""
        term = search_term.strip()
        if not term:
            return queryset, False
        labels = [model._meta.label_lower for model in apps.get_models()]
        return queryset.filter(self.key_is(term), label__in=labels), False

    def key_is(self, key: str) -> Q:
        """The rows of objects with this key."""
        return Q(object_id=key)

    @admin.display(description=gettext_lazy("model"))
    def model_name(self, row: Any) -> str:
        return model_name(row.label)


class ModelFilter(SimpleListFilter):
    """By model, of those that are watched."""

    title = gettext_lazy("model")
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        labels = sorted(model._meta.label_lower for model in conf.valid_models)
        return [(label, model_name(label)) for label in labels]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        label = self.value()
        return queryset.filter(label=label.replace("\0", "")) if label else queryset


class BatchFilter(SimpleListFilter):
    """By batch: what no run has seen yet, or what one run has sent (from a link)."""

    title = gettext_lazy("batch")
    parameter_name = "batch"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = [("none", _("seen by no run yet")), ("some", _("seen by a run"))]
        value = self.value()
        if value and value.isdecimal():
            found.append((value, value))
        return found

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        if value == "none":
            return queryset.filter(batch__isnull=True)
        if value == "some":
            return queryset.filter(batch__isnull=False)
        if value.isdecimal() and len(value) < 19:
            return queryset.filter(batch=int(value))
        return queryset


class ChangeLogAdmin(ReadOnlyAdmin):
    permission = access.VIEW_LOG
    exclude = ("content_type", "key")
    """The key has values of the object: a preview shows it to those who may see them."""
    list_display = ("made_at", "action", "model_name", "object_key", "field", "batch", "origin")
    list_filter = (ModelFilter, "action", BatchFilter, "date")
    search_fields = ("object_id",)
    search_help_text = gettext_lazy("Finds the whole key of an object.")
    ordering = ("-id",)
    paginator = LongPaginator

    @admin.display(description=gettext_lazy("made"))
    def made_at(self, row: ChangeLog) -> Any:
        return row.made

    @admin.display(description=gettext_lazy("object"))
    def object_key(self, row: ChangeLog) -> str:
        return self.object_link(row.label, row.object_id)


class KeptFilter(SimpleListFilter):
    """References are kept by the database that received the object: one table at a time."""

    title = gettext_lazy("where it is kept")
    parameter_name = "kept"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("here", _("here: objects that came from there"))]

    def choices(self, changelist: Any) -> Iterator[Any]:
        first, *others = super().choices(changelist)
        yield {**first, "display": _("on the other side: objects sent there")}
        yield from others

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset  # the table was chosen before


class ReferenceAdmin(ReadOnlyAdmin):
    permission = access.VIEW_REFERENCES
    list_display = ("model_name", "object_key", "other_key")
    list_filter = (ModelFilter, KeptFilter)
    search_fields = ("local_object_id",)
    search_help_text = gettext_lazy("Finds the whole key of an object, on either side.")
    ordering = ("-id",)
    paginator = LongPaginator

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if request.GET.get("kept") == "here" or conf.remote is None:
            return rows
        try:
            here, there = sides(remote_alias(None), make=False)
        except (SynchroError, ImproperlyConfigured) as error:
            messages.error(request, str(error))
            return rows.none()
        if not there.has_tables:
            return rows
        return rows.using(there.alias).filter(node=here.uid)

    @admin.display(description=gettext_lazy("object here"))
    def object_key(self, row: Reference) -> str:
        kept_here = row._state.db == conf.local
        return self.object_link(
            row.label, row.local_object_id if kept_here else row.remote_object_id
        )

    @admin.display(description=gettext_lazy("object there"))
    def other_key(self, row: Reference) -> str:
        kept_here = row._state.db == conf.local
        return row.remote_object_id if kept_here else row.local_object_id

    def key_is(self, key: str) -> Q:
        # The indexes lead over the node.
        nodes = ["", *Peer.objects.using(conf.local).values_list("node", flat=True)]
        ours = [] if conf.remote is None else [own_node(conf.local).uid]
        found = Q(local_object_id=key) | Q(remote_object_id=key)
        return Q(node__in=[*nodes, *ours]) & found


class SyncRunAdmin(ReadOnlyAdmin):
    permission = access.VIEW_RUNS
    list_display = (
        "run_link",
        "outcome_now",
        "objects",
        "held_changes",
        "seconds",
        "user",
        "remote",
    )
    list_filter = ("outcome", "kind", "started", "remote", "user")
    search_fields = ("user",)
    ordering = ("-id",)
    paginator = LongPaginator

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("written", "report", "counts")

    def only_visible(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return ModelAdmin.get_search_results(self, request, queryset, search_term)

    @admin.display(description=gettext_lazy("started"))
    def run_link(self, run: SyncRun) -> Any:
        return _linked_run(self.admin_site, run)

    @admin.display(description=gettext_lazy("outcome"))
    def outcome_now(self, run: SyncRun) -> str:
        kind = run.error.partition(":")[0]  # the sentence may quote values: see the run's page
        return f"{outcome_in_words(run)}: {kind}" if kind else outcome_in_words(run)

    @admin.display(description=gettext_lazy("seconds"))
    def seconds(self, run: SyncRun) -> str | None:
        if run.ended is None:
            return None
        return number_format((run.ended - run.started).total_seconds(), 1)

    @admin.display(description=gettext_lazy("objects"))
    def objects(self, run: SyncRun) -> int:
        return run.objects_written

    @admin.display(description=gettext_lazy("held"))
    def held_changes(self, run: SyncRun) -> int:
        return run.held

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return _redirect(request, self.admin_site, "run", object_id)


class HeldChangeAdmin(ReadOnlyAdmin):
    """Held changes are on REMOTE, or on LOCAL where REMOTE has no tables of synchro."""

    permission = access.VIEW_HELD
    list_display = (
        "held_link",
        "model_name",
        "action",
        "field",
        "reason",
        "attempts",
        "since",
        "tried",
    )
    list_filter = (ModelFilter, "reason", "waiting", "since")
    search_fields = ("object_id",)
    search_help_text = gettext_lazy("Finds the whole key of an object.")
    ordering = ("-id",)
    actions = ("retry", "discard")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        try:
            rows = held.held_changes().order_by("-id")
        except (SynchroError, ImproperlyConfigured, DatabaseError) as error:
            messages.error(request, str(error))
            return HeldChange.objects.using(conf.local).none()
        return self.only_visible(request, rows)

    @admin.display(description=gettext_lazy("object"))
    def held_link(self, row: HeldChange) -> Any:
        try:
            found = site_address(self.admin_site, "held", row.pk)
        except NoReverseMatch:
            return row.object_id
        return format_html('<a href="{}">{}</a>', found, row.object_id)

    @admin.action(
        description=gettext_lazy("Try the selected changes again"), permissions=["resolve"]
    )
    def retry(self, request: HttpRequest, rows: QuerySet[HeldChange]) -> HttpResponse:
        return held.retry(request, list(rows))

    @admin.action(
        description=gettext_lazy("Discard the selected changes"), permissions=["resolve"]
    )
    def discard(self, request: HttpRequest, rows: QuerySet[HeldChange]) -> HttpResponse:
        return held.resolve(request, self.admin_site, list(rows))

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        return access.may(request, access.RESOLVE)

    @access.outside_transactions
    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Outside of transactions, since its actions start runs."""
        return super().changelist_view(request, extra_context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return _redirect(request, self.admin_site, "held", object_id)


class OverviewAdmin(ReadOnlyAdmin):
    """Only there for its entry in the index of the admin."""

    permission = access.VIEW_RUNS

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        access.require(request, self.permission)
        return _redirect(request, self.admin_site, "synchro")


def _linked_run(site: AdminSite, run: SyncRun) -> Any:
    started = date_format(localtime(log.aware(run.started)), "DATETIME_FORMAT")
    try:
        found = site_address(site, "run", run.pk)
    except NoReverseMatch:
        return started
    return format_html('<a href="{}">{}</a>', found, started)


def _redirect(request: HttpRequest, site: AdminSite, name: str, *keys: str) -> HttpResponse:
    """To a page of synchro, if the project has put them into its ``urlpatterns``."""
    try:
        return HttpResponseRedirect(site_address(site, name, *keys))
    except NoReverseMatch:
        messages.warning(
            request,
            _(
                "The pages of synchro have no address: add path('synchro/', "
                "include(('synchro.urls', 'synchro'), namespace='synchro')) to urlpatterns."
            ),
        )
        return HttpResponseRedirect(reverse("admin:index", current_app=site.name))


def register(site: AdminSite) -> None:
    """Put synchro's lists into an admin site."""
    for model, options in _ADMINS.items():
        site.register(model, options)


_ADMINS: Final[dict[type[Model], type[ModelAdmin]]] = {
    ChangeLog: ChangeLogAdmin,
    HeldChange: HeldChangeAdmin,
    Overview: OverviewAdmin,
    Reference: ReferenceAdmin,
    SyncRun: SyncRunAdmin,
}

register(admin.site)
