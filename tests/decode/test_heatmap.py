"""The heatmap decoders against the answers of HRNet's, mmpose's and rtmlib's own (oracle/topdown)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.decode import heatmap
from edgepose.decode.heatmap import decode_heatmaps, maxima, quarter_step, refine
from edgepose.preprocess.crops import centres_and_sizes, crops, in_image


def answers(shared: Path, name: str) -> dict[str, Any]:
    return dict(np.load(shared / "oracle/topdown" / f"{name}.npz"))


@pytest.fixture(scope="module")
def hrnet(shared: Path) -> dict[str, Any]:
    data = answers(shared, "sithu_heatmap_decode")
    data["heatmaps"] = data["heatmaps"].astype(np.float32)
    return data


def test_maxima_and_quarter_steps_are_those_of_the_reference(hrnet: dict[str, Any]) -> None:
    xy, _ = maxima(hrnet["heatmaps"])
    np.testing.assert_array_equal(xy, hrnet["max_preds"])
    np.testing.assert_array_equal(quarter_step(hrnet["heatmaps"], xy), hrnet["coords_heatmap"])


def test_image_coordinates_are_those_of_the_reference(hrnet: dict[str, Any]) -> None:
    points = decode_heatmaps(hrnet["heatmaps"], (192, 256))
    centres, sizes = centres_and_sizes(hrnet["person_boxes"], 192 / 256)
    xy = in_image(crops(centres, sizes, (192, 256)), points.xy)
    np.testing.assert_allclose(xy, hrnet["coords_image_float"], atol=1e-3)
    whole = np.abs(xy - np.round(xy)) > 1e-3
    np.testing.assert_array_equal(xy.astype(np.int32)[whole], hrnet["coords_image"][whole])
    assert whole.mean() > 0.98


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("quarter-axis", "mmpose_quarter"),
        ("dark", "mmpose_dark_k11"),
        ("dark-udp", "post_dark_udp_k11"),
        ("dark-udp-zero", "mmpose_dark_udp_k11"),
    ],
)
def test_sub_pixel_steps_are_those_of_the_references(
    method: heatmap.Refine, answer: str, shared: Path, hrnet: dict[str, Any]
) -> None:
    dark = answers(shared, "dark_refinement")
    xy, value = maxima(hrnet["heatmaps"])
    usable = dark["comparable"]
    np.testing.assert_array_equal(value[usable], dark["maximum_value"][usable])
    moved = refine(hrnet["heatmaps"], xy, method)
    np.testing.assert_allclose(moved[usable], dark[answer][usable], atol=1e-4)
    assert usable.mean() > 0.75


def test_vitpose_keypoints(shared: Path, hrnet: dict[str, Any]) -> None:
    dark = answers(shared, "dark_refinement")
    points = decode_heatmaps(hrnet["heatmaps"], (192, 256), method="dark-udp", udp=True)
    centres, sizes = centres_and_sizes(dark["boxes"], 192 / 256)
    xy = in_image(crops(centres, sizes, (192, 256)), points.xy)
    off = np.abs(xy - dark["vitpose_keypoints"]) / sizes[:, None, :1]
    assert off[dark["comparable"]].max() < 1e-4
    np.testing.assert_allclose(points.scores, dark["vitpose_scores"])


@given(
    st.floats(8.0, 40.0),
    st.floats(8.0, 56.0),
    st.sampled_from(["dark", "dark-udp", "dark-udp-zero"]),
)
def test_dark_finds_the_centre_of_a_gaussian(x: float, y: float, method: heatmap.Refine) -> None:
    ys, xs = np.mgrid[:64, :48]
    bump = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 2.0**2)).astype(np.float32)[None, None]
    found = refine(bump, maxima(bump)[0], method)[0, 0]
    # the truncated kernel, and mmpose's floor and clip, leave a few hundredths of a cell
    np.testing.assert_allclose(found, (x, y), atol=0.08)


def test_blur_is_opencvs() -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(1)
    maps = rng.random((2, 3, 20, 15)).astype(np.float32)
    for border, flag in (("mirror", cv2.BORDER_DEFAULT), ("zero", cv2.BORDER_CONSTANT)):
        expected = np.stack(
            [[cv2.GaussianBlur(m, (11, 11), 0, borderType=flag) for m in row] for row in maps]
        )
        np.testing.assert_allclose(heatmap.blur(maps, 11, border), expected, atol=1e-6)  # type: ignore[arg-type]


def test_where_cells_lie() -> None:
    maps = np.zeros((1, 1, 8, 6), np.float32)
    maps[0, 0, 2, 5] = 1
    found = [
        decode_heatmaps(maps, (24, 32), method="none", **how).xy[0, 0].tolist()  # type: ignore[arg-type]
        for how in ({}, {"centred": True}, {"udp": True})
    ]
    # the last cell: pixel 20, the middle of pixels 20 to 23, the input's edge
    assert [x for x, _ in found] == [20, 21.5, 24]
    assert [y for _, y in found] == [8, 9.5, pytest.approx(2 * 32 / 7)]


def test_nothing_found_scores_nothing_and_moves_nowhere() -> None:
    maps = np.full((1, 2, 8, 6), -1.0, np.float32)
    maps[0, 1, 4, 3] = 2.0
    for method in ("none", "quarter", "quarter-axis", "dark", "dark-udp", "dark-udp-zero"):
        points = decode_heatmaps(maps, (24, 32), method=method)  # type: ignore[arg-type]
        assert points.scores.tolist() == [[-1.0, 2.0]]
        assert points.xy[0, 0].tolist() == [-4.0, -4.0]
        assert np.isfinite(points.xy).all()
