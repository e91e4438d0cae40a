"""Crops and letterboxes against HRNet's, YOLOv5's and rtmlib's own (oracle/topdown)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.geometry import Affine
from edgepose.networks.manifest import InputSpec
from edgepose.preprocess import Placement, fit, normalise
from edgepose.preprocess.crops import centres_and_sizes, crops, in_image, warp

SIZE = (192, 256)


@pytest.fixture(scope="module")
def boxes(shared: Path) -> dict[str, Any]:
    return dict(np.load(shared / "oracle/topdown/sithu_boxes.npz"))


@pytest.fixture(scope="module")
def rtmlib(shared: Path) -> dict[str, Any]:
    return dict(np.load(shared / "oracle/topdown/rtmlib_preprocess.npz"))


def region_corners(centres: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
    return centres[:, None] + signs * sizes[:, None]


def through(matrices: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Points (N, K, 2) through the reference's matrices (N, 2, 3)."""
    return xy @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]


def applied(places: list[Affine], xy: np.ndarray) -> np.ndarray:
    return np.array([place.apply(p) for place, p in zip(places, xy, strict=True)])


def test_hrnet_regions_and_rotated_crops(boxes: dict[str, Any]) -> None:
    centres, sizes = centres_and_sizes(boxes["person_boxes"], SIZE[0] / SIZE[1])
    found = np.concatenate([centres, sizes / 200], axis=1)
    np.testing.assert_allclose(found, boxes["center_scale"], atol=1e-4)
    exact = boxes["center_scale"].astype(np.float64)
    places = crops(exact[:, :2], exact[:, 2:] * 200, SIZE, np.deg2rad(boxes["rotations_deg"]))
    corners = region_corners(exact[:, :2], exact[:, 2:] * 200)
    expected = through(boxes["affine"], corners)
    np.testing.assert_allclose(applied(places, corners), expected, atol=2e-3)
    back = in_image(places, expected) - through(boxes["affine_inverse"], expected)
    assert (np.abs(back).max(axis=(1, 2)) < 1e-5 * 200 * exact[:, 2] + 2e-5).all()


def test_rtmpose_regions_and_crops(rtmlib: dict[str, Any]) -> None:
    centres, sizes = centres_and_sizes(rtmlib["boxes"], SIZE[0] / SIZE[1])
    np.testing.assert_allclose(centres, rtmlib["center"], atol=1e-4)
    np.testing.assert_allclose(sizes, rtmlib["scale"], atol=1e-4)
    corners = region_corners(centres, sizes)
    off = applied(crops(centres, sizes, SIZE), corners) - through(rtmlib["warp"], corners)
    assert np.abs(off).max() < 2e-3


def test_patches_are_rtmlibs(rtmlib: dict[str, Any]) -> None:
    places = crops(*centres_and_sizes(rtmlib["small_boxes"], SIZE[0] / SIZE[1]), SIZE)
    patches = np.empty((len(places), SIZE[1], SIZE[0], 3), np.uint8)
    for place, patch in zip(places, patches, strict=True):
        warp(rtmlib["small_image"], place, patch)
    off = np.abs(patches.astype(int) - rtmlib["small_patches"].astype(int))
    # OpenCV 4 blends with weights of 1/32
    assert off.max() <= 8
    assert (off <= 1).mean() > 0.95


def top_left(width: int, height: int) -> InputSpec:
    return InputSpec(width=width, height=height, resize="letterbox", align="top-left", pad=114)


@pytest.mark.parametrize("target", [416, 640])
def test_yolox_letterbox_geometry(target: int, rtmlib: dict[str, Any]) -> None:
    column = [416, 640].index(target)
    for (h, w), expected in zip(
        rtmlib["letterbox_hw"], rtmlib["letterbox"][:, column], strict=True
    ):
        found = fit(top_left(target, target), int(w), int(h), "boxes")
        assert (found.answers.a, found.height, found.width) == tuple(expected)


