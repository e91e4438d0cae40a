"""COCO's ten keypoint figures, computed by COCO's own code (pycocotools)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgepose.errors import BackendUnavailable
from edgepose.eval.annotations import Annotations

Row = dict[str, Any]
FIGURES = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
# spread of each keypoint in the labels of many people, from COCO's own evaluation code
_COCO_SIGMAS = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
}
# what COCO has no figure for: the neck is the middle of the shoulders; others get COCO-WholeBody's
# usual value for hands
_OTHER_SIGMAS = {"neck": 0.079}
DEFAULT_SIGMA = 0.05


def sigmas(names: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """OKS constants of keypoints by name."""
    table = _COCO_SIGMAS | _OTHER_SIGMAS

    def one(name: str) -> float:
        side = name.removeprefix("left_").removeprefix("right_")
        return table.get(side, DEFAULT_SIGMA)

    return np.array([one(n) for n in names])


def coco_figures(annotations: Annotations, rows: Sequence[Row]) -> dict[str, float]:
    """The ten figures of COCO-format results.

    Args:
        annotations: ground truth; only its pictures count.
        rows: `image_id`, `category_id`, `keypoints` [x, y, v, ...] in the order of the annotations, `score`.

    Returns:
        By the names in `FIGURES`; -1 where there is no ground truth of that size.

    Raises:
        BackendUnavailable: the package is not installed.
    """
    coco, evaluation = _backend()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco()
        truth.dataset = _truth(annotations)
        truth.createIndex()
        found = _load(coco, truth, rows)
        job = evaluation(truth, found, "keypoints")
        job.params.imgIds = [p.id for p in annotations.pictures]
        job.params.catIds = [annotations.category]
        job.params.kpt_oks_sigmas = sigmas(annotations.keypoints)
        job.evaluate()
        job.accumulate()
        job.summarize()
    return {name: float(v) for name, v in zip(FIGURES, job.stats[:10], strict=True)}


def _truth(annotations: Annotations) -> dict[str, Any]:
    """The file as COCO's code needs it: with area, crowd flag and the count of labelled keypoints."""
    people = []
    for row in annotations.people:
        points = row.get("keypoints") or [0.0] * (3 * len(annotations.keypoints))
        box = row.get("bbox", [0.0, 0.0, 0.0, 0.0])
        people.append(
            {
                **row,
                "keypoints": points,
                "bbox": box,
                "num_keypoints": row.get("num_keypoints", sum(v > 0 for v in points[2::3])),
                "area": row.get("area", box[2] * box[3]),
                "iscrowd": row.get("iscrowd", 0),
                "category_id": annotations.category,
            }
        )
    ids = {p.id for p in annotations.pictures}
    images = [i for i in annotations.data["images"] if i["id"] in ids]
    return {"images": images, "annotations": people, "categories": annotations.data["categories"]}


def _load(coco: Any, truth: Any, rows: Sequence[Row]) -> Any:
    if rows:
        return truth.loadRes([dict(r) for r in rows])
    nothing = coco()
    nothing.dataset = {**truth.dataset, "annotations": []}
    nothing.createIndex()
    return nothing


def _backend() -> tuple[Any, Any]:
    """The classes COCO and COCOeval."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as e:
        raise BackendUnavailable(
            f"COCO figures need pycocotools, which is not installed ({e}): run `pip install 'edgepose[eval]'`."
        ) from None
    return COCO, COCOeval
