"""A real browser for the tests in this folder: Chromium, driven by Playwright.

``page`` is a page of a member of staff; ``open_page`` opens others, ``axe`` looks for what keeps
people out, ``screenshot`` makes pictures for the documentation. A test fails, whatever else it
asserts, if the browser complains: see Watch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from synchro import DisableSynchroLog
from tests.browser import chromium as finding
from tests.browser import looks
from tests.browser.axe import Axe
from tests.browser.watch import Requests, Watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

T = TypeVar("T")


def needed(find: Callable[[], T]) -> T:
    """What `find` finds; the test is skipped, or fails, where that is missing."""
    try:
        return find()
    except finding.Unavailable as missing:
        if finding.required():
            pytest.fail(f"{missing} (required by SYNCHRO_REQUIRE_BROWSER)", pytrace=False)
        pytest.skip(str(missing))


# Both of these end with the folder, not with the session: the tests of faults fork, which they
# must not do in a process that has threads.


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    path = needed(finding.chromium)
    needed(finding.require_playwright)
    from playwright.sync_api import sync_playwright

    with pytest.MonkeyPatch.context() as patch:
        # Playwright marks an event loop of its own as running in this thread, but only ever runs
        # it inside its own calls: Django's queries do not block it. The live server's threads
        # have no event loop.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            yield browser
            browser.close()


@pytest.fixture(scope="package")
def live_server(chromium: Browser, django_db_setup: None) -> Iterator[LiveServer]:
    """pytest-django's, for a shorter time. Its threads use connections of their own."""
    server = LiveServer("127.0.0.1")
    yield server
    server.stop()


@pytest.fixture
def requests() -> Iterator[Requests]:
    """What the live server is doing."""
    found = Requests()
    found.connect()
    yield found
    found.disconnect()


@pytest.fixture
def watch() -> Watch:
    """What the browser complains of. ``watch.expect(...)`` says what belongs to the test."""
    return Watch()


@pytest.fixture
def staff(transactional_db: None) -> User:
    """A user who may do everything."""
    with DisableSynchroLog():
        return User.objects.create(username="admin", is_staff=True, is_superuser=True)


@pytest.fixture
def open_page(
    chromium: Browser,
    live_server: LiveServer,
    transactional_db: None,
    watch: Watch,
    requests: Requests,
) -> Iterator[Callable[..., Page]]:
    """Opens a page of a browser of its own: ``open_page(user, **PHONE, scheme="dark")``.

    ``user`` is logged in (None: nobody); ``javascript=False`` turns scripts off; other options
    are those of Playwright's ``new_context()``. Addresses are relative: ``page.goto("/admin/")``.
    """
    contexts = []

    def open_(
        user: User | None, *, scheme: str = "light", javascript: bool = True, **options: Any
    ) -> Page:
        context = chromium.new_context(
            base_url=live_server.url,
            color_scheme=scheme,
            java_script_enabled=javascript,
            **{"locale": "en-US", "timezone_id": settings.TIME_ZONE, **looks.DESKTOP, **options},
        )
        contexts.append(context)
        watch.follow(context)
        if user is not None:
            client = Client()
            with DisableSynchroLog():
                client.force_login(user)
            name = settings.SESSION_COOKIE_NAME
            value = client.cookies[name].value
            context.add_cookies([{"name": name, "value": value, "url": live_server.url}])
        return context.new_page()

    yield open_
    for context in contexts:
        context.close()
    requests.wait()
    assert not requests.errors, "The server raised:\n" + "\n".join(requests.errors)
    watch.check()


@pytest.fixture
def page(open_page: Callable[..., Page], staff: User) -> Page:
    """A page of the user ``staff``, on a desktop."""
    return open_page(staff)


@pytest.fixture(scope="session")
def axe() -> Axe:
    """``axe(page)`` returns what axe-core finds; see ``assert_nothing_serious``."""
    return Axe(needed(finding.axe))


@pytest.fixture
def screenshot() -> Callable[[Page, str], None]:
    """``screenshot(page, "held")`` writes held-light.png and held-dark.png for the documentation,
    if SYNCHRO_SCREENSHOTS is set."""

    def write(page: Page, name: str) -> None:
        if not os.environ.get("SYNCHRO_SCREENSHOTS"):
            return
        looks.SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        before = looks.scheme_of(page)
        size = page.viewport_size or {}
        # As tall as the page: what sticks to the lower edge of the window stands at its end.
        height = max(size["height"], page.evaluate("document.documentElement.scrollHeight"))
        page.set_viewport_size({"width": size["width"], "height": height})
        for scheme in looks.SCHEMES:
            page.emulate_media(color_scheme=scheme)
            file = looks.SCREENSHOTS / f"{name}-{scheme}.png"
            page.screenshot(path=file, full_page=True, animations="disabled")
        page.set_viewport_size({"width": size["width"], "height": size["height"]})
        page.emulate_media(color_scheme=before)

    return write
