"""What is drawn over a frame: links, keypoints, boxes, labels and statistics."""

from __future__ import annotations

import colorsys
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgepose.draw.canvas import RGBA, Canvas
from edgepose.errors import UnknownNameError
from edgepose.geometry import keypoints_box
from edgepose.networks.topology import Topology
from edgepose.types import Box, Pixels, Pose

WORDS = ("links", "keypoints", "boxes", "ids", "scores", "gestures", "stats")
DEFAULT = frozenset({"links", "keypoints"})
TEXTS = frozenset({"ids", "scores", "gestures", "stats"})
_MEANING: dict[str, frozenset[str]] = {
    **{word: frozenset({word}) for word in WORDS},
    "link": frozenset({"links"}),
    "keypoint": frozenset({"keypoints"}),
    "box": frozenset({"boxes"}),
    "gesture": frozenset({"gestures"}),
    "none": frozenset(),
    "default": DEFAULT,
}

# smallest radius and width in pixels, as jetson-inference has them
MIN_RADIUS = 4.0
MIN_WIDTH = 1.5
# the dots of a face are at most this part of its width, those of a body of its size, so that small
# people can still be seen
FACE_DOT = 0.12
BODY_DOT = 0.04
LEAST_DOT = 1.5
FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
HEAD_ABOVE_EYES = 0.7  # of the face's width
# height of a capital letter: part of the picture's shorter side, and the least that can be read
TEXT_SCALE = 0.019
PLATE_HEIGHT = 1.9  # of a plate, in capitals
MIN_TEXT = 7.0
_FAR = 1e7


def parse_overlay(text: str) -> frozenset[str]:
    """The set of overlay words in `text`, for example "links,keypoints" or "box | ids".

    Words are separated by `,` or `|`, case does not matter. "default" is links and keypoints, as is
    an empty text; "none" adds nothing.

    Raises:
        UnknownNameError: a word is none of them.
    """
    words = [w.strip().lower() for w in re.split(r"[,|]", text)]
    words = [w for w in words if w]
    for word in words:
        if word not in _MEANING:
            raise UnknownNameError("overlay word", word, (*WORDS, "none", "default"))
    if not words:
        return DEFAULT
    return frozenset().union(*(_MEANING[w] for w in words))


