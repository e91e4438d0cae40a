"""Real PyCUDA on a stand-in for the driver that executes the shipped PTX on the CPU.

Everything that needs a GPU in this folder runs here without one: contexts, streams, pools, launches
with their packed arguments, copies. The stand-in (fake_driver.cpp) is stricter than a driver. Where
PyCUDA is not installed, the wheels of the test material serve.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgepose.cuda import host_build
from edgepose.cuda.compile import SHIPPED_PTX
from tests.cuda.conftest import machine_folder
from tests.cuda.ptx_machine import PtxMachine

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def pycuda_path(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with PyCUDA for this Python, "" where it is installed."""
    if importlib.util.find_spec("pycuda"):
        return ""
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    wheels = sorted((shared / "wheels").glob(f"pycuda-*-{tag}-{tag}-linux_x86_64.whl"))
    if not wheels or os.uname().machine != "x86_64":
        pytest.skip(f"PyCUDA is not installed and there is no wheel of it for {tag}")
    folder = tmp_path_factory.mktemp("pycuda")
    with zipfile.ZipFile(wheels[-1]) as wheel:
        wheel.extractall(folder)
    return str(folder)


@pytest.fixture(scope="session")
def fake_driver(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """A folder with the stand-in as libcuda.so.1, and the machine that it executes the shipped PTX on."""
    compiler = host_build.compiler()
    if compiler is None:
        pytest.skip("no C++ compiler is here")
    folder = tmp_path_factory.mktemp("driver")
    library = folder / "libcuda.so.1"
    flags = "-std=c++17 -O1 -fPIC -shared -Wl,-soname,libcuda.so.1 -ldl -o".split()
    command = [*compiler, str(HERE / "fake_driver.cpp"), *flags, str(library)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    machine = PtxMachine(SHIPPED_PTX.read_text("ascii"), machine_folder(pytestconfig))
    (folder / "machine.so").symlink_to(machine.path)
    return folder


def run_python(
    arguments: list[str], pycuda_path: str, driver: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with PyCUDA and the stand-in.

    Symbols are bound when they are called: the stand-in has only those of the driver that we use.
    """
    start = driver / "lazy"
    start.mkdir(exist_ok=True)
    (start / "sitecustomize.py").write_text(
        "import os, sys\nsys.setdlopenflags(os.RTLD_LAZY)\n", encoding="utf-8"
    )
    paths = [str(start), pycuda_path, str(HERE.parents[1])]
    return subprocess.run(
        [sys.executable, *arguments],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(p for p in paths if p),
            "LD_LIBRARY_PATH": str(driver),
            "EDGEPOSE_CACHE": str(driver / "cache"),
            "FAKE_MACHINE": str(driver / "machine.so"),
            **environment,
        },
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.mark.parametrize("integrated", ["0", "1"])
def test_all_that_needs_a_gpu(pycuda_path: str, fake_driver: Path, integrated: str) -> None:
    options = ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(HERE)]
    run = run_python(
        options, pycuda_path, fake_driver, FAKE_INTEGRATED=integrated, FAKE_REVERSE=integrated
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-3000:]
    last = run.stdout.strip().splitlines()[-1]
    assert "passed" in last
    assert "skipped" not in last


LIFE = """
import ctypes, threading, sys
import numpy as np
from edgepose.cuda.context import context
from edgepose.cuda.device import DeviceRunner
from edgepose.cuda.kernels import Kernels
from edgepose.cuda.pictures import Planes, Shape, TensorLayout
from edgepose.cuda import twins
from edgepose.errors import BackendUnavailable, EngineError
from edgepose.geometry import stretch

fake = ctypes.CDLL("libcuda.so.1")
def live():
    counts = (ctypes.c_int * 6)()
    fake.fake_live(counts)
    return list(counts)

assert live() == [0] * 6
gpu = context()
assert context() is gpu
assert (gpu.name, gpu.compute_capability, gpu.driver_version) == ("Fake", "87", "12.6")
kernels = Kernels(DeviceRunner(gpu))
runner = kernels.runner
print(runner.origin)

# Frames from several threads, each with its own stream, more of them than uploads at once.
layout = TensorLayout(20, 10)
affine = stretch((40, 20), (20, 10))
rng = np.random.default_rng(0)
wrong = []
def work(seed):
    mine = Kernels(DeviceRunner(gpu))
    frames = np.random.default_rng(seed).integers(0, 256, (12, 20, 40, 3), np.uint8)
    outs = []
    for frame in frames:  # all queued before anything runs
        picture = mine.runner.picture(frame)
        outs.append(mine.preprocess([picture], [affine], layout))
    batch = mine.preprocess([mine.runner.picture(f) for f in frames], [affine] * 12, layout)
    want = twins.preprocess([Planes.packed(f) for f in frames], [affine] * 12, layout)
    got = [mine.runner.download(out)[0] for out in outs]
    if not np.array_equal(got, want) or not np.array_equal(mine.runner.download(batch), want):
        wrong.append(seed)
threads = [threading.Thread(target=work, args=(s,)) for s in range(3)]
[t.start() for t in threads]; [t.join() for t in threads]
assert not wrong, wrong

# The pool hands the same block out again, and frees everything at the end.
a = runner.pool.device((1000,), np.uint8)
address = a.address
runner.pool.give(a)
runner.pool.give(a)
b, c = runner.pool.device((900,), np.uint8), runner.pool.device((900,), np.uint8)
assert b.address == address != c.address
try:
    runner.pool.device((2**31,), np.uint8)
    raise SystemExit("no error")
except EngineError as e:
    assert "MiB were asked for" in str(e)
with gpu.active():
    with gpu.active():
        pass
    gpu.driver.mem_alloc(16).free()
del threads
gpu.synchronize()
gpu.close()
gpu.close()
counts = live()
assert counts[:2] == [0, 0] and counts[5] == 0, counts
try:
    with gpu.active():
        raise SystemExit("no error")
except BackendUnavailable:
    pass
again = context()
assert again is not gpu
again.close()
print(fake.fake_launches(b"ep_preprocess"))
"""


@pytest.mark.parametrize("integrated", ["0", "1"])
def test_a_life_of_a_context(pycuda_path: str, fake_driver: Path, integrated: str) -> None:
    run = run_python(["-c", LIFE], pycuda_path, fake_driver, FAKE_INTEGRATED=integrated)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.split("\n")[:2] == ["shipped PTX", str(3 * 13)]
    assert "clean-up" not in run.stderr


ORIGIN = """
from edgepose.cuda.device import DeviceRunner
print(DeviceRunner().origin)
"""


def test_the_next_way_where_the_driver_refuses_the_ptx(
    pycuda_path: str, fake_driver: Path, tmp_path: Path
) -> None:
    nvcc = tmp_path / "bin/nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nprintf "\\177ELF" > "$2"\n')
    nvcc.chmod(0o755)
    environment = {
        "FAKE_REFUSE_PTX": "1",
        "EDGEPOSE_NVRTC": str(tmp_path / "none.so"),
        "PATH": f"{nvcc.parent}{os.pathsep}{os.environ['PATH']}",
        "EDGEPOSE_CACHE": str(tmp_path / "cache"),
        "CUDA_HOME": str(tmp_path),
    }
    first = run_python(["-c", ORIGIN], pycuda_path, fake_driver, **environment)
    assert first.stdout == "nvcc\n", first.stderr
    kept = list((tmp_path / "cache/kernels").iterdir())
    assert len(kept) == 1
    assert kept[0].name.endswith("-sm_87-driver_12.6.cubin")
    nvcc.unlink()
    second = run_python(["-c", ORIGIN], pycuda_path, fake_driver, **environment)
    assert second.stdout == "NVRTC\n", second.stderr  # from the cache, which the ways share
    kept[0].unlink()
    third = run_python(
        ["-c", ORIGIN], pycuda_path, fake_driver, **{**environment, "PATH": str(nvcc.parent)}
    )
    assert "shipped PTX: the driver refuses it" in third.stderr
    assert "NVRTC is not installed" in third.stderr
    assert "nvcc is not installed" in third.stderr


def test_without_a_driver_the_reason_is_given(pycuda_path: str, tmp_path: Path) -> None:
    code = (
        "from edgepose.cuda.context import context\n"
        "from edgepose.errors import BackendUnavailable\n"
        "try:\n    context()\nexcept BackendUnavailable as e:\n    print(e)\n"
    )
    run = run_python(["-c", code], pycuda_path, tmp_path)
    if run.stdout:
        assert "PyCUDA does not load" in run.stdout or "does not start" in run.stdout
    else:
        assert run.returncode == 0, run.stderr  # a real driver and GPU are here
