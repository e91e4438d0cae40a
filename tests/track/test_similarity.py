"""Similarity of poses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from walkers import NAMES, SHAPE, make_pose

from edgepose.track.motion import Motion
from edgepose.track.similarity import (
    Bodies,
    KeypointSimilarity,
    body_sizes,
    box_similarity,
    keypoint_sigmas,
)

POINTS = SHAPE * 200 + (300, 400)
OKS = KeypointSimilarity(keypoint_sigmas(NAMES))


def bodies(*points: np.ndarray, spread: float = 0.0) -> Bodies:
    found = Bodies.of([make_pose(p) for p in points], len(NAMES))
    return Bodies(found.points, found.boxes, found.spread + spread, found.sizes)


def test_coco_sigmas_by_name_and_a_generic_one() -> None:
    names = ("nose", "left_hip", "right-ankle", "neck", "thumb_1", "left_ear")
    assert keypoint_sigmas(names).tolist() == [0.026, 0.107, 0.089, 0.079, 0.08, 0.035]


def test_it_is_the_mean_of_the_oks_kernels() -> None:
    moved = POINTS + np.array([3.0, 4.0])
    size = body_sizes(np.array([make_pose(POINTS).box]))[0]
    kernel = [math.exp(-25 / (2 * (size * 2 * s) ** 2)) for s in keypoint_sigmas(NAMES)]
    (found,) = OKS(bodies(POINTS), bodies(moved))
    # both kernels are the same without spread; one keypoint's worth is held back
    assert found[0] == pytest.approx(sum(kernel) / (len(NAMES) + 1), rel=1e-3)


@given(st.floats(0, 300), st.floats(0, 100), st.floats(0, 80))
def test_it_falls_with_distance_and_forgives_with_spread(
    away: float, farther: float, spread: float
) -> None:
    near, far = bodies(POINTS + np.array([away, 0])), bodies(POINTS + np.array([away + farther, 0]))
    track, unsure = bodies(POINTS), bodies(POINTS, spread=spread)
    a, b, c = (float(v[0, 0]) for v in (OKS(track, near), OKS(track, far), OKS(unsure, near)))
    assert 0 <= b <= a + 1e-12 <= 1
    assert c >= a - 1e-12


def test_few_common_keypoints_count_less() -> None:
    first = np.array([n.endswith("hip") for n in NAMES])
    part = Bodies.of([make_pose(POINTS, seen=first)], len(NAMES))
    whole = bodies(POINTS)
    assert OKS(whole, part)[0, 0] == pytest.approx(2 / 3, abs=0.01)
    assert OKS(whole, whole)[0, 0] == pytest.approx(18 / 19)


def test_without_common_keypoints_boxes_decide() -> None:
    upper = np.array([n in ("nose", "neck", "left_eye", "right_eye") for n in NAMES])
    a, b = make_pose(POINTS, seen=upper), make_pose(POINTS, seen=~upper)
    boxed = [Bodies.of([p.with_(box=(250.0, 210.0, 350.0, 400.0))], len(NAMES)) for p in (a, b)]
    assert OKS(*boxed)[0, 0] == pytest.approx(1.0)
    assert OKS(*boxed)[0, 0] == pytest.approx(box_similarity(*boxed)[0, 0])


def test_unusable_numbers_count_as_not_detected() -> None:
    pose = make_pose(POINTS)
    pose.points[0] = (np.inf, 3, 1)
    pose.points[1] = (3, 3, np.nan)
    found = Bodies.of([pose.with_(box=(np.nan, 0.0, 1.0, 1.0))], len(NAMES))
    assert not found.seen[0, :2].any()
    assert found.seen[0, 2:].all()
    assert found.boxes.tolist() == [[0, 0, 0, 0]]
    assert np.isfinite(found.points).all()


def test_nobody_is_like_nobody() -> None:
    nobody, someone = Bodies.of([], len(NAMES)), bodies(POINTS)
    assert OKS(nobody, someone).shape == (0, 1)
    assert OKS(someone, nobody).shape == (1, 0)


def test_a_thin_box_is_not_a_small_body() -> None:
    sizes = body_sizes(np.array([[0.0, 0, 1, 90], [0, 0, 40, 90], [0, 0, 0, 0], [5, 5, 1, 1]]))
    assert sizes.tolist() == [30, 60, 1, 1]


# motion --------------------------------------------------------------------------------------------


def test_the_filter_learns_a_velocity_and_predicts_with_it() -> None:
    motion, sizes = Motion(), np.array([100.0])
    velocity, covariance = np.zeros((1, 2)), motion.start(sizes)
    seen = np.zeros(1, bool)
    place = np.zeros((1, 2))
    for frame in range(1, 60):
        shift, velocity, covariance = motion.predict(velocity, covariance, sizes, seen, 0.04)
        place = place + shift
        error = np.array([[frame * 4.0, frame * -2.0]]) - place
        back, velocity, covariance = motion.update(velocity, covariance, sizes, error)
        place = place + error + back
    assert velocity[0] == pytest.approx([100, -50], rel=0.01)
    assert place[0] == pytest.approx([59 * 4, 59 * -2], abs=0.5)
    # steps of one second and of 25 times 0.04 seconds agree
    once = motion.predict(velocity, covariance, sizes, seen, 1.0)
    total, v, c = np.zeros((1, 2)), velocity, covariance
    for _ in range(25):
        shift, v, c = motion.predict(v, c, sizes, seen, 0.04)
        total += shift
    assert once[0] == pytest.approx(total)
    assert once[2] == pytest.approx(c)


def test_who_is_unseen_coasts_to_a_stop() -> None:
    motion, sizes = Motion(coast=0.5), np.array([100.0])
    velocity, covariance = np.array([[80.0, 0.0]]), motion.start(sizes)
    unseen = np.ones(1, bool)
    shift, velocity, _ = motion.predict(velocity, covariance, sizes, unseen, 50.0)
    assert shift[0, 0] == pytest.approx(40.0)
    assert velocity[0, 0] == pytest.approx(0.0)


@given(st.lists(st.floats(0, 5), max_size=20), st.booleans())
def test_the_covariance_stays_one(steps: list[float], seen: bool) -> None:
    motion, sizes = Motion(), np.array([50.0])
    velocity, covariance = np.zeros((1, 2)), motion.start(sizes)
    for dt in steps:
        _, velocity, covariance = motion.predict(velocity, covariance, sizes, np.ones(1, bool), dt)
        if seen:
            error = np.ones((1, 2))
            _, velocity, covariance = motion.update(velocity, covariance, sizes, error)
        place, both, speed = covariance[0]
        assert place > 0
        assert speed > 0
        assert both**2 <= place * speed * (1 + 1e-9)
