"""What programs hand in: pictures in every form that libraries have, and sources of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.errors import UsageError
from edgepose.io.base import Source, SourceOptions
from edgepose.io.jetson_utils import to_host
from edgepose.io.sources import open_source
from edgepose.io.uri import hide
from edgepose.preprocess import as_rgb
from edgepose.types import Frame

CHANNELS = (1, 3, 4)
# PIL's modes whose numbers are the picture's; from others it makes bytes, and cuts off what is larger
PLAIN_MODES = ("1", "L", "RGB", "RGBA", "I;16", "I;16L", "I;16B", "I", "F")


def as_frame(image: Any) -> Frame:
    """A picture with its name and time where it has them.

    Args:
        image: see `edgepose.posenet.PoseNet.process`.

    Raises:
        UsageError: it is not a picture. SourceError: its file cannot be read.
    """
    if isinstance(image, Frame):
        return image
    if isinstance(image, str | Path):
        return read_picture(str(image))
    if _is_rows(image):
        raise UsageError(
            "A list is a list of pictures, and these are rows of numbers. Give one picture as an array: "
            "`numpy.array(rows, numpy.uint8)`."
        )
    captured = getattr(image, "frame", None)  # of what videoSource captured
    pts = captured.pts if isinstance(captured, Frame) else None
    return Frame(_pixels(image), pts=pts)


def _is_rows(image: Any) -> bool:
    """True for rows of rows of plain numbers: a line of colours looks like a narrow grey picture."""
    row = image[0] if isinstance(image, list | tuple) and image else None
    return isinstance(row, list | tuple) and bool(row) and not isinstance(row[0], list | tuple)


def read_picture(name: str) -> Frame:
    """The picture that a path or address names, turned as it says it lies.

    Raises:
        UsageError: a camera, a film, or several pictures. SourceError: it cannot be read.
    """
    with open_source(name) as source:
        frames = [] if source.live else list(islice(source, 2))
        if len(frames) != 1:
            raise UsageError(
                f"{source.name or hide(name)} is not one picture. Films, cameras and folders are for "
                "`for frame, poses in net.stream(...)`, several pictures for a list of their names."
            )
        return frames[0]


def open_given(source: Any, options: SourceOptions) -> Source:
    """A source of frames, from its name, a camera's number, or anything that gives pictures.

    Raises:
        UsageError: it is none of these. SourceError: it cannot be opened.
    """
    if isinstance(source, int) and not isinstance(source, bool):
        return open_source(f"/dev/video{source}", options)
    if isinstance(source, str | Path):
        return open_source(str(source), options)
    if isinstance(source, Iterable) and not isinstance(source, bytes | np.ndarray):
        return _Given(source)
    raise UsageError(f"Cannot read frames from {type(source).__name__}: give a path or address.")


class _Given(Source):
    """Pictures that a program makes, as a source that waits for who takes them."""

    def __init__(self, pictures: Iterable[Any]) -> None:
        self._pictures = pictures

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(self._pictures):
            frame = as_frame(image)
            yield frame if isinstance(image, Frame) else replace(frame, index=index)

    def close(self) -> None:
        """Nothing: the pictures are their owner's."""


def _pixels(image: Any) -> Any:
    """What a frame takes: RGB bytes on the device as they are, everything else as uint8 RGB."""
    interface = getattr(image, "__cuda_array_interface__", None)
    if interface is not None:
        try:
            shape, kind = tuple(interface["shape"]), interface["typestr"]
        except (TypeError, KeyError) as e:
            raise UsageError(f"A picture's __cuda_array_interface__ is not one: {e!r}.") from None
        plain = kind in ("|u1", "<u1") and len(shape) == 3 and shape[2] == 3
        if plain and tuple(getattr(image, "shape", ())) == shape:
            return image
        image = to_host(image)
    if _is_a(image, "torch", "Tensor"):
        return as_rgb(_tensor(image))
    if _is_a(image, "PIL.Image", "Image"):
        return as_rgb(_upright(image))
    return as_rgb(image)


def _is_a(image: Any, module: str, kind: str) -> bool:
    """True where it is of a class of a library; who has such a thing has the library loaded."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(image, getattr(loaded, kind, ()))


def _tensor(image: Any) -> Any:
    """A torch tensor as (height, width, channels).

    Raises:
        UsageError: it has no numbers, or its shape does not say where the channels are.
    """
    try:
        tensor = image.detach().cpu()
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    except (NotImplementedError, RuntimeError, TypeError) as e:  # sparse, or without data
        raise UsageError(f"Cannot take this tensor as a picture: {e}") from None
    if array.ndim != 3:
        return array
    first, last = array.shape[0] in CHANNELS, array.shape[2] in CHANNELS
    if first and last:
        raise UsageError(
            f"A tensor of shape {tuple(array.shape)} may have its channels first or last; "
            "give it as a numpy array (height, width, channels)."
        )
    return np.moveaxis(array, 0, 2) if first else array


def _upright(image: Any) -> Any:
    """A PIL picture in RGB, turned as its EXIF says, as a file would be."""
    from PIL import ImageOps

    turned = ImageOps.exif_transpose(image)
    try:
        return turned if turned.mode in PLAIN_MODES else turned.convert("RGB")
    except ValueError as e:  # of LAB
        raise UsageError(f"Cannot take a PIL picture of mode {turned.mode}: {e}.") from None
