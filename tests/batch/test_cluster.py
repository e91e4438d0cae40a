"""Jobs on a Ray cluster: two nodes on loopback addresses, whose processes are ended by their numbers only.

Those in which something dies take minutes: `pytest -m long tests/batch`.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from jobs import NETWORK, posenet_rows, rows_in

import edgepose
from edgepose.batch.files import Folder
from edgepose.batch.manifest import check
from edgepose.options import NetworkChoice
from edgepose.wanted import find_network

pytest.importorskip("ray", reason="the cluster extra is not installed, or Ray has no wheel here")
pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

# of this run alone: two suites at the same time must not meet. Ports from 10002 on are Ray's workers'
NET = 2 + secrets.randbelow(250)
HEAD, SECOND, PORT = f"127.0.{NET}.2", f"127.0.{NET}.3", 6400 + secrets.randbelow(3500)
MakeFilm = Callable[..., Path]

OPTIONS = ["--network", NETWORK, "--threads", "1", "--segment", "0.4", "--track"]


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

    def begin(self) -> None:
        """Start the two nodes."""
        # a GPU that Ray counts, whether it is there or not
        head = ("--head", f"--port={PORT}", "--include-dashboard=false", "--num-gpus=1")
        self.start(*head, f"--node-ip-address={HEAD}")
        self.second = self.start(f"--address={self.address}", f"--node-ip-address={SECOND}")

    def start(
        self, *words: str, before: Sequence[str] = (), **more: str
    ) -> subprocess.Popen[bytes]:
        """Start a node behind the command `before`, with `more` in its environment."""
        common = ("--block", "--num-cpus=1", "--object-store-memory=100000000")
        log = Path(self.folder.name) / f"{len(self.children)}.log"
        child = subprocess.Popen(
            [*before, sys.executable, "-m", "ray.scripts.scripts", "start", *words, *common],
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
            env={**self.environment, **more},
            start_new_session=True,
        )
        self.children.append(child)
        # one after the other: two at the same time would take the same names of sockets
        while "Ray runtime started" not in log.read_text():
            assert child.poll() is None, log.read_text()
            time.sleep(0.1)
        return child

    def drive(self, out: Path, *words: object, **more: str) -> subprocess.Popen[str]:
        """Start `edgepose batch` with two workers; `more` goes into its environment."""
        cluster = ["--cluster", self.address, "--workers", "2", "--progress", "json"]
        command = [sys.executable, "-m", "edgepose", "batch", "--out", out, *OPTIONS, *cluster]
        return subprocess.Popen(
            [*map(str, command), *map(str, words)],
            env={**self.environment, **more},
            cwd=self.folder.name,  # Ray's workers look for modules there first
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the nodes."""
        for child in self.children:
            end(child)
        self.folder.cleanup()


