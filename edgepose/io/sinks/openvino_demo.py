"""One JSON object by image: {image: {"bounding_box": ..., "key_points": ...}}."""

from __future__ import annotations

import os

from edgepose.io.base import Sink, SinkOptions
from edgepose.io.sinks.rows import pixel, score, to_json
from edgepose.io.sinks.target import Target
from edgepose.types import Pose, Result


class DictSink(Sink):
    """Boxes and keypoints by image, for folder jobs; a valid JSON object at any moment.

    The key is the image's file name (its path where another image has that name, file name and frame
    number for a film). "bounding_box" holds [left, top, right, bottom] and "key_points" all keypoints
    of the topology as [y, x, score], 0, 0, 0 where one is missing: y comes first, as in the HRNet
    tools whose format this is.

    Args:
        target: file or "-" for stdout.
    """

    def __init__(self, target: str, options: SinkOptions) -> None:
        self._target = Target(target, options.inputs, tail="\n}\n")
        self._target.write("{")
        self._keys: dict[str, str] = {}

    def write(self, result: Result) -> None:
        """Write the poses of one result; a picture that comes again in a loop counts once."""
        key = os.path.basename(result.source) or result.name or str(result.frame)
        if result.pts is not None:
            key = f"{key}#{result.frame}"
        if self._keys.get(key, result.source) != result.source:
            key = result.source
        if key in self._keys:
            return
        entry = {
            "bounding_box": [[pixel(v) for v in pose.box] for pose in result.poses],
            "key_points": [_points(pose) for pose in result.poses],
        }
        lead = ",\n" if self._keys else "\n"
        self._target.write(f"{lead}{to_json(key)}:{to_json(entry)}")
        self._keys[key] = result.source

    def close(self) -> None:
        """Finish the file."""
        self._target.close()


def _points(pose: Pose) -> list[list[float]]:
    return [[pixel(y), pixel(x), score(s)] if s > 0 else [0.0, 0.0, 0.0] for x, y, s in pose.points]