@pytest.mark.parametrize("number", range(4))
def test_yolox_letterbox_pictures(number: int, rtmlib: dict[str, Any]) -> None:
    picture = rtmlib[f"letterbox_image{number}"]
    found = fit(top_left(128, 96), picture.shape[1], picture.shape[0], "boxes")
    assert found.answers.a == rtmlib[f"letterbox_ratio{number}"]
    canvas = np.zeros((96, 128, 3), np.uint8)
    found.draw(picture, canvas)
    assert np.abs(canvas.astype(int) - rtmlib[f"letterbox_output{number}"]).max() <= 1


def rectangle(h: int, w: int, expected_h: int, expected_w: int) -> Placement:
    """YOLOv5's smallest rectangle: our letterbox in an input of that size."""
    spec = InputSpec(width=expected_w, height=expected_h, resize="letterbox", pad=114)
    return fit(spec, w, h, "boxes")


def test_yolov5_letterbox_geometry(boxes: dict[str, Any]) -> None:
    same = 0
    for (h, w), row in zip(boxes["image_hw"], boxes["letterbox_geometry"], strict=True):
        for expected in row.tolist():
            f = rectangle(int(h), int(w), *expected[:2])
            # the rectangle may be a pixel too small for the ratio of its target
            same += [f.height, f.width, f.top, f.left] == expected[2:]
    assert same > 0.9 * boxes["letterbox_geometry"][..., 0].size


@pytest.mark.parametrize("number", range(4))
def test_yolov5_letterbox_pictures(number: int, boxes: dict[str, Any]) -> None:
    picture, expected = boxes[f"letterbox_image{number}"], boxes[f"letterbox_output{number}"]
    canvas = np.zeros_like(expected)
    rectangle(*picture.shape[:2], *expected.shape[:2]).draw(picture, canvas)
    assert np.abs(canvas.astype(int) - expected).max() <= 1


def test_boxes_come_back_from_the_letterbox(boxes: dict[str, Any]) -> None:
    for h, w in boxes["image_hw"].tolist():
        f = rectangle(h, w, 640, 640)
        there = f.answers.apply(np.array([[0.0, 0.0], [w, h], [w / 3, h / 5]]))
        np.testing.assert_allclose(f.to_image(there), [[0, 0], [w, h], [w / 3, h / 5]], atol=1e-6)
        assert (abs(there - 320) <= 320.5).all()


@given(
    st.tuples(st.floats(-500, 2000), st.floats(-500, 2000)),
    st.tuples(st.floats(1, 3000), st.floats(1, 3000)),
    st.floats(-4, 4),
)
def test_what_is_found_in_a_crop_comes_back(
    centre: tuple[float, float], size: tuple[float, float], angle: float
) -> None:
    places = crops(np.array([centre]), np.array([size]), SIZE, np.array([angle]))
    points = np.array([[[0.0, 0.0], [192.0, 256.0], [17.0, 4.0]]])
    np.testing.assert_allclose(applied(places, in_image(places, points)), points, atol=1e-6)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_normalise_is_its_formula(layout: Any, color: Any) -> None:
    spec = InputSpec(
        color=color,
        scale=255.0,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        layout=layout,
    )
    patches = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    ordered = patches[..., ::-1] if color == "bgr" else patches
    expected = (ordered / 255.0 - np.array(spec.mean)) / np.array(spec.std)
    if layout == "nchw":
        expected = expected.transpose(0, 3, 1, 2)
    found = normalise(patches, spec)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_box_without_extent_has_a_region() -> None:
    _, sizes = centres_and_sizes(np.array([[5.0, 5.0, 5.0, 5.0], [7.0, 1.0, 7.0, 1.5]]), 0.75)
    assert (sizes > 0).all()
    places = crops(np.zeros((2, 2)), sizes, SIZE)
    assert np.isfinite(in_image(places, np.ones((2, 1, 2)))).all()
