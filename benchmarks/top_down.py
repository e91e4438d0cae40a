"""Top-down pre- and postprocessing against rtmlib's, on the same random networks.

    pip install rtmlib onnx
    python benchmarks/top_down.py [--rounds 40] [--people 1,5,15] [--store]

Both read the same two ONNX files: a detector that answers as YOLOX (640 x 640, 8400 rows) and a pose network that
answers as RTMPose (256 x 192, SimCC), with random weights but a known number of people. Both run on ONNX Runtime; the
time inside its sessions is taken out, what is left is each library's own: letterbox, decoding, suppression, crops,
normalisation, keypoints. The runs alternate, so that a busy machine slows both; medians are compared, and the keypoints
must agree.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import machine, store
from onnx import TensorProto, helper, numpy_helper

from edgepose.engines import EngineOptions, load_engine
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.detector import Detector
from edgepose.estimators.top_down import TopDown
from edgepose.networks import registry
from edgepose.networks.manifest import InputSpec, Manifest
from edgepose.networks.topology import load_topology
from edgepose.timing import Stopwatch
from edgepose.types import Frame

WIDTH, HEIGHT = 1280, 720
STRIDES = (8, 16, 32)


def save(nodes: list[Any], parts: dict[str, Any], inputs: Any, outputs: Any, path: Path) -> Path:
    """Write an ONNX file."""
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in parts.items()]
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def detector_file(people: int, folder: Path, rng: np.random.Generator) -> Path:
    """YOLOX's answer: random rows below the threshold, and three rows around each of the people."""
    cells = [(x, y, s) for s in STRIDES for y in range(640 // s) for x in range(640 // s)]
    table = rng.normal(0, 0.3, (len(cells), 85)).astype(np.float32)
    table[:, 4:] = rng.uniform(0, 0.3, (len(cells), 81))
    first = len(cells) - 20 * 20  # of the coarsest grid; the picture fills its upper 11 rows
    slots = [first + 20 * y + x for y in (2, 5, 8) for x in (2, 5, 8, 11, 14, 17)]
    for row in rng.choice(slots, people, replace=False):
        for near in (row, row + 1, row - 1):
            shift = row - near + rng.normal(0, 0.05)
            table[near, :4] = [shift, 0, np.log(2.0), np.log(3.5)]
            table[near, 4:6] = rng.uniform(0.9, 1, 2)
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "tiny"], ["little"]),
        helper.make_node("Reshape", ["little", "row"], ["shift"]),
        helper.make_node("Add", ["shift", "table"], ["output"]),
    ]
    parts = {"tiny": np.float32(1e-9), "row": np.array([-1, 1, 1]), "table": table[None]}
    f = TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("input", f, ["n", 3, 640, 640])]
    outputs = [helper.make_tensor_value_info("output", f, ["n", len(cells), 85])]
    return save(nodes, parts, inputs, outputs, folder / f"detector{people}.onnx")


def pose_file(folder: Path, rng: np.random.Generator) -> Path:
    """RTMPose's answer: random linear maps of a small version of the crop."""
    nodes = [
        helper.make_node(
            "AveragePool", ["input"], ["small"], kernel_shape=[16, 16], strides=[16, 16]
        ),
        helper.make_node("Flatten", ["small"], ["flat"]),
    ]
    parts: dict[str, Any] = {}
    for axis, bins in (("x", 384), ("y", 512)):
        parts[f"w{axis}"] = rng.normal(0, 0.02, (576, 17 * bins)).astype(np.float32)
        parts[f"s{axis}"] = np.array([-1, 17, bins])
        nodes += [
            helper.make_node("MatMul", ["flat", f"w{axis}"], [f"m{axis}"]),
            helper.make_node("Reshape", [f"m{axis}", f"s{axis}"], [f"simcc_{axis}"]),
        ]
    f = TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("input", f, ["n", 3, 256, 192])]
    outputs = [
        helper.make_tensor_value_info("simcc_x", f, ["n", 17, 384]),
        helper.make_tensor_value_info("simcc_y", f, ["n", 17, 512]),
    ]
    return save(nodes, parts, inputs, outputs, folder / "pose.onnx")


class TimedSession:
    """An ONNX Runtime session that counts the time spent in `run`."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, *args: Any, **more: Any) -> Any:
        """As the session's."""
        start = time.perf_counter()
        try:
            return self._session.run(*args, **more)
        finally:
            self.seconds += time.perf_counter() - start


Run = Callable[[], Any]


