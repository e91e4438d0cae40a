"""Makes movenet-multipose-int8.onnx:  python -m tools.convert.int8 PICTURE... [--out FILE]

Of the pictures every fourth is kept to measure what int8 loses: people that are found no more, how far keypoints
move, and how scores change. The file in the package was calibrated on frames of Intel's sample videos
(intel-iot-devkit/sample-videos, CC BY 4.0). Needs onnx and onnxruntime.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from edgepose.decode.movenet import MAPS, MovenetPeople, decode_movenet
from edgepose.engines.int8 import fold
from edgepose.engines.int8_cpu import quantise
from tools.convert.__main__ import OUT, write
from tools.convert.check import feed, fitted

SIZES = ((384, 224), (384, 288), (384, 384))
SURE = 0.2  # people that score more in float32 are to be found
MOST_LOST, MOST_MOVED = 0.05, 0.02  # of the people; median of a person's size


def folded(model: Path) -> Any:
    """The network with float32 constants."""
    with tempfile.TemporaryDirectory() as folder:
        return onnx.load(str(fold(model, Path(folder))))


def people(model: Any, feeds: list[dict[str, Any]]) -> list[MovenetPeople]:
    """Whom a network finds in each picture."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    answers = [dict(zip(MAPS, session.run(list(MAPS), f), strict=True)) for f in feeds]
    return [decode_movenet({k: m[0] for k, m in a.items()}, 0.1) for a in answers]


def loss(before: list[MovenetPeople], after: list[MovenetPeople]) -> tuple[int, int, float, float]:
    """People, how many of them are lost, how far the others move (of their size) and how scores change."""
    lost, moved, changed = 0, [], []
    for old, new in zip(before, after, strict=True):
        for k in np.flatnonzero(old.scores > SURE):
            seen = old.points[k, :, 2] > SURE
            size = float((old.boxes[k, 2:] - old.boxes[k, :2]).max())
            apart = [_apart(old.points[k, seen], p[seen]) for p in new.points]
            best = int(np.argmin(apart)) if apart and seen.any() else -1
            if best < 0 or apart[best] > 0.2 * size:
                lost += 1
                continue
            moved.append(apart[best] / size)
            changed.append(float(new.scores[best] - old.scores[k]))
    middle = float(np.median(moved)) if moved else 0.0
    return len(moved) + lost, lost, middle, float(np.mean(changed)) if changed else 0.0


def _apart(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.median(np.linalg.norm(a[:, :2] - b[:, :2], axis=1)))


def main() -> None:
    """Read the command line, quantise, and refuse what loses too much."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=OUT / "movenet-multipose-int8.onnx")
    parser.add_argument("--force", action="store_true", help="write it whatever is lost")
    asked = parser.parse_args()
    paths = sorted(asked.pictures)
    feeds = [feed(fitted(p, *SIZES[i % len(SIZES)])) for i, p in enumerate(paths)]
    model = folded(OUT / "movenet-multipose.onnx")
    made = quantise(model, [f for i, f in enumerate(feeds) if i % 4])
    onnx.checker.check_model(made)
    kept = feeds[::4]
    count, lost, moved, changed = loss(people(model, kept), people(made, kept))
    print(
        f"{lost} of {count} poses lost on {len(kept)} pictures; keypoints move {100 * moved:.2f} % of a "
        f"person's size, scores change by {changed:+.3f}"
    )
    if (lost > MOST_LOST * count or moved > MOST_MOVED) and not asked.force:
        raise SystemExit("That is too much: give other pictures, or --force.")
    write(made, asked.out)


if __name__ == "__main__":
    main()
