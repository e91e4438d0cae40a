"""Frames through an engine on a GPU without a detour: pixels go in, and only what was found comes back.

    pixels -> preprocess kernel -> the engine's input -> network -> its outputs (enlarged where the network
    wants it) -> decoding kernels -> one small copy to page-locked memory -> the rest on the CPU

Nothing waits before the end, so the next frame can be on its way (in the engine's other slot) while the
network works on this one. Loaded only where the engine is on a GPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

import numpy as np

from edgepose.cuda.kernels import MAX_SIDE
from edgepose.decode.bottom_up_numpy import BottomUpParams, Decoded
from edgepose.decode.device import DeviceDecoder, Pending, channels
from edgepose.decode.movenet import CELL, MAPS, MovenetPeople
from edgepose.decode.movenet_device import MovenetDecoder
from edgepose.engines.base import Engine
from edgepose.estimators.base import Found
from edgepose.estimators.device_feed import DeviceFeed
from edgepose.estimators.maps import Binding
from edgepose.geometry import Affine
from edgepose.networks.manifest import InputSpec
from edgepose.networks.topology import Topology
from edgepose.timing import Stopwatch

log = logging.getLogger(__name__)
Decode = Callable[[Mapping[str, Any], Any], Pending[Found]]  # outputs of a batch, stream


class DevicePath(Generic[Found]):
    """Frames through one engine without a detour.

    Args:
        engine: with slots (`engines.device.DeviceEngine`).
        feed: places pictures in the engine's input.
        decode: queues work on the engine's outputs.
    """

    def __init__(self, engine: Any, feed: DeviceFeed, decode: Decode[Found]) -> None:
        self._engine, self._feed, self._decode = engine, feed, decode
        self._looked = False

    def start(
        self, pixels: Sequence[Any], places: Sequence[Affine], watch: Stopwatch
    ) -> Pending[Found]:
        """Queue one batch and return; the slot is free for what is queued behind it.

        Args:
            pixels: pictures, on the host or the device; keep them until the result is there.
            places: picture -> input of each.
            watch: gets the times of queueing.

        Raises:
            EngineError: the engine refuses, or its very first answer is not finite.
        """
        rows = len(pixels)
        with self._engine.slot(ahead=True) as slot, self._feed.guard:
            with watch.stage("preprocess"):
                self._feed.place(slot, pixels, range(rows), places)
            with watch.stage("network"):
                outputs = self._feed.launch(slot, rows)
                if not self._looked:  # maps that stay on the GPU are not looked at again
                    self._feed.download(slot, outputs)
                    self._looked = True
                view = self._engine.cuda.view  # engines of a fixed batch answer for empty rows too
                asked = {n: view(t, (rows, *t.shape[1:])) for n, t in outputs.items()}
                return self._decode(asked, slot.stream)


def bottom_up_path(
    engine: Engine,
    feed: DeviceFeed,
    bindings: tuple[Binding, Binding],
    topology: Topology,
    params: BottomUpParams,
    upsample: int,
) -> DevicePath[Decoded] | None:
    """The path where confidence maps and fields can be decoded in place, else None; the reason is logged."""

    def make() -> Decode[Decoded]:
        decoder = DeviceDecoder(topology, params, feed.kernels, upsample)

        def decode(outputs: Mapping[str, Any], stream: Any) -> Pending[Decoded]:
            cmap, paf = (channels(outputs[b.tensor], b.first, b.count) for b in bindings)
            return decoder.start(cmap, paf, stream)

        return decode

    return _path(engine, feed, _unfit_maps(engine, bindings), make)


def movenet_path(
    engine: Engine, feed: DeviceFeed, spec: InputSpec, keypoints: int, least: float
) -> DevicePath[MovenetPeople] | None:
    """The path where MoveNet's six maps can be decoded in place, else None; the reason is logged."""
    side = max(spec.width, spec.height) / CELL
    reason = f"maps of {side:.0f} cells are larger than {MAX_SIDE}" if side > MAX_SIDE else ""
    return _path(
        engine,
        feed,
        reason or _not_float32(engine, MAPS),
        lambda: MovenetDecoder(keypoints, least, feed.kernels).start,
    )


def _path(
    engine: Engine, feed: DeviceFeed, reason: str, make: Callable[[], Decode[Found]]
) -> DevicePath[Found] | None:
    if reason:
        log.debug("%s: its maps are decoded on the CPU, as %s", engine.name, reason)
        return None
    try:
        decode = make()
    except Exception as e:  # whatever a driver can think of: the way over the host is still there
        log.warning("%s: its maps are decoded on the CPU: %s", engine.name, str(e).rstrip("."))
        return None
    return DevicePath(engine, feed, decode)


def _unfit_maps(engine: Engine, bindings: Sequence[Binding]) -> str:
    """Why the kernels cannot read the engine's outputs, "" where they can."""
    for binding in bindings:
        if not binding.count:
            return "the topology has no links"
        if binding.channels_last:
            return f"output {binding.tensor!r} has its channels last"
    return _not_float32(engine, [b.tensor for b in bindings])


def _not_float32(engine: Engine, names: Sequence[str]) -> str:
    dtypes = {t.name: t.dtype for t in engine.outputs}
    for name in names:
        if name not in dtypes:
            return f"there is no output {name!r}"
        if dtypes[name] != np.float32:
            return f"output {name!r} is {dtypes[name]}, not float32"
    return ""
