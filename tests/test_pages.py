"""The pages in the admin, asked for without a browser: who may do what, what they show and do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connections
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path, reverse
from django.utils import timezone

from synchro import DisableSynchroLog, SyncFlags, synchronize
from synchro.admin import register
from synchro.exceptions import SynchroError
from synchro.models import (
    DIED,
    RUNNING,
    ChangeLog,
    HeldChange,
    Node,
    Preview,
    PreviewEntry,
    Reference,
    SyncRun,
)
from synchro.nodes import own_node
from synchro.urls import urls_of
from tests.compare import assert_same
from tests.runs import LOCAL, REMOTE, occupy, on_remote, synchronize_back
from tests.testapp.models import (
    Author,
    Book,
    Country,
    Item,
    Label,
    Note,
    Paper,
    Seat,
)

URL = "/synchro/"
LISTS = ["changelog", "heldchange", "reference", "syncrun"]
ADDRESSES = [
    URL,
    "/synchro/preview/",
    "/synchro/reset/",
    "/synchro/adopt/",
    *(f"/admin/synchro/{name}/" for name in LISTS),
]


@pytest.fixture(autouse=True)
def in_the_request(settings):
    """What the pages start takes place in the request, so that a test sees its end (other tests
    are about the thread)."""
    settings.SYNCHRO_BACKGROUND = False


def user(name="boss", *permissions: str, **flags: bool) -> User:
    with DisableSynchroLog():
        found = User.objects.create(username=name, **{"is_staff": True, **flags})
        for permission in permissions:
            app, _dot, codename = permission.partition(".")
            found.user_permissions.add(
                Permission.objects.get(content_type__app_label=app, codename=codename)
            )
    return found


def logged_in(who: User, **options: bool) -> Client:
    client = Client(**options)
    with DisableSynchroLog():
        client.force_login(who)
    return client


@pytest.fixture
def boss() -> Client:
    """A superuser."""
    return logged_in(user(is_superuser=True))


def text_of(response) -> str:
    assert response.status_code == 200, response.status_code
    return response.content.decode()


def words(response) -> str:
    """The page without tags and scripts."""
    return " ".join(re.sub(r"<[^>]*>", " ", text_of(response)).split())


def preview(client: Client, **data: str) -> Preview:
    response = client.post("/synchro/preview/", data)
    assert response.status_code == 302
    return Preview.objects.first()


def entry_of(made: Preview, instance) -> PreviewEntry:
    return made.entries.get(
        label=instance._meta.label_lower, entry__contains=f'"key": "{instance.pk}"'
    )


def held_seat() -> tuple[Seat, HeldChange]:
    """A change that REMOTE refuses, held by a run."""
    occupy(Seat, name="theirs", position=1)
    seat = Seat.objects.create(name="ours", position=1)
    synchronize(flags=SyncFlags.CONTINUE_ON_FAILURE)
    return seat, HeldChange.objects.using(REMOTE).get()


@contextmanager
def writes_nothing() -> Iterator[None]:
    with (
        CaptureQueriesContext(connections[LOCAL]) as here,
        CaptureQueriesContext(connections[REMOTE]) as there,
    ):
        yield
    statements = [query["sql"] for query in (*here.captured_queries, *there.captured_queries)]
    assert statements
    for sql in statements:
        assert not re.match(r"\s*(INSERT|UPDATE|DELETE|REPLACE|MERGE|COPY)\b", sql, re.I), sql


# -- addresses, and who is let in


def test_the_overview_has_the_name_it_had_in_0x():
    assert reverse("synchro:synchro") == URL


@pytest.mark.parametrize("address", ADDRESSES)
def test_nobody_gets_in_without_logging_in(client, address):
    for response in (client.get(address), client.post(address, {"synchro": "1", "reset": "1"})):
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("address", ADDRESSES)
def test_only_staff_get_in(address):
    Note.objects.create(name="a")
    client = logged_in(user(is_staff=False))
    for response in (client.get(address), client.post(address, {"synchro": "1", "reset": "1"})):
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/login/")
    assert not on_remote(Note).exists()
    assert ChangeLog.objects.exists()


def test_the_pages_of_single_things_are_for_staff_only(client):
    _seat, held = held_seat()
    run = SyncRun.objects.first()
    made = Preview.objects.create(remote=REMOTE, user="boss", outcome="done")
    for address in (
        f"/synchro/run/{run.pk}/",
        f"/synchro/run/{run.pk}/state/",
        f"/synchro/held/{held.pk}/",
        f"/synchro/preview/{made.pk}/",
        f"/synchro/preview/{made.pk}/state/",
    ):
        assert client.get(address).status_code == 302
        assert client.post(address).status_code == 302
    assert client.post(f"/synchro/run/{run.pk}/cancel/").status_code == 302


def test_without_further_settings_staff_may_do_everything():
    client = logged_in(user("office"))
    Note.objects.create(name="a")
    for address in ADDRESSES:
        assert client.get(address).status_code == 200, address
    assert client.post(URL, {"synchro": "1"}).status_code == 302
    assert_same(Note)


PERMISSIONS = [
    ("view_syncrun", "get", URL),
    ("view_syncrun", "get", "/admin/synchro/syncrun/"),
    ("view_preview", "get", "/synchro/preview/"),
    ("view_preview", "post", "/synchro/preview/"),
    ("view_changelog", "get", "/admin/synchro/changelog/"),
    ("view_reference", "get", "/admin/synchro/reference/"),
    ("view_heldchange", "get", "/admin/synchro/heldchange/"),
    ("reset", "get", "/synchro/reset/"),
    ("reset", "post", "/synchro/reset/"),
    ("adopt", "get", "/synchro/adopt/"),
    ("adopt", "post", "/synchro/adopt/"),
]


@pytest.mark.parametrize(("permission", "method", "address"), PERMISSIONS)
def test_each_action_can_ask_for_its_permission(settings, permission, method, address):
    settings.SYNCHRO_REQUIRE_PERMISSIONS = True
    Note.objects.create(name="a")
    others = {f"synchro.{name}" for name, _method, _address in PERMISSIONS}
    others |= {"synchro.synchronize", "synchro.resolve"}
    without = logged_in(user("without", *sorted(others - {f"synchro.{permission}"})))
    assert getattr(without, method)(address).status_code == 403
    assert ChangeLog.objects.exists()
    having = logged_in(user("having", f"synchro.{permission}"))
    assert getattr(having, method)(address).status_code in (200, 302)


def test_synchronizing_cancelling_and_resolving_can_ask_for_permissions(settings):
    settings.SYNCHRO_REQUIRE_PERMISSIONS = True
    _seat, held = held_seat()
    Note.objects.create(name="a")
    run = SyncRun.objects.first()
    made = Preview.objects.create(remote=REMOTE, user="looker", outcome="done")
    looker = logged_in(
        user("looker", *(f"synchro.view_{name}" for name in ("syncrun", "heldchange", "preview")))
    )
    assert looker.get(URL).status_code == 200
    assert 'name="synchro"' not in text_of(looker.get(URL))
    assert looker.post(URL, {"synchro": "1"}).status_code == 403
    assert looker.post(f"/synchro/preview/{made.pk}/", {"all": "1"}).status_code == 403
    assert looker.post(f"/synchro/run/{run.pk}/cancel/").status_code == 403
    for button in ("retry", "discard", "confirmed"):
        # Whose model the user may not view, is not even there.
        assert looker.post(f"/synchro/held/{held.pk}/", {button: "1"}).status_code in (403, 404)
    assert not on_remote(Note).exists()
    assert HeldChange.objects.using(REMOTE).exists()


def test_a_missing_permission_is_named(settings):
    settings.SYNCHRO_REQUIRE_PERMISSIONS = True
    client = logged_in(user("looker", "synchro.view_syncrun"))
    for response, name in (
        (client.get("/synchro/reset/"), "synchro.reset"),
        (client.post(URL, {"synchro": "1"}), "synchro.synchronize"),
    ):
        assert response.status_code == 403
        assert f"You need the permission {name} for this." in response.content.decode()


@pytest.mark.by_signals("triggers are missing")
def test_the_overview_warns_of_triggers_that_are_missing(boss, settings):
    assert "synchro_triggers" not in words(boss.get(URL))
    settings.SYNCHRO_CAPTURE = "triggers"
    assert "Run: manage.py synchro_triggers install" in words(boss.get(URL))


def test_a_request_from_elsewhere_is_refused():
    seat, held = held_seat()
    Note.objects.create(name="a")
    client = logged_in(user(is_superuser=True), enforce_csrf_checks=True)
    made = Preview.objects.create(remote=REMOTE, user="boss", outcome="done")
    run = SyncRun.objects.first()
    for address in (
        URL,
        "/synchro/preview/",
        f"/synchro/preview/{made.pk}/",
        f"/synchro/run/{run.pk}/cancel/",
        f"/synchro/held/{held.pk}/",
        "/synchro/reset/",
        "/synchro/adopt/",
        "/admin/synchro/heldchange/",
    ):
        response = client.post(address, {"synchro": "1", "confirmed": "1", "all": "1"})
        assert response.status_code == 403, address
    assert not on_remote(Note).exists()
    assert HeldChange.objects.using(REMOTE).exists()
    assert ChangeLog.objects.exists()


def test_looking_changes_nothing(boss):
    _seat, held = held_seat()
    Note.objects.create(name="a")
    made = preview(boss)
    run = SyncRun.objects.first()
    run.outcome = RUNNING
    run.save()
    for address in (
        *ADDRESSES,
        f"/synchro/run/{run.pk}/",
        f"/synchro/run/{run.pk}/state/",
        f"/synchro/held/{held.pk}/",
        f"/synchro/preview/{made.pk}/",
        f"/synchro/preview/{made.pk}/state/",
    ):
        with writes_nothing():
            query = {"synchro": "1", "reset": "1", "confirmed": "1", "all": "1", "retry": "1"}
            assert boss.get(address, query).status_code in (200, 302)
    with writes_nothing():
        assert boss.get(f"/synchro/run/{run.pk}/cancel/").status_code == 405


def test_the_pages_keep_out_of_the_transactions_of_requests(boss):
    from django.urls import resolve

    for address in (*ADDRESSES, "/synchro/run/1/", "/synchro/held/1/"):
        view = resolve(address).func
        if "heldchange" in address or address.startswith(URL):
            assert view._non_atomic_requests >= {LOCAL, REMOTE}, address


def test_the_admin_leads_to_the_overview(boss):
    page = text_of(boss.get("/admin/"))
    assert "/admin/synchro/overview/" in page
    response = boss.get("/admin/synchro/overview/")
    assert response["Location"] == URL


@pytest.mark.urls("tests.urls_without_pages")
def test_the_admin_says_where_the_pages_have_no_address(boss):
    assert boss.get("/admin/synchro/changelog/").status_code == 200
    response = boss.get("/admin/synchro/overview/", follow=True)
    assert "urlpatterns" in text_of(response)
    SyncRun.objects.create(remote=REMOTE)
    assert boss.get("/admin/synchro/syncrun/").status_code == 200


office = AdminSite(name="office")
register(office)
urlpatterns = [
    path("office/", office.urls),
    path("office-synchro/", include((urls_of(office), "synchro"), namespace="office-synchro")),
    path("admin/", admin.site.urls),
    path("synchro/", include(("synchro.urls", "synchro"), namespace="synchro")),
]


@pytest.mark.urls(__name__)
def test_the_pages_belong_to_any_admin_site():
    class Open(AdminSite):
        def has_permission(self, request):
            return request.user.is_active

    Note.objects.create(name="a")
    client = logged_in(user(is_superuser=True))
    page = text_of(client.get("/office-synchro/"))
    assert 'href="/office/"' in page
    assert "/office/synchro/changelog/" in page
    response = client.post("/office-synchro/preview/")
    assert response["Location"].startswith("/office-synchro/preview/")
    held_seat()
    held = HeldChange.objects.using(REMOTE).get()
    run = SyncRun.objects.first()
    for site, pages in (("office", "office-synchro"), ("admin", "synchro")):
        address = f"/{site}/synchro/heldchange/"
        page = text_of(client.get(address))
        assert f'href="/{pages}/held/{held.pk}/"' in page
        assert f'href="/{pages}/preview/"' in page
        page = text_of(client.get(f"/{site}/synchro/syncrun/"))
        assert f'href="/{pages}/run/{run.pk}/"' in page
        assert client.get(f"/{site}/synchro/overview/")["Location"] == f"/{pages}/"
        data = {"action": "retry", "_selected_action": [str(held.pk)], "index": "0"}
        assert client.post(address, data)["Location"].startswith(f"/{pages}/run/")


# -- overview


def test_the_overview_shows_what_is_pending(boss):
    Note.objects.create(name="a")
    Note.objects.create(name="b")
    Seat.objects.create(name="c", position=3)
    page = words(boss.get(URL))
    assert "remote answers" in page
    assert "Pending changes 3" in page
    assert re.search(r"Notes Office 2", page, re.I)
    assert "Last synchro time never" in page
    assert "There has been none yet" in page


def test_the_overview_shows_what_happened(boss):
    held_seat()
    Note.objects.create(name="a")
    synchronize(user="anna", flags=SyncFlags.CONTINUE_ON_FAILURE)
    response = boss.get(URL)
    page = words(response)
    assert "Held changes 1" in page
    assert "Seats: 1" in page
    assert "anna" in page
    assert "done, but changes are held" in page
    assert "<svg" in text_of(response)
    assert "Nothing is pending" in page


def test_the_overview_works_without_a_remote(boss):
    with override_settings(SYNCHRO_REMOTE=None):
        page = words(boss.get(URL))
        assert "changes are only logged" in page
        response = boss.post(URL, {"synchro": "1"}, follow=True)
    assert "SYNCHRO_REMOTE" in words(response)


def test_the_overview_tells_of_a_wrong_setting(boss):
    Note.objects.create(name="a")
    with override_settings(SYNCHRO_REMOTE="<b>atlantis</b>"):
        for response in (boss.get(URL), boss.post(URL, {"synchro": "1"}, follow=True)):
            assert "<b>atlantis</b>" not in text_of(response)
            assert "atlantis" in text_of(response)


def test_the_overview_tells_of_a_run_that_is_going_on(boss):
    node = own_node(REMOTE)
    SyncRun.objects.create(
        remote=REMOTE, node=node.uid, user="anna", beat=timezone.now(), done=3, total=7
    )
    page = words(boss.get(URL))
    assert "A synchronization by anna has been going on since" in page
    assert "3 / 7" in page
    assert 'name="synchro"' not in text_of(boss.get(URL))
    response = boss.post(URL, {"synchro": "1"}, follow=True)
    assert "going on already" in words(response)
    assert SyncRun.objects.count() == 1


# -- a run


def test_the_button_synchronizes_and_says_so(boss):
    note = Note.objects.create(name="a <b>note</b>")
    response = boss.post(URL, {"synchro": "1"}, follow=True)
    page = words(response)
    assert "Synchronization performed successfully." in page
    assert_same(Note)
    run = SyncRun.objects.get()
    assert (run.user, run.outcome, run.objects_written) == ("boss", "done", 1)
    objects = boss.get(f"/synchro/run/{run.pk}/", {"model": "testapp.note", "action": "create"})
    assert f'href="/admin/testapp/note/{note.pk}/change/"' in text_of(objects)
    assert "a &lt;b&gt;note&lt;/b&gt;" in text_of(objects)
    response = boss.post(URL, {"synchro": "1"}, follow=True)
    assert "No changes since last synchronization." in words(response)


def test_the_result_has_pages(boss):
    for number in range(120):
        Item.objects.create(code=f"i{number:03}")
    boss.post(URL, {"synchro": "1"})
    address = f"/synchro/run/{SyncRun.objects.get().pk}/"
    query = {"model": "testapp.item", "action": "create"}
    first = text_of(boss.get(address, query))
    assert "i000" in first and "i110" not in first
    second = text_of(boss.get(address, {**query, "p": "2"}))
    assert "i110" in second and "i000" not in second
    for odd in ("0", "-1", "x", "99999999999999999999", "²"):
        assert boss.get(address, {**query, "p": odd}).status_code == 200


def test_what_cannot_be_applied_is_held_and_told(boss):
    occupy(Seat, name="theirs", position=1)
    seat = Seat.objects.create(name="ours", position=1)
    Note.objects.create(name="a")
    response = boss.post(URL, {"synchro": "1"}, follow=True)
    assert "Done, but changes are held" in words(response)
    assert f"/admin/testapp/seat/{seat.pk}/change/" in text_of(response)
    assert_same(Note)
    assert HeldChange.objects.using(REMOTE).count() == 1


def test_an_error_goes_through_where_that_is_asked_for(boss):
    occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="ours", position=1)
    with override_settings(SYNCHRO_DEBUG=True), pytest.raises(SynchroError):
        boss.post(URL, {"synchro": "1"})


def test_a_run_that_fails_says_why(boss):
    Node.objects.using(REMOTE).all().delete()
    uid = own_node(LOCAL).uid
    Node.objects.using(REMOTE).create(pk=1, uid=uid)
    Note.objects.create(name="a")
    response = boss.post(URL, {"synchro": "1"}, follow=True)
    assert "copies of one database" in words(response)
    assert SyncRun.objects.get().outcome == "failed"


def test_a_run_whose_process_died_is_shown_as_died(boss):
    node = own_node(REMOTE)
    run = SyncRun.objects.create(remote=REMOTE, node=node.uid, user="anna")
    hour = timezone.timedelta(hours=1)
    SyncRun.objects.update(started=timezone.now() - hour, beat=timezone.now() - hour)
    page = words(boss.get(f"/synchro/run/{run.pk}/"))
    assert "Died" in page
    assert "Nothing was left half done" in page
    assert boss.get(f"/synchro/run/{run.pk}/state/").json()["going_on"] is False
    assert "died" in words(boss.get("/admin/synchro/syncrun/"))
    Note.objects.create(name="a")
    boss.post(URL, {"synchro": "1"})
    run.refresh_from_db()
    assert run.outcome == DIED
    assert_same(Note)


def test_what_is_not_there_is_not_found(boss):
    for address in ("/synchro/run/99/", "/synchro/preview/99/", "/synchro/held/99/"):
        assert boss.get(address).status_code == 404
        assert boss.get(address + "state/").status_code == 404


def test_the_result_of_a_run_keeps_to_itself_what_the_user_may_not_view():
    Country.objects.create(code="pl", name="Poland")
    Note.objects.create(name="a")
    client = logged_in(user("office", "testapp.view_note"))
    client.post(URL, {"synchro": "1"})
    run = SyncRun.objects.get()
    query = {"model": "testapp.country", "action": "create"}
    assert 'id="objects"' not in text_of(client.get(f"/synchro/run/{run.pk}/", query))
    query["model"] = "testapp.note"
    assert 'id="objects"' in text_of(client.get(f"/synchro/run/{run.pk}/", query))


# -- preview


def test_a_preview_shows_old_and_new_values_and_links(boss):
    note = Note.objects.create(name="before", number=7)
    paper = Paper.objects.create(title="p")
    label = Label.objects.create(name="l")
    gone = Note.objects.create(name="to be gone")
    synchronize()
    note.name = "after"
    note.save()
    paper.labels.add(label)
    gone.delete()
    added = Seat.objects.create(name="new seat", position=5)
    made = preview(boss)
    page = words(boss.get(f"/synchro/preview/{made.pk}/"))
    assert f"after ({note.pk}) to be changed Name before → after" in page
    assert re.search(r"Labels \+ \d+", page)  # the key there
    assert "to be gone" in page and "to be deleted" in page
    assert f"{added.pk} to be created" in page
    assert "Number 7" not in page
    assert not on_remote(Seat).exists()
    assert on_remote(Note).filter(name="before").exists()


def test_a_preview_names_what_foreign_keys_lead_to(boss):
    occupy(Author, name="nobody")
    author = Author.objects.create(name="a")
    Book.objects.create(title="b", author=author)
    country = Country.objects.create(code="pl", name="Poland")
    made = preview(boss)
    page = words(boss.get(f"/synchro/preview/{made.pk}/"))
    assert f"Author +{author.pk}" in page
    assert f"pl ({country.pk}) to be created" in page


def test_all_of_a_preview_can_be_synchronized(boss):
    Note.objects.create(name="a")
    Seat.objects.create(name="b", position=1)
    made = preview(boss)
    response = boss.post(f"/synchro/preview/{made.pk}/", {"all": "1"}, follow=True)
    assert "performed successfully" in words(response)
    assert_same(Note)
    assert_same(Seat)


def test_only_what_is_ticked_is_synchronized(boss):
    first, second = Note.objects.create(name="a"), Note.objects.create(name="b")
    Seat.objects.create(name="c", position=1)
    made = preview(boss)
    address = f"/synchro/preview/{made.pk}/"
    pk = entry_of(made, first).pk
    other = entry_of(made, second).pk
    data = {"on_page": [pk, other], "ticked": [pk], "chosen": "1"}
    response = boss.post(address, data, follow=True)
    assert "2 changes were left out on purpose" in words(response)
    assert [note.name for note in on_remote(Note)] == ["a"]
    assert not on_remote(Seat).exists()
    synchronize()
    assert_same(Note)
    assert_same(Seat)


def test_nothing_ticked_does_nothing(boss):
    Note.objects.create(name="a")
    made = preview(boss)
    response = boss.post(f"/synchro/preview/{made.pk}/", {"chosen": "1"}, follow=True)
    assert "Nothing is ticked" in words(response)
    assert not on_remote(Note).exists()


def test_models_can_be_ticked_whole(boss):
    Note.objects.create(name="a")
    Seat.objects.create(name="b", position=1)
    made = preview(boss)
    address = f"/synchro/preview/{made.pk}/"
    response = boss.post(address, {"choose": "*"})
    assert response["Location"] == f"{address}#synchro-objects"
    assert made.entries.filter(chosen=True).count() == 2
    response = boss.post(address, {"clear": "testapp.seat"})
    # The next press of the tab key goes on from where the button was.
    assert response["Location"] == f"{address}#model-testapp.seat"
    assert 'id="model-testapp.seat"' in text_of(boss.get(address))
    assert [one.label for one in made.entries.filter(chosen=True)] == ["testapp.note"]
    boss.post(address, {"chosen": "1"})
    assert_same(Note)
    assert not on_remote(Seat).exists()


def test_ticks_are_kept_from_page_to_page(boss):
    for number in range(60):
        Note.objects.create(name=f"n{number}")
    made = preview(boss)
    address = f"/synchro/preview/{made.pk}/"
    assert text_of(boss.get(address)).count('name="ticked"') == 50
    pks = list(made.entries.values_list("pk", flat=True))
    data = {"on_page": pks[:50], "ticked": pks[:2], "to": "p=2"}
    response = boss.post(address, data)
    assert response["Location"] == f"{address}?p=2#synchro-objects"
    page = text_of(boss.get(response["Location"]))
    assert page.count('name="ticked"') == 10
    assert made.entries.filter(chosen=True).count() == 2
    data = {"on_page": pks[50:], "ticked": pks[55:56], "to": "p=1"}
    boss.post(address, data)
    assert made.entries.filter(chosen=True).count() == 3
    assert text_of(boss.get(address)).count(" checked") == 2
    boss.post(address, {"on_page": pks[:50], "to": ""})
    assert made.entries.filter(chosen=True).count() == 1


def test_a_preview_can_be_filtered_and_searched(boss):
    old = Country.objects.create(code="old", name="o")
    synchronize()
    old.name = "changed"
    old.save()
    Country.objects.create(code="new", name="n")
    Note.objects.create(name="needle")
    made = preview(boss)
    address = f"/synchro/preview/{made.pk}/"

    def shown(**query):
        return text_of(boss.get(address, query)).count('name="on_page"')

    assert shown() == 3
    assert shown(model="testapp.country") == 2
    assert shown(model="testapp.country", action="update") == 1
    assert shown(action="create") == 2
    assert shown(action="delete") == 0
    assert shown(q="new") == 1
    assert shown(q=str(old.pk), model="testapp.country") == 1
    assert shown(chosen="1") == 0
    boss.post(address, {"choose": "shown", "here": "action=update"})
    assert shown(chosen="1") == 1
    response = boss.post(address, {"search": "1", "q": "n&ew", "here": "action=create&p=3&x=1"})
    assert response["Location"] == f"{address}?action=create&q=n%26ew#synchro-objects"


def test_a_preview_is_out_of_date_after_a_run(boss):
    Note.objects.create(name="a")
    made = preview(boss)
    synchronize()
    Note.objects.create(name="b")
    page = boss.get(f"/synchro/preview/{made.pk}/")
    assert "out of date" in words(page)
    assert 'name="all"' not in text_of(page)
    response = boss.post(f"/synchro/preview/{made.pk}/", {"all": "1"}, follow=True)
    assert "out of date" in words(response)
    assert on_remote(Note).count() == 1


def test_what_changed_since_the_preview_is_left_out_and_told(boss):
    first, second = Note.objects.create(name="a"), Note.objects.create(name="b")
    made = preview(boss)
    address = f"/synchro/preview/{made.pk}/"
    assert "further changes here" not in words(boss.get(address))
    first.name = "edited"
    first.save()
    assert "further changes here" in words(boss.get(address))
    response = boss.post(address, {"all": "1"}, follow=True)
    assert "has changed since the plan was made" in words(response)
    assert [note.name for note in on_remote(Note)] == [second.name]


def test_a_preview_of_nothing_says_so(boss):
    made = preview(boss)
    page = words(boss.get(f"/synchro/preview/{made.pk}/"))
    assert "Nothing to do." in page
    assert boss.get("/synchro/preview/")["Location"] == f"/synchro/preview/{made.pk}/"


def test_a_preview_can_compare_all_rows(boss, settings):
    settings.SYNCHRO_MODELS = (("testapp", "Note", "Seat"),)
    with DisableSynchroLog():
        Note.objects.create(name="never logged")
    made = preview(boss, full="1")
    assert made.full
    boss.post(f"/synchro/preview/{made.pk}/", {"all": "1"})
    assert_same(Note)


def test_a_preview_that_fails_says_why(boss):
    Node.objects.using(REMOTE).all().delete()
    Node.objects.using(REMOTE).create(pk=1, uid=own_node(LOCAL).uid)
    Note.objects.create(name="a")
    made = preview(boss)
    assert made.outcome == "failed"
    assert "copies of one database" in words(boss.get(f"/synchro/preview/{made.pk}/"))


def test_a_preview_belongs_to_who_made_it(boss):
    Note.objects.create(name="a")
    made = preview(boss)
    other = logged_in(user("other", is_superuser=True))
    assert other.get(f"/synchro/preview/{made.pk}/").status_code == 404
    assert other.post(f"/synchro/preview/{made.pk}/", {"all": "1"}).status_code == 404
    assert not on_remote(Note).exists()


def test_old_previews_are_forgotten(boss):
    Note.objects.create(name="a")
    for _number in range(4):
        preview(boss)
    assert Preview.objects.count() == 3
    assert PreviewEntry.objects.count() == 3


def test_a_preview_keeps_to_itself_what_the_user_may_not_view():
    country = Country.objects.create(code="pl", name="Poland", population=38_000_001)
    Note.objects.create(name="not to be seen")
    Item.objects.create(code="secret", name="unregistered")
    client = logged_in(user("office", "testapp.view_country"))
    made = preview(client)
    address = f"/synchro/preview/{made.pk}/"
    page = text_of(client.get(address))
    assert "Poland" in page
    assert "38000001" not in page and "38,000,001" not in page
    assert "1 field that you may not view" in page
    assert "not to be seen" not in page
    assert "secret" not in page
    assert page.count('name="on_page"') == 1
    for text in ("not to be seen", "secret", "38000001"):
        assert 'name="on_page"' not in text_of(client.get(address, {"q": text}))
    client.post(address, {"choose": "testapp.note"})
    client.post(address, {"chosen": "1"})
    assert_same(Note)
    assert not on_remote(Country).filter(code=country.code).exists()


def test_passwords_are_not_shown(boss):
    User.objects.create(username="new", password="pbkdf2$hash")
    made = preview(boss)
    page = text_of(boss.get(f"/synchro/preview/{made.pk}/", {"model": "auth.user"}))
    assert "pbkdf2" not in page
    assert ">new (" in page or "new" in page


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "\"'><img src=x onerror=y>", "{{ 7|add:7 }}", "%(x)s %s", "…\n"],
)
def test_names_and_values_are_escaped(boss, name):
    note = Note.objects.create(name=name)
    Item.objects.create(code=name[:50].strip() or "x", name=name)
    occupy(Seat, name=name, position=1)
    Seat.objects.create(name=name, position=1)
    made = preview(boss)
    pages = [boss.get(f"/synchro/preview/{made.pk}/")]
    pages.append(boss.post(URL, {"synchro": "1"}, follow=True))
    run = SyncRun.objects.first()
    query = {"model": "testapp.note", "action": "create"}
    pages.append(boss.get(f"/synchro/run/{run.pk}/", query))
    held = HeldChange.objects.using(REMOTE).get()
    pages.append(boss.get(f"/synchro/held/{held.pk}/"))
    pages.append(boss.get("/admin/synchro/changelog/"))
    for page in pages:
        for raw in ("<script>alert(1)", "<img src=x"):
            assert raw not in text_of(page)
    assert note.pk


# -- held changes


def test_held_changes_are_listed_with_their_reasons(boss):
    seat, held = held_seat()
    page = boss.get("/admin/synchro/heldchange/")
    assert "Seats" in words(page) and "refused" in words(page)
    assert f'href="/synchro/held/{held.pk}/"' in text_of(page)
    assert str(seat.pk) in words(page)


def test_a_held_change_shows_the_object_on_both_sides(boss):
    country = Country.objects.create(code="pl", name="Poland")
    synchronize()
    occupy(Country, code="xx", name="taken")
    country.code, country.name = "xx", "Polska"
    country.save()
    on_remote(Country).filter(code="pl").update(name="Polen")
    synchronize(flags=SyncFlags.CONTINUE_ON_FAILURE)
    held = HeldChange.objects.using(REMOTE).get()
    page = words(boss.get(f"/synchro/held/{held.pk}/"))
    assert re.search(r"Name ?\( ?different ?\) Polska Polen", page), page
    assert "refused" in page


def test_a_held_change_can_be_tried_again(boss):
    seat, held = held_seat()
    on_remote(Seat).filter(position=1).update(position=2)
    other = Note.objects.create(name="not asked for")
    response = boss.post(f"/synchro/held/{held.pk}/", {"retry": "1"}, follow=True)
    assert "performed successfully" in words(response)
    assert on_remote(Seat).filter(name="ours", position=1).exists()
    assert not on_remote(Note).filter(name=other.name).exists()
    assert not HeldChange.objects.using(REMOTE).exclude(reason="excluded").exists()
    synchronize()
    assert_same(Note)
    assert seat.pk


def test_trying_one_held_change_keeps_the_reasons_of_others(boss):
    occupy(Seat, name="x", position=2)
    occupy(Seat, name="y", position=3)
    _seat, held = held_seat()
    other = Seat.objects.create(name="other", position=2)
    synchronize(flags=SyncFlags.CONTINUE_ON_FAILURE)
    boss.post(f"/synchro/held/{held.pk}/", {"retry": "1"})
    again = HeldChange.objects.using(REMOTE).get(object_id=str(other.pk))
    assert again.reason == "refused"
    assert again.attempts == 1
    first = HeldChange.objects.using(REMOTE).exclude(pk=again.pk).get()
    assert (first.reason, first.attempts) == ("refused", 3)


def test_discarding_asks_first(boss):
    _seat, held = held_seat()
    page = boss.post(f"/synchro/held/{held.pk}/", {"discard": "1"})
    assert "will never be applied" in words(page)
    assert HeldChange.objects.using(REMOTE).exists()
    page = boss.post(f"/synchro/held/{held.pk}/", {"confirmed": "1"}, follow=True)
    assert "1 held change discarded." in words(page)
    assert not HeldChange.objects.using(REMOTE).exists()
    note = LogEntry.objects.filter(content_type__model="heldchange").get()
    assert note.user.username == "boss"
    assert "discarded" in note.change_message
    assert not synchronize().changed
    assert on_remote(Seat).count() == 1


def test_several_held_changes_can_be_discarded_at_once(boss):
    _seat, held = held_seat()
    address = "/admin/synchro/heldchange/"
    chosen = {"_selected_action": [str(held.pk)], "index": "0"}
    page = boss.post(address, {"action": "discard", **chosen})
    assert "will never be applied" in words(page)
    data = {"action": "discard", "discard": "1", "confirmed": "1"}
    page = boss.post(address, {**data, "_selected_action": [str(held.pk)]}, follow=True)
    assert "1 held change discarded." in words(page)
    assert not HeldChange.objects.using(REMOTE).exists()


def test_thousands_are_not_discarded_at_once(boss):
    HeldChange.objects.using(REMOTE).bulk_create(
        HeldChange(
            node=own_node(LOCAL).uid,
            label="testapp.seat",
            object_id=str(number),
            action=1,
            made=timezone.now(),
            batch=1,
            reason="refused",
            detail="refused",
        )
        for number in range(501)
    )
    own_node(REMOTE)
    data = {"action": "discard", "_selected_action": ["1"], "select_across": "1", "index": "0"}
    page = boss.post("/admin/synchro/heldchange/", data, follow=True)
    assert "no more than 500 changes" in words(page)
    assert HeldChange.objects.using(REMOTE).count() == 501


def test_several_held_changes_can_be_tried_again_at_once(boss):
    _seat, held = held_seat()
    on_remote(Seat).filter(position=1).update(position=2)
    data = {"action": "retry", "_selected_action": [str(held.pk)], "index": "0"}
    page = boss.post("/admin/synchro/heldchange/", data, follow=True)
    assert "performed successfully" in words(page)
    assert on_remote(Seat).filter(name="ours").exists()


def test_held_changes_can_ask_for_permission_to_be_resolved(settings):
    settings.SYNCHRO_REQUIRE_PERMISSIONS = True
    _seat, held = held_seat()
    looker = logged_in(user("looker", "synchro.view_heldchange", "testapp.view_seat"))
    page = looker.get(f"/synchro/held/{held.pk}/")
    assert 'name="retry"' not in text_of(page)
    assert looker.post(f"/synchro/held/{held.pk}/", {"confirmed": "1"}).status_code == 403
    data = {"action": "discard", "confirmed": "1", "_selected_action": [str(held.pk)]}
    looker.post("/admin/synchro/heldchange/", data)
    assert HeldChange.objects.using(REMOTE).exists()


def test_held_changes_of_models_that_one_may_not_view_are_not_shown():
    _seat, held = held_seat()
    client = logged_in(user("office"))
    assert client.get(f"/synchro/held/{held.pk}/").status_code == 404
    row = "field-held_link"
    assert row not in text_of(client.get("/admin/synchro/heldchange/"))
    boss = logged_in(user(is_superuser=True))
    assert row in text_of(boss.get("/admin/synchro/heldchange/"))


# -- change log, references, history


def test_the_change_log_can_be_searched_and_filtered(boss):
    note = Note.objects.create(name="a")
    Seat.objects.create(name="s", position=4)
    note.name = "b"
    note.save()
    note.delete()
    address = "/admin/synchro/changelog/"

    def shown(**query):
        page = text_of(boss.get(address, query))
        return page.count('class="field-made_at')

    everything = shown()
    assert everything == ChangeLog.objects.count()
    assert shown(model="testapp.note") == 3
    assert shown(model="testapp.note", action__exact="3") == 1
    key = ChangeLog.objects.filter(label="testapp.seat").get().object_id
    assert shown(q=key, model="testapp.seat") == 1
    assert shown(q="no such key") == 0
    assert shown(batch="none") == everything
    synchronize()
    assert shown(batch="none") == 0
    batch = ChangeLog.objects.first().batch
    assert shown(batch=str(batch)) == everything
    assert shown(batch="<b>") == everything


def test_lists_do_not_count_whole_tables(boss):
    for number in range(3):
        Note.objects.create(name=str(number))
    synchronize()
    for name in ("changelog", "reference"):
        with CaptureQueriesContext(connections[LOCAL]) as queries:
            text_of(boss.get(f"/admin/synchro/{name}/"))
        table = f"synchro_{name}"
        counts = [
            query["sql"]
            for query in queries.captured_queries
            if "COUNT(" in query["sql"].upper() and table in query["sql"]
        ]
        assert not counts
        with CaptureQueriesContext(connections[LOCAL]) as queries:
            text_of(boss.get(f"/admin/synchro/{name}/", {"model": "testapp.note"}))
        for query in queries.captured_queries:
            if "COUNT(" in query["sql"].upper() and table in query["sql"]:
                assert "LIMIT 10000" in query["sql"]


def test_references_that_are_kept_here_are_listed_too(boss):
    note = Note.objects.using(REMOTE).create(name="from there")
    with DisableSynchroLog():
        Note.objects.create(name="shifts the keys")
    synchronize_back()
    assert 'class="field-object_key"' not in text_of(boss.get("/admin/synchro/reference/"))
    page = words(boss.get("/admin/synchro/reference/", {"kept": "here"}))
    found = Reference.objects.get(remote_object_id=str(note.pk))
    assert f"Notes {found.local_object_id} {note.pk}" in page


def test_references_can_be_searched_from_either_side(boss):
    occupy(Note, name="shifts the keys")
    note = Note.objects.create(name="a")
    synchronize()
    reference = Reference.objects.using(REMOTE).get(label="testapp.note")
    for key in (reference.local_object_id, reference.remote_object_id):
        page = text_of(boss.get("/admin/synchro/reference/", {"q": key}))
        assert f"/admin/testapp/note/{note.pk}/change/" in page


def test_nothing_of_synchro_can_be_edited_in_the_admin(boss):
    held_seat()
    for name, row in (
        ("changelog", ChangeLog.objects.first()),
        ("reference", Reference.objects.first()),
        ("syncrun", SyncRun.objects.first()),
    ):
        assert boss.get(f"/admin/synchro/{name}/add/").status_code == 403
        if row is not None:
            assert boss.get(f"/admin/synchro/{name}/{row.pk}/delete/").status_code == 403
            assert boss.post(f"/admin/synchro/{name}/{row.pk}/change/").status_code in (302, 403)
    run = SyncRun.objects.first()
    response = boss.get(f"/admin/synchro/syncrun/{run.pk}/change/")
    assert response["Location"] == f"/synchro/run/{run.pk}/"


def test_the_history_can_be_filtered(boss):
    Note.objects.create(name="a")
    synchronize(user="anna")
    held_seat()
    address = "/admin/synchro/syncrun/"
    assert text_of(boss.get(address)).count('class="field-run_link"') == 2
    assert text_of(boss.get(address, {"user": "anna"})).count('class="field-run_link"') == 1
    page = boss.get(address, {"outcome__exact": "held"})
    assert text_of(page).count('class="field-run_link"') == 1


# -- reset and adopt


def test_reset_says_in_numbers_what_would_be_forgotten(boss):
    held_seat()
    Note.objects.create(name="a")
    Note.objects.create(name="b")
    page = words(boss.get("/synchro/reset/"))
    assert "Pending changes: Notes 2" in page
    assert "Held changes 1" in page
    assert f"Rows of the change log {ChangeLog.objects.count()}" in page


def test_reset_forgets_what_is_pending(boss):
    Note.objects.create(name="a")
    response = boss.post("/synchro/reset/", {"reset": "1"}, follow=True)
    assert "Synchronization has been reset." in words(response)
    assert not ChangeLog.objects.exists()
    assert not synchronize().changed
    assert "reset" in LogEntry.objects.get().change_message


def test_the_reset_of_0x_leads_to_the_page_that_asks(boss):
    Note.objects.create(name="a")
    response = boss.post(URL, {"reset": "1"})
    assert response["Location"] == "/synchro/reset/"
    assert ChangeLog.objects.exists()


def test_reset_is_refused_where_it_is_not_allowed(boss, settings):
    settings.SYNCHRO_ALLOW_RESET = False
    Note.objects.create(name="a")
    assert "/synchro/reset/" not in text_of(boss.get(URL))
    for response in (
        boss.get("/synchro/reset/", follow=True),
        boss.post("/synchro/reset/", {"reset": "1"}, follow=True),
    ):
        assert "SYNCHRO_ALLOW_RESET" in words(response)
    assert ChangeLog.objects.exists()


def test_a_database_that_is_no_copy_is_not_adopted(boss):
    own_node(LOCAL), own_node(REMOTE)
    page = boss.get("/synchro/adopt/")
    assert "There is nothing to adopt" in words(page)
    response = boss.post("/synchro/adopt/", {"adopt": "1"}, follow=True)
    assert "is not a copy" in words(response)


def test_a_copy_is_adopted(boss):
    uid = own_node(REMOTE).uid
    with DisableSynchroLog():
        Note.objects.create(name="in both")
        Note.objects.using(REMOTE).create(name="in both")
    Node.objects.update_or_create(pk=1, defaults={"uid": uid})
    page = words(boss.get("/synchro/adopt/"))
    assert "Notes 1" in page
    response = boss.post("/synchro/adopt/", {"since_0": "", "since_1": "", "adopt": "1"})
    page = words(boss.get(response["Location"]))
    assert "The copy is adopted" in page
    assert own_node(LOCAL).uid != uid
    Note.objects.create(name="new")
    synchronize()
    assert_same(Note)


def test_the_time_of_an_export_must_be_one(boss):
    uid = own_node(REMOTE).uid
    Node.objects.update_or_create(pk=1, defaults={"uid": uid})
    response = boss.post("/synchro/adopt/", {"since_0": "yesterday", "since_1": "noon"})
    assert response.status_code == 200
    assert own_node(LOCAL).uid == uid


# -- who did what, languages, checks


def test_every_action_is_in_the_log_of_the_admin(boss):
    Note.objects.create(name="a")
    made = preview(boss)
    boss.post(f"/synchro/preview/{made.pk}/", {"all": "1"})
    boss.post(URL, {"synchro": "1"})
    boss.post("/synchro/reset/", {"reset": "1"})
    told = [entry.change_message for entry in LogEntry.objects.order_by("pk")]
    assert len(told) == 4
    assert told[1] == "Synchronization of 1 object of a preview started."
    assert {entry.user.username for entry in LogEntry.objects.all()} == {"boss"}


@pytest.mark.parametrize("language", ["pl", "de", "es", "fr"])
def test_the_pages_speak_the_language_of_their_reader(boss, language):
    held_seat()
    Note.objects.create(name="a")
    held = HeldChange.objects.using(REMOTE).get()
    made = preview(boss)
    for address in (
        *ADDRESSES,
        f"/synchro/preview/{made.pk}/",
        f"/synchro/held/{held.pk}/",
        f"/synchro/run/{SyncRun.objects.first().pk}/",
    ):
        english = boss.get(address, headers={"accept-language": "en"}, follow=True)
        other = boss.get(address, headers={"accept-language": language}, follow=True)
        assert words(other) != words(english)
        assert f'lang="{language}"' in text_of(other)
        heading = re.search(r"<h1>(.*?)</h1>", text_of(other))
        assert heading is not None


def test_times_are_in_the_time_zone_of_the_project(boss):
    run = SyncRun.objects.create(remote=REMOTE, outcome="done", user="anna")
    noon = timezone.datetime(2026, 7, 1, 12, 0, tzinfo=timezone.get_fixed_timezone(0))
    SyncRun.objects.update(started=noon, ended=noon)
    assert "July 1, 2026, 2 p.m." in words(boss.get(f"/synchro/run/{run.pk}/"))


@pytest.mark.once
def test_a_check_asks_for_permissions_on_deployment(settings, capsys):
    call_command("check", "--deploy", "--tag", "security")
    assert "synchro.W006" in capsys.readouterr().err
    call_command("check")
    assert "synchro.W006" not in capsys.readouterr().err
    settings.SYNCHRO_REQUIRE_PERMISSIONS = True
    call_command("check", "--deploy", "--tag", "security")
    assert "synchro.W006" not in capsys.readouterr().err
