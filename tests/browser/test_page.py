"""The staff page in a browser."""

from __future__ import annotations

import pytest

from tests.browser.axe import assert_nothing_serious
from tests.browser.looks import SCHEMES, SIZES, assert_fits
from tests.compare import assert_same
from tests.runs import occupy, on_remote
from tests.testapp.models import Note, Seat

URL = "/synchro/"


@pytest.fixture(params=SIZES)
def size(request):
    return SIZES[request.param]


@pytest.fixture(params=SCHEMES)
def scheme(request):
    return request.param


def test_it_opens_and_the_buttons_work(page):
    Note.objects.create(name="a")
    page.goto(URL)
    page.get_by_role("button", name="Synchronize").click()
    assert page.get_by_text("Synchronization performed successfully.").is_visible()
    assert_same(Note)
    Note.objects.create(name="b")
    page.get_by_role("button", name="Reset synchronization").click()
    assert page.get_by_text("Synchronization has been reset.").is_visible()
    assert on_remote(Note).count() == 1


def test_it_works_without_javascript(open_page, staff):
    Note.objects.create(name="a")
    page = open_page(staff, javascript=False)
    page.goto(URL)
    page.get_by_role("button", name="Synchronize").click()
    assert page.get_by_text("Synchronization performed successfully.").is_visible()
    assert_same(Note)


def test_a_stranger_is_asked_to_log_in(open_page):
    page = open_page(None)
    page.goto(URL)
    assert page.get_by_label("Password").is_visible()


def test_it_is_accessible_and_fits(open_page, staff, axe, size, scheme):
    occupy(Seat, name="theirs", position=1)
    Seat.objects.create(name="ours", position=1)
    page = open_page(staff, **size, scheme=scheme)
    page.goto(URL)
    assert_fits(page)
    assert_nothing_serious(axe(page))
    page.get_by_role("button", name="Synchronize").click()
    assert page.get_by_text("testapp.seat").is_visible()
    assert_fits(page)
    assert_nothing_serious(axe(page))
