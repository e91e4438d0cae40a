"""Self-test of the engines: every one that loads answers as ONNX Runtime does in float32.

The network was made for it (tools/make_self_test.py): it finds discs of six colours, which the pictures have.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.doctor.proof import Proof, attempt
from edgepose.engines import Calibration, EngineOptions, infer_all, load_engine
from edgepose.engines.table import find_backend, probe
from edgepose.errors import UsageError
from edgepose.estimators.base import EstimatorOptions, engine_options
from edgepose.estimators.bottom_up import BottomUp
from edgepose.networks.manifest import InputSpec, Manifest
from edgepose.networks.resolve import Network
from edgepose.networks.topology import Topology
from edgepose.preprocess import fit, to_tensor
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
}
CHAIN = Topology("chain", tuple(COLOURS), tuple((i, i + 1) for i in range(len(COLOURS) - 1)))
NETWORK = Network(
    Manifest(
        "self-test",
        "bottom-up",
        input=InputSpec(name="input", resize="letterbox", multiple=32),
        outputs={"cmap": "cmap", "paf": "paf"},
        decoder={"type": "paf", "keypoint_threshold": 0.2, "link_threshold": 0.2},
    ),
    Path(__file__).with_name("self_test.onnx"),
    CHAIN,
)
CHAINS = 3  # in a picture
CALIBRATION_PICTURES = 32


@dataclass(frozen=True)
class Bounds:
    """How far an engine may be from the reference.

    Attributes:
        maps: largest absolute error of a confidence (0..1) or field (-1..1), anywhere.
        mean: the same on average.
        poses: median distance of keypoints, as a fraction of the diagonal of the person's box.
        found: the part of the reference's keypoints that must be found.
    """

    maps: float
    mean: float
    poses: float
    found: float

    def text(self) -> str:
        """For people."""
        return (
            f"maps at most {self.maps:g} ({self.mean:g} on average), keypoints {self.poses:.1%} of a "
            f"person, {self.found:.0%} of them found"
        )


# float32 allows for TF32, which GPUs use by themselves; "" is what the device prefers (bfloat16 on
# recent CPUs, float16 on GPUs)
BOUNDS = {
    "fp32": Bounds(0.02, 0.001, 0.005, 0.98),
    "fp16": Bounds(0.05, 0.003, 0.01, 0.95),
    "": Bounds(0.15, 0.01, 0.02, 0.95),
    "int8": Bounds(0.6, 0.04, 0.05, 0.8),
}
CONFIGURATIONS = (
    ("openvino", "fp32"),
    ("openvino", ""),
    ("onnxruntime-cuda", "fp32"),
    ("onnxruntime-tensorrt", "fp16"),
    ("tensorrt", "fp32"),
    ("tensorrt", "fp16"),
    ("tensorrt", "int8"),
    ("tensorrt_rtx", "fp32"),
    ("tensorrt_rtx", "fp16"),
)


def drawn(count: int, size: tuple[int, int] = (640, 480)) -> list[Frame]:
    """Frames on which chains of coloured discs hang and swing, always the same."""
    width, height = size
    frames = []
    for index in range(count):
        pixels = np.empty((height, width, 3), np.uint8)
        pixels[:] = np.linspace(90, 170, height)[:, None, None]
        for chain in range(CHAINS):
            _draw_chain(pixels, (chain + 0.5) / CHAINS, 0.1 * index + 1.7 * chain)
        frames.append(Frame(pixels, index))
    return frames


def _draw_chain(pixels: NDArray[np.uint8], column: float, phase: float) -> None:
    height, width = pixels.shape[:2]
    unit = height / 8
    x, y = column * width, unit
    for link, colour in enumerate(COLOURS.values()):
        cv2.circle(pixels, (round(x), round(y)), round(unit / 3), colour, -1, cv2.LINE_AA)
        turn = 0.5 * math.sin(phase + link)
        x, y = x + unit * math.sin(turn), y + unit * math.cos(turn)


@dataclass(frozen=True)
class Answer:
    """What an engine says to some frames: its outputs by name, stacked, and the poses."""

    engine: str
    maps: dict[str, NDArray[np.float32]]
    poses: list[tuple[Pose, ...]]


def ask(network: Network, options: EngineOptions, frames: Sequence[Frame]) -> Answer:
    """Load an engine, run the frames one by one, close it."""
    assert network.topology is not None
    asked = EstimatorOptions(engine=options)
    engine = load_engine(network.model, engine_options(network, asked))  # as posenet would
    estimator = BottomUp(engine, network.manifest, network.topology, asked)
    try:
        name = engine.inputs[0].name
        outputs = [infer_all(engine, {name: tensor}) for tensor in tensors(network, frames)]
        poses = estimator.estimate(frames, Stopwatch())
    finally:
        estimator.close()
    maps = {key: np.concatenate([o[key] for o in outputs]) for key in outputs[0]}
    return Answer(engine.name, maps, poses)


def tensors(network: Network, frames: Sequence[Frame]) -> Iterator[NDArray[np.float32]]:
    """The frames as inputs of the network, (1, 3, H, W) each."""
    spec = network.manifest.input
    for frame in frames:
        yield to_tensor([frame.pixels], [fit(spec, frame.width, frame.height)], spec)


def prove(network: Network, frames: Sequence[Frame]) -> Iterator[Proof]:
    """The reference first, then every engine and precision of the table."""
    reference: list[Answer] = []

    def first() -> Proof:
        options = EngineOptions(engine="onnxruntime", precision="fp32")
        answer = ask(network, options, frames)
        reference.append(answer)
        people = sum(map(len, answer.poses))
        return Proof(
            "reference, onnxruntime fp32",
            "ok" if people else "fail",
            f"{people} poses in {len(frames)} drawn pictures",
            "poses are found",
            {"poses": people},
        )

    yield attempt("reference, onnxruntime fp32", first)
    if not reference:
        return
    for engine, precision in CONFIGURATIONS:
        name = f"{engine} {precision or 'as it prefers'}"
        options = _options(network, engine, precision)
        compare = partial(_compared, name, network, options, frames, reference[0])
        yield attempt(name, compare)


def _options(
    network: Network,
    engine: str,
    precision: str,
) -> EngineOptions:
    """Options of one line; the plan goes into the usual cache, so that it is built once."""
    calibration = _calibration(network) if precision == "int8" else None
    return EngineOptions(engine=engine, precision=precision, calibration=calibration)


def _calibration(network: Network) -> Calibration:
    """Drawn pictures, which are what this self-test then asks about."""
    name = network.manifest.input.name

    def batches() -> Iterator[dict[str, NDArray[Any]]]:
        for tensor in tensors(network, drawn(CALIBRATION_PICTURES)):
            yield {name: tensor}

    key = f"self-test {CALIBRATION_PICTURES} {network.manifest.input!r}"
    return Calibration(hashlib.sha256(key.encode()).hexdigest(), batches, CALIBRATION_PICTURES)


def _compared(
    name: str, network: Network, options: EngineOptions, frames: Sequence[Frame], reference: Answer
) -> Proof:
    reason = probe(find_backend(options.engine), options)
    if reason:
        return Proof(name, "absent", reason.text)
    try:
        answer = ask(network, options, frames)
    except UsageError as e:  # this version of the library has no such precision
        return Proof(name, "absent", str(e))
    figures = differences(answer, reference)
    bounds = BOUNDS[options.precision]
    inside = (
        figures["maps"] <= bounds.maps
        and figures["mean"] <= bounds.mean
        and figures["poses"] <= bounds.poses
        and figures["found"] >= bounds.found
    )
    found = (
        f"{answer.engine}: maps off by {figures['maps']:.2g} ({figures['mean']:.2g} on average), "
        f"keypoints by {figures['poses']:.2%} of a person, {figures['found']:.0%} found"
    )
    return Proof(name, "ok" if inside else "fail", found, bounds.text(), figures)


def differences(answer: Answer, reference: Answer) -> dict[str, float]:
    """The figures of `Bounds`; infinite errors where outputs have other shapes."""
    worst, mean = 0.0, 0.0
    for key, want in reference.maps.items():
        got = answer.maps.get(key)
        if got is None or got.shape != want.shape:
            worst = mean = float("inf")
            break
        error = np.abs(got - want)
        worst, mean = max(worst, float(error.max())), max(mean, float(error.mean()))
    distances: list[float] = []
    wanted = 0
    for found, expected in zip(answer.poses, reference.poses, strict=True):
        for person in expected:
            wanted += len(person)
            distances += _distances(found, person)
    return {
        "maps": worst,
        "mean": mean,
        "poses": float(np.median(distances)) if distances else float("inf"),
        "found": len(distances) / max(wanted, 1),
    }


def _distances(found: Sequence[Pose], person: Pose) -> list[float]:
    """Distances of a person's keypoints in the nearest pose that was found, where both have them."""
    left, top, right, bottom = person.box
    size = max(1.0, float(np.hypot(right - left, bottom - top)))
    candidates = [
        [
            float(np.hypot(pose[k].x - person[k].x, pose[k].y - person[k].y)) / size
            for k in person
            if k in pose
        ]
        for pose in found
    ]
    near = [c for c in candidates if c and float(np.median(c)) < 0.25]
    return min(near, key=lambda c: (-len(c), float(np.median(c))), default=[])
