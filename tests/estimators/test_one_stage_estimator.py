"""One-stage estimators end to end, on networks that answer with what they are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgepose.decode.movenet import MAPS
from edgepose.engines import EngineOptions
from edgepose.engines.base import Choice
from edgepose.errors import EngineError, UnknownNameError
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.closer import Closer
from edgepose.estimators.one_stage import OneStage
from edgepose.estimators.people import Limits
from edgepose.estimators.runner import Runner
from edgepose.estimators.table import make_estimator
from edgepose.networks import registry
from edgepose.networks.manifest import InputSpec, Manifest
from edgepose.networks.resolve import Network, resolve
from edgepose.networks.topology import load_topology
from edgepose.preprocess import fit
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose, TensorSpec

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "readme.jpg"
ENGINE = EngineOptions(engine="onnxruntime", threads=1)


def constant_network(path: Path, answers: dict[str, np.ndarray]) -> Path:
    """A network with a 64 x 64 input that always answers the same, for every row of its batch."""
    h = onnx.helper
    nodes, outputs, parts = [], [], []
    nodes.append(h.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0))
    nodes.append(h.make_node("Mul", ["mean", "nought"], ["nothing"]))
    parts.append(onnx.numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"))
    parts.append(onnx.numpy_helper.from_array(np.array(0, np.float32), "nought"))
    for name, answer in answers.items():
        shape = np.array([-1] + [1] * answer.ndim, np.int64)
        parts.append(onnx.numpy_helper.from_array(shape, f"{name}.shape"))
        parts.append(onnx.numpy_helper.from_array(answer[None].astype(np.float32), f"{name}.is"))
        nodes.append(h.make_node("Reshape", ["nothing", f"{name}.shape"], [f"{name}.zeros"]))
        nodes.append(h.make_node("Add", [f"{name}.zeros", f"{name}.is"], [name]))
        value = h.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", *answer.shape])
        outputs.append(value)
    source = [h.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 64, 64])]
    graph = h.make_graph(nodes, "constant", source, outputs, parts)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.save(model, path)
    return path


def network(model: Path, kind: str, **decoder: Any) -> Network:
    spec = InputSpec(width=64, height=64, scale=1, resize="letterbox", align="top-left", pad=114)
    manifest = Manifest(
        "people", "one-stage", input=spec, decoder={"type": kind, **decoder}, topology="coco_17"
    )
    return Network(manifest, model, load_topology("coco_17"))


def person(x: float, y: float, score: float) -> np.ndarray:
    """Row of YOLO-pose: box of 20 x 30 around (x, y), keypoints on its diagonal."""
    steps = np.linspace(-1, 1, 17)
    points = np.stack([x + 10 * steps, y + 15 * steps, np.linspace(0.5, 0.9, 17)], axis=1)
    return np.concatenate([[x, y, 20, 30, score], points.ravel()])


ROWS = np.array(
    [person(20, 16, 0.7), person(45, 16, 0.9), person(21, 16, 0.6), person(50, 48, 0.1)]
)


def answers(kind: str) -> dict[str, np.ndarray]:
    if kind == "yolo-pose":
        return {"output0": ROWS.T}
    boxes = np.concatenate(
        [ROWS[:, :2] - ROWS[:, 2:4] / 2, ROWS[:, :2] + ROWS[:, 2:4] / 2, ROWS[:, 4:5]], axis=1
    )
    return {"dets": boxes, "keypoints": ROWS[:, 5:].reshape(-1, 17, 3)}


@pytest.mark.parametrize("kind", ["yolo-pose", "rtmo"])
@pytest.mark.parametrize("batch", [1, 8])
def test_people_come_out_in_image_pixels(kind: str, batch: int, tmp_path: Path) -> None:
    model = constant_network(tmp_path / "n.onnx", answers(kind))
    estimator = make_estimator(network(model, kind), EstimatorOptions(engine=ENGINE, batch=batch))
    frames = [Frame(np.zeros((64, 128, 3), np.uint8)), Frame(np.zeros((64, 64, 3), np.uint8))]
    watch = Stopwatch()
    wide, square = estimator.estimate(frames, watch)
    for poses, scale in ((wide, 2.0), (square, 1.0)):
        assert [p.id for p in poses] == [0, 1]
        for pose, row in zip(poses, ROWS[[1, 0]], strict=True):
            expected = row[5:].reshape(17, 3)
            limit = np.array([128, 64]) if scale == 2 else np.array([64, 64])
            np.testing.assert_allclose(
                pose.points[:, :2], np.minimum(expected[:, :2] * scale, limit), atol=1e-3
            )
            np.testing.assert_allclose(pose.points[:, 2], expected[:, 2], atol=1e-6)
            assert pose.score == pytest.approx(row[4] * 0.7, abs=1e-4)
            assert pose.box[0] == pytest.approx((row[0] - 10) * scale, abs=1e-3)
    assert set(watch.stages) == {"preprocess", "network", "postprocess"}
    estimator.close()


def test_answers_for_fewer_pictures_than_were_given_are_refused(tmp_path: Path) -> None:
    path = constant_network(tmp_path / "a.onnx", answers("yolo-pose"))
    model = onnx.load(path)
    for shape in model.graph.initializer:
        if shape.name.endswith(".shape"):  # of one row, whatever the batch is
            shape.CopyFrom(onnx.numpy_helper.from_array(np.array([1], np.int64), shape.name))
    mean = next(n for n in model.graph.node if n.op_type == "ReduceMean")
    axes = next(i for i in model.graph.initializer if i.name == mean.input[1])
    axes.CopyFrom(onnx.numpy_helper.from_array(np.array([0, 1, 2, 3], np.int64), axes.name))
    onnx.save(model, path)
    estimator = make_estimator(network(path, "yolo-pose"), EstimatorOptions(batch=2))
    frame = Frame(np.zeros((64, 64, 3), np.uint8))
    assert len(estimator.estimate([frame], Stopwatch())) == 1
    with pytest.raises(EngineError, match=r"given 2 picture\(s\) and answers for 1"):
        estimator.estimate([frame] * 2, Stopwatch())
    estimator.close()


def test_thresholds(tmp_path: Path) -> None:
    model = constant_network(tmp_path / "n.onnx", answers("rtmo"))
    frame = Frame(np.zeros((64, 64, 3), np.uint8))

    def count(**more: Any) -> list[int]:
        estimator = make_estimator(network(model, "rtmo"), EstimatorOptions(engine=ENGINE, **more))
        return [len(p) for p in estimator.estimate([frame], Stopwatch())[0]]

    assert count() == [17, 17]
    assert count(box_threshold=0.05) == [17, 17, 17]
    assert count(nms_threshold=0.99) == [17, 17, 17]
    assert count(max_people=1) == [17]
    assert count(threshold=0.7) == [8, 8]
    assert count(threshold=0.7, min_keypoints=9) == []
    assert count(min_score=0.5) == [17]


def test_wrong_heads_and_formats(tmp_path: Path) -> None:
    model = constant_network(tmp_path / "n.onnx", answers("yolo-pose"))
    estimator = make_estimator(network(model, "rtmo"), EstimatorOptions(engine=ENGINE))
    with pytest.raises(EngineError, match=r"output0 \[1, 56, 4\]"):
        estimator.estimate([Frame(np.zeros((64, 64, 3), np.uint8))], Stopwatch())
    with pytest.raises(UnknownNameError, match="Did you mean 'rtmo'"):
        make_estimator(network(model, "rtmo2"), EstimatorOptions(engine=ENGINE))


class Sizes:
    """An engine with an open size that answers nobody, and remembers what it was fed."""

    name = "sizes"
    max_batch = 0
    lanes = 1
    choice = Choice("sizes", "asked for")

    def __init__(self) -> None:
        self.inputs = (TensorSpec("input", (-1, 3, -1, -1), np.dtype(np.float32)),)
        self.outputs = ()
        self.fed: list[tuple[int, ...]] = []

    def infer(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        (x,) = feeds.values()
        self.fed.append(x.shape)
        channels = zip(MAPS, (1, 2, 2, 17, 34, 34), strict=True)
        shape = (x.shape[2] // 4, x.shape[3] // 4)
        return {name: np.zeros((len(x), n, *shape), np.float32) for name, n in channels}

    def close(self) -> None:
        pass


def fed(sizes: list[tuple[int, int]], **options: Any) -> list[tuple[int, ...]]:
    engine = Sizes()
    manifest = registry.find("movenet-multipose")
    estimator = OneStage(engine, manifest, load_topology("coco_17"), EstimatorOptions(**options))
    frames = [Frame(np.zeros((h, w, 3), np.uint8), i) for i, (w, h) in enumerate(sizes)]
    assert len(estimator.estimate(frames, Stopwatch())) == len(frames)
    return engine.fed


@given(st.integers(1, 4000), st.integers(1, 4000))
@example(83, 495)  # 64.39 columns are more than 64
@settings(deadline=None, max_examples=30)
def test_only_padding_is_left_out(width: int, height: int) -> None:
    ((_, _, rows, columns),) = fed([(width, height)])
    spec = registry.find("movenet-multipose").input
    whole = fit(spec, width, height, "boxes")
    trimmed = fit(replace(spec, width=columns, height=rows), width, height, "boxes")
    assert trimmed == whole
    assert rows % 32 == columns % 32 == 0
    assert rows - whole.height < 33
    assert columns - whole.width < 33


def test_sources_of_several_shapes_have_an_input_each() -> None:
    sizes = [(1920, 1080), (1280, 720), (640, 480), (1080, 1920)]
    assert fed(sizes) == [(2, 3, 224, 384), (1, 3, 288, 384), (1, 3, 384, 224)]


def test_the_size_that_was_asked_for_wins() -> None:
    assert fed([(1920, 1080), (640, 480)], size=(384, 384)) == [(2, 3, 384, 384)]


def test_only_pictures_that_were_shrunk_are_looked_at_twice() -> None:
    engine = Sizes()
    manifest = registry.find("movenet-multipose")
    estimator = OneStage(engine, manifest, load_topology("coco_17"), EstimatorOptions())
    large, small = np.zeros((480, 640, 3), np.uint8), np.zeros((288, 384, 3), np.uint8)
    frames = [
        Frame(large, 0, source="a.jpg"),
        Frame(small, 1, source="b.jpg"),
        Frame(large, 2, pts=0.1, source="film.mp4"),
        Frame(large, 3, source="camera", captured=1.0),
        Frame(large, 4),  # handed over by a program: perhaps a frame of its own film
    ]
    assert estimator.estimate(frames, Stopwatch()) == [()] * 5
    assert engine.fed == [(5, 3, 288, 384), (1, 3, 480, 640)]


def test_a_size_that_was_asked_for_is_the_only_one() -> None:
    engine = Sizes()
    manifest, options = registry.find("movenet-multipose"), EstimatorOptions(size=(384, 384))
    estimator = OneStage(engine, manifest, load_topology("coco_17"), options)
    estimator.estimate([Frame(np.zeros((480, 640, 3), np.uint8), source="a.jpg")], Stopwatch())
    assert engine.fed == [(1, 3, 384, 384)]


def test_a_small_person_is_seen_better_at_the_second_look_and_counted_once() -> None:
    people = np.array(cv2.imread(str(PICTURE))[:, :600, ::-1])
    little = cv2.resize(people, (200, 144), interpolation=cv2.INTER_AREA)
    wall = np.full((432, 640, 3), 128, np.uint8)
    wall[200:344, 50:250] = little
    estimator = OneStage.load(resolve("fast", download=False), EstimatorOptions(engine=ENGINE))
    (once,), (twice,) = (
        estimator.estimate([Frame(wall, source=source)], Stopwatch()) for source in ("", "a.jpg")
    )
    estimator.close()
    assert len(once) == len(twice) == 1
    assert twice[0].score > once[0].score + 0.1


def test_of_both_looks_the_best_stay_in_order() -> None:
    one = np.random.default_rng(0).uniform((10, 10, 0.5), (60, 110, 0.9), (17, 3))
    names = load_topology("coco_17").keypoints
    poses = [
        Pose(
            number, (one + np.array((dx, 0, 0))).astype(np.float32), names, (), score, (0, 0, 1, 1)
        )
        for number, (dx, score) in enumerate([(0, 0.3), (200, 0.2), (0.5, 0.5), (400, 0.4)])
    ]
    manifest = registry.find("movenet-multipose")
    topology, options = load_topology("coco_17"), EstimatorOptions()
    runner = Runner(Sizes(), manifest, options, trim=True)
    closer = Closer.of(runner, options, Limits.of(manifest, options, topology))
    assert closer is not None
    best = closer.joined(poses, topology, 2)
    assert [(p.id, p.score) for p in best] == [(0, 0.5), (1, 0.4)]
    assert len(closer.joined(poses, topology, 300)) == 3
    assert closer.joined([], topology, 300) == ()


def test_boxes_lie_around_the_keypoints() -> None:
    network = resolve("fast", download=False)
    pixels = np.array(cv2.imread(str(PICTURE))[:, :, ::-1])
    estimator = OneStage.load(network, EstimatorOptions(engine=ENGINE))
    (poses,) = estimator.estimate([Frame(pixels, 0)], Stopwatch())
    estimator.close()
    assert poses
    for pose in poses:
        xy = pose.points[pose.points[:, 2] > 0, :2]
        assert pose.box == pytest.approx([*xy.min(axis=0), *xy.max(axis=0)])
