"""The folder of a job. What is done is what lies in it: there is no other state.

DIR/job.json                              what is asked for; another job in DIR is refused
DIR/engine.json                           what infers, as its first worker found it
DIR/work/KEY/plan.json                    how a film is cut
DIR/work/KEY/segment-000012.parquet       a part that is done; .tries and .failed beside it
DIR/work/KEY/recut                        why a film goes through in one piece, a shard picture by picture
DIR/poses/film=KEY.parquet                a film that is done; its work folder is gone then
DIR/events/film=KEY.jsonl                 its enter and exit events, with --zones
DIR/manifest.parquet                      a row a source
DIR/lock.json                             who runs the job now
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgepose.errors import OutputError, UsageError
from edgepose.files import PART, write_atomically
from edgepose.io.sources.segments import Segment
from edgepose.json_file import read_json

BEAT = 10.0  # seconds between two signs of life of a driver
STALE = 60.0  # seconds without one after which it counts as dead
FILM, PICTURES = "film", "pictures"


@dataclass(frozen=True)
class Task:
    """What a worker does in one go: a segment, a whole film, a shard of pictures.

    Attributes:
        kind: film or pictures. key: of the film or shard. path: of the film, or what names the pictures.
        segment: of the film; None = all of it. parts: into how many a film or shard is cut, 0 = one piece.
        paths, first: of a shard: its pictures, and the number of the first one.
        picture: place in its shard of the one picture that is the whole task; -1 = the shard is.
    """

    kind: str
    key: str
    path: str
    segment: Segment | None = None
    parts: int = 0
    paths: tuple[str, ...] = ()
    first: int = 0
    picture: int = -1

    @property
    def name(self) -> str:
        """Of its files."""
        return self.names()[self.place]

    @property
    def place(self) -> int:
        """Which one of the parts it is."""
        return self.segment.number if self.segment is not None else max(0, self.picture)

    def names(self) -> list[str]:
        """Of the files of all parts, in their order."""
        if not self.parts:
            return ["whole"]
        kind = "segment" if self.kind == FILM else "picture"
        return [f"{kind}-{n:06d}" for n in range(self.parts)]

    @property
    def recuts(self) -> bool:
        """True where there is another way to do its film or shard, should this one fail."""
        return self.segment is not None or len(self.paths) > 1

    def to_json(self) -> str:
        """For the way to another process; its paths may be no text that a file may hold."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Task:
        """What `to_json` wrote."""
        fields = json.loads(text)
        segment = fields.pop("segment")
        paths = tuple(fields.pop("paths"))
        return cls(segment=Segment(**segment) if segment else None, paths=paths, **fields)


class Folder:
    """Paths and marks below the folder of a job."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(os.path.abspath(root))
        self.job = self.root / "job.json"
        self.engine = self.root / "engine.json"
        self.manifest = self.root / "manifest.parquet"
        self.lock = self.root / "lock.json"

    def poses(self, kind: str, key: str) -> Path:
        """The final file of a film or shard."""
        return self.root / "poses" / f"{kind}={key}.parquet"

    def events(self, key: str) -> Path:
        """The events of a film."""
        return self.root / "events" / f"film={key}.jsonl"

    def work(self, key: str) -> Path:
        """Where the parts of a film or shard lie until all are there."""
        return self.root / "work" / key

    def part(self, key: str, name: str) -> Path:
        """A part that is done."""
        return self.work(key) / f"{name}.parquet"

    def parts(self, task: Task) -> list[Path]:
        """All parts of a task's film or shard in their order, those that are missing too."""
        return [self.part(task.key, name) for name in task.names()]

    # marks --------------------------------------------------------------------------------------
    def why_recut(self, key: str) -> str:
        """Why a film goes through in one piece, a shard picture by picture; "" where it need not."""
        return _text(self.work(key) / "recut")

    def set_recut(self, key: str, reason: str) -> None:
        """From now on a film goes through in one piece, a shard picture by picture."""
        _mark(self.work(key) / "recut", reason)

    def failed(self, key: str, name: str) -> str:
        """Why a part was set aside, "" where it was not."""
        return _text(self.work(key) / f"{name}.failed")

    def set_failed(self, key: str, name: str, reason: str) -> None:
        """Set a part aside."""
        _mark(self.work(key) / f"{name}.failed", reason)

    def tries(self, key: str, name: str, run: str) -> int:
        """How often a part was begun in a run."""
        lines = _text(self.work(key) / f"{name}.tries").splitlines()
        return sum(line.startswith(f"{run} ") for line in lines)

    def add_try(self, key: str, name: str, run: str) -> None:
        """A part is begun; on the disk before it is, since it may end the process."""
        path = self.work(key) / f"{name}.tries"
        _mark(path, f"{_text(path)}{run} {os.getpid()}\n")

    def forget_tries(self, key: str, name: str) -> None:
        """The part is done, or was ended from outside."""
        (self.work(key) / f"{name}.tries").unlink(missing_ok=True)

    def make_work(self, key: str) -> None:
        """Make the folder of the parts of a film or shard.

        Raises:
            OutputError: it cannot be made.
        """
        _make(self.work(key), str(self.work(key)))

    def sweep(self) -> None:
        """Delete what processes that were killed have left half written."""
        for where in (".", "*", "work/*"):
            for part in self.root.glob(f"{where}/.*{PART}"):
                part.unlink(missing_ok=True)

    def drop_work(self, key: str) -> None:
        """The film is done: its parts are not needed any more."""
        shutil.rmtree(self.work(key), ignore_errors=True)

    def make(self) -> None:
        """Make the folder.

        Raises:
            OutputError: it cannot be made or written.
        """
        for name in ("work", "poses"):
            _make(self.root / name, f"--out {self.root}")


