"""Still pictures: one image, a folder, a glob, a numbered sequence.

OpenCV decodes (it turns pictures by their EXIF orientation and refuses cut ones); PyAV reads the
formats that OpenCV does not know. Transparency is dropped, 16 bits are cut to the upper 8, floating
point is taken as 0..1 (or 0..255 where a value is above 1), and of several pictures in one file the
first one counts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgepose.errors import SourceError
from edgepose.io.base import Source, SourceOptions
from edgepose.io.pixels import LIMIT, Transform, flip
from edgepose.io.sources import header
from edgepose.io.sources.orientation import avif_crop, missed_flip
from edgepose.io.sources.span import Span
from edgepose.types import FEWER_BITS, Frame, Pixels

log = logging.getLogger(__name__)


# formats that OpenCV decodes: where it finds one of these broken, no other decoder is asked, since
# FFmpeg fills what is missing of a cut JPEG with grey
_OPENCV_KINDS = frozenset(
    ("jpeg", "png", "bmp", "webp", "tiff", "netpbm", "pfm", "jpeg2000", "avif", "hdr", "exr")
)
_OTHERS = ("gif", "heif", "pam")
_COMPRESSION, _COLOURS, _SAMPLE_FORMAT = 259, 262, 339
_NOT_RGB = (8, 9, 10, 32803, 34892)  # three kinds of L*a*b*, and the bare values of a camera's chip
# OpenCV gives black for others instead of an error: none, CCITT, LZW, JPEG, Deflate, PackBits, LZMA,
# Zstandard, WebP, and the like
_TIFF_CODECS = (1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32946, 34676, 34677, 34925, 50000, 50001)


def decode_image(data: bytes, name: str = "the image") -> Pixels:
    """The picture in an encoded image: uint8 RGB (H, W, 3), upright.

    Raises:
        SourceError: empty, cut, not an image, without pixels, above `pixels.LIMIT`, a HEIF
            without pillow-heif, or a film of JPEG pictures; the message starts with `name`.
    """
    if not data:
        raise SourceError(f"{name} is empty (0 bytes).")
    kind = header.kind(data)
    if header.is_cut(data):
        raise SourceError(f"{name} is cut: the {kind.upper()} ends before its last block.")
    if kind == "jpeg" and header.is_jpeg_film(data, _extension(name)):
        raise SourceError(f"{name} is a film of JPEG pictures. Give it by its own name, alone.")
    if kind == "tiff":
        _check_tiff(header.Directory(data), name)
    try:
        pixels = _decoded(data, kind, name)
    except SourceError:
        raise
    except MemoryError:
        raise SourceError(f"{name} does not fit into the memory.") from None
    except Exception:  # whatever a decoder stumbles over, the file is damaged
        log.debug("%s", name, exc_info=True)
        pixels = None
    if pixels is None:
        found = f"a {kind.upper()}, damaged, cut or of a rare kind" if kind else "not an image"
        raise SourceError(f"{name} cannot be decoded: it is {found}.")
    return pixels


def _check_tiff(first: header.Directory, name: str) -> None:
    if first.tags.get(_COMPRESSION, 1) not in _TIFF_CODECS:
        raise SourceError(
            f"{name}: its compression cannot be read. Save it as PNG, or as plain TIFF."
        )
    if first.tags.get(_COLOURS) in _NOT_RGB:
        raise SourceError(f"{name}: its colours are of a kind that is not read. Save it as RGB.")
    if first.is_preview:
        raise SourceError(
            f"{name} begins with a preview, as raw files of cameras do, and the picture itself cannot be "
            "read. Convert it to JPEG."
        )
    if first.tags.get(_SAMPLE_FORMAT) == 2:
        raise SourceError(
            f"{name} holds signed numbers, of which nothing says what is white. Make it an 8-bit picture."
        )


def _decoded(data: bytes, kind: str, name: str) -> Pixels | None:
    other = kind in _OTHERS or (kind == "bmp" and header.has_own_masks(data))
    pixels = None if other else _by_opencv(data, kind, name)
    if pixels is not None:
        if kind == "avif":
            pixels = np.ascontiguousarray(pixels[avif_crop(data, *pixels.shape[1::-1])])
        return flip(pixels, missed_flip(data, kind))
    if kind in _OPENCV_KINDS and not other:
        return None
    from edgepose.io.sources import rare_pictures  # PyAV takes longer to load than a picture

    return rare_pictures.decode(data, kind, _extension(name), name)


def _extension(name: str) -> str:
    return os.path.splitext(name)[1][1:].lower()


def read_image(path: str) -> Pixels:
    """The picture in an image file: uint8 RGB (H, W, 3), upright.

    Raises:
        SourceError: as `decode_image`, or the file is missing or unreadable.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as e:
        raise SourceError(f"{path} cannot be read: {e.strerror or e}.") from None
    except MemoryError:
        raise SourceError(f"{path} does not fit into the memory.") from None
    return decode_image(data, path)


