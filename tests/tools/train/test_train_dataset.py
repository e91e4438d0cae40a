"""The reader of COCO keypoint files with ignore regions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tools.train import dataset


def write_set(folder: Path, names: list[str]) -> Path:
    """Two images: one with two people and an ignore region, one empty."""
    (folder / "images").mkdir()
    for i in range(2):
        pixels = np.zeros((20, 30, 3), np.uint8)
        pixels[:, :, 2] = 200  # red in OpenCV's order
        cv2.imwrite(str(folder / "images" / f"{i}.png"), pixels)
    one = [[i + 0.5, 2 * i, 2] for i in range(len(names))]
    two = [[0, 0, 0]] * (len(names) - 1) + [[7, 8, 1]]
    people: list[dict[str, Any]] = [
        {
            "image_id": 4,
            "keypoints": [v for p in one for v in p],
            "label_source": "teacher",
            "torso": 9.5,
        },
        {"image_id": 4, "keypoints": [v for p in two for v in p], "label_source": "ground_truth"},
    ]
    data = {
        "categories": [{"keypoints": names}],
        "images": [
            {"id": 4, "file_name": "0.png", "source": "a", "ignore_regions": [[1, 2, 3, 4]]},
            {"id": 9, "file_name": "1.png"},
        ],
        "annotations": people,
    }
    path = folder / "train.json"
    path.write_text(json.dumps(data))
    return path


def test_people_regions_and_pixels_are_read(tmp_path: Path) -> None:
    first, second = dataset.read(write_set(tmp_path, list(dataset.KEYPOINTS)))
    assert first.pixels.shape == (20, 30, 3)
    assert first.pixels[3, 3].tolist() == [200, 0, 0]  # RGB
    assert first.keypoints.shape == (2, 18, 3)
    assert first.keypoints[0, 5].tolist() == [6, 10.5, 1]  # pixel numbers to points
    assert first.keypoints[1, :, 2].tolist() == [0] * 17 + [1]
    assert first.complete.tolist() == [True, False]
    assert first.ignore.tolist() == [[1, 2, 3, 4]]
    assert (first.source, first.torso) == ("a", 9.5)
    assert second.keypoints.shape == (0, 18, 3)
    assert second.ignore.shape == (0, 4)


def test_keypoints_are_found_by_name(tmp_path: Path) -> None:
    backwards = list(dataset.KEYPOINTS)[::-1]
    sample = dataset.read(write_set(tmp_path, backwards))[0]
    assert sample.keypoints[0, 17].tolist() == [1, 0.5, 1]


def test_limit_keeps_a_spread(tmp_path: Path) -> None:
    assert len(dataset.read(write_set(tmp_path, list(dataset.KEYPOINTS)), limit=1)) == 1


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    path = write_set(tmp_path, list(dataset.KEYPOINTS))
    (tmp_path / "images" / "1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.png"):
        dataset.read(path)


def test_the_published_set_is_read(shared: Path) -> None:
    samples = dataset.read(shared / "datasets/people/val.json", limit=5)
    assert len(samples) == 5
    for s in samples:
        height, width = s.pixels.shape[:2]
        seen = s.keypoints[0][s.keypoints[0, :, 2] > 0]
        assert len(seen) >= 5
        assert s.torso > 0
        assert (seen[:, :2] <= (width + 1, height + 1)).all()
