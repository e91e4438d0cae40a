"""Affine maps: inverses, mirror images, stretch, letterbox and rotated crops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.geometry import Affine, box_iou, crop, keypoints_box, letterbox, stretch

sizes = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
points = st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=5)
scales = st.floats(0.01, 100) | st.floats(-100, -0.01)
affines = st.builds(
    lambda s, t, angle, c, f: crop((c, f), (abs(s) * 64, abs(t) * 48), (64, 48), angle),
    scales,
    scales,
    st.floats(-7, 7),
    st.floats(-1e3, 1e3),
    st.floats(-1e3, 1e3),
)


@given(affines, points)
def test_the_inverse_brings_every_point_back(affine: Affine, xy: list[tuple[float, float]]) -> None:
    there = affine.apply(np.array(xy))
    scale = max(1.0, float(np.abs(there).max()) * max(abs(affine.inverse().a), 1.0))
    np.testing.assert_allclose(affine.inverse().apply(there), xy, atol=1e-9 * scale + 1e-6)


@given(sizes, sizes)
def test_stretch_maps_the_corners_onto_the_corners(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    corners = np.array([(0, 0), source])
    np.testing.assert_allclose(stretch(source, target).apply(corners), [(0, 0), target], rtol=1e-12)


@given(sizes, sizes, st.booleans())
def test_letterbox_fits_keeps_whole_pixels_and_touches_a_side(
    source: tuple[int, int], target: tuple[int, int], centre: bool
) -> None:
    affine = letterbox(source, target, centre=centre)
    (left, top), (right, bottom) = affine.apply(np.array([(0, 0), source]))
    assert left >= 0
    assert top >= 0
    assert right <= target[0] + 1e-6
    assert bottom <= target[1] + 1e-6
    for value in (left, top, right, bottom):
        assert abs(value - round(value)) < 1e-6
    touches_width = abs(right - left - target[0]) < 1e-6
    touches_height = abs(bottom - top - target[1]) < 1e-6
    assert touches_width or touches_height
    if not centre:
        assert (left, top) == (0, 0)


def test_crop_turns_the_rectangle_upright() -> None:
    # a rectangle 40 wide and 20 high around (100, 50), turned by 90 degrees clockwise in the image:
    # its local "right" points down in the image
    affine = crop((100, 50), (40, 20), (80, 40), math.pi / 2)
    np.testing.assert_allclose(affine.apply(np.array([100, 50])), [40, 20], atol=1e-9)
    np.testing.assert_allclose(affine.apply(np.array([100, 70])), [80, 20], atol=1e-9)
    np.testing.assert_allclose(affine.apply(np.array([90, 50])), [40, 40], atol=1e-9)


@given(affines, points)
def test_pixel_numbers_lie_half_a_pixel_beside_the_points(
    affine: Affine, xy: list[tuple[float, float]]
) -> None:
    numbers = np.array(xy)
    off = affine.between_centres().apply(numbers + 0.5) - (affine.apply(numbers) + 0.5)
    assert np.abs(off).max() < 1e-6


@given(affines, points, st.integers(1, 500))
def test_the_mirror_image_turns_x_around(
    affine: Affine, xy: list[tuple[float, float]], width: int
) -> None:
    plain, turned = affine.apply(np.array(xy)), affine.mirrored(width).apply(np.array(xy))
    np.testing.assert_allclose(turned[:, 0], width - plain[:, 0], atol=1e-6)
    np.testing.assert_array_equal(turned[:, 1], plain[:, 1])


def test_a_singular_map_has_no_inverse() -> None:
    with pytest.raises(ZeroDivisionError):
        Affine(1, 2, 0, 2, 4, 0).inverse()


boxes = st.lists(
    st.tuples(*[st.floats(-100, 100)] * 2, *[st.floats(0, 50)] * 2).map(
        lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
    ),
    min_size=1,
    max_size=6,
)


@given(boxes, boxes)
def test_iou_is_symmetric_bounded_and_one_with_itself(a: list, b: list) -> None:
    iou = box_iou(np.array(a), np.array(b))
    np.testing.assert_allclose(iou, box_iou(np.array(b), np.array(a)).T)
    assert ((iou >= 0) & (iou <= 1 + 1e-9)).all()
    for i, box in enumerate(a):
        # far from the origin a sliver of a box has no area left to a float
        if (box[2] - box[0]) * (box[3] - box[1]) > 1e-6:
            assert box_iou(np.array(a), np.array(a))[i, i] == pytest.approx(1, abs=1e-6)


def test_iou_of_half_overlapping_boxes() -> None:
    assert box_iou(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2]]))[0, 0] == pytest.approx(1 / 3)


def test_the_box_of_keypoints_sees_only_detected_ones() -> None:
    points = np.array([[10, 20, 0.5], [30, 60, 0.9], [500, 500, 0]])
    assert keypoints_box(points) == (10, 20, 30, 60)
    assert keypoints_box(points, margin=0.1) == (8, 16, 32, 64)
    assert keypoints_box(points * 0) == (0, 0, 0, 0)
