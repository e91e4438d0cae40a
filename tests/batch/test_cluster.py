"""Jobs on a Ray cluster: two nodes on loopback addresses, whose processes are ended by their numbers only."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs import posenet_rows, rows_in

from edgepose.batch.files import Folder
from edgepose.batch.manifest import check

pytest.importorskip("ray", reason="the cluster extra is not installed, or Ray has no wheel here")
pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

# of this run alone: two suites at the same time must not meet. Ports from 10002 on are Ray's workers'
NET = 2 + secrets.randbelow(250)
HEAD, SECOND, PORT = f"127.0.{NET}.2", f"127.0.{NET}.3", 6400 + secrets.randbelow(3500)
MakeFilm = Callable[..., Path]

# a driver in a process of its own, as the command line is: out, address, films
DRIVER = """
import sys
sys.path.insert(0, {here!r})
from jobs import job
from edgepose.batch.files import Folder, held
from edgepose.batch.plan import find_items, settle
from edgepose.batch.ray_pool import RayPool, PoolShape
from edgepose.batch.run import run_job
from edgepose.errors import EdgeposeError

out, address, *films = sys.argv[1:]
folder = Folder(out)
wanted = settle(folder, job(track=True))
try:
    with held(folder) as run:
        items = list(find_items(films, wanted, folder, keep=True))
        with RayPool(out, run, 3, False, PoolShape(2, 1.0, {gpus}, address)) as pool:
            pool.check_nodes(wanted, films)
            summary = run_job(folder, wanted, items, pool, lambda d, p: print(d.name, d.who, flush=True))
except EdgeposeError as e:
    print(e)
    sys.exit(e.exit_code)
sys.exit(summary.exit_code)
"""


class Cluster:
    """Two nodes; each `ray start --block` is a child of ours, and so is what it starts."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="r", dir="/tmp")  # Ray wants a short path
        (Path(self.folder.name) / "token").write_text(secrets.token_hex(32))
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": f"{self.folder.name}/token",
            "RAY_TMPDIR": self.folder.name,
            "RAY_USAGE_STATS_ENABLED": "0",
            "EDGEPOSE_HOME": f"{self.folder.name}/home",
            "EDGEPOSE_CACHE": f"{self.folder.name}/cache",
        }
        self.address = f"{HEAD}:{PORT}"
        self.children: list[subprocess.Popen[bytes]] = []
        self.start(
            "--head", f"--port={PORT}", f"--node-ip-address={HEAD}", "--include-dashboard=false"
        )
        self.second = self.start(f"--address={self.address}", f"--node-ip-address={SECOND}")

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a node."""
        common = ("--block", "--num-cpus=1", "--object-store-memory=100000000")
        with open(f"{self.folder.name}/{len(self.children)}.log", "wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", "start", *words, *common],
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        self.children.append(child)
        return child

    def drive(self, out: Path, *films: Path, gpus: float = 0.0) -> subprocess.Popen[str]:
        """Start a driver."""
        code = DRIVER.format(here=str(Path(__file__).parent), gpus=gpus)
        return subprocess.Popen(
            [sys.executable, "-c", code, str(out), self.address, *map(str, films)],
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the nodes and what they started, by their numbers."""
        numbers = [n for child in self.children for n in (child.pid, *descendants(child.pid))]
        for number in numbers:
            kill(number)
        for child in self.children:
            child.wait()
        self.folder.cleanup()


