"""The pages in the admin show no value that the admin itself would keep from the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.contrib import admin
from django.db import models

from synchro import SyncFlags, synchronize
from synchro.models import NEEDS_HELD, ChangeLog, HeldChange, SyncRun
from tests.runs import LOCAL, REMOTE, occupy, on_remote
from tests.test_pages import entry_of, logged_in, preview, text_of, user, words
from tests.testapp.models import (
    Author,
    Book,
    City,
    Country,
    Item,
    Journal,
    Label,
    Note,
    Paper,
    Seat,
    Stamp,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def in_the_request(settings):
    settings.SYNCHRO_BACKGROUND = False


class OpenOnly(admin.ModelAdmin):
    """Shows some rows."""

    def get_queryset(self, request):
        return super().get_queryset(request).filter(name__startswith="open")


class OpenObjectsOnly(admin.ModelAdmin):
    """Shows some rows, and asks for each."""

    def has_view_permission(self, request, obj=None):
        return obj is None or obj.name.startswith("open")

    def has_change_permission(self, request, obj=None):
        return False


class Sorted(admin.ModelAdmin):
    """Shows all rows, in an order of its own."""

    def get_queryset(self, request):
        return super().get_queryset(request).order_by("name")


@contextmanager
def registered(model: type[models.Model], options: type[admin.ModelAdmin]) -> Iterator[None]:
    known = admin.site._registry.pop(model, None)
    admin.site.register(model, options)
    try:
        yield
    finally:
        admin.site.unregister(model)
        if known is not None:
            admin.site._registry[model] = known


@pytest.mark.parametrize("options", [OpenOnly, OpenObjectsOnly])
def test_objects_that_the_admin_keeps_from_the_user_have_no_name_and_no_values(options):
    seen = Note.objects.create(name="open one")
    kept = Note.objects.create(name="closed one")
    gone = Note.objects.create(name="closed and gone")
    synchronize()
    seen.name, kept.name = "open two", "closed two"
    seen.save()
    kept.save()
    gone.delete()
    with registered(Note, options):
        client = logged_in(user("office", "testapp.view_note"))
        made = preview(client)
        address = f"/synchro/preview/{made.pk}/"
        page = text_of(client.get(address))
        assert "open two" in page
        assert "closed" not in page
        assert f"/testapp/note/{seen.pk}/change/" in page
        assert f"/testapp/note/{kept.pk}/change/" not in page
        assert page.count('name="on_page"') == 3
        client.post(address, {"all": "1"})
        run = SyncRun.objects.first()
        query = {"model": "testapp.note", "action": "update"}
        page = text_of(client.get(f"/synchro/run/{run.pk}/", query))
        assert "open two" in page
        assert "closed" not in page
        boss = logged_in(user(is_superuser=True))
        assert "closed two" in text_of(boss.get(f"/synchro/run/{run.pk}/", query))


def test_an_admin_with_an_order_of_its_own_keeps_nothing_back():
    note = Note.objects.create(name="a note")
    with registered(Note, Sorted):
        client = logged_in(user("office", "testapp.view_note"))
        made = preview(client)
        page = text_of(client.get(f"/synchro/preview/{made.pk}/"))
    assert f"a note ({note.pk})" in page


def test_a_held_change_of_an_object_that_the_admin_keeps_from_the_user_is_not_found():
    for position, name in enumerate(("open", "closed")):
        occupy(Seat, name=f"theirs {name}", position=position)
        Seat.objects.create(name=name, position=position)
    synchronize(flags=SyncFlags.CONTINUE_ON_FAILURE)
    with registered(Seat, OpenOnly):
        client = logged_in(user("office", "testapp.view_seat"))
        for held in HeldChange.objects.using(REMOTE).all():
            name = Seat.objects.get(pk=held.object_id).name
            status = client.get(f"/synchro/held/{held.pk}/").status_code
            assert status == (200 if name == "open" else 404)


def test_the_list_of_changes_tells_no_natural_key():
    Country.objects.create(code="hush", name="x").delete()
    row = ChangeLog.objects.exclude(key=None).first()
    assert row is not None and "hush" in str(row.key)
    client = logged_in(user("office", "testapp.view_country"))
    assert "hush" not in text_of(client.get(f"/admin/synchro/changelog/{row.pk}/change/"))


@pytest.mark.parametrize(
    ("name", "lookup"),
    [
        ("changelog", "key__contains"),
        ("heldchange", "detail__contains"),
        ("heldchange", "key__startswith"),
        ("syncrun", "error__contains"),
        ("syncrun", "report__icontains"),
    ],
)
def test_what_no_list_shows_cannot_be_guessed_by_a_look_up(name, lookup):
    client = logged_in(user("office"))
    assert client.get(f"/admin/synchro/{name}/", {lookup: "a"}).status_code == 400


def test_the_filters_of_the_lists_work():
    client = logged_in(user(is_superuser=True))
    for name, query in (
        ("changelog", {"model": "testapp.note", "batch": "1", "action__exact": "1"}),
        (
            "changelog",
            {"date__gte": "2026-01-01 00:00:00+00:00", "date__lt": "2027-01-01 00:00:00+00:00"},
        ),
        ("heldchange", {"reason__exact": "refused", "waiting__exact": "1"}),
        ("heldchange", {"since__gte": "2026-01-01 00:00:00+00:00"}),
        ("reference", {"kept": "here", "model": "testapp.note"}),
        ("syncrun", {"outcome__exact": "done", "kind__exact": "adopt", "remote": "remote"}),
        ("syncrun", {"started__gte": "2026-01-01 00:00:00+00:00", "user": "anna"}),
    ):
        assert client.get(f"/admin/synchro/{name}/", query).status_code == 200, query


def test_a_natural_key_over_a_foreign_key_is_kept_with_what_that_leads_to():
    country = Country.objects.create(code="x", name="Hiddenland")
    City.objects.create(name="Town", country=country)
    client = logged_in(user("office", "testapp.view_city"))
    made = preview(client)
    address = f"/synchro/preview/{made.pk}/"
    page = text_of(client.get(address))
    assert "Town" in page
    assert "Hiddenland" not in page
    assert 'name="on_page"' not in text_of(client.get(address, {"q": "Hiddenland"}))
    both = logged_in(user("both", "testapp.view_city", "testapp.view_country"))
    made = preview(both)
    assert "Hiddenland" in text_of(both.get(f"/synchro/preview/{made.pk}/"))


def test_a_guess_of_a_key_and_its_natural_key_is_not_confirmed():
    country = Country.objects.create(code="x", name="Hiddenland")
    city = City.objects.create(name="Town", country=country)
    client = logged_in(user("office", "testapp.view_city"))
    made = preview(client)
    name = entry_of(made, city).name
    assert "Hiddenland" in name
    page = text_of(client.get(f"/synchro/preview/{made.pk}/", {"q": name}))
    assert 'name="on_page"' not in page
    page = text_of(client.get(f"/synchro/preview/{made.pk}/", {"q": str(city.pk)}))
    assert page.count('name="on_page"') == 1


def test_a_field_that_no_form_has_is_kept_unless_it_tells_a_time():
    stamp = Stamp.objects.create(name="a")
    fields = {field.name for field in Stamp._meta.fields if not field.editable}
    assert fields
    with registered(Stamp, admin.ModelAdmin):
        client = logged_in(user("office", "testapp.view_stamp"))
        made = preview(client)
        assert "may not view" not in text_of(client.get(f"/synchro/preview/{made.pk}/"))
    assert stamp.pk


def test_a_secret_that_is_in_no_form_is_not_shown():
    from django.contrib.auth.models import User

    field = User._meta.get_field("first_name")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field, "editable", False)

        class Short(admin.ModelAdmin):
            fields = ("username",)

        with registered(User, Short):
            client = logged_in(user("office", "auth.view_user"))
            User.objects.create(username="someone", first_name="hush")
            made = preview(client)
            page = text_of(client.get(f"/synchro/preview/{made.pk}/", {"model": "auth.user"}))
    assert "someone" in page
    assert "hush" not in page


def test_a_model_without_an_admin_keeps_what_the_admin_of_its_parent_keeps():
    class NoTitle(admin.ModelAdmin):
        exclude = ("title",)

    Journal.objects.create(**_journal())
    with registered(Paper, NoTitle):
        client = logged_in(user("office", "testapp.view_paper", "testapp.view_journal"))
        made = preview(client)
        page = text_of(client.get(f"/synchro/preview/{made.pk}/"))
    assert "a title to be kept" not in page


def _journal() -> dict[str, object]:
    values: dict[str, object] = {"title": "a title to be kept"}
    for field in Journal._meta.local_fields:
        if not field.is_relation and not field.has_default():
            values[field.name] = 1 if "Integer" in field.get_internal_type() else "x"
    return values


def test_the_reason_of_another_object_is_told_to_who_may_see_that():
    occupy(Item, code="x", name="theirs")
    author = Author.objects.create(name="a")
    book = Book.objects.create(title="b", author=author)
    synchronize()
    HeldChange.objects.using(REMOTE).create(
        node=_node(),
        label="testapp.book",
        object_id=str(book.pk),
        action=2,
        made="2026-01-01T00:00:00Z",
        batch=1,
        reason=NEEDS_HELD,
        detail="it needs testapp.Author 1, which is held: (name)=(hush) already exists",
    )
    held = HeldChange.objects.using(REMOTE).get()
    client = logged_in(user("office", "testapp.view_book"))
    page = text_of(client.get(f"/synchro/held/{held.pk}/"))
    assert "hush" not in page
    assert "needs something that is held" in page
    boss = logged_in(user(is_superuser=True))
    assert "hush" in text_of(boss.get(f"/synchro/held/{held.pk}/"))


def _node() -> str:
    from synchro.nodes import own_node

    return own_node(LOCAL).uid


def test_the_sides_of_a_held_change_name_only_what_the_user_may_view():
    author = Author.objects.create(name="hush")
    book = Book.objects.create(title="b", author=author)
    paper = Paper.objects.create(title="p")
    label = Label.objects.create(name="hush too")
    paper.labels.add(label)
    synchronize()
    for row in (book, paper):
        HeldChange.objects.using(REMOTE).create(
            node=_node(),
            label=row._meta.label_lower,
            object_id=str(row.pk),
            action=2,
            made="2026-01-01T00:00:00Z",
            batch=1,
            reason="refused",
            detail="",
        )
    client = logged_in(user("office", "testapp.view_book", "testapp.view_paper"))
    with pytest.MonkeyPatch.context() as patch:
        for model in (Author, Label):
            patch.setattr(model, "__str__", lambda row: row.name)
        for held in HeldChange.objects.using(REMOTE).all():
            assert "hush" not in text_of(client.get(f"/synchro/held/{held.pk}/"))
        boss = logged_in(user(is_superuser=True))
        for held in HeldChange.objects.using(REMOTE).all():
            assert words(boss.get(f"/synchro/held/{held.pk}/")).count("hush") == 2


def test_the_result_of_a_run_links_to_no_object_that_the_user_may_not_view():
    occupy(Seat, name="theirs", position=1)
    seat = Seat.objects.create(name="ours", position=1)
    client = logged_in(user("office"))
    response = client.post("/synchro/", {"synchro": "1"}, follow=True)
    assert "Seat refused" in words(response)
    assert f"/testapp/seat/{seat.pk}/change/" not in text_of(response)
    assert not on_remote(Seat).filter(name="ours").exists()


def test_rows_of_models_that_are_gone_are_for_superusers():
    ChangeLog.objects.create(label="gone.model", object_id="a secret key", action=1)
    client = logged_in(user("office"))
    assert "a secret key" not in text_of(client.get("/admin/synchro/changelog/"))
    boss = logged_in(user(is_superuser=True))
    assert "a secret key" in text_of(boss.get("/admin/synchro/changelog/"))
