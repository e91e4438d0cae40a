"""Compares the converted networks with TensorFlow.js:  python -m tools.convert.check PACKAGE PICTURE...

PACKAGE is the unpacked npm package; node and TF.js (see answers.mjs, TFJS names their folder) are needed.
Prints the largest difference of every head, and of whole answers. `--record FILE.npz` keeps the answers to
the first picture, of which the tests are made that need no node.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgepose.decode.movenet import CELL, decode_movenet
from tools.convert.graph import moved
from tools.convert.movenet import MULTIPOSE, SCOPE, multipose, thunder

HERE = Path(__file__).resolve().parent
SIZES = ((256, 256), (320, 256), (448, 320))


def tfjs(model: Path, pixels: NDArray[np.uint8], nodes: list[str]) -> list[NDArray[np.float32]]:
    """Answers of TensorFlow.js to uint8 RGB pixels."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(pixels.tobytes())
        file.flush()
        size = [str(n) for n in pixels.shape[:2]]
        command = ["node", str(HERE / "answers.mjs"), str(model), file.name, *size, *nodes]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = json.loads(run.stdout.splitlines()[-1])
    return [np.array(row["data"], np.float32).reshape(row["shape"]) for row in rows]


def fitted(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """The picture at the top left of a black one of that size, RGB."""
    picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    ratio = min(width / picture.shape[1], height / picture.shape[0])
    size = [max(1, int(n * ratio)) for n in (picture.shape[1], picture.shape[0])]
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return canvas


def feed(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    """The network's input of RGB pixels."""
    return {"input": np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)}


def difference(heads: dict[str, NDArray[np.float32]], answer: NDArray[np.float32]) -> float:
    """The largest difference of keypoints and boxes, 0..1 of the picture, to TF.js's six people.

    Its scores are weighted by the distance to the regressed place; ours are the heatmap's own.
    """
    height, width = (CELL * n for n in heads["center"].shape[2:])
    found = decode_movenet({name: m[0] for name, m in heads.items()}, 0.0)
    points = found.points[:6, :, [1, 0]] / (height, width)
    boxes = found.boxes[:6, [1, 0, 3, 2]] / (height, width, height, width)
    wanted = answer[: len(points)]
    apart = np.abs(points - wanted[:, :51].reshape(-1, 17, 3)[..., :2]).max()
    return float(max(apart, np.abs(boxes - wanted[:, 51:55]).max()))


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--record", type=Path)
    asked = parser.parse_args()
    models = asked.package / "models"
    many = onnxruntime.InferenceSession(multipose(models).SerializeToString())
    one = onnxruntime.InferenceSession(thunder(models, 256, 256).SerializeToString())
    nodes = [SCOPE + node for node, _ in MULTIPOSE.values()]
    for number, path in enumerate(asked.pictures):
        for width, height in SIZES:
            pixels = fitted(path, width, height)
            heads = dict(zip(MULTIPOSE, many.run(list(MULTIPOSE), feed(pixels)), strict=True))
            wanted = tfjs(models / "movenet-multipose.json", pixels, nodes)
            for (name, found), expected in zip(heads.items(), wanted, strict=True):
                print(
                    f"{path.name} {width}x{height} {name} {np.abs(found - moved(expected)).max():.1e}"
                )
            (answer,) = tfjs(models / "movenet-multipose.json", pixels, [])
            apart = difference(heads, answer[0])
            print(f"{path.name} {width}x{height} people {apart:.1e}")
            if asked.record and not number and (width, height) == SIZES[1]:
                np.savez_compressed(asked.record, pixels=pixels, answer=answer[0])
        pixels = fitted(path, 256, 256)
        (answer,) = tfjs(models / "movenet-thunder.json", pixels, [])
        found = one.run(None, feed(pixels))[0][0] + (0.5, 0.5, 0)  # pixel numbers to points
        apart = np.abs(found[:, [1, 0, 2]] / (256, 256, 1) - answer[0, 0]).max()
        print(f"{path.name} 256x256 thunder {apart:.1e}")


if __name__ == "__main__":
    main()
