"""What outputs and sinks write into: the extensions they know, and what is checked before the first byte."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
from typing import BinaryIO

from edgepose.errors import OutputError

IMAGES = ("jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff", "ppm", "jp2", "avif")
VIDEOS = ("mp4", "m4v", "mov", "qt", "mkv", "avi", "webm", "flv", "ts", "h264", "264", "h265", "265", "hevc")  # fmt: skip
NUMBER = re.compile(r"%(?:0?\d+)?[diu]")


def check_folder(folder: str, create: bool) -> None:
    """Check that a folder can be written, or made where only it is missing (and make it if asked).

    Raises:
        OutputError: neither is possible.
    """
    folder = folder or "."
    try:
        if not os.path.isdir(folder):
            parent = os.path.dirname(os.path.abspath(folder))
            if os.path.lexists(folder):
                raise OutputError(f"{folder} is not a folder, so nothing can be written into it.")
            if not os.path.isdir(parent):
                raise OutputError(
                    f"There is no folder {parent}, so {folder} cannot be made. Make it: mkdir -p."
                )
            if not create:
                folder = parent
            else:
                os.mkdir(folder)
        # asking os.access is not enough: the file system may be mounted read-only
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError:
        return
    except OSError as e:
        if isinstance(e, OutputError):
            raise
        raise OutputError(f"Folder {folder} cannot be written: {e.strerror or e}.") from None


def claim(path: str) -> BinaryIO:
    """A file opened for writing that no other output and no other program of ours writes until it is closed.

    Raises:
        OutputError: another one writes it. OSError: it cannot be opened.
    """
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), "wb", buffering=0)
    try:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            _keep(file, path)
    except BaseException:
        file.close()
        raise
    return file


def _keep(file: BinaryIO, path: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            f"{path} is being written already, by another output or another program. Give each a file of its own."
        ) from None
    except OSError:
        pass  # a file system without locks
