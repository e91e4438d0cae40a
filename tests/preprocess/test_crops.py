"""Crops and letterboxes against HRNet's, YOLOv5's and rtmlib's own (oracle/topdown)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.geometry import crop
from edgepose.networks.manifest import InputSpec
from edgepose.preprocess.crops import (
    centres_and_sizes,
    crop_matrices,
    invert,
    letterbox,
    map_points,
    normalise,
    place,
    warp,
)

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


def test_hrnet_regions_and_rotated_crops(boxes: dict[str, Any]) -> None:
    centres, sizes = centres_and_sizes(boxes["person_boxes"], SIZE[0] / SIZE[1])
    found = np.concatenate([centres, sizes / 200], axis=1)
    np.testing.assert_allclose(found, boxes["center_scale"], atol=1e-4)
    exact = boxes["center_scale"].astype(np.float64)
    matrices = crop_matrices(
        exact[:, :2], exact[:, 2:] * 200, SIZE, np.deg2rad(boxes["rotations_deg"])
    )
    corners = region_corners(exact[:, :2], exact[:, 2:] * 200)
    expected = map_points(boxes["affine"], corners)
    np.testing.assert_allclose(map_points(matrices, corners), expected, atol=2e-3)
    back = map_points(invert(matrices), expected) - map_points(boxes["affine_inverse"], expected)
    assert (np.abs(back).max(axis=(1, 2)) < 1e-5 * 200 * exact[:, 2] + 2e-5).all()


def test_rtmpose_regions_and_crops(rtmlib: dict[str, Any]) -> None:
    centres, sizes = centres_and_sizes(rtmlib["boxes"], SIZE[0] / SIZE[1])
    np.testing.assert_allclose(centres, rtmlib["center"], atol=1e-4)
    np.testing.assert_allclose(sizes, rtmlib["scale"], atol=1e-4)
    matrices = crop_matrices(centres, sizes, SIZE)
    corners = region_corners(centres, sizes)
    off = map_points(matrices, corners) - map_points(rtmlib["warp"], corners)
    assert np.abs(off).max() < 2e-3


def test_patches_are_rtmlibs(rtmlib: dict[str, Any]) -> None:
    matrices = crop_matrices(*centres_and_sizes(rtmlib["small_boxes"], SIZE[0] / SIZE[1]), SIZE)
    patches = warp(rtmlib["small_image"], matrices, SIZE)
    off = np.abs(patches.astype(int) - rtmlib["small_patches"].astype(int))
    # OpenCV 4 blends with weights of 1/32
    assert off.max() <= 8
    assert (off <= 1).mean() > 0.95


@pytest.mark.parametrize("target", [416, 640])
def test_yolox_letterbox_geometry(target: int, rtmlib: dict[str, Any]) -> None:
    column = [416, 640].index(target)
    for (h, w), expected in zip(
        rtmlib["letterbox_hw"], rtmlib["letterbox"][:, column], strict=True
    ):
        found = letterbox((int(w), int(h)), (target, target))
        assert (found.ratio_x, found.height, found.width) == tuple(expected)


@pytest.mark.parametrize("number", range(4))
def test_yolox_letterbox_pictures(number: int, rtmlib: dict[str, Any]) -> None:
    picture = rtmlib[f"letterbox_image{number}"]
    spec = InputSpec(width=128, height=96, resize="letterbox", align="top-left", pad=114)
    found = place(spec, picture.shape[1], picture.shape[0])
    assert found.ratio_x == rtmlib[f"letterbox_ratio{number}"]
    off = found.draw(picture, spec.pad).astype(int) - rtmlib[f"letterbox_output{number}"]
    assert np.abs(off).max() <= 1


def test_yolov5_letterbox_geometry(boxes: dict[str, Any]) -> None:
    for (h, w), row in zip(boxes["image_hw"], boxes["letterbox_geometry"], strict=True):
        for target, expected in zip(boxes["targets"], row, strict=True):
            f = letterbox(
                (int(w), int(h)),
                (int(target), int(target)),
                align="centre",
                whole="round",
                stride=32,
            )
            found = [f.full_height, f.full_width, f.height, f.width, f.top, f.left]
            assert found == expected.tolist()


@pytest.mark.parametrize("number", range(4))
def test_yolov5_letterbox_pictures(number: int, boxes: dict[str, Any]) -> None:
    picture, expected = boxes[f"letterbox_image{number}"], boxes[f"letterbox_output{number}"]
    f = letterbox(picture.shape[1::-1], (96, 96), align="centre", whole="round", stride=32)
    found = f.draw(picture)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_boxes_come_back_from_the_letterbox(boxes: dict[str, Any]) -> None:
    """Ours subtracts the padding that is there, the reference half of what it expects."""
    for (h, w), inside, expected in zip(
        boxes["image_hw"],
        boxes["boxes_letterboxed"],
        boxes["scale_boxes_unrounded"],
        strict=True,
    ):
        f = letterbox((int(w), int(h)), (640, 640), align="centre", whole="round", stride=32)
        found = np.clip(f.to_image(inside), 0, [w, h, w, h])
        slack = (
            1.01
            * max(
                abs((f.full_width - w * f.ratio_x) / 2 - f.left),
                abs((f.full_height - h * f.ratio_y) / 2 - f.top),
            )
            / f.ratio_x
        )
        assert np.abs(found - expected).max() <= slack + 1e-2


@given(
    st.tuples(st.floats(-500, 2000), st.floats(-500, 2000)),
    st.tuples(st.floats(1, 3000), st.floats(1, 3000)),
    st.floats(-4, 4),
)
def test_crop_is_geometrys_and_its_inverse_exact(
    centre: tuple[float, float], size: tuple[float, float], angle: float
) -> None:
    (matrix,) = crop_matrices(np.array([centre]), np.array([size]), SIZE, angle)
    np.testing.assert_allclose(matrix, crop(centre, size, SIZE, angle).matrix, atol=1e-6, rtol=1e-9)
    points = np.array([[[0.0, 0.0], [192.0, 256.0], [17.0, 4.0]]])
    there_and_back = map_points(matrix[None], map_points(invert(matrix[None]), points))
    np.testing.assert_allclose(there_and_back, points, atol=1e-6)


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
    assert np.isfinite(invert(crop_matrices(np.zeros((2, 2)), sizes, SIZE))).all()
