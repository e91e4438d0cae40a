"""Bottom-up where the engine is on a GPU: pixels go in, peaks and scores come back.

    pixels -> preprocess kernel -> the engine's input -> network -> its outputs (enlarged where the network
    wants it) -> peaks, line integrals
    -> one small copy to page-locked memory -> assignment and assembly on the CPU

Nothing waits before the end, so the next frame can be on its way (in the engine's other slot) while the
network works on this one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepose.decode.bottom_up_numpy import BottomUpParams
from edgepose.estimators.device_feed import DeviceFeed
from edgepose.estimators.maps import Binding
from edgepose.geometry import Affine
from edgepose.networks.topology import Topology
from edgepose.timing import Stopwatch

if TYPE_CHECKING:
    from edgepose.decode.device import DeviceDecoder, Pending
    from edgepose.engines.base import Engine

log = logging.getLogger(__name__)


class DevicePath:
    """Frames through one engine without a detour.

    Args:
        engine: with slots (`engines.device.DeviceEngine`).
        feed: places pictures in the engine's input.
        decoder: works on the engine's outputs.
        cmap, paf: which tensors and channels those are.
    """

    def __init__(
        self, engine: Any, feed: DeviceFeed, decoder: DeviceDecoder, cmap: Binding, paf: Binding
    ) -> None:
        self._engine, self._feed, self._decoder = engine, feed, decoder
        self._cmap, self._paf = cmap, paf
        self._looked = False

    def start(self, pixels: Sequence[Any], places: Sequence[Affine], watch: Stopwatch) -> Pending:
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
                cmap, paf = (self._maps(b, outputs, rows) for b in (self._cmap, self._paf))
                return self._decoder.start(cmap, paf, slot.stream)

    def _maps(self, binding: Binding, outputs: dict[str, Any], rows: int) -> Any:
        """The maps of the rows that were asked for, as a view of an output."""
        from edgepose.decode.device import channels

        tensor = outputs[binding.tensor]
        asked = self._engine.cuda.view(tensor, (rows, *tensor.shape[1:]))
        return channels(asked, binding.first, binding.count)


def device_path(
    engine: Engine,
    feed: DeviceFeed,
    bindings: tuple[Binding, Binding],
    topology: Topology,
    params: BottomUpParams,
    upsample: int,
) -> DevicePath | None:
    """The path where the engine's outputs can be decoded in place, else None; the reason is logged."""
    reason = _why_not(engine, bindings)
    if reason:
        log.debug("%s: its maps are decoded on the CPU, as %s", engine.name, reason)
        return None
    try:
        from edgepose.decode.device import DeviceDecoder

        decoder = DeviceDecoder(topology, params, feed.kernels, upsample)
    except Exception as e:  # whatever a driver can think of: the way over the host is still there
        log.warning("%s: its maps are decoded on the CPU: %s", engine.name, str(e).rstrip("."))
        return None
    return DevicePath(engine, feed, decoder, *bindings)


def _why_not(engine: Engine, bindings: Sequence[Binding]) -> str:
    """Why the kernels cannot read the engine's outputs, "" where they can."""
    dtypes = {t.name: t.dtype for t in engine.outputs}
    for binding in bindings:
        if not binding.count:
            return "the topology has no links"
        if binding.channels_last:
            return f"output {binding.tensor!r} has its channels last"
        if dtypes[binding.tensor] != np.float32:
            return f"output {binding.tensor!r} is {dtypes[binding.tensor]}, not float32"
    return ""
