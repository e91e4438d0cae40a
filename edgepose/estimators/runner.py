"""A network fed in bounded batches, with its input as the engine really has it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgepose.engines import BatchRange, load_engine
from edgepose.engines.base import Engine, Outputs
from edgepose.errors import EngineError, NetworkFileError, UsageError
from edgepose.estimators.base import EstimatorOptions, engine_options
from edgepose.estimators.device_feed import device_feed
from edgepose.io.jetson_utils import to_host
from edgepose.networks.manifest import InputSpec, Manifest, Resize
from edgepose.networks.topology import Topology
from edgepose.preprocess import Placement, fit, to_tensor, whole_steps
from edgepose.preprocess.placement import Way
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pixels

if TYPE_CHECKING:
    from edgepose.networks.resolve import Network

log = logging.getLogger(__name__)
Tensor = NDArray[Any]
Made = TypeVar("Made")


class Runner:
    """A network with its input as the engine really has it.

    Args:
        engine: the loaded network.
        manifest: what is known about it.
        options: `size` for engines that leave it open, `resize`, and `batch`.
        way: how whole pictures lie in the input, see `preprocess.fit`.
        trim: leave out padding where the size is open and was not asked for, see `spec_of`.

    Attributes:
        engine: the engine.
        manifest: with the input as the engine has it.
        spec: the input.
        dtype: of the feeds: float32, or the integers that the input takes.
        batch: rows of one run at most.
        device: places pictures on the GPU where the engine runs there, else None.
        threads: for as many frames as the engine takes at the same time, None where that is one.

    Raises:
        NetworkFileError: the input is no picture, or the outputs are bytes.
        UsageError: the size differs from what the engine was built for, or does not suit the network.
    """

    def __init__(
        self,
        engine: Engine,
        manifest: Manifest,
        options: EstimatorOptions,
        way: Way = "boxes",
        trim: bool = False,
    ) -> None:
        self.engine = engine
        check_outputs(engine, manifest)
        self.spec = fit_input(engine, manifest, options.size)
        if options.resize:
            asked: Resize = "stretch" if options.resize == "stretch" else "letterbox"
            self.spec = replace(self.spec, resize=asked)
        self.manifest = replace(manifest, input=self.spec)
        self._way = way
        self.threads = ThreadPoolExecutor(engine.lanes, "frames") if engine.lanes > 1 else None
        self.dtype = feed_dtype(engine, self.manifest)
        if self.dtype.kind in "iu" and not whole_steps(self.spec, self.dtype):
            self.spec = replace(self.spec, scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)
            self.manifest = replace(manifest, input=self.spec)
        self._fixed = max(engine.inputs[0].shape[0], 0)
        self.batch = self._fixed or max(1, min(options.batch, engine.max_batch or options.batch))
        self.device = device_feed(engine, self.spec, self._fixed)
        self.trim = (
            trim and options.size is None and self.device is None and is_open(engine, self.spec)
        )

    def spec_of(self, frame: Frame) -> InputSpec:
        """The input for a frame: where it may be trimmed, the longer side of the frame fills the input's as
        ever, and of the padding along the other only what makes up a multiple stays."""
        spec = self.spec
        if not self.trim or spec.resize != "letterbox":
            return spec
        ratio = min(spec.width / frame.width, spec.height / frame.height)
        width, height = (  # never below what the ratio asks for, or the picture would get smaller
            min(math.ceil(n * ratio / spec.multiple) * spec.multiple, most)
            for n, most in ((frame.width, spec.width), (frame.height, spec.height))
        )
        return replace(spec, width=width, height=height)

    def batches(self, frames: Sequence[Frame]) -> Iterator[Sequence[Frame]]:
        """The frames in order, in runs of one input size and at most a batch."""
        for _, same in groupby(frames, key=self.spec_of):
            run = list(same)
            yield from (run[part] for part in chunks(len(run), self.batch))

    def places(self, frames: Sequence[Frame]) -> list[Placement]:
        """Where each whole frame lies in the input."""
        return [fit(self.spec_of(f), f.width, f.height, self._way) for f in frames]

    def run(self, feed: Tensor, watch: Stopwatch) -> Outputs:
        """Infer up to `batch` rows. A fixed batch is filled up with the last row, and answers for all."""
        missing = self._fixed - len(feed)
        if missing > 0:
            feed = np.concatenate([feed, np.repeat(feed[-1:], missing, axis=0)])
        with watch.stage("network"):
            return self.engine.infer({self.spec.name: feed})

    def run_placed(
        self, frames: Sequence[Frame], places: Sequence[Placement], watch: Stopwatch
    ) -> Outputs:
        """Infer on whole pictures of one input size, each in its place, up to `batch`; see `run`."""
        if self.device is not None:
            maps = [place.drawn for place in places]
            return self.device.run([f.as_given for f in frames], range(len(frames)), maps, watch)
        with watch.stage("preprocess"):
            spec = self.spec_of(frames[0])
            feed = to_tensor([host_pixels(f) for f in frames], places, spec, self.dtype)
        return self.run(feed, watch)

    def answers(self, rows: int) -> int:
        """For how many pictures the network answers where so many are asked."""
        return self._fixed or rows

    def close(self) -> None:
        """Release the engine, when what works on it is done."""
        threads, self.threads = self.threads, None
        if threads is not None:
            threads.shutdown(cancel_futures=True)
        if self.device is not None:
            self.device.close()
        self.engine.close()


def is_open(engine: Engine, spec: InputSpec) -> bool:
    """Whether every run may have a size of its own, in multiples that the manifest knows."""
    tensor = next(t for t in engine.inputs if t.name == spec.name)
    at = 2 if spec.layout == "nchw" else 1
    return spec.multiple > 0 and max(tensor.shape[at : at + 2]) < 0


def fit_input(engine: Engine, manifest: Manifest, size: tuple[int, int] | None) -> InputSpec:
    """The manifest's input with the name, layout and size that the engine has, or takes.

    Raises:
        NetworkFileError: the input is no picture.
        UsageError: the size is not one that the network can take, or nothing says which.
    """
    spec = manifest.input
    tensor = next((t for t in engine.inputs if t.name == spec.name), engine.inputs[0])
    shape = tensor.shape
    if len(shape) == 4 and shape[3] == 3 != shape[1] and shape[1] > 0 and spec.layout == "nchw":
        spec = replace(spec, layout="nhwc")  # the file says so itself
    at = 2 if spec.layout == "nchw" else 1
    if len(shape) != 4 or shape[1 if at == 2 else 3] not in (3, -1):
        raise NetworkFileError(
            f"Network {manifest.name!r}: its input {tensor.name!r} has shape {list(shape)}, "
            f"not that of a {spec.layout} picture. Is --model the right file?"
        )
    height, width = shape[at], shape[at + 1]
    own = (width if width > 0 else spec.width, height if height > 0 else spec.height)
    wanted = size or own
    if (width > 0 and wanted[0] != width) or (height > 0 and wanted[1] != height):
        raise UsageError(
            f"Network {manifest.name!r} has a fixed input of {own[0]}x{own[1]}, not "
            f"{wanted[0]}x{wanted[1]}: leave the size out, or bring a file with a dynamic input."
        )
    if spec.multiple and wanted != own and any(n % spec.multiple for n in wanted):
        raise UsageError(
            f"Network {manifest.name!r}: input sizes are multiples of {spec.multiple}, not "
            f"{wanted[0]}x{wanted[1]}."
        )
    if min(wanted) < 1:
        raise UsageError(
            f"Network {manifest.name!r} takes pictures of any size and nothing says which; choose one "
            "with --network-size WxH, such as 256x256."
        )
    return replace(spec, name=tensor.name, width=wanted[0], height=wanted[1])


def check_outputs(engine: Engine, manifest: Manifest) -> None:
    """Refuse answers, or maps, of whole numbers: nobody says what their steps are worth.

    Raises:
        NetworkFileError: they are.
    """
    whole = [t for t in engine.outputs if t.dtype.kind in "iu"]
    maps = [t for t in whole if len(t.shape) == 4]
    if maps or (whole and len(whole) == len(engine.outputs)):
        kinds = sorted({str(t.dtype) for t in maps or whole})
        raise NetworkFileError(
            f"Network {manifest.name!r} answers in {' and '.join(kinds)}: it is quantised, and "
            "the file does not say what a step is worth. Export it with float outputs (DequantizeLinear)."
        )


def feed_dtype(engine: Engine, manifest: Manifest) -> np.dtype[Any]:
    """What an input is fed with.

    An integer input cannot take normalised pixels. A custom network, of which nothing else is known,
    divides by itself then and gets raw pixels; a manifest that says otherwise contradicts the file.

    Raises:
        NetworkFileError: the manifest's fractions, or raw pixels, do not fit into the input's type.
    """
    name = manifest.input.name
    dtype = next(t.dtype for t in engine.inputs if t.name == name)
    if dtype.kind == "b":  # every pixel but black would be true
        raise NetworkFileError(
            f"Network {manifest.name!r}: its input {name!r} takes true or false, not pixels. Is --model the right file?"
        )
    if dtype.kind not in "iu":
        return np.dtype(np.float32)
    if whole_steps(manifest.input, dtype) or (manifest.custom and np.iinfo(dtype).max >= 255):
        return dtype
    raise NetworkFileError(
        f"Network {manifest.name!r}: its input {name!r} takes whole numbers ({dtype}), and pixels "
        "prepared with this scale, mean and std are none that fit. Where the network normalises by "
        'itself say so in its manifest: "scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1].'
    )


def one_each(answers: Any, pictures: int) -> Any:
    """The answers (a list or array) to so many pictures; engines of a fixed batch answer for empty rows too.

    Raises:
        EngineError: there are fewer.
    """
    if len(answers) < pictures:
        raise EngineError(
            f"The network was given {pictures} picture(s) and answers for {len(answers)}. Export it with a "
            "dynamic batch, or with a batch of 1."
        )
    return answers[:pictures]


def load_for(network: Network, options: EstimatorOptions, batch: BatchRange) -> Engine:
    """The engine of a network; a plan that is built for it takes that range of batches where the file allows."""
    if options.begun and (begun := options.begun.take(network.model)):
        return begun
    chosen = engine_options(network, options)
    if chosen.batch is None and batch.high > 1:
        with suppress(UsageError):  # the file has a fixed batch
            return load_engine(network.model, replace(chosen, batch=batch))
    return load_engine(network.model, chosen)


def frames_together(options: EstimatorOptions) -> BatchRange:
    """The batches of whole pictures: one, or one of each live source."""
    return BatchRange(1, options.together, options.together)


def topology_of(network: Network) -> Topology:
    """The topology of a network that finds poses.

    Raises:
        NetworkFileError: it has none.
    """
    if network.topology is None:
        raise NetworkFileError(
            f"Network {network.manifest.name!r} has no topology; give one with --topology FILE."
        )
    return network.topology


def made_of(engine: Engine, make: Callable[[Engine], Made]) -> Made:
    """What is made of an engine, which is closed again where that fails."""
    try:
        return make(engine)
    except BaseException:
        engine.close()
        raise


def chunks(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `count`."""
    return (slice(i, min(i + size, count)) for i in range(0, count, size))


def host_pixels(frame: Frame) -> Pixels:
    """The frame's pixels as a contiguous numpy array, copied from the device where they live there."""
    return np.ascontiguousarray(to_host(frame.pixels), np.uint8)
