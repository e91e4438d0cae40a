"""Where kernels run in tests: the host build and the shipped PTX on a CPU, both also in reverse, and a GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.cuda import host, host_build
from edgepose.cuda.compile import SHIPPED_PTX
from edgepose.cuda.host_kernels import HostRunner
from edgepose.cuda.kernels import Kernels, Runner
from edgepose.errors import BackendUnavailable
from tests.cuda.ptx_machine import RACES, REVERSE, PtxMachine, PtxRunner, machine_folder


@dataclass(frozen=True)
class On:
    """A place where kernels run, and how arrays get there and back."""

    kernels: Kernels
    device: Any = None  # the DeviceRunner, None on the host

    def put(self, array: np.ndarray) -> Any:
        """The array where kernels can use it; on the host the array itself."""
        if isinstance(self.kernels.runner, PtxRunner):
            return self.kernels.runner.allow(array)
        return array if self.device is None else copy_to_device(self.device, array)

    def get(self, array: Any) -> np.ndarray:
        """The array as numpy."""
        return array if self.device is None else self.device.download(array)


def copy_to_device(runner: Any, array: np.ndarray) -> Any:
    """A copy in GPU memory that lives until the context closes; rows may be apart."""
    from edgepose.cuda.buffers import DeviceArray

    start = array.__array_interface__["data"][0]
    steps = zip(array.shape, array.strides, strict=True)
    span = sum((n - 1) * stride for n, stride in steps) + array.itemsize
    flat = np.ctypeslib.as_array((ctypes.c_uint8 * span).from_address(start))
    block = runner.pool.device(flat.shape, np.uint8)
    runner.context.put(block.address, np.array(flat))

    class Strided(DeviceArray):
        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            return {**super().__cuda_array_interface__, "strides": array.strides}

    kind = DeviceArray if array.flags.c_contiguous else Strided
    return kind(block.address, array.shape, array.dtype, block.block)


def build_library(folder: Path, *flags: str) -> ctypes.CDLL:
    """The host library with further compiler options; skips where there is no compiler."""
    path = folder / f"_host{len(flags)}.so"
    if problem := host_build.build_library(path, flags):
        pytest.skip(f"the kernels cannot be built for the host: {problem}")
    return host.load(path)


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    """Host builds by name."""
    folder = tmp_path_factory.mktemp("host")
    try:
        installed = host.library()
    except BackendUnavailable:
        installed = build_library(folder)
    return {
        "host": installed,
        "host-reverse": build_library(folder, "-DEP_REVERSE"),
    }


@pytest.fixture(scope="session")
def machine(pytestconfig: pytest.Config) -> PtxMachine:
    """The shipped PTX, compiled for the CPU."""
    try:
        return PtxMachine(SHIPPED_PTX.read_text("ascii"), machine_folder(pytestconfig))
    except LookupError as e:
        pytest.skip(str(e))


@pytest.fixture(scope="session")
def device() -> Iterator[On]:
    """The first GPU, closed at the end."""
    from edgepose.cuda.device import device_kernels

    try:
        kernels = device_kernels()
    except BackendUnavailable as e:
        pytest.skip(f"no GPU: {e}")
    runner: Any = kernels.runner
    yield On(kernels, runner)
    runner.context.close()


PLACES = ["host", "host-reverse", "ptx", "ptx-reverse", pytest.param("gpu", marks=pytest.mark.gpu)]


@pytest.fixture(params=PLACES)
def on(request: pytest.FixtureRequest) -> Iterator[On]:
    """Each place where kernels run."""
    runner: Runner
    if request.param == "gpu":
        yield request.getfixturevalue("device")
        return
    if request.param.startswith("ptx"):
        flags = REVERSE if request.param.endswith("reverse") else RACES
        runner = PtxRunner(request.getfixturevalue("machine"), flags)
    else:
        runner = HostRunner(request.getfixturevalue("libraries")[request.param])
    yield On(Kernels(runner))
    runner.close()
