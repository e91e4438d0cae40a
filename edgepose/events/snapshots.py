"""The pictures beside a database of events: DATABASE-snapshots/SESSION/NUMBER.jpg.

The database names them by paths relative to its folder. Such a path is text from a file, so it is looked at
before anything is read or deleted: it must lie within the folder of the snapshots.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path, PurePosixPath

from edgepose.files import PART, write_atomically

SUFFIX = ".jpg"
MAX_BYTES = 64 << 20  # no picture of ours is longer


def folder(database: Path) -> Path:
    """The folder of the snapshots of a database."""
    return database.with_name(database.stem + "-snapshots")


def write(database: Path, session: str, number: int, picture: bytes) -> str:
    """Store the picture of an event; its path for the database.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    file = folder(database) / session / f"{number}{SUFFIX}"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, picture)
    return file.relative_to(database.parent).as_posix()


def find_snapshot(database: Path, snapshot: object) -> Path | None:
    """The file that a database names, None where it is no path of a snapshot, or is not there."""
    if not isinstance(snapshot, str) or not snapshot or "\0" in snapshot:
        return None
    relative = PurePosixPath(snapshot)
    if relative.suffix != SUFFIX or relative.is_absolute() or ".." in relative.parts:
        return None
    with suppress(OSError, ValueError):
        top, file = folder(database).resolve(), (database.parent / relative).resolve()
        if file.is_relative_to(top) and file.is_file():
            return file
    return None


def read(database: Path, snapshot: object) -> bytes | None:
    """The picture that a database names, None where there is none."""
    file = find_snapshot(database, snapshot)
    with suppress(OSError):
        if file is not None and file.stat().st_size <= MAX_BYTES:
            return file.read_bytes()
    return None


def size(database: Path, snapshot: object) -> int:
    """Bytes of a picture, 0 where there is none."""
    file = find_snapshot(database, snapshot)
    with suppress(OSError):
        return file.stat().st_size if file is not None else 0
    return 0


def delete(database: Path, snapshot: object) -> None:
    """Delete a picture, and its session's folder where it was the last."""
    file = find_snapshot(database, snapshot)
    if file is not None:
        with suppress(OSError):
            file.unlink(missing_ok=True)
            file.parent.rmdir()


def sweep(database: Path) -> None:
    """Delete what a killed process left half written; only while nobody else records."""
    with suppress(OSError):
        for file in folder(database).glob(f"*/*{PART}"):
            if file.is_file() or file.is_symlink():
                os.unlink(file)
