"""A browser test fails where the browser complains, and sees the pages as they are."""

from __future__ import annotations

import pytest

from testproject.config.csp import POLICY
from tests.browser import looks
from tests.browser.axe import assert_nothing_serious
from tests.browser.looks import PHONE, assert_fits
from tests.browser.watch import Watch

pytestmark = pytest.mark.once

GOOD = (
    '<!doctype html><html lang="en"><title>A</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    "<main><h1>A</h1></main>"
)


@pytest.fixture
def show(open_page, watch):
    """Shows a text as a page of the server, with its policy; returns the page and a watch of its
    own, to be checked by the test."""

    def show_(text, **options):
        own = Watch()
        page = open_page(None, **options)
        own.follow(page.context)
        page.route(
            "**/shown/",
            lambda route: route.fulfill(
                body=text,
                content_type="text/html",
                headers={"Content-Security-Policy": POLICY},
            ),
        )
        page.goto("/shown/")
        page.wait_for_load_state("networkidle")
        return page, own

    yield show_
    watch.mishaps.clear()


def test_a_page_without_faults_is_fine(show, axe):
    page, watch = show(GOOD)
    assert_nothing_serious(axe(page))
    assert_fits(page)
    watch.check()


@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        '<p style="color: red">',
        "<style>p {color: red}</style>",
        '<img alt="" src="http://127.0.0.2/picture.png">',
        '<link rel="stylesheet" href="http://127.0.0.2/style.css">',
    ],
)
def test_what_the_policy_blocks_is_a_mishap(show, text, javascript):
    _, found = show(GOOD + text, javascript=javascript)
    with pytest.raises(AssertionError, match="Content Security Policy"):
        found.check()


@pytest.mark.parametrize(
    "text",
    ["<script>1</script>", '<p onclick="1">', '<script src="http://127.0.0.2/a.js"></script>'],
)
def test_a_script_that_the_policy_blocks_is_a_mishap(show, text):
    _, found = show(GOOD + text)
    with pytest.raises(AssertionError, match="Content Security Policy"):
        found.check()


def test_an_error_in_a_script_is_a_mishap(show):
    page, found = show(GOOD)
    page.evaluate("setTimeout(() => { throw new Error('something is wrong') })")
    page.wait_for_timeout(100)
    with pytest.raises(AssertionError, match="something is wrong"):
        found.check()


def test_a_message_in_the_console_is_a_mishap(show):
    page, found = show(GOOD)
    page.evaluate("console.warn('something is odd')")
    with pytest.raises(AssertionError, match="something is odd"):
        found.check()


def test_a_missing_file_is_a_mishap(show):
    _, found = show(GOOD + '<link rel="stylesheet" href="/static/missing.css">')
    with pytest.raises(AssertionError, match="status 404"):
        found.check()


def test_a_mishap_that_does_not_come_is_missed():
    watch = Watch()
    watch.expect("status 404")
    with pytest.raises(AssertionError, match="not seen"):
        watch.check()


def test_what_keeps_people_out_is_found(show, axe):
    page, _ = show(GOOD + '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">')
    with pytest.raises(AssertionError, match="image-alt"):
        assert_nothing_serious(axe(page))


def test_a_page_that_is_too_wide_is_found(show):
    wide = "<pre>" + "wide " * 100 + "</pre>"
    page, _ = show(GOOD + wide, **PHONE)
    with pytest.raises(AssertionError, match="<pre>"):
        assert_fits(page)


def test_a_page_is_measured_without_javascript_too(show):
    page, _ = show(GOOD + "<pre>" + "wide " * 100 + "</pre>", **PHONE, javascript=False)
    with pytest.raises(AssertionError, match="<pre>"):
        assert_fits(page)


def test_what_scrolls_by_itself_is_not_too_wide(show):
    page, _ = show(GOOD + f"<textarea rows=2 cols=10 wrap=off>{'wide ' * 100}</textarea>", **PHONE)
    assert_fits(page)


def test_pictures_are_made_light_and_dark_where_asked_for(page, screenshot, monkeypatch, tmp_path):
    monkeypatch.setattr(looks, "SCREENSHOTS", tmp_path / "pictures")
    page.goto("/admin/")
    monkeypatch.delenv("SYNCHRO_SCREENSHOTS", raising=False)
    screenshot(page, "index")
    assert not looks.SCREENSHOTS.exists()
    monkeypatch.setenv("SYNCHRO_SCREENSHOTS", "1")
    screenshot(page, "index")
    files = sorted(looks.SCREENSHOTS.iterdir())
    assert [file.name for file in files] == ["index-dark.png", "index-light.png"]
    assert files[0].read_bytes() != files[1].read_bytes()
    assert looks.scheme_of(page) == "light"


def test_an_error_of_the_server_is_told(page, watch, requests, monkeypatch):
    def fail(*args):
        raise ValueError("the view is broken")

    monkeypatch.setattr("synchro.pages.overview.read_status", fail)
    page.goto("/synchro/")
    assert "ValueError: the view is broken" in requests.errors.pop()
    watch.expect("status 500")
    watch.expect("status of 500")


def test_the_server_sends_the_policy_and_its_style_sheets(page):
    response = page.goto("/admin/")
    assert response.headers["content-security-policy"] == POLICY
    color = page.locator("#header").evaluate("it => getComputedStyle(it).backgroundColor")
    assert color == "rgb(65, 118, 144)"
