"""A real film: six people walk in and out one at a time (counted by eye, frame numbers below)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgepose.geometry import keypoints_box
from edgepose.networks.topology import Topology
from edgepose.track.one_euro import OneEuro
from edgepose.track.tracker import Tracker
from edgepose.types import Pose

FILE = Path(__file__).parents[1] / "data" / "one-by-one-poses.json"
# first and last frame in which any part of each person is in the picture, watched by eye to a frame or two
PEOPLE = ((60, 200), (227, 449), (502, 700), (745, 869), (921, 1200), (1234, 1361))


def load() -> tuple[Topology, dict[int, list[Pose]], float, int]:
    """Topology, poses by frame, frames a second, number of frames."""
    data = json.loads(FILE.read_text())
    names = tuple(data["keypoints"])
    poses = {}
    for frame, rows in data["poses"].items():
        poses[int(frame)] = []
        for number, row in enumerate(rows):
            points = np.array([p or (np.nan, np.nan, 0) for p in row["points"]], np.float32)
            box = keypoints_box(points)
            poses[int(frame)].append(Pose(number, points, names, (), row["score"], box))
    return Topology("person", names, ()), poses, data["rate"], data["frames"]


@pytest.mark.parametrize("step", [2, 4, 6, 10])
@pytest.mark.parametrize("smooth", [None, OneEuro()])
def test_six_people_are_six_tracks(step: int, smooth: OneEuro | None) -> None:
    topology, poses, rate, frames = load()
    tracker = Tracker(topology, smooth=smooth)
    spans: dict[int, list[int]] = {}
    for frame in range(0, frames, step):
        for pose in tracker.update(poses.get(frame, []), frame / rate):
            if pose.track is not None:
                spans.setdefault(pose.track, []).append(frame)
    assert tracker.count == len(PEOPLE)
    assert sorted(spans) == [1, 2, 3, 4, 5, 6]
    for (first, last), seen in zip(PEOPLE, spans.values(), strict=True):
        assert first <= seen[0] <= first + 10 + 3 * step
        assert last - 8 - step <= seen[-1] <= last
        # followed in all frames between, but for one or two
        assert len(seen) >= (seen[-1] - seen[0]) / step - 1


def test_the_network_on_the_film_itself(hpe_int8: Path, shared: Path) -> None:
    """Frames 150 to 540, every fifth: one person leaves, one comes and goes, one comes."""
    import av

    from edgepose.engines import EngineOptions
    from edgepose.estimators.base import EstimatorOptions
    from edgepose.estimators.table import make_estimator
    from edgepose.networks.resolve import resolve
    from edgepose.timing import Stopwatch
    from edgepose.types import Frame

    network = resolve("human-pose-estimation-0001", model=hpe_int8)
    options = EstimatorOptions(engine=EngineOptions(engine="openvino"))
    estimator = make_estimator(network, options)
    tracker = Tracker(estimator.topology)
    ids: list[int] = []
    with av.open(str(shared / "media" / "one-by-one-person-detection.mp4")) as film:
        for number, picture in enumerate(film.decode(video=0)):
            if number > 540:
                break
            if number >= 150 and number % 5 == 0:
                frame = Frame(picture.to_ndarray(format="rgb24"), number, number / 10)
                poses = tracker.update(estimator.estimate([frame], Stopwatch())[0], number / 10)
                ids += [p.track for p in poses if p.track is not None]
    estimator.close()
    assert tracker.count == 3
    assert ids == sorted(ids)
    assert len(ids) >= 45
