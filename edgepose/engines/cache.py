"""The cache of TensorRT plans: what a plan was built from, kept beside it, checked before use.

A plan fits exactly one GPU, driver, TensorRT version and set of options. All of them make up its
key; the file's name carries a digest of the key, and a readable JSON sidecar the key itself. Plans are
written to a temporary name and renamed, and one process builds while others wait.
No GPU library is imported here.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from edgepose import paths
from edgepose.engines.gpu import Gpu
from edgepose.engines.options import PRECISIONS
from edgepose.errors import EngineError, NetworkFileError, OutputError
from edgepose.files import file_digest, locked, write_atomically
from edgepose.json_file import read_json
from edgepose.version import __version__

FORMAT = 1
MOST_SIDECAR = 1 << 22  # bytes
SUFFIX = ".engine"


@dataclass(frozen=True)
class PlanKey:
    """Everything that a plan depends on; two plans are the same if and only if all fields are.

    Attributes:
        onnx: sha256 of the network and of its weights beside it.
        flavour: "tensorrt" or "tensorrt_rtx".
        version: of the library.
        gpu, compute_capability, driver, multiprocessors: as `Gpu` has them; "" and 0 where a plan was
            built without a GPU.
        memory: of the GPU, in GiB, rounded: what the system keeps for itself changes with its version.
        precision: fp32, fp16 or int8.
        shape: input shapes, "input 1x3x224x224" with ? for what the profile leaves open.
        batch: "1" or "1:4:8".
        dla: core of the accelerator, -1 = GPU.
        calibration: digest of the calibration pictures, "" = none.
        options: further builder options, "workspace=512 level=3"; "" = defaults.
    """

    onnx: str
    flavour: str
    version: str
    gpu: str = ""
    compute_capability: str = ""
    driver: str = ""
    multiprocessors: int = 0
    memory: int = 0
    precision: str = "fp16"
    shape: str = ""
    batch: str = "1"
    dla: int = -1
    calibration: str = ""
    options: str = ""

    def digest(self) -> str:
        """16 hex digits that identify the key."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def differences(self, other: PlanKey) -> list[str]:
        """What differs in `other`, as "field: mine, now theirs", in the order of the fields."""
        out = []
        for f in fields(self):
            mine, theirs = getattr(self, f.name), getattr(other, f.name)
            if mine != theirs:
                short = (lambda v: str(v)[:12]) if f.name in ("onnx", "calibration") else str
                out.append(
                    f"{f.name.replace('_', ' ')}: {short(mine) or 'none'}, "
                    f"now {short(theirs) or 'none'}"
                )
        return out


def machine_fields(gpu: Gpu | None) -> dict[str, Any]:
    """The fields of a key that tell the machine; none where there is no GPU."""
    if gpu is None:
        return {}
    return {
        "gpu": gpu.name,
        "compute_capability": gpu.compute_capability,
        "driver": gpu.driver,
        "multiprocessors": gpu.multiprocessors,
        "memory": round(gpu.memory / 2**30),
    }


# a plan with another value here was built for another machine, not by another request
MACHINE = ("gpu", "compute_capability", "driver", "multiprocessors", "memory")
ENVIRONMENT = ("flavour", "version", *MACHINE)


@dataclass(frozen=True)
class Sidecar:
    """What is written beside a plan.

    Attributes:
        key: what it was built from.
        name: name of the network's file without suffix.
        source: path of the ONNX file when it was built.
        bytes, sha256: of the plan.
        created: seconds since 1970.
        build_seconds: how long the build took.
        inputs, outputs: name to [dtype, shape], -1 for what is dynamic.
        notes: what the builder had to say.
    """

    key: PlanKey
    name: str
    source: str
    bytes: int
    sha256: str
    created: float
    build_seconds: float = 0.0
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The sidecar's file content."""
        return {"format": FORMAT, "edgepose": __version__, **asdict(self)}


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar in a JSON file.

    Raises:
        NetworkFileError: missing, damaged, or of another format.
    """
    try:
        if path.exists() and not path.is_file():
            raise NetworkFileError(f"Sidecar {path} is no file.")  # a pipe would never end
        data = read_json(path, MOST_SIDECAR)
    except FileNotFoundError as e:
        raise NetworkFileError(f"Sidecar {path} is missing.") from e
    except (OSError, ValueError) as e:
        raise NetworkFileError(f"Sidecar {path} is damaged or not readable.") from e
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise NetworkFileError(f"Sidecar {path} is of another format.")
    try:
        return _sidecar(data)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:
        raise NetworkFileError(f"Sidecar {path} is damaged: {e}.") from e


def _sidecar(data: dict[str, Any]) -> Sidecar:
    known = {f.name for f in fields(PlanKey)}
    key = PlanKey(**{k: v for k, v in data["key"].items() if k in known})
    for f in fields(PlanKey):
        if not isinstance(getattr(key, f.name), int if f.type == "int" else str):
            raise TypeError(f"field {f.name} of the key has a wrong type")
        if not str(getattr(key, f.name)).isprintable():
            raise ValueError(f"field {f.name} of the key holds control characters")
    if key.precision not in PRECISIONS:  # it becomes a part of file names
        raise ValueError(f"precision {key.precision[:20]!r} is unknown")
    return Sidecar(
        key,
        str(data["name"]),
        str(data["source"]),
        int(data["bytes"]),
        str(data["sha256"]),
        float(data["created"]),
        float(data.get("build_seconds", 0)),
        _tensors(data.get("inputs", {})),
        _tensors(data.get("outputs", {})),
        tuple(map(str, data.get("notes", ()))),
    )


def _tensors(data: Any) -> dict[str, Any]:
    return {str(n): [str(dtype), [int(d) for d in shape]] for n, (dtype, shape) in data.items()}


@dataclass(frozen=True)
class Entry:
    """A plan in the cache: its file, its sidecar (None = unreadable), and what is wrong with it."""

    path: Path
    sidecar: Sidecar | None
    damage: str = ""

    @property
    def size(self) -> int:
        """Bytes of the plan."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0


