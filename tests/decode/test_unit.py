"""Answers that do not mean what the manifest says are refused, with the field that decides."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgepose.decode.detections import DetectionParams, decode_detections
from edgepose.decode.one_stage import OneStageParams, decode_people
from edgepose.errors import EngineError, NetworkFileError
from edgepose.estimators.heads import HEADS
from edgepose.estimators.runner import feed_dtype
from edgepose.networks.manifest import InputSpec, Manifest
from edgepose.types import TensorSpec

SIZE = (64, 32)
UNIT = np.array([[[0.25, 0.25, 0.75, 0.75, 0.9, 0]]], np.float32)
PIXELS = UNIT * np.array([64, 32, 64, 32, 1, 1], np.float32)


@pytest.mark.parametrize("kind", ["nms", "yolov8", "yolox"])
def test_boxes_of_detectors(kind: str) -> None:
    params = DetectionParams(kind, SIZE)
    pixels = decode_detections({"dets": PIXELS}, params)[0].xyxy
    np.testing.assert_allclose(pixels, [[16, 8, 48, 24]])
    with pytest.raises(EngineError, match='"unit": true'):
        decode_detections({"dets": UNIT}, params)
    unit = replace(params, unit=True)
    np.testing.assert_allclose(decode_detections({"dets": UNIT}, unit)[0].xyxy, pixels)
    with pytest.raises(EngineError, match='leave "unit" out'):
        decode_detections({"dets": PIXELS}, unit)
    nobody = PIXELS * np.array([0, 0, 0, 0, 0.1, 1], np.float32)
    for either in (params, unit):
        assert not len(decode_detections({"dets": nobody}, either)[0].scores)


def person(size: Any = (1, 1)) -> dict[str, Any]:
    """A YOLO-pose answer with one person of two keypoints, channels first, coordinates times a size."""
    x, y = size
    row = [0.5 * x, 0.5 * y, 0.5 * x, 0.5 * y, 0.9, 0.3 * x, 0.3 * y, 0.8, 0.6 * x, 0.7 * y, 0.7]
    return {"out": np.array(row, np.float32).reshape(1, -1, 1)}


def test_people_of_one_stage_networks() -> None:
    params = OneStageParams("yolo-pose", 2, size=SIZE)
    whole = decode_people(person(SIZE), params)[0]
    np.testing.assert_allclose(whole.points[0, :, :2], [[19.2, 9.6], [38.4, 22.4]], rtol=1e-5)
    with pytest.raises(EngineError, match='"unit": true'):
        decode_people(person(), params)
    same = decode_people(person(), replace(params, unit=True))[0]
    np.testing.assert_allclose(same.points, whole.points, rtol=1e-5)
    np.testing.assert_allclose(same.boxes, whole.boxes, rtol=1e-5)
    with pytest.raises(EngineError, match='leave "unit" out'):
        decode_people(person(SIZE), replace(params, unit=True))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("yolov5", (1, 84, 8400)),  # YOLOv8's and YOLOv5u's
        ("yolov5", (1, 84, 25200)),
        ("yolov8", (1, 25200, 85)),  # YOLOv5's: its objectness is no class
    ],
)
def test_one_yolo_is_not_read_as_another(kind: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(EngineError, match=f"does not answer as {kind}"):
        decode_detections({"out": np.ones(shape, np.float32)}, DetectionParams(kind))


@pytest.mark.parametrize(
    ("kind", "shape"), [("yolov8", (5, 8400)), ("yolov5", (25200, 6)), ("yolox", (8400, 6))]
)
def test_classes_that_a_detector_does_not_tell(kind: str, shape: tuple[int, int]) -> None:
    raw = {"out": np.zeros((1, *shape), np.float32)}
    assert not len(decode_detections(raw, DetectionParams(kind, classes=(0, 7)))[0].scores)
    with pytest.raises(EngineError, match="has 1 classes, numbered from 0"):
        decode_detections(raw, DetectionParams(kind, classes=(1,)))


def head_of(kind: str, open_shapes: dict[str, tuple[int, ...]], **decoder: Any) -> Any:
    spec = InputSpec(width=48, height=64)
    manifest = Manifest("mine", "top-down", outputs={n: n for n in open_shapes}, decoder=decoder)
    tensors = [TensorSpec(n, s, np.dtype(np.float32)) for n, s in open_shapes.items()]
    return HEADS[kind].bind(manifest, spec, 3, tensors)


def nought(*shape: int) -> Any:
    return np.full(shape, 20, np.float32)


def test_heads_whose_file_leaves_their_shapes_open() -> None:
    """What the answer turns out to be is looked at: a wrong manifest would move every keypoint."""
    maps = head_of("heatmap", {"heatmap": (-1, -1, -1, -1)})
    bins = head_of("simcc", {"simcc_x": (-1, -1, -1), "simcc_y": (-1, -1, -1)}, split=2.0)
    points = head_of("keypoints", {"keypoints": (-1, -1, 3)})
    for count in (3, 4):
        assert maps.decode({"heatmap": nought(2, count, 16, 12)}).xy.shape == (2, 3, 2)
    assert bins.decode({"simcc_x": nought(2, 3, 96), "simcc_y": nought(2, 3, 128)}).xy.shape
    assert points.decode({"keypoints": nought(2, 3, 3)}).xy.shape == (2, 3, 2)
    with pytest.raises(EngineError, match="expected 3 or 4 maps"):
        maps.decode({"heatmap": nought(2, 17, 16, 12)})
    with pytest.raises(EngineError, match="expected 96 bins"):
        bins.decode({"simcc_x": nought(2, 3, 144), "simcc_y": nought(2, 3, 192)})
    with pytest.raises(EngineError, match="expected 3 keypoints"):
        points.decode({"keypoints": nought(2, 6, 3)})


def test_keypoints_of_crops() -> None:
    shape = {"keypoints": (-1, 3, 2)}
    half = np.full((1, 3, 2), 0.5, np.float32)
    with pytest.raises(EngineError, match='"unit": true'):
        head_of("keypoints", shape).decode({"keypoints": half})
    unit = head_of("keypoints", shape, unit=True)
    np.testing.assert_array_equal(unit.decode({"keypoints": half}).xy[0, 0], [24, 32])
    with pytest.raises(EngineError, match='leave "unit" out'):
        unit.decode({"keypoints": half * 48})


def test_a_square_answer_may_lie_either_way() -> None:
    with pytest.raises(EngineError, match="does not answer as yolo-pose"):
        decode_people({"out": nought(1, 11, 11)}, OneStageParams("yolo-pose", 2, size=SIZE))


def test_an_input_of_true_and_false_takes_no_picture() -> None:
    given = SimpleNamespace(inputs=(TensorSpec("x", (1, 3, 8, 8), np.dtype(bool)),))
    manifest = Manifest("mine", "one-stage", input=InputSpec(name="x"))
    with pytest.raises(NetworkFileError, match="true or false"):
        feed_dtype(given, manifest)  # type: ignore[arg-type]
