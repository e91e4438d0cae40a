"""Small real media files that the tests of files make for themselves."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

# 16x16, upper half red, lower half blue, in CMYK with Adobe's inverted inks
CMYK_JPEG = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAIBgYHBgUIBwcHCQkICgwUDQwLCwwZEhMPFB0aHx4dGhwcICQuJyAiLCMcHCg3"
    "KSwwMTQ0NB8nOT04MjwuMzQy/8AAFAgAEAAQBEMRAE0RAFkRAEsRAP/EABYAAQEBAAAAAAAAAAAAAAAAAAAIB//EABQQ"
    "AQAAAAAAAAAAAAAAAAAAAAD/2gAOBEMATQBZAEsAAD8A39P6f2/gCABf4AP/2Q=="
)
# 6x4, three pictures of grey 10, 100 and 200, shown for 0.1, 0.2 and 0.3 s
ANIMATED_GIF = base64.b64decode(
    "R0lGODlhBgAEAIEAAAoKCgAAAAAAAAAAACH/C05FVFNDQVBFMi4wAwEAAAAh+QQACgAAACwAAAAABgAEAAAICwABCBxI"
    "sKDBgQEBACH5BAEUAAEALAAAAAAGAAQAgWRkZAAAAAAAAAAAAAgLAAEIHEiwoMGBAQEAIfkEAR4AAQAsAAAAAAYABACB"
    "yMjIAAAAAAAAAAAACAsAAQgcSLCgwYEBAQA7"
)
STILL_GIF = ANIMATED_GIF[: 13 + 12 + 19 + 8 + 10 + 1 + 13] + b";"


def corners(width: int = 32, height: int = 24) -> Pixels:
    """RGB with red, green, blue and white quarters: tells every flip from every other."""
    pixels = np.zeros((height, width, 3), np.uint8)
    half_y, half_x = height // 2, width // 2
    pixels[:half_y, :half_x] = (255, 0, 0)
    pixels[:half_y, half_x:] = (0, 255, 0)
    pixels[half_y:, :half_x] = (0, 0, 255)
    pixels[half_y:, half_x:] = (255, 255, 255)
    return pixels


def write_image(path: Path, pixels: Any) -> Path:
    """Pixels (RGB, RGBA or grey, any depth) as an image file by extension."""
    import cv2

    codes = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, codes[pixels.shape[2]])
    assert cv2.imwrite(str(path), pixels)
    return path


def png_of_size(width: int, height: int) -> bytes:
    """The beginning of a PNG that says it has this size, with an end."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + chunk(b"IEND", b"")
    )


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF orientation (1..8) put in front."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 0)
    exif = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def tiff(
    pixels: Any, photometric: int, bits: int, sample_format: int = 1, extra: int | None = None
) -> bytes:
    """An uncompressed little-endian TIFF of an array (H, W) or (H, W, C).

    extra: what a fourth channel is (TIFF's ExtraSamples).
    """
    height, width = pixels.shape[:2]
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    data = np.packbits(pixels, axis=1).tobytes() if bits == 1 else pixels.tobytes()
    bits_at = 8
    start = bits_at + 2 * samples + (2 * samples) % 4
    data_at = start + 2 + 12 * (11 + (extra is not None)) + 4
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, samples, bits_at if samples > 2 else bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, data_at),
        (277, 3, 1, samples),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
        (284, 3, 1, 1),
        *([] if extra is None else [(338, 3, 1, extra)]),
        (339, 3, 1, sample_format),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<I", start) + struct.pack("<H", bits) * samples
    head += b"\0" * (start - len(head))
    return head + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0) + data


def film_picture(number: int, width: int = 64, height: int = 48) -> Pixels:
    """Frame `number` of a test film: its grey value is 4 x number, so that it can be read back."""
    return np.full((height, width, 3), 4 * number % 256, np.uint8)


def number_of(pixels: Pixels) -> int:
    """The frame number that a picture of a test film shows."""
    return round(float(pixels[4:-4, 4:-4].mean()) / 4)


def write_film(
    path: Path,
    count: int = 30,
    *,
    codec: str = "libx264",
    rate: int = 10,
    size: tuple[int, int] = (64, 48),
    sound: str = "",
    gop: int = 10,
    options: dict[str, str] | None = None,
    ticks: list[int] | None = None,
    title: str = "",
) -> Path:
    """A film whose frame n is grey 4 n; `ticks` = times of the frames in 1/100 s."""
    from fractions import Fraction

    import av

    names = {".h264": "h264", ".h265": "hevc"}
    extra = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    with av.open(str(path), "w", format=names.get(path.suffix), options=options or {}) as container:
        if title:
            container.metadata["title"] = title
        stream = container.add_stream(codec, rate=rate, options=extra)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = gop
        if codec == "libvpx":
            stream.codec_context.bit_rate = 2_000_000
        if ticks is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        hum = container.add_stream(sound, rate=48000) if sound else None
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(film_picture(i, *size), format="rgb24")
            if ticks is not None:
                frame.pts, frame.time_base = ticks[i], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if hum is not None:
            _write_hum(container, hum, count / rate)
    return path


def _write_hum(container: Any, stream: Any, seconds: float) -> None:
    import av

    context = stream.codec_context
    step = context.frame_size or 1024
    channels = context.layout.nb_channels
    for at in range(0, int(seconds * 48000), step):
        wave = np.sin(2 * np.pi * 440 / 48000 * np.arange(at, at + step)).astype(np.float32)
        samples = np.tile(wave, (channels, 1)) * 0.3
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=context.layout.name)
        frame.sample_rate, frame.pts = 48000, at
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def turn_film(path: Path, matrix: tuple[int, ...]) -> None:
    """Set the display matrix (a b u c d v x y w) in the track header of an MP4."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4
    at += 4 + (32 if data[at] else 20) + 16
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
