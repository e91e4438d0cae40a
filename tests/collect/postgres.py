"""A real PostgreSQL for the tests, on a port of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from broker import free_port, wait_for

PROGRAMS = [Path(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin"))]


class Postgres:
    """A server and its data, made anew; skips where there is none.

    Attributes:
        address: of its database.
    """

    def __init__(self, *words: str) -> None:
        pytest.importorskip("psycopg", reason="psycopg is not installed (extra collect)")
        if not PROGRAMS:
            pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        self._words, self._process, self._port = words, None, free_port()
        self.address = f"postgresql://edgepose@127.0.0.1:{self._port}/postgres"
        self._folder = Path(tempfile.mkdtemp(prefix="edgepose-pg-"))
        # it refuses to run as root
        root = os.getuid() == 0
        self._how: Any = {"cwd": self._folder, "env": {**os.environ, "LC_ALL": "C.UTF-8"}}
        self._how |= {"user": "postgres", "group": "postgres"} if root else {}
        if root:
            shutil.chown(self._folder, "postgres", "postgres")
        self._run("initdb", "-D", "data", "-U", "edgepose", "-A", "trust", "-E", "UTF8", "-N")

    def _run(self, program: str, *words: str) -> None:
        command = [PROGRAMS[-1] / program, *words]
        subprocess.run(command, check=True, capture_output=True, **self._how)

    def start(self) -> None:
        words = ["-D", "data", "-p", str(self._port), "-h", "127.0.0.1", "-k", str(self._folder)]
        command = [PROGRAMS[-1] / "postgres", *words, "-c", "shared_buffers=16MB", *self._words]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, **quiet, **self._how)
        ready = [PROGRAMS[-1] / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        wait_for(lambda: subprocess.run(ready).returncode == 0, "the start of PostgreSQL")

    def end(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
        self._process = None

    def remove(self) -> None:
        self.end()
        shutil.rmtree(self._folder, ignore_errors=True)
