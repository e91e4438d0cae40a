"""From the poses of a real film to its events: six people come to a table and leave to the right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edgepose.events.detector import EventDetector
from edgepose.events.zones import parse_zones
from edgepose.geometry import keypoints_box
from edgepose.networks.topology import Topology
from edgepose.track.tracker import Tracker
from edgepose.types import Pose

FILE = Path(__file__).parents[1] / "data" / "one-by-one-poses.json"
# seconds at which each person stands at the table and has walked off, watched by eye
VISITS = ((8, 18), (25, 43), (53, 67), (77, 85), (95, 117), (126, 134))


def test_six_visits() -> None:
    data = json.loads(FILE.read_text())
    names = tuple(data["keypoints"])
    zones = parse_zones(
        {
            "size": [768, 432],
            "zones": [
                {"name": "table", "polygon": [[330, 250], [560, 250], [560, 432], [330, 432]]},
                {"name": "way out", "line": [[600, 420], [600, 150]], "right": "out", "left": "in"},
            ],
        }
    )
    tracker, detector = Tracker(Topology("person", names, ())), EventDetector(zones)
    events = []
    for frame in range(0, data["frames"], 2):
        poses = []
        for row in data["poses"].get(str(frame), ()):
            points = np.array([p or (np.nan, np.nan, 0) for p in row["points"]], np.float32)
            poses.append(Pose(0, points, names, (), row["score"], keypoints_box(points)))
        now = frame / data["rate"]
        events += detector.update(tracker.update(poses, now), now, 768, 432, frame)
    assert detector.inside == {"": (), "table": ()}
    for person, (arrived, left) in enumerate(VISITS, 1):
        own = [e for e in events if e.track == person]
        assert sorted((e.event, e.zone, e.direction) for e in own) == [
            ("cross", "way out", "out"),
            ("enter", "", ""),
            ("enter", "table", ""),
            ("exit", "", ""),
            ("exit", "table", ""),
        ]
        dwell = next(e.dwell for e in own if e.event == "exit" and e.zone == "table")
        assert dwell is not None
        assert left - arrived <= dwell <= left - arrived + 5
    assert len(events) == 5 * len(VISITS)