@dataclass(frozen=True)
class Lookup:
    """The answer of the cache: a plan, or why there is none.

    Attributes:
        path: the plan, None = build one.
        reason: why it must be built, in words for people.
        rebuild: True where a plan was there and cannot be used any more.
    """

    path: Path | None
    reason: str = ""
    rebuild: bool = False


class PlanCache:
    """A folder of plans.

    Args:
        folder: where they lie, made when the first one is stored; None = the user's cache folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or paths.engines_cache()

    def path(self, name: str, key: PlanKey) -> Path:
        """Where the plan of a key lies or would lie."""
        stem = re.sub(r"[^\w.-]+", "_", name)[:60] or "network"
        return self.folder / f"{stem}.{key.precision}.{key.digest()}{SUFFIX}"

    def look_up(self, name: str, key: PlanKey) -> Lookup:
        """The plan of a key, whole and unchanged since it was built; else the reason to build."""
        path = self.path(name, key)
        if path.exists():
            damage = self.damage(path, key)
            return Lookup(None, damage, rebuild=True) if damage else Lookup(path)
        nearest = self.nearest(name, key)
        if nearest is None:
            return Lookup(None, "none was built yet")
        differences = nearest.differences(key)
        stale = any(getattr(nearest, f) != getattr(key, f) for f in (*ENVIRONMENT, "onnx"))
        return Lookup(None, "; ".join(differences), rebuild=stale)

    def nearest(self, name: str, key: PlanKey) -> PlanKey | None:
        """The cached key of the same network that differs in the fewest fields."""
        stem = self.path(name, key).name.split(f".{key.precision}.")[0]
        found = [
            e.sidecar.key for e in self.entries() if e.sidecar and e.path.name.startswith(stem)
        ]
        return min(found, key=lambda k: len(k.differences(key)), default=None)

    def calibrated(self, name: str, key: PlanKey) -> list[Path]:
        """Whole plans that differ from a key in the calibration pictures only, newest first."""
        found = [
            (e.sidecar.created, e.path)
            for e in self.entries()
            if e.sidecar
            and e.sidecar.name == name
            and e.sidecar.key == replace(key, calibration=e.sidecar.key.calibration)
            and not self.damage(e.path)
        ]
        return [path for _, path in sorted(found, reverse=True)]

    def damage(self, path: Path, key: PlanKey | None = None) -> str:
        """What is wrong with a cached plan, "" = nothing: size, checksum, and the sidecar's key."""
        try:
            sidecar = read_sidecar(sidecar_path(path))
        except NetworkFileError as e:
            return str(e).rstrip(".")
        if key is not None and sidecar.key != key:
            return "its sidecar belongs to another plan: " + "; ".join(sidecar.key.differences(key))
        try:
            if not path.is_file():
                return "the plan is no file"
            size = path.stat().st_size
            if size != sidecar.bytes:
                return f"the plan is cut off: {size} of {sidecar.bytes} bytes"
            if file_digest(path) != sidecar.sha256:
                return "the plan was changed since it was built (checksum differs)"
        except OSError as e:
            return f"the plan cannot be read: {e.strerror}"
        return ""

    def store(self, plan: bytes, sidecar: Sidecar) -> Path:
        """Keep a plan; the sidecar is complete but for size and checksum, which are added.

        Raises:
            OutputError: the folder cannot be written, or the disk is full. Nothing half-written
                stays behind.
        """
        path = self.path(sidecar.name, sidecar.key)
        for there in (path, sidecar_path(path)):
            if (
                there.exists() and not there.is_file()
            ):  # nobody might ever read what goes into a pipe
                raise OutputError(f"{there} is no file, so no engine is kept there; remove it.")
        write_plan(path, plan, sidecar)
        return path

    @contextmanager
    def lock(self, name: str, key: PlanKey, waiting: Callable[[], None]) -> Iterator[None]:
        """Held by the one process that builds this plan; others wait until it is done.

        Args:
            waiting: called once where another process holds it.

        Raises:
            OutputError: the folder cannot be written.
        """
        lock = locked(self.path(name, key).with_suffix(".lock"), waiting=waiting)
        with ExitStack() as stack:
            try:
                stack.enter_context(lock)
            except OSError as e:
                raise OutputError(
                    f"The engine cache {self.folder} cannot be used: {e.strerror or e}. "
                    "Set EDGEPOSE_CACHE to a folder that can be written."
                ) from e
            yield

    def entries(self) -> list[Entry]:
        """Every plan in the folder, by name; checksums are not looked at (see `damage`)."""
        out = []
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path.is_dir():
                continue
            try:
                sidecar = read_sidecar(sidecar_path(path))
            except NetworkFileError as e:
                out.append(Entry(path, None, str(e)))
                continue
            entry = Entry(path, sidecar)
            cut = "" if entry.size == sidecar.bytes else f"{entry.size} of {sidecar.bytes} bytes"
            out.append(replace(entry, damage=cut and f"the plan is cut off: {cut}"))
        return out

    def find(self, text: str) -> list[Entry]:
        """Entries whose file name begins with `text`, or holds it as name or digest."""
        wanted = Path(text).name.lower()
        exact = [e for e in self.entries() if wanted in (e.path.name.lower(), e.path.stem.lower())]
        return exact or [e for e in self.entries() if wanted in e.path.name.lower()]

    def remove(self, entry: Entry) -> int:
        """Delete a plan, its sidecar and its lock; the bytes that became free."""
        size = entry.size
        for path in (entry.path, sidecar_path(entry.path), entry.path.with_suffix(".lock")):
            path.unlink(missing_ok=True)
        return size

    def leftovers(self, older_than: float = 3600) -> list[Path]:
        """Temporary files of builds that died, not touched for `older_than` seconds."""
        limit = time.time() - older_than
        return [p for p in sorted(self.folder.glob(".*.part")) if p.lstat().st_mtime < limit]


