"""`test://people`: walking figures with a clock, so that everything can be tried without a camera.

`test://people?rate=30&size=640x480&frames=100&people=3&clock=stream`

| word | default | meaning |
|---|---|---|
| rate | 30 | frames a second, paced like a camera; 0: no camera, every frame, as fast as it is read |
| size | 640x480 | width x height |
| frames | 0 | end after so many frames; 0 = never |
| people | 3 | figures |
| clock | stream | what the burnt-in clock shows: stream (frame / rate) or wall (time of day) |
| image | | a picture that moves around instead of the drawn figures |

The picture depends on the frame's number alone (with `clock=stream`). The clock is written twice:
as digits, and as a strip of black and white cells at the lower edge that `read_clock` reads back
even after H.264 or JPEG; the difference to the time of reading is the latency.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from edgepose.errors import SourceError, UnknownNameError, UsageError
from edgepose.io.base import Source, SourceOptions
from edgepose.io.pixels import size_for
from edgepose.io.sources.capture import Captured
from edgepose.io.sources.images import read_image
from edgepose.io.sources.live import LiveSource
from edgepose.io.uri import Uri
from edgepose.types import Frame, Pixels

CLOCK_BITS = 32
CHECK_BITS = 8
CELLS = CLOCK_BITS + CHECK_BITS
CLOCK_MODULUS_S: float = 2.0**CLOCK_BITS / 1000


@dataclass(frozen=True)
class TestPattern:
    """What to draw; see the module's table."""

    __test__ = False  # not a test case, whatever its name

    rate: float = 30.0
    width: int = 640
    height: int = 480
    frames: int = 0
    people: int = 3
    clock: str = "stream"
    image: str = ""


def parse(uri: Uri, options: SourceOptions) -> TestPattern:
    """The pattern that a `test://` URI and the options ask for.

    Raises:
        UsageError: a word or a value that cannot be meant.
    """
    scene = uri.host or uri.path.strip("/") or "people"
    if scene != "people":
        raise UnknownNameError("test source", scene, ["people"])
    width, height = size_for(640, 480, (options.width, options.height))
    pattern = TestPattern(rate=options.rate or 30.0, width=width, height=height)
    for key, value in uri.query:
        pattern = _with(pattern, key, value, uri.display)
    frames = [n for n in (pattern.frames, options.frames) if n]
    return replace(pattern, frames=min(frames, default=0))


def _with(pattern: TestPattern, key: str, value: str, uri: str) -> TestPattern:
    try:
        if key == "size":
            width, height = (int(v) for v in value.lower().split("x"))
            if not (64 <= width <= 8192 and 48 <= height <= 8192):
                raise ValueError
            return replace(pattern, width=width, height=height)
        if key == "rate":
            rate = float(value)
            if not 0 <= rate <= 1000:
                raise ValueError
            return replace(pattern, rate=rate)
        if key in ("frames", "people"):
            number = int(value)
            if number < 0:
                raise ValueError
            return replace(pattern, **{key: number})  # type: ignore[arg-type]
        if key == "clock" and value not in ("stream", "wall"):
            raise ValueError
        if key in ("clock", "image"):
            return replace(pattern, **{key: value})  # type: ignore[arg-type]
    except ValueError:
        raise UsageError(
            f"{uri}: {key}={value} cannot be meant. Example: "
            "test://people?rate=30&size=640x480&frames=100&people=3&clock=stream"
        ) from None
    raise UnknownNameError(
        "word in a test:// URI", key, ["rate", "size", "frames", "people", "clock", "image"]
    )


def open_test(uri: Uri, options: SourceOptions) -> Source:
    """Open a test source: supervised and paced like a camera, or with rate=0 every frame at once."""
    pattern = parse(uri, options)
    painter = Painter(pattern)
    if pattern.rate <= 0:
        return _Unpaced(painter, uri.display, uri.name)
    source = LiveSource(lambda: _Paced(painter), options, uri=uri.display, name=uri.name)
    source.length = pattern.frames or None
    return source


