from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgepose.decode.nms import nms
from edgepose.geometry import box_iou


def test_worked_example() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [0, 0, 10, 5]], float)
    scores = np.array([0.5, 0.9, 0.7, 0.6])
    assert nms(boxes, scores, 0.5).tolist() == [1, 2, 3]  # 0 overlaps 1 by 9/11; 3 by 45/105
    assert nms(boxes, scores, 0.4).tolist() == [1, 2]
    assert nms(boxes, scores, 0.4, labels=np.array([0, 1, 1, 0])).tolist() == [1, 2, 3]
    assert nms(boxes, scores, 0.5, limit=2).tolist() == [1, 2]


def test_whole_pixels_make_touching_boxes_overlap() -> None:
    boxes = np.array([[0, 0, 1, 1], [1, 0, 2, 1]], float)
    scores = np.array([0.9, 0.8])
    assert nms(boxes, scores, 0.3).tolist() == [0, 1]
    # 2 x 2 pixels each, 2 of them shared: 2 / 6
    assert nms(boxes, scores, 0.3, pixel=1.0).tolist() == [0]


def test_nothing_and_empty_boxes() -> None:
    assert nms(np.zeros((0, 4)), np.zeros(0), 0.5).shape == (0,)
    assert nms(np.zeros((3, 4)), np.array([0.1, 0.3, 0.2]), 0.5).tolist() == [1, 2, 0]


@given(st.integers(0, 40), st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_what_stays_is_apart_and_what_went_was_close_to_a_better_one(
    count: int, seed: int, threshold: float
) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 40, (count, 2))], axis=1)
    scores = rng.permutation(count) / max(count, 1)
    kept = nms(boxes, scores, threshold)
    assert (np.diff(scores[kept]) < 0).all()
    iou = box_iou(boxes, boxes)
    assert (iou[np.ix_(kept, kept)][~np.eye(len(kept), dtype=bool)] <= threshold + 1e-9).all()
    for gone in set(range(count)) - set(kept.tolist()):
        better = [k for k in kept if scores[k] > scores[gone]]
        assert iou[gone, better].max() > threshold - 1e-9