def sidecar_path(plan: Path) -> Path:
    """Where the sidecar of a plan lies: x.engine.json beside x.engine."""
    return plan.with_name(f"{plan.name}.json")


def write_plan(path: Path, plan: bytes, sidecar: Sidecar) -> Sidecar:
    """Write plan and sidecar, each whole or not at all.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    full = replace(sidecar, bytes=len(plan), sha256=hashlib.sha256(plan).hexdigest())
    text = json.dumps(full.to_json(), indent=2, ensure_ascii=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, plan)
        write_atomically(sidecar_path(path), text)
    except OSError as e:
        raise OutputError(
            f"{path.name} ({len(plan) / 2**20:.1f} MiB) cannot be kept in {path.parent}: "
            f"{e.strerror or e}. Free some space, or set EDGEPOSE_CACHE to another folder."
        ) from e
    return full


def import_plan(cache: PlanCache, plan: Path) -> Path:
    """Take a plan with its sidecar from elsewhere into the cache.

    Raises:
        EngineError: plan or sidecar is missing, damaged, or they do not belong together.
        OutputError: the cache cannot be written.
    """
    if not plan.is_file():
        raise EngineError(f"Plan {plan} does not exist.")
    damage = cache.damage(plan)
    if damage:
        raise EngineError(f"Plan {plan} cannot be imported: {damage}.")
    return cache.store(plan.read_bytes(), read_sidecar(sidecar_path(plan)))


def export_plan(cache: PlanCache, entry: Entry, target: Path) -> Path:
    """Copy a plan and its sidecar to a file or a folder, to carry it to a device of the same kind.

    Raises:
        EngineError: the plan is damaged.
        OutputError: the target cannot be written.
    """
    damage = cache.damage(entry.path)
    if damage or entry.sidecar is None:
        raise EngineError(f"Plan {entry.path} cannot be exported: {damage or entry.damage}.")
    folder = target.is_dir() or target.suffix not in (SUFFIX, ".plan", ".trt")
    path = target / entry.path.name if folder else target
    write_plan(path, entry.path.read_bytes(), entry.sidecar)
    return path