class _Paced:
    """A capture that makes a picture when its time has come."""

    def __init__(self, painter: Painter) -> None:
        self.rate = painter.pattern.rate
        self._painter, self._index = painter, 0
        self._start = time.monotonic()

    def read(self) -> Captured | None:
        index, frames = self._index, self._painter.pattern.frames
        if frames and index >= frames:
            return None
        self._index += 1
        time.sleep(max(0.0, self._start + index / self.rate - time.monotonic()))
        stamp = self._painter.stamp(index)
        return Captured(lambda: self._painter.paint(index, stamp), index / self.rate)

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Unpaced(Source):
    """Every frame, as fast as it is read: a file rather than a camera."""

    live = False
    stills = False

    def __init__(self, painter: Painter, uri: str, name: str) -> None:
        self.length = painter.pattern.frames or None
        self.rate = 30.0
        self.name = name
        self._painter, self._uri, self._closed = painter, uri, False

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while not self._closed and (self.length is None or index < self.length):
            pixels = self._painter.paint(index, self._painter.stamp(index))
            yield Frame(pixels, index, index / self.rate, self._uri, self.name)
            index += 1

    def close(self) -> None:
        self._closed = True


# -- drawing -----------------------------------------------------------------------------------------
class Painter:
    """Draws the frames of a pattern; what is drawn depends on (pattern, index, stamp) only.

    Raises:
        SourceError: `image` cannot be read.
    """

    def __init__(self, pattern: TestPattern) -> None:
        self.pattern = pattern
        self._picture = _read_picture(pattern.image) if pattern.image else None
        self._background = _background(pattern.width, pattern.height)

    def stamp(self, index: int) -> float:
        """What the clock of a frame shows, in seconds."""
        if self.pattern.clock == "wall":
            return time.time()
        return index / (self.pattern.rate or 30.0)

    def paint(self, index: int, stamp: float) -> Pixels:
        """One frame: uint8 RGB, shape (height, width, 3)."""
        seconds = index / (self.pattern.rate or 30.0)
        canvas: Pixels = self._background.copy()
        if self._picture is not None:
            _paste(canvas, self._picture, seconds)
        else:
            for number in range(self.pattern.people):
                _figure(canvas, number, self.pattern.people, seconds)
        write_clock(canvas, stamp)
        return canvas


def _background(width: int, height: int) -> Pixels:
    """A wall and a floor with a soft gradient, so that codecs and networks see a scene."""
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    wall = np.array([188, 192, 184], np.float32) - 30 * rows
    floor = np.array([120, 104, 88], np.float32) + 50 * (rows - 0.72)
    column = np.where(rows < 0.72, wall, floor)
    return np.repeat(column[:, None, :], width, axis=1).clip(0, 255).astype(np.uint8)


def _read_picture(path: str) -> Pixels:
    try:
        return read_image(path)
    except SourceError as e:
        raise SourceError(f"test source: {e} Check image=PATH.") from None


def _paste(canvas: Pixels, picture: Pixels, seconds: float) -> None:
    """Show the picture as large as fits, swaying by a tenth of the canvas."""
    height, width = canvas.shape[:2]
    scale = 0.8 * min(width / picture.shape[1], height / picture.shape[0])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    h, w = small.shape[:2]
    left = int((width - w) / 2 * (1 + 0.9 * math.sin(seconds)))
    top = int((height - h) / 2 * (1 + 0.9 * math.cos(seconds * 0.7)))
    canvas[top : top + h, left : left + w] = small


SKIN = ((222, 178, 148), (141, 96, 70), (198, 150, 118), (240, 204, 178))
SHIRTS = ((178, 42, 48), (40, 84, 160), (52, 128, 76), (214, 168, 60), (110, 64, 140))
TROUSERS = ((44, 48, 70), (84, 78, 70), (30, 34, 38))


