"""What every test gets: both databases, and no caches left by the test before."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import django.test
import hypothesis
import pytest
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache

from synchro.suspend import DisableSynchroLog
from tests.emptying import Emptier

ALIASES = ["default", "remote"]
PAIR = (settings.LOCAL_VENDOR, settings.REMOTE_VENDOR)
ONCE_PAIRS = {("sqlite", "sqlite")}
BROWSER_PAIRS = {("sqlite", "sqlite"), ("postgresql", "mariadb")}
"""Where the tests in tests/browser run: all other tests show that databases are alike."""
BROWSER = Path(__file__).parent / "browser"

_NOT_OUR_CHECK = [
    # Fixtures of this suite hold nothing that one example could spoil for the next.
    hypothesis.HealthCheck.function_scoped_fixture,
    # An example writes to two databases, possibly on busy servers.
    hypothesis.HealthCheck.too_slow,
]
hypothesis.settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=15,
    print_blob=True,
    suppress_health_check=_NOT_OUR_CHECK,
)
hypothesis.settings.register_profile(
    "thorough", deadline=None, max_examples=1000, suppress_health_check=_NOT_OUR_CHECK
)
hypothesis.settings.load_profile(os.environ.get("SYNCHRO_HYPOTHESIS") or "ci")


def pytest_configure(config: pytest.Config) -> None:
    settings.RUN_DIRECTORY.mkdir(parents=True, exist_ok=True)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's job in the background, where tests could interrupt nothing.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def emptied_quickly() -> Iterator[None]:
    """After a test that commits, Django would empty all tables, which takes it a second. Also,
    where triggers log, nobody shall log that."""
    emptiers = {alias: Emptier(alias) for alias in ALIASES}

    def empty(self: django.test.TransactionTestCase) -> None:
        with DisableSynchroLog():
            for alias in self._databases_names(include_mirrors=False):
                emptiers[alias].empty()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(django.test.TransactionTestCase, "_fixture_teardown", empty)
        yield


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(settings.RUN_DIRECTORY, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every test both databases; run ``once`` and ``browser`` in few pairs, ``by_signals``
    only where signals log."""
    kept, dropped = [], []
    for item in items:
        if BROWSER in item.path.parents:
            item.add_marker("browser")
        unfit = settings.SYNCHRO_CAPTURE == "triggers" and item.get_closest_marker("by_signals")
        if (
            unfit
            or (item.get_closest_marker("once") and PAIR not in ONCE_PAIRS)
            or (item.get_closest_marker("browser") and PAIR not in BROWSER_PAIRS)
        ):
            dropped.append(item)
            continue
        kept.append(item)
        cls = getattr(item, "cls", None)
        if cls is not None and issubclass(cls, django.test.SimpleTestCase):
            continue  # says itself which databases it uses
        mark = item.get_closest_marker("django_db")
        options = dict(mark.kwargs) if mark else {}
        if options.get("databases") is None:
            options["databases"] = ALIASES
            args = mark.args if mark else ()
            item.add_marker(pytest.mark.django_db(*args, **options), append=False)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


@pytest.fixture(autouse=True)
def fresh_caches() -> Iterator[None]:
    """dbsettings caches its values, ContentType its rows: both outlive a rollback."""
    cache.clear()
    ContentType.objects.clear_cache()
    yield
    cache.clear()
    ContentType.objects.clear_cache()


@pytest.fixture
def local() -> str:
    """The alias whose changes are replayed."""
    return "default"


@pytest.fixture
def remote() -> str:
    """The alias where they are replayed to."""
    return "remote"


@pytest.fixture
def child_environment() -> dict[str, str]:
    """The environment of a process that shall work on this run's test databases.

    Only rows that were committed are seen there: for tests with ``transaction=True``.
    """
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "SYNCHRO_TEST_ATTACH": "1",
    }
