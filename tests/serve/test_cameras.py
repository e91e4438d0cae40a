"""Several cameras in one server: one engine for frames that wait together, a tab each, and health by camera."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from served import Served, pictures, wait_for

from edgepose.cli.serve import _days_of_cameras, _named
from edgepose.errors import EngineError, UsageError
from edgepose.io.sources.testsrc import read_clock
from edgepose.serve.engines import SharedEstimator
from edgepose.serve.report import health
from edgepose.timing import Stopwatch


class Slow:
    """An estimator that tells which frames came together, and waits until it may go on."""

    manifest = topology = None

    def __init__(self) -> None:
        self.runs: list[list[int]] = []
        self.go = threading.Event()
        self.begun = threading.Event()

    def estimate(self, frames: Sequence[int], stopwatch: Stopwatch) -> list[tuple[str, ...]]:
        self.runs.append(list(frames))
        self.begun.set()
        assert self.go.wait(20)
        stopwatch.stages["network"] = 10.0 * len(frames)
        if 13 in frames:
            raise EngineError("thirteen")
        return [(f"poses of {frame}",) for frame in frames]


def ask(shared: SharedEstimator, frame: int, answers: dict[int, Any], watch: Stopwatch) -> None:
    try:
        answers[frame] = shared.estimate([frame], watch)  # type: ignore[list-item]
    except EngineError as e:
        answers[frame] = e


def test_frames_that_wait_share_a_run_and_a_bad_one_fails_alone() -> None:
    slow = Slow()
    shared = SharedEstimator(slow)  # type: ignore[arg-type]
    answers: dict[int, Any] = {}
    watches = {n: Stopwatch() for n in (1, 2, 3, 13)}
    threads = [
        threading.Thread(target=ask, args=(shared, n, answers, watch))
        for n, watch in watches.items()
    ]
    threads[0].start()
    assert slow.begun.wait(20)
    for thread in threads[1:]:
        thread.start()
    wait_for(lambda: len(shared._asks) == 3, "those who wait")
    slow.go.set()
    for thread in threads:
        thread.join(20)
    assert slow.runs[0] == [1]
    assert sorted(slow.runs[1]) == [2, 3, 13]
    assert sorted(slow.runs[2:]) == [[2], [3], [13]]
    assert {n: answers[n] for n in (1, 2, 3)} == {n: [(f"poses of {n}",)] for n in (1, 2, 3)}
    assert str(answers[13]) == "thirteen"
    assert watches[1].stages["network"] == 10.0


def test_names_of_cameras() -> None:
    assert _named(["/dev/video0"]) == {"camera": "/dev/video0"}
    assert _named(["door=rtsp://host/a=b", "/dev/video0"]) == {
        "door": "rtsp://host/a=b",
        "camera2": "/dev/video0",
    }
    for words in (["a=/x", "a=/y"], ["example=/x"]):
        with pytest.raises(UsageError, match="its own"):
            _named(words)


def test_health_is_degraded_where_one_fails_and_failing_where_all_do() -> None:
    def channel(name: str, state: str, lost: float = 0.0, silent: float = 0.0) -> Any:
        return SimpleNamespace(name=name, state=state, lost_for=lost, silent_for=silent)

    well, lost = channel("door", "live"), channel("desk", "lost", 61.0)
    silent, failed = channel("roof", "live", silent=70.0), channel("hall", "failed")

    def told(*channels: Any) -> dict[str, Any]:
        return health(SimpleNamespace(channels=channels, store=None))  # type: ignore[arg-type]

    assert told(well)["status"] == "ok"
    assert told(well, lost)["status"] == "degraded"
    assert told(well, lost)["reasons"] == ["desk is lost for 61 s"]
    assert told(well, silent)["reasons"] == ["roof gives no frames for 70 s"]
    assert told(lost, silent, failed)["status"] == "failing"
    assert told(channel("desk", "lost", 30.0))["status"] == "ok"


def test_a_disk_that_is_nearly_full_is_told(tmp_path: Any) -> None:
    well = SimpleNamespace(name="door", state="live", lost_for=0.0, silent_for=0.0)
    kept = SimpleNamespace(path=tmp_path / "e.db", alive=True, error=None, damaged=0)
    studio: Any = SimpleNamespace(channels=(well,), store=kept)
    assert health(studio, scarce=0)["status"] == "ok"
    found = health(studio, scarce=1e30)
    assert (found["status"], found["reasons"]) == (
        "degraded", ["the disk of the events is nearly full"],
    )  # fmt: skip
    kept.error = OSError("full")
    assert health(studio, scarce=1e30)["status"] == "failing"


def test_a_server_with_two_cameras_of_which_one_is_absent(tmp_path: Any) -> None:
    words = ("door=test://people?size=320x240&rate=15", "desk=/dev/video97", "--always")
    served = Served(tmp_path, *words, "--db", "none")
    try:
        wait_for(lambda: served.frames("door"), "frames of the one")
        assert served.get("/api/v1/source")["sources"] == ["door", "desk"]
        assert served.state("desk")["state"] in ("connecting", "lost")
        assert len(list(pictures(served.http, "/camera_feed?source=door", 2))) == 2
        assert len(list(pictures(served.http, "/camera_feed", 1))) == 1  # the first
        assert served.http.get("/camera_feed?source=roof").status_code == 404
        metrics = served.http.get("/metrics").text
        assert 'edgepose_source_up{source="door",channel="0"} 1' in metrics
        assert 'edgepose_source_up{source="desk",channel="1"} 0' in metrics
    finally:
        assert served.end() == 0, "".join(served.said)


def test_days_of_one_camera(tmp_path: Any) -> None:
    assert _days_of_cameras(["door=7", "desk=0.5"], ["door", "desk"]) == {"door": 7.0, "desk": 0.5}
    for word in ("door", "door=", "door=-1", "door=x", "roof=7", "=7"):
        with pytest.raises(UsageError):
            _days_of_cameras([word], ["door", "desk"])


def test_pictures_one_by_one(tmp_path: Any) -> None:
    """What the grid of the page asks for: fresh ones, small ones, and nothing of who is away."""
    served = Served(tmp_path, "door=test://people?size=320x240&rate=15", "desk=/dev/video97")
    try:

        def picture(source: str, **query: Any) -> Any:
            return served.http.get("/api/v1/picture", params={"source": source, **query})

        wait_for(lambda: picture("door").status_code == 200, "a picture of who had been idle")
        first, second = (decode(picture("door").content) for _ in range(2))
        assert first.shape == (240, 320, 3)
        assert read_clock(second) > read_clock(first)  # type: ignore[operator]
        assert decode(picture("door", size=80).content).shape == (60, 80, 3)
        assert picture("desk").status_code == 204
        assert picture("roof").status_code == 404
        assert picture("door", size="x").status_code == 400
        assert served.state("door")["viewers"] == 0  # who asked is gone again
    finally:
        assert served.end() == 0, "".join(served.said)


def decode(jpeg: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
