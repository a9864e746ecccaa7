"""The pages of a synchronization in a browser, with and without scripts."""

from __future__ import annotations

import pytest

from tests.browser.axe import assert_nothing_serious
from tests.browser.looks import PHONE, SCHEMES, SIZES, assert_fits
from tests.compare import assert_same
from tests.runs import occupy, on_remote
from tests.testapp.models import Note, Seat

URL = "/synchro/"
DONE = "Synchronization performed successfully."


@pytest.fixture(params=SIZES)
def size(request):
    return SIZES[request.param]


@pytest.fixture(params=SCHEMES)
def scheme(request):
    return request.param


def synchronize(page):
    """Press the button, and wait for the end of the run."""
    page.goto(URL)
    page.get_by_role("button", name="Synchronize").click()
    page.get_by_role("link", name="Back to the overview").wait_for()


@pytest.mark.parametrize("javascript", [True, False])
def test_the_button_synchronizes_and_the_page_tells_when_it_is_done(open_page, staff, javascript):
    Note.objects.create(name="a")
    page = open_page(staff, javascript=javascript)
    synchronize(page)
    page.get_by_text(DONE).wait_for()
    assert_same(Note)


def test_reset_asks_first(page):
    Note.objects.create(name="a")
    page.goto(URL)
    page.get_by_role("link", name="Reset synchronization").click()
    page.get_by_role("button", name="Reset synchronization").click()
    page.get_by_text("Synchronization has been reset.").wait_for()
    synchronize(page)
    assert not on_remote(Note).exists()


def test_a_stranger_is_asked_to_log_in(open_page):
    page = open_page(None)
    page.goto(URL)
    page.get_by_label("Password").wait_for()


def test_the_pages_are_accessible_and_fit(open_page, staff, axe, size, scheme):
    def look():
        assert_fits(page)
        assert_nothing_serious(axe(page))

    occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="ours", position=1)
    Note.objects.create(name="a")
    page = open_page(staff, **size, scheme=scheme)
    page.goto(URL)
    look()
    synchronize(page)
    page.get_by_text("Held: could not be applied").wait_for()
    look()
    page.goto(URL)
    look()
    page.goto(URL + "reset/")
    look()


def test_a_phone_needs_no_script(open_page, staff):
    Note.objects.create(name="a")
    page = open_page(staff, **PHONE, javascript=False)
    page.goto(URL)
    assert_fits(page)
    synchronize(page)
    assert_fits(page)
