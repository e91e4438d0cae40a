"""Gestures never delay frames, however long they take: a judge that never answers, and frames that come all the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from edgepose.errors import EngineError
from edgepose.gestures.beside import Beside
from edgepose.gestures.features import Features
from edgepose.gestures.finder import HEAVY, GestureFinder, make_finders
from edgepose.gestures.rule import Rule
from edgepose.gestures.taught import MOST_EXAMPLES, MOST_LABELS
from edgepose.networks.keypoint_names import COCO_PERSON, HAND_KEYPOINTS
from edgepose.networks.manifest import Manifest
from edgepose.networks.topology import load_topology
from edgepose.pipeline import Pipeline
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose, Result
from tests.gestures.people import FIGURES, pose

FRAMES = 30
PATIENT = 60.0  # seconds: longer than any machine needs for one picture
STEP = 0.01  # seconds between frames while an answer is on its way


class Stuck:
    """A judge that does not answer before it is let go; as heavy as it says."""

    rules = (Rule("here", "", (), hold=0.0),)

    def __init__(self, work: int) -> None:
        self.work, self.go, self.asked = work, threading.Event(), 0

    def scores(self, points: np.ndarray, tracks: Sequence[int | None], now: float) -> np.ndarray:
        self.asked += 1
        assert self.go.wait(PATIENT)
        return np.ones((len(points), 1))


class Camera:
    """Frames of a live source; after the first ones it waits for `more`, then they come until `told`."""

    live, stills, rate, name, length = True, False, 0.0, "camera", 0

    def __init__(self) -> None:
        self.more, self.told = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        for i in range(int(PATIENT / STEP)):
            if i == FRAMES:
                assert self.more.wait(PATIENT)
            if i > FRAMES and self.told.wait(STEP):
                return
            yield Frame(np.zeros((4, 4, 3), np.uint8), i, i / 30, "camera", captured=i / 30)

    def close(self) -> None:
        self.more.set()


class Somebody:
    """An estimator that finds the same person in every frame, tracked."""

    manifest = Manifest(name="somebody", family="bottom-up")
    topology = load_topology("coco_17")
    engine_name = "none"

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        return [(pose(FIGURES["standing"], track=1),) for _ in frames]

    def close(self) -> None:
        pass


def test_live_frames_pass_a_judge_that_never_answers(caplog: pytest.LogCaptureFixture) -> None:
    """All of them, in order, while it is stuck on the first; when it answers, gestures are there."""
    judge, camera, results = Stuck(HEAVY + 1), Camera(), list[Result]()
    passed = threading.Event()

    def seen(_: Frame, result: Result) -> None:
        results.append(result)
        if len(results) == FRAMES:
            passed.set()
        if result.poses[0].gesture == "here":
            camera.told.set()

    pipeline = Pipeline(
        camera,  # type: ignore[arg-type]
        Somebody(),
        gestures=lambda: GestureFinder(lambda: [judge]),
        on_result=seen,
    )
    running = threading.Thread(target=pipeline.run)
    running.start()
    try:
        assert passed.wait(PATIENT)  # every frame so far came through, and nothing has been told
        assert (judge.asked, [r.poses[0].gesture for r in results]) == (1, [""] * FRAMES)
    finally:
        judge.go.set()
        camera.more.set()
        running.join(PATIENT)
    assert camera.told.is_set()
    assert [r.frame for r in results] == list(range(len(results)))
    assert [r.getMessage()[:13] for r in caplog.records] == ["These gesture"]


def test_a_frame_that_passes_has_what_was_told_of_its_tracks() -> None:
    judge = Stuck(0)
    judge.go.set()
    beside = Beside(GestureFinder(lambda: [judge]), 0.0)
    one, other = (pose(FIGURES["standing"], track=t) for t in (1, 2))
    while not beside.update([one], 1.0)[0].gestures:
        pass  # the first of them pass it
    judge.go.clear()
    told = beside.update([other, one, one.with_(track=None)], 3.5)
    assert [[tuple(g) for g in p.gestures] for p in told] == [[], [("here", 1.0, 2.5)], []]
    judge.go.set()
    beside.close()


class Broken:
    def update(self, poses: Sequence[Pose], now: float) -> tuple[Pose, ...]:
        raise EngineError("broken")


def test_what_fails_beside_is_not_lost() -> None:
    for patience in (PATIENT, 0.0):
        beside = Beside(Broken(), patience)
        with pytest.raises(EngineError, match="broken"):
            until_it_fails(beside)
        beside.close()


def until_it_fails(beside: Beside) -> None:
    """With no patience the first frames pass."""
    while True:
        beside.update([], 0.0)


def test_what_is_told_beside_is_what_takes_long() -> None:
    """The rules, and the largest file for a hand or a body, are told in line: for each pose a bounded work."""
    for topology in ("coco_17", "mediapipe_hand"):
        assert not make_finders("builtin", load_topology(topology))().heavy
    for keypoints in (HAND_KEYPOINTS, COCO_PERSON):
        assert (MOST_LABELS + MOST_EXAMPLES) * Features(keypoints, 4).count < HEAVY
    whole = tuple(f"k{i}" for i in range(133))
    assert 200 * Features(whole, 1).count > HEAVY
