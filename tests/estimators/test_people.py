"""Poses made of points: of two in one place one stays."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.estimators.people import distinct
from edgepose.networks.topology import load_topology

BODY = load_topology("coco_17")
RNG = np.random.default_rng(5)
SHAPE = RNG.uniform(0, 1, (17, 2)) * (60, 160)


def body(x: float, y: float, score: float = 0.5) -> np.ndarray:
    points = np.concatenate([SHAPE + np.array([x, y]), np.full((17, 1), score)], axis=1)
    return points.astype(np.float32)


def test_the_better_of_two_in_one_place_stays() -> None:
    rows = np.stack([body(100, 50), body(103, 51), body(300, 50)])
    assert distinct(rows, np.array([0.2, 0.4, 0.1]), BODY, 0.7).tolist() == [1, 2]
    assert distinct(rows, np.array([0.5, 0.4, 0.1]), BODY, 0.7).tolist() == [0, 2]


def test_poses_with_little_in_common_are_two() -> None:
    upper, lower = body(100, 50), body(100, 50)
    upper[9:, 2], lower[:7, 2] = 0, 0  # two keypoints that both have
    assert distinct(np.stack([upper, lower]), np.ones(2), BODY, 0.7).tolist() == [0, 1]
    assert distinct(np.zeros((2, 17, 3)), np.ones(2), BODY, 0.7).tolist() == [0, 1]
    assert distinct(np.zeros((0, 17, 3)), np.ones(0), BODY, 0.7).tolist() == []


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6),
    st.sampled_from([0.5, 0.7, 0.9]),
)
def test_what_stays_is_told_apart_and_includes_the_best(
    places: list[tuple[int, int]], most: float
) -> None:
    rows = np.array([body(8 * x, 8 * y) for x, y in places]).reshape(-1, 17, 3)
    weights = np.arange(len(rows), 0, -1) / 10
    kept = distinct(rows, weights, BODY, most)
    assert (np.diff(kept) > 0).all()
    assert not len(rows) or kept[0] == 0
    assert distinct(rows[kept], weights[kept], BODY, most).tolist() == list(range(len(kept)))
    assert set(kept) <= set(distinct(rows, weights, BODY, 1.0).tolist())
