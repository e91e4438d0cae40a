"""`edgepose doctor --self-test`: it passes here, and it fails where something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.decode.bottom_up_numpy import BottomUpParams, decode_numpy
from edgepose.doctor import proof_engines, proof_kernels, selftest
from edgepose.doctor.checks import Check
from edgepose.doctor.proof import Proof, attempt
from edgepose.engines.table import NAMES
from edgepose.errors import BackendUnavailable, UsageError
from tests.cuda.stand_in import StandIn


def command(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgepose", "doctor", "--offline", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=280,
    )


# TensorRT for RTX would build its plan on the stand-in's GPU, but has no CUDA runtime to load it with.
WITHOUT_RTX = """
import runpy, sys
sys.modules["tensorrt_rtx"] = None
runpy.run_module("edgepose", run_name="__main__")
"""


@pytest.fixture(scope="module")
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], Any]:
    """The command, on the stand-in for a GPU's driver where one can be made."""
    report = tmp_path_factory.mktemp("report") / "report.json"
    words = ["doctor", "--offline", "--self-test", "--quick", "--report", str(report)]
    try:
        stand_in: StandIn = request.getfixturevalue("stand_in")
        done = stand_in.run(["-c", WITHOUT_RTX, *words], COLUMNS="200")
    except pytest.skip.Exception:
        done = command(*words[2:])
    return done, json.loads(report.read_text())


def test_everything_that_runs_here_is_as_it_should_be(
    made: tuple[subprocess.CompletedProcess[str], Any],
) -> None:
    done, data = made
    by_name = {row["name"]: row for row in data["self_test"]}
    failed = [row for row in by_name.values() if row["state"] == "fail"]
    assert not failed
    assert by_name["reference, onnxruntime fp32"]["figures"]["poses"] > 0
    assert by_name["memory"]["state"] == "ok"
    assert by_name["memory"]["figures"]["frames"] == selftest.QUICK_FRAMES
    for row in by_name.values():
        assert row["found"]
        assert f"{row['name']:<28}" in done.stdout
    assert "as it should be" in done.stdout
    assert "report.json" in done.stderr


def test_every_engine_has_its_line(made: tuple[subprocess.CompletedProcess[str], Any]) -> None:
    names = " ".join(row["name"] for row in made[1]["self_test"])
    for engine in set(NAMES) - {"auto"}:
        assert engine in names
    for precision in ("fp32", "fp16", "int8"):
        assert f"tensorrt {precision}" in names
    assert "jetson-utils" in names


def test_the_report_names_versions_and_not_the_user(
    made: tuple[subprocess.CompletedProcess[str], Any],
) -> None:
    data = made[1]
    assert data["packages"]["numpy"] == np.__version__
    assert sum(data["summary"].values()) == len(data["self_test"])
    assert {row["name"] for row in data["checks"]} >= {"edgepose", "ONNX Runtime"}
    row = Check("folder", "ok", str(Path.home() / "networks"))
    text = selftest.text_of(selftest.report([row], [Proof("x", "fail", "", figures={"a": np.inf})]))
    assert json.loads(text)["self_test"][0]["figures"] == {"a": None}
    assert "~/networks" in text
    assert str(Path.home()) not in text


def test_options_that_need_the_self_test(tmp_path: Path) -> None:
    assert command("--quick").returncode == 2
    gone = command("--self-test", "--report", str(tmp_path / "none" / "report.json"))
    assert gone.returncode == 1
    assert "Cannot write" in gone.stderr
    assert "self-test" not in gone.stdout


