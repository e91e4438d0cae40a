"""The GPU way of top-down and one-stage estimators, with the shipped PTX on the CPU in the GPU's place.

The kernels, their launches and all maps between image and input are the real ones; only the engine's slots are
host memory here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edgepose.cuda.compile import SHIPPED_PTX
from edgepose.cuda.kernels import Kernels
from edgepose.cuda.pictures import GREY, Planes, TensorLayout
from edgepose.engines import EngineOptions, load_engine
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.crops import Crops
from edgepose.estimators.detector import Detector, Regions
from edgepose.estimators.device_feed import DeviceFeed, device_feed
from edgepose.estimators.runner import Runner
from edgepose.estimators.top_down import TopDown
from edgepose.geometry import Affine
from edgepose.io.planes import PlanarPixels
from edgepose.networks.manifest import InputSpec, Manifest
from edgepose.networks.topology import Topology
from edgepose.preprocess import fit, to_tensor
from edgepose.timing import Stopwatch
from edgepose.types import Frame
from tests.cuda.ptx_machine import RACES, PtxMachine, PtxRunner, machine_folder

DOTS = Topology("person", ("red", "green", "blue"), ((0, 1), (1, 2)))
ENGINE = EngineOptions(engine="onnxruntime", threads=1)
Make = Callable[..., Path]


def each_way(test: Any) -> Any:
    """With engines of an open and a fixed batch, with and without the flip test."""
    flips = pytest.mark.parametrize("flip", [False, True])
    return pytest.mark.parametrize("batch", ["batch", 4])(flips(test))


class Taking(PtxRunner):
    """The shipped PTX on the CPU, with the GPU runner's way to take a picture."""

    uploads = 0

    def picture(self, pixels: np.ndarray, form: Any, stream: Any = None) -> Planes:
        self.uploads += 1
        return Planes.packed(self.allow(pixels), form)

    def planes(self, picture: Planes, stream: Any = None) -> Planes:
        self.uploads += 1
        return replace(picture, planes=tuple(self.allow(p) for p in picture.planes))


@pytest.fixture(scope="module")
def kernels(pytestconfig: pytest.Config) -> Iterator[Kernels]:
    """Kernels as they ship; races and accesses outside of pictures and inputs are errors."""
    try:
        machine = PtxMachine(SHIPPED_PTX.read_text("ascii"), machine_folder(pytestconfig))
    except LookupError as e:
        pytest.skip(str(e))
    runner = Taking(machine, RACES)
    yield Kernels(runner)
    runner.close()


class HostSlots:
    """An engine with slots whose device is the host; buffers hold rubbish until they are filled."""

    def __init__(self, model: Path, rows: int, kernels: Any) -> None:
        self._engine = load_engine(model, ENGINE)
        self.name = "host slots"
        self.inputs, self.outputs = self._engine.inputs, self._engine.outputs
        self.max_batch = rows
        self.lanes = 1
        self.cuda = SimpleNamespace(wait=lambda stream: None, download=self._download)
        self.stream = SimpleNamespace(synchronize=lambda: None)
        shape = tuple(n if n > 0 else rows for n in self.inputs[0].shape)
        self._buffers = {self.inputs[0].name: np.full(shape, 7e7, np.float32)}
        kernels.runner.allow(self._buffers[self.inputs[0].name])
        self._results: dict[str, np.ndarray] = {}
        self.runs = 0

    @contextmanager
    def slot(self) -> Iterator[Any]:
        yield SimpleNamespace(
            stream=self.stream, inputs=self._buffers, run=self._run, host_result=self._result
        )

    def _run(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        self.runs += 1
        ((name, shape),) = shapes.items()
        feed = self._buffers[name].reshape(-1)[: int(np.prod(shape))].reshape(shape)
        feed = np.where(np.abs(feed) > 1e7, 0, feed)
        answers = self._engine.infer({name: feed})
        self._results = {k: np.empty((self.max_batch, *v.shape[1:])) for k, v in answers.items()}
        return answers

    def _result(self, name: str) -> np.ndarray:
        return self._results[name]

    @staticmethod
    def _download(device: np.ndarray, host: np.ndarray, stream: Any) -> None:
        host[...] = device

    def infer(self, feeds: Any) -> Any:
        raise AssertionError("the pictures went over the host")

    def close(self) -> None:
        self._engine.close()


def picture() -> np.ndarray:
    """Soft coloured dots in two boxes."""
    pixels = np.zeros((160, 200, 3), np.uint8)
    for x, y, channel in (
        *((30, 40, 0), (70, 44, 1), (50, 100, 2)),
        *((120, 50, 0), (160, 60, 1), (140, 104, 2)),
    ):
        cv2.circle(pixels, (x, y), 6, [255 * (c == channel) for c in range(3)], -1)
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 3))


