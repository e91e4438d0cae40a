"""Pictures to a GPU engine without a detour: one launch of the preprocessing kernel places all pictures or
crops of a batch in the engine's own input buffer; only its answers come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.engines.base import Engine, Outputs, check_outputs
from edgepose.errors import BackendUnavailable
from edgepose.geometry import Affine
from edgepose.networks.manifest import InputSpec
from edgepose.timing import Stopwatch


class _Slot(Protocol):
    """The part of `engines.device.Slot` that matters here."""

    stream: Any
    inputs: dict[str, Any]

    def run(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]: ...
    def host_result(self, name: str) -> NDArray[Any]: ...


class SlotEngine(Protocol):
    """An engine whose buffers can be filled on the device (`engines.device.DeviceEngine`)."""

    cuda: Any

    def slot(self) -> AbstractContextManager[_Slot]: ...


class DeviceFeed:
    """Runs a network on pictures that lie on the GPU, or are brought there once.

    Args:
        engine: with slots.
        spec: the network's input, `name` and size as the engine has them.
        rows: of the engine's batch where it is fixed, else 0.
        half: the input tensor is float16.
        kernels: `edgepose.cuda.kernels.Kernels` on the engine's GPU.
    """

    def __init__(
        self, engine: SlotEngine, spec: InputSpec, rows: int, half: bool, kernels: Any
    ) -> None:
        from edgepose.cuda.pictures import TensorLayout

        self._engine, self._kernels = engine, kernels
        self._name, self._rows = spec.name, rows
        self._layout = TensorLayout.of(spec, half)

    def run(
        self,
        pixels: Sequence[Any],
        owners: Sequence[int],
        places: NDArray[np.floating],
        watch: Stopwatch,
    ) -> Outputs:
        """Infer once.

        Args:
            pixels: pictures (H, W, 3), on the host or the device.
            owners: for each row of the batch the number of its picture.
            places: (N, 2, 3) picture -> input of each row, pixel centres at .5.
            watch: gets the times; the kernel's own runs within `network`.

        Returns:
            Outputs of the N rows on the host.
        """
        with self._engine.slot() as slot:
            with watch.stage("preprocess"):
                on_device = {
                    i: self._kernels.runner.picture(pixels[i], "rgb8", slot.stream)
                    for i in sorted(set(owners))
                }
                self._kernels.preprocess(
                    [on_device[i] for i in owners],
                    [Affine.from_matrix(m) for m in places],
                    self._layout,
                    slot.inputs[self._name],
                    slot.stream,
                )
            with watch.stage("network"):
                outputs = slot.run({self._name: self._layout.shape(self._rows or len(owners))})
                return self._download(slot, outputs, len(owners))

    def _download(self, slot: _Slot, outputs: Mapping[str, Any], rows: int) -> Outputs:
        hosts = {}
        for name, array in outputs.items():
            host = slot.host_result(name).reshape(-1)[: int(np.prod(array.shape))]
            hosts[name] = host.reshape(array.shape)
            self._engine.cuda.download(array, hosts[name], slot.stream)
        slot.stream.synchronize()
        # a fixed batch answers for rows that nobody filled; pinned memory stays with the slot
        cut = {
            n: h[:rows] if self._rows and h.shape[:1] == (self._rows,) else h
            for n, h in hosts.items()
        }
        return check_outputs({n: np.array(h, np.float32) for n, h in cut.items()})


def device_feed(engine: Engine, spec: InputSpec, rows: int) -> DeviceFeed | None:
    """A feed for GPU engines, None for others and where the kernels cannot be had."""
    if not hasattr(engine, "slot"):
        return None
    slots: Any = engine
    try:
        from edgepose.cuda.device import device_kernels

        kernels = device_kernels(slots.cuda.context)
    except BackendUnavailable:
        return None
    dtype = next(t.dtype for t in engine.inputs if t.name == spec.name)
    return DeviceFeed(slots, spec, rows, dtype == np.float16, kernels)
