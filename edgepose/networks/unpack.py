"""Reading archives that a stranger packed: nothing is written but regular files where we say.

Refused: absolute paths, `..`, links, devices, sparse and encrypted entries, and whatever grows beyond
the limits when it is unpacked.
"""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, NamedTuple

from edgepose.errors import DownloadError
from edgepose.paths import is_safe_path

Kind = Literal["tar", "tar.gz", "zip"]
# what the readers of the standard library raise on damaged archives
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    IndexError,
    KeyError,
)


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold, unpacked."""

    bytes: int = 1 << 30
    files: int = 2000


class Entry(NamedTuple):
    """A regular file of an archive, readable while it is the current one."""

    path: PurePosixPath
    size: int
    open: Any  # () -> IO[bytes]


class _Bounded(io.RawIOBase):
    """A seekable stream that refuses to deliver more than `limit` bytes, or many at once.

    tarfile believes the sizes in headers, so a small file could make it read without end.
    """

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self.stream = stream
        self.limit = limit

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= 8 << 20:
            raise DownloadError("an archive header asks for too much memory")
        data = self.stream.read(size)
        if self.stream.tell() > self.limit:
            raise DownloadError(f"the archive holds more than {self.limit} bytes")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset > self.limit:
            raise DownloadError(f"the archive holds more than {self.limit} bytes")
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        return self.stream.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


@contextmanager
def _naming(archive: Path) -> Iterator[None]:
    """Let every way in which an archive is bad end in one error that names it."""
    try:
        yield
    except DownloadError as e:
        if str(archive) in str(e):
            raise
        raise DownloadError(f"Archive {archive} cannot be used: {e}.") from None
    except (OSError, *_DAMAGE) as e:
        raise DownloadError(f"Archive {archive} is damaged or not an archive: {e}.") from None


def entries(archive: Path, kind: Kind, limits: Limits | None = None) -> Iterator[Entry]:
    """The regular files of an archive, in order; folders are passed over.

    Raises:
        DownloadError: the archive is damaged, holds something unsafe, or too much.
    """
    limits = limits or Limits()
    reader = _zip_entries if kind == "zip" else _tar_entries
    with _naming(archive):
        total = 0
        for entry in reader(archive, kind, limits):
            total += entry.size
            if total > limits.bytes:
                raise DownloadError(f"it holds more than {limits.bytes} bytes")
            yield entry


def _safe_path(name: str) -> PurePosixPath:
    if not is_safe_path(name):
        raise DownloadError(f"it holds the unsafe path {name[:80]!r}")
    return PurePosixPath(name)


def _counted(number: int, limits: Limits) -> int:
    if number > limits.files:
        raise DownloadError(f"it holds more than {limits.files} entries")
    return number


def _tar_entries(archive: Path, kind: Kind, limits: Limits) -> Iterator[Entry]:
    slack = 4096 * limits.files + (1 << 20)  # headers and padding
    with archive.open("rb") as raw:
        plain: Any = gzip.GzipFile(fileobj=raw) if kind == "tar.gz" else raw
        stream = _Bounded(plain, limits.bytes + slack)
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            headers = 0
            while (member := tar.next()) is not None:
                headers = _counted(headers + 1, limits)
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse() or member.size < 0:
                    raise DownloadError(
                        f"it holds {member.name[:80]!r}, which is not a regular file"
                    )
                path = _safe_path(member.name)
                yield Entry(path, member.size, partial(tar.extractfile, member))
        while stream.read(1 << 20):  # to the end: gzip's checksum stands there
            pass


def _zip_entries(archive: Path, kind: Kind, limits: Limits) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as z:
        for number, info in enumerate(z.infolist(), 1):
            _counted(number, limits)
            mode = info.external_attr >> 16
            if info.is_dir():
                continue
            if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise DownloadError(f"it holds {info.filename[:80]!r}, which is not a regular file")
            if info.flag_bits & 1:
                raise DownloadError("it is encrypted")
            path = _safe_path(info.filename)
            yield Entry(path, info.file_size, partial(z.open, info))


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Tell a full or read-only disk from a damaged archive."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except DownloadError:
        raise
    except OSError as e:
        raise DownloadError(f"{target} cannot be written ({e.strerror or e})") from None


def _read(source: IO[bytes], most: int) -> bytes:
    """A block of an entry; damage in it is no fault of the disk that it is written to."""
    try:
        return source.read(min(1 << 20, most))
    except (OSError, *_DAMAGE) as e:
        raise DownloadError(f"its content is damaged ({e})") from None


def read_entry(entry: Entry, archive: Path) -> bytes:
    """The content of a small entry (up to 1 MiB).

    Raises:
        DownloadError: it is damaged.
    """
    with _naming(archive), entry.open() as source:
        return _read(source, 1 << 20)


def write_entry(entry: Entry, target: Path) -> None:
    """Write an entry to a file, no byte more than its header said."""
    left = entry.size
    with entry.open() as source, _writing(target), target.open("wb") as file:
        while block := _read(source, left + 1):
            left -= len(block)
            if left < 0:
                raise DownloadError(f"{str(entry.path)!r} is longer than its header says")
            file.write(block)
    if left:
        raise DownloadError(f"{str(entry.path)!r} is shorter than its header says")


def unpack(
    archive: Path,
    kind: Kind,
    members: Sequence[str],
    folder: Path,
    limits: Limits | None = None,
) -> None:
    """Take files out of an archive, each found by the end of its path, the shallowest first.

    `members=["a/net.onnx"]` takes `x/y/a/net.onnx` and writes `folder/a/net.onnx`. The whole archive is
    read, so that its checksums are verified and anything unsafe in it is noticed.

    Raises:
        DownloadError: as `entries`, or a member is missing or there more than once.
    """
    wanted = {m: PurePosixPath(m).parts for m in members}
    depth: dict[str, int] = {}
    seen = []
    with _naming(archive):
        for entry in entries(archive, kind, limits):
            seen.append(str(entry.path))
            for member, tail in wanted.items():
                if entry.path.parts[-len(tail) :] != tail:
                    continue
                here = len(entry.path.parts)
                if depth.get(member) == here:
                    raise DownloadError(f"it holds {member!r} twice")
                if here < depth.get(member, 1 << 30):
                    write_entry(entry, folder / member)
                    depth[member] = here
        missing = [m for m in members if m not in depth]
        if missing:
            listing = ", ".join(seen[:8]) or "nothing"
            raise DownloadError(f"it does not hold {missing[0]!r}; it holds {listing}")
