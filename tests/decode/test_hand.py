"""Palm anchors, averaging suppression, turned crops and landmarks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.decode.hand import (
    decode_landmarks,
    decode_palms,
    hand_regions,
    palm_anchors,
    palm_angles,
    weighted_nms,
)
from edgepose.errors import EngineError
from edgepose.preprocess.crops import crops


def test_anchors_of_the_192_pixel_network() -> None:
    anchors = palm_anchors(192)
    # 24 x 24 cells with two anchors, then 12 x 12 with six
    assert anchors.shape == (2016, 2)
    assert anchors[:4].tolist() == [[4, 4], [4, 4], [12, 4], [12, 4]]
    assert anchors[1152:1159].tolist() == [[8, 8]] * 6 + [[24, 8]]
    assert anchors[-1].tolist() == [184, 184]


def palm(anchor: int, box: tuple[float, ...], logit: float) -> tuple[np.ndarray, np.ndarray]:
    """Network answer with one palm: its wrist at the bottom, its middle knuckle at the top."""
    raw, logits = np.zeros((1, 2016, 18), np.float32), np.full((1, 2016, 1), -20.0, np.float32)
    dx, dy, _, h = box
    raw[0, anchor, :4] = box
    raw[0, anchor, 4:] = np.tile([dx, dy], 7)
    raw[0, anchor, 5] = dy + h / 2
    raw[0, anchor, 9] = dy - h / 2
    logits[0, anchor, 0] = logit
    return raw, logits


def test_one_palm_by_hand() -> None:
    raw, logits = palm(1152, (2.0, -3.0, 40.0, 30.0), math.log(4))
    (found,) = decode_palms({"boxes": raw, "scores": logits}, 192)
    np.testing.assert_allclose(found.boxes, [[-10, -10, 30, 20]], atol=1e-6)
    np.testing.assert_allclose(found.scores, [0.8], atol=1e-6)
    np.testing.assert_allclose(found.points[0, 0], [10, 20], atol=1e-6)
    np.testing.assert_allclose(found.angles, [0], atol=1e-9)
    assert len(decode_palms({"b": raw, "s": logits}, 192, score_threshold=0.81)[0].scores) == 0


def test_wrong_heads_are_named() -> None:
    with pytest.raises(EngineError, match=r"2016, 18.*dets \[1, 5, 5\]"):
        decode_palms({"dets": np.zeros((1, 5, 5), np.float32)}, 192)
    with pytest.raises(EngineError, match="no output 'points'"):
        decode_landmarks({}, {"landmarks": "points", "presence": "p", "handedness": "h"})


@given(st.floats(-3.1, 3.1), st.floats(20, 200))
def test_the_crop_of_a_turned_hand_is_upright(turn: float, length: float) -> None:
    """Whatever the hand's turn, wrist and middle knuckle lie on a vertical line in the crop."""
    wrist = np.array([300.0, 200.0])
    knuckle = wrist + length * np.array([math.sin(turn), -math.cos(turn)])
    points = np.zeros((1, 7, 2))
    points[0, 0], points[0, 2] = wrist, knuckle
    angles = palm_angles(points)
    assert math.isclose(angles[0], turn, abs_tol=1e-6)
    boxes = np.array([[*(wrist - length / 2), *(wrist + length / 2)]])
    centres, sizes = hand_regions(boxes, angles)
    np.testing.assert_allclose(sizes, 2.6 * length)
    (place,) = crops(centres, sizes, (224, 224), angles)
    inside = place.apply(np.array([wrist, knuckle]))
    assert inside[0, 0] == pytest.approx(112, abs=1e-6)
    assert inside[1, 0] == pytest.approx(112, abs=1e-6)
    # the crop's centre lies half a palm toward the fingers
    assert inside[0, 1] == pytest.approx(112 + 112 / 2.6, abs=1e-6)
    assert inside[1, 1] < inside[0, 1]


def test_overlapping_palms_become_their_weighted_mean() -> None:
    boxes = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]], float)
    points = boxes[:, None, :2].repeat(7, axis=1)
    scores = np.array([0.3, 0.6, 0.9])
    out, where, best = weighted_nms(boxes, points, scores, 0.3)
    np.testing.assert_allclose(out, [[50, 50, 60, 60], [4 / 3, 0, 34 / 3, 10]])
    np.testing.assert_allclose(where[1, 0], [4 / 3, 0])
    assert best.tolist() == [0.9, 0.6]
    empty = weighted_nms(np.zeros((0, 4)), np.zeros((0, 7, 2)), np.zeros(0), 0.3)
    assert [a.shape for a in empty] == [(0, 4), (0, 7, 2), (0,)]


def test_landmarks_take_the_presence_as_their_score() -> None:
    flat = np.arange(2 * 63, dtype=np.float32).reshape(2, 63)
    roles = {"landmarks": "a", "presence": "b", "handedness": "c"}
    outputs = {"a": flat, "b": np.array([[0.9], [0.2]]), "c": np.array([[0.1], [0.8]])}
    hands = decode_landmarks(outputs, roles)
    assert hands.points.xy[0, :2].tolist() == [[0, 1], [3, 4]]
    np.testing.assert_allclose(hands.points.scores[:, 20], [0.9, 0.2])
    np.testing.assert_allclose(hands.right, [0.1, 0.8])
    with pytest.raises(EngineError, match="3 x landmarks"):
        decode_landmarks({**outputs, "a": flat[:, :62]}, roles)