def ours(detector: Path, pose: Path, pixels: np.ndarray, threads: int) -> tuple[Run, list[Any]]:
    """A call of edgepose, and its two timed sessions."""
    options = EngineOptions(engine="onnxruntime", threads=threads)
    boxes = registry.find("yolox-m")
    # rtmlib gives the pose network the picture as OpenCV reads it
    manifest = registry.find("rtmpose-m").with_input(color="bgr")
    engines = [load_engine(path, options) for path in (detector, pose)]
    timed = []
    for engine in engines:
        engine._session = TimedSession(engine._session)  # type: ignore[attr-defined]
        timed.append(engine._session)  # type: ignore[attr-defined]
    settings = EstimatorOptions(box_threshold=0.7, threshold=0.0, batch=16)
    own = Manifest(
        boxes.name, "detector", input=_sized(boxes.input, 640, 640), decoder=boxes.decoder
    )
    estimator = TopDown(
        Detector(engines[0], own, settings),
        engines[1],
        manifest,
        load_topology("coco_17"),
        settings,
    )
    frame = Frame(pixels)
    return lambda: estimator.estimate([frame], Stopwatch())[0], timed


def _sized(spec: InputSpec, width: int, height: int) -> InputSpec:
    return (
        Manifest("x", "detector", input=spec).with_input(width=width, height=height, name="").input
    )


def theirs(detector: Path, pose: Path, bgr: np.ndarray, threads: int) -> tuple[Run, list[Any]]:
    """A call of rtmlib, and its two timed sessions."""
    import onnxruntime
    from rtmlib import YOLOX, RTMPose

    boxes = YOLOX(str(detector), (640, 640), score_thr=0.7, backend="onnxruntime")
    people = RTMPose(str(pose), (192, 256), backend="onnxruntime")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for tool, path in ((boxes, detector), (people, pose)):
        session = onnxruntime.InferenceSession(str(path), settings)
        tool.session = TimedSession(session)
    return lambda: people(bgr, boxes(bgr)), [boxes.session, people.session]


def once(call: Run, sessions: list[Any]) -> tuple[float, float]:
    """Milliseconds outside and inside the networks."""
    for session in sessions:
        session.seconds = 0.0
    start = time.perf_counter()
    call()
    total = time.perf_counter() - start
    inside = sum(session.seconds for session in sessions)
    return (total - inside) * 1e3, inside * 1e3


def agreement(mine: Any, other: Any) -> float:
    """Share of keypoints within a hundredth of a pixel, of those that rtmlib has inside the picture.

    With random weights two bins are sometimes equally high but for rounding; then either may win.
    """
    points, scores = other
    found = np.stack([p.points[:, :2] for p in mine])
    order = [int(np.abs(points - f).sum(axis=(1, 2)).argmin()) for f in np.nan_to_num(found)]
    assert sorted(order) == list(range(len(points))), "not the same people"
    points, scores = points[order], scores[order]
    inside = (points >= 0).all(-1) & (points <= (WIDTH, HEIGHT)).all(-1) & (scores > 0)
    return float((np.abs(found - points).max(-1)[inside] < 0.01).mean())


def main() -> None:
    """Measure, compare, print and perhaps store."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--people", default="1,5,15")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--store", action="store_true", help="write benchmarks/results")
    arguments = parser.parse_args()
    conditions = machine()
    conditions["versions"]["rtmlib"] = metadata.version("rtmlib")
    figures: dict[str, Any] = {}
    rng = np.random.default_rng(20261121)
    pixels = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    pixels = np.ascontiguousarray(pixels.repeat(8, 0).repeat(8, 1))
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    with tempfile.TemporaryDirectory() as name:
        pose = pose_file(Path(name), rng)
        for people in (int(n) for n in arguments.people.split(",")):
            detector = detector_file(people, Path(name), rng)
            a, a_sessions = ours(detector, pose, pixels, arguments.threads)
            b, b_sessions = theirs(detector, pose, bgr, arguments.threads)
            found = a()
            equal = agreement(found, b())
            rows = [(once(a, a_sessions), once(b, b_sessions)) for _ in range(arguments.rounds)]
            mine = statistics.median(r[0][0] for r in rows)
            other = statistics.median(r[1][0] for r in rows)
            figures[f"{people} people"] = {
                "found": len(found),
                "edgepose_ms": round(mine, 3),
                "rtmlib_ms": round(other, 3),
                "ratio": round(mine / other, 3),
                "edgepose_network_ms": round(statistics.median(r[0][1] for r in rows), 3),
                "rtmlib_network_ms": round(statistics.median(r[1][1] for r in rows), 3),
                "equal_keypoints": round(equal, 4),
            }
    if arguments.store:
        store("top_down", figures, conditions)
    else:
        for people_, row in figures.items():
            print(people_, row)


if __name__ == "__main__":
    main()