def descendants(number: int) -> list[int]:
    """Numbers of the processes below one."""
    found: list[int] = []
    for task in Path(f"/proc/{number}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def kill(number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)


def end(node: subprocess.Popen[bytes]) -> None:
    """End a node and what it started, by their numbers."""
    for number in (node.pid, *descendants(node.pid)):
        kill(number)
    node.wait()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    one = Cluster()
    try:
        one.begin()
        yield one
    finally:
        one.close()


def test_two_nodes_give_the_rows_of_a_single_run(
    cluster: Cluster, make_film: MakeFilm, tmp_path: Path
) -> None:
    out, films = tmp_path / "out", [make_film("closed", 96), make_film("ts")]
    # names are those of the driver's folder, wherever a node was started
    named = [str(films[0]), os.path.relpath(films[1], cluster.folder.name)]
    driver = cluster.drive(out, *named)
    seen: list[dict[str, Any]] = []
    heaps = set()
    while driver.poll() is None and len(seen) < 3:  # whoever looks on disturbs nobody
        if list(out.glob("work/*/segment-*.parquet")):
            seen.append(status(out))
            workers = [n for c in cluster.children for n in descendants(c.pid) if is_actor(n)]
            heaps |= {b"MALLOC_ARENA_MAX=2" in told for n in workers if (told := environment(n))}
        time.sleep(0.05)
    said, problems = driver.communicate()
    assert driver.returncode == 0, problems
    rows = [json.loads(line) for line in said.splitlines()]
    assert len({row["worker"] for row in rows if row["event"] == "part"}) == 2
    for film, name in zip(films, named, strict=True):
        expected = [row | {"source": name} for row in posenet_rows(film, "--track")]
        assert rows_in(out, Path(name)) == expected
    assert check(Folder(out)) == []
    assert seen[0]["running"]["pid"] == driver.pid
    done = [sum(row["parts"] for row in told["sources"]) + 12 * told["done"] for told in seen]
    assert 0 < done[0] < 12
    assert heaps == {True}  # else a worker takes 70 MB more
    last = status(out)
    assert (last["running"], last["done"], last["frames"]) == (None, 2, 144)


def status(out: Path) -> dict[str, Any]:
    """What `batch status --json` says."""
    command = [sys.executable, "-m", "edgepose", "batch", "status", str(out), "--json"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(told)  # type: ignore[no-any-return]


def killed_at_work(out: Path, driver: subprocess.Popen[str], *names: str) -> list[str]:
    """Kill whoever begins one of the parts until the driver has ended; the parts that did."""
    killed: dict[int, str] = {}
    while driver.poll() is None:
        for tries in out.glob("work/*/*.tries"):
            with contextlib.suppress(OSError, IndexError):
                number = int(tries.read_text().split()[-1])
                if tries.stem in names and number not in killed and is_actor(number):
                    killed[number] = tries.stem
                    kill(number)
        time.sleep(0.02)
    return list(killed.values())


@pytest.mark.long
def test_what_kills_its_worker_is_set_aside_and_the_others_are_done(
    cluster: Cluster, make_film: MakeFilm, tmp_path: Path
) -> None:
    out, poison, good = tmp_path / "out", make_film("avi", 96), make_film("ts")
    driver = cluster.drive(out, poison, good)
    killed = killed_at_work(out, driver, "whole")
    _, said = driver.communicate()
    assert driver.returncode == 3
    assert killed == ["whole"] * 3
    assert f"edgepose: {poison}: its worker died 3 times" in said.splitlines()
    assert rows_in(out) == posenet_rows(good, "--track")
    told = status(out)
    assert (told["done"], told["failed"]) == (1, 1)
    # asked again, it is given its chance
    driver = cluster.drive(out, poison, good, "--retry-failed")
    _, said = driver.communicate(timeout=400)
    assert driver.returncode == 0, said
    assert rows_in(out, poison) == posenet_rows(poison, "--track")


@pytest.mark.long
def test_a_picture_that_kills_its_worker_is_set_aside_alone_on_a_cluster(
    cluster: Cluster, make_film: MakeFilm, tmp_path: Path
) -> None:
    out, folder = tmp_path / "out", tmp_path / "pictures"
    folder.mkdir()
    capture = cv2.VideoCapture(str(make_film("mp4")))
    for i in range(5):
        cv2.imwrite(str(folder / f"{i}.png"), capture.read()[1])
    # takes a second to read, so that its worker is met at it
    poison = folder / "3.png"
    cv2.imwrite(str(poison), np.zeros((8000, 8000), np.uint8))
    driver = cluster.drive(out, folder)
    # the shard is given up at once, and then done picture by picture
    killed = killed_at_work(out, driver, "whole", "picture-000003")
    _, said = driver.communicate()
    assert driver.returncode == 3
    assert killed == ["whole"] + ["picture-000003"] * 3
    assert f"edgepose: {poison}: its worker died 3 times" in said.splitlines()
    expected = posenet_rows(folder, "--track")
    assert rows_in(out) == [row for row in expected if row["source"] != str(poison)]
    assert check(Folder(out)) == []
    (source,) = status(out)["sources"]
    assert source["problems"] == [f"{poison}: its worker died 3 times"]
    assert (source["status"], source["frames"]) == ("damaged", 4)


ALONE = (
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
)  # a process with file systems of its own


@pytest.mark.long
@pytest.mark.skipif(
    shutil.which(ALONE[0]) is None
    or subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode != 0,
    reason="unshare is not there or not allowed: no node can have other folders than the others",
)
def test_nodes_that_cannot_do_the_job_are_named(
    cluster: Cluster, make_film: MakeFilm, tmp_path: Path
) -> None:
    out, film = tmp_path / "out", tmp_path / "film.mp4"
    film.write_bytes(make_film("mp4").read_bytes())
    other = tmp_path / "other"  # edgepose of another version
    shutil.copytree(Path(edgepose.__file__).parent, other / "edgepose")
    version = other / "edgepose" / "version.py"
    version.write_text(version.read_text().replace(edgepose.__version__, "0.0.1"))
    home = tmp_path / "home"  # other weights
    weights = find_network(NetworkChoice(network=NETWORK)).model
    (home / "networks" / NETWORK).mkdir(parents=True)
    (home / "networks" / NETWORK / weights.name).write_bytes(weights.read_bytes() + b"\0")
    hidden = ["sh", "-c", f'mount -t tmpfs none {tmp_path} && exec "$@"', "-"]
    extra: dict[str, tuple[Sequence[str], dict[str, str]]] = {
        f"127.0.{NET}.4": ((), {"PYTHONPATH": str(other)}),
        f"127.0.{NET}.5": ((), {"EDGEPOSE_HOME": str(home)}),
        f"127.0.{NET}.6": ((*ALONE, *hidden), {}),
    }
    nodes = []
    try:
        for where, (before, more) in extra.items():
            words = (f"--address={cluster.address}", f"--node-ip-address={where}")
            nodes.append(cluster.start(*words, before=before, **more))
        driver = cluster.drive(out, film)
        _, said = driver.communicate(timeout=400)
    finally:
        for node in nodes:
            end(node)
    assert driver.returncode == 2
    older, weights_, unseen = extra
    assert sorted(said.replace("edgepose: ", "").splitlines()[1:]) == [
        f"Node {older} has edgepose 0.0.1, and the driver {edgepose.__version__}.",
        f"Node {weights_} has other weights of {NETWORK} than the driver.",
        f"Node {unseen} does not see {out}: --out must be a folder that all nodes share.",
    ]
    assert not list(out.glob(".nonce*"))


@pytest.mark.long
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
    _, said = driver.communicate(timeout=400)
    assert driver.returncode == 0, said
    assert rows_in(out) == expected
    assert check(Folder(out)) == []
    assert list(out.rglob("*.part")) == []


def is_actor(number: int) -> bool:
    try:
        return b"MapWorker" in Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        return False


def environment(number: int) -> bytes:
    """Of a process; nothing where it has ended meanwhile."""
    try:
        return Path(f"/proc/{number}/environ").read_bytes()
    except OSError:
        return b""


@pytest.mark.long
def test_two_workers_share_a_gpu(cluster: Cluster, make_film: MakeFilm, tmp_path: Path) -> None:
    """Ray gives each its part, and the job is as any other; what infers on a GPU is tested elsewhere."""
    out, film = tmp_path / "out", make_film("closed")
    parts = ("--gpus-per-worker", "0.5", "--cpus-per-worker", "0.5")
    driver = cluster.drive(out, film, *parts)
    said, problems = driver.communicate(timeout=500)
    assert driver.returncode == 0, problems
    told = [json.loads(line) for line in said.splitlines()]
    assert len({row["worker"] for row in told if row["event"] == "part"}) == 2
    assert rows_in(out) == posenet_rows(film, "--track")


def test_what_the_cluster_has_not_is_refused_at_once(
    cluster: Cluster, make_film: MakeFilm, tmp_path: Path
) -> None:
    driver = cluster.drive(tmp_path / "out", make_film("mp4"), "--gpus-per-worker", "1")
    _, said = driver.communicate(timeout=200)
    assert driver.returncode == 2
    assert "2 workers need 2 GPUs, and the cluster has 1." in said
    assert "--num-gpus=1" in said
    assert len(said.splitlines()) <= 2


@pytest.mark.long
def test_a_cluster_of_our_own_listens_on_this_machine_only(
    make_film: MakeFilm, tmp_path: Path
) -> None:
    out, film = tmp_path / "out", make_film("mp4")
    words = ["--network", "edgepose-lite-body", "--segment", "0.4", "--workers", "2"]
    command = [sys.executable, "-m", "edgepose", "batch", str(film), "--out", str(out), *words]
    stale = {**os.environ, "RAY_ADDRESS": f"{HEAD}:{PORT - 1}"}  # of a cluster that is gone
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=stale)
    try:
        while driver.poll() is None and not list(out.glob("work/*/segment-*.parquet")):
            time.sleep(0.02)
        started = [driver.pid, *descendants(driver.pid)]
        heard = {address for number in started for address in listening(number)}
        _, said = driver.communicate(timeout=400)
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


STALE, TOKEN = f"{HEAD}:{PORT - 1}", {"RAY_AUTH_TOKEN": "0" * 64}


@pytest.mark.parametrize(
    ("address", "more", "code", "said"),
    [
        (STALE, TOKEN, 1, "no Ray cluster can be joined there"),
        ("auto", TOKEN | {"RAY_ADDRESS": STALE}, 1, "no Ray cluster can be joined there"),
        (STALE, {"RAY_AUTH_TOKEN_PATH": "/none"}, 2, "the token of the cluster is not here"),
    ],
    ids=["stale", "auto", "no token"],  # processes that share the tests must find the same names
)
def test_an_address_where_nothing_is(
    address: str, more: dict[str, str], code: int, said: str, make_film: MakeFilm, tmp_path: Path
) -> None:
    words = [str(make_film("mp4")), "--out", str(tmp_path), "--cluster", address]
    ended = subprocess.run(
        [sys.executable, "-m", "edgepose", "batch", *words],
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code
    assert f"--cluster {STALE}: {said}" in ended.stderr
    assert len(ended.stderr.splitlines()) == 2  # after what there is to do
