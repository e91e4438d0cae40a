"""Bottom-up networks as users bring them: the right pose, or one error that names what decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.decode.bottom_up_numpy import Decoded
from edgepose.engines import EngineOptions, load_engine
from edgepose.errors import EngineError, NetworkFileError
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.estimators.bottom_up import boxes_of, unequal
from edgepose.networks.resolve import resolve
from edgepose.networks.topology import load_topology
from edgepose.preprocess import fit
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose
from tests.estimators import spots

CPUS = ["onnxruntime", "openvino"]
BACKWARDS = (("paf", "vectors", 1.0), ("cmap", "heat", 1.0))
STAGES = (
    *(("cmap", "stage_0_heat", 0.3), ("paf", "stage_0_vectors", 0.3)),
    *(("cmap", "stage_1_heat", 0.99), ("paf", "stage_1_vectors", 0.99)),
)
LAST_STAGE = {"output_cmap": "stage_1_heat", "output_paf": "stage_1_vectors"}


def found(
    folder: Path,
    frames: int = 1,
    engine: str = "onnxruntime",
    names: dict[str, str] | None = None,
    more: dict[str, Any] | None = None,
    **options: Any,
) -> list[tuple[Pose, ...]]:
    """What `posenet --model X --topology T` finds."""
    if engine == "openvino":
        pytest.importorskip("openvino")
    model = spots.model(folder / "spots.onnx", **options)
    network = resolve(model=model, topology=spots.topology(folder), **(names or {}))
    asked = EstimatorOptions(engine=EngineOptions(engine=engine, threads=1), **(more or {}))
    estimator = make_estimator(network, asked)
    try:
        return estimator.estimate([Frame(spots.picture())] * frames, Stopwatch())
    finally:
        estimator.close()


@pytest.mark.parametrize(
    ("kind", "outputs"), [("UINT8", 2), ("INT32", 2), ("INT64", 1), ("INT8", 1)]
)
def test_maps_of_whole_numbers_are_refused(kind: str, outputs: int, tmp_path: Path) -> None:
    """As of networks quantised for other chips: what a step of theirs is worth stands nowhere."""
    onnx = pytest.importorskip("onnx")
    path = spots.model(tmp_path / "spots.onnx")
    whole = onnx.load(path)
    to = onnx.TensorProto.DataType.Value(kind)
    for output in whole.graph.output[:outputs]:
        for node in whole.graph.node:
            node.output[:] = [n + "_" * (n == output.name) for n in node.output]
        cast = onnx.helper.make_node("Cast", [output.name + "_"], [output.name], to=to)
        whole.graph.node.append(cast)
        output.type.tensor_type.elem_type = to
    onnx.save(whole, path)
    with pytest.raises(NetworkFileError, match=f"answers in {kind.lower()}: it is quantised"):
        make_estimator(resolve(model=path, topology=spots.topology(tmp_path)), EstimatorOptions())


def assert_spots(poses: tuple[Pose, ...]) -> None:
    (pose,) = poses
    for name, x in zip(("red", "green", "blue"), spots.COLUMNS, strict=True):
        assert (pose[name].x, pose[name].y) == pytest.approx((x, 64), abs=1.0)
        assert pose[name].score == pytest.approx(1, abs=0.02)
    assert len(pose.links) == 2


@pytest.mark.parametrize("engine", CPUS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "FLOAT16"},
        {"batch": "n"},
        {"nhwc": True},
        {"dtype": "UINT8", "raw": True},
        {"dtype": "UINT8", "raw": True, "nhwc": True},
        {"dtype": "INT32", "raw": True},
        {"outputs": BACKWARDS},
        {"outputs": STAGES},
        {"background": True, "outputs": STAGES, "names": LAST_STAGE},
    ],
    ids=lambda o: "-".join(o) or "plain",
)
def test_every_export_finds_the_spots_once(
    options: dict[str, Any], engine: str, tmp_path: Path
) -> None:
    assert_spots(found(tmp_path, engine=engine, **options)[0])


@pytest.mark.parametrize("batch", [2, 3])
@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_fixed_batches_take_any_number_of_pictures(batch: int, frames: int, tmp_path: Path) -> None:
    for poses in found(tmp_path, frames, batch=batch):
        assert_spots(poses)


@pytest.mark.parametrize("outputs", [BACKWARDS, BACKWARDS[::-1]])
def test_outputs_that_could_be_either_are_refused_with_the_options_that_decide(
    outputs: Any, tmp_path: Path
) -> None:
    """Three keypoints with a background have as many channels as two links."""
    with pytest.raises(NetworkFileError, match="--output-cmap NAME and --output-paf NAME"):
        found(tmp_path, background=True, outputs=outputs)
    names = {"output_cmap": "heat", "output_paf": "vectors"}
    assert_spots(found(tmp_path, background=True, outputs=outputs, names=names)[0])


def test_several_maps_without_a_stage_in_their_names_are_refused(tmp_path: Path) -> None:
    outputs = [(role, name.replace("stage", "out"), gain) for role, name, gain in STAGES]
    with pytest.raises(NetworkFileError, match="more than one pair"):
        found(tmp_path, outputs=outputs)


def test_a_network_of_another_family_gets_the_hint_at_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(NetworkFileError, match=r"YOLO-pose.*needs a manifest"):
        found(tmp_path, outputs=[("cmap", "heat", 1.0)])


@pytest.mark.parametrize("dtype", ["UINT8", "INT8", "INT32"])
def test_a_manifest_that_contradicts_an_integer_input_is_an_error(
    dtype: str, tmp_path: Path
) -> None:
    network = spots.network(tmp_path / "spots.onnx", dtype=dtype, raw=True)
    options = EstimatorOptions(engine=EngineOptions(engine="onnxruntime", threads=1))
    with pytest.raises(NetworkFileError, match='"scale": 1, "mean": '):
        make_estimator(network, options)


@pytest.mark.parametrize("engine", CPUS)
@pytest.mark.parametrize("bad", [0.5, -1.0, 256.0])
def test_engines_refuse_values_that_are_no_bytes(engine: str, bad: float, tmp_path: Path) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    model = spots.model(tmp_path / "spots.onnx", dtype="UINT8", raw=True)
    loaded = load_engine(model, EngineOptions(engine=engine, threads=1))
    pixels = np.zeros((1, 3, spots.SIZE, spots.SIZE), np.float32)
    loaded.infer({"image": pixels + 255})
    pixels[0, 0, 0, 0] = bad
    with pytest.raises(EngineError, match=r"takes whole numbers \(uint8, 0 to 255\)"):
        loaded.infer({"image": pixels})
    loaded.close()


def test_a_topology_of_two_keypoints_needs_no_third(tmp_path: Path) -> None:
    two = {"name": "two", "keypoints": ["red", "green"], "skeleton": [[1, 2]]}
    poses = two_of_three(tmp_path, two, paf="first two of vectors")
    assert [len(p) for p in poses] == [2]


def test_a_topology_without_links_gives_single_keypoints(tmp_path: Path) -> None:
    none = {"name": "none", "keypoints": ["red", "green", "blue"], "skeleton": []}
    poses = two_of_three(tmp_path, none)
    assert [list(p) for p in poses] == [["red"], ["green"], ["blue"]]


def test_a_keypoint_in_the_padding_of_a_letterbox_is_missing(tmp_path: Path) -> None:
    """The network answers the same whatever it sees: of a wide picture the middle row alone is real."""
    network = spots.network(tmp_path / "spots.onnx")
    network = replace(network, manifest=network.manifest.with_input(resize="letterbox"))
    options = EstimatorOptions(
        engine=EngineOptions(engine="onnxruntime", threads=1), min_keypoints=1
    )
    estimator = make_estimator(network, options)
    spec = network.manifest.input
    place = fit(spec, 128, 32)  # rows 48 to 80 of the input
    points = np.zeros((1, 3, 3), np.float32)
    points[0] = [(0.25, 0.5, 0.9), (0.5, 0.45, 0.8), (0.75, 0.9, 0.7)]  # the last is in the padding
    links = np.full((1, 2), 0.5, np.float32)
    (pose,) = estimator.poses(Decoded(points, links), place, 128, 32)  # type: ignore[attr-defined]
    assert list(pose) == ["red", "green"]
    assert [(link.a, link.b) for link in pose.links] == [(0, 1)]
    estimator.close()


@given(
    st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500)), min_size=1, max_size=6),
    st.integers(1, 4),
)
def test_poses_at_the_same_place_are_one(xy: list[tuple[float, float]], copies: int) -> None:
    points = np.concatenate([np.array(xy), np.ones((len(xy), 1))], axis=1).astype(np.float32)
    far = points + np.float32([30, 0, 0])
    both = np.stack([*[points + np.float32([0.5 * i, 0, 0]) for i in range(copies)], far])
    scores = np.arange(len(both), 0, -1) / 10
    boxes = boxes_of(both)
    kept = unequal(both, boxes, scores, near=4.0)
    assert np.flatnonzero(kept).tolist() == [0, copies]
    kept = unequal(both, boxes, scores[::-1], near=4.0)
    assert np.flatnonzero(kept).tolist() == [copies - 1, copies]


def two_of_three(folder: Path, data: dict[str, Any], paf: str = "") -> tuple[Pose, ...]:
    network = spots.network(folder / "spots.onnx")
    topology = load_topology(spots.topology(folder, data))
    ends = {"cmap_channels": [0, len(topology.keypoints)], "paf_channels": [0, 2]}
    manifest = replace(network.manifest, decoder={"type": "paf", **(ends if paf else {})})
    options = EstimatorOptions(engine=EngineOptions(engine="onnxruntime", threads=1))
    estimator = make_estimator(replace(network, manifest=manifest, topology=topology), options)
    (poses,) = estimator.estimate([Frame(spots.picture())], Stopwatch())
    estimator.close()
    return poses
