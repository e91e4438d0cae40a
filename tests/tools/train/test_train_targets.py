"""Targets against a slow definition of their own, and the fast drawing against the targets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.train import dataset, targets

Array = NDArray[Any]


def people(seed: int, count: int, height: int, width: int) -> Array:
    """Random keypoints in cells, some missing, some beyond the border."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-4, max(height, width) + 4, (count, 18, 3)).astype(np.float32)
    points[:, :, 2] = rng.random((count, 18)) < 0.8
    return points


def slow_value(c: int, row: int, column: int, points: Array, stdev: float) -> float:
    """One cell of one confidence map, from the sentence that defines it."""
    best = 0.0
    for person in points:
        x, y, seen = person[c]
        if seen:
            d2 = (column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2
            best = max(best, math.exp(-d2 / stdev**2))
    return best


def slow_vector(k: int, row: int, column: int, points: Array, stdev: float) -> tuple[float, float]:
    """One cell of one link's field (y, x): distance to the segment by its nearest point."""
    a, b = dataset.LINKS[k]
    total = [0.0, 0.0]
    for person in points:
        if person[a, 2] and person[b, 2]:
            p, q = person[a, :2].astype(float), person[b, :2].astype(float)
            cell = np.array([column + 0.5, row + 0.5])
            t = min(max(float((cell - p) @ (q - p) / ((q - p) @ (q - p))), 0.0), 1.0)
            d2 = float(((cell - (p + t * (q - p))) ** 2).sum())
            unit = (q - p) / math.hypot(*(q - p))
            total[0] += unit[1] * math.exp(-d2 / stdev**2)
            total[1] += unit[0] * math.exp(-d2 / stdev**2)
    return total[0], total[1]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_confidence_maps_are_bells_and_the_larger_wins(count: int) -> None:
    points = people(1, count, 12, 20)
    maps = targets.confidence_maps(points, 12, 20, 1.6)
    slow = [
        [[slow_value(c, i, j, points, 1.6) for j in range(20)] for i in range(12)]
        for c in range(18)
    ]
    np.testing.assert_allclose(maps, slow, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_fields_are_unit_vectors_times_a_bell_around_the_segment(count: int) -> None:
    points = people(2, count, 12, 16)
    fields = targets.affinity_fields(points, 12, 16, 1.6)
    for k in range(21):
        slow = np.array([[slow_vector(k, i, j, points, 1.6) for j in range(16)] for i in range(12)])
        np.testing.assert_allclose(fields[2 * k], slow[:, :, 0], atol=1e-4)
        np.testing.assert_allclose(fields[2 * k + 1], slow[:, :, 1], atol=1e-4)


def test_a_vertical_link_speaks_in_the_y_channel_only() -> None:
    points = np.zeros((1, 18, 3), np.float32)
    points[0, 15] = (10, 12, 1)  # left ankle, the first keypoint of link 0
    points[0, 13] = (10, 4, 1)  # left knee, above it
    fields = targets.affinity_fields(points, 16, 20)
    assert fields[0].min() < -0.9
    assert np.abs(fields[1]).max() < 1e-3
    assert np.abs(fields[2:]).max() == 0


def test_links_and_flip_fit_the_names() -> None:
    named = [(dataset.KEYPOINTS[a], dataset.KEYPOINTS[b]) for a, b in dataset.LINKS]
    assert named[0] == ("left_ankle", "left_knee")
    assert named[16] == ("neck", "nose")
    assert len(named) == 21
    flipped = [dataset.KEYPOINTS[i] for i in dataset.FLIP]
    assert flipped[0] == "nose"
    assert flipped[5] == "right_shoulder"
    assert flipped[17] == "neck"
    assert (dataset.FLIP[dataset.FLIP] == np.arange(18)).all()


@pytest.mark.parametrize("count", [0, 1, 4])
def test_fast_drawing_equals_the_definition(count: int) -> None:
    pytest.importorskip("torch", reason="training needs torch: pip install torch")
    from tools.train import losses

    images = [people(3 + i, count * i, 24, 20) for i in range(3)]
    fast = losses.draw_targets(images, 24, 20, 1.7).numpy()
    for image, maps in zip(images, fast, strict=True):
        np.testing.assert_allclose(
            maps[:18], targets.confidence_maps(image, 24, 20, 1.7), atol=1e-4
        )
        np.testing.assert_allclose(
            maps[18:], targets.affinity_fields(image, 24, 20, 1.7), atol=1e-4
        )


def test_decoder_finds_the_people_the_targets_were_drawn_from() -> None:
    """Targets, topology and decoder speak of the same channels."""
    from edgepose.decode.bottom_up import BottomUpDecoder
    from edgepose.networks.topology import Topology

    rng = np.random.default_rng(5)
    pose = rng.uniform(0, 16, (18, 2))
    points = np.ones((2, 18, 3), np.float32)
    points[0, :, :2] = pose + np.array((4, 6))
    points[1, :, :2] = pose[::-1] + np.array((30, 34))
    cmap = targets.confidence_maps(points, 56, 56)
    paf = targets.affinity_fields(points, 56, 56)
    links = tuple((int(a), int(b)) for a, b in dataset.LINKS)
    found = BottomUpDecoder(Topology("person", dataset.KEYPOINTS, links), backend="numpy")(
        cmap, paf
    )
    whole = found.keypoints[(found.keypoints[:, :, 2] > 0).sum(1) == 18]
    assert len(whole) == 2
    order = np.argsort(whole[:, 0, 0])
    error = np.abs(whole[order][:, :, :2] * 56 - points[np.argsort(points[:, 0, 0])][:, :, :2])
    assert np.median(error) < 0.6
