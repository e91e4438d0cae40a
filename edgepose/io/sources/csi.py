"""`csi://0`: cameras on a Jetson's MIPI connector, through jetson-utils or GStreamer (Argus)."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import cv2
import numpy as np

from edgepose.cuda.pictures import Planes
from edgepose.errors import BackendUnavailable, SourceError, SourceLost, UsageError
from edgepose.io import jetson_utils
from edgepose.io.base import Source, SourceOptions
from edgepose.io.pixels import flip, flip_name
from edgepose.io.planes import PlanarPixels
from edgepose.io.sources.av_capture import silent
from edgepose.io.sources.capture import Captured
from edgepose.io.sources.jetson import open_jetson
from edgepose.io.sources.live import LiveSource
from edgepose.io.uri import Uri
from edgepose.types import Pixels, Planar

DEFAULT_SIZE = (1280, 720)
DEFAULT_RATE = 30.0
PIPE_BYTES = 1 << 20  # as much as users may ask for by default
MOST_LOG = 1 << 20
TOOLS = "gstreamer1.0-tools"


class GstCapture:
    """Raw frames of a GStreamer pipeline that runs as a child process; a Capture.

    A child can be ended whatever state its camera stack is in, and no GStreamer binding has to be
    importable. The video comes on a pipe of its own: NVIDIA's camera elements print to stdout.

    Args:
        elements: the pipeline up to raw video of any format; scaled to the size here.
        size: (width, height). rate: frames a second. shown: for messages. timeout: in seconds.

    Raises:
        SourceError: no gst-launch-1.0.
    """

    def __init__(
        self,
        elements: Sequence[str],
        size: tuple[int, int],
        rate: float,
        shown: str,
        timeout: float,
        turn: str = "none",
    ) -> None:
        launcher = shutil.which("gst-launch-1.0")
        if launcher is None:
            raise SourceError(f"{shown} needs gst-launch-1.0: sudo apt install {TOOLS}.")
        self.rate, self._size, self._shown, self._timeout = rate, size, shown, timeout
        self._turn = turn
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115
        caps = f"video/x-raw,format=I420,width={size[0]},height={size[1]}"
        sink = ["!", caps, "!", "queue", "leaky=downstream", "max-size-buffers=1"]
        self._pipe, end = os.pipe()
        try:
            with suppress(OSError):  # above what /proc/sys/fs/pipe-max-size allows
                fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            self._child = subprocess.Popen(
                [launcher, "-q", *elements, *sink, "!", "fdsink", f"fd={end}", "sync=false"],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[end],
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(end)

    def read(self) -> Captured | None:
        width, height = self._size
        if os.fstat(self._log.fileno()).st_size > MOST_LOG:  # some drivers repeat themselves
            self._log.truncate(0)
        raw = self._read_exactly(width * height * 3 // 2)
        return Captured(partial(self._pixels, raw))

    def _pixels(self, raw: bytearray) -> Pixels | Planar:
        width, height = self._size
        if self._turn != "none" or width % 2 or height % 2:
            return self._rgb(raw)
        luma, u, v = np.split(
            np.frombuffer(raw, np.uint8), [width * height, width * height * 5 // 4]
        )
        half = (height // 2, width // 2)
        planes = Planes.i420(luma.reshape(height, width), u.reshape(half), v.reshape(half))
        return PlanarPixels(planes, partial(self._rgb, raw))

    def _rgb(self, raw: bytearray) -> Pixels:
        width, height = self._size
        planes = np.frombuffer(raw, np.uint8).reshape(height * 3 // 2, width)
        return flip(np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420), np.uint8), self._turn)

    def _read_exactly(self, size: int) -> bytearray:
        data, deadline = bytearray(), time.monotonic() + self._timeout
        while len(data) < size:
            ready, _, _ = select.select([self._pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise silent(self._shown, self._timeout)
            chunk = os.read(self._pipe, size - len(data))
            if not chunk:
                raise SourceLost(f"{self._shown}: {self._complaint()}")
            data += chunk
        return data

    def _complaint(self) -> str:
        """The last error that GStreamer wrote."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        errors = [line for line in lines if "ERROR" in line.upper()]
        return (errors or lines or ["the camera ended"])[-1].strip()

    def interrupt(self) -> None:
        self._child.terminate()

    def close(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(2)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        os.close(self._pipe)
        self._log.close()


def argus(sensor: int, size: tuple[int, int], rate: float) -> list[str]:
    """The elements of a CSI camera; the conversion from NV12 runs on the Jetson's VIC."""
    caps = (
        f"video/x-raw(memory:NVMM),format=NV12,width={size[0]},height={size[1]},"
        f"framerate={round(rate)}/1"
    )
    return ["nvarguscamerasrc", f"sensor-id={sensor}", "!", caps, "!", "nvvidconv"]


def has_element(name: str) -> bool:
    """Whether GStreamer has an element.

    Raises:
        BackendUnavailable: there is no gst-inspect-1.0 to ask.
    """
    inspect = shutil.which("gst-inspect-1.0")
    if inspect is None:
        raise BackendUnavailable(f"gst-inspect-1.0 is missing: sudo apt install {TOOLS}")
    done = subprocess.run([inspect, "--exists", name], capture_output=True, timeout=60)
    return done.returncode == 0


def no_camera_stack() -> str:
    """Why GStreamer cannot open a CSI camera, "" where it can."""
    try:
        there = has_element("nvarguscamerasrc")
    except BackendUnavailable as e:
        return str(e)
    return (
        ""
        if there
        else ("GStreamer has no nvarguscamerasrc (in a container mount /tmp/argus_socket)")
    )


def open_csi(uri: Uri, options: SourceOptions) -> Source:
    """Open a CSI camera, supervised.

    Raises:
        UsageError: no sensor number. SourceError: no CSI camera stack here.
    """
    number = uri.path.strip("/") or "0"
    if not number.isdigit():
        raise UsageError(f"{uri.display}: {number!r} is no sensor number. Example: csi://0")
    utils = jetson_utils.wanted()
    if utils is not None:
        return open_jetson(utils, uri, options, f"csi://{number}")
    why = no_camera_stack()
    if why:
        raise SourceError(
            f"{uri.display} needs a Jetson with NVIDIA's camera stack, or jetson-utils: {why}. USB cameras "
            "are /dev/video0."
        )
    size = (options.width or DEFAULT_SIZE[0], options.height or DEFAULT_SIZE[1])
    return LiveSource(
        gst_opener(argus(int(number), size, options.rate or DEFAULT_RATE), size, uri, options),
        options,
        uri=uri.display,
        name=f"csi-{number}",
    )


def gst_opener(
    elements: Sequence[str], size: tuple[int, int], uri: Uri, options: SourceOptions
) -> Any:
    """An opener of a pipeline for LiveSource; the size is rounded so that rows have no padding."""
    even = (max(8, size[0] // 8 * 8), max(2, size[1] // 2 * 2))
    rate, turn = options.rate or DEFAULT_RATE, flip_name(options.flip)
    return lambda: GstCapture(elements, even, rate, uri.display, options.timeout, turn)
