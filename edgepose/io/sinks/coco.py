"""COCO results: the JSON array that pycocotools' `loadRes` takes.

Format: https://cocodataset.org/#format-results, keypoint detection.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from functools import cache
from typing import Any

from edgepose.io.base import Sink, SinkOptions
from edgepose.io.sinks.rows import pixel, score, to_json
from edgepose.io.sinks.target import Target
from edgepose.networks.keypoint_names import coco_order
from edgepose.types import Pose, Result

PERSON = 1
log = logging.getLogger(__name__)


class CocoSink(Sink):
    """A COCO results file, a valid JSON array at any moment.

    One object a pose: image_id, category_id 1, keypoints and score. The keypoints are COCO's 17 by
    name where the topology has them all, else the topology's own in its order; 0, 0, 0 where one is
    not found. The third number of each keypoint is its score.

    The image_id of a still picture is the last number in its file name (000000000139.jpg is 139)
    where no other picture has it, that of a film's frame its frame number; the rest get the numbers
    that are free, from 1. NAME.images.json beside the file lists id, file_name, width and height of every
    frame, those without people too, as the "images" of a COCO annotation file.

    Args:
        target: file or "-" for stdout (then without the list).
    """

    def __init__(self, target: str, options: SinkOptions) -> None:
        self._ids = ImageIds(options.inputs)
        self._rows = Target(target, options.inputs, tail="\n]\n")
        self._rows.write("[")
        self._images: Target | None = None
        self._first = {"rows": True, "images": True}
        if not self._rows.is_stdout:
            beside = os.path.splitext(self._rows.path)[0] + ".images.json"
            self._images = Target(beside, options.inputs, tail="\n]}\n")
            self._images.write('{"images":[')

    def write(self, result: Result) -> None:
        """Write the poses of one result."""
        image_id, is_new = self._ids.of(result)
        if self._images is not None and is_new:
            self._put(self._images, "images", [_image(image_id, result)])
        self._put(self._rows, "rows", [_row(image_id, pose) for pose in result.poses])

    def _put(self, target: Target, kind: str, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        lead = "\n" if self._first[kind] else ",\n"
        target.write(lead + ",\n".join(to_json(row) for row in rows))
        self._first[kind] = False

    def close(self) -> None:
        """Finish both files."""
        self._rows.close()
        if self._images is not None:
            self._images.close()


class ImageIds:
    """Numbers for pictures.

    Args:
        inputs: all the image files, where known: a name's number counts where no other name has it.
            Without them it counts until it comes a second time.
    """

    def __init__(self, inputs: tuple[str, ...] = ()) -> None:
        self._inputs = Counter(n for n in map(_last_number, inputs) if n is not None)
        self._reserved = {n for n, times in self._inputs.items() if times == 1}
        self._known: dict[tuple[str, int | None], int] = {}
        self._used: set[int] = set()
        self._next = 1

    def of(self, result: Result) -> tuple[int, bool]:
        """(id, True where this picture comes for the first time)."""
        film = result.pts is not None or not result.source
        key = (result.source, result.frame if film else None)
        if key in self._known:
            return self._known[key], False
        wanted = result.frame if film else _last_number(result.source)
        if wanted is None or wanted in self._used or (not film and self._inputs[wanted] > 1):
            while self._next in self._used or self._next in self._reserved:
                self._next += 1
            wanted = self._next
        self._known[key] = wanted
        self._used.add(wanted)
        return wanted, True


def _last_number(path: str) -> int | None:
    stem = os.path.splitext(os.path.basename(path))[0]
    found: list[str] = re.findall(r"[0-9]+", stem)
    # beyond 64 bits pycocotools' arrays overflow
    return int(found[-1]) if found and len(found[-1]) <= 18 else None


def _image(image_id: int, result: Result) -> dict[str, Any]:
    name = os.path.basename(result.source) or result.name
    row: dict[str, Any] = {"id": image_id, "file_name": name}
    if result.pts is not None:
        row["frame"] = result.frame
    return row | {"source": result.source, "width": result.width, "height": result.height}


def _row(image_id: int, pose: Pose) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "category_id": PERSON,
        "keypoints": coco_keypoints(pose),
        "score": score(pose.score),
    }


def coco_keypoints(pose: Pose) -> list[float]:
    """x, y, score of COCO's 17 keypoints by name; of the topology's own where it lacks one of them."""
    order = _order(pose.names)
    rows = pose.points if order is None else pose.points[list(order)]
    flat: list[float] = []
    for x, y, seen in rows.tolist():
        flat += [pixel(x), pixel(y), score(seen)] if seen > 0 else [0.0, 0.0, 0.0]
    return flat


@cache
def _order(names: tuple[str, ...]) -> tuple[int, ...] | None:
    order = coco_order(names)
    if order is None:
        log.info(
            "COCO results have the network's own %d keypoints in its order: its names do not cover "
            "COCO's 17.",
            len(names),
        )
    return order