def descendants(number: int) -> list[int]:
    """Numbers of the processes below one."""
    found: list[int] = []
    for task in Path(f"/proc/{number}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def kill(number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    one = Cluster()
    try:
        wait_for_nodes(one, 2)
        yield one
    finally:
        one.close()


def wait_for_nodes(cluster: Cluster, count: int) -> None:
    """Until so many nodes have joined."""
    code = f"""
import logging, sys, time, ray
for _ in range(60):
    try:
        ray.init({cluster.address!r}, _node_ip_address={HEAD!r}, logging_level=logging.ERROR)
        break
    except Exception:
        time.sleep(0.5)
while sum(n["Alive"] for n in ray.nodes()) < {count}:
    time.sleep(0.2)
"""
    subprocess.run([sys.executable, "-c", code], env=cluster.environment, check=True, timeout=120)


def test_two_nodes_give_the_rows_of_a_single_run(
    cluster: Cluster, make_film: MakeFilm, tmp_path: Path
) -> None:
    out, films = tmp_path / "out", [make_film("closed"), make_film("ts")]
    driver = cluster.drive(out, *films)
    said, _ = driver.communicate(timeout=200)
    assert driver.returncode == 0, said
    assert len({line.split()[-1] for line in said.splitlines()}) == 2  # both worked
    for film in films:
        assert rows_in(out, film) == posenet_rows(film, "--track")
    assert check(Folder(out)) == []


def test_a_worker_a_driver_and_a_node_may_die(
    cluster: Cluster, make_film: MakeFilm, tmp_path: Path
) -> None:
    out, film = tmp_path / "out", make_film("closed", 96)
    expected = posenet_rows(film, "--track")

    def parts() -> set[Path]:
        return set(out.glob("work/*/segment-*.parquet"))

    def wait_for(count: int, driver: subprocess.Popen[str]) -> None:
        while driver.poll() is None and len(parts()) < count:
            time.sleep(0.02)

    # a worker dies in the middle of its task, then the driver with all that it had under way
    driver = cluster.drive(out, film)
    wait_for(1, driver)
    worker = next(n for c in cluster.children for n in descendants(c.pid) if is_actor(n))
    kill(worker)
    wait_for(3, driver)
    driver.kill()
    driver.wait()
    done = {path: path.stat().st_mtime_ns for path in parts()}
    assert 3 <= len(done) < 8
    # the same command goes on, and a node dies under it; what was done is not done again
    driver = cluster.drive(out, film)
    wait_for(len(done) + 1, driver)
    assert all(path.stat().st_mtime_ns == at for path, at in done.items() if path.exists())
    for number in (cluster.second.pid, *descendants(cluster.second.pid)):
        kill(number)
    said, _ = driver.communicate(timeout=200)
    assert driver.returncode == 0, said
    assert rows_in(out) == expected
    assert check(Folder(out)) == []
    assert list(out.rglob("*.part")) == []


def is_actor(number: int) -> bool:
    try:
        return b"MapWorker" in Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        return False


def test_what_the_cluster_has_not_is_refused_at_once(
    cluster: Cluster, make_film: MakeFilm, tmp_path: Path
) -> None:
    driver = cluster.drive(tmp_path / "out", make_film("mp4"), gpus=0.5)
    said, _ = driver.communicate(timeout=100)
    assert driver.returncode == 2
    assert "2 workers need 1 GPUs, and the cluster has 0." in said
    assert "--num-gpus=1" in said


def test_a_cluster_of_our_own_listens_on_this_machine_only(
    make_film: MakeFilm, tmp_path: Path
) -> None:
    out, film = tmp_path / "out", make_film("mp4")
    words = ["--network", "edgepose-lite-body", "--segment", "0.4", "--workers", "2"]
    command = [sys.executable, "-m", "edgepose", "batch", str(film), "--out", str(out), *words]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        while driver.poll() is None and not list(out.glob("work/*/segment-*.parquet")):
            time.sleep(0.02)
        started = [driver.pid, *descendants(driver.pid)]
        heard = {address for number in started for address in listening(number)}
        _, said = driver.communicate(timeout=200)
    finally:
        driver.kill()
    assert driver.returncode == 0, said
    assert heard
    assert heard <= {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1 of both families
    assert rows_in(out) == posenet_rows(film)
    assert [line for line in said.splitlines() if "ray" in line.lower()] == []


def listening(number: int) -> set[str]:
    """The addresses, as the kernel writes them, at which a process waits for connections."""
    try:
        sockets = {os.readlink(p) for p in Path(f"/proc/{number}/fd").iterdir()}
    except OSError:
        return set()
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{number}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].rpartition(":")[0])
    return found


def test_an_address_where_nothing_is(cluster: Cluster, make_film: MakeFilm, tmp_path: Path) -> None:
    cluster.address, right = f"{HEAD}:{PORT - 1}", cluster.address
    try:
        driver = cluster.drive(tmp_path / "out", make_film("mp4"))
        said, _ = driver.communicate(timeout=200)
    finally:
        cluster.address = right
    assert driver.returncode == 1
    assert "no Ray cluster can be joined there" in said
    assert said.count("\n") <= 2
