"""`device.Cuda` on the context, the pool and the streams of `edgepose.cuda`."""

from __future__ import annotations

import importlib.util
import threading
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.cuda.buffers import DeviceArray, PinnedArray, Pool
from edgepose.cuda.context import Context, context, pycuda_driver
from edgepose.errors import BackendUnavailable

_lock = threading.Lock()
_opened: dict[int, PyCuda] = {}


def check() -> None:
    """See that PyCUDA can be used; cheap where it is not installed.

    Raises:
        BackendUnavailable: it cannot.
    """
    if importlib.util.find_spec("pycuda") is None:
        raise BackendUnavailable("PyCUDA is not installed (pip install 'edgepose[gpu]')")
    pycuda_driver()


def open_cuda(index: int = 0) -> PyCuda:
    """The GPU of a number; the same object as long as its context is open.

    Raises:
        BackendUnavailable: no PyCUDA, no driver, or no such GPU.
    """
    gpu = context(index)
    with _lock:
        known = _opened.get(index)
        if known is None or known.context is not gpu:
            known = _opened[index] = PyCuda(gpu)
        return known


class PyCuda:
    """Memory, copies and streams of one context.

    Args:
        gpu: the context, open.
    """

    def __init__(self, gpu: Context) -> None:
        self.context = gpu
        self._driver = gpu.driver
        self._pool = Pool(gpu)
        self._pinned: dict[int, PinnedArray] = {}

    def current(self) -> AbstractContextManager[Any]:
        """See `Cuda.current`."""
        return self.context.active()

    def stream(self) -> Any:
        """A PyCUDA stream that does not wait for the default one (CU_STREAM_NON_BLOCKING)."""
        with self.current():
            return self._driver.Stream(1)

    def follow(self, later: Any, earlier: Any) -> None:
        """See `Cuda.follow`."""
        event = self._driver.Event(self._driver.event_flags.DISABLE_TIMING)
        event.record(earlier)
        later.wait_for_event(event)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        """See `Cuda.empty`."""
        return self._pool.device(shape, dtype)

    def view(self, array: Any, shape: tuple[int, ...]) -> DeviceArray:
        """See `Cuda.view`."""
        return DeviceArray(array.address, shape, array.dtype)

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """See `Cuda.pinned`."""
        memory = self._pool.pinned(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        array = memory.view(shape, np.dtype(dtype))
        self._pinned[array.ctypes.data] = memory
        return array

    def upload(self, host: NDArray[Any], device: Any, stream: Any) -> None:
        """See `Cuda.upload`."""
        self._driver.memcpy_htod_async(device.address, host, stream)

    def download(self, device: Any, host: NDArray[Any], stream: Any) -> None:
        """See `Cuda.download`."""
        self._driver.memcpy_dtoh_async(host, device.address, stream)

    def give(self, array: Any) -> None:
        """See `Cuda.give`."""
        if isinstance(array, np.ndarray):
            memory = self._pinned.pop(array.ctypes.data, None)
            if memory is not None:
                self._pool.give(memory)
            return
        self._pool.give(array)
