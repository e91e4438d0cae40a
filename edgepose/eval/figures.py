"""COCO's ten keypoint figures, computed by COCO's own code (pycocotools)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgepose.errors import BackendUnavailable, UsageError
from edgepose.eval.annotations import Annotations, match_names
from edgepose.json_file import read_json
from edgepose.networks.keypoint_names import COCO_SIGMAS, part_name
from edgepose.networks.topology import Topology

Row = dict[str, Any]
FIGURES = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
# of keypoints for which COCO has no figure: COCO-WholeBody's usual one for hands
DEFAULT_SIGMA = 0.05


def sigmas(names: Sequence[str]) -> tuple[float, ...]:
    """OKS constants of keypoints by name, however it is spelled."""
    return tuple(COCO_SIGMAS.get(part_name(name), DEFAULT_SIGMA) for name in names)


def spread(annotations: Annotations, topology: Topology) -> tuple[float, ...]:
    """The topology's own OKS constants in the order of the annotations, () where it has none."""
    if not topology.sigmas:
        return ()
    order = match_names(topology.keypoints, annotations.keypoints)
    default = sigmas(annotations.keypoints)
    return tuple(topology.sigmas[k] if k >= 0 else default[i] for i, k in enumerate(order))


def parse_sigmas(text: str, names: Sequence[str]) -> tuple[float, ...]:
    """The value of --sigmas: numbers in the order of `names` with commas between, or a JSON file of them.

    Raises:
        UsageError: they are no numbers above 0, or too few or too many.
    """
    if not text:
        return ()
    try:
        found = read_json(text) if text.endswith(".json") else text.split(",")
        numbers = tuple(float(n) for n in found)
    except (OSError, ValueError, TypeError) as e:
        raise UsageError(f"--sigmas {text}: {e}.") from None
    if len(numbers) != len(names) or not all(0 < n <= 10 for n in numbers):
        raise UsageError(
            f"--sigmas {text}: found {len(numbers)} numbers; the annotations have {len(names)} "
            "keypoints, and each needs a number above 0."
        )
    return numbers


def coco_figures(annotations: Annotations, rows: Sequence[Row]) -> dict[str, float]:
    """The ten figures of COCO-format results.

    Args:
        annotations: ground truth; only its pictures count.
        rows: `image_id`, `category_id`, `keypoints` [x, y, v, ...] in the order of the annotations, `score`.

    Returns:
        By the names in `FIGURES`; -1 where there is no ground truth of that size.

    Raises:
        UsageError: somebody labelled has neither area nor box.
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
        job.params.kpt_oks_sigmas = np.array(annotations.sigmas or sigmas(annotations.keypoints))
        job.evaluate()
        job.accumulate()
        job.summarize()
    return {name: float(v) for name, v in zip(FIGURES, job.stats[:10], strict=True)}


def _truth(annotations: Annotations) -> dict[str, Any]:
    """The file as COCO's code needs it: with area, crowd flag and the count of labelled keypoints."""
    people = []
    for number, row in enumerate(annotations.people, 1):
        _check_scale(row, annotations)
        points = row.get("keypoints") or [0.0] * (3 * len(annotations.keypoints))
        box = row.get("bbox") or [0.0, 0.0, 0.0, 0.0]
        area, count = row.get("area"), row.get("num_keypoints")
        people.append(
            {
                "id": number,  # of COCO's code: it keeps them as numbers, where 0 is no match
                "image_id": row["image_id"],
                "category_id": annotations.category,
                "keypoints": points,
                "bbox": box,
                "num_keypoints": count
                if isinstance(count, int) and count >= 0
                else sum(v > 0 for v in points[2::3]),
                "area": box[2] * box[3] if area is None else area,
                "iscrowd": int(bool(row.get("iscrowd"))),
            }
        )
    images = [{"id": p.id, "width": p.width, "height": p.height} for p in annotations.pictures]
    category = {"id": annotations.category, "keypoints": list(annotations.keypoints)}
    return {"images": images, "annotations": people, "categories": [category]}


def _check_scale(row: Row, annotations: Annotations) -> None:
    """COCO measures distances by a person's area: without one every pose would be wrong."""
    if (
        row.get("area") is None
        and row.get("bbox") is None
        and any((row.get("keypoints") or [])[2::3])
    ):
        raise UsageError(
            f"Annotations {annotations.path}: annotation {row.get('id')} has neither area nor bbox, by which "
            "AP measures distances. Add one, or ask for --pck."
        )


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
