"""The kernels on the GPU: `Runner` on one stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.cuda.buffers import DeviceArray, PinnedArray, Pool
from edgepose.cuda.compile import load
from edgepose.cuda.context import Context, context
from edgepose.cuda.kernels import ARGUMENTS, THREADS, Grid, Kernels
from edgepose.cuda.pictures import Format, Planes

# Kernels that read uploads; the others read what kernels and engines have left on the GPU.
READERS = ("ep_preprocess", "ep_warp", "ep_overlay")
APART = 256  # bytes: arrays of one upload begin at multiples, as allocations do
UPLOADS = 4  # as many uploads go on at once without waiting; a batch of frames makes it more


class _Upload:
    """Memory of one upload, reused when the kernels that read it are through."""

    def __init__(self) -> None:
        self.pinned: PinnedArray | None = None
        self.device: DeviceArray | None = None
        self.done: Any = None  # event after the last kernel that may read it


class DeviceRunner:
    """Runs kernels of one context on one stream; for one thread at a time.

    Args:
        gpu: the context; that of GPU 0 where it is None.
        stream: of the binding; a new one where it is None.

    Attributes:
        context, stream, pool: what it works with.
        origin: where the kernels came from, such as "shipped PTX".

    Raises:
        BackendUnavailable: no binding, driver or GPU, or no way to get kernels for it.
    """

    def __init__(self, gpu: Context | None = None, stream: Any = None) -> None:
        self.context = gpu or context()
        driver = self.context.driver
        with self.context.active():
            self._module, self.origin = load(
                driver.module_from_buffer,
                driver.Error,
                self.context.compute_capability,
                self.context.driver_version,
            )
            self._functions = {
                name: self._module.get_function(name).prepare(ARGUMENTS[name]) for name in ARGUMENTS
            }
            self.stream = stream or driver.Stream()
        self.pool = Pool(self.context)
        self._uploads = deque(_Upload() for _ in range(UPLOADS))
        self._fresh: list[_Upload] = []  # those that the next launch reads, or the last one read
        self._launched = False
        self.context.on_close(self._forget)

    def _forget(self) -> None:
        """Let go of everything that lives in the context, while it is current."""
        self._uploads.clear()
        self._fresh.clear()
        self._functions.clear()
        self._module = self.stream = None

    def close(self) -> None:
        """Wait, and free what this runner holds before the context closes; safe to call twice."""
        if self._module is None:
            return
        self.context.synchronize()
        with self.context.active():
            self._forget()
        self.context.not_on_close(self._forget)
        self.pool.close()

    def launch(self, name: str, grid: Grid, arguments: Sequence[Any], stream: Any = None) -> None:
        """Start a kernel and return."""
        where = stream or self.stream
        with self.context.active():
            function = self._functions[name]
            function.prepared_async_call(grid, (THREADS[name], 1, 1), where, *arguments)
            if name in READERS and self._fresh:
                done = self.context.mark(where)
                for upload in self._fresh:  # free for another upload when this kernel is through
                    upload.done = done
                self._launched = True

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        """New GPU memory; give it back with `pool.give`."""
        return self.pool.device(shape, dtype)

    def upload(self, data: NDArray[Any], stream: Any = None) -> DeviceArray:
        """Copy an array to the GPU for the next launches of `READERS`, until the upload that follows them.

        On Jetson the GPU reads the page-locked memory itself and nothing is copied twice.
        """
        return self._upload([data], stream)[0]

    def _upload(self, arrays: Sequence[NDArray[Any]], stream: Any) -> list[DeviceArray]:
        """Several arrays, whose rows may be apart, in one copy."""
        starts = [0]
        for array in arrays:
            starts.append(starts[-1] + -(-array.nbytes // APART) * APART)
        with self.context.active():
            slot = self._next_upload()
            self._fit(slot, starts[-1], self.context.integrated)
            assert slot.pinned is not None
            for array, start in zip(arrays, starts, strict=False):
                part = slot.pinned.array[start : start + array.nbytes]
                part.view(array.dtype).reshape(array.shape)[...] = array
            self._fresh.append(slot)
            address = slot.pinned.mapped
            if slot.device is not None:
                address = slot.device.address
                filled = slot.pinned.array[: starts[-1]]
                self.context.driver.memcpy_htod_async(address, filled, stream or self.stream)
        return [
            DeviceArray(address + start, a.shape, a.dtype)
            for a, start in zip(arrays, starts, strict=False)
        ]

    def _next_upload(self) -> _Upload:
        """The one that waited longest; a new one where no kernel was launched for it yet."""
        if self._launched:
            self._fresh.clear()
            self._launched = False
        if self._uploads[0] in self._fresh:
            self._uploads.appendleft(_Upload())
        self._uploads.rotate(-1)
        return self._uploads[-1]

    def _fit(self, slot: _Upload, nbytes: int, mapped: bool) -> None:
        """Wait until the slot is free, and give it memory that is large enough."""
        if slot.done is not None:
            slot.done.synchronize()
        if slot.pinned is None or slot.pinned.array.nbytes < nbytes:
            for memory in (slot.pinned, slot.device):
                if memory is not None:
                    self.pool.give(memory)
            slot.pinned = self.pool.pinned(nbytes, mapped)
            slot.device = None if mapped else self.pool.device((nbytes,), np.uint8)

    def picture(self, pixels: Any, format: Format = "rgb8", stream: Any = None) -> Planes:
        """A picture that kernels can read: as it is where it lies on the GPU, else uploaded.

        Raises:
            UsageError: an array of another shape or type.
        """
        if isinstance(pixels, np.ndarray):
            Planes.packed(pixels[..., :], format)
            return Planes.packed(self.upload(pixels, stream), format)
        return Planes.packed(pixels, format)

    def planes(self, picture: Planes, stream: Any = None) -> Planes:
        """A picture that lies on the host, uploaded; its planes in one copy."""
        return replace(picture, planes=tuple(self._upload(picture.planes, stream)))

    def download(self, source: DeviceArray, stream: Any = None) -> NDArray[Any]:
        """A copy on the host; waits for the stream."""
        where = stream or self.stream
        out = np.empty(source.shape, source.dtype)
        with self.context.active():
            self.context.driver.memcpy_dtoh_async(out, source.address, where)
            self.context.wait(where)
        return out


def device_kernels(gpu: Context | None = None, stream: Any = None) -> Kernels:
    """The kernels on a GPU.

    Raises:
        BackendUnavailable: see `DeviceRunner`.
    """
    return Kernels(DeviceRunner(gpu, stream))