# what is wrong is seen ----------------------------------------------------------------------------
class Wrong(proof_kernels.OnHost):
    """Kernels whose results come back with one value changed."""

    def get(self, array: Any) -> Any:
        copy = array.copy()
        copy.reshape(-1)[copy.size // 2] += np.array(7).astype(copy.dtype)
        return copy


def test_a_wrong_kernel_is_seen() -> None:
    good = list(proof_kernels._on_place("host", proof_kernels.OnHost))
    if good[0].state == "absent":
        pytest.skip(f"no host kernels: {good[0].found}")
    assert [p.state for p in good] == ["ok"] * 4
    assert all(p.figures and not any(p.figures.values()) for p in good)
    bad = list(proof_kernels._on_place("wrong", Wrong))
    assert [p.state for p in bad[:2]] == ["fail"] * 2
    assert "off by" in bad[0].found


def test_kernels_are_proven_on_a_gpu(
    stand_in: StandIn,
    made: tuple[subprocess.CompletedProcess[str], Any],
) -> None:
    """On the stand-in for a driver, which executes the shipped PTX."""
    on_gpu = [row for row in made[1]["self_test"] if row["name"].endswith("kernel, GPU")]
    assert [row["state"] for row in on_gpu] == ["ok"] * 4
    assert all("equals its twin (Fake, shipped PTX)" in row["found"] for row in on_gpu)
    memory = next(row for row in made[1]["self_test"] if row["name"] == "memory")
    assert memory["figures"]["gpu_growth_mb"] == 0


def test_the_scenes_have_people_in_them() -> None:
    people = [
        len(decode_numpy(cmap, paf, topology.table, BottomUpParams()).keypoints)
        for topology, cmap, paf in proof_kernels._scenes()
    ]
    assert people[0] == 0
    assert people[1] >= 1
    assert people[2] >= 3


def test_differences_are_infinite_where_shapes_or_nan_differ() -> None:
    a = np.array([1.0, np.nan])
    assert proof_kernels._largest(a, a) == 0
    assert proof_kernels._largest(a, a[:1]) == np.inf
    assert proof_kernels._largest(np.array([1.0, 2.0]), a) == np.inf


def test_an_engine_that_answers_wrongly_is_seen() -> None:
    network = proof_engines.NETWORK
    frames = proof_engines.drawn(1)
    options = proof_engines.EngineOptions(engine="onnxruntime", precision="fp32")
    reference = proof_engines.ask(network, options, frames)
    same = proof_engines._compared("same", network, options, frames, reference)
    assert same.state == "ok"
    assert same.figures == {"maps": 0, "mean": 0, "poses": 0, "found": 1}
    shifted = {key: np.roll(value, 2, axis=-1) for key, value in reference.maps.items()}
    moved = proof_engines.Answer("x", shifted, [()])
    far = proof_engines.differences(moved, reference)
    assert far["maps"] > 0.1
    assert far["found"] == 0
    assert far["poses"] == np.inf
    wrong = proof_engines.Answer("x", shifted, reference.poses)
    assert proof_engines._compared("wrong", network, options, frames, wrong).state == "fail"


def test_a_backend_that_is_not_here_is_no_failure() -> None:
    def missing() -> Proof:
        raise BackendUnavailable("no GPU")

    def broken() -> Proof:
        raise UsageError("wrong")

    def defect() -> Proof:
        raise ZeroDivisionError

    states = [attempt("x", f).state for f in (missing, broken, defect)]
    assert states == ["absent", "fail", "fail"]


def test_every_disc_is_found_where_it_was_drawn() -> None:
    frames = proof_engines.drawn(4)
    options = proof_engines.EngineOptions(engine="onnxruntime", precision="fp32")
    for poses, frame in zip(
        proof_engines.ask(proof_engines.NETWORK, options, frames).poses, frames, strict=True
    ):
        assert [len(pose) for pose in poses] == [6] * proof_engines.CHAINS
        for keypoint in (k for pose in poses for k in pose.keypoints):
            colour = frame.pixels[round(keypoint.y), round(keypoint.x)]
            assert tuple(colour) == proof_engines.COLOURS[keypoint.name]


def test_its_network_is_what_the_tool_makes() -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    from tools.make_self_test import model

    made = model().SerializeToString(deterministic=True)
    assert proof_engines.NETWORK.model.read_bytes() == made
    assert len(made) < 200_000


def test_calibration_pictures_are_network_inputs() -> None:
    network = proof_engines.NETWORK
    calibration = proof_engines._calibration(network)
    feeds = list(calibration.batches())
    assert len(feeds) == calibration.count
    spec = network.manifest.input
    assert feeds[0][spec.name].shape == (1, 3, spec.height, spec.width)
    assert not np.array_equal(feeds[0][spec.name], feeds[-1][spec.name])


@pytest.mark.parametrize(
    ("leak", "least", "most"), [(0.0, -0.5, 0.5), (0.1, 50, 90)], ids=["flat", "leak"]
)
def test_growth(leak: float, least: float, most: float) -> None:
    rng = np.random.default_rng(0)
    values = [200 + 30 * min(i, 50) / 50 + leak * i + rng.normal(0, 0.2) for i in range(1000)]
    assert least <= selftest.growth(values) <= most
