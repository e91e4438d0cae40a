"""`/dev/video0`, `v4l2:///dev/video0`, `/dev/v4l/by-id/...`: cameras of the Linux kernel.

The modes that a camera offers are read with the kernel's own calls (the structures are those of
linux/videodev2.h), the nearest to what was asked is chosen, and FFmpeg captures it.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import grp
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgepose.errors import EdgeposeError, SourceError, SourceLost, UnknownNameError
from edgepose.io import jetson_utils
from edgepose.io.base import Source, SourceOptions
from edgepose.io.sources.av_capture import Address, AvCapture
from edgepose.io.sources.jetson import open_jetson
from edgepose.io.sources.live import LiveSource
from edgepose.io.uri import Uri

DEFAULT_SIZE = (1280, 720)

# fourcc -> FFmpeg's name, in the order of preference: what GPUs read as it comes, raw (no decoding), compressed
PIXEL_FORMATS = {
    "NV12": "nv12",
    "YU12": "yuv420p",
    "YUYV": "yuyv422",
    "UYVY": "uyvy422",
    "RGB3": "rgb24",
    "BGR3": "bgr24",
    "GREY": "gray",
    "MJPG": "mjpeg",
    "JPEG": "mjpeg",
    "H264": "h264",
    "HEVC": "hevc",
}
COMPRESSED = frozenset({"MJPG", "JPEG", "H264", "HEVC"})
# --input-codec -> fourccs that satisfy it
CAMERA_CODECS = {
    "mjpeg": ("MJPG", "JPEG"),
    "h264": ("H264",),
    "h265": ("HEVC",),
    "raw": tuple(f for f in PIXEL_FORMATS if f not in COMPRESSED),
}

CAPTURE = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
_CAP_VIDEO_CAPTURE, _CAP_DEVICE_CAPS = 0x1, 0x80000000


def _ior(number: int, size: int, write: bool = True) -> int:
    """_IOWR('V', number, size), or _IOR without `write`."""
    return (3 if write else 2) << 30 | size << 16 | ord("V") << 8 | number


QUERYCAP = _ior(0, 104, write=False)
ENUM_FMT = _ior(2, 64)
ENUM_FRAMESIZES = _ior(74, 44)
ENUM_FRAMEINTERVALS = _ior(75, 52)


@dataclass(frozen=True)
class Mode:
    """One thing a camera can deliver: a fourcc, a size in pixels, frames a second (0 = unknown)."""

    fourcc: str
    width: int
    height: int
    rate: float

    def __str__(self) -> str:
        return f"{self.width}x{self.height} {self.rate:g}/s {self.fourcc}"


@dataclass(frozen=True)
class Camera:
    """A capture device: its node, its name, its modes; `trouble` says why it cannot be read."""

    path: str
    name: str = ""
    modes: tuple[Mode, ...] = ()
    trouble: str = ""


# -- listing -----------------------------------------------------------------------------------------
def cameras() -> list[Camera]:
    """Every capture device of this machine, also those that cannot be opened."""
    return [
        c for path in sorted(glob.glob("/dev/video*"), key=_device_number) if (c := _camera(path))
    ]


def _device_number(path: str) -> tuple[int, str]:
    digits = "".join(c for c in path if c.isdigit())
    return int(digits or 0), path


def _camera(path: str) -> Camera | None:
    try:
        return describe(path)
    except _NoCamera:
        return None
    except SourceError as e:
        return Camera(path, trouble=str(e))


class _NoCamera(SourceError):
    """A node of another kind (metadata, codec, tuner)."""


def describe(path: str) -> Camera:
    """Name and modes of a camera.

    Raises:
        SourceLost: no such device. SourceError: no camera, or no permission.
    """
    with _opened(path) as fd:
        raw = _ask(fd, QUERYCAP, bytearray(104))
        if raw is None:
            raise _NoCamera(f"{path} is not a V4L2 device.")
        everything, of_node = struct.unpack_from("=II", raw, 84)
        if not (of_node if everything & _CAP_DEVICE_CAPS else everything) & _CAP_VIDEO_CAPTURE:
            raise _NoCamera(f"{path} does not capture video. List cameras with: edgepose devices")
        name = bytes(raw[16:48]).split(b"\0")[0].decode(errors="replace")
        return Camera(path, name, tuple(_modes(fd)))


@contextmanager
def _opened(path: str) -> Iterator[int]:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as e:
        raise explain(e, path) from None
    try:
        yield fd
    finally:
        os.close(fd)


def _ask(fd: int, request: int, buffer: bytearray) -> bytearray | None:
    """The filled buffer, None where the driver has no answer (any more)."""
    try:
        fcntl.ioctl(fd, request, buffer)
    except OSError as e:
        if e.errno in (errno.EINVAL, errno.ENOTTY):
            return None
        raise SourceLost(f"the camera went away: {e.strerror}.") from None
    return buffer


def _modes(fd: int) -> Iterator[Mode]:
    for index in range(64):
        answer = _ask(fd, ENUM_FMT, bytearray(struct.pack("=II56x", index, CAPTURE)))
        if answer is None:
            return
        code = struct.unpack_from("=I", answer, 44)[0]
        fourcc = code.to_bytes(4, "little").decode("ascii", errors="replace")
        for width, height in _sizes(fd, code):
            for rate in _rates(fd, code, width, height) or [0.0]:
                yield Mode(fourcc, width, height, rate)


def _sizes(fd: int, code: int) -> Iterator[tuple[int, int]]:
    for index in range(256):
        answer = _ask(fd, ENUM_FRAMESIZES, bytearray(struct.pack("=II36x", index, code)))
        if answer is None:
            return
        kind, a, b, _, d, e, _ = struct.unpack_from("=7I", answer, 8)
        if kind == 1:  # discrete: width, height
            yield a, b
        else:  # a range: min, max, step of width, then of height; the driver rounds what is asked
            yield a, d
            common = [(640, 480), (1280, 720), (1920, 1080), (3840, 2160)]
            yield from ((w, h) for w, h in common if a < w < b and d < h < e)
            yield b, e
            return


def _rates(fd: int, code: int, width: int, height: int) -> list[float]:
    rates = []
    for index in range(64):
        question = bytearray(struct.pack("=IIII36x", index, code, width, height))
        answer = _ask(fd, ENUM_FRAMEINTERVALS, question)
        if answer is None:
            break
        kind, numerator, denominator = struct.unpack_from("=3I", answer, 16)
        if numerator:
            rates.append(round(denominator / numerator, 3))
        if kind != 1:
            break
    return rates


# -- choosing ----------------------------------------------------------------------------------------
def choose(modes: tuple[Mode, ...], options: SourceOptions) -> Mode | None:
    """The mode nearest to what the options ask, None where none can be decoded.

    The codec is kept where it is asked; then the nearest size counts (1280x720 where none is
    asked), then the rate (the nearest, or the highest up to 30/s where none is asked), then raw
    before compressed.

    Raises:
        UnknownNameError: a codec that no camera has.
        SourceError: the camera does not offer the codec.
    """
    usable = [m for m in modes if m.fourcc in PIXEL_FORMATS]
    if options.codec:
        usable = _of_codec(usable, options.codec)
    width, height = options.width or DEFAULT_SIZE[0], options.height or DEFAULT_SIZE[1]
    order = list(PIXEL_FORMATS)

    def distance(mode: Mode) -> tuple[float, float, int]:
        size = abs(mode.width - width) + abs(mode.height - height)
        pace = abs((mode.rate or 30.0) - (options.rate or 30.0))
        return size, pace, order.index(mode.fourcc)

    return min(usable, key=distance, default=None)


def _of_codec(modes: list[Mode], codec: str) -> list[Mode]:
    name = codec.lower()
    if name not in CAMERA_CODECS:
        raise UnknownNameError("camera codec", codec, CAMERA_CODECS)
    fitting = [m for m in modes if m.fourcc in CAMERA_CODECS[name]]
    if not fitting:
        offered = ", ".join(sorted({m.fourcc for m in modes})) or "nothing that can be decoded"
        raise SourceError(
            f"The camera has no mode with --input-codec {codec}; it offers {offered}."
        )
    return fitting


# -- opening -----------------------------------------------------------------------------------------
def node(uri: Uri) -> str:
    """The device node of a URI: `/dev/video0` also by its number; links are followed."""
    path = uri.path or "0"
    path = f"/dev/video{path}" if path.strip("/").isdigit() else path
    return path.replace("/dev/video/", "/dev/video")


def device_address(path: str, options: SourceOptions) -> Address:
    """Which mode of a camera FFmpeg shall open.

    Raises:
        SourceLost: no such device. SourceError: not usable. UsageError: an option.
    """
    camera = describe(path)
    mode = choose(camera.modes, options)
    if mode is None and camera.modes:
        raise SourceError(
            f"{path} offers only {', '.join(sorted({m.fourcc for m in camera.modes}))}, which "
            "cannot be decoded here; a raw sensor needs csi:// instead."
        )
    ffmpeg: dict[str, str] = {}
    if mode is not None:
        ffmpeg["video_size"] = f"{mode.width}x{mode.height}"
        ffmpeg["input_format"] = PIXEL_FORMATS[mode.fourcc]
        if mode.rate:
            ffmpeg["framerate"] = f"{mode.rate:g}"
    eager = mode is None or mode.fourcc not in COMPRESSED
    return Address(path, path, "v4l2", ffmpeg, eager=eager, device=True)


def open_camera(path: str, options: SourceOptions) -> AvCapture:
    """Choose the mode and open the camera; the errors name the device and the remedy."""
    where = device_address(path, options)
    try:
        return AvCapture(where, options, resize=False)
    except SourceError as e:
        raise (_busy(path) if e.errno == errno.EBUSY else e) from None


def _busy(path: str) -> SourceError:
    """A camera that another program streams from refuses our format with "busy"."""
    holders = ", ".join(_holders(path)) or "another program"
    return SourceError(f"{path} is in use by {holders}. Close that, or read the camera there.")


def _holders(path: str) -> list[str]:
    """Names of other processes that have the device open, as far as we may look."""
    target, found = os.path.realpath(path), []
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        pid = link.split("/")[2]
        try:
            if int(pid) != os.getpid() and os.readlink(link) == target:
                with open(f"/proc/{pid}/comm") as f:
                    found.append(f"{f.read().strip()} (process {pid})")
        except OSError:
            continue
    return sorted(set(found))


def explain(error: OSError, path: str) -> EdgeposeError:
    """What an error on opening a device means, with the remedy."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return SourceError(f"{path}: permission denied. {permission_advice(path)}")
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return SourceLost(f"{path}: no such camera. List what is there with: edgepose devices")
    if error.errno == errno.EBUSY:
        return _busy(path)
    return SourceError(f"{path}: {error.strerror}.")


def permission_advice(path: str) -> str:
    """Which group may read a device, and how to join it."""
    try:
        group = grp.getgrgid(os.stat(path).st_gid).gr_name
    except (OSError, KeyError):
        group = "video"
    return (
        f'It belongs to group "{group}"; join with: sudo usermod -aG {group} $USER  '
        "(then log in again; in a container: --group-add)."
    )


def open_v4l2(uri: Uri, options: SourceOptions) -> Source:
    """Open a camera, supervised: unplugged and plugged in again it goes on."""
    path = node(uri)
    utils = jetson_utils.wanted()
    if utils is not None:
        return open_jetson(utils, uri, options, f"v4l2://{os.path.realpath(path)}")
    return LiveSource(lambda: open_camera(path, options), options, uri=uri.display, name=uri.name)
