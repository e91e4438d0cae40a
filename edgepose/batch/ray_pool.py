"""Workers on a Ray cluster, or on one that is started for the job: Ray Data over tasks, never over frames.

A row of the data set is a task of a few hundred bytes. Its actor reads the film, infers and writes the part
itself, so that the object store holds next to nothing however long films are. That a part is done says
the file that is there; Ray's own retries only bring a task to another worker, and tries are
counted on disk, since Ray would retry a task that kills its worker for ever.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import platform
import re
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.batch.files import Folder, Task
from edgepose.batch.plan import Job, digests
from edgepose.batch.worker import Done, Worker, fatal
from edgepose.closing import Closing
from edgepose.errors import (
    BackendUnavailable,
    EdgeposeError,
    EngineError,
    OutputError,
    UsageError,
)
from edgepose.version import __version__
from edgepose.wanted import find_detector, find_network

log = logging.getLogger(__name__)

STORE = 100_000_000  # bytes of the object store of a cluster of our own: it holds descriptors only
ROUND = 5000  # tasks that are handed to Ray at a time
SAMPLE = 1000  # inputs that are looked for on every node
# how a client of HTTP/2 begins: a fixed text and a frame of settings (type 4), which is answered by one
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
# of glibc, read when a process starts: the many threads of Ray's workers share two heaps
FEW_HEAPS = {"MALLOC_ARENA_MAX": "2"}
PATIENCE = 300  # seconds that a node may take to answer; it may have to fetch the network


@dataclass(frozen=True)
class PoolShape:
    """How many workers, and what each one takes.

    Attributes:
        workers: how many. cpus, gpus: of each. address: of a running cluster, "auto" = the one of this
            machine, "" = start one here for the job.
    """

    workers: int
    cpus: float = 1.0
    gpus: float = 0.0
    address: str = ""


class RayPool(Closing):
    """Workers as actors.

    Args:
        root: folder of the job. run, attempts, mixed: as of `Worker`.

    Raises:
        BackendUnavailable: Ray is not installed. UsageError: the cluster has not what is asked for, or
            wants a token that is not here. EngineError: no cluster answers.
    """

    def __init__(self, root: str, run: str, attempts: int, mixed: bool, shape: PoolShape) -> None:
        self._arguments = (root, run, attempts, mixed, os.getcwd())
        self._shape = shape
        self._root = root
        self._ray = _ray(shape.address)
        self._connect()
        try:
            self._check_resources()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        shape = self._shape
        common = {"logging_level": logging.ERROR, "log_to_driver": False}
        if not shape.address:
            # not "auto": that would join, or stumble over, a cluster that happens to be there
            with _on_loopback(), _silent():
                self._ray.init(
                    address="local",
                    num_cpus=max(1, int(shape.workers * shape.cpus + 1)),
                    object_store_memory=STORE,
                    include_dashboard=False,
                    **common,
                )
            if not _is_loopback(node := self._ray.nodes()[0]["NodeManagerAddress"]):
                log.warning("Ray listens on %s and not on this machine alone.", node)
            return
        address = _found() if shape.address == "auto" else shape.address
        _reach(address)  # Ray would wait for minutes
        where: dict[str, Any] = {"_node_ip_address": h} if _is_loopback(h := _host(address)) else {}
        where["runtime_env"] = {"env_vars": dict(FEW_HEAPS)}
        try:
            with _silent():
                self._ray.init(address=address, **where, **common)
        except (ConnectionError, RuntimeError, ValueError, OSError) as e:
            if other := re.search(r"Ray: (\S+)\s+Python: (\S+)", str(e)):
                raise UsageError(
                    f"--cluster {address} has Ray {other[1]} and Python {other[2]}, and here are "
                    f"{self._ray.__version__} and {platform.python_version()}: they must be the same."
                ) from None
            raise EngineError(_not_joined(address, e)) from None

    def _check_resources(self) -> None:
        """What nobody has, Ray would wait for."""
        shape, has = self._shape, self._ray.cluster_resources()
        for what, each in (("GPU", shape.gpus), ("CPU", shape.cpus)):
            need = each * shape.workers
            if need > has.get(what, 0.0) + 1e-6:
                hint = ""
                if what == "GPU":
                    hint = " Ray does not see the GPU of a Jetson: start its node with ray start --num-gpus=1."
                raise UsageError(
                    f"{shape.workers} workers need {need:g} {what}s, and the cluster has "
                    f"{has.get(what, 0.0):g}.{hint}"
                )

    def check_nodes(self, job: Job, paths: Sequence[str]) -> None:
        """Ask every node whether it can do the job, before there is work.

        Raises:
            UsageError: some cannot; a line for each says which and why. OutputError: the folder cannot
                be written.
        """
        nonce = Folder(self._root).root / f".nonce.{secrets.token_hex(8)}.part"
        some = list(paths[:: len(paths) // SAMPLE + 1])
        try:
            nonce.write_text(nonce.name, encoding="ascii")
            problems = list(self._ask_nodes(str(nonce), job, some))
        except OSError as e:
            raise OutputError(f"{nonce} cannot be written: {e.strerror or e}.") from None
        finally:
            nonce.unlink(missing_ok=True)
        if problems:
            raise UsageError("\n".join(problems))

    def _ask_nodes(self, nonce: str, job: Job, paths: list[str]) -> Iterator[str]:
        ray = self._ray
        look = ray.remote(num_cpus=0, max_retries=1)(_look)
        only = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        nodes = [n for n in ray.nodes() if n["Alive"]]
        told = (nonce, job.to_json(), paths, platform.python_version(), os.getcwd())
        asked = [
            look.options(scheduling_strategy=only(n["NodeID"], soft=False)).remote(*told)
            for n in nodes
        ]
        for node, answer in zip(nodes, asked, strict=True):
            problem = self._answer(answer)
            # one that has gone meanwhile does no harm: the others do its work
            if problem and node["NodeID"] in {n["NodeID"] for n in ray.nodes() if n["Alive"]}:
                yield f"Node {node['NodeManagerAddress']} {problem}"

    def _answer(self, answer: Any) -> str:
        ray = self._ray
        try:
            return str(ray.get(answer, timeout=PATIENCE))
        except ray.exceptions.GetTimeoutError:
            return f"gives no answer within {PATIENCE} s: can Python start there?"
        except ray.exceptions.RayError as e:
            if "No module named 'edgepose" in str(e):
                return f"has no edgepose {__version__}: pip install 'edgepose[cluster]' there."
            return f"cannot be asked: {str(e).strip().splitlines()[-1]}"

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """What became of each task, in the order of their ends.

        Raises:
            EngineError: the cluster went away.
        """
        for at in range(0, len(tasks), ROUND):
            yield from self._some(tasks[at : at + ROUND])

    def _some(self, tasks: Sequence[Task]) -> Iterator[Done]:
        ray, shape = self._ray, self._shape
        rows = [{"task": task.to_json()} for task in tasks]
        strategy = ray.data.ActorPoolStrategy(
            size=min(shape.workers, len(tasks)), max_tasks_in_flight_per_actor=2
        )
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Actor,
            fn_constructor_args=self._arguments,
            batch_size=1,
            num_cpus=shape.cpus,
            num_gpus=shape.gpus or None,
            compute=strategy,
        )
        try:
            for row in done.iter_rows():
                yield Done.of_json(row["done"])
        except ray.exceptions.RayError as e:
            reason = str(e).strip().splitlines()[-1]
            raise EngineError(f"Ray gave up: {reason} The same command goes on.") from None

    def close(self) -> None:
        """Leave the cluster; one that was started for the job ends with it."""
        with suppress(Exception):  # whatever state Ray is in, the parts are on the disk
            self._ray.shutdown()


class Actor:
    """A worker for Ray; what it cannot do it says, since an exception would be retried for ever."""

    def __init__(self, root: str, run: str, attempts: int, mixed: bool, folder: str) -> None:
        self._worker: Worker | None = None
        _go_to(folder)
        try:
            self._worker = Worker(root, run, attempts, mixed)
        except Exception as e:  # told to the driver with the first task
            self._cannot = fatal(e)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Do the tasks of a block, which is one."""
        return {"done": [self._one(str(text)).to_json() for text in batch["task"]]}

    def _one(self, text: str) -> Done:
        if self._worker is None:
            return self._cannot
        try:
            return self._worker.do(Task.of_json(text))
        except EdgeposeError as e:
            return fatal(e)


