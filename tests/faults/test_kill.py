"""A run that is killed at any point leaves nothing that the next run does not repair."""

from __future__ import annotations

import os
import random

import pytest

from synchro import synchronize
from tests.faults.changes import assert_equal, change_something
from tests.faults.processes import KILLED, die_at, fork, wait

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "remote"])

STEP = int(os.environ.get("SYNCHRO_KILL_STEP") or 17)
"""Every how many events a run is killed; 1 in the full form."""


def killed_run(event: int) -> int:
    def work() -> None:
        die_at(event)
        synchronize()

    return wait(fork(work))


def test_a_run_killed_at_any_statement_and_any_commit_is_repaired_by_the_next():
    chance = random.Random(1)
    killed = 0
    for turn, event in enumerate(range(1, 10_000, STEP)):
        change_something(chance, turn)
        status = killed_run(event)
        assert status in (0, KILLED)
        synchronize()
        assert_equal()
        assert not synchronize().changed
        if status == 0:
            break
        killed += 1
    else:
        pytest.fail("no run ever came to its end")
    assert killed > 5
    print(f"{killed} runs were killed, the last one before event {event - STEP}")
