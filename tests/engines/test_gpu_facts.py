"""The GPU's facts from the driver: against a driver library made here, and where there is none."""

from __future__ import annotations

import subprocess
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.cuda import host_build
from edgepose.engines.gpu import Gpu, HostMemory, find_gpu, gpu_index, host_memory
from edgepose.engines.plans import Flavour
from edgepose.engines.tensorrt_load import check_gpu
from edgepose.errors import BackendUnavailable, UsageError

DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *n) { *n = 2; return 0; }
int cuDeviceGet(int *d, int i) { *d = i + 10; return 0; }
int cuDeviceGetName(char *s, int n, int d) { strncpy(s, d == 11 ? "Orin (nvgpu)" : "First", n); return 0; }
int cuDeviceTotalMem_v2(unsigned long *b, int d) { *b = 8ul << 30; return 0; }
int cuDriverGetVersion(int *v) { *v = 12060; return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) {
    *v = a == 75 ? 8 : a == 76 ? 7 : a == 18 ? 1 : a == 16 ? 16 : -1;
    return *v < 0;
}
"""


def driver(folder: Path, init: int = 0) -> str:
    """A libcuda with two devices, compiled."""
    compiler = host_build.compiler()
    if compiler is None:
        pytest.skip("no compiler to make a stand-in driver with")
    source, library = folder / "driver.c", folder / f"libcuda{init}.so"
    source.write_text(DRIVER)
    subprocess.run(
        [*compiler, *"-x c -O1 -shared -fPIC -o".split(), library, source, f"-DINIT={init}"],
        check=True,
        timeout=300,
    )
    return str(library)


@pytest.fixture(autouse=True)
def visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_facts(tmp_path: Path) -> None:
    library = driver(tmp_path)
    assert find_gpu("cuda:1", library) == Gpu(1, "Orin (nvgpu)", "8.7", "12.6", 8 << 30, True, 16)
    assert find_gpu("", library).name == "First"
    with pytest.raises(BackendUnavailable, match="no GPU 2; the driver shows 2"):
        find_gpu("2", library)


@pytest.mark.parametrize(
    ("status", "message"), [(100, "no GPU was found"), (803, "restart"), (7, "CUDA error 7")]
)
def test_a_driver_that_does_not_start(tmp_path: Path, status: int, message: str) -> None:
    with pytest.raises(BackendUnavailable, match=f"starting the GPU driver failed: .*{message}"):
        find_gpu("", driver(tmp_path, status))


def test_no_driver_and_hidden_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendUnavailable, match="no NVIDIA GPU driver"):
        find_gpu("", "libcuda-that-is-not-there.so")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(BackendUnavailable, match="CUDA_VISIBLE_DEVICES hides"):
        find_gpu()


@pytest.mark.parametrize(
    ("text", "number"), [("", 0), ("0", 0), ("3", 3), ("GPU", 0), ("gpu:1", 1), ("cuda:2", 2)]
)
def test_device_names(text: str, number: int) -> None:
    assert gpu_index(text) == number


@given(st.text(max_size=8))
def test_other_device_names_are_usage_errors(text: str) -> None:
    try:
        assert gpu_index(text) >= 0
    except UsageError:
        assert text


def test_memory(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(
        textwrap.dedent(
            """\
            MemTotal:        7802364 kB
            MemAvailable:    1024000 kB
            SwapFree:         512000 kB
            HugePages_Total:       0
            broken line
            """
        )
    )
    assert host_memory(meminfo) == HostMemory(1024000 * 1024, 512000 * 1024)
    meminfo.write_text("MemTotal: 1 kB\n")
    assert host_memory(meminfo) is None
    assert host_memory(tmp_path / "none") is None


RTX_KNOWS = dict.fromkeys(("NONE", "CURRENT", "SM75", "SM80", "SM86", "SM89", "SM120"))


@pytest.mark.parametrize(
    ("capability", "runs"),
    [("8.6", True), ("8.9", True), ("9.0", False), ("8.7", False), ("12.0", True), ("12.1", True)],
)
def test_a_gpu_that_the_library_has_no_kernels_for(capability: str, runs: bool) -> None:
    """TensorRT for RTX builds for minutes, and only then refuses an H200 (9.0)."""
    library = SimpleNamespace(
        __version__="1.7.1", ComputeCapability=SimpleNamespace(__members__=RTX_KNOWS)
    )
    flavour = Flavour("tensorrt_rtx", "TensorRT for RTX", library)
    gpu = Gpu(0, "NVIDIA H200", capability, "13.0", 2**37, False, 132)
    if runs:
        check_gpu(flavour, gpu)
        return
    with pytest.raises(BackendUnavailable, match=rf"NVIDIA H200 .*{capability}; it knows 7.5, 8.0"):
        check_gpu(flavour, gpu)


def test_tensorrt_itself_does_not_tell() -> None:
    gpu = Gpu(0, "Orin", "8.7", "12.6", 2**33, True, 16)
    check_gpu(Flavour("tensorrt", "TensorRT", SimpleNamespace(__version__="10.3")), gpu)
