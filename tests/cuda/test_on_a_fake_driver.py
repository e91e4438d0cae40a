"""The real bindings on a stand-in for the driver that executes the shipped PTX on the CPU.

Everything that needs a GPU in this folder runs here without one: contexts, streams, pools, launches
with their packed arguments, copies. The stand-in (fake_driver.cpp) is stricter than a driver.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cuda.stand_in import StandIn, all_passed

HERE = Path(__file__).resolve().parent
# Each binding, each kind of GPU, each order of threads.
WAYS = [("pycuda", "0"), ("cuda-bindings", "1")]


@pytest.mark.parametrize(("binding", "integrated"), WAYS)
def test_all_that_needs_a_gpu(stand_in: StandIn, binding: str, integrated: str) -> None:
    options = ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(HERE)]
    all_passed(stand_in.run(options, binding, FAKE_INTEGRATED=integrated, FAKE_REVERSE=integrated))


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
    luma, u, v = frames[0, :, :, 0], frames[1, :10, :20, 0], frames[2, :10, :20, 1]
    planes = Planes.i420(*map(np.ascontiguousarray, (luma, u, v)))
    there = mine.preprocess([mine.runner.planes(planes)], [affine], layout)
    if not np.array_equal(mine.runner.download(there), twins.preprocess([planes], [affine], layout)):
        wrong.append(seed)
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


@pytest.mark.parametrize("binding", ["pycuda", "cuda-bindings"])
@pytest.mark.parametrize("integrated", ["0", "1"])
def test_a_life_of_a_context(stand_in: StandIn, binding: str, integrated: str) -> None:
    run = stand_in.run(["-c", LIFE], binding, FAKE_INTEGRATED=integrated, FAKE_RACES="1")
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.split("\n")[:2] == ["shipped PTX", str(3 * 14)]
    assert "clean-up" not in run.stderr


UPLOADS = """
import ctypes
import numpy as np
from edgepose.cuda.device import UPLOADS, device_kernels
from edgepose.cuda.pictures import Planes, TensorLayout
from edgepose.geometry import stretch

fake = ctypes.CDLL("libcuda.so.1")
def events():
    counts = (ctypes.c_int * 6)()
    fake.fake_live(counts)
    return counts[3]

on = device_kernels()
runner, layout, affine = on.runner, TensorLayout(8, 8), stretch((16, 8), (8, 8))
out = runner.empty(layout.shape(1), layout.dtype)
def frame(values=np.zeros((8, 16), np.uint8)):
    planes = Planes.i420(values, values[:4, :8], values[4:, 8:])  # rows are apart
    on.preprocess([runner.planes(planes)], [affine], layout, out)

frame()
print(events())  # of three planes
for _ in range(UPLOADS):
    frame()  # their memory is made, which waits for everything
larger = runner.pool.pinned(64, mapped=True)  # seen here as soon as a kernel has written it
larger.array[:64] = 255
maps = runner.upload(np.ones((1, 1, 2, 2), np.float32))
frame()
before = events()
on.enlarge(maps.address, (1, 1, 2, 2), 4, 2, larger.mapped)
print(events() - before)
for _ in range(UPLOADS - 1):
    frame()  # the last one waits for the first
print(np.isnan(larger.view((16,), np.float32)).all())
"""


@pytest.mark.parametrize("integrated", ["0", "1"])
def test_an_upload_waits_for_what_reads_it_and_nothing_else(
    stand_in: StandIn, integrated: str
) -> None:
    """Frames ahead are uploaded while those before them are still being decoded."""
    run = stand_in.run(["-c", UPLOADS], FAKE_INTEGRATED=integrated)
    assert run.stdout.split() == ["1", "0", "True"], run.stdout + run.stderr


ORIGIN = """
from edgepose.cuda.device import DeviceRunner
print(DeviceRunner().origin)
"""


@pytest.mark.parametrize("binding", ["pycuda", "cuda-bindings"])
def test_the_next_way_where_the_driver_refuses_the_ptx(
    stand_in: StandIn, binding: str, tmp_path: Path
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
    first = stand_in.run(["-c", ORIGIN], binding, **environment)
    assert first.stdout == "nvcc\n", first.stderr
    kept = list((tmp_path / "cache/kernels").iterdir())
    assert len(kept) == 1
    assert kept[0].name.endswith("-sm_87-driver_12.6.cubin")
    nvcc.unlink()
    second = stand_in.run(["-c", ORIGIN], binding, **environment)
    assert second.stdout == "NVRTC\n", second.stderr  # from the cache, which the ways share
    kept[0].unlink()
    third = stand_in.run(["-c", ORIGIN], binding, **{**environment, "PATH": str(nvcc.parent)})
    assert "shipped PTX: the driver refuses it" in third.stderr
    assert "NVRTC is not installed" in third.stderr
    assert "nvcc is not installed" in third.stderr


@pytest.mark.parametrize("binding", ["pycuda", "cuda-bindings"])
def test_without_a_driver_the_reason_is_given(
    stand_in: StandIn, binding: str, tmp_path: Path
) -> None:
    code = (
        "from edgepose.cuda.context import context\n"
        "from edgepose.errors import BackendUnavailable\n"
        "try:\n    context()\nexcept BackendUnavailable as e:\n    print(e)\n"
    )
    run = stand_in.run(["-c", code], binding, driver=tmp_path)
    assert run.returncode == 0, run.stderr
    if run.stdout:  # else a real driver and GPU are here
        assert "does not load" in run.stdout or "does not start" in run.stdout
        assert run.stdout.count("\n") == 1


BROKEN = """
from edgepose.cuda.context import gpu_driver
print(gpu_driver().__name__)
"""


def test_a_pycuda_that_does_not_load_is_no_end(stand_in: StandIn, tmp_path: Path) -> None:
    (tmp_path / "pycuda").mkdir()
    (tmp_path / "pycuda/__init__.py").write_text("raise ImportError('built for another libcuda')")
    code = f"import sys; sys.modules.pop('pycuda'); sys.path.insert(0, {str(tmp_path)!r})\n{BROKEN}"
    run = stand_in.run(["-c", code], "cuda-bindings")
    assert run.stdout == "edgepose.cuda.cuda_bindings\n", run.stderr
