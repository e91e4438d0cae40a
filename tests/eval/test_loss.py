"""What int8 loses, told without labels; and builds that are refused for it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from edgepose.cli.build_engine import _check_loss
from edgepose.errors import EngineError
from edgepose.eval.loss import loss
from edgepose.networks.registry import find
from edgepose.networks.topology import load_topology
from edgepose.paths import data_networks
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose

BODY = load_topology("coco_17")
FRAMES = [Frame(np.zeros((100, 100, 3), np.uint8), i) for i in range(2)]
PICTURE = Path(__file__).parents[2] / "examples/images/astronaut.jpg"


class Finder:
    """Answers with the poses that it was given, whatever it sees."""

    topology = BODY

    def __init__(self, poses: Sequence[Pose]) -> None:
        self.poses = tuple(poses)

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        return [self.poses for _ in frames]


def person(x: float, score: float = 0.8, dx: float = 0.0) -> Pose:
    points = np.stack([x + dx + np.arange(17), np.arange(17) * 6.0, np.full(17, 0.9)], axis=1)
    box = (x + dx, 0.0, x + dx + 16, 96.0)
    return Pose(0, points.astype(np.float32), BODY.keypoints, score=score, box=box)


def test_the_same_network_loses_nothing() -> None:
    people = Finder([person(0), person(200)])
    told = loss(people, people, FRAMES)
    assert (told.poses, told.lost, told.moved, told.changed) == (4, 0, 0, 0)
    assert not told.too_much
    nobody = loss(Finder([]), people, FRAMES)
    assert (nobody.poses, nobody.too_much) == (0, False)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 0.19), st.floats(-0.3, 0.1))
def test_moves_and_scores_are_measured(part: float, change: float) -> None:
    told = loss(Finder([person(0)]), Finder([person(0, 0.8 + change, part * 96)]), FRAMES)
    assert told.lost == 0
    assert told.moved == pytest.approx(part, abs=1e-4)
    assert told.changed == pytest.approx(change, abs=1e-6)
    assert told.too_much == (told.moved > 0.02)


def test_lost_people_are_counted_but_weak_ones() -> None:
    right = Finder([person(0), person(200), person(400, score=0.1)])
    told = loss(right, Finder([person(0), person(230)]), FRAMES)
    assert (told.poses, told.lost) == (4, 2)
    assert told.too_much
    assert "2 of 4 poses lost" in str(told)


def test_a_ruined_int8_network_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(PICTURE, tmp_path)
    manifest, model = find("movenet-multipose"), data_networks() / "movenet-multipose.onnx"
    caplog.set_level("INFO", "edgepose")
    good = (data_networks() / "movenet-multipose-int8.onnx").read_bytes()
    _check_loss(model, manifest, tmp_path, False, good)
    assert "int8 against float32" in caplog.text
    assert "0 of 1 poses lost" in caplog.text
    ruined = onnx.load_from_string(good)
    for weight in ruined.graph.initializer:
        values: Any = numpy_helper.to_array(weight)
        if values.ndim == 4 and values.dtype == np.int8:
            weight.CopyFrom(numpy_helper.from_array(np.roll(values, 1, axis=0), weight.name))
    with pytest.raises(EngineError, match=r"int8 loses too much: .*--force"):
        _check_loss(model, manifest, tmp_path, False, ruined.SerializeToString())
    _check_loss(model, manifest, tmp_path, True, ruined.SerializeToString())
    _check_loss(model, manifest, tmp_path, False, b"no network")
    assert "could not be told" in caplog.text
