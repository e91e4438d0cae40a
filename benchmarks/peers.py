"""Film to film and first picture: whole processes of posenet and of other programs in turn.

usage: python benchmarks/peers.py [--rtmlib PYTHON] [--mediapipe PYTHON] [--pairs N] [--frames N]       six minutes

PYTHON is the interpreter of an environment with `rtmlib onnxruntime` or with `mediapipe<0.10.30` (later ones carry
no networks); a peer that is not named is left out. rtmlib runs its RTMO class on the file that has the
decoder inside the graph, reads, draws and writes with OpenCV (mp4v); MediaPipe the same with its pose solution,
which follows one person. posenet runs as installed, with overlay and x264. Each row holds the median of both and
the median of the ratios ours / theirs, pair by pair; memory is the largest resident set.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from common import ROOT, machine, material, store

RTMLIB_FILM = """
import sys, cv2
from rtmlib import RTMO, draw_skeleton
model, film, out, width, height, frames = sys.argv[1:]
network = RTMO(model, model_input_size=(int(height), int(width)), backend='onnxruntime', score_thr=0.1)
source = cv2.VideoCapture(film)
size = tuple(int(source.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
sink = cv2.VideoWriter(out, cv2.VideoWriter_fourcc(*'mp4v'), source.get(cv2.CAP_PROP_FPS), size)
for _ in range(int(frames)):
    there, frame = source.read()
    if not there:
        break
    points, scores = network(frame)
    sink.write(draw_skeleton(frame, points, scores, openpose_skeleton=False, kpt_thr=0.2))
sink.release()
"""
RTMLIB_PICTURE = """
import sys, json, cv2
from rtmlib import RTMO
model, picture, width, height = sys.argv[1:]
network = RTMO(model, model_input_size=(int(height), int(width)), backend='onnxruntime', score_thr=0.1)
points, scores = network(cv2.imread(picture))
print(json.dumps({'keypoints': points.tolist(), 'scores': scores.tolist()}))
"""
MEDIAPIPE_FILM = """
import sys, cv2, mediapipe as mp
film, out, frames = sys.argv[1:]
solution, drawing = mp.solutions.pose, mp.solutions.drawing_utils
source = cv2.VideoCapture(film)
size = tuple(int(source.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
sink = cv2.VideoWriter(out, cv2.VideoWriter_fourcc(*'mp4v'), source.get(cv2.CAP_PROP_FPS), size)
with solution.Pose(model_complexity=1) as network:
    for _ in range(int(frames)):
        there, frame = source.read()
        if not there:
            break
        found = network.process(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        drawing.draw_landmarks(frame, found.pose_landmarks, solution.POSE_CONNECTIONS)
        sink.write(frame)
sink.release()
"""


class Cost(NamedTuple):
    """Of one process: wall-clock and processor seconds, and the largest resident set in MiB."""

    wall: float
    cpu: float
    memory: float


def environment() -> dict[str, str]:
    """Ours, with bytecode kept as an installation by pip keeps it: else a clone would be compiled at every start."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def run(command: Sequence[str]) -> Cost:
    """Run a whole process.

    Raises:
        SystemExit: it failed; its errors stand on stderr already.
    """
    start = time.perf_counter()
    with open(os.devnull, "wb") as nowhere:
        actions = [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1)]
        actions += [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 2)]
        pid = os.posix_spawn(command[0], list(command), environment(), file_actions=actions)
        _, status, used = os.wait4(pid, 0)
    if status:
        sys.exit(f"Ended with {os.waitstatus_to_exitcode(status)}: {' '.join(command)}")
    return Cost(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def compare(ours: Sequence[str], theirs: Sequence[str], pairs: int) -> dict[str, float]:
    """Medians of both in turn, and of the ratios ours / theirs, after one run of each that warms the disk."""
    run(ours), run(theirs)
    rows = [(run(ours), run(theirs)) for _ in range(pairs)]
    figures = {}
    for at, name in enumerate(Cost._fields):
        figures[f"ours_{name}"] = round(statistics.median(a[at] for a, _ in rows), 3)
        figures[f"theirs_{name}"] = round(statistics.median(b[at] for _, b in rows), 3)
        figures[f"ratio_{name}"] = round(statistics.median(a[at] / b[at] for a, b in rows), 3)
    return figures


def main() -> None:
    """Run every pair whose peer is there, and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rtmlib", default="", metavar="PYTHON")
    parser.add_argument("--mediapipe", default="", metavar="PYTHON")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--frames", type=int, default=200)
    args = parser.parse_args()
    folder, conditions, count = material(), machine(), str(args.frames)
    film = str(folder / "media/one-by-one-person-detection.mp4")
    picture = str(ROOT / "examples/images/astronaut.jpg")
    model = str(folder / "networks/movenet/movenet-multipose.onnx")
    posenet = [str(Path(sys.executable).with_name("posenet")), "--network", "fast", "--headless"]
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as tmp:
        out, other = f"{tmp}/ours.mp4", f"{tmp}/theirs.mp4"
        ours = [*posenet, film, out, "--frames", count]
        for width, height in ((384, 384), (384, 224)) if args.rtmlib else ():
            sides = [str(width), str(height)]
            figures[f"film {width}x{height}, rtmlib"] = compare(
                [*ours, "--network-size", f"{width}x{height}"],
                [args.rtmlib, "-c", RTMLIB_FILM, model, film, other, *sides, count],
                args.pairs,
            )
        if args.rtmlib:
            figures["picture to JSON, rtmlib"] = compare(
                [*posenet, picture, "--json", "-"],
                [args.rtmlib, "-c", RTMLIB_PICTURE, model, picture, "384", "384"],
                args.pairs,
            )
        if args.mediapipe:
            theirs = [args.mediapipe, "-c", MEDIAPIPE_FILM, film, other, count]
            figures["film, MediaPipe"] = compare(ours, theirs, args.pairs)
    store("peers", figures, conditions)
    print("README's table: python tools/make_figures.py")


if __name__ == "__main__":
    main()
