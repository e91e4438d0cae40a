"""Pictures into image files: one file, a folder, a numbered pattern.

Each file is written under a hidden temporary name and renamed, so that a file that is there is
whole. A run never writes two different pictures to one name; files of earlier runs are replaced.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import OutputError, UsageError
from edgepose.files import identity, refuse_input, replacing
from edgepose.io.base import Output, OutputOptions
from edgepose.io.pixels import resize, size_for
from edgepose.io.targets import IMAGES, NUMBER, check_folder
from edgepose.types import Frame


class ImageOutput(Output):
    """Images by OpenCV.

    In a folder, a still picture keeps its name (a.jpg -> out/a.jpg; an extension that cannot be
    written becomes .png), a frame of a film is NAME-000012.jpg after its number.

    Args:
        path: the file, folder or pattern. shape: "file", "folder" or "pattern".
        options: width, height, quality (JPEG and WebP), inputs.
    """

    def __init__(self, path: str, shape: str, options: OutputOptions) -> None:
        self._path = path
        self._shape = shape
        self._options = options
        self._inputs = {identity(p) for p in options.inputs}
        self._written: dict[str, str] = {}
        # where upper case is lower case, names that differ are one file
        self._files: dict[tuple[int, int, str], str] = {}
        self._count = 0
        # the first * of a pattern is its number, as in jetson-inference
        if shape == "pattern" and not NUMBER.search(os.path.basename(path)):
            folder, name = os.path.split(path)
            self._path = os.path.join(folder, name.replace("*", "%i", 1))

    def expect(self, stills: Sequence[str], frames: int | None) -> None:
        """Refuse at the start what the names of a long job would only show in its middle.

        Args:
            stills: the pictures that will come, in their order; empty where they are not known.
            frames: how many frames will come, where known.

        Raises:
            UsageError: more pictures than the one file that is named can hold.
            OutputError: two pictures would be written to one file.
        """
        if self._shape == "file" and (frames or 0) > 1:
            raise UsageError(str(self._full()))
        if self._shape == "folder":
            for path in stills:
                self._check_first(self._still(path, Path(path).stem), path)

    def write(self, frame: Frame) -> None:
        """Write one frame.

        Raises:
            OutputError: it cannot be written, or another picture of this run has its name.
            UsageError: its file is an input.
        """
        path = self._name(frame)
        self._claim(path, frame)
        data = encode_image(self._sized(frame.pixels), path, self._options.quality)
        if not self._count:
            check_folder(os.path.dirname(path), create=True)
        write_whole(path, data)
        if self._shape == "folder" and frame.pts is None:
            self._files[identity(path)] = path
        self._count += 1

    def _sized(self, pixels: Any) -> Any:
        height, width = pixels.shape[:2]
        return resize(pixels, size_for(width, height, (self._options.width, self._options.height)))

    def _name(self, frame: Frame) -> str:
        if self._shape == "file":
            return self._path
        if self._shape == "pattern":
            folder, name = os.path.split(self._path)
            return os.path.join(folder, NUMBER.sub(lambda m: m[0] % self._count, name, count=1))
        if frame.pts is not None:
            return os.path.join(self._path, f"{frame.name or 'frame'}-{frame.index:06d}.jpg")
        return self._still(frame.source, frame.name or str(frame.index))

    def _still(self, source: str, name: str) -> str:
        """The file of a still picture in the folder."""
        extension = Path(os.path.basename(source)).suffix if source else ".jpg"  # .JPG stays .JPG
        if extension[1:].lower() not in IMAGES or not _is_writable(extension.lower()):
            extension = ".png"
        return os.path.join(self._path, name + extension)

    def _claim(self, path: str, frame: Frame) -> None:
        """Take the name for this picture; the same picture may come again in a loop."""
        if self._shape == "file" and self._count:
            raise self._full()
        if self._shape == "folder":
            # a film's frames differ by their numbers: its name is taken once for all of them
            name = path if frame.pts is None else os.path.join(self._path, frame.name)
            picture = frame.source or str(frame.index)
            self._check_first(name, picture)
            self._check_first(self._files.get(identity(path), name), picture)
        refuse_input(path, (frame.source,) if frame.pts is None else ())
        if self._inputs and identity(path) in self._inputs:
            refuse_input(path, self._options.inputs)

    def _full(self) -> OutputError:
        stem, extension = os.path.splitext(self._path)
        return OutputError(
            f"{self._path} holds one picture, and there is more than one. Give a folder, or a "
            f"pattern such as {stem}_%i{extension}."
        )

    def _check_first(self, name: str, picture: str) -> None:
        earlier = self._written.setdefault(name, picture)
        if earlier != picture:
            raise OutputError(
                f"{earlier} and {picture} would both be written to {name}. "
                "Give a pattern such as %i.jpg, or run them one after the other."
            )


def _is_writable(extension: str) -> bool:
    return bool(cv2.haveImageWriter(f"x{extension}"))


def encode_image(pixels: NDArray[np.uint8], path: str, quality: int = 95) -> bytes:
    """The pixels (uint8 RGB, HWC) encoded as the path's extension says.

    Raises:
        OutputError: the format cannot hold them.
    """
    extension = os.path.splitext(path)[1].lower()
    settings = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
    }.get(extension, [])
    try:
        done, data = cv2.imencode(extension, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), settings)
    except cv2.error:
        done, data = False, None
    if not done or data is None:
        height, width = pixels.shape[:2]
        raise OutputError(
            f"{path}: {width}x{height} pixels cannot be written as {extension}. Try .png."
        )
    return bytes(data)


def write_whole(path: str, data: bytes) -> None:
    """Write a file so that under its name there is always a whole one.

    Raises:
        OutputError: it cannot be written; nothing of it is left.
    """
    try:
        with replacing(path, durable=False) as part:
            part.write_bytes(data)
    except OSError as e:
        raise OutputError(f"{path} cannot be written: {e.strerror or e}.") from None
