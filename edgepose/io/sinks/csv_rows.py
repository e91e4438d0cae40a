"""CSV: one row a keypoint (RFC 4180, line feeds, a header)."""

from __future__ import annotations

import csv
import io

from edgepose.io.base import Sink, SinkOptions
from edgepose.io.sinks.rows import is_finite, pixel, score, seconds
from edgepose.io.sinks.target import Target
from edgepose.types import Pose, Result

HEADER = (
    "source", "frame", "pts", "width", "height", "pose", "track", "pose_score",
    "left", "top", "right", "bottom", "keypoint", "x", "y", "score", "handedness",
    "gestures",
)  # fmt: skip


class CsvSink(Sink):
    """One row for each detected keypoint; a frame without people has no row.

    Args:
        target: file or "-" for stdout.
    """

    def __init__(self, target: str, options: SinkOptions) -> None:
        self._target = Target(target, options.inputs)
        self._target.write(_lines([HEADER]))

    def write(self, result: Result) -> None:
        """Write the keypoints of one result."""
        rows = keypoint_rows(result)
        if rows:
            self._target.write(_lines(rows))

    def close(self) -> None:
        """Finish the file."""
        self._target.close()


def keypoint_rows(result: Result) -> list[tuple[object, ...]]:
    """A row for each detected keypoint of a result, with the values of `HEADER`; "" where there is none."""
    return [row for pose in result.poses for row in _rows(result, pose)]


def _rows(result: Result, pose: Pose) -> list[tuple[object, ...]]:
    track = "" if pose.track is None else pose.track
    pts = seconds(result.pts)
    head = (result.source, result.frame, "" if pts is None else pts, result.width, result.height)
    whole = (pose.id, track, score(pose.score), *(pixel(v) for v in pose.box))
    tail = (pose.handedness, " ".join(gesture.name for gesture in pose.gestures))
    return [
        (*head, *whole, k.name, pixel(k.x), pixel(k.y), score(k.score), *tail)
        for k in pose.keypoints
        if is_finite(k)
    ]


def _lines(rows: list[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
