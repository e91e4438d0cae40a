"""MoveNet on a GPU equals MoveNet on the CPU: real pictures, the real network, real maps.

As in test_bottom_up_device.py, only the network runs elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edgepose.decode.one_stage import decode_people
from edgepose.errors import EngineError
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.one_stage import OneStage
from edgepose.networks.resolve import resolve
from edgepose.preprocess import fit
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose
from tests.cuda.stand_in import StandIn, all_passed
from tests.estimators.test_bottom_up_device import (
    ROOT,
    CpuNetwork,
    Maps,
    assert_same,
    frames,
    gpu,
    half,
)

__all__ = ["frames", "gpu"]  # fixtures
MODEL = ROOT / "data/networks/movenet-multipose.onnx"
SIDE = 192
ANYBODY = {
    "box_threshold": 0.02,
    "threshold": 0.02,
    "min_score": 0.0,
}  # scores hang on the CPU a little


class CpuMoveNet(CpuNetwork):
    """MoveNet by ONNX Runtime in the place of a GPU engine."""

    def __init__(self, rows: int = 1, fixed: bool = False, **options: Any) -> None:
        super().__init__(rows, fixed, model=MODEL, side=SIDE, **options)


def estimator(engine: Any, **options: Any) -> OneStage:
    network = resolve("movenet-multipose", model=MODEL)
    assert network.topology is not None
    return OneStage(engine, network.manifest, network.topology, EstimatorOptions(**options))


def wanted(on: OneStage, answers: Sequence[Maps], shown: Sequence[Frame]) -> list[Any]:
    """The poses that the decoder on the CPU finds in what the network answered."""
    people = [found for maps in answers for found in decode_people(maps, on._params)]
    places = [fit(on.manifest.input, f.width, f.height, "boxes") for f in shown]
    rows = zip(people[: len(shown)], places, shown, strict=True)
    return [on._poses(found, place, frame, on._limits) for found, place, frame in rows]


def assert_near(found: Sequence[tuple[Pose, ...]], expected: Sequence[tuple[Pose, ...]]) -> None:
    """The same but for the order of the sum that is a pose's score."""
    assert [len(p) for p in found] == [len(p) for p in expected]
    for mine, theirs in zip(found, expected, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a.points, b.points)
            assert (a.id, a.box) == (b.id, b.box)
            assert a.score == pytest.approx(b.score, rel=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize(("rows", "fixed"), [(1, True), (3, True), (3, False)])
def test_the_same_poses_as_decoded_on_the_cpu(
    gpu: Any, frames: list[Frame], rows: int, fixed: bool
) -> None:
    engine = CpuMoveNet(rows, fixed)
    on = estimator(engine, batch=rows, **ANYBODY)
    assert on.device is not None
    assert on.ahead == 1
    watch = Stopwatch()
    found = on.estimate(frames, watch)
    assert set(watch.stages) == {"preprocess", "network", "postprocess"}
    filled = [len(frames[i : i + rows]) for i in range(0, len(frames), rows)]
    answers = [
        {name: maps[:n] for name, maps in answer.items()}
        for answer, n in zip(engine.answers, filled, strict=True)
    ]
    assert_near(found, wanted(on, answers, frames))
    assert sum(map(len, found)) >= 3
    finishers = [on.begin([frame], Stopwatch()) for frame in frames]
    assert_same([finish()[0] for finish in finishers], found)
    on.close()


@pytest.mark.gpu
def test_maps_that_the_kernels_do_not_read_come_to_the_cpu(
    gpu: Any, frames: list[Frame], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "edgepose"):
        on = estimator(CpuMoveNet(shaped=half))
    assert (on.device, on.ahead) == (None, 0)
    assert [r.getMessage() for r in caplog.records if "maps" in r.msg] == [
        "double: its maps are decoded on the CPU, as output 'center' is float16, not float32"
    ]
    assert len(on.estimate(frames[:1], Stopwatch())) == 1
    on.close()


@pytest.mark.gpu
def test_an_answer_that_is_not_finite_is_an_error(gpu: Any, frames: list[Frame]) -> None:
    on = estimator(CpuMoveNet(shaped=lambda maps: {n: m * np.nan for n, m in maps.items()}))
    with pytest.raises(EngineError, match="not finite"):
        on.estimate(frames[:1], Stopwatch())
    on.close()


def test_all_of_it_on_a_stand_in(stand_in: StandIn, shared: Any) -> None:
    options = ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", __file__]
    all_passed(stand_in.run(options, "cuda-bindings"))
