"""One broker and one PostgreSQL for all tests that only need living ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker import Broker, free_port, need_mosquitto, wait_for

PROGRAMS = [Path(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin"))]


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    need_mosquitto()
    made = Broker(tmp_path_factory.mktemp("broker")).start()
    yield made
    made.kill()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL of ours, without fsync: it is killed by nobody."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra collect)")
    if not PROGRAMS:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    root = os.getuid() == 0
    user = {"user": "postgres", "group": "postgres"} if root else {}  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="edgepose-pg-"))
    if root:
        shutil.chown(folder, "postgres", "postgres")
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run(
        [PROGRAMS[-1] / "initdb", "-D", folder / "data", "-U", "edgepose", "-A", "trust", "-E", "UTF8", "-N"],
        check=True, capture_output=True, env=environment, cwd=folder, **user,
    )  # fmt: skip
    port = free_port()
    process = subprocess.Popen(
        [PROGRAMS[-1] / "postgres", "-D", folder / "data", "-p", str(port), "-h", "127.0.0.1",
         "-k", folder, "-F", "-c", "shared_buffers=16MB"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=folder, **user,
    )  # fmt: skip
    try:
        ready = [PROGRAMS[-1] / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        wait_for(lambda: subprocess.run(ready).returncode == 0, "the start of PostgreSQL")
        yield f"postgresql://edgepose@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
