"""What an output path names: an image, a folder of images, a numbered pattern, a film."""

from __future__ import annotations

import os

from edgepose.errors import UnknownNameError
from edgepose.files import refuse_input
from edgepose.io.base import Output, OutputOptions
from edgepose.io.outputs.images import ImageOutput
from edgepose.io.targets import IMAGES, NUMBER, VIDEOS, check_folder
from edgepose.io.uri import Uri


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
    folder = path if shape == "folder" else os.path.dirname(path)
    check_folder(folder, create=False)
    if shape == "file":
        refuse_input(path, options.inputs)
    return ImageOutput(path, shape, options)


def _known(extension: str, known: tuple[str, ...], path: str) -> None:
    if extension not in known:
        hint = f"End it with / if {path} is to be a folder."
        raise UnknownNameError("output extension", extension, known, hint)