def on_slots(runner: Runner, model: Path, rows: int, kernels: Any) -> HostSlots:
    """Put an engine with slots behind a runner."""
    slots = HostSlots(model, rows, kernels)
    fixed = max(slots.inputs[0].shape[0], 0)
    runner.device = DeviceFeed(slots, runner.spec, fixed, False, kernels)
    return slots


def test_planes_are_uploaded_as_they_come(kernels: Any, make_pose: Make) -> None:
    slots = HostSlots(make_pose("simcc"), 2, kernels)
    spec = InputSpec(name="x", width=48, height=64)
    feed = DeviceFeed(slots, spec, 0, False, kernels)
    grey = Planes.i420(
        *(np.full(s, v, np.uint8) for s, v in (((80, 100), 126), ((40, 50), 128), ((40, 50), 128)))
    )
    told: list[str] = []
    frame = Frame(PlanarPixels(grey, lambda: told.append("RGB was made") or picture()))
    kernels.runner.uploads = 0
    places = [Affine(0.48, 0.0, 0.0, 0.0, 0.8, 0.0)]
    feed.run(
        [frame.as_given, np.full((80, 100, 3), 128, np.uint8)], [0, 1], places * 2, Stopwatch()
    )
    assert (kernels.runner.uploads, told) == (2, [])
    (made,) = slots._buffers.values()
    assert np.abs(made[0] - made[1]).max() < 1 / 255
    for plane in grey.planes:
        kernels.runner.allow(plane)
    before = made[0].copy()
    there = PlanarPixels(grey, picture, owner=grey)  # those of a decoder on the GPU
    made[0] = 7e7
    feed.run([there], [0], places, Stopwatch())
    assert kernels.runner.uploads == 2
    np.testing.assert_array_equal(made[0], before)


@each_way
def test_the_same_poses_as_over_the_host(
    batch: int | str, flip: bool, kernels: Any, make_detector: Make, make_pose: Make
) -> None:
    boxes = make_detector([(8, 10, 44, 58, 0.9), (52, 12, 88, 60, 0.8), (1, 1, 99, 79, 0.7)])
    model = make_pose("simcc", batch)
    spec = InputSpec(width=100, height=80, scale=1, resize="stretch")
    detector = Manifest("boxes", "detector", input=spec, decoder={"type": "nms"})
    dots = Manifest(
        "dots",
        "top-down",
        input=InputSpec(width=48, height=64, mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.3)),
        decoder={"type": "simcc", "split": 1.0, "padding": 1.0},
    )
    options = EstimatorOptions(threshold=0, min_keypoints=1, flip_test=flip, batch=2)

    def estimator() -> TopDown:
        finder = Detector(load_engine(boxes, ENGINE), detector, options)
        return TopDown(finder, load_engine(model, ENGINE), dots, DOTS, options)

    frames = [Frame(picture()), Frame(np.ascontiguousarray(picture()[::2, ::2]))]
    plain = estimator().estimate(frames, Stopwatch())
    other = estimator()
    slots = on_slots(other._runner, model, 4 if batch == 4 else 2, kernels)
    on_slots(other.detector._runner, boxes, 8, kernels)
    kernels.runner.uploads = 0
    watch = Stopwatch()
    found = other.estimate(frames, watch)
    assert [len(p) for p in found] == [len(p) for p in plain] == [3, 3]
    for a, b in zip(plain, found, strict=True):
        for p, q in zip(a, b, strict=True):
            np.testing.assert_allclose(q.points, p.points, atol=2.1)  # neighbours of a blurred top
            assert np.abs(q.points[:, :2] - p.points[:, :2]).mean() < 0.7
    assert slots.runs == (2 if batch == 4 else 3) * (2 if flip else 1)
    assert set(watch.stages) == {"preprocess", "network", "postprocess"}


