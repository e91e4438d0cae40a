"""Pictures to a GPU engine without a detour: one launch of the preprocessing kernel places all pictures or
crops of a batch in the engine's own input buffer; only its answers come back."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgepose.cuda.pictures import TensorLayout
from edgepose.engines.base import Engine, Outputs, check_outputs
from edgepose.errors import BackendUnavailable
from edgepose.geometry import Affine
from edgepose.io.planes import PlanarPixels
from edgepose.networks.manifest import InputSpec
from edgepose.timing import Stopwatch

if TYPE_CHECKING:
    from edgepose.cuda.pictures import Window

log = logging.getLogger(__name__)


class _Slot(Protocol):
    """The part of `engines.device.Slot` that matters here."""

    stream: Any
    inputs: dict[str, Any]

    def run(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]: ...
    def host_result(self, name: str) -> NDArray[Any]: ...


@runtime_checkable
class SlotEngine(Protocol):
    """An engine whose buffers can be filled on the device (`engines.device.DeviceEngine`)."""

    cuda: Any

    def slot(self, ahead: bool = ...) -> AbstractContextManager[_Slot]: ...


class DeviceFeed:
    """Runs a network on pictures that lie on the GPU, or are brought there once; from any thread.

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
        self._engine, self.kernels = engine, kernels
        self._name, self._rows = spec.name, rows
        self.guard = threading.RLock()  # the kernels serve one thread at a time
        self._layout = TensorLayout.of(spec, half)

    def run(
        self,
        pixels: Sequence[Any],
        owners: Sequence[int],
        places: Sequence[Affine],
        watch: Stopwatch,
        windows: Sequence[Window] = (),
    ) -> Outputs:
        """Infer once.

        Args:
            pixels: pictures (H, W, 3), on the host or the device, or `io.planes.PlanarPixels`.
            owners: for each row of the batch the number of its picture.
            places: picture -> input of each row, pixel centres at .5.
            watch: gets the times; the kernel's own runs within `network`.
            windows: rows and columns of each row's input that show its picture, else all; grey outside.

        Returns:
            Outputs on the host; of a fixed batch for all of its rows.
        """
        with self._engine.slot() as slot:
            with watch.stage("preprocess"):
                self.place(slot, pixels, owners, places, windows)
            with watch.stage("network"):
                return self.download(slot, self.launch(slot, len(owners)))

    def place(
        self,
        slot: _Slot,
        pixels: Sequence[Any],
        owners: Sequence[int],
        places: Sequence[Affine],
        windows: Sequence[Window] = (),
    ) -> None:
        """Queue the kernel that puts pictures into the slot's input; see `run`.

        Rows of a fixed batch that nobody asked for repeat the last one: what they hold must be a picture,
        as the network answers for them too.
        """
        spare = max(self._rows - len(owners), 0)
        owners, places, windows = (
            [*rows, *[*rows[-1:]] * spare] for rows in (owners, places, windows)
        )
        used = {i: pixels[i] for i in sorted(set(owners))}
        self._follow_makers(slot, list(used.values()))
        with self.guard:
            on_device = {i: self._picture(picture, slot.stream) for i, picture in used.items()}
            self.kernels.preprocess(
                [on_device[i] for i in owners],
                places,
                self._layout,
                slot.inputs[self._name],
                slot.stream,
                windows,
            )

    def _picture(self, pixels: Any, stream: Any) -> Any:
        if isinstance(pixels, PlanarPixels):
            planes = pixels.planes
            return planes if pixels.on_device else self.kernels.runner.planes(planes, stream)
        form = "rgba8" if len(pixels.shape) == 3 and pixels.shape[2] == 4 else "rgb8"
        return self.kernels.runner.picture(pixels, form, stream)

    def _follow_makers(self, slot: _Slot, pictures: Sequence[Any]) -> None:
        """Pictures on the device may still be written: wait for the default stream, where jetson-utils
        and torch work, or for all where a picture names a stream of its own."""
        given = [p.planes.planes[0] if isinstance(p, PlanarPixels) else p for p in pictures]
        made = [p.__cuda_array_interface__ for p in given if not isinstance(p, np.ndarray)]
        if any(interface.get("stream") not in (None, 1, 2) for interface in made):
            self._engine.cuda.context.synchronize()
        elif made:
            self._engine.cuda.follow(slot.stream, None)

    def launch(self, slot: _Slot, rows: int) -> dict[str, Any]:
        """Queue the network on so many rows; its outputs on the device, of a fixed batch all rows."""
        return slot.run({self._name: self._layout.shape(self._rows or rows)})

    def download(self, slot: _Slot, outputs: Mapping[str, Any]) -> Outputs:
        """Outputs copied to the host; waits.

        Raises:
            EngineError: values that are not finite.
        """
        hosts = {}
        for name, array in outputs.items():
            host = slot.host_result(name).reshape(-1)[: math.prod(array.shape)]
            hosts[name] = host.reshape(array.shape)
            self._engine.cuda.download(array, hosts[name], slot.stream)
        self._engine.cuda.wait(slot.stream)
        # pinned memory stays with the slot
        return check_outputs({n: np.array(h, np.float32) for n, h in hosts.items()})

    def close(self) -> None:
        """Free the kernels' memory, after what is queued; the engine stays open."""
        self.kernels.runner.close()


def device_feed(engine: Engine, spec: InputSpec, rows: int) -> DeviceFeed | None:
    """A feed for GPU engines, None for others; and where none can be had, which is said."""
    if not isinstance(engine, SlotEngine):
        return None
    dtype = next(t.dtype for t in engine.inputs if t.name == spec.name)
    try:
        if dtype not in (np.float32, np.float16):
            raise BackendUnavailable(f"the input {spec.name!r} is {dtype}, not float32 or float16")
        from edgepose.cuda.device import device_kernels

        return DeviceFeed(
            engine, spec, rows, dtype == np.float16, device_kernels(engine.cuda.context)
        )
    except Exception as e:  # whatever a driver can think of: the way over the host is still there
        log.warning("%s: pictures are prepared on the CPU: %s", engine.name, str(e).rstrip("."))
        return None
