"""SimCC and SimDR against rtmlib's, mmpose's and sithu31296's own answers (oracle/topdown)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.decode.simcc import decode_simcc
from edgepose.preprocess.crops import centres_and_sizes, crops, in_image


def answers(shared: Path, name: str) -> dict[str, Any]:
    return dict(np.load(shared / "oracle/topdown" / f"{name}.npz"))


SIZE = (192, 256)


def test_rtmpose_keypoints_are_rtmlibs(shared: Path) -> None:
    data = answers(shared, "rtmlib_simcc")
    points = decode_simcc(data["simcc_x"].astype(np.float32), data["simcc_y"].astype(np.float32))
    np.testing.assert_array_equal(points.xy * 2, data["locs"])
    np.testing.assert_allclose(points.scores, data["scores"], atol=1e-6)
    centres, sizes = centres_and_sizes(data["boxes"], SIZE[0] / SIZE[1])
    np.testing.assert_allclose(centres, data["center"], atol=1e-4)
    np.testing.assert_allclose(sizes, data["scale"], atol=1e-4)
    xy = in_image(crops(centres, sizes, SIZE), points.xy)
    np.testing.assert_allclose(xy, data["keypoints"], atol=1e-3)


def test_the_smaller_maximum_is_mmposes_score(shared: Path) -> None:
    data = answers(shared, "rtmlib_simcc")
    x, y = data["simcc_x"].astype(np.float32), data["simcc_y"].astype(np.float32)
    points = decode_simcc(x, y, score="min")
    np.testing.assert_array_equal(points.xy * 2, data["mmpose_locs"])
    np.testing.assert_allclose(points.scores, data["mmpose_scores"], atol=1e-6)


def test_simdr_is_the_references(shared: Path) -> None:
    data = answers(shared, "sithu_simdr_decode")
    x, y = data["pred_x"].astype(np.float32), data["pred_y"].astype(np.float32)
    points = decode_simcc(x, y, score="softmax")
    np.testing.assert_array_equal(points.xy, data["coords_patch"])
    centres, sizes = centres_and_sizes(data["person_boxes"], SIZE[0] / SIZE[1])
    xy = in_image(crops(centres, sizes, SIZE), points.xy)
    np.testing.assert_allclose(xy, data["coords_image_float"], atol=1e-3)
    clear = np.abs(xy - np.round(xy)) > 1e-3
    np.testing.assert_array_equal(xy.astype(np.int32)[clear], data["coords_image"][clear])
    assert ((points.scores > 0) & (points.scores <= 1)).all()


def test_softmax_scores_are_probabilities() -> None:
    x = np.log(np.array([[[0.1, 0.7, 0.2]]], np.float32)) + 1000.0  # large logits must not overflow
    y = np.log(np.array([[[0.5, 0.4, 0.1]]], np.float32))
    points = decode_simcc(x, y, bins=1.0, score="softmax")
    assert points.xy.tolist() == [[[1.0, 0.0]]]
    assert points.scores[0, 0] == pytest.approx(0.6, abs=1e-4)
