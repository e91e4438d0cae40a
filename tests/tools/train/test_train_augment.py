"""Augmentation: keypoints stay on the picture's content, left and right change places in a mirror."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tools.train import augment, dataset
from tools.train.letterbox import letterbox

Array = NDArray[Any]
CALM = augment.Recipe(mosaic=0.0, cutout=0.0, wander=0.0)


def sample(
    points: list[tuple[int, float, float]], size: tuple[int, int] = (120, 90), ignore: Any = ()
) -> dataset.Sample:
    """A black picture of one person with only the given keypoints (number, x, y)."""
    width, height = size
    keypoints = np.zeros((1, 18, 3), np.float32)
    for c, x, y in points:
        keypoints[0, c] = (x, y, 1)
    return dataset.Sample(
        pixels=np.zeros((height, width, 3), np.uint8),
        keypoints=keypoints,
        complete=np.array([True]),
        ignore=np.array(ignore, np.float32).reshape(-1, 4),
        source="lspet",
    )


def bright_spot(pixels: Array) -> Array:
    """Centre of mass of the bright pixels, in corner coordinates (x, y)."""
    mass = pixels[:, :, 0].astype(float)
    rows, columns = np.indices(mass.shape) + 0.5
    return np.array([(columns * mass).sum(), (rows * mass).sum()]) / mass.sum()


@pytest.mark.parametrize("seed", range(8))
def test_a_drawn_dot_moves_with_its_keypoint(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(50, 70), rng.integers(35, 55)
    s = sample([(0, x + 0.5, y + 0.5)])
    s.pixels[y - 2 : y + 3, x - 2 : x + 3] = 255
    matrix, flip = augment.choose_affine(s, 96, 96, CALM, rng)
    moved = augment.move_points(s.keypoints, matrix, flip)[0, 0, :2]
    if (moved < 8).any() or (moved > 88).any():
        pytest.skip("the dot left the canvas with this seed")
    warped = augment.warp(s.pixels, matrix, 96, 96, (0, 0, 0))
    np.testing.assert_allclose(bright_spot(warped), moved, atol=0.3)


def test_a_mirror_exchanges_left_and_right() -> None:
    s = sample([(5, 30, 40), (17, 60, 20)])  # left shoulder, neck
    matrix = augment.affine(1.0, 0.0, (60, 45), (60, 45), True)
    moved = augment.move_points(s.keypoints, matrix, True)[0]
    np.testing.assert_allclose(moved[6], (90, 40, 1))  # now the right shoulder
    assert moved[5, 2] == 0
    np.testing.assert_allclose(moved[17], (60, 20, 1))


def test_all_angles_reach_tumblers_only() -> None:
    turned = {}
    for source in ("lspet", "flickr8k"):
        s = sample([(0, 60, 45)])
        s.source = source
        rng = np.random.default_rng(0)
        matrices = [augment.choose_affine(s, 96, 96, CALM, rng) for _ in range(200)]
        angles = [np.degrees(np.arctan2(m[1, 0] * (-1 if f else 1), m[1, 1])) for m, f in matrices]
        turned[source] = np.abs(angles).max()
    assert turned["lspet"] > 100
    assert turned["flickr8k"] <= 30.1


def test_ignore_regions_are_masked_where_they_land() -> None:
    s = sample([(0, 100, 80)], ignore=[[20, 10, 40, 30]])
    matrix = augment.affine(1.0, 0.0, (60, 45), (60, 45), False)
    keypoints = augment.move_points(s.keypoints, matrix, False)
    weights = augment.loss_weights(s, keypoints, matrix, 120, 88, CALM)
    assert weights.shape == (39, 22, 30)
    assert (weights[:, 4:9, 6:14] == 0).all()
    assert weights[0, 18, 3] == 255


@pytest.mark.parametrize(("complete", "level"), [(True, 63), (False, 0)])
def test_a_joint_nobody_labelled_is_hardly_punished_near_its_person(
    complete: bool, level: int
) -> None:
    s = sample([(5, 40, 40), (6, 60, 40)])
    s.complete[:] = complete
    matrix = augment.affine(1.0, 0.0, (60, 45), (60, 45), False)
    weights = augment.loss_weights(s, s.keypoints, matrix, 120, 88, CALM)
    assert weights[5, 10, 12] == 255  # labelled
    assert weights[7, 10, 12] == level  # an elbow, missing
    assert weights[7, 2, 28] == 255  # but nobody is there
    elbow_link = 18 + next(k for k, (a, b) in enumerate(dataset.LINKS) if (a, b) == (5, 7))
    assert weights[elbow_link, 10, 12] == level


def test_mosaics_keep_people_in_their_part() -> None:
    pool = [sample([(0, 60, 45), (1, 62, 43)]) for _ in range(3)]
    recipe = augment.Recipe(mosaic=1.0, cutout=0.0, focus=0.0, wander=0.0)
    counts = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        scene = augment.compose(pool, lambda r: int(r.integers(3)), 128, recipe, rng)
        assert scene.pixels.shape == (128, 128, 3)
        assert scene.weights.shape == (39, 32, 32)
        seen = scene.keypoints[scene.keypoints[:, :, 2] > 0]
        assert ((seen[:, :2] >= 0) & (seen[:, :2] <= 128)).all()
        counts.append(len(scene.keypoints))
    assert max(counts) == 9
    assert min(counts) >= 1


def test_the_same_generator_gives_the_same_scene() -> None:
    pool = [sample([(c, 30 + c, 20 + 2 * c) for c in range(18)])]
    scenes = [
        augment.compose(pool, lambda _: 0, 64, augment.Recipe(), np.random.default_rng((1, 7)))
        for _ in range(2)
    ]
    np.testing.assert_array_equal(scenes[0].pixels, scenes[1].pixels)
    np.testing.assert_array_equal(scenes[0].keypoints, scenes[1].keypoints)


def test_cut_outs_paint_and_jitter_keeps_the_shape() -> None:
    rng = np.random.default_rng(0)
    pixels = np.full((64, 64, 3), 128, np.uint8)
    augment.cut_out(pixels, rng)
    changed = (pixels != 128).any(2).mean()
    assert 0 < changed < 0.2
    out = augment.jitter(pixels, rng)
    assert (out.shape, out.dtype) == (pixels.shape, np.uint8)


def test_letterbox_says_where_the_pixels_went() -> None:
    pixels = np.zeros((90, 160, 3), np.uint8)
    cv2.circle(pixels, (120, 30), 4, (255, 255, 255), -1)
    canvas, matrix = letterbox(pixels, 128)
    canvas[: int(matrix[1, 2])] = 0
    canvas[-int(matrix[1, 2]) :] = 0
    moved = matrix[:, :2] @ (120.5, 30.5) + matrix[:, 2]
    np.testing.assert_allclose(bright_spot(canvas), moved, atol=0.4)
