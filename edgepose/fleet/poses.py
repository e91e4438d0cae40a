"""`edgepose serve --fleet-poses`: the poses of every camera as Parquet files of 15 minutes, brought to the centre by PUT.

A file is on the disk, whole, before anybody sends it, and is deleted when the centre has it. Its name is the same at
every try, so that what arrives twice is there once. A film or camera that begins anew begins a new file. What
is in the file that is being written is lost when the program is killed: a Parquet file has its table at its end.

Neither disk nor network is waited for by who infers: results wait in a bounded queue, the newest are left
out, counted, where it is full. Files have a quota, too: the oldest go first, and are counted.
"""

from __future__ import annotations

import base64
import logging
import os
import queue
import random
import re
import ssl
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgepose.closing import Closing
from edgepose.errors import OutputError, UsageError
from edgepose.events.event import iso_time
from edgepose.files import PART, file_digest
from edgepose.fleet.delivery import Delivery, deliver, quoted
from edgepose.fleet.messages import check_device
from edgepose.io.sinks.parquet import Grain, ParquetWriter, arrow, describe
from edgepose.io.uri import parse
from edgepose.networks.connection import NoRedirect, Patience, opener
from edgepose.networks.topology import Topology
from edgepose.types import Result

log = logging.getLogger(__name__)
FILE_SECONDS = 900.0  # of a file
MOST_WAITING = 2000  # results that wait for the disk
PUT_TIMEOUT = 60.0
FILES_EVERY = 2.0  # seconds between looks for new files
LONGEST_WAIT = 300.0
HOPELESS = (400, 413, 415)  # the same file would be refused again
REFUSED = ".refused"  # suffix of such a file
SIZE = re.compile(r"(\d+(?:\.\d*)?)([KMGT]?)B?", re.IGNORECASE)


def size_of(text: str) -> int:
    """Bytes of `2G`, `500M`.

    Raises:
        UsageError: it is no size.
    """
    match = SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"--fleet-disk {text[:40]!r} is no size. Examples: 2G, 500M.")
    return int(float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " "))


@dataclass
class _File:
    """A file that is being written."""

    writer: ParquetWriter
    network: str
    began: float
    frame: int


class PoseFiles(Delivery):
    """Writes the files of all cameras into a folder.

    Args:
        folder: made where it is missing; parts that a killed program left in it are deleted.
        quota: bytes of the folder and `beside`. beside: the events' database, whose bytes count but which stays.
        seconds: of a file.

    Attributes:
        dropped: files that the quota or the centre cost. left_out: results for which there was no room.

    Raises:
        BackendUnavailable: no pyarrow. OutputError: the folder cannot be made.
    """

    def __init__(
        self, folder: Path, quota: int, beside: Path, *, seconds: float = FILE_SECONDS
    ) -> None:
        super().__init__(f"Poses {folder}")
        arrow()
        self.folder, self._quota, self._beside, self._seconds = folder, quota, beside, seconds
        self.dropped = self.left_out = 0
        self._full = False
        self._queue: queue.Queue[tuple[str, Result, Topology | None, float]] = queue.Queue(
            MOST_WAITING
        )
        self._open: dict[str, _File] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for part in folder.glob(f".*{PART}"):
                part.unlink()
        except OSError as e:
            raise OutputError(f"Poses cannot be kept in {folder}: {e.strerror}.") from None
        self._thread.start()

    def add(self, camera: str, result: Result, topology: Topology | None) -> None:
        """Take a result; never waits."""
        try:
            self._queue.put_nowait((camera, result, topology, time.time()))
        except queue.Full:
            self.left_out += 1

    def finished(self) -> list[Path]:
        """Whole files, the oldest first."""
        return self._lying("*.parquet")

    def _lying(self, pattern: str) -> list[Path]:
        found = [(p.name.rpartition("@")[2], p) for p in self.folder.glob(pattern)]
        return [path for _, path in sorted(found)]

    def _work(self) -> float:
        try:
            self._drain()
        except OutputError:
            self.dropped += 1
            raise OutputError("poses cannot be written; is the disk full?") from None
        self._keep_quota()
        return 0.5

    def _drain(self) -> None:
        """Write what waits, and finish the files that are long enough."""
        with suppress(queue.Empty):
            while True:
                self._write(*self._queue.get_nowait())
        now = time.time()
        for camera, file in list(self._open.items()):
            if not 0 <= now - file.began < self._seconds:
                self._finish(camera)

    def _write(self, camera: str, result: Result, topology: Topology | None, now: float) -> None:
        file = self._open.get(camera)
        if file and (result.network != file.network or result.frame <= file.frame):
            self._finish(camera)
        if camera not in self._open:
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
            name = re.sub(r"[^A-Za-z0-9_.-]", "_", camera)
            path = self.folder / f"{name}@{stamp}-{os.urandom(4).hex()}.parquet"
            writer = ParquetWriter(path, Grain.SMALL)
            writer.metadata |= {"camera": camera, "began": iso_time(now)}
            self._open[camera] = _File(writer, result.network, now, -1)
        file = self._open[camera]
        describe(file.writer.metadata, result, topology)
        file.frame = result.frame
        try:
            file.writer.write(result)
        except OutputError:  # a full disk: it has left no file
            del self._open[camera]
            raise

    def _finish(self, camera: str) -> None:
        self._open.pop(camera).writer.close()

    def _keep_quota(self) -> None:
        """Events stay, whatever they need; poses have the rest."""
        files = {path: _bytes(path) for path in self._lying("*.parquet*")}
        events = sum(_bytes(Path(f"{self._beside}{end}")) for end in ("", "-wal"))
        over = events + sum(files.values()) - self._quota
        for path, size in files.items():
            if over <= 0:
                break
            path.unlink(missing_ok=True)
            self.dropped += 1
            over -= size
            if not self._full:
                log.warning("%s: --fleet-disk is full: the oldest poses are deleted.", self.name)
            self._full = True

    def close(self) -> None:
        """Finish all files; they are sent at the next start at the latest."""
        if self._stop.is_set():
            return
        super().close()
        if self._thread.is_alive():  # the disk hangs
            return
        try:
            self._drain()
            for camera in list(self._open):
                self._finish(camera)
        except OutputError as e:
            self._trouble(str(e))


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


