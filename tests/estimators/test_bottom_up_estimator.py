"""Bottom-up on real networks: outputs bound, poses in image pixels, any resize, thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.engines import EngineOptions
from edgepose.errors import NetworkFileError
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.estimators.bottom_up import enlarge
from edgepose.estimators.maps import bind_outputs
from edgepose.networks.manifest import Manifest
from edgepose.networks.resolve import resolve
from edgepose.networks.topology import load_topology
from edgepose.preprocess import as_rgb
from edgepose.timing import Stopwatch
from edgepose.types import Frame, TensorSpec
from tests.conftest import Material

F32 = np.dtype(np.float32)


def spec(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, shape, F32)


def picture(path: Path) -> np.ndarray:
    cv2 = pytest.importorskip("cv2")
    return as_rgb(cv2.imread(str(path))[:, :, ::-1])


@pytest.fixture(scope="module")
def intel(body: dict[str, Any]):
    network = resolve(body["network"], model=body.get("model"))
    estimator = make_estimator(network, EstimatorOptions(engine=EngineOptions(precision="fp32")))
    yield estimator
    estimator.close()


@pytest.fixture
def number(shared: Material) -> int:
    """Of a picture with one person: a skier, or who walks through a corridor in what the tests bring along."""
    return 30752 if shared.find("datasets/coco-mini/images/000000030752.jpg") else 9


@pytest.fixture
def skier(shared: Material, number: int) -> np.ndarray:
    return picture(shared / f"datasets/coco-mini/images/{number:012d}.jpg")


def poses(estimator, pixels: np.ndarray):
    return estimator.estimate([Frame(pixels)], Stopwatch())[0]


def test_a_person_is_found_where_the_person_is(
    intel, skier: np.ndarray, number: int, shared: Material
) -> None:
    import json

    data = json.loads((shared / "datasets/coco-mini/person_keypoints.json").read_text())
    truth = next(a for a in data["annotations"] if a["image_id"] == number)
    names = data["categories"][0]["keypoints"]
    (pose,) = poses(intel, skier)
    labelled = np.array(truth["keypoints"]).reshape(-1, 3)
    errors = [
        np.hypot(pose[n].x - x, pose[n].y - y)
        for n, (x, y, v) in zip(names, labelled, strict=True)
        if v and n in pose
    ]
    assert len(errors) >= 10
    assert np.median(errors) < 0.03 * truth["bbox"][3]
    assert 0.5 < pose.score <= 1
    assert len(pose.links) >= 12
    assert all(0 < link.score <= 1 for link in pose.links)


def test_scaling_the_picture_scales_the_pose(intel, skier: np.ndarray) -> None:
    cv2 = pytest.importorskip("cv2")
    (small,) = poses(intel, skier)
    (large,) = poses(intel, cv2.resize(skier, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))
    both = (small.points[:, 2] > 0) & (large.points[:, 2] > 0)
    assert both.sum() >= 12
    off = np.abs(large.points[both, :2] / 2 - small.points[both, :2])
    assert np.median(off) < 0.01 * skier.shape[0]


def test_the_order_and_number_of_poses_do_not_change_from_run_to_run(
    intel, shared: Material
) -> None:
    folder = shared / "datasets/coco-mini/images"
    several = folder / "000000000790.jpg"
    pixels = picture(several if several.exists() else folder / "000000000003.jpg")
    first, second = poses(intel, pixels), poses(intel, pixels)
    assert [p.id for p in first] == list(range(len(first)))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.points, b.points)
    assert len(first) >= 4


def test_coordinates_stay_inside_the_picture(intel, shared: Path) -> None:
    for path in sorted((shared / "datasets/coco-mini/images").glob("*.jpg"))[:6]:
        pixels = picture(path)
        for pose in poses(intel, pixels):
            seen = pose.points[pose.points[:, 2] > 0]
            assert (seen[:, :2] >= 0).all()
            assert (seen[:, 0] <= pixels.shape[1]).all()
            assert (seen[:, 1] <= pixels.shape[0]).all()
            missing = pose.points[pose.points[:, 2] <= 0]
            assert np.isnan(missing[:, :2]).all()


def test_an_empty_or_tiny_picture_has_no_poses(intel) -> None:
    for shape in ((480, 640, 3), (1, 1, 3), (3, 2000, 3)):
        assert poses(intel, np.zeros(shape, np.uint8)) == ()


def test_a_combined_output_is_split_as_the_manifest_says(shared: Path) -> None:
    model = shared / "networks/openpose-mobilenet-v2-small/openpose_mnv2small_368x432.onnx"
    network = resolve("openpose-mobilenet-v2-small", model=model)
    estimator = make_estimator(network, EstimatorOptions())
    try:
        pixels = picture(shared / "datasets/coco-mini/images/000000030752.jpg")
        found = poses(estimator, pixels)
    finally:
        estimator.close()
    best = max(found, key=lambda p: p.score)
    assert {"nose", "neck", "left_shoulder", "right_shoulder"} <= set(best)
    assert best["neck"].y < best["left_hip"].y


class TestBinding:
    """Which output is what."""

    body = load_topology("human_pose")
    manifest = Manifest(name="custom", family="bottom-up", outputs={"cmap": "cmap", "paf": "paf"})

    def test_by_name(self) -> None:
        cmap, paf = bind_outputs(
            self.manifest, self.body, [spec("paf", 1, 42, 8, 8), spec("cmap", 1, 18, 8, 8)]
        )
        assert (cmap.tensor, paf.tensor) == ("cmap", "paf")

    def test_by_channels_where_names_differ(self) -> None:
        cmap, paf = bind_outputs(
            self.manifest, self.body, [spec("x", 1, 42, 8, 8), spec("y", 1, 19, 8, 8)]
        )
        assert (cmap.tensor, cmap.count, paf.tensor) == ("y", 18, "x")

    def test_channels_last(self) -> None:
        cmap, paf = bind_outputs(
            self.manifest, self.body, [spec("x", 1, 56, 56, 42), spec("y", 1, 56, 56, 18)]
        )
        assert cmap.channels_last
        maps = np.random.default_rng(0).random((1, 56, 56, 18), np.float32)
        np.testing.assert_array_equal(cmap.take({"y": maps}, 0), maps[0].transpose(2, 0, 1))
        assert (paf.tensor, paf.channels_last) == ("x", True)

    @pytest.mark.parametrize(
        "outputs",
        [
            [],
            [spec("cmap", 1, 18, 8, 8)],
            [spec("cmap", 1, 21, 8, 8), spec("paf", 1, 40, 8, 8)],
            [spec("cmap", 18), spec("paf", 42)],
        ],
    )
    def test_what_does_not_fit_is_explained_in_one_line(self, outputs: list[TensorSpec]) -> None:
        with pytest.raises(NetworkFileError, match=r"18 .*and 42 channels") as error:
            bind_outputs(self.manifest, self.body, outputs)
        assert "\n" not in str(error.value)


def test_enlarging_keeps_a_peak_in_its_place() -> None:
    maps = np.zeros((1, 9, 9), np.float32)
    maps[0, 3, 5] = 1
    large = enlarge(maps, 2)
    ys, xs = np.nonzero(large[0] > 0.5 * large[0].max())
    np.testing.assert_allclose([ys.mean() + 0.5, xs.mean() + 0.5], [7, 11])


def test_a_threshold_of_nought_crowds_nobody_out(skier: np.ndarray) -> None:
    """Noise everywhere would fill the hundred places that each keypoint has."""
    network = resolve("edgepose-lite-body", download=False)
    found = []
    for threshold in (0.0, 0.001, 0.02):
        estimator = make_estimator(network, EstimatorOptions(threshold=threshold))
        found.append(poses(estimator, skier))
        estimator.close()
    # links of any score join more, so that the number of keypoints may rise, never that of people fall
    assert all(len(some) >= len(found[-1]) >= 1 for some in found)
