"""Makes NETWORK-int8.onnx:  python -m tools.convert.int8 NETWORK PICTURE... [--out FILE]

NETWORK is movenet-multipose or movenet-thunder. Of the pictures every fourth is kept to measure what int8 loses:
people that are found no more, how far keypoints move, and how scores change. The files in the package were calibrated
on frames of Intel's sample videos (intel-iot-devkit/sample-videos, CC BY 4.0). Needs onnx and onnxruntime.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import onnx

from edgepose.engines import EngineOptions
from edgepose.engines.base import Feeds
from edgepose.engines.int8 import fold
from edgepose.engines.int8_cpu import quantise
from edgepose.estimators.base import Estimator, EstimatorOptions
from edgepose.estimators.preparation import preparation
from edgepose.estimators.table import make_estimator
from edgepose.eval.loss import Loss, loss
from edgepose.io.sources.images import read_image
from edgepose.networks.resolve import Network, resolve
from edgepose.types import Frame
from tools.convert.__main__ import OUT, write
from tools.convert.check import feed, fitted

NETWORKS = {"movenet-multipose": 0, "movenet-thunder": 3}  # first convolutions that stay in float32
SIZES = ((384, 224), (384, 288), (384, 384))  # in turn, for whole pictures


def folded(model: Path) -> Any:
    """The network with float32 constants."""
    with tempfile.TemporaryDirectory() as folder:
        return onnx.load(str(fold(model, Path(folder))))


def feeds_of(network: Network, paths: list[Path]) -> Iterator[Feeds]:
    """Whole pictures, or the people that the detector finds in them."""
    if network.manifest.family != "top-down":
        yield from (feed(fitted(p, *SIZES[i % len(SIZES)])) for i, p in enumerate(paths))
        return
    with closing(preparation(network.manifest)) as prepare:
        for path in paths:
            yield from ({"input": tensor} for tensor in prepare.inputs(read_image(str(path))))


def estimator(network: Network, model: Path) -> Estimator:
    """The product's own way with a model file."""
    options = EstimatorOptions(engine=EngineOptions(engine="onnxruntime"))
    return make_estimator(Network(network.manifest, model, network.topology), options)


def measured(network: Network, made: bytes, paths: list[Path]) -> Loss:
    """What the int8 network loses on pictures."""
    frames = (Frame(read_image(str(path)), i) for i, path in enumerate(paths))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        file.write_bytes(made)
        before, after = estimator(network, network.model), estimator(network, file)
        try:
            return loss(before, after, frames)
        finally:
            before.close()
            after.close()


def main() -> None:
    """Read the command line, quantise, and refuse what loses too much."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--force", action="store_true", help="write it whatever is lost")
    asked = parser.parse_args()
    network = resolve(asked.network, variant="FP16", download=False)
    paths = sorted(asked.pictures)
    kept = paths[::4]
    used = [path for i, path in enumerate(paths) if i % 4]
    spared = NETWORKS[network.manifest.name]
    made = quantise(folded(network.model), list(feeds_of(network, used)), spared)
    onnx.checker.check_model(made)
    found = measured(network, made.SerializeToString(), kept)
    print(f"{found}, on {len(kept)} pictures")
    if found.too_much and not asked.force:
        raise SystemExit("That is too much: give other pictures, or --force.")
    write(made, asked.out or OUT / f"{network.manifest.name}-int8.onnx")


if __name__ == "__main__":
    main()
