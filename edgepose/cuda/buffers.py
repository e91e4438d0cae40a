"""Memory of the GPU and page-locked memory of the host, pooled: allocations cost more than frames."""

from __future__ import annotations

import importlib.util
import math
import threading
from collections import defaultdict
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.cuda.context import Context, context, gpu_driver
from edgepose.errors import BackendUnavailable, EngineError

_cuda_lock = threading.Lock()
_opened_cuda: dict[int, DriverCuda] = {}


class DeviceArray:
    """An array in GPU memory (or in mapped host memory) that anything with the CUDA array interface
    takes: PyCUDA, torch, CuPy, jetson-utils.

    Attributes:
        shape, dtype: C order.
        address: in the GPU's address space.
        block: what `Pool.give` takes back; None where the array is a view.
    """

    def __init__(
        self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any], block: Any = None
    ) -> None:
        self.address = address
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.block = block

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "strides": None,
            "version": 3,
        }


class PinnedArray:
    """Page-locked host memory.

    Attributes:
        array: the numpy array in it.
        allocation: the binding's object that owns it.
        mapped: the address under which the GPU sees it, 0 where it was not mapped.
    """

    def __init__(self, array: NDArray[Any], allocation: Any, mapped: int) -> None:
        self.array = array
        self.allocation = allocation
        self.mapped = mapped

    def view(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The first bytes as an array."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        viewed: NDArray[Any] = self.array[:size].view(dtype).reshape(shape)
        return viewed


def size_class(nbytes: int) -> int:
    """Pool blocks come in powers of two and three quarters of them, from 256 bytes."""
    size = 256
    while size < nbytes:
        size *= 2
    return size * 3 // 4 if size > 256 and size * 3 // 4 >= nbytes else size


def _full(what: str, nbytes: int) -> EngineError:
    return EngineError(
        f"No {what} left: {nbytes / 2**20:.1f} MiB were asked for. Close other programs on the GPU, or "
        "use a smaller batch or network."
    )


class Pool:
    """Blocks of one context, kept for the next taker; thread-safe. Freed when the context closes.

    A block may be given back while work on it is still queued, as long as its next user works on the
    same stream; on another stream, synchronise first.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._free_device: dict[int, list[Any]] = defaultdict(list)
        self._free_pinned: dict[tuple[int, bool], list[PinnedArray]] = defaultdict(list)
        self._device: list[Any] = []
        self._pinned: list[PinnedArray] = []
        context.on_close(self._free_all)

    def device(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        """Uninitialised GPU memory.

        Raises:
            EngineError: the GPU has no more.
        """
        dtype = np.dtype(dtype)
        size = size_class(math.prod(shape) * dtype.itemsize)
        with self._lock:
            block = self._free_device[size].pop() if self._free_device[size] else None
        if block is None:
            with self._context.active():
                try:
                    block = self._context.driver.mem_alloc(size)
                except self._context.driver.MemoryError:
                    raise _full("GPU memory", size) from None
            with self._lock:
                self._device.append(block)
        return DeviceArray(int(block), shape, dtype, (size, block))

    def pinned(self, nbytes: int, mapped: bool = False) -> PinnedArray:
        """Uninitialised page-locked memory of at least so many bytes, seen by the GPU if `mapped`.

        Raises:
            EngineError: the system has no more.
        """
        key = (size_class(nbytes), mapped)
        with self._lock:
            if self._free_pinned[key]:
                return self._free_pinned[key].pop()
        driver = self._context.driver
        flags = driver.host_alloc_flags.DEVICEMAP if mapped else 0
        with self._context.active():
            try:
                array = driver.pagelocked_empty(key[0], np.uint8, mem_flags=flags)
            except driver.MemoryError:
                raise _full("page-locked memory", key[0]) from None
            address = int(array.base.get_device_pointer()) if mapped else 0
        made = PinnedArray(array, array.base, address)
        with self._lock:
            self._pinned.append(made)
        return made

    def give(self, memory: DeviceArray | PinnedArray) -> None:
        """Give memory back for the next taker; giving a view back does nothing."""
        with self._lock:
            if isinstance(memory, PinnedArray):
                key = (memory.array.nbytes, memory.mapped != 0)
                self._free_pinned[key].append(memory)
            elif memory.block is not None:
                size, block = memory.block
                memory.block = None
                self._free_device[size].append(block)

    def close(self) -> None:
        """Free every block now, when nothing uses them any more."""
        with self._context.active():
            self._free_all()
        self._context.not_on_close(self._free_all)

    def _free_all(self) -> None:
        """Free every block, given back or not; the context is current."""
        with self._lock:
            for block in self._device:
                block.free()
            for pinned in self._pinned:
                pinned.allocation.free()
            self._device.clear()
            self._pinned.clear()
            self._free_device.clear()
            self._free_pinned.clear()


def check_driver() -> None:
    """See that the GPU's driver can be called; cheap where nothing is installed for it.

    Raises:
        BackendUnavailable: it cannot.
    """
    if not any(importlib.util.find_spec(package) for package in ("pycuda", "cuda")):
        raise BackendUnavailable(
            "neither cuda-bindings nor PyCUDA is installed (pip install 'edgepose[gpu]')"
        )
    gpu_driver()


def open_cuda(index: int = 0) -> DriverCuda:
    """The GPU of a number; the same object as long as its context is open.

    Raises:
        BackendUnavailable: no binding, no driver, or no such GPU.
    """
    gpu = context(index)
    with _cuda_lock:
        known = _opened_cuda.get(index)
        if known is None or known.context is not gpu:
            known = _opened_cuda[index] = DriverCuda(gpu)
        return known


class DriverCuda:
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
        return self.context.active()

    def stream(self) -> Any:
        """A stream that does not wait for the default one (CU_STREAM_NON_BLOCKING)."""
        with self.current():
            return self._driver.Stream(1)

    def follow(self, later: Any, earlier: Any) -> None:
        later.wait_for_event(self.context.mark(earlier))

    def wait(self, stream: Any) -> None:
        self.context.wait(stream)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        return self._pool.device(shape, dtype)

    def view(self, array: Any, shape: tuple[int, ...]) -> DeviceArray:
        return DeviceArray(array.address, shape, array.dtype)

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        memory = self._pool.pinned(math.prod(shape) * np.dtype(dtype).itemsize)
        array = memory.view(shape, np.dtype(dtype))
        self._pinned[array.ctypes.data] = memory
        return array

    def upload(self, host: NDArray[Any], device: Any, stream: Any) -> None:
        self._driver.memcpy_htod_async(device.address, host, stream)

    def download(self, device: Any, host: NDArray[Any], stream: Any) -> None:
        self._driver.memcpy_dtoh_async(host, device.address, stream)

    def give(self, array: Any) -> None:
        if isinstance(array, np.ndarray):
            memory = self._pinned.pop(array.ctypes.data, None)
            if memory is not None:
                self._pool.give(memory)
            return
        self._pool.give(array)
