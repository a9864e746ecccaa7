"""What an office manager does, from the first look to the result."""

from __future__ import annotations

import re

import pytest
from django.db.models.signals import pre_save
from django.utils import timezone

from synchro import SyncFlags, synchronize
from synchro.models import CANCELLED, DONE, HeldChange, Preview, SyncRun
from synchro.nodes import own_node
from tests.browser.axe import assert_nothing_serious
from tests.browser.looks import PHONE, SCHEMES, SIZES, assert_fits
from tests.compare import assert_same
from tests.runs import REMOTE, occupy, on_remote
from tests.test_background import held_up, only_run, wait_for
from tests.testapp.models import Country, Label, Note, Paper, Seat

URL = "/synchro/"
LISTS = [f"/admin/synchro/{name}/" for name in ("syncrun", "heldchange", "changelog", "reference")]
OVER = "Back to the overview"


@pytest.fixture
def shop() -> dict[str, object]:
    """Two databases that were synchronized, and what was changed since."""
    poland = Country.objects.create(code="pl", name="Poland")
    for code, name in (("de", "Germany"), ("es", "Spain"), ("fr", "France")):
        Country.objects.create(code=code, name=name)
    gone = Note.objects.create(name="Ask Anna", number=1)
    paper = Paper.objects.create(title="Prices")
    label = Label.objects.create(name="draft")
    synchronize(user="nightly")
    for name in ("Call the bakery", "Order paper", "Send the offer"):
        Note.objects.create(name=name)
    synchronize(user="anna")
    poland.name = "Polska"
    poland.save()
    paper.labels.add(label)
    gone.delete()
    first = Note.objects.create(name="Buy stamps", number=3)
    second = Note.objects.create(name="Water the plants", number=4)
    return {"first": first, "second": second}


@pytest.fixture
def held() -> HeldChange:
    """A change that REMOTE refuses."""
    occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="ours", position=1)
    synchronize(flags=SyncFlags.CONTINUE_ON_FAILURE, user="anna")
    return HeldChange.objects.using(REMOTE).get()


def make_preview(page) -> None:
    page.goto(URL)
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("heading", name="Objects", exact=True).wait_for()


def result_of(page) -> str:
    page.get_by_role("link", name=OVER).wait_for()
    return page.locator("#content-main").inner_text()


# -- preview, choose, run, result


@pytest.mark.parametrize("javascript", [True, False])
def test_a_preview_is_made_parts_are_ticked_and_synchronized(open_page, staff, shop, javascript):
    page = open_page(staff, javascript=javascript)
    make_preview(page)
    row = page.get_by_role("row", name=re.compile("Polska|pl \\("))
    assert "Poland" in row.inner_text() and "Polska" in row.inner_text()
    page.get_by_label("Buy stamps").check()
    if javascript:
        button = page.get_by_role("button", name="Synchronize what is ticked (1)")
    else:
        button = page.get_by_role("button", name="Synchronize what is ticked")
    button.click()
    assert "1 created" in result_of(page)
    assert "4 changes were left out on purpose" in result_of(page)
    assert sorted(on_remote(Note).values_list("name", flat=True))[1] == "Buy stamps"
    assert not on_remote(Note).filter(name="Water the plants").exists()
    page.get_by_role("link", name="1 created").click()
    page.get_by_role("link", name="Buy stamps").click()
    assert page.get_by_label("Name:").input_value() == "Buy stamps"


def test_a_whole_model_is_ticked_and_the_rest_follows_later(page, shop):
    make_preview(page)
    page.get_by_role("button", name="Tick all: Notes").click()
    page.get_by_role("button", name="Synchronize what is ticked (3)").wait_for()
    page.get_by_label("Water the plants").uncheck()
    page.get_by_role("button", name="Synchronize what is ticked (2)").click()
    assert "1 created" in result_of(page) and "1 deleted" in result_of(page)
    make_preview(page)
    page.get_by_role("button", name="Synchronize all (3)").click()
    result_of(page)
    for model in (Note, Country, Paper):
        assert_same(model)


