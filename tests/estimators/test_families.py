"""What all families share: the size of the input, options without a use, and how pictures are prepared."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgepose.calibration import calibration
from edgepose.cuda.pictures import GREY
from edgepose.engines import EngineOptions
from edgepose.errors import UsageError
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.estimators.base import Estimator
from edgepose.estimators.crops import Crops
from edgepose.estimators.detector import Detector, Regions
from edgepose.estimators.preparation import preparation
from edgepose.networks.resolve import Network
from edgepose.preprocess import normalise
from edgepose.timing import Stopwatch
from edgepose.types import Frame
from tests.estimators import spots
from tests.estimators.test_one_stage_estimator import answers, constant_network
from tests.estimators.test_one_stage_estimator import network as one_stage
from tests.estimators.test_top_down import LEFT, RIGHT, detector_network, picture, pose_network

ENGINE = EngineOptions(engine="onnxruntime", threads=1)


@pytest.fixture(params=["bottom-up", "top-down", "one-stage"])
def network(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_detector: Callable[..., Path],
    make_pose: Callable[..., Path],
) -> tuple[Network, dict[str, Any]]:
    """A network of each family with a fixed input, and the options that it needs."""
    if request.param == "bottom-up":
        return spots.network(tmp_path / "spots.onnx"), {}
    if request.param == "top-down":
        boxes = detector_network(make_detector([LEFT, RIGHT]))
        return pose_network(make_pose("simcc"), "simcc", split=1.0), {"detector": boxes}
    return one_stage(constant_network(tmp_path / "n.onnx", answers("rtmo")), "rtmo"), {}


def made(network: Network, **options: Any) -> Estimator:
    return make_estimator(network, EstimatorOptions(engine=ENGINE, **options))


def test_a_size_that_the_network_cannot_take_is_refused_in_the_same_words(
    network: tuple[Network, dict[str, Any]],
) -> None:
    with pytest.raises(
        UsageError, match=r"has a fixed input of .* not 999x111: leave the size out"
    ):
        made(network[0], size=(999, 111), **network[1])


def test_a_wrong_multiple_is_refused_in_the_same_words(
    network: tuple[Network, dict[str, Any]], tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    found, needs = network
    model = onnx.load(found.model)
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"n{axis}"
    while len(model.graph.output[0].type.tensor_type.shape.dim) > 4:
        model.graph.output[0].type.tensor_type.shape.dim.pop()
    onnx.save(model, tmp_path / "open.onnx")
    manifest = found.manifest.with_input(multiple=32, width=64, height=64)
    open_size = replace(found, manifest=manifest, model=tmp_path / "open.onnx")
    with pytest.raises(UsageError, match="input sizes are multiples of 32, not 70x64"):
        made(open_size, size=(70, 64), **needs)


@pytest.mark.parametrize(
    ("asked", "flags"),
    [
        (
            {"flip_test": True, "max_people": 1, "box_threshold": 0.9},
            {
                "bottom-up": "--box-threshold, --max-people, --flip-test",
                "one-stage": "--flip-test",
                "top-down": "",
            },
        ),
        (
            {"resize": "stretch", "link_threshold": 0.4},
            {
                "bottom-up": "",
                "one-stage": "--link-threshold",
                "top-down": "--link-threshold, --resize",
            },
        ),
    ],
)
def test_options_without_a_use_are_said_once(
    network: tuple[Network, dict[str, Any]],
    asked: dict[str, Any],
    flags: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    found, needs = network
    with caplog.at_level(logging.WARNING, "edgepose.estimators"):
        made(found, **asked, **needs).close()
    family = found.manifest.family
    said = [r.getMessage() for r in caplog.records]
    expected = f"{found.manifest.name} is {family} and has no use for {flags[family]}."
    assert said == ([expected] if flags[family] else [])


def test_one_stage_networks_honour_resize(tmp_path: Path) -> None:
    found = one_stage(constant_network(tmp_path / "n.onnx", answers("rtmo")), "rtmo")
    wide = Frame(np.zeros((64, 128, 3), np.uint8))
    letterbox, stretch = (
        made(found, resize=how).estimate([wide], Stopwatch())[0] for how in ("", "stretch")
    )
    # the same answer at (45, 16) of 64 x 64: twice as large in a letterbox, only wider if stretched
    assert letterbox[0].box[1] == pytest.approx(2.0)
    assert stretch[0].box[1] == pytest.approx(1.0)
    assert stretch[0].box[0] == letterbox[0].box[0] == pytest.approx(70.0)


def test_a_top_down_network_is_calibrated_on_crops_of_what_its_detector_finds(
    tmp_path: Path, make_detector: Callable[..., Path], make_pose: Callable[..., Path]
) -> None:
    boxes = detector_network(make_detector([LEFT, RIGHT]))
    manifest = pose_network(make_pose("simcc"), "simcc", split=1.0).manifest
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), picture()[:, :, ::-1])
    options = EstimatorOptions(engine=ENGINE, detector=boxes)
    feeds = list(calibration(folder, preparation(manifest, None, options), "x").batches())
    detector = Detector.load(boxes, options)
    found = detector.detect([Frame(picture())], Stopwatch())
    crops = Crops(manifest)
    wanted = crops.feed([picture()], np.zeros(2, np.intp), crops.places(found))
    np.testing.assert_array_equal(np.concatenate([f["x"] for f in feeds]), wanted)


def test_nobody_to_calibrate_with_is_said(
    tmp_path: Path, make_detector: Callable[..., Path], make_pose: Callable[..., Path]
) -> None:
    boxes = detector_network(make_detector([(5, 5, 20, 20, 0.01)]))
    manifest = pose_network(make_pose("simcc"), "simcc", split=1.0, mask=0.05).manifest
    cv2.imwrite(str(tmp_path / "a.png"), picture())
    options = EstimatorOptions(engine=ENGINE, detector=boxes)
    with pytest.raises(UsageError, match="only people that its detector finds"):
        calibration(tmp_path, preparation(manifest, None, options), "x")


def test_what_lies_outside_of_a_box_is_masked(
    make_pose: Callable[..., Path],
) -> None:
    manifest = pose_network(make_pose("simcc"), "simcc", split=1.0, mask=0.1).manifest
    crops, plain = Crops(manifest), Crops(replace(manifest, decoder={"type": "simcc"}))
    box = np.array([[20.0, 10.0, 30.0, 50.0]])
    found = [Regions(box, np.ones(1), np.zeros(1))]
    places = crops.places(found)
    windows = crops.windows(found, places)
    masked, whole = (
        c.feed([picture()], np.zeros(1, np.intp), places, w)
        for c, w in ((crops, windows), (plain, plain.windows(found, places)))
    )
    grey = normalise(np.full((1, 1, 1, 3), GREY, np.uint8), manifest.input).ravel()
    inside = np.zeros(masked.shape[2:], bool)
    inside[windows[0]] = True
    assert 0 < inside.mean() < 1
    np.testing.assert_array_equal(masked[0][:, inside], whole[0][:, inside])
    np.testing.assert_array_equal(
        masked[0][:, ~inside], np.repeat(grey[:, None], (~inside).sum(), 1)
    )
    corners = (
        places[0].inverse().apply(np.array([[s.start, s.stop] for s in windows[0]], float)[::-1].T)
    )
    # the box and a tenth of its longer side around it, to whole pixels of the crop
    step = 1.0 / places[0].a
    wanted = np.array([[16.0, 6.0], [34.0, 54.0]])
    size = np.array([[0, 0], [masked.shape[3], masked.shape[2]]])
    wanted = np.clip(wanted, *places[0].inverse().apply(size))  # what the crop has of it
    assert np.abs(corners - wanted).max() < step + 1e-6
