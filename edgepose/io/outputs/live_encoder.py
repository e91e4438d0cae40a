"""A video encoder for live streams: no delay, a key frame every second, time by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from edgepose.errors import OutputError, UnknownNameError
from edgepose.io.base import OutputOptions
from edgepose.io.pixels import letterbox
from edgepose.types import Frame

CLOCK = 90_000
DEFAULT_RATE = 30.0
BITS_A_PIXEL = 0.1

# codec -> (encoder, kind, options), the first that opens is taken
_X264 = {"preset": "ultrafast", "tune": "zerolatency"}
_NVENC = {"preset": "p2", "tune": "ull", "zerolatency": "1"}
LIVE_ENCODERS: dict[str, tuple[tuple[str, str, dict[str, str]], ...]] = {
    "h264": (
        ("h264_nvenc", "nvenc", _NVENC),
        ("libx264", "cpu", _X264),
        ("h264_v4l2m2m", "v4l2", {}),
    ),
    "h265": (
        ("hevc_nvenc", "nvenc", _NVENC),
        ("libx265", "cpu", {**_X264, "x265-params": "log-level=none"}),
        ("hevc_v4l2m2m", "v4l2", {}),
    ),
    "vp8": (("libvpx", "cpu", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),),
    "vp9": (
        (
            "libvpx-vp9",
            "cpu",
            {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "row-mt": "1"},
        ),
    ),
    "mjpeg": (("mjpeg", "cpu", {"huffman": "default", "force_duplicated_matrix": "1"}),),
}


class Pacer:
    """When a frame belongs on the stream, in seconds: live frames at their arrival, films at their
    own pace (it sleeps until a film's frame is due)."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._first_pts = 0.0

    def at(self, frame: Frame) -> float:
        """Seconds since the first frame."""
        now = time.monotonic()
        if self._start is None:
            self._start = frame.captured or now
            self._first_pts = frame.pts or 0.0
        if frame.captured is not None or frame.pts is None:
            return (frame.captured or now) - self._start
        due = frame.pts - self._first_pts
        time.sleep(min(1.0, max(0.0, self._start + due - now)))
        return due


class LiveEncoder:
    """Encodes frames of one stream; the size is that of the first (or of the options), made even.

    Args:
        options: codec, encoder, bitrate, rate, width, height. name: of the output, for messages.

    Raises:
        UnknownNameError: no such codec or encoder.
    """

    def __init__(self, options: OutputOptions, name: str) -> None:
        self.codec = {"hevc": "h265"}.get(options.codec.lower(), options.codec.lower())
        if self.codec not in LIVE_ENCODERS:
            raise UnknownNameError("output codec", options.codec, LIVE_ENCODERS)
        self._options, self._name = options, name
        self._candidates = _candidates(self.codec, options.encoder)
        self.rate = options.rate or options.input_rate or DEFAULT_RATE
        self.time_base = Fraction(1, CLOCK)
        self._context: Any = None
        self._last_tick = -1
        self._period = -1
        self.encoder = ""

    def encode(self, frame: Frame, seconds: float, key: bool = False) -> list[Any]:
        """Packets of a frame (often one, none where the rate skips it); pts in 1/90000 s.

        Raises:
            OutputError: no encoder works.
        """
        import av

        if self._skipped(seconds):
            return []
        if self._context is None:
            self.start(frame.width, frame.height)
        pixels = _even(letterbox(frame.pixels, self._fitted), self.size)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        picture = self._reformat(picture)
        self._last_tick = max(self._last_tick + 1, round(seconds * CLOCK))
        picture.pts, picture.time_base = self._last_tick, self.time_base
        if key:
            picture.pict_type = av.video.frame.PictureType.I
        return list(self._context.encode(picture))

    def _skipped(self, seconds: float) -> bool:
        if not self._options.rate:
            return False
        period = int(seconds * self._options.rate + 1e-6)
        same = period == self._period
        self._period = period
        return same

    def _reformat(self, picture: Any) -> Any:
        from av.video.reformatter import Colorspace

        hd = self.size[1] >= 720
        return self._reformatter.reformat(
            picture,
            format=self._pixel_format,
            dst_colorspace=Colorspace.ITU709 if hd else Colorspace.ITU601,
        )

    def start(self, width: int, height: int, make: Callable[[str], Any] | None = None) -> None:
        """Choose the first encoder that opens for this size, and set up a context for it.

        Args:
            make: makes the context from the encoder's name (a stream of a container); default is
                one on its own.

        Raises:
            OutputError: none opens.
        """
        import av
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        self._fitted = (self._options.width or width, self._options.height or height)
        self.size = (self._fitted[0] + self._fitted[0] % 2, self._fitted[1] + self._fitted[1] % 2)
        self._pixel_format = "yuvj420p" if self.codec == "mjpeg" else "yuv420p"
        reasons = []
        for encoder, _, settings in self._candidates:
            try:
                trial: Any = av.CodecContext.create(encoder, "w")
                self._set(trial, settings)
                trial.open()
            except (av.FFmpegError, OSError, ValueError) as e:
                reasons.append(f"{encoder} ({getattr(e, 'strerror', None) or e})")
                continue
            self.encoder, self._context = encoder, trial
            if make is not None:
                self._context = make(encoder)
                self._set(self._context, settings)
            return
        raise OutputError(
            f"{self._name}: no {self.codec} encoder works for {self.size[0]}x{self.size[1]}: "
            f"{'; '.join(reasons)}. Choose another --output-codec."
        )

    def _set(self, context: Any, settings: dict[str, str]) -> None:
        context.width, context.height = self.size
        context.pix_fmt = self._pixel_format
        context.time_base = self.time_base
        context.framerate = Fraction(self.rate).limit_denominator(1001)
        context.gop_size = max(1, round(self.rate))  # a viewer who joins waits for a second at most
        context.max_b_frames = 0
        pixels = self.size[0] * self.size[1]
        context.bit_rate = self._options.bitrate or max(
            200_000, round(pixels * self.rate * BITS_A_PIXEL)
        )
        if self.codec == "mjpeg":
            context.thread_count = 1  # RTP's JPEG knows no slices
            context.bit_rate = self._options.bitrate or pixels * 40
        context.options = settings


def _candidates(codec: str, asked: str) -> tuple[tuple[str, str, dict[str, str]], ...]:
    known = LIVE_ENCODERS[codec]
    if asked in ("", "auto"):
        return known
    chosen = tuple(e for e in known if asked in e[:2])
    if not chosen:
        raise UnknownNameError(
            f"{codec} encoder", asked, [e[1] for e in known] + [e[0] for e in known]
        )
    return chosen


def _even(pixels: Any, size: tuple[int, int]) -> Any:
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    return np.pad(pixels, ((0, size[1] - height), (0, size[0] - width), (0, 0)), mode="edge")
