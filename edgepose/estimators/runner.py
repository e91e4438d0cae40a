"""A network fed in bounded batches, with its input as the engine really has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgepose.engines.base import Engine, Outputs
from edgepose.errors import NetworkFileError, UsageError
from edgepose.estimators.device_feed import device_feed
from edgepose.io.jetson_utils import to_host
from edgepose.networks.manifest import InputSpec, Manifest
from edgepose.preprocess.crops import Placement, normalise
from edgepose.timing import Stopwatch
from edgepose.types import Frame

Tensor = NDArray[np.float32]
Pixels = NDArray[np.uint8]


class Runner:
    """A network with its input as the engine really has it.

    Args:
        engine: the loaded network.
        manifest: what is known about it.
        size: (width, height) for engines that leave it open; None = the manifest's.
        batch: at most so many rows in one run.

    Attributes:
        engine: the engine.
        spec: the input.
        name: of the input tensor.
        batch: rows of one run at most.
        device: places pictures on the GPU where the engine runs there, else None.

    Raises:
        NetworkFileError: the input is no picture.
        UsageError: `size` differs from what the engine was built for, or does not suit the network.
    """

    def __init__(
        self, engine: Engine, manifest: Manifest, size: tuple[int, int] | None, batch: int
    ) -> None:
        self.engine = engine
        self.spec = fit_input(engine, manifest, size)
        self.name = self.spec.name or engine.inputs[0].name
        fixed = engine.inputs[0].shape[0]
        self._fixed = max(fixed, 0)
        limit = engine.max_batch
        self.batch = self._fixed or max(1, min(batch, limit) if limit else batch)
        self.device = device_feed(engine, self.spec, self._fixed)

    def run(self, feed: Tensor, watch: Stopwatch) -> Outputs:
        """Infer up to `batch` rows; engines of a fixed batch get empty rows, whose answers are cut."""
        rows = len(feed)
        if rows < self._fixed:
            feed = np.concatenate(
                [feed, np.zeros((self._fixed - rows, *feed.shape[1:]), np.float32)]
            )
        with watch.stage("network"):
            outputs = self.engine.infer({self.name: feed})
        if rows == len(feed):
            return outputs
        return {k: v[:rows] if v.shape[:1] == (len(feed),) else v for k, v in outputs.items()}

    def close(self) -> None:
        """Release the engine, and before it what works on its buffers."""
        if self.device is not None:
            self.device.close()
        self.engine.close()

    def run_placed(
        self, frames: Sequence[Frame], places: Sequence[Placement], watch: Stopwatch
    ) -> Outputs:
        """Infer on whole pictures, each in its place, up to `batch` of them."""
        if self.device is not None:
            matrices = np.array(
                [p.matrix(f.width, f.height) for p, f in zip(places, frames, strict=True)]
            )
            return self.device.run([f.pixels for f in frames], range(len(frames)), matrices, watch)
        spec = self.spec
        with watch.stage("preprocess"):
            canvas = np.empty((len(frames), spec.height, spec.width, 3), np.uint8)
            for frame, where, out in zip(frames, places, canvas, strict=True):
                where.draw(host_pixels(frame), spec.pad, out)
            feed = normalise(canvas, spec)
        return self.run(feed, watch)


def fit_input(engine: Engine, manifest: Manifest, size: tuple[int, int] | None) -> InputSpec:
    """The manifest's input with the size that the engine has, or takes."""
    spec = manifest.input
    tensor = next((t for t in engine.inputs if t.name == spec.name), engine.inputs[0])
    at = 2 if spec.layout == "nchw" else 1
    if len(tensor.shape) != 4 or tensor.shape[1 if at == 2 else 3] not in (3, -1):
        raise NetworkFileError(
            f"Network {manifest.name!r}: its input {tensor.name!r} has shape {list(tensor.shape)}, "
            f"not that of a {spec.layout} picture. Is --model the right file?"
        )
    height, width = tensor.shape[at], tensor.shape[at + 1]
    own = (width if width > 0 else spec.width, height if height > 0 else spec.height)
    wanted = size or own
    if (width > 0 and wanted[0] != width) or (height > 0 and wanted[1] != height):
        raise UsageError(
            f"Network {manifest.name!r} has a fixed input of {own[0]}x{own[1]}, not "
            f"{wanted[0]}x{wanted[1]}: leave the size out, or bring a file with a dynamic input."
        )
    if spec.multiple and any(n % spec.multiple for n in wanted):
        raise UsageError(
            f"Network {manifest.name!r}: input sizes are multiples of {spec.multiple}, not "
            f"{wanted[0]}x{wanted[1]}."
        )
    return manifest.with_input(name=tensor.name, width=wanted[0], height=wanted[1]).input


def chunks(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `count`."""
    return (slice(i, min(i + size, count)) for i in range(0, count, size))


def host_pixels(frame: Frame) -> Pixels:
    """The frame's pixels as a contiguous numpy array, copied from the device where they live there."""
    return np.ascontiguousarray(to_host(frame.pixels), np.uint8)