def test_ticks_last_while_one_leafs_and_filters(page):
    for number in range(60):
        Note.objects.create(name=f"note {number:02}")
    make_preview(page)
    page.get_by_label("note 03").check()
    page.get_by_role("button", name="Next page").click()
    page.get_by_label("note 55").check()
    page.get_by_label("Key or natural key").fill("no such note")
    page.keyboard.press("Enter")
    page.get_by_text("Nothing matches.").wait_for()
    page.get_by_role("button", name="ticked", exact=True).click()
    page.get_by_label("Key or natural key").fill("")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?chosen=1#synchro-objects")
    page.locator("input[name=ticked]:checked").nth(1).wait_for()
    assert page.locator("input[name=ticked]:checked").count() == 2
    page.get_by_role("button", name="Synchronize what is ticked (2)").click()
    result_of(page)
    assert on_remote(Note).count() == 2


def test_the_keyboard_goes_on_where_a_button_was(page):
    for number in range(3):
        Note.objects.create(name=f"note {number}")
    make_preview(page)
    page.get_by_role("button", name="Tick all: Notes").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Untick all: Notes").wait_for()
    page.keyboard.press("Tab")  # the name of the model
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused == "Untick all: Notes"


def test_a_preview_that_is_out_of_date_says_so(page, shop):
    make_preview(page)
    synchronize()
    page.get_by_role("button", name=re.compile("Synchronize all")).click()
    page.locator("#container").filter(has_text="out of date").wait_for()
    assert SyncRun.objects.filter(user="admin").count() == 0


# -- watching, cancelling, dying


@pytest.mark.parametrize("javascript", [True, False])
def test_a_run_is_watched_and_cancelled(open_page, staff, settings, javascript):
    settings.SYNCHRO_BATCH_SIZE = 1
    for name in "abc":
        Note.objects.create(name=name)
    page = open_page(staff, javascript=javascript)
    page.goto(URL)
    with held_up(pre_save, sender=Note, last="c") as go_on:
        page.get_by_role("button", name="Synchronize").click()
        # By its script, or by loading itself anew.
        page.get_by_text("2 / 3").wait_for()
        page.get_by_role("progressbar").wait_for()
        page.get_by_text("Writing: Notes").wait_for()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_text("Being cancelled").wait_for()
        assert only_run().cancelled_by == "admin"
        for _beat in range(2):
            before = only_run().beat
            wait_for(lambda before=before: only_run().beat != before)
        go_on.set()
        text = result_of(page)
    assert "Cancelled by admin." in text
    assert only_run().outcome == CANCELLED
    assert not on_remote(Note).exists()
    assert synchronize().total == 3


def test_another_browser_sees_the_same(open_page, staff):
    Note.objects.create(name="a")
    page, other = open_page(staff), open_page(staff)
    with held_up() as go_on:
        page.goto(URL)
        page.get_by_role("button", name="Synchronize").click()
        page.get_by_role("progressbar").wait_for()
        other.goto(URL)
        other.get_by_role("link", name="Watch it").click()
        other.get_by_role("progressbar").wait_for()
        page.reload()
        page.get_by_role("progressbar").wait_for()
        go_on.set()
        for one in (page, other):
            assert "performed successfully" in result_of(one)


def test_a_run_whose_server_died_is_shown_and_the_next_one_repairs(page):
    node = own_node(REMOTE)
    Note.objects.create(name="a")
    old = timezone.now() - timezone.timedelta(hours=1)
    run = SyncRun.objects.create(remote=REMOTE, node=node.uid, user="anna", started=old, beat=old)
    page.goto(f"{URL}run/{run.pk}/")
    page.locator("#content-main").filter(has_text="Died").wait_for()
    page.get_by_role("link", name=OVER).click()
    page.get_by_role("button", name="Synchronize").click()
    assert "performed successfully" in result_of(page)
    page.get_by_role("link", name="Synchronizations").first.click()
    page.locator("#result_list").filter(has_text="died").wait_for()
    assert_same(Note)


# -- held changes, reset


@pytest.mark.parametrize("javascript", [True, False])
def test_a_held_change_is_looked_at_and_tried_again(open_page, staff, held, javascript):
    page = open_page(staff, javascript=javascript)
    page.goto(URL)
    page.get_by_role("link", name="See why").click()
    page.locator("#result_list a").first.click()
    page.locator("#content-main").filter(has_text="refused testapp.Seat").wait_for()
    on_remote(Seat).update(position=2)
    page.get_by_role("button", name="Retry").click()
    assert "1 created" in result_of(page)
    assert on_remote(Seat).filter(name="ours").exists()