def _go_to(folder: str) -> None:
    """Work where the driver does: its relative names must not mean the files of the node's own folder."""
    try:
        os.chdir(folder)
    except OSError:
        os.chdir("/")


def _look(nonce: str, row: dict[str, Any], paths: Sequence[str], python: str, folder: str) -> str:
    """What keeps this node from doing a job, "" where nothing does."""
    _go_to(folder)
    if row.get("edgepose") != __version__:
        return f"has edgepose {__version__}, and the driver {row.get('edgepose')}."
    job = Job.of_json(row)
    if platform.python_version_tuple()[:2] != tuple(python.split(".")[:2]):
        return f"has Python {platform.python_version()}, and the driver {python}."
    try:
        seen = Path(nonce).read_text(encoding="ascii") == Path(nonce).name
    except OSError:
        seen = False
    if not seen:
        return (
            f"does not see {os.path.dirname(nonce)}: --out must be a folder that all nodes share."
        )
    gone = next((p for p in paths if not os.path.exists(p)), "")
    if gone:
        return f"does not see {gone}: inputs must be in folders that all nodes share."
    try:
        network = find_network(job.network, precision=job.engine.precision)
        detector = find_detector(network, job.estimator, download=not job.network.no_download)
    except EdgeposeError as e:
        return f"({socket.gethostname()}) has not the network: {e}"
    if digests(network, detector) != job.weights:
        return f"has other weights of {network.manifest.name} than the driver."
    return ""


