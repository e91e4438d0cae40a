"""The ground floor of PyAV: how everything that is read is opened, and addresses as FFmpeg takes them."""

from __future__ import annotations

import errno
import gc
import itertools
import logging
import struct
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any
from urllib.parse import quote

import av
import numpy as np
from av.codec.context import Flags
from av.filter import Graph
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from edgepose.closing import goes_on
from edgepose.errors import SourceError
from edgepose.io.pixels import FLIPS, flip
from edgepose.io.planes import PlanarPixels, copied, planes_of
from edgepose.io.uri import Uri
from edgepose.types import Pixels, Planar

log = logging.getLogger(__name__)

SQUARE = (0.99, 1.01)  # shapes of pixels that are left as they are
# counterclockwise degrees
_TURNS = {90: "counterclockwise", -90: "clockwise", 180: "rotate-180", -180: "rotate-180"}
RESERVED, UNSPECIFIED = 3, 2  # matrices of colours
SHAPES = (0.2, 5.0)  # beyond, the shape is a mistake of the file

ASKEW = 0.02  # how much of a matrix may be beside a quarter turn or mirror before it is said

# FFmpeg demuxers that draw text as if it were a film
NOT_PICTURES = frozenset(("tty", "bin", "xbin", "adf", "idf"))
# FFmpeg's names of containers without a turn of their own, and of what is in them
_BARE = ("mjpeg", "mpjpeg", "jpeg_pipe", "png_pipe", "webp_pipe", "tiff_pipe", "image2pipe")
_KINDS = {"mjpeg": "jpeg", "png": "png", "webp": "webp", "tiff": "tiff"}


class _Clock:
    """What PyAV asks for the time while FFmpeg waits: past every deadline in a thread that was stopped."""

    def __init__(self) -> None:
        self._ahead = itertools.count(1)

    def monotonic(self) -> float:
        now = time.monotonic()
        return now if goes_on() else now + 1e9 * next(self._ahead)


_pyav: Any = av.container.core
_pyav.time = _Clock()  # there is no other way to end a call that opens or reads


def network_url(uri: Uri) -> str:
    """The address for FFmpeg with user and password percent-encoded (FFmpeg decodes them)."""
    if not (uri.user or uri.password):
        return uri.text.replace("://@", "://", 1)
    host = f"[{uri.host}]" if ":" in uri.host else uri.host
    rest = uri.text.partition("://")[2]
    tail = next((t for t in _behind_at(rest) if t.startswith(host)), host)
    secret = f":{quote(uri.password, safe='')}" if uri.password else ""
    return f"{uri.scheme}://{quote(uri.user, safe='')}{secret}@{tail}"


def _behind_at(text: str) -> Iterator[str]:
    """What follows each @."""
    for i, letter in enumerate(text):
        if letter == "@":
            yield text[i + 1 :]


def open_container(what: Any, **options: Any) -> Any:
    """Open something for reading: a path, an address or a binary file object.

    Titles and comments need not be UTF-8: what is not is replaced. `file_name` says how a path is given.

    Args:
        what: as `av.open` takes it. options: its other arguments.

    Raises:
        av.FFmpegError, OSError, ValueError: it cannot be opened.
    """
    try:
        return av.open(what, metadata_errors="replace", **options)
    except TypeError:  # PyAV 19 has no such option and needs none
        return av.open(what, **options)


def file_name(path: str) -> str:
    """A path as FFmpeg takes it: "file:" keeps a name with a colon from being taken for a protocol."""
    return f"file:{path}"


def first_video(container: Any) -> Any | None:
    """The stream of pictures that the file calls its default, else the first; of those that can be decoded
    and are no cover. None where there is none."""
    cover, default = av.stream.Disposition.attached_pic, av.stream.Disposition.default
    able = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & cover
    ]
    return next((s for s in able if s.disposition & default), able[0] if able else None)


def rest(stream: Any) -> list[Any]:
    """The frames that the decoder of a stream still holds; PyAV gives them no time where no packet comes.

    Raises:
        av.FFmpegError, OSError: they are damaged.
    """
    end = av.Packet()
    end.stream, end.time_base = stream, stream.time_base
    return list(stream.decode(end))


