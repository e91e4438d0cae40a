"""NVIDIA's `cuda-bindings` behind the part of `pycuda.driver` that edgepose uses.

PyCUDA is compiled where it is installed; this package comes ready made. Names and meanings are PyCUDA's, so that
nothing above knows which of the two is at work. Calls release Python's lock while they wait.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
from cuda.bindings import driver as nv
from numpy.typing import NDArray

Status = nv.CUresult


class Error(Exception):
    """The driver refused a call."""


class MemoryError(Error):
    """No memory is left."""


def _call(function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
    """What a function of the driver returns beside its status.

    Raises:
        Error: the status is not success.
    """
    status, *found = function(*arguments)
    if status != Status.CUDA_SUCCESS:
        words = nv.cuGetErrorString(status)[1] or b"unknown error"
        kind = MemoryError if status == Status.CUDA_ERROR_OUT_OF_MEMORY else Error
        raise kind(f"{function.__name__} failed: {words.decode()}")
    return found[0] if len(found) == 1 else found


def _handle(stream: Stream | None) -> Any:
    return nv.CUstream(0) if stream is None else stream.native


# ---- devices and contexts --------------------------------------------------------------------------
device_attribute = SimpleNamespace(INTEGRATED=nv.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED)
host_alloc_flags = SimpleNamespace(DEVICEMAP=nv.CU_MEMHOSTALLOC_DEVICEMAP)
event_flags = SimpleNamespace(
    BLOCKING_SYNC=int(nv.CUevent_flags.CU_EVENT_BLOCKING_SYNC),
    DISABLE_TIMING=int(nv.CUevent_flags.CU_EVENT_DISABLE_TIMING),
)


def init() -> None:
    """Start the driver.

    Raises:
        Error: it does not start, or is not here.
    """
    try:
        _call(nv.cuInit, 0)
    except (RuntimeError, OSError):  # pathfinder's, whose words name a library "cuda"
        raise Error("libcuda.so.1, which comes with it, is not here") from None


def get_driver_version() -> int:
    """Such as 12060."""
    return int(_call(nv.cuDriverGetVersion))


def mem_get_info() -> tuple[int, int]:
    """Free and all bytes of the GPU."""
    free, total = _call(nv.cuMemGetInfo)
    return int(free), int(total)


class Device:
    """A GPU by number."""

    def __init__(self, index: int) -> None:
        self._device = _call(nv.cuDeviceGet, index)

    @staticmethod
    def count() -> int:
        return int(_call(nv.cuDeviceGetCount))

    def name(self) -> str:
        name: bytes = _call(nv.cuDeviceGetName, 256, self._device)
        return name.split(b"\0")[0].decode()

    def get_attribute(self, which: Any) -> int:
        return int(_call(nv.cuDeviceGetAttribute, which, self._device))

    def compute_capability(self) -> tuple[int, int]:
        numbers = nv.CUdevice_attribute
        major = numbers.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
        minor = numbers.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
        return self.get_attribute(major), self.get_attribute(minor)

    def retain_primary_context(self) -> Context:
        return Context(self._device)


class Context:
    """A device's primary context, retained."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._context = _call(nv.cuDevicePrimaryCtxRetain, device)

    def push(self) -> None:
        _call(nv.cuCtxPushCurrent, self._context)

    @staticmethod
    def pop() -> None:
        _call(nv.cuCtxPopCurrent)

    @staticmethod
    def synchronize() -> None:
        _call(nv.cuCtxSynchronize)

    def detach(self) -> None:
        _call(nv.cuDevicePrimaryCtxRelease, self._device)


# ---- streams and events: destroyed with their object, while their context is current ----------------
class Stream:
    """Work in order. `handle` is its address, for TensorRT and jetson-utils."""

    def __init__(self, flags: int = 0) -> None:
        self.native = _call(nv.cuStreamCreate, flags)
        self.handle = int(self.native)

    def synchronize(self) -> None:
        _call(nv.cuStreamSynchronize, self.native)

    def wait_for_event(self, event: Event) -> None:
        _call(nv.cuStreamWaitEvent, self.native, event.native, 0)

    def __del__(self) -> None:
        if hasattr(self, "native"):
            with suppress(Exception):  # the interpreter goes down, and the driver with it
                nv.cuStreamDestroy(self.native)