def _silence() -> None:
    # its errors come back as None or an exception; it need not print them as well
    if "OPENCV_LOG_LEVEL" not in os.environ:
        silent = 0
        if hasattr(cv2, "setLogLevel"):  # OpenCV 4
            cv2.setLogLevel(silent)
        else:
            cv2.utils.logging.setLogLevel(silent)


def _by_opencv(data: bytes, kind: str, name: str) -> Pixels | None:
    _silence()
    if kind == "tiff" and (at := header.straight_alpha(data)):
        # libtiff would multiply them by it: black where they are transparent
        data = data[:at] + b"\0\0" + data[at + 2 :]
    if kind == "png":
        data = header.still_png(data)
    digits = kind == "netpbm" and data[:2] in (b"P1", b"P2", b"P3")
    encoded = np.frombuffer(
        data + b"\n" if digits else data, np.uint8
    )  # the last number needs an end
    most = header.netpbm_most(data) if kind == "netpbm" else 0
    try:
        if most not in (0, 255, 65535):
            return _scaled(cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH), most)
        pixels = None if kind == "pfm" else _decode_rgb(encoded, kind)
        if pixels is not None:
            _check_depth(pixels, encoded, name)
            return pixels
        return _from_float(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED))
    except cv2.error as e:
        if e.code == cv2.Error.StsNoMem:
            raise SourceError(f"{name} does not fit into the memory.") from None
        if e.func == "validateInputImageSize":
            raise SourceError(
                f"{name} has more than {LIMIT / 1e6:.0f} megapixels: that is the limit, or "
                "all that fits into the memory which was free at the start. Scale it down first."
            ) from None
        return None


def _check_depth(pixels: Pixels, encoded: Any, name: str) -> None:
    """Refuse 16-bit pictures of 12 bits or fewer (thermal and depth cameras): their upper bits are black."""
    dark = FEWER_BITS >> 8  # some decoders round
    if pixels[::16, ::16].max() > dark or pixels.max() > dark:
        return
    deep: Any = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if deep.dtype == np.uint16 and 0 < (most := int(deep.max())) < FEWER_BITS:
        raise SourceError(
            f"{name} has 16 bits a value and none above {most}: it holds fewer bits, or distances. Scale it "
            "to the whole range, or make it an 8-bit picture."
        )


def _decode_rgb(encoded: Any, kind: str) -> Pixels | None:
    direct = getattr(cv2, "IMREAD_COLOR_RGB", None)  # since 4.11; half the memory
    if direct is not None and kind != "avif":  # gives BGR of those with alpha
        return cv2.imdecode(encoded, direct)
    pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _scaled(values: Any, most: int) -> Pixels | None:
    return None if values is None else _from_float(np.minimum(values / most, 1.0))


def _from_float(values: Any) -> Pixels | None:
    if values is None or values.dtype not in (np.float32, np.float64):
        return None
    values = np.nan_to_num(values, posinf=255.0, neginf=0.0)
    if values.max(initial=0.0) <= 1:
        values = values * 255
    bytes_ = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    code = {2: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB}[bytes_.ndim]
    if bytes_.ndim == 3 and bytes_.shape[2] == 4:
        code = cv2.COLOR_BGRA2RGB
    return cv2.cvtColor(bytes_, code)  # type: ignore[no-any-return]


class ImageSource(Source):
    """Frames from a list of image files, in their order.

    A frame's index is the file's place in the list (continuing over the passes of a loop), its pts
    None, its source the path and its name the file's stem.

    Args:
        paths: the files. many: they were named together (a folder, a pattern): a broken one is
            reported to `options.on_error` and skipped; a lone one raises.

    Raises:
        SourceError: while iterating: a lone image is broken, or one of many where there is no
            `on_error`, or every single one.
    """

    live = False
    stills = True
    rate = 0.0

    def __init__(self, paths: Sequence[str], name: str, options: SourceOptions, many: bool) -> None:
        self.name = name
        self._paths = list(paths)
        self._many = many
        self._on_error = options.on_error
        self._span = Span.of(options)
        self._transform = Transform(options)
        self._closed = False
        self.length = self._span.length(len(self._paths))

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, as `OutputOptions.inputs` and `SinkOptions.inputs` want them."""
        return tuple(self._paths)

    def close(self) -> None:
        """End the iteration at its next picture."""
        self._closed = True

    def __iter__(self) -> Iterator[Frame]:
        given = done = 0
        while self._span.passes is None or done < self._span.passes:
            before = given
            for index in range(self._span.start, len(self._paths)):
                if self._closed:
                    return
                frame = self._read(index, done)
                if frame is None:
                    continue
                yield frame
                given += 1
                if given == self._span.frames:
                    return
            if given == before:
                break
            done += 1
        if not given and len(self._paths) > self._span.start:
            raise SourceError(f"None of the {len(self._paths)} images of {self.name} can be read.")

    def _read(self, index: int, done: int) -> Frame | None:
        path = self._paths[index]
        try:
            pixels = self._transform(read_image(path))
        except SourceError as e:
            if not self._many or self._on_error is None:
                raise
            self._on_error(path, e)
            return None
        index += done * len(self._paths)
        return Frame(pixels, index=index, source=path, name=Path(path).stem)