def skeleton(number: int, people: int, seconds: float, width: int, height: int) -> dict[str, Any]:
    """Joints of a walking figure: name -> (x, y) in pixels, and "unit" (a head's height in pixels).

    Seen from the front; "left" is the figure's own left side.
    """
    unit = height * 0.62 / 7.5
    phase = seconds * 3.0 + number * 1.7
    sway = 0.06 * width * math.sin(seconds * 0.5 + number)
    cx = width * (number + 0.5) / max(1, people) + sway
    top = height * 0.2 + 0.06 * unit * math.sin(2 * phase)
    joints: dict[str, Any] = {
        "unit": unit,
        "nose": (cx, top + 0.55 * unit),
        "neck": (cx, top + 1.3 * unit),
    }
    for side, sign in (("left", 1.0), ("right", -1.0)):
        swing = math.sin(phase) * sign
        joints[f"{side}_shoulder"] = (cx + sign * 0.85 * unit, top + 1.5 * unit)
        joints[f"{side}_elbow"] = (cx + sign * 1.15 * unit, top + (2.9 - 0.1 * abs(swing)) * unit)
        joints[f"{side}_wrist"] = (
            cx + sign * (1.15 + 0.25 * swing) * unit,
            top + (4.1 - 0.9 * max(0.0, swing)) * unit,
        )
        joints[f"{side}_hip"] = (cx + sign * 0.5 * unit, top + 3.9 * unit)
        joints[f"{side}_knee"] = (
            cx + sign * 0.55 * unit,
            top + (5.6 - 0.25 * max(0.0, swing)) * unit,
        )
        joints[f"{side}_ankle"] = (
            cx + sign * 0.55 * unit,
            top + (7.2 - 0.45 * max(0.0, swing)) * unit,
        )
        joints[f"{side}_eye"] = (cx + sign * 0.17 * unit, top + 0.42 * unit)
        joints[f"{side}_ear"] = (cx + sign * 0.36 * unit, top + 0.5 * unit)
    return joints


def _figure(canvas: Pixels, number: int, people: int, seconds: float) -> None:
    """Draw one clothed figure: limbs as thick rounded lines, torso as a polygon, a face."""
    height, width = canvas.shape[:2]
    j = skeleton(number, people, seconds, width, height)
    unit = j["unit"]
    skin, shirt = SKIN[number % len(SKIN)], SHIRTS[number % len(SHIRTS)]
    trousers = TROUSERS[number % len(TROUSERS)]

    def limb(a: str, b: str, colour: tuple[int, int, int], thick: float) -> None:
        cv2.line(canvas, _xy(j[a]), _xy(j[b]), colour, max(2, round(thick * unit)), cv2.LINE_AA)

    for side in ("left", "right"):
        limb(f"{side}_hip", f"{side}_knee", trousers, 0.62)
        limb(f"{side}_knee", f"{side}_ankle", trousers, 0.48)
        x, y = j[f"{side}_ankle"]
        cv2.ellipse(
            canvas,
            _xy((x, y + 0.18 * unit)),
            _xy((0.28 * unit, 0.16 * unit)),
            0,
            0,
            360,
            (28, 26, 26),
            -1,
            cv2.LINE_AA,
        )
    corners = [j["left_shoulder"], j["right_shoulder"], j["right_hip"], j["left_hip"]]
    torso = np.array([_xy(p) for p in corners], np.int32)
    cv2.fillPoly(canvas, [torso], shirt, cv2.LINE_AA)
    cv2.polylines(canvas, [torso], True, shirt, max(2, round(0.4 * unit)), cv2.LINE_AA)
    shade = tuple(int(0.8 * c) for c in shirt)
    for side in ("left", "right"):
        limb(f"{side}_shoulder", f"{side}_elbow", shade, 0.44)  # type: ignore[arg-type]
        limb(f"{side}_elbow", f"{side}_wrist", skin, 0.32)
        cv2.circle(
            canvas, _xy(j[f"{side}_wrist"]), max(2, round(0.2 * unit)), skin, -1, cv2.LINE_AA
        )
    limb("nose", "neck", skin, 0.36)
    _head(canvas, j, skin)


