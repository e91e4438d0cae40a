"""Containers and encoders of films and live streams: one table, one choice, one setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from edgepose.errors import OutputError, UnknownNameError, UsageError
from edgepose.io.pixels import letterbox, pad
from edgepose.types import Pixels

CLOCK = 90_000
BITS_A_PIXEL = 0.1
# without negative offsets, a fragmented film starts late by the encoder's reordering, its sound not
_FRAGMENTS = {"movflags": "+hybrid_fragmented+negative_cts_offsets", "frag_duration": "500000"}
_CLUSTERS = {"cluster_time_limit": "500"}


@dataclass(frozen=True)
class Container:
    """A file format: FFmpeg's name, the codecs it holds (the first is its own), muxer options.

    `constant`: it stores no times, so frames lie at whole multiples of 1 / rate.
    """

    format: str
    codecs: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    constant: bool = False
    sound: bool = True


_MP4 = Container("mp4", ("h264", "h265", "vp9", "mjpeg"), _FRAGMENTS)
_MOV = Container("mov", ("h264", "h265", "vp8", "vp9", "mjpeg"), _FRAGMENTS)
_H264 = Container("h264", ("h264",), constant=True, sound=False)
_H265 = Container("hevc", ("h265",), constant=True, sound=False)

CONTAINERS: dict[str, Container] = {
    "mp4": _MP4,
    "m4v": _MP4,
    "mov": _MOV,
    "qt": _MOV,
    "mkv": Container("matroska", ("h264", "h265", "vp8", "vp9", "mjpeg"), _CLUSTERS),
    "webm": Container("webm", ("vp9", "vp8"), _CLUSTERS),
    "avi": Container("avi", ("h264", "mjpeg", "vp8"), constant=True),
    "flv": Container("flv", ("h264", "h265")),
    "ts": Container("mpegts", ("h264", "h265")),
    "h264": _H264,
    "264": _H264,
    "h265": _H265,
    "265": _H265,
    "hevc": _H265,
}


@dataclass(frozen=True)
class Encoder:
    """An FFmpeg encoder and how it is set.

    Attributes:
        name: FFmpeg's. kind: cpu, nvenc or v4l2.
        film: options for files. live: options for streams, where nothing may be held back.
        quality: options of a file whose bit rate was not asked. needs_bitrate: it has no useful quality
            mode of its own, so a bit rate is made up from the size.
    """

    name: str
    kind: str = "cpu"
    film: Mapping[str, str] = field(default_factory=dict)
    live: Mapping[str, str] = field(default_factory=dict)
    quality: Mapping[str, str] = field(default_factory=dict)
    needs_bitrate: bool = False


_X265 = {"x265-params": "log-level=none"}
# without look-ahead: it holds 25 frames, which a killed program would lose
_VPX = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
_VP9 = {**_VPX, "row-mt": "1"}
_FAST = {"preset": "ultrafast", "tune": "zerolatency"}
_NVENC = {"preset": "p4"}
_NVENC_FAST = {"preset": "p2", "tune": "ull", "zerolatency": "1"}
ENCODERS: dict[str, tuple[Encoder, ...]] = {
    "h264": (
        Encoder("libx264", "cpu", {"preset": "veryfast"}, _FAST, {"crf": "23"}),
        Encoder("h264_nvenc", "nvenc", _NVENC, _NVENC_FAST, {"rc": "vbr", "cq": "23"}),
        Encoder("h264_v4l2m2m", "v4l2", needs_bitrate=True),
        Encoder("libopenh264", "cpu", needs_bitrate=True),
    ),
    "h265": (
        Encoder(
            "libx265", "cpu", {"preset": "veryfast", **_X265}, {**_FAST, **_X265}, {"crf": "26"}
        ),
        Encoder("hevc_nvenc", "nvenc", _NVENC, _NVENC_FAST, {"rc": "vbr", "cq": "26"}),
        Encoder("hevc_v4l2m2m", "v4l2", needs_bitrate=True),
    ),
    "vp8": (Encoder("libvpx", "cpu", _VPX, _VPX, {"crf": "10"}, needs_bitrate=True),),
    "vp9": (Encoder("libvpx-vp9", "cpu", _VP9, _VP9, {"crf": "33"}),),
    "mjpeg": (
        Encoder(
            "mjpeg",
            "cpu",
            live={"huffman": "default", "force_duplicated_matrix": "1"},
            quality={"qmin": "3", "qmax": "3"},
        ),
    ),
}


def codec_name(asked: str) -> str:
    """The canonical name of a codec, h264 where none is asked.

    Raises:
        UnknownNameError: no such codec.
    """
    name = {"hevc": "h265", "avc": "h264"}.get(asked.lower(), asked.lower() or "h264")
    if name not in ENCODERS:
        raise UnknownNameError("output codec", asked, ENCODERS)
    return name


def codec_for(extension: str, asked: str) -> str:
    """The codec for a file: what was asked, where h264 (the default) gives way to the file's own.

    Raises:
        UnknownNameError: no such codec. UsageError: the file cannot hold it.
    """
    asked = codec_name(asked)
    holds = CONTAINERS[extension].codecs
    if asked in holds:
        return asked
    if asked == "h264":
        return holds[0]
    raise UsageError(
        f"A .{extension} file cannot hold {asked}, only {', '.join(holds)}. "
        ".mkv holds them all; or choose another --output-codec."
    )


def encoders(codec: str, asked: str, live: bool = False) -> tuple[Encoder, ...]:
    """The encoders to try: all of a codec, those of a kind, or one by FFmpeg's name.

    Live streams prefer NVENC, which leaves the CPU to inference; films the CPU's better quality.

    Raises:
        UnknownNameError: none of this name.
    """
    known = ENCODERS[codec]
    if asked not in ("", "auto"):
        chosen = tuple(e for e in known if asked in (e.kind, e.name))
        if not chosen:
            kinds = dict.fromkeys(["auto", *(e.kind for e in known), *(e.name for e in known)])
            raise UnknownNameError(f"{codec} encoder", asked, kinds)
        return chosen
    return tuple(sorted(known, key=lambda e: live and e.kind != "nvenc"))


class Setting:
    """How a film or stream is encoded; it makes its contexts and its pictures.

    Args:
        size: (width, height) of the pictures; made even by repeating the last row or column.
        rate: frames a second. bitrate: bits a second, 0 = by quality (live: by the size).
        live: no delay, a key frame every second (a viewer who joins waits no longer).
        container: of a file.
    """

    def __init__(
        self,
        size: tuple[int, int],
        rate: float,
        bitrate: int,
        *,
        live: bool = False,
        container: Container | None = None,
    ) -> None:
        self._fitted = size
        self.size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self.rate = Fraction(rate).limit_denominator(1001)
        self._bitrate, self._live = bitrate, live
        self._format = container.format if container else ""
        constant = container is not None and container.constant
        self.time_base = 1 / self.rate if constant else Fraction(1, CLOCK)
        hd = self.size[1] >= 720 or self.size[0] >= 1280
        # the matrix that players assume where a film says nothing
        self._matrix = Colorspace.ITU709 if hd else Colorspace.ITU601
        self._reformatter = VideoReformatter()
        self._full_range = False

    def choose(self, candidates: tuple[Encoder, ...], name: str) -> Encoder:
        """The first encoder that opens; later contexts and pictures are made for it.

        Args:
            name: of the output, for the message.

        Raises:
            OutputError: none does.
        """
        reasons = []
        for encoder in candidates:
            try:
                self.context(encoder)
            except (av.FFmpegError, OSError, ValueError) as e:
                reasons.append(f"{encoder.name} ({getattr(e, 'strerror', None) or e})")
            else:
                return encoder
        raise OutputError(
            f"{name}: no encoder works for {self.size[0]}x{self.size[1]}: {'; '.join(reasons)}. "
            "Choose another --output-codec."
        )

    def context(self, encoder: Encoder) -> Any:
        """An open codec context.

        Raises:
            av.FFmpegError, OSError, ValueError: it does not open.
        """
        context = av.CodecContext.create(encoder.name, "w")
        self.apply(context, encoder)
        context.open()
        return context

    def apply(self, context: Any, encoder: Encoder) -> None:
        """Set a codec context up for an encoder."""
        mjpeg = self._full_range = encoder.name == "mjpeg"
        context.width, context.height = self.size
        context.framerate = self.rate
        context.time_base = self.time_base
        context.gop_size = max(1, round((1 if self._live else 2) * self.rate))
        context.pix_fmt = "yuvj420p" if mjpeg else "yuv420p"
        if not mjpeg:
            context.color_range = 1
            context.colorspace = 1 if self._matrix == Colorspace.ITU709 else 6
        context.options = self._options(context, encoder)
        if self._format in ("mp4", "mov") and encoder.name in ("libx265", "hevc_nvenc"):
            context.codec_tag = "hvc1"  # QuickTime plays no hev1

    def _options(self, context: Any, encoder: Encoder) -> dict[str, str]:
        if self._live:
            context.max_b_frames = 0
            context.bit_rate = self._bitrate or self._made_up_bitrate()
            if encoder.name == "mjpeg":
                context.thread_count = 1  # RTP's JPEG knows no slices
            return dict(encoder.live)
        options = dict(encoder.film)
        if self._bitrate or encoder.needs_bitrate:
            context.bit_rate = self._bitrate or self._made_up_bitrate()
        if not self._bitrate:
            options.update(encoder.quality)
        if self._format == "avi":
            options["bf"] = "0"  # AVI has no presentation times to put B-frames in order
        return options

    def _made_up_bitrate(self) -> int:
        """0.1 bit a pixel: 2.8 Mbit/s at 720p30."""
        pixels = self.size[0] * self.size[1]
        if self._full_range:
            return pixels * 40
        return max(200_000, round(pixels * float(self.rate) * BITS_A_PIXEL))

    def picture(self, pixels: Pixels) -> Any:
        """Pixels (uint8 RGB HWC, any size) as the encoder takes them: fitted on black, in its colours."""
        fitted = pad(letterbox(pixels, self._fitted), self.size)
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(fitted), format="rgb24")
        full = self._full_range
        return self._reformatter.reformat(
            rgb,
            format="yuvj420p" if full else "yuv420p",
            dst_colorspace=Colorspace.ITU601 if full else self._matrix,
            dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        )
