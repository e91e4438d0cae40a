"""Files that survive a power cut: one atomic write, one digest, one lock, one answer to "the same file?".

All raise plain `OSError`; whoever asks adds what the file is and what the user can do about it.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgepose.errors import UsageError

PART = ".part"  # suffix of what is not finished; such a file is nobody's and may be deleted


@contextmanager
def replacing(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """A temporary file in the same folder that takes the place of `path` when the block ends.

    A reader sees the old content or the new one, never half of it, also after a power cut: the file
    is on the disk before it is renamed, and the folder after it. Where the block raises, the temporary
    file is removed and `path` stays as it was. A file that is replaced keeps its permissions. A device or
    a pipe (/dev/null) is no file: it is written to, and nothing takes its place.

    Args:
        durable: False does not wait for the disk: for what can be made again, by the thousand.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield path
        return
    part = path.with_name(f".{path.name[:100]}.{os.getpid()}.{os.urandom(4).hex()}{PART}")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        with suppress(FileNotFoundError):
            part.chmod(path.stat().st_mode & 0o7777)
        yield part
        put_in_place(part, path, durable=durable)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file so that it is either the old one or wholly the new one; text is UTF-8.

    Raises:
        OSError: as `replacing`.
    """
    with replacing(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def put_in_place(part: Path, path: Path, *, durable: bool = True) -> None:
    """Rename a finished file or folder to its final name, on the disk before and after.

    Raises:
        OSError: it cannot be read, or not be renamed.
    """
    if not durable:
        os.replace(part, path)
        return
    for file in sorted(p for p in part.rglob("*") if p.is_file()) if part.is_dir() else [part]:
        to_disk(file)
    os.replace(part, path)
    with suppress(OSError):  # some file systems have no fsync of a folder
        to_disk(path.parent)


def to_disk(path: Path) -> None:
    """Wait until what was written to a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_digest(path: str | os.PathLike[str], algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file, read in pieces.

    Raises:
        OSError: it cannot be read. ValueError: hashlib has no such algorithm.
    """
    return files_digest([path], algorithm)


def files_digest(paths: Iterable[str | os.PathLike[str]], algorithm: str = "sha256") -> str:
    """Hexadecimal digest of files one after the other; raises as `file_digest`."""
    digest = hashlib.new(algorithm)
    for path in paths:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def locked(
    file: str | os.PathLike[str],
    *,
    timeout: float = -1.0,
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Hold a lock file while the block runs: one process (and one thread) at a time.

    Args:
        file: the lock itself; it is made, and stays.
        timeout: seconds to wait for another holder, -1 = for ever.
        waiting: called once where another one holds it.

    Raises:
        TimeoutError: it was not free in time. OSError: the folder cannot be written.
    """
    import filelock  # 40 modules, for what few runs need

    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(str(file))
    try:
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            waiting()
            lock.acquire(timeout=timeout)
    except filelock.Timeout:
        raise TimeoutError(f"{file} was not free within {timeout:.0f} s") from None
    except NotImplementedError as e:  # a file system without locks
        raise OSError(str(e)) from None
    try:
        yield
    finally:
        lock.release()


def valid(text: str) -> str:
    """A name as valid Unicode: the bytes of a file name that are none are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def identity(path: str | os.PathLike[str]) -> tuple[int, int, str]:
    """What a file is, however it is named: two paths with the same identity are one file.

    A file that is there is its device and inode (so hard links, symbolic links and one folder mounted
    twice are seen through); one that is not there yet is its folder's, with the name it will have.
    """
    real = os.path.realpath(os.path.expanduser(path))
    try:
        found = os.stat(real)
        return found.st_dev, found.st_ino, ""
    except OSError:
        folder, name = os.path.split(real)
    try:
        found = os.stat(folder)
        return found.st_dev, found.st_ino, name
    except OSError:
        return 0, 0, real


def refuse_input(
    path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str] | None]
) -> None:
    """Refuse to write over what is read, whatever other name it has (links of both kinds, a folder mounted
    twice, standard input that comes from it).

    Args:
        path: of what will be written.
        inputs: files that are read; "-" is standard input, None and "" nothing.

    Raises:
        UsageError: the path is one of them.
    """
    target = identity(path)
    for given in inputs:
        if given and identity("/dev/stdin" if given == "-" else given) == target:
            raise UsageError(f"The output {path} is the input itself. Give it another name.")