def test_a_held_change_is_discarded(page, held):
    page.goto(f"{URL}held/{held.pk}/")
    page.get_by_role("button", name="Discard…").click()
    page.get_by_text("will never be applied").wait_for()
    page.get_by_role("link", name="No, take me back").click()
    assert HeldChange.objects.using(REMOTE).exists()
    page.goto(f"{URL}held/{held.pk}/")
    page.get_by_role("button", name="Discard…").click()
    page.get_by_role("button", name="Discard the change").click()
    page.get_by_text("1 held change discarded.").wait_for()
    assert not HeldChange.objects.using(REMOTE).exists()


def test_reset_says_what_would_be_forgotten(page, shop):
    page.goto(URL)
    page.get_by_role("link", name="Reset synchronization").click()
    page.locator("#content-main").filter(has_text="Pending changes: Notes").wait_for()
    assert "Pending changes: Notes\t3" in page.locator("#content-main").inner_text()
    page.get_by_role("link", name="No, take me back").click()
    page.get_by_role("link", name="Reset synchronization").click()
    page.get_by_role("button", name="Reset synchronization").click()
    page.get_by_text("Nothing is pending.").wait_for()
    assert not synchronize().changed


# -- by keyboard alone


def press_tab_until(page, name: str) -> None:
    """Go from element to element until the one with that name has the focus."""
    for _step in range(120):
        page.keyboard.press("Tab")
        found = page.evaluate(
            "() => { const e = document.activeElement; return [e.getAttribute('aria-label'), "
            "e.value, e.textContent].map(text => (text || '').trim()) }"
        )
        if any(text.startswith(name) for text in found):
            seen = page.evaluate(
                "() => { const e = document.activeElement, s = getComputedStyle(e), "
                "b = e.getBoundingClientRect(); return b.width > 0 && b.right > 0 && "
                "(s.outlineStyle !== 'none' || s.boxShadow !== 'none') }"
            )
            assert seen, f"{name} has the focus, but nobody sees that"
            return
    raise AssertionError(f"Tab does not lead to {name!r}")


def test_everything_is_done_by_keyboard(page, shop):
    page.goto(URL)
    press_tab_until(page, "Preview")
    page.goto(URL)
    press_tab_until(page, "Synchronize")
    page.goto("/synchro/preview/")
    press_tab_until(page, "Make a preview")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Objects", exact=True).wait_for()
    press_tab_until(page, "Buy stamps")
    page.keyboard.press("Space")
    press_tab_until(page, "Synchronize what is ticked")
    page.keyboard.press("Enter")
    assert "1 created" in result_of(page)
    assert Preview.objects.get().outcome == DONE


# -- looks


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", SIZES)
def test_every_page_is_accessible_and_fits(open_page, staff, axe, shop, held, size, scheme):
    Note.objects.create(name="a name as long as a name can be " * 3)
    page = open_page(staff, **SIZES[size], scheme=scheme)
    make_preview(page)
    addresses = [
        URL,
        page.url,
        f"{URL}held/{held.pk}/",
        f"{URL}run/{SyncRun.objects.first().pk}/",
        f"{URL}reset/",
        f"{URL}adopt/",
        *LISTS,
        f"{LISTS[2]}?model=testapp.note&q=1",
    ]
    for address in addresses:
        page.goto(address)
        assert_fits(page)
        assert_nothing_serious(axe(page))


def test_pictures_for_the_documentation(open_page, staff, shop, held, screenshot):
    Note.objects.create(name="Ring the printer", number=5)
    poland = Country.objects.get(code="pl")
    poland.name = "Rzeczpospolita Polska"
    poland.save()
    page = open_page(staff, viewport={"width": 1240, "height": 700})
    page.goto(URL)
    screenshot(page, "overview")
    make_preview(page)
    page.get_by_label("Ring the printer").check()
    screenshot(page, "preview")
    page.goto(f"{URL}held/{held.pk}/")
    screenshot(page, "held")
    phone = open_page(staff, **PHONE)
    phone.goto(URL)
    screenshot(phone, "phone")