def _make(path: Path, name: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{name} cannot be made: {e.strerror or e}.") from None


def _mark(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as e:
        raise OutputError(f"{path} cannot be written: {e.strerror or e}.") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def key_of(paths: Iterable[str]) -> str:
    """What films and shards are known by: their paths, sizes and times of change.

    Raises:
        OSError: one is not there.
    """
    digest = hashlib.sha256()
    for path in paths:
        found = os.stat(path)
        name = os.fsencode(os.path.abspath(path))
        digest.update(b"%s\0%d\0%d\0" % (name, found.st_size, found.st_mtime_ns))
    return digest.hexdigest()[:16]


def key_of_name(path: str) -> str:
    """What a source that is not there is known by."""
    return hashlib.sha256(os.fsencode(os.path.abspath(path))).hexdigest()[:16]


# the one driver -----------------------------------------------------------------------------------
@contextmanager
def held(folder: Folder) -> Iterator[str]:
    """Be the only one who runs the job, wherever the others are; gives the name of this run.

    Raises:
        UsageError: another process does, or did so less than a minute ago on another machine.
    """
    me = {"host": socket.gethostname(), "pid": os.getpid(), "run": secrets.token_hex(8)}
    _take(folder, me)
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(folder, me, ended), daemon=True, name="heartbeat")
    beat.start()
    try:
        yield str(me["run"])
    finally:
        ended.set()
        beat.join()
        if _holder(folder) == me:
            folder.lock.unlink(missing_ok=True)


def _take(folder: Folder, me: dict[str, Any]) -> None:
    other = running(folder)
    if other:
        raise UsageError(
            f"{folder.root} is being worked on by process {other['pid']} on {other['host']}. Wait for "
            f"it, or look at it: edgepose batch status {folder.root}"
        )
    folder.lock.unlink(missing_ok=True)
    part = folder.lock.with_name(f".lock.{me['run']}.part")
    part.write_text(json.dumps(me), encoding="utf-8")
    try:
        os.link(part, folder.lock)  # of two who come at the same time one fails, on NFS too
    except FileExistsError:
        raise UsageError(f"{folder.root} is being worked on by another process.") from None
    except OSError:  # a file system without links
        os.replace(part, folder.lock)
    finally:
        part.unlink(missing_ok=True)


def _beat(folder: Folder, me: dict[str, Any], ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):
            if _holder(folder) == me:
                os.utime(folder.lock)


def _holder(folder: Folder) -> dict[str, Any]:
    try:
        found = read_json(folder.lock, 10_000)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and {"host", "pid", "run"} <= set(found) else {}


def running(folder: Folder) -> dict[str, Any]:
    """Who runs the job now (host, pid), {} where nobody does."""
    holder = _holder(folder)
    if not holder:
        return {}
    if holder["host"] == socket.gethostname() and not _is_alive(int(holder["pid"])):
        return {}
    try:
        return holder if _now(folder) - folder.lock.stat().st_mtime < STALE else {}
    except OSError:
        return {}


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is somebody else's
    return True


def _now(folder: Folder) -> float:
    """The time of the machine that keeps the folder, whose clock may differ from ours."""
    probe = folder.root / f".now.{secrets.token_hex(4)}.part"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()  # it may only be read: its clock is the best we have
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