class Converter:
    """Decoded frames to RGB as they are meant: upright, not mirrored, with square pixels.

    One for each stream: it keeps a scaler.

    Args:
        shown: what is read, as people know it.
        aspect: width of a pixel by its height, where the stream says so (`sample_aspect_ratio`).
        device: the frames are a camera's, which turns nothing.
        marked: the flip of each frame (a name of `pixels.FLIPS`) is its `opaque`.
        borrowed: the memory of frames is a driver's, which soon writes it again.
    """

    def __init__(
        self,
        shown: str,
        aspect: Any = None,
        device: bool = False,
        marked: bool = False,
        borrowed: bool = False,
    ) -> None:
        self._shown, self._marked, self._borrowed = shown, marked, borrowed
        self._lock = threading.Lock()
        # the flip by rotation: of each rotation only the first frame is asked
        self._turns: dict[float, str] = {0: "none"} if device else {}
        self._reformatter = VideoReformatter()
        self._shape = (0, 0, "")  # of the last planes
        ratio = float(aspect or 1)
        oblong = SHAPES[0] < ratio < SHAPES[1] and not SQUARE[0] < ratio < SQUARE[1]
        self._stretch = ratio if oblong else 0.0

    def planar(self, frame: Any) -> Pixels | Planar:
        """A frame as its planes where nothing but the colour is to be changed and they are known, else RGB.

        Borrowed planes are copied.

        Raises:
            SourceError: as of a call.
        """
        upright = not self._stretch and not self._marked
        if upright and self._borrowed:
            frame = copied(frame) or frame
        planes = planes_of(frame) if upright and self._turn_of(frame) == "none" else None
        if planes is None:
            return self(frame)
        pixels = PlanarPixels(planes, lambda: self(frame))
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:  # FFmpeg refuses by the shape: here, where it counts as damage
            pixels.rgb()
            self._shape = shape
        return pixels

    def __call__(self, frame: Any) -> Pixels:
        """Pixels (uint8 RGB HWC) of a frame; from any thread.

        Raises:
            SourceError: its size or format cannot be: damage.
        """
        with self._lock:  # the scaler serves one at a time
            return self._rgb(frame)

    def _rgb(self, frame: Any) -> Pixels:
        width = max(1, round(frame.width * self._stretch)) if self._stretch else None
        if int(frame.colorspace) == RESERVED:  # says as little as "unspecified"
            frame.colorspace = UNSPECIFIED
        try:
            rgb = self._reformatter.reformat(frame, width=width, format="rgb24")
        except (av.FFmpegError, OSError, ValueError) as e:
            if getattr(e, "errno", 0) == errno.EOPNOTSUPP:
                raise SourceError(
                    f"Its colours (matrix {int(frame.colorspace)}) are of a kind that cannot be read."
                ) from None
            raise SourceError(f"A damaged picture of {frame.width}x{frame.height}: {e}.") from None
        pixels = _rows(rgb)
        if rgb is frame:  # already RGB: its memory may be a camera driver's
            pixels = pixels.copy()
        if self._marked:
            return flip(pixels, frame.opaque or "none")
        return flip(pixels, self._turn_of(frame))

    def _turn_of(self, frame: Any) -> str:
        rotation = frame.rotation
        if rotation not in self._turns:
            self._turns[rotation] = turn(frame, self._shown)
        return self._turns[rotation]


def bare_pictures(container: Any, stream: Any) -> str:
    """The kind (as `header.kind`) of pictures that stand one behind the other in a stream, "" for a film.

    Their frames then keep the `opaque` of their packets, where the caller puts what `orientation.whole_flip` says.
    """
    kind = _KINDS.get(stream.codec_context.name, "") if container.format.name in _BARE else ""
    if kind:
        stream.codec_context.flags |= Flags.copy_opaque
    return kind


def turn(frame: Any, shown: str) -> str:
    """The flip (a name of `pixels.FLIPS`) that the display matrix of a frame asks for, or comes nearest.

    Args:
        shown: what it is of; named where the nearest is not what is asked.
    """
    try:
        matrix = _display_matrix(frame)
    except ValueError:  # PyAV cannot list side data of a kind that is newer than itself
        return _TURNS.get(round(frame.rotation / 90) * 90, "none")
    if matrix is None:
        return "none"
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    # x goes to ax + cy, y to bx + dy
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    x, y = (c, b) if transposed else (a, d)
    beside = abs(a) + abs(d) if transposed else abs(b) + abs(c)
    if beside > ASKEW * (abs(x) + abs(y)):
        log.warning(
            "%s is to be shown askew; only quarter turns and mirrors are followed, here the nearest. "
            "Where people then lean too much to be found, store it upright.",
            shown,
        )
    return next(name for name, flips in FLIPS.items() if flips == (transposed, y < 0, x < 0))


def _display_matrix(frame: Any) -> bytes | None:
    """The nine numbers of a frame's display matrix, None where it has none.

    PyAV's side data and their frame hold each other until the garbage is collected, which a loop over frames
    hardly ever gives reason for. So a second frame over the same memory is asked, and collected at once: it is
    among the youngest objects, and nobody else holds it.
    """
    try:
        graph = Graph()
        entry = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base or Fraction(1),
        )
        entry.link_to(graph.add("buffersink"))
        graph.configure()
        graph.push(frame)
        frame = graph.pull()
    except (av.FFmpegError, OSError):  # a kind of frame that no filter takes: this one is asked
        pass
    matrix = frame.side_data.get(SideData.DISPLAYMATRIX)
    told = None if matrix is None else bytes(matrix)
    del frame, matrix
    gc.collect(0)
    return told


def _rows(rgb: Any) -> Pixels:
    """The pixels of an rgb24 frame; without a copy where its rows lie without gaps."""
    plane = rgb.planes[0]
    lines: NDArray[np.uint8] = np.frombuffer(plane, np.uint8, plane.line_size * rgb.height)
    pixels = lines.reshape(rgb.height, plane.line_size)[:, : rgb.width * 3]
    return np.ascontiguousarray(pixels.reshape(rgb.height, rgb.width, 3))