class PosePut(Delivery):
    """Brings the files to the centre: `PUT ADDRESS/poses/DEVICE/NAME`, its SHA-256 as a header.

    Args:
        url: https://DEVICE:PASSWORD@HOST/, with ?ca=FILE for an authority of your own. files: where they lie.

    Attributes:
        sent: files that were taken. error: what went wrong at last, "" where all is well.

    Raises:
        UsageError: the address cannot be meant.
    """

    def __init__(self, url: str, files: PoseFiles, *, first_delay: float = 1.0) -> None:
        uri = parse(url)
        if uri.scheme not in ("http", "https") or not uri.host or not uri.user:
            raise UsageError(
                f"--fleet-poses {uri.display} is no web address with the device's name and password. "
                "Example: https://cam-0042:PASSWORD@host:8443/"
            )
        if uri.user.startswith("."):
            raise UsageError("--fleet-poses: the name of a device begins with no dot.")
        super().__init__(f"Poses to {uri.display}")
        host = f"[{uri.host}]" if ":" in uri.host else uri.host
        base = f"{uri.scheme}://{host}" + (f":{uri.port}" if uri.port else "")
        self._base = f"{base}{quoted(uri.path.rstrip('/'))}/poses/{quote(check_device(uri.user))}/"
        login = base64.b64encode(f"{uri.user}:{uri.password}".encode()).decode()
        self._headers = {"authorization": f"Basic {login}"}
        try:
            context = ssl.create_default_context(cafile=uri.get("ca") or None)
        except OSError as e:
            raise UsageError(f"--fleet-poses: ca={uri.get('ca')} cannot be read: {e}.") from None
        self._opener = opener(Patience(PUT_TIMEOUT), NoRedirect(), context)
        self._files, self._first, self._delay = files, first_delay, 0.0
        self.sent, self.error = 0, ""
        self._thread.start()

    def _work(self) -> float:
        for path in self._files.finished():
            if self._stop.is_set():
                break
            trouble, code = self._put(path)
            self.error = trouble
            if code in HOPELESS:
                with suppress(FileNotFoundError):  # the quota was faster
                    path.rename(f"{path}{REFUSED}")
                log.warning("%s %s to %s; it stays here.", self.name, trouble, path.name)
            elif trouble:
                self._delay = min(LONGEST_WAIT, self._delay * 2 or self._first)
                self._trouble(f"{trouble}; tried again, files wait")
                self._stop.wait(self._delay * random.uniform(0.8, 1.2))
            else:
                self._delay = 0.0
                self.sent += 1
                path.unlink(missing_ok=True)
        return FILES_EVERY

    def _put(self, path: Path) -> tuple[str, int]:
        """(what went wrong, the answer's code); "" where the centre has it, or the quota was faster."""
        try:
            with path.open("rb") as body:
                headers = {
                    **self._headers,
                    "content-type": "application/vnd.apache.parquet",
                    "content-length": str(path.stat().st_size),
                    "x-sha256": file_digest(path),
                }
                request = urllib.request.Request(
                    self._base + quote(path.name), body, headers, method="PUT"
                )
                return deliver(self._opener, request, PUT_TIMEOUT)
        except OSError as e:  # of the file itself
            return ("" if isinstance(e, FileNotFoundError) else str(e.strerror or e)), 0


class FleetPoses(Closing):
    """Both together, as one target of `edgepose serve`.

    Args:
        url: see `PosePut`. database: the events', beside which the files lie. quota: see `PoseFiles`.

    Raises:
        BackendUnavailable, OutputError, UsageError: see `PoseFiles` and `PosePut`.
    """

    def __init__(
        self, url: str, database: Path, quota: int, *, seconds: float = FILE_SECONDS
    ) -> None:
        folder = database.with_name(f"{database.stem}-poses")
        self.files = PoseFiles(folder, quota, database, seconds=seconds)
        try:
            self.put = PosePut(url, self.files)
        except BaseException:
            self.files.close()
            raise

    @property
    def state(self) -> Mapping[str, Any]:
        """What the device says of them."""
        waiting = self.files.finished()
        told = {"files": len(waiting), "bytes": sum(map(_bytes, waiting)), "sent": self.put.sent}
        lost = {"dropped": self.files.dropped, "left_out": self.files.left_out}
        return {**told, **lost, "error": self.put.error}

    def wake(self) -> None:
        """Events say nothing about files."""

    def close(self) -> None:
        """Finish the files; what waits is sent at the next start."""
        self.files.close()
        self.put.close()