def test_a_picture_is_brought_to_the_gpu_once_for_all_its_people(
    kernels: Any, make_pose: Make
) -> None:
    model = make_pose("keypoints")
    slots = HostSlots(model, 40, kernels)
    spec = InputSpec(name="x", width=48, height=64)
    feed = DeviceFeed(slots, spec, 0, False, kernels)
    kernels.runner.uploads = 0
    places = [Affine(0.24, 0.0, 0.0, 0.0, 0.4, 0.0)] * 40
    answers = feed.run([picture(), picture()], [0] * 30 + [1] * 10, places, Stopwatch())
    assert kernels.runner.uploads == 2
    assert answers["keypoints"].shape == (40, 3, 2)


@each_way
def test_crops_are_masked_as_on_the_host(
    batch: int | str, flip: bool, kernels: Any, make_detector: Make, make_pose: Make
) -> None:
    boxes, model = make_detector([]), make_pose("simcc", batch)
    detector = Manifest("boxes", "detector", input=InputSpec(width=100, height=80))
    decoder = {"type": "simcc", "split": 1.0, "padding": 1.5, "mask": 0.05}
    dots = Manifest("dots", "top-down", input=InputSpec(width=48, height=64), decoder=decoder)
    options = EstimatorOptions(threshold=0, min_keypoints=1, flip_test=flip, batch=4)
    finder = Detector(load_engine(boxes, ENGINE), detector, options)
    estimator = TopDown(finder, load_engine(model, ENGINE), dots, DOTS, options)
    slots = on_slots(estimator._runner, model, 4, kernels)
    crops, rows = Crops(dots), np.array([[16.0, 20, 88, 116], [104, 24, 176, 120]])
    found = [Regions(rows, np.ones(2), np.zeros(2))]
    places = crops.places(found)
    windows = crops.windows(found, places)
    want = crops.feed([picture()], np.zeros(2, np.intp), places, windows)
    estimator.estimate_regions([Frame(picture())], found, Stopwatch())
    (made,) = slots._buffers.values()
    mirror = made[:2, :, :, ::-1] if flip else made[:2]
    assert np.abs(mirror - want).max() < 8 / 255  # OpenCV rounds positions
    grey = np.isclose(want, GREY / 255).all(axis=1)
    assert 0.2 < grey.mean() < 0.8
    if batch == 4:  # rows that nobody asked for repeat the last
        np.testing.assert_array_equal(made[2:], made[[1, 1]])


def test_letterbox_and_mirror_lie_where_the_host_puts_them(kernels: Any) -> None:
    pixels = picture()
    spec = InputSpec(width=160, height=160, scale=1, resize="letterbox", align="top-left", pad=114)
    where = fit(spec, 200, 160, "boxes")
    layout = TensorLayout.of(spec)
    expected = to_tensor([pixels], [where], spec)
    source = kernels.runner.picture(pixels, "rgb8")
    found = kernels.preprocess([source], [where.drawn], layout)
    assert np.abs(found - expected).max() < 3  # OpenCV rounds its weights
    turned = kernels.preprocess([source], [where.drawn.mirrored(spec.width)], layout)
    np.testing.assert_allclose(turned[..., ::-1], found, atol=1e-3)


def test_engines_without_slots_go_over_the_host(make_pose: Make) -> None:
    engine = load_engine(make_pose("simcc"), ENGINE)
    assert device_feed(engine, InputSpec(name="x"), 0) is None
