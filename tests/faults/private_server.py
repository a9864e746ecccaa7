"""Database servers of a test's own, on a free port and in a folder of their own, which can be
killed and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests import servers

_PATIENCE = 60.0


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue  # has ended meanwhile
        if int(stat.rpartition(")")[2].split()[1]) == pid:
            found.append(int(entry.name))
    return found


class PrivateServer(ABC):
    """A server that belongs to one test."""

    owner: str
    """Whom it runs as if the tests run as root, whom servers refuse."""
    superuser: str

    def __init__(self, folder: Path) -> None:
        if not Path("/proc").is_dir():
            pytest.skip("the processes of a server are found in /proc")
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.run_as: dict[str, Any] = {}
        if os.getuid() == 0:
            try:
                entry = pwd.getpwnam(self.owner)
            except KeyError:
                pytest.skip(f"as root, a server needs a user named {self.owner}")
            os.chown(folder, entry.pw_uid, entry.pw_gid)
            self.run_as = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    @abstractmethod
    def prepare(self) -> None:
        """Make an empty server in the folder."""

    @abstractmethod
    def command(self) -> list[str]:
        """How it is started."""

    @abstractmethod
    def connect(self) -> Any:
        """A connection to it, or the driver's error."""

    @abstractmethod
    def create_database(self, name: str) -> None:
        """Make an empty database."""

    def call(self, *command: str) -> None:
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, **self.run_as
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log.txt").open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **self.run_as,
            )
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self.connect().close()
                return
            except Exception as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "log.txt").read_text(errors="replace")
                    raise AssertionError(f"the server does not start: {error}\n{log}") from error
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power failure would: no process of it has time for anything."""
        assert self.process is not None
        # Whoever is stopped starts nothing new, and its children stay its own.
        os.kill(self.process.pid, signal.SIGSTOP)
        family = [*children(self.process.pid), self.process.pid]
        for pid in family:
            # A child may end by itself just now.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + _PATIENCE
        while any(_is_running(pid) for pid in family):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self.process = None


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


class PostgreSQL(PrivateServer):
    owner = superuser = "postgres"

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parts[-2]))
        where = os.pathsep.join([*map(str, reversed(found)), os.environ.get("PATH", "")])
        self.initdb, self.server = (shutil.which(name, path=where) for name in PROGRAMS[0])
        if not self.initdb or not self.server:
            pytest.skip("initdb and postgres are not installed")
        super().__init__(folder)

    def prepare(self) -> None:
        self.call(
            *(str(self.initdb), "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"),
            *(f"--username={self.superuser}", "-D", str(self.folder / "data")),
        )

    def command(self) -> list[str]:
        return [
            *(str(self.server), "-D", str(self.folder / "data"), "-p", str(self.port)),
            *("-h", "127.0.0.1", "-k", str(self.folder)),
        ]

    def connect(self) -> Any:
        import psycopg

        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=self.superuser,
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        )

    def create_database(self, name: str) -> None:
        with closing(self.connect()) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')


class MariaDB(PrivateServer):
    owner = "mysql"
    superuser = "root"

    def __init__(self, folder: Path) -> None:
        where = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
        self.installer, self.server = (shutil.which(name, path=where) for name in PROGRAMS[1])
        if not self.installer or not self.server:
            pytest.skip("mariadb-install-db and mariadbd are not installed")
        super().__init__(folder)

    def prepare(self) -> None:
        self.call(
            *(str(self.installer), "--no-defaults", "--auth-root-authentication-method=normal"),
            *("--skip-test-db", f"--datadir={self.folder / 'data'}"),
        )

    def command(self) -> list[str]:
        return [
            *(str(self.server), "--no-defaults", f"--datadir={self.folder / 'data'}"),
            *(f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve"),
            *(f"--socket={self.folder / 'socket'}", f"--pid-file={self.folder / 'pid'}"),
            *("--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M"),
        ]

    def connect(self) -> Any:
        servers.install_mysql_driver()
        import MySQLdb

        return MySQLdb.connect(
            host="127.0.0.1", port=self.port, user=self.superuser, connect_timeout=5
        )

    def create_database(self, name: str) -> None:
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")


PROGRAMS = (("initdb", "postgres"), ("mariadb-install-db", "mariadbd"))
KINDS: dict[str, type[PrivateServer]] = {"postgresql": PostgreSQL, "mysql": MariaDB}
