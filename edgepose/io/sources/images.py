"""Still pictures: one image, a folder, a glob, a numbered sequence.

OpenCV decodes (it turns pictures by their EXIF orientation and refuses cut ones); PyAV reads the
formats that OpenCV does not know. Transparency is dropped, 16 bits are cut to the upper 8, floating
point is taken as 0..1 (or 0..255 where a value is above 1), and of several pictures in one file the
first one counts.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import SourceError
from edgepose.io.base import Source, SourceOptions
from edgepose.io.ffmpeg import NOT_PICTURES, open_container
from edgepose.io.pixels import MAX_PIXELS, Transform
from edgepose.io.sources import header
from edgepose.io.sources.span import Span
from edgepose.types import Frame

Pixels = NDArray[np.uint8]

# formats that OpenCV decodes: where it finds one of these broken, no other decoder is asked, since
# FFmpeg fills what is missing of a cut JPEG with grey
_OPENCV_KINDS = frozenset(
    ("jpeg", "png", "bmp", "webp", "tiff", "netpbm", "jpeg2000", "avif", "hdr", "exr", "sun")
)


def decode_image(data: bytes, name: str = "the image") -> Pixels:
    """The picture in an encoded image: uint8 RGB (H, W, 3), upright.

    Raises:
        SourceError: empty, cut, not an image, without pixels, above `MAX_PIXELS`, or larger than
            the memory that is free; the message starts with `name`.
    """
    if not data:
        raise SourceError(f"{name} is empty (0 bytes).")
    kind = header.kind(data)
    _check_size(header.size(data), name)
    if header.is_cut(data):
        raise SourceError(f"{name} is cut: the {kind.upper()} ends before its last block.")
    pixels = None if kind == "gif" else _by_opencv(data, name)
    if pixels is None and kind not in _OPENCV_KINDS:
        pixels = _by_pyav(data, kind, os.path.splitext(name)[1][1:].lower())
    if pixels is None:
        found = f"a {kind.upper()}, damaged, cut or of a rare kind" if kind else "not an image"
        raise SourceError(f"{name} cannot be decoded: it is {found}.")
    return pixels


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


def _check_size(size: tuple[int, int] | None, name: str) -> None:
    if size is None:
        return
    width, height = size
    if not width or not height:
        raise SourceError(f"{name} has no pixels: it says it is {width}x{height}.")
    if width * height > MAX_PIXELS:
        raise SourceError(
            f"{name} is {width}x{height} = {width * height / 1e6:.0f} megapixels; the limit is "
            f"{MAX_PIXELS // 10**6}. Scale it down first."
        )
    need = width * height * 3 * 2  # the pixels, and the decoder's or the rotation's copy
    free = available_memory()
    if free is not None and need > free:
        raise SourceError(
            f"{name} is {width}x{height} and needs about {need / 1e6:.0f} MB of memory; "
            f"{free / 1e6:.0f} MB are free. Scale it down first."
        )


def available_memory() -> int | None:
    """Bytes that can be had without swapping, within the container's limit; None where unknown."""
    found = [v for v in (_available_of_machine(), _available_of_container()) if v is not None]
    return min(found, default=None)


def _available_of_machine() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        return int(text.partition("MemAvailable:")[2].split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return None


def _available_of_container(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    try:
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        stat = (folder / "memory.stat").read_text(encoding="ascii")
        # cached file pages count as used, but the kernel gives them back
        cached = int(f"\n{stat}".partition("\ninactive_file ")[2].split()[0])
        return max(0, limit - used + cached)
    except (OSError, ValueError, IndexError):
        return None


def _opencv() -> Any:
    import cv2

    # its errors come back as None or an exception; it need not print them as well
    if "OPENCV_LOG_LEVEL" not in os.environ:
        silent = 0
        if hasattr(cv2, "setLogLevel"):  # OpenCV 4
            cv2.setLogLevel(silent)
        else:
            cv2.utils.logging.setLogLevel(silent)
    return cv2


def _by_opencv(data: bytes, name: str) -> Pixels | None:
    cv2 = _opencv()
    encoded = np.frombuffer(data, np.uint8)
    try:
        pixels = _decode_rgb(cv2, encoded)
        if pixels is not None:
            return pixels
        return _from_float(cv2, cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED))
    except cv2.error as e:
        if e.code == cv2.Error.StsNoMem:
            raise SourceError(f"{name} does not fit into the memory.") from None
        return None


def _decode_rgb(cv2: Any, encoded: Any) -> Pixels | None:
    direct = getattr(cv2, "IMREAD_COLOR_RGB", None)  # since 4.11; half the memory
    if direct is not None:
        return cv2.imdecode(encoded, direct)  # type: ignore[no-any-return]
    pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _from_float(cv2: Any, values: Any) -> Pixels | None:
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


# formats without a mark of their own in the file: FFmpeg's decoder by extension
_BY_EXTENSION = {"tga": "targa", "targa": "targa", "pcx": "pcx", "sgi": "sgi"}


def _by_pyav(data: bytes, kind: str, extension: str) -> Pixels | None:
    import av

    if not kind and extension not in (*_BY_EXTENSION, "ico"):
        return None  # FFmpeg sees a picture in almost anything

    limit = {"max_pixels": str(MAX_PIXELS)}
    try:
        if not kind and extension in _BY_EXTENSION:
            context: Any = av.CodecContext.create(_BY_EXTENSION[extension], "r")
            context.options = limit
            return _first(context.decode(av.Packet(data)))
        with open_container(io.BytesIO(data)) as container:
            if container.format.name in NOT_PICTURES or not container.streams.video:
                return None
            stream = container.streams.video[0]
            stream.codec_context.options = limit
            return _first(container.decode(stream))
    except (av.FFmpegError, OSError, ValueError, IndexError):
        return None


def _first(frames: Iterable[Any]) -> Pixels | None:
    frame = next(iter(frames), None)
    return None if frame is None else np.ascontiguousarray(frame.to_ndarray(format="rgb24"))


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
