"""What outputs and sinks write into: the extensions they know, and what is checked before the first byte."""

from __future__ import annotations

import os
import re
import tempfile

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
