"""Processes that are born with Django in them: each step of a benchmark is a process of its own,
and setting Django up again for each would take longer than most of what is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DONE, FAILED = "done\n", "failed\n"
"""What the process says after a step."""


class Nursery:
    """Does steps (``benchmarks.child``), each in a fork of one process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._mother = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, *arguments: str) -> str:
        """Do a step. Returns what it has printed; raises ChildProcessError if it failed."""
        assert self._mother.stdin is not None
        assert self._mother.stdout is not None
        print(json.dumps(arguments), file=self._mother.stdin, flush=True)
        printed: list[str] = []
        for line in self._mother.stdout:
            if line == DONE:
                return "".join(printed)
            if line == FAILED:
                break
            printed.append(line)
        raise ChildProcessError(" ".join(arguments))

    def close(self) -> None:
        """Have the process end."""
        self._mother.communicate()


def alone(environment: Mapping[str, str], *arguments: str) -> str:
    """Do a step in a process that is no fork: what is done for the first time in a fork takes some
    2 ms more, since pages of memory have to be copied. Returns and raises like ``Nursery.do``."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.child", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ChildProcessError(" ".join(arguments))
    return done.stdout