def _ray(address: str) -> Any:
    # before the import: no statistics go out, and only who has the token may connect
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    for name, value in FEW_HEAPS.items():
        os.environ.setdefault(name, value)  # for the cluster of our own
    if os.environ["RAY_AUTH_MODE"] == "token" and not _has_token():
        if address:
            raise UsageError(
                f"--cluster {address}: the token of the cluster is not here. Copy ~/.ray/auth_token from a "
                "node, or set RAY_AUTH_TOKEN_PATH; RAY_AUTH_MODE=disabled joins a cluster without one."
            )
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        import ray
        import ray.data
        import ray.util.scheduling_strategies
    except ImportError:
        raise BackendUnavailable(
            "More than one worker needs Ray. Install it: pip install edgepose[cluster]"
        ) from None
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


@contextmanager
def _on_loopback() -> Iterator[None]:
    """A cluster that is started inside the block listens on this machine only.

    Ray replaces 127.0.0.1 by an address that others can reach unless it believes that a machine
    cannot be part of a cluster, as it does by default on macOS.
    """
    import ray._private.ray_constants as constants

    before = getattr(constants, "ENABLE_RAY_CLUSTER", True)
    constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _silent() -> Iterator[None]:
    """What Ray's own code prints on stderr while it starts is dropped; what fails is raised."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _has_token() -> bool:
    named = os.environ.get("RAY_AUTH_TOKEN_PATH", os.path.expanduser("~/.ray/auth_token"))
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or os.path.exists(named)


def _found() -> str:
    """The address of the cluster that this machine is a node of.

    Raises:
        EngineError: it is of none.
    """
    from ray._private.services import canonicalize_bootstrap_address

    try:
        return str(canonicalize_bootstrap_address("auto"))
    except (ConnectionError, ValueError, OSError):
        raise EngineError(
            "--cluster auto: no Ray runs on this machine. Start a node (ray start), or give HOST:PORT."
        ) from None


def _reach(address: str) -> None:
    """Find out whether anything at an address speaks Ray's protocol (gRPC, which is HTTP/2).

    Raises:
        EngineError: nothing does. UsageError: it is none.
    """
    port = address.rpartition(":")[2]
    if "://" in address or not _host(address) or not _is_port(port):
        raise UsageError(
            f"--cluster {address!r} is not HOST:PORT, such as 192.168.1.10:6379, or auto."
        )
    try:
        with socket.create_connection((_host(address), int(port)), timeout=5) as connection:
            connection.sendall(HELLO)
            if connection.recv(9)[3:4] != HELLO[-6:-5]:
                raise OSError("what listens there is not Ray")
    except OSError as e:
        raise EngineError(_not_joined(address, e)) from None


def _not_joined(address: str, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0].partition(". ")[0]
    return (
        f"--cluster {address}: no Ray cluster can be joined there: {reason}. Is it running, is this "
        "machine one of its nodes (ray start), and is the token the same?"
    )


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _is_port(text: str) -> bool:
    return text.isdecimal() and 0 < int(text) < 1 << 16


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
