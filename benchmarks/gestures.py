"""What gestures cost: CPU milliseconds a frame of ten tracked people, by the built-in rules and by taught ones.

    python benchmarks/gestures.py

The least of many short runs, in CPU time: other programs on the machine make it larger, never smaller.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edgepose.gestures.finder import make_finders
from edgepose.networks.topology import load_topology
from edgepose.types import Pose

PEOPLE, FRAMES, RUNS = 10, 30, 200


def people(topology: str, jump: bool) -> list[list[Pose]]:
    """A second of ten people who move a little, or are elsewhere in each frame; a part of their keypoints hidden."""
    random = np.random.default_rng(0)
    names = load_topology(topology).keypoints
    film = []
    places = random.uniform(0, 300, (PEOPLE, len(names), 2))
    for _ in range(FRAMES):
        if jump:
            places = random.uniform(0, 300, places.shape)
        moved = places + random.normal(0, 2, places.shape)
        points = np.concatenate([moved, np.full((*moved.shape[:2], 1), 0.9)], 2).astype(np.float32)
        points[random.random(points.shape[:2]) < 0.15] = (np.nan, np.nan, 0)
        film.append([Pose(i, p, names, track=i + 1) for i, p in enumerate(points)])
    return film


def least(work: Callable[[], None]) -> float:
    """CPU milliseconds of a frame."""
    best = float("inf")
    for _ in range(RUNS):
        start = time.process_time()
        work()
        best = min(best, (time.process_time() - start) / FRAMES * 1e3)
    return best


def measure(what: str, topology: str, jump: bool = False) -> float:
    """Of `--gestures what` for poses of a topology."""
    finder, film, now = make_finders(what, load_topology(topology))(), people(topology, jump), 0.0

    def work() -> None:
        nonlocal now
        for poses in film:
            now += 1 / 30
            finder.update(poses, now)

    return least(work)


def row(name: str, what: str, topology: str) -> None:
    """Print a line of the table."""
    print(f"| {name} | {measure(what, topology):.3f} | {measure(what, topology, True):.3f} |")


def main() -> None:
    """Print a table."""
    array = np.random.default_rng(0).random((PEOPLE, 20))

    def addition() -> None:
        for _ in range(FRAMES * 1000):
            array + array

    print(
        f"an addition of {array.shape} numbers: {least(addition):.2f} us (a measure of the machine)"
    )
    print("| gestures | ms a frame of ten who move a little | who are elsewhere in each frame |")
    print("|---|---|---|")
    row("built-in, bodies", "builtin", "coco_17")
    row("built-in, hands", "builtin", "mediapipe_hand")
    try:
        from edgepose.gestures.taught import as_json
        from edgepose.teach.train import train
        from tests.teach.test_teach import hand_set, motion_set
    except ImportError as e:
        print(f"taught gestures: not measured ({e})")
        return
    import json

    with TemporaryDirectory() as folder:
        signs, moves = Path(folder) / "signs.gestures", Path(folder) / "moves.gestures"
        signs.write_text(json.dumps(as_json(train(hand_set())[0])))
        moves.write_text(json.dumps(as_json(train(motion_set())[0])))
        row("four taught signs", str(signs), "mediapipe_hand")
        row("two taught moves, 0.6 s of motion", str(moves), "coco_17")


if __name__ == "__main__":
    main()