class Event:
    """A point in a stream."""

    def __init__(self, flags: int = 0) -> None:
        self.native = _call(nv.cuEventCreate, flags)

    def record(self, stream: Stream | None = None) -> Event:
        _call(nv.cuEventRecord, self.native, _handle(stream))
        return self

    def synchronize(self) -> Event:
        _call(nv.cuEventSynchronize, self.native)
        return self

    def time_since(self, earlier: Event) -> float:
        """Milliseconds."""
        return float(_call(nv.cuEventElapsedTime, earlier.native, self.native))

    def __del__(self) -> None:
        if hasattr(self, "native"):
            with suppress(Exception):  # as for streams
                nv.cuEventDestroy(self.native)


# ---- memory ----------------------------------------------------------------------------------------
class DeviceAllocation:
    """GPU memory; `int()` is its address."""

    def __init__(self, size: int) -> None:
        self._pointer = _call(nv.cuMemAlloc, size)

    def __int__(self) -> int:
        return int(self._pointer)

    def free(self) -> None:
        _call(nv.cuMemFree, self._pointer)


mem_alloc = DeviceAllocation


class PagelockedHostAllocation:
    """Page-locked memory of the host, which numpy arrays look at."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], size: int, flags: int) -> None:
        self._address = int(_call(nv.cuMemHostAlloc, size, flags))
        self.__array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (self._address, False),
            "version": 3,
        }

    def get_device_pointer(self) -> int:
        return int(_call(nv.cuMemHostGetDevicePointer, self._address, 0))

    def free(self) -> None:
        _call(nv.cuMemFreeHost, self._address)


def pagelocked_empty(shape: Any, dtype: Any, mem_flags: int = 0) -> NDArray[Any]:
    """A new array in page-locked memory, whose `base` frees it."""
    shape = tuple(shape) if isinstance(shape, tuple) else (int(shape),)
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return np.asarray(PagelockedHostAllocation(shape, dtype, size, mem_flags))


def memcpy_htod(to: int, source: NDArray[Any]) -> None:
    _call(nv.cuMemcpyHtoD, to, source.ctypes.data, source.nbytes)


def memcpy_dtoh(to: NDArray[Any], source: int) -> None:
    _call(nv.cuMemcpyDtoH, to.ctypes.data, source, to.nbytes)


def memcpy_htod_async(to: int, source: NDArray[Any], stream: Stream | None = None) -> None:
    _call(nv.cuMemcpyHtoDAsync, to, source.ctypes.data, source.nbytes, _handle(stream))


def memcpy_dtoh_async(to: NDArray[Any], source: int, stream: Stream | None = None) -> None:
    _call(nv.cuMemcpyDtoHAsync, to.ctypes.data, source, to.nbytes, _handle(stream))


def memcpy_dtod_async(to: int, source: int, size: int, stream: Stream | None = None) -> None:
    _call(nv.cuMemcpyDtoDAsync, to, source, size, _handle(stream))


# ---- kernels ---------------------------------------------------------------------------------------
class Module:
    """Loaded kernels."""

    def __init__(self, image: bytes) -> None:
        self._module = _call(nv.cuModuleLoadData, image)

    def get_function(self, name: str) -> Function:
        return Function(_call(nv.cuModuleGetFunction, self._module, name.encode()), self)

    def __del__(self) -> None:
        if hasattr(self, "_module"):
            with suppress(Exception):  # as for streams
                nv.cuModuleUnload(self._module)


module_from_buffer = Module


class Function:
    """A kernel; its arguments go as one block, laid out by the struct module as C does it."""

    def __init__(self, native: Any, module: Module) -> None:
        self._native, self._module = native, module
        self._arguments = struct.Struct("")

    def prepare(self, letters: str) -> Function:
        self._arguments = struct.Struct(letters)
        return self

    def prepared_async_call(
        self,
        grid: tuple[int, ...],
        block: tuple[int, int, int],
        stream: Stream | None,
        *values: Any,
    ) -> None:
        packed = ctypes.create_string_buffer(self._arguments.pack(*values), self._arguments.size)
        size = ctypes.c_size_t(self._arguments.size)
        # CU_LAUNCH_PARAM_BUFFER_POINTER, the block, ..._SIZE, its size, the end
        extra = (ctypes.c_void_p * 5)(1, ctypes.addressof(packed), 2, ctypes.addressof(size), None)
        x, y, z = (*grid, 1, 1)[:3]
        where = (x, y, z, *block, 0, _handle(stream))
        _call(nv.cuLaunchKernel, self._native, *where, 0, ctypes.addressof(extra))