class Overlay:
    """Draws poses into pictures.

    The radius of a keypoint is max(W, H) * keypoint_scale but at least 4 pixels, the width of a link
    max(W, H) * link_scale but at least 1.5 pixels (jetson-inference's rules); keypoints of
    small people are smaller. Text grows with the shorter side. A link has the colour of its endpoint with the higher number.

    Args:
        topology: for the colours.
        words: what to draw, as `parse_overlay` returns it.
        keypoint_scale, link_scale: sizes as a part of the longer side.
        line_width: width of links in pixels instead, 0 = by `link_scale`.
        alpha: opacity 0..255 of links, keypoints and outlines, on top of the colours' own.
        tracked: people are followed: a pose without a track has no number, as that of the frame would
            be taken for a track's.
    """

    def __init__(
        self,
        topology: Topology,
        words: frozenset[str] = DEFAULT,
        *,
        keypoint_scale: float = 0.0052,
        link_scale: float = 0.0013,
        line_width: float = 0,
        alpha: int = 255,
        tracked: bool = False,
    ) -> None:
        self.words, self._tracked = words, tracked
        self._keypoint_scale = keypoint_scale
        self._link_scale = link_scale
        self._line_width = line_width
        self._alpha = max(0, min(255, alpha))
        count = len(topology.keypoints)
        self._colors = [self._faded(topology.color(k)) for k in range(count)]
        self._face = [k for k, name in enumerate(topology.keypoints) if name in FACE]
        self._opaque = all(c[3] == 255 for c in self._colors) and self._alpha == 255

    def _faded(self, color: RGBA) -> RGBA:
        return (*color[:3], color[3] * self._alpha // 255)

    def draw(
        self,
        pixels: Pixels,
        poses: Sequence[Pose],
        stats: Mapping[str, object] | None = None,
    ) -> None:
        """Draw into `pixels`, uint8 RGB (H, W, 3), in place.

        Args:
            pixels: the picture.
            poses: in its pixels; keypoints that are missing, not finite or outside are left out.
            stats: for the word "stats": "frame", "inference_ms", "poses", "fps" (any of them, in
                this order), others as "name value". "poses" is counted where it is missing.

        Raises:
            ValueError: `pixels` is not a writable uint8 array of shape (H, W, 3).
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"expected uint8 (H, W, 3), found {pixels.dtype} {pixels.shape}")
        if not pixels.flags.writeable:
            raise ValueError("the picture is read-only; give a copy to draw on")
        if pixels.size == 0 or not self.words:
            return
        if pixels.flags.c_contiguous:
            self._draw(pixels, poses, stats or {})
        else:
            copy = np.ascontiguousarray(pixels)
            self._draw(copy, poses, stats or {})
            pixels[:] = copy

    @property
    def needs_host(self) -> bool:
        """True where there is text or a translucent skeleton, which only a `Canvas` draws."""
        return bool(self.words & TEXTS) or not self._opaque

    def _draw(self, pixels: Pixels, poses: Sequence[Pose], stats: Mapping[str, object]) -> None:
        canvas = Canvas(pixels)
        self.put(canvas, poses)
        if self.words & TEXTS:
            self._labels(canvas, poses, stats, self._sizes(canvas)[0])

    def put(self, canvas: Any, poses: Sequence[Pose]) -> None:
        """Boxes, links and keypoints onto a `Canvas`, or onto what stands for one."""
        radius, width = self._sizes(canvas)
        if "boxes" in self.words:
            for pose in poses:
                self._box(canvas, pose, width)
        if self.words & DEFAULT:
            for pose in poses:
                self._skeleton(canvas, pose, radius, width)

    def _sizes(self, canvas: Any) -> tuple[float, float]:
        """Radius of keypoints and width of links in pixels."""
        longest = max(canvas.width, canvas.height)
        radius = max(longest * self._keypoint_scale, MIN_RADIUS)
        return radius, self._line_width or max(longest * self._link_scale, MIN_WIDTH)

    def _box(self, canvas: Canvas, pose: Pose, width: float) -> None:
        box = _sane_box(pose)
        if box is None:
            return
        color = self._faded(track_color(pose.track))
        if self._alpha == 255:
            canvas.outline(box, width, color)
            return
        edge = canvas.layer((box[0] - width, box[1] - width, box[2] + width, box[3] + width))
        if edge is not None:
            edge.outline(box, width, color)
            canvas.blend(edge)

    def _skeleton(self, canvas: Canvas, pose: Pose, radius: float, width: float) -> None:
        points = _drawable(pose)
        if len(points) > 2:  # where people are small the dots would be all that is seen
            size = max(max(row) - min(row) for row in zip(*points.values(), strict=True))
            radius = min(radius, max(LEAST_DOT, size * BODY_DOT))
        if self._opaque:
            self._strokes(canvas, pose, points, radius, width)
            return
        xs, ys = [p[0] for p in points.values()], [p[1] for p in points.values()]
        if not xs:
            return
        m = radius + width + 2
        layer = canvas.layer((min(xs) - m, min(ys) - m, max(xs) + m, max(ys) + m))
        if layer is not None:
            self._strokes(layer, pose, points, radius, width)
            canvas.blend(layer)

    def _strokes(
        self,
        canvas: Canvas,
        pose: Pose,
        points: Mapping[int, tuple[float, float]],
        radius: float,
        width: float,
    ) -> None:
        dots = "keypoints" in self.words
        if "links" in self.words:
            for link in pose.links:
                if link.a in points and link.b in points:
                    color = self._color(max(link.a, link.b))
                    canvas.line(points[link.a], points[link.b], width, color, caps=not dots)
        if dots:
            width_of_face = self._face_width(points)
            small = max(LEAST_DOT, width_of_face * FACE_DOT) if width_of_face else radius
            for k, point in points.items():
                dot = min(radius, small) if k in self._face else radius
                canvas.dot(point, dot, self._color(k))

    def _face_width(self, points: Mapping[int, tuple[float, float]]) -> float:
        """Pixels between the outermost keypoints of the face; 0 with fewer than two."""
        face = [points[k] for k in self._face if k in points]
        return max((math.dist(a, b) for a in face for b in face), default=0.0)

    def _color(self, keypoint: int) -> RGBA:
        if 0 <= keypoint < len(self._colors):
            return self._colors[keypoint]
        return (0, 255, 0, self._alpha)

    def _labels(
        self,
        canvas: Canvas,
        poses: Sequence[Pose],
        stats: Mapping[str, object],
        radius: float,
    ) -> None:
        height = max(MIN_TEXT, min(canvas.width, canvas.height) * TEXT_SCALE)
        taken = []
        if "stats" in self.words:
            line = stats_text({"poses": len(poses), **stats})
            taken.append(canvas.plate(line, (height / 2, height / 2), height))
        for pose in poses:
            box, text = _sane_box(pose), self._label(pose)
            # a label of someone outside would stick to the picture's edge
            if box is None or not text or canvas.part(box) is None:
                continue
            gap = radius + 2
            foot = box[1] - gap - HEAD_ABOVE_EYES * self._face_width(_drawable(pose))
            tall = PLATE_HEIGHT * height
            if foot < tall and box[3] + gap + tall <= canvas.height:
                foot = box[3] + gap + tall  # no room above: below, not over the face
            at = ((box[0] + box[2]) / 2, foot)
            taken.append(canvas.plate(text, at, height, above=True, taken=taken))

    def _label(self, pose: Pose) -> str:
        parts = []
        if "ids" in self.words and not (self._tracked and pose.track is None):
            parts.append(f"id {pose.id}" if pose.track is None else f"#{pose.track}")
        if "scores" in self.words:
            parts.append(f"{pose.score:.0%}")
        if "gestures" in self.words:
            parts.append(", ".join(words_of(gesture.name) for gesture in pose.gestures))
        parts = [part for part in parts if part]
        return "  ".join(parts)  # one space between two numbers is hard to see


def stats_text(stats: Mapping[str, object]) -> str:
    """One line of statistics, for example "frame 12  8.3 ms  3 poses  31 FPS"."""
    forms = {
        "frame": "frame {}",
        "inference_ms": "{:.1f} ms",
        "poses": "{} pose" if stats.get("poses") == 1 else "{} poses",
        "fps": "{:.0f} FPS",
    }
    known = [form.format(stats[key]) for key, form in forms.items() if key in stats]
    others = [f"{key} {value}" for key, value in stats.items() if key not in forms]
    return "  ".join(known + others)


def words_of(name: str) -> str:
    """A gesture's name as it is drawn: plain ASCII, which is all that the font has."""
    return name.replace("_", " ").encode("ascii", "replace").decode()


def track_color(track: int | None) -> RGBA:
    """A colour that tells neighbouring track ids apart; white without tracking."""
    if track is None:
        return (255, 255, 255, 255)
    # steps of the golden ratio around the hue circle never come close to a recent one
    r, g, b = colorsys.hsv_to_rgb(track * 0.618034 % 1.0, 0.65, 1.0)
    return (round(r * 255), round(g * 255), round(b * 255), 255)


def _drawable(pose: Pose) -> dict[int, tuple[float, float]]:
    """Detected keypoints with sane coordinates, by number."""
    return {
        k: (x, y)
        for k, (x, y, score) in enumerate(pose.points.tolist())
        # written so that NaN fails each test
        if score > 0 and -_FAR < x < _FAR and -_FAR < y < _FAR
    }


def _sane_box(pose: Pose) -> Box | None:
    """The pose's box, or where it is not usable the keypoints' own; None where neither is."""
    if all(map(math.isfinite, pose.box)) and pose.box[0] < pose.box[2]:
        box = pose.box
    else:
        points = np.zeros((len(pose.points), 3))
        for k, (x, y) in _drawable(pose).items():
            points[k] = (x, y, 1)
        if not points.any():
            return None
        box = keypoints_box(points)
    left, top, right, bottom = (max(-_FAR, min(_FAR, v)) for v in box)
    return (left, top, right, bottom)
