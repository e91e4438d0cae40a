"""Which GPU is here, asked from the driver itself: no CUDA toolkit, no context, a few milliseconds."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.errors import BackendUnavailable, UsageError

_ATTRIBUTE_MAJOR, _ATTRIBUTE_MINOR, _ATTRIBUTE_INTEGRATED = 75, 76, 18
_ATTRIBUTE_MULTIPROCESSORS = 16
_LIBRARY = "libcuda.so.1"


@dataclass(frozen=True)
class Gpu:
    """A GPU, as far as plans and memory planning care.

    Attributes:
        index: number among the visible GPUs.
        name: for example "Orin".
        compute_capability: for example "8.7".
        driver: CUDA version of the driver, for example "12.6".
        memory: bytes of the GPU, on Jetson those it shares with the CPU.
        integrated: True where GPU and CPU share their memory (Jetson).
        multiprocessors: how many it has; "Orin" is the name of boards with 4 to 16.
    """

    index: int
    name: str
    compute_capability: str
    driver: str
    memory: int
    integrated: bool
    multiprocessors: int = 0


@dataclass(frozen=True)
class HostMemory:
    """Bytes of memory and swap that are free."""

    available: int
    swap: int


def find_gpu(device: str = "", library: str = _LIBRARY) -> Gpu:
    """The GPU of a number ("" = 0).

    Raises:
        UsageError: `device` is not a number of a GPU.
        BackendUnavailable: no driver, no GPU, or not that many.
    """
    index = gpu_index(device)
    driver = _driver(library)
    count = ctypes.c_int()
    _check_status(driver.cuDeviceGetCount(ctypes.byref(count)), "counting the GPUs")
    if not 0 <= index < count.value:
        raise BackendUnavailable(f"there is no GPU {index}; the driver shows {count.value}")
    handle = ctypes.c_int()
    _check_status(driver.cuDeviceGet(ctypes.byref(handle), index), f"opening GPU {index}")
    name = ctypes.create_string_buffer(256)
    _check_status(driver.cuDeviceGetName(name, 256, handle), "naming the GPU")
    memory = ctypes.c_size_t()
    _check_status(driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle), "asking for its memory")
    return Gpu(
        index,
        name.value.decode("utf-8", "replace"),
        f"{_attribute(driver, handle, _ATTRIBUTE_MAJOR)}.{_attribute(driver, handle, _ATTRIBUTE_MINOR)}",
        _driver_version(driver),
        memory.value,
        bool(_attribute(driver, handle, _ATTRIBUTE_INTEGRATED)),
        _attribute(driver, handle, _ATTRIBUTE_MULTIPROCESSORS),
    )


def gpu_index(device: str) -> int:
    """The number that a device option names: "", "1", "gpu" or "cuda:1".

    Raises:
        UsageError: something else.
    """
    number = device.lower().removeprefix("cuda").removeprefix("gpu").lstrip(":.")
    if number and not (number.isascii() and number.isdigit()):
        raise UsageError(f"Device {device!r} is not the number of a GPU, such as 0 or cuda:1.")
    return int(number or 0)


def host_memory(meminfo: Path = Path("/proc/meminfo")) -> HostMemory | None:
    """Free memory and swap of the machine, None where the system does not tell."""
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    sizes = {}
    for line in lines:
        key, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            sizes[key] = int(words[0]) * 1024
    if "MemAvailable" not in sizes:
        return None
    return HostMemory(sizes["MemAvailable"], sizes.get("SwapFree", 0))


def _driver(library: str) -> Any:
    if os.environ.get("CUDA_VISIBLE_DEVICES", None) in ("", "-1"):
        raise BackendUnavailable("CUDA_VISIBLE_DEVICES hides every GPU")
    try:
        driver = ctypes.CDLL(library)
    except OSError as e:
        raise BackendUnavailable("no NVIDIA GPU driver (libcuda.so.1) is installed") from e
    _check_status(driver.cuInit(0), "starting the GPU driver")
    return driver


def _driver_version(driver: Any) -> str:
    version = ctypes.c_int()
    _check_status(
        driver.cuDriverGetVersion(ctypes.byref(version)), "asking for the driver's version"
    )
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def _attribute(driver: Any, device: Any, number: int) -> int:
    value = ctypes.c_int()
    _check_status(
        driver.cuDeviceGetAttribute(ctypes.byref(value), number, device), f"attribute {number}"
    )
    return value.value


_REASONS = {
    100: "no GPU was found",
    101: "that GPU does not exist",
    35: "the driver is older than this CUDA version",
    803: "the driver and its library have different versions; restart the machine",
    999: "the driver does not answer; restart the machine",
}


def _check_status(status: int, doing: str) -> None:
    if status:
        reason = _REASONS.get(status, f"CUDA error {status}")
        raise BackendUnavailable(f"{doing} failed: {reason}")
