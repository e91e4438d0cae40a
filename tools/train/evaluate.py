"""Figures of an ONNX body network with the project's own decoder.

    python -m tools.train.evaluate data/networks/edgepose-lite-body.onnx --people FOLDER --coco FOLDER

`--people` (with val.json): PCK@0.2 of the torso on the twelve limb joints of the one annotated
person of each image; a joint the pose lacks is wrong. `--coco` (with person_keypoints.json): AP of
pycocotools in COCO's 17 keypoints, the neck dropped. One pass, the whole image letterboxed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.decode.bottom_up import BottomUpDecoder
from edgepose.decode.bottom_up_numpy import BottomUpParams
from edgepose.networks.topology import Topology

from .dataset import KEYPOINTS, LINKS, Sample, decode_image, read
from .letterbox import letterbox

Array = NDArray[Any]
LIMBS = [KEYPOINTS.index(f"{s}_{j}") for j in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle") for s in ("left", "right")]  # fmt: skip
TORSO = [5, 6, 11, 12]
MEAN, STD = np.array((0.485, 0.456, 0.406), np.float32), np.array((0.229, 0.224, 0.225), np.float32)
Estimate = Callable[[Array], tuple[Array, Array]]


def estimator(path: Path, size: int, params: BottomUpParams, threads: int = 2) -> Estimate:
    """A function from RGB pixels to poses (n, 18, 3) in image pixels and their scores (n,).

    A keypoint's score is 0 where it was not found. A pose's is the sum of all keypoint and link
    scores over as many as the topology has, as the package ranks poses: a whole person before a
    bright fragment.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    topology = Topology("person", KEYPOINTS, tuple((int(a), int(b)) for a, b in LINKS))
    decode = BottomUpDecoder(topology, params)

    def estimate(pixels: Array) -> tuple[Array, Array]:
        canvas, matrix = letterbox(pixels, size)
        x = ((canvas.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)[None]
        cmap, paf = session.run(["cmap", "paf"], {"input": np.ascontiguousarray(x)})
        found = decode(cmap[0], paf[0])
        poses = found.keypoints.copy()
        scores = (poses[:, :, 2].sum(1) + found.links.sum(1)) / (len(KEYPOINTS) + len(LINKS))
        poses[:, :, :2] = (poses[:, :, :2] * size - matrix[:, 2]) / matrix[[0, 1], [0, 1]]
        return poses, scores

    return estimate


def right_joints(poses: Array, sample: Sample, rule: str = "most") -> tuple[Array, Array]:
    """Which of the twelve limb joints are within 0.2 torso, and which are annotated.

    Args:
        rule: the pose compared is the one with the "most" right joints, or the one with the
            "nearest" shoulders and hips.
    """
    truth = sample.keypoints[0]
    known = truth[LIMBS, 2] > 0
    if not len(poses):
        return np.zeros(len(LIMBS), bool), known
    distance = np.hypot(*np.moveaxis(poses[:, :, :2] - truth[None, :, :2], 2, 0))
    distance[(poses[:, :, 2] <= 0) | (truth[None, :, 2] <= 0)] = np.inf
    right = (distance[:, LIMBS] <= 0.2 * sample.torso) & known
    if rule == "most":
        return right[right.sum(1).argmax()], known
    with np.errstate(invalid="ignore"):
        torso = np.where(np.isfinite(distance[:, TORSO]), distance[:, TORSO], np.nan)
        near = np.array([np.nanmean(t) if np.isfinite(t).any() else np.inf for t in torso])
    return right[near.argmin()], known


def pck(estimate: Estimate, samples: list[Sample]) -> dict[str, float]:
    """PCK@0.2 by both rules, and of each joint (left and right together)."""
    rows = {"most": [], "nearest": []}  # type: dict[str, list[Array]]
    known = []
    for sample in samples:
        poses, _ = estimate(sample.pixels)
        for rule, found in rows.items():
            right, seen = right_joints(poses, sample, rule)
            found.append(right)
        known.append(seen)
    total = np.array(known)
    most = np.array(rows["most"])
    result = {"pck": most.sum() / total.sum(), "pck_nearest": np.sum(rows["nearest"]) / total.sum()}
    for i, joint in enumerate(("shoulder", "elbow", "wrist", "hip", "knee", "ankle")):
        pair = slice(2 * i, 2 * i + 2)
        result[joint] = most[:, pair].sum() / total[:, pair].sum()
    return {k: round(float(v), 4) for k, v in result.items()}


def coco_ap(estimate: Estimate, folder: Path, least: int = 3) -> dict[str, float]:
    """AP, AP50, AP75, AP medium and large of pycocotools on `person_keypoints.json`.

    Args:
        least: poses with fewer keypoints are left out, as COCO leaves such people out.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "person_keypoints.json"))
        results = []
        for image in truth.dataset["images"]:
            pixels = decode_image(folder / "images" / image["file_name"])
            for pose, score in zip(*estimate(pixels), strict=True):
                if (pose[:17, 2] > 0).sum() >= least:
                    row = {"image_id": image["id"], "category_id": 1, "score": float(score)}
                    results.append({**row, "keypoints": pose[:17].reshape(-1).tolist()})
        if not results:
            return {"ap": 0.0}
        evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    names = ("ap", "ap50", "ap75", "ap_medium", "ap_large", "ar")
    return {n: round(float(v), 4) for n, v in zip(names, evaluation.stats, strict=False)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--people", type=Path, help="folder with val.json")
    parser.add_argument("--coco", type=Path, help="folder with person_keypoints.json")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--limit", type=int, help="only so many images of val.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keypoint-threshold", type=float, default=0.1)
    parser.add_argument("--link-threshold", type=float, default=0.1)
    options = parser.parse_args()
    params = BottomUpParams(options.keypoint_threshold, options.link_threshold)
    estimate = estimator(options.onnx, options.size, params, options.threads)
    row: dict[str, Any] = {"network": options.onnx.name, "size": options.size}
    if options.people:
        row["people"] = pck(estimate, read(options.people / "val.json", options.limit))
    if options.coco:
        row["coco"] = coco_ap(estimate, options.coco)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
