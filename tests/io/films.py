"""Films of five kinds with moving pictures, for the tests of segments."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

SIZE = (96, 64)
# name -> (extension, codec, options of the codec)
KINDS = {
    "mp4": ("mp4", "libx264", {"bf": "0", "g": "12"}),
    "closed": ("mp4", "libx264", {"bf": "3", "g": "12", "x264-params": "open-gop=0"}),
    "open": ("mkv", "libx264", {"bf": "3", "g": "12", "x264-params": "open-gop=1"}),
    "hevc": (
        "mp4",
        "libx265",
        {"x265-params": "keyint=12:min-keyint=12:open-gop=1:bframes=3:log-level=none:scenecut=0"},
    ),
    "ts": ("ts", "libx264", {"bf": "2", "g": "12"}),
    "vp9": ("webm", "libvpx-vp9", {"g": "12", "deadline": "realtime", "cpu-used": "8"}),
}
# their packets have no times: never cut
WHOLE = {"avi": ("avi", "mpeg4", {"g": "12"})}


def picture(number: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """Noise of the frame's own, on which a bright square moves: no two frames are alike."""
    noise = np.random.default_rng(number).integers(0, 60, (size[1], size[0], 3), np.uint8)
    x, y = 3 * number % (size[0] - 20), 2 * number % (size[1] - 20)
    noise[y : y + 20, x : x + 20] += 120
    return noise


def write_kind(
    folder: Path,
    kind: str,
    count: int = 75,
    size: tuple[int, int] = SIZE,
    picture: Callable[[int, tuple[int, int]], NDArray[np.uint8]] = picture,
) -> Path:
    """A film of a kind of `KINDS` or `WHOLE`, 25 frames a second, a key frame every 12."""
    extension, codec, options = (KINDS | WHOLE)[kind]
    path = folder / f"{kind}.{extension}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=dict(options))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i, size), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def damage(path: Path, seed: int) -> Path:
    """A copy in which a few runs of bytes behind the head are another."""
    rng = random.Random(seed)
    data = bytearray(path.read_bytes())
    low, high = len(data) // 6, len(data) * 5 // 6
    for _ in range(rng.randint(1, 4)):
        at, run = rng.randrange(low, high), rng.randint(1, 60)
        data[at : at + run] = rng.randbytes(run)
    damaged = path.with_name(f"{path.stem}-{seed}{path.suffix}")
    damaged.write_bytes(data)
    return damaged