def _head(canvas: Pixels, j: dict[str, Any], skin: tuple[int, int, int]) -> None:
    unit = j["unit"]
    x, y = j["nose"]
    cv2.ellipse(
        canvas,
        _xy((x, y - 0.12 * unit)),
        _xy((0.4 * unit, 0.52 * unit)),
        0,
        0,
        360,
        (52, 38, 30),
        -1,
        cv2.LINE_AA,
    )
    cv2.ellipse(
        canvas, _xy((x, y)), _xy((0.36 * unit, 0.47 * unit)), 0, 0, 360, skin, -1, cv2.LINE_AA
    )
    dark = tuple(int(0.7 * c) for c in skin)
    for side in ("left", "right"):
        cv2.circle(canvas, _xy(j[f"{side}_ear"]), max(1, round(0.09 * unit)), dark, -1, cv2.LINE_AA)
        cv2.circle(
            canvas, _xy(j[f"{side}_eye"]), max(1, round(0.06 * unit)), (30, 24, 22), -1, cv2.LINE_AA
        )
    cv2.circle(canvas, _xy((x, y + 0.03 * unit)), max(1, round(0.06 * unit)), dark, -1, cv2.LINE_AA)
    mouth = max(1, round(0.05 * unit))
    cv2.line(
        canvas,
        _xy((x - 0.12 * unit, y + 0.24 * unit)),
        _xy((x + 0.12 * unit, y + 0.24 * unit)),
        (150, 70, 70),
        mouth,
        cv2.LINE_AA,
    )


def _xy(point: tuple[float, float]) -> tuple[int, int]:
    return round(point[0]), round(point[1])


# -- the clock ---------------------------------------------------------------------------------------
def write_clock(canvas: Pixels, seconds: float) -> None:
    """Burn a time (modulo 2^32 ms) into the picture: digits above, a strip of cells below."""
    height, width = canvas.shape[:2]
    stamp = round(seconds * 1000) % 2**CLOCK_BITS
    bits = np.array([(_checked(stamp) >> i) & 1 for i in reversed(range(CELLS))], np.uint8)
    strip = _strip(width, height)
    columns = (np.arange(width) * CELLS // width).clip(0, CELLS - 1)
    canvas[strip] = (bits[columns] * 219 + 16)[None, :, None]
    text = f"{int(stamp // 60000) % 100000:02d}:{stamp / 1000 % 60:06.3f}"
    scale = max(0.4, height / 700)
    cv2.putText(
        canvas,
        text,
        (8, round(30 * scale)),
        cv2.FONT_HERSHEY_SIMPLEX,
        scale,
        (20, 20, 20),
        max(1, round(2 * scale)),
        cv2.LINE_AA,
    )


def read_clock(pixels: Pixels) -> float | None:
    """The seconds burnt in by `write_clock`; None where the strip does not verify."""
    height, width = pixels.shape[:2]
    row = pixels[_strip(width, height)].astype(np.float32).mean(axis=(0, 2))
    edges = [i * width / CELLS for i in range(CELLS + 1)]
    value = 0
    for a, b in pairwise(edges):
        # the middle half of each cell: codecs smear the edges
        left, right = round(a + (b - a) / 4), round(b - (b - a) / 4)
        value = value << 1 | int(float(row[left : max(left + 1, right)].mean()) > 125)
    stamp = value >> CHECK_BITS
    return stamp / 1000 if _checked(stamp) == value else None


def latency(pixels: Pixels, now: float | None = None) -> float | None:
    """Seconds since the wall clock burnt into a `clock=wall` picture; None where unreadable."""
    stamp = read_clock(pixels)
    if stamp is None:
        return None
    now = time.time() if now is None else now
    half: float = CLOCK_MODULUS_S / 2
    return (now - stamp + half) % (2 * half) - half


def _strip(width: int, height: int) -> slice:
    cell = max(6, width // CELLS)
    return slice(height - cell, height)


def _checked(stamp: int) -> int:
    """The stamp followed by an 8-bit check that no uniform strip satisfies."""
    mixed = (stamp * 0x9E3779B1 + 0x7F4A7C15) & 0xFFFFFFFF
    return stamp << CHECK_BITS | (mixed >> 24 ^ 0xA5)
