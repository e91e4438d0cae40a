"""Pictures that OpenCV does not read: PyAV's (GIF, PSD, TGA, PCX, ICO, ...), and HEIF by pillow-heif."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any

import av
import numpy as np

from edgepose.errors import SourceError
from edgepose.io.ffmpeg import NOT_PICTURES, open_container
from edgepose.io.pixels import LIMIT
from edgepose.types import Pixels

# formats without a mark of their own in the file: FFmpeg's decoder by extension
_BY_EXTENSION = {"tga": "targa", "targa": "targa", "pcx": "pcx", "sgi": "sgi"}


def decode(data: bytes, kind: str, extension: str, name: str) -> Pixels | None:
    """The picture (uint8 RGB HWC, upright), None where it cannot be decoded.

    Args:
        kind: as `header.kind`. extension: of the file, lower case. name: for messages.

    Raises:
        SourceError: a HEIF, and pillow-heif is not installed or cannot read it.
    """
    if kind == "heif":
        return _heif(data, name)
    if kind == "pam":
        return _pam(data, name)
    if not kind and extension not in (*_BY_EXTENSION, "ico"):
        return None  # FFmpeg sees a picture in almost anything
    limit = {"max_pixels": str(LIMIT)}
    try:
        if not kind and extension in _BY_EXTENSION:
            context: Any = av.CodecContext.create(_BY_EXTENSION[extension], "r")
            context.options = limit
            return _first(context.decode(av.Packet(data)))
        with open_container(io.BytesIO(data)) as container:
            if container.format.name in NOT_PICTURES or not container.streams.video:
                return None
            # an icon holds one picture in several sizes
            stream = max(container.streams.video, key=lambda s: (s.width or 0) * (s.height or 0))
            stream.codec_context.options = limit
            return _first(container.decode(stream))
    except (av.FFmpegError, OSError, ValueError, IndexError):
        return None


def _first(frames: Iterable[Any]) -> Pixels | None:
    frame = next(iter(frames), None)
    return None if frame is None else np.ascontiguousarray(frame.to_ndarray(format="rgb24"))


def _pam(data: bytes, name: str) -> Pixels | None:
    """A portable arbitrary map; OpenCV mixes its colours up and takes the largest value for 255."""
    head, end, body = data.partition(b"\nENDHDR\n")
    words = dict(re.findall(rb"\n([A-Z]+)[ \t]+(\d{1,9})[ \t\r]*(?=\n)", head + b"\n"))
    try:
        width, height, depth, most = (
            int(words[k]) for k in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
        )
    except KeyError:
        return None
    if not end or not (width and height and 0 < depth <= 4 and 0 < most < 65536):
        return None
    if width * height > LIMIT:
        raise SourceError(f"{name} is {width}x{height}, too large. Scale it down first.")
    kind = np.dtype(np.uint8 if most < 256 else ">u2")
    if len(body) < width * height * depth * kind.itemsize:
        raise SourceError(f"{name} is cut: the PAM ends before its last row.")
    values = np.frombuffer(body, kind, width * height * depth).reshape(height, width, depth)
    shown = values[:, :, [0, 1, 2] if depth > 2 else [0, 0, 0]].astype(np.float32) / most
    pixels: Pixels = np.rint(np.minimum(shown, 1) * 255).astype(np.uint8)
    return pixels


def _heif(data: bytes, name: str) -> Pixels:
    """HEIF says beside its coded pictures how tiles, crop, rotation and mirror make them one; libheif
    follows that, FFmpeg would give the first tile."""
    try:
        import pillow_heif
    except ImportError:
        raise SourceError(
            f"{name} is a HEIF picture (HEIC), which needs pillow-heif: pip install edgepose[heif]. Or "
            "convert it to JPEG."
        ) from None
    try:
        picture = pillow_heif.open_heif(data, convert_hdr_to_8bit=True)
        width, height = picture.size
        if width * height > LIMIT:
            raise SourceError(f"{name} is {width}x{height}, too large. Scale it down first.")
        pixels = np.asarray(picture)
    except (OSError, ValueError, RuntimeError, EOFError, SyntaxError, IndexError) as e:
        raise SourceError(
            f"{name} cannot be decoded: it is a HEIF, damaged or cut ({e})."
        ) from None
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, :3], np.uint8)
