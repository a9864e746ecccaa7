"""One run at a time for a pair of databases."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from synchro.core import sides, synchronize
from synchro.exceptions import LockError
from synchro.lock import only_run
from tests.runs import REMOTE, on_remote, synchronize_back
from tests.testapp.models import Note

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "remote"])

HOLDER = """
import sys, time
import django
django.setup()
from synchro.core import sides
from synchro.lock import only_run
with only_run(*sides("remote")):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder():
    """Another process that holds the lock, as a run on another machine would."""
    sides(REMOTE)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env={**os.environ, "SYNCHRO_TEST_ATTACH": "1", "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_says_that_another_is_going_on(holder):
    Note.objects.create(name="a")
    with pytest.raises(LockError, match="Another run between 'default' and 'remote'"):
        synchronize()
    assert not on_remote(Note).exists()


def test_a_run_in_the_other_direction_is_another_run_of_the_pair(holder):
    with pytest.raises(LockError):
        synchronize_back()


def test_the_command_ends_with_its_own_status(holder):
    with pytest.raises(CommandError) as caught:
        call_command("synchronize")
    assert caught.value.returncode == 4


def test_the_lock_of_a_killed_run_does_not_stay(holder):
    Note.objects.create(name="a")
    holder.kill()
    holder.wait()
    synchronize(wait=20)
    assert on_remote(Note).count() == 1


def test_a_run_waits_if_told_to():
    Note.objects.create(name="a")
    ready, done = threading.Event(), threading.Event()

    def hold() -> None:
        with only_run(*sides(REMOTE)):
            ready.set()
            done.wait(10)
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert ready.wait(10)
    threading.Timer(0.5, done.set).start()
    started = time.monotonic()
    synchronize(wait=20)
    thread.join()
    assert time.monotonic() - started < 20
    assert on_remote(Note).count() == 1


def test_one_run_after_another_needs_no_waiting():
    for name in "abc":
        Note.objects.create(name=name)
        synchronize()
    assert on_remote(Note).count() == 3
