"""Reader of COCO keypoint files with `ignore_regions`, and the names the network answers in.

Numpy and OpenCV only: it works, and is tested, without torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle", "neck",
)  # fmt: skip
# trt_pose's human_pose.json, one-based as there; link k answers in PAF channels 2k (y) and 2k+1 (x).
SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 8), (7, 9), (8, 10), (9, 11), (2, 3),
    (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7), (18, 1), (18, 6), (18, 7), (18, 12), (18, 13),
)  # fmt: skip
LINKS = np.array(SKELETON) - 1
FLIP = np.array(
    [
        KEYPOINTS.index(
            n.replace("left_", "right_") if n.startswith("left_") else n.replace("right_", "left_")
        )
        for n in KEYPOINTS
    ]
)


@dataclass
class Sample:
    """One image with its people.

    Attributes:
        pixels: RGB uint8 HWC.
        keypoints: (people, 18, 3) float32: x, y in pixels (0.5 is the centre of the first pixel;
            the files count pixels from 0, as COCO does), and 1 where labelled, else 0.
        complete: (people,) bool: False where a missing keypoint says nothing at all (people
            labelled by hand without a head), True where a labeller looked and saw none.
        ignore: (regions, 4) float32 x, y, w, h: the loss is masked there.
        source: the row of the data set's table the image belongs to.
        name: file name.
        torso: torso length in pixels for scoring, 0 where the file gives none.
    """

    pixels: Array
    keypoints: Array
    complete: Array
    ignore: Array
    source: str = ""
    name: str = ""
    torso: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)


def decode_image(path: Path) -> Array:
    """RGB uint8 pixels of an image file; raises FileNotFoundError where it cannot be read."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise FileNotFoundError(f"cannot read the image {path}; is the data set complete?")
    return np.ascontiguousarray(bgr[:, :, ::-1])


def read(annotations: Path, limit: int | None = None) -> list[Sample]:
    """All samples of a COCO keypoint file, pixels decoded, in the file's order.

    Args:
        annotations: the JSON file; images lie in `images/` beside it.
        limit: keep only this many, spread evenly over the file.
    """
    data = json.loads(annotations.read_text())
    names = data["categories"][0]["keypoints"]
    order = [names.index(n) for n in KEYPOINTS]
    people: dict[int, list[dict[str, Any]]] = {}
    for a in data["annotations"]:
        people.setdefault(a["image_id"], []).append(a)
    images = data["images"]
    if limit is not None and limit < len(images):
        images = [images[i] for i in np.linspace(0, len(images) - 1, limit).astype(int)]
    folder = annotations.parent / "images"
    return [_sample(im, people.get(im["id"], []), folder, order) for im in images]


def _sample(
    image: dict[str, Any], people: list[dict[str, Any]], folder: Path, order: list[int]
) -> Sample:
    points = np.array([p["keypoints"] for p in people], np.float32).reshape(
        len(people), len(order), 3
    )
    points = points[:, order]
    points[:, :, :2] += 0.5  # the files count pixels; 0.5 is the centre of the first one here
    points[:, :, 2] = points[:, :, 2] > 0
    return Sample(
        pixels=decode_image(folder / image["file_name"]),
        keypoints=points,
        complete=np.array([p.get("label_source") != "ground_truth" for p in people], bool),
        ignore=np.array(image.get("ignore_regions", []), np.float32).reshape(-1, 4),
        source=image.get("source", ""),
        name=image["file_name"],
        torso=float(people[0].get("torso", 0.0)) if people else 0.0,
    )
