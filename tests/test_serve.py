"""`make serve`: the demonstration in a browser, with something to do."""

from __future__ import annotations

import http.cookiejar
import os
import re
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from synchro.fields import UNSEALED
from testproject.config.csp import POLICY

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 300
READY = "Quit the server"


class Site:
    """The running server, and what it has printed."""

    def __init__(self, address: str, printed: str) -> None:
        self.address = address
        self.printed = printed
        self.password = re.search(r"User admin, password (\S+)", printed)[1]
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def get(self, path: str, **data: str):
        """(text, headers, URL in the end) of a page; data are posted."""
        body = urllib.parse.urlencode(data).encode() if data else None
        with self._opener.open(self.address + path, body, timeout=PATIENCE) as response:
            return response.read().decode(), response.headers, response.url

    def log_in(self, password: str) -> bool:
        text, *_ = self.get("/admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', text)[1]
        *_, url = self.get(
            "/admin/login/?next=/synchro/",
            username="admin",
            password=password,
            csrfmiddlewaretoken=token,
        )
        return url == f"{self.address}/synchro/"


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def read_until(process: subprocess.Popen[bytes], text: str) -> str:
    """What a process prints until it has printed the text."""
    printed = ""
    end = time.monotonic() + PATIENCE
    while text not in printed:
        ready, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
        chunk = os.read(process.stdout.fileno(), 65536) if ready else b""
        assert chunk, f"{text!r} was not printed, but:\n{printed}"
        printed += chunk.decode()
    return printed


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """Start a command of the demonstration, with the databases in a folder."""
    environment = {
        **os.environ,
        "SYNCHRO_DEMO_DIRECTORY": str(folder),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
    }
    return subprocess.Popen(
        [sys.executable, "testproject/manage.py", *command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def manage(folder: Path, *command: str) -> None:
    process = start(folder, *command)
    printed, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, printed.decode()


@contextmanager
def serve(folder: Path) -> Iterator[Site]:
    port = free_port()
    process = start(folder, "serve", str(port))
    try:
        yield Site(f"http://127.0.0.1:{port}", read_until(process, READY))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def query(file: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection, connection:
        return connection.execute(statement).fetchall()


def pending(folder: Path) -> int:
    statement = f"SELECT COUNT(*) FROM synchro_changelog WHERE batch = {UNSEALED}"
    return query(folder / "local.sqlite3", statement)[0][0]


def held(folder: Path) -> list[tuple[object, ...]]:
    statement = "SELECT label, reason FROM synchro_heldchange WHERE waiting"
    return query(folder / "remote.sqlite3", statement)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Site]:
    """Databases after the first start, which loads the data."""
    folder = tmp_path_factory.mktemp("served")
    with serve(folder) as site:
        assert site.log_in(site.password)
    return folder, site


@pytest.fixture
def again(served: tuple[Path, Site], tmp_path: Path) -> Path:
    """The same databases, to be used by one test."""
    folder = tmp_path / "again"
    shutil.copytree(served[0], folder)
    return folder


def test_the_first_start_makes_one_held_change_and_pending_ones(served):
    folder, site = served
    assert held(folder) == [("geo.city", "refused")]
    assert pending(folder) > 20
    assert "Held: " in site.printed
    assert "Pending: " in site.printed


def test_the_addresses_that_it_prints_answer(again):
    with serve(again) as site:
        assert site.log_in(site.password)
        addresses = re.findall(re.escape(site.address) + r"(/\w+/)", site.printed)
        assert addresses == ["/synchro/", "/admin/", "/remote/"]
        for address in addresses:
            _, headers, url = site.get(address)
            assert url == site.address + address
            assert headers["Content-Security-Policy"] == POLICY
        assert "Held changes" in site.get("/synchro/")[0]
        _, headers, _ = site.get("/static/admin/css/base.css")
        assert "text/css" in headers["Content-Type"]


def test_each_start_sets_a_new_password_and_stores_none(served, again):
    _, before = served
    with serve(again) as site:
        assert site.password != before.password
        assert not site.log_in(before.password)
        assert site.log_in(site.password)
    contents = [file.read_bytes() for file in again.iterdir()]
    assert contents
    for password in (before.password, site.password):
        assert not any(password.encode() in content for content in contents)


def test_what_is_waiting_already_is_left_alone(again):
    before = (held(again), pending(again))
    with serve(again) as site:
        assert "Held: " not in site.printed
        assert "Pending: " not in site.printed
    assert (held(again), pending(again)) == before


def test_once_all_is_dealt_with_there_is_something_to_try_again(again):
    query(
        again / "local.sqlite3",
        "UPDATE geo_city SET geonameid = 1 WHERE name LIKE '%(entered twice)'",
    )
    manage(again, "synchronize")
    assert (held(again), pending(again)) == ([], 0)
    with serve(again):
        pass
    assert len(held(again)) == 1
    assert pending(again) > 20
