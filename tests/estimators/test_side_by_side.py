"""Frames of a film in threads of their own on a CPU: the answers, their order and the ends are as with one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.engines import EngineOptions, lanes_of, load_engine
from edgepose.errors import EngineError
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.estimators.one_stage import OneStage
from edgepose.io.base import Source
from edgepose.io.sources import open_source
from edgepose.networks import registry
from edgepose.networks.resolve import Network, resolve
from edgepose.networks.topology import load_topology
from edgepose.pipeline import Pipeline
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose, Result
from tests.estimators.test_estimator_threads import FAMILIES, small_network
from tests.estimators.test_one_stage_estimator import Sizes

ENGINES = ("onnxruntime", "openvino")
LANES = 3


class Pictures(Source):
    """A film of these pictures."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        for i, frame in enumerate(self._frames):
            yield replace(frame, index=i, pts=i / 10)


class Keep:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.rows: list[Result] = []

    def write(self, row: Result) -> None:
        self.rows.append(row)

    def close(self) -> None:
        pass


def found(network: Network, source: Source, lanes: int, engine: str, **more: Any) -> list[Result]:
    """What a run over a film writes, with so many frames under way at a time."""
    how = EngineOptions(engine=engine, threads=lanes, lanes=lanes)
    estimator, keep = make_estimator(network, EstimatorOptions(engine=how, **more)), Keep()
    Pipeline(source, estimator, sinks=[keep]).run()
    estimator.close()
    return keep.rows


def assert_equal(one: Sequence[Result], other: Sequence[Result]) -> None:
    """The same frames in the same order, and in each the same poses to the bit."""
    assert [r.frame for r in one] == [r.frame for r in other] == list(range(len(one)))
    for mine, theirs in zip(one, other, strict=True):
        assert [(p.score, p.box) for p in mine.poses] == [(p.score, p.box) for p in theirs.poses]
        for a, b in zip(mine.poses, theirs.poses, strict=True):
            np.testing.assert_array_equal(a.points, b.points)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_film_has_the_poses_that_it_has_one_frame_at_a_time(
    family: str,
    engine: str,
    tmp_path: Path,
    make_detector: Callable[..., Path],
    make_pose: Callable[..., Path],
) -> None:
    pytest.importorskip(engine)
    network, frames, more = small_network(family, tmp_path, "n", make_detector, make_pose)
    film = frames * 3
    alone = found(network, Pictures(film), 1, engine, **more)
    assert len(alone) == len(film)
    assert all(r.poses for r in alone)
    assert_equal(found(network, Pictures(film), LANES, engine, **more), alone)


@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_the_networks_that_are_shipped_find_the_same_people(name: str) -> None:
    def film() -> Source:
        return open_source("test://people?frames=5&rate=0")

    network = resolve(name)
    alone = found(network, film(), 1, "onnxruntime")
    assert sum(len(r.poses) for r in alone) > 5
    assert_equal(found(network, film(), LANES, "onnxruntime"), alone)


class Meeting(Sizes):
    """An engine for three calls at a time, which go on when all three are there; grey pictures are too much for it."""

    lanes = LANES

    def __init__(self) -> None:
        super().__init__()
        self.there = threading.Barrier(LANES)
        self.closed = False

    def infer(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.there.wait(60)
        if feeds["input"].max() > 0:
            raise EngineError("meeting: grey")
        return super().infer(feeds)

    def close(self) -> None:
        self.closed = True


def meeting() -> tuple[Meeting, OneStage]:
    engine = Meeting()
    manifest = registry.find("movenet-multipose")
    return engine, OneStage(engine, manifest, load_topology("coco_17"), EstimatorOptions())


def picture(value: int = 0) -> Frame:
    return Frame(np.full((64, 64, 3), value, np.uint8))


def test_so_many_frames_are_at_work_at_the_same_time() -> None:
    _, estimator = meeting()
    keep = Keep()
    Pipeline(Pictures([picture()] * 4 * LANES), estimator, sinks=[keep]).run()
    assert [r.frame for r in keep.rows] == list(range(4 * LANES))
    estimator.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("frames")]


def test_what_came_before_a_frame_that_fails_is_written() -> None:
    engine, estimator = meeting()
    keep = Keep()
    film = [picture(200 * (i == 4)) for i in range(4 * LANES)]
    with pytest.raises(EngineError, match="grey"):
        Pipeline(Pictures(film), estimator, sinks=[keep]).run()
    assert [r.frame for r in keep.rows] == list(range(4))
    engine.there.abort()  # frames behind it may still wait for others
    estimator.close()
    assert engine.closed


def test_closing_waits_for_what_is_under_way_and_ends_what_comes_later() -> None:
    engine, estimator = meeting()
    answers = [estimator.begin([picture()], Stopwatch()) for _ in range(LANES - 1)]
    while engine.there.n_waiting < LANES - 1:
        time.sleep(0.01)
    closing = threading.Thread(target=estimator.close)
    closing.start()
    engine.there.wait(60)  # the third
    closing.join(60)
    assert engine.closed
    assert [answer() for answer in answers] == [[()]] * (LANES - 1)


def test_a_closed_engine_is_said_to_be_closed(tmp_path: Path) -> None:
    network = resolve("fast")
    how = EngineOptions(engine="onnxruntime", lanes=2)
    estimator = make_estimator(network, EstimatorOptions(engine=how))
    assert isinstance(estimator, OneStage)
    estimator.close()
    with pytest.raises(EngineError, match="closed"):
        estimator.begin([picture()], Stopwatch())


def test_one_frame_at_a_time_has_no_threads() -> None:
    engine = Sizes()
    manifest = registry.find("movenet-multipose")
    estimator = OneStage(engine, manifest, load_topology("coco_17"), EstimatorOptions())
    assert estimator.ahead == 0
    finish: Callable[[], list[tuple[Pose, ...]]] = estimator.begin([picture()], Stopwatch())
    assert len(engine.fed) == 1, "done before anybody asked for it"
    assert finish() == [()]


@pytest.mark.parametrize(("threads", "lanes"), [(1, 1), (2, 2), (3, 3), (4, 4), (16, 4)])
def test_threads_are_shared_out_among_frames(threads: int, lanes: int) -> None:
    assert lanes_of(threads) == lanes
    assert 1 <= lanes_of(0) <= 4


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_says_for_how_many_calls_it_is_made(engine: str) -> None:
    pytest.importorskip(engine)
    model = resolve("fast").model
    for lanes in (1, 2):
        loaded = load_engine(model, EngineOptions(engine=engine, threads=2, lanes=lanes))
        assert loaded.lanes == lanes
        loaded.close()
