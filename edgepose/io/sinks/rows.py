"""Results as plain data that every JSON reader takes: rounded, finite, ASCII."""

from __future__ import annotations

import json
import math
from typing import Any

from edgepose.types import Keypoint, Pose, Result

PIXEL_DIGITS = 2
SCORE_DIGITS = 4


def number(value: float, digits: int) -> float:
    """The value rounded, 0 where it is not finite, never -0."""
    return round(float(value), digits) + 0.0 if math.isfinite(value) else 0.0


def pixel(value: float) -> float:
    """A coordinate to a hundredth of a pixel."""
    return number(value, PIXEL_DIGITS)


def score(value: float) -> float:
    """A score to a ten-thousandth."""
    return number(value, SCORE_DIGITS)


def is_finite(keypoint: Keypoint) -> bool:
    """True where a keypoint has a place."""
    return math.isfinite(keypoint.x) and math.isfinite(keypoint.y)


def seconds(value: float | None) -> float | None:
    """A time to a microsecond, None where there is none."""
    return None if value is None or not math.isfinite(value) else round(value, 6) + 0.0


def gesture_rows(pose: Pose) -> list[dict[str, Any]]:
    """The gestures of a pose as in a JSON line."""
    return [
        {"name": g.name, "score": score(g.score), "seconds": number(g.seconds, 3)}
        for g in pose.gestures
    ]


def pose_row(pose: Pose) -> dict[str, Any]:
    """A pose as in a JSON line."""
    keypoints = [k for k in pose.keypoints if is_finite(k)]
    there = {k.id for k in keypoints}
    row: dict[str, Any] = {"id": pose.id}
    if pose.track is not None:
        row["track"] = pose.track
    if pose.handedness:
        row["handedness"] = pose.handedness
    if pose.gestures:
        row["gestures"] = gesture_rows(pose)
    return row | {
        "score": score(pose.score),
        "box": [pixel(v) for v in pose.box],
        "keypoints": {
            k.name: {"x": pixel(k.x), "y": pixel(k.y), "score": score(k.score)} for k in keypoints
        },
        "links": [
            [pose.names[link.a], pose.names[link.b], score(link.score)]
            for link in pose.links
            if link.a in there and link.b in there
        ],
    }


def result_row(result: Result) -> dict[str, Any]:
    """A result as in a JSON line; docs/json.md and result.schema.json describe it."""
    return {
        "source": result.source,
        "frame": result.frame,
        "pts": seconds(result.pts),
        "width": result.width,
        "height": result.height,
        "network": result.network,
        "engine": result.engine,
        "inference_ms": number(result.inference_ms, 3),
        "poses": [pose_row(p) for p in result.poses],
    }


def plain(value: Any) -> Any:
    """Any value as JSON data: numpy numbers as numbers, what is not finite as None, else text."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def to_json(row: Any) -> str:
    """Compact JSON on one line, ASCII only (file names need not be valid text)."""
    return json.dumps(row, separators=(",", ":"), allow_nan=False)
