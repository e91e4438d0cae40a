"""Draw docs/images/gestures.png: stick figures and hands with what the built-in rules tell of them.

python tools/make_gesture_picture.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgepose.draw.overlay import Overlay  # noqa: E402
from edgepose.gestures.finder import make_finders  # noqa: E402
from edgepose.types import Link, Pixels  # noqa: E402
from tests.gestures.people import FIGURES, SIGNS, Points, pose, topology_of  # noqa: E402

TILE, COLUMNS = 220, 6
WORDS = frozenset({"links", "keypoints", "gestures"})


def tile(points: Points, topology: str) -> Pixels:
    """One figure and its gestures, TILE x TILE."""
    xs, ys = zip(*points.values(), strict=True)
    size = 0.62 * TILE / max(max(xs) - min(xs), max(ys) - min(ys))
    at = (TILE / 2 - size * (max(xs) + min(xs)) / 2, 0.58 * TILE - size * (max(ys) + min(ys)) / 2)
    found = topology_of(topology)
    one = pose(points, topology, size=size, at=at)
    seen = [i for i, row in enumerate(one.points) if row[2] > 0]
    links = tuple(Link(a, b, 1.0) for a, b in found.links if a in seen and b in seen)
    told = make_finders("builtin", found)().update([one.with_(links=links)], 0.0)
    pixels: Pixels = np.full((TILE, TILE, 3), 45, np.uint8)
    Overlay(found, WORDS).draw(pixels, told)
    return pixels


def main() -> None:
    """Write the picture."""
    tiles = [tile(p, "coco_17") for p in FIGURES.values()]
    tiles += [tile(p, "mediapipe_hand") for p in SIGNS.values()]
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    cv2.imwrite(str(ROOT / "docs" / "images" / "gestures.png"), np.vstack(rows)[:, :, ::-1])


if __name__ == "__main__":
    main()
