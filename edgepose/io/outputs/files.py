"""What an output path names: an image, a folder of images, a numbered pattern, a film."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable

from edgepose.errors import OutputError, UnknownNameError, UsageError
from edgepose.io.base import Output, OutputOptions
from edgepose.io.sources.uri import Uri

IMAGES = ("jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff", "ppm", "jp2", "avif")
VIDEOS = ("mp4", "m4v", "mov", "qt", "mkv", "avi", "webm", "flv", "ts", "h264", "264", "h265", "265", "hevc")  # fmt: skip
NUMBER = re.compile(r"%(?:0?\d+)?[diu]")


def open_file(uri: Uri, options: OutputOptions) -> Output:
    """Open an image file, a folder, a pattern or a film file for writing.

    Raises:
        UsageError: an extension that nothing writes, or the output is one of the inputs.
        OutputError: the folder is missing or cannot be written.
    """
    path = os.path.expanduser(uri.path)
    name = os.path.basename(path)
    extension = os.path.splitext(name)[1][1:].lower()
    if os.path.isdir(path) or not extension:
        return _images(path, "folder", options)
    if NUMBER.search(name) or "*" in name:
        _known(extension, IMAGES, path)
        return _images(path, "pattern", options)
    if extension in VIDEOS:
        from edgepose.io.outputs.video import VideoOutput

        refuse_input(path, (*options.inputs, options.audio))
        check_folder(os.path.dirname(path), create=True)
        return VideoOutput(path, extension, options)
    _known(extension, IMAGES + VIDEOS, path)
    return _images(path, "file", options)


def _images(path: str, shape: str, options: OutputOptions) -> Output:
    from edgepose.io.outputs.images import ImageOutput

    folder = path if shape == "folder" else os.path.dirname(path)
    check_folder(folder, create=False)
    if shape == "file":
        refuse_input(path, options.inputs)
    return ImageOutput(path, shape, options)


def _known(extension: str, known: tuple[str, ...], path: str) -> None:
    if extension not in known:
        hint = f"End it with / if {path} is to be a folder."
        raise UnknownNameError("output extension", extension, known, hint)


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


def refuse_input(path: str, inputs: Iterable[str]) -> None:
    """Refuse to write over an input, whatever links lead there.

    Raises:
        UsageError: the path is one of the inputs.
    """
    target = os.path.realpath(path)
    for given in inputs:
        if given and os.path.realpath(given) == target:
            raise UsageError(f"The output {path} is the input itself. Give it another name.")
