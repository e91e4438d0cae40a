"""Folders of installed networks: built aside, put in place in one step, with a record of every file."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgepose.errors import DownloadError, NetworkFileError
from edgepose.files import file_digest, put_in_place, write_atomically
from edgepose.networks.topology import read_json
from edgepose.paths import is_safe_path

RECORD = "installed.json"


@contextmanager
def staging(final: Path) -> Iterator[Path]:
    """A temporary folder beside the final one; what a killed process left there is cleared first.

    The caller holds the lock of the network's folder.

    Raises:
        DownloadError: the folder cannot be written.
    """
    stage = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    try:
        for old in final.parent.glob(f".{final.name}.*"):
            if old.is_dir():
                shutil.rmtree(old)
        stage.mkdir(parents=True)
    except OSError as e:
        raise DownloadError(
            f"Cannot write to {final.parent}: {e.strerror or e}. "
            "Set EDGEPOSE_HOME to a folder that you can write."
        ) from None
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def replace_folder(stage: Path, final: Path) -> None:
    """Put a finished folder in the place of an old one; there is never half a folder.

    Raises:
        DownloadError: the disk did not take it.
    """
    old = final.with_name(f".{final.name}.{os.getpid()}.old")
    try:
        if final.exists():
            os.replace(final, old)
        put_in_place(stage, final)
    except OSError as e:
        raise DownloadError(f"Cannot write {final}: {e.strerror or e}.") from None
    shutil.rmtree(old, ignore_errors=True)


def copy(source: Path, target: Path) -> None:
    """Copy a file's content, making the folders it needs.

    Raises:
        DownloadError: one cannot be read, or the other not be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as e:
        raise DownloadError(f"Cannot copy {source} to {target}: {e.strerror or e}.") from None


def files_of(folder: Path) -> list[Path]:
    """The files of a folder without its record, sorted."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != RECORD)


def facts(path: Path) -> dict[str, Any]:
    """Size and sha256 of a file."""
    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def write_record(
    folder: Path,
    *,
    network: str,
    variant: str,
    model: str,
    origins: Sequence[str],
    verified: bool = True,
) -> None:
    """Write what a folder holds and where it came from to `installed.json`.

    `verified` is False where a published digest was passed over on request.
    """
    record = {
        "network": network,
        "variant": variant,
        "model": model,
        "from": list(origins),
        "verified": verified,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "files": {p.relative_to(folder).as_posix(): facts(p) for p in files_of(folder)},
    }
    write_atomically(folder / RECORD, json.dumps(record, indent=2) + "\n")


def read_record(folder: Path) -> dict[str, Any]:
    """What was written about a folder, {} where nothing usable was."""
    try:
        data = read_json(folder / RECORD, "Record")
    except NetworkFileError:
        return {}
    return data if isinstance(data, dict) else {}


def damaged_files(folder: Path) -> list[str]:
    """What is wrong with the files of an installed folder, [] where they are as installed."""
    files = read_record(folder).get("files")
    bad = []
    for name, wanted in files.items() if isinstance(files, dict) else ():
        path = folder / str(name)
        if not is_safe_path(str(name)):
            bad.append(f"{folder / RECORD} names {str(name)[:80]!r}, which no network has")
        elif not path.is_file():
            bad.append(f"{path} is missing")
        elif facts(path) != wanted:
            bad.append(f"{path} has changed since it was installed")
    return bad
