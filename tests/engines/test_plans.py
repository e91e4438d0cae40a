"""From a model to a plan: hit, miss and rebuild for every field, locks, full disks, cancelled builds."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgepose.engines.base import Feeds
from edgepose.engines.cache import PlanCache, sidecar_path
from edgepose.engines.gpu import Gpu
from edgepose.engines.options import BatchRange, Calibration, EngineOptions
from edgepose.engines.plans import Flavour, Machine, Plan, obtain
from edgepose.engines.tensorrt_run import Loader
from edgepose.errors import (
    EngineError,
    Interrupted,
    NetworkFileError,
    OutputError,
    UsageError,
)
from tests.apart import Apart
from tests.conftest import hearing
from tests.engines import trt_double
from tests.engines.conftest import Maker
from tests.engines.onnx_nets import pose_like
from tests.engines.test_cache import files_at_most

ORIN = Gpu(0, "Orin", "8.7", "12.6", 8 << 30, False)
ROOT = Path(__file__).parents[2]


class Bench:
    """A TensorRT double, a machine, a cache, and what was said."""

    def __init__(self, folder: Path, said: list[str], version: str = "10.3.0") -> None:
        self.trt = trt_double.make(version)
        self.gpu: Gpu | None = ORIN
        self.cache = PlanCache(folder / "engines")
        self.said = said
        self.flavour = Flavour("tensorrt", "TensorRT", self.trt)

    def deserialise(self, content: bytes, dla: int = -1) -> Any:
        return Loader(self.trt).deserialise(content, dla)

    def get(self, model: Path, must_keep: bool = False, **options: Any) -> Plan:
        self.said.clear()
        options.setdefault("precision", "fp32")
        settings = EngineOptions(**options)
        machine = Machine(self.gpu, self.deserialise)
        return obtain(self.flavour, model, settings, machine, self.cache, must_keep=must_keep)

    @property
    def builds(self) -> int:
        return sum(call[0] == "build" for call in self.trt.state.calls)


@pytest.fixture
def bench(tmp_path: Path, heard: list[str]) -> Bench:
    return Bench(tmp_path, heard)


def test_miss_then_hit(bench: Bench, onnx_file: Maker) -> None:
    model = onnx_file()
    first = bench.get(model)
    assert first.built
    assert first.loaded is not None
    assert first.path is not None
    assert bench.said == [
        "Building net.onnx in fp32 for Orin with TensorRT 10.3.0 (none was built yet); "
        "this takes minutes, once"
    ]
    again = bench.get(model)
    assert (again.built, again.content, again.path) == (False, first.content, first.path)
    assert again.loaded is not None
    assert (bench.builds, bench.said) == (1, [])
    assert again.sidecar is not None
    assert again.sidecar.inputs == {"x": ["float32", [1, 3, 32, 48]]}
    assert again.sidecar.source == str(model.resolve())


def pictures(digest: str) -> Calibration:
    def batches() -> Iterator[Feeds]:
        yield {"x": np.ones((1, 3, 32, 48), "f")}

    return Calibration(digest, batches, 1)


Change = Callable[[Bench, Path], dict[str, Any]]


def _gpu(**changes: Any) -> Change:
    def change(bench: Bench, model: Path) -> dict[str, Any]:
        bench.gpu = replace(ORIN, **changes)
        return {}

    return change


def _version(bench: Bench, model: Path) -> dict[str, Any]:
    bench.trt.__version__ = "10.3.1"
    return {}


def _flavour(bench: Bench, model: Path) -> dict[str, Any]:
    bench.flavour = replace(bench.flavour, name="tensorrt_rtx")
    return {}


def _weights(bench: Bench, model: Path) -> dict[str, Any]:
    onnx.save(pose_like(("n", 3, "h", "w"), bias=0.25), model)
    return {}


CHANGES: dict[str, Change] = {
    "onnx": _weights,
    "flavour": _flavour,
    "version": _version,
    "gpu": _gpu(name="Orin Nano"),
    "compute capability": _gpu(compute_capability="8.9"),
    "driver": _gpu(driver="12.8"),
    "precision": lambda b, m: {"precision": "fp16"},
    "shape": lambda b, m: {"shape": (64, 64)},
    "batch": lambda b, m: {"batch": BatchRange(1, 2, 4)},
    "dla": lambda b, m: {"dla": 0, "precision": "fp16"},
    "calibration": lambda b, m: {"precision": "int8", "calibration": pictures("abc")},
    "options": lambda b, m: {"workspace": 100},
}


@pytest.mark.parametrize("field", CHANGES)
def test_every_field_of_the_key_is_a_miss_that_names_it(
    bench: Bench, onnx_file: Maker, field: str
) -> None:
    model = onnx_file("net.onnx", ("n", 3, "h", "w"))
    bench.trt.state.cores = 2
    base = {"shape": (32, 48)}
    bench.get(model, **base)
    options = base | CHANGES[field](bench, model)
    made = bench.get(model, **options)
    assert made.built
    assert f"{field}: " in made.reason
    stale = field in ("onnx", "flavour", "version", "gpu", "compute capability", "driver")
    assert bench.said[0].startswith("Rebuilding" if stale else "Building")
    assert f"{field}: " in bench.said[0]
    assert not bench.get(model, **options).built
    assert bench.builds == 2


def test_builder_options_and_calibration_are_part_of_the_key(
    bench: Bench, onnx_file: Maker
) -> None:
    model = onnx_file()
    for options in (
        {"optimization_level": 1},
        {"optimization_level": 2},
        {"hardware_compatible": True},
        {"precision": "int8", "calibration": pictures("one")},
        {"precision": "int8", "calibration": pictures("two")},
    ):
        assert bench.get(model, **options).built, options
        assert not bench.get(model, **options).built, options


def test_int8_plans_serve_runs_that_have_no_pictures(bench: Bench, onnx_file: Maker) -> None:
    """build-engine has the pictures; posenet --precision int8 has not."""
    model = onnx_file()
    with pytest.raises(UsageError, match="edgepose build-engine NETWORK --precision int8"):
        bench.get(model, precision="int8")
    assert bench.said == []
    assert bench.get(model, precision="best").sidecar.key.precision == "fp16"  # type: ignore[union-attr]
    bench.get(model, precision="int8", calibration=pictures("one"))
    newest = bench.get(model, precision="int8", calibration=pictures("two"))
    builds = bench.builds
    for precision in ("int8", "best"):
        plan = bench.get(model, precision=precision)
        assert (plan.built, plan.path) == (False, newest.path)
    assert bench.builds == builds
    assert not bench.get(model, precision="fp16").built
    with pytest.raises(UsageError):
        bench.get(model, precision="int8", rebuild=True)
    bench.gpu = replace(ORIN, driver="13.0")
    with pytest.raises(UsageError):
        bench.get(model, precision="int8")


def test_hardware_compatible_plans_serve_other_gpus(bench: Bench, onnx_file: Maker) -> None:
    model = onnx_file()
    bench.get(model, hardware_compatible=True)
    bench.gpu = replace(ORIN, name="RTX 4090", compute_capability="8.9")
    assert not bench.get(model, hardware_compatible=True).built


def test_weights_beside_the_model_are_part_of_the_key(bench: Bench, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    for bias, built in ((0.5, True), (0.5, False), (0.75, True)):
        (tmp_path / "w").unlink(missing_ok=True)  # onnx appends to it
        onnx.save(
            pose_like(bias=bias), model, save_as_external_data=True, location="w", size_threshold=0
        )
        assert bench.get(model).built == built


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:50]), "cut off: 50 of"),
        (lambda p: p.write_bytes(p.read_bytes()[:-1] + b"x"), "was changed"),
        (lambda p: sidecar_path(p).unlink(), "is missing"),
    ],
)
def test_damaged_plans_are_rebuilt_with_the_reason(
    bench: Bench, onnx_file: Maker, damage: Callable[[Path], object], reason: str
) -> None:
    model = onnx_file()
    path = bench.get(model).path
    assert path is not None
    damage(path)
    again = bench.get(model)
    assert again.built
    assert reason in bench.said[0]
    assert bench.said[0].startswith("Rebuilding")
    assert not bench.get(model).built


def test_a_plan_that_the_library_refuses_is_rebuilt(bench: Bench, onnx_file: Maker) -> None:
    model = onnx_file()
    bench.get(model)
    refusals = iter([True, False])
    real = bench.deserialise

    def deserialise(content: bytes, dla: int) -> Any:
        if next(refusals, False):
            raise EngineError("magic tag does not match")
        return real(content, dla)

    bench.deserialise = deserialise  # type: ignore[method-assign]
    again = bench.get(model)
    assert again.built
    assert "TensorRT refuses the plan: magic tag does not match" in bench.said[0]


def test_the_core_is_set_before_a_plan_is_read(bench: Bench, onnx_file: Maker) -> None:
    bench.trt.state.cores = 2
    built = bench.get(onnx_file(), dla=1, precision="fp16")
    assert bench.get(onnx_file(), dla=1, precision="fp16").reason == "cached"
    bench.get(onnx_file(), engine_file=built.path)  # its sidecar tells the core
    assert [c[1] for c in bench.trt.state.calls if c[0] == "core"] == [1, 1, 1]


@pytest.mark.parametrize("change", [{"multiprocessors": 16}, {"memory": 64 << 30}])
def test_a_plan_of_another_board_of_the_same_name_is_built_again(
    bench: Bench, onnx_file: Maker, change: dict[str, int]
) -> None:
    bench.gpu = replace(ORIN, multiprocessors=8)
    model = onnx_file()
    assert bench.get(model).built
    bench.gpu = replace(bench.gpu, **change)  # type: ignore[arg-type]
    again = bench.get(model)
    assert again.built
    assert next(iter(change)) in again.reason
    bench.gpu = replace(bench.gpu, memory=bench.gpu.memory - (200 << 20))  # of another kernel
    assert not bench.get(model).built


def test_a_new_plan_that_does_not_load_is_an_error(bench: Bench, onnx_file: Maker) -> None:
    bench.trt.state.refuse = True
    with pytest.raises(
        EngineError, match=r"built net\.onnx but cannot load the plan: Error Code 6: out of memory"
    ):
        bench.get(onnx_file())
    assert bench.cache.entries() == []


def test_no_build(bench: Bench, onnx_file: Maker) -> None:
    model = onnx_file()
    with pytest.raises(EngineError, match=r"none was built yet\), and building is off"):
        bench.get(model, build=False)
    bench.get(model)
    assert not bench.get(model, build=False).built
    bench.gpu = replace(ORIN, driver="13.0")
    with pytest.raises(EngineError, match=r"driver: 12.6, now 13.0\), and building is off"):
        bench.get(model, build=False)


def test_force(bench: Bench, onnx_file: Maker) -> None:
    model = onnx_file()
    bench.get(model)
    assert bench.get(model, rebuild=True).built
    assert "(asked for)" in bench.said[0]
    assert bench.builds == 2


def test_output_gets_a_copy_with_its_sidecar(
    bench: Bench, onnx_file: Maker, tmp_path: Path
) -> None:
    out = tmp_path / "mine.engine"
    plan = bench.get(onnx_file(), output=out)
    assert out.read_bytes() == plan.content
    assert json.loads(sidecar_path(out).read_text())["key"]["gpu"] == "Orin"
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        bench.get(onnx_file(), output=tmp_path / "file" / "x.engine")


# --- a file used as it is


def test_engine_file(bench: Bench, onnx_file: Maker, tmp_path: Path) -> None:
    plan = bench.get(onnx_file(), output=tmp_path / "mine.engine")
    used = bench.get(tmp_path / "gone.onnx", engine_file=tmp_path / "mine.engine")
    assert used.content == plan.content
    assert used.loaded is not None
    bench.gpu = replace(ORIN, name="Thor", compute_capability="11.0")
    bench.trt.state.refuse = True
    with pytest.raises(
        EngineError, match=r"another machine \(gpu: Orin, now Thor; compute capability: 8.7"
    ):
        bench.get(onnx_file(), engine_file=tmp_path / "mine.engine")
    sidecar_path(tmp_path / "mine.engine").unlink()
    with pytest.raises(EngineError, match="it is damaged, or was built for another GPU"):
        bench.get(onnx_file(), engine_file=tmp_path / "mine.engine")
    (tmp_path / "empty.engine").touch()
    with pytest.raises(EngineError, match="is empty"):
        bench.get(onnx_file(), engine_file=tmp_path / "empty.engine")
    with pytest.raises(EngineError, match="cannot be read: No such file"):
        bench.get(onnx_file(), engine_file=tmp_path / "none.engine")


# --- disks, locks, cancelling


def test_full_disk_uses_the_plan_and_says_so(bench: Bench, onnx_file: Maker) -> None:
    model = onnx_file()
    with files_at_most(100):
        plan = bench.get(model)
    assert plan.loaded is not None
    assert plan.path is None
    assert any("cannot be kept" in s and "for this run only" in s for s in bench.said)
    assert not [p for p in bench.cache.folder.iterdir() if p.suffix != ".lock" and p.is_file()]
    with files_at_most(100), pytest.raises(OutputError, match="cannot be kept"):
        bench.get(model, must_keep=True)


def test_unwritable_cache_builds_once_and_says_so(bench: Bench, onnx_file: Maker) -> None:
    bench.cache.folder.parent.mkdir(exist_ok=True)
    bench.cache.folder.touch()
    plan = bench.get(onnx_file())
    assert (plan.built, plan.path) == (True, None)
    assert "built for this run only" in bench.said[0]
    with pytest.raises(OutputError, match="EDGEPOSE_CACHE"):
        bench.get(onnx_file(), must_keep=True)


def test_a_failed_build_leaves_nothing(bench: Bench, onnx_file: Maker) -> None:
    bench.trt.state.fail = "Out of memory"
    with pytest.raises(EngineError, match="Out of memory"):
        bench.get(onnx_file())
    assert bench.cache.entries() == []
    bench.trt.state.fail = ""
    assert bench.get(onnx_file()).built


def test_a_cancelled_build_leaves_nothing(bench: Bench, onnx_file: Maker) -> None:
    class Stop:
        def phase(self, name: str, steps: int = 0) -> None: ...

        def step(self, name: str, done: int) -> None: ...

        def end(self, name: str) -> None: ...

        def cancelled(self) -> bool:
            return True

    with pytest.raises(Interrupted):
        bench.get(onnx_file(), progress=Stop())
    assert bench.cache.entries() == []
    assert not list(bench.cache.folder.glob("*.part"))


def test_two_processes_one_builds(tmp_path: Path, onnx_file: Maker) -> None:
    code = textwrap.dedent(
        """
        import sys, threading
        from pathlib import Path
        from tests.engines.test_plans import Bench
        from tests.conftest import hearing
        said = hearing()
        bench = Bench(Path(sys.argv[1]), said.__enter__())
        bench.trt.state.gate = gate = threading.Event()
        threading.Timer(1.5, gate.set).start()
        plan = bench.get(Path(sys.argv[2]))
        print(plan.built, plan.reason, bench.said, flush=True)
        """
    )
    model = onnx_file()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(model)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(2)
    ]
    told = sorted(p.communicate(timeout=60)[0] for p in processes)
    assert [p.returncode for p in processes] == [0, 0]
    waited, built = told
    assert built.startswith("True none was built yet")
    # the second either waited for the first, or came so late that the plan was there
    assert waited.startswith(("False built by another process ['Waiting", "False cached []"))


def test_a_model_that_is_no_model(bench: Bench, tmp_path: Path) -> None:
    for name, content in (("garbage.onnx", os.urandom(500)), ("empty.onnx", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(NetworkFileError):
            bench.get(tmp_path / name)
    with pytest.raises(NetworkFileError):
        bench.get(tmp_path / "missing.onnx")


def test_timing_caches_by_gpu_and_version(bench: Bench, onnx_file: Maker) -> None:
    bench.get(onnx_file())
    bench.gpu = replace(ORIN, name="RTX 4090")
    bench.get(onnx_file())
    names = sorted(p.name for p in (bench.cache.folder / "timing").iterdir())
    assert names == ["tensorrt_10.3.0_Orin_8.7.timing", "tensorrt_10.3.0_RTX_4090_8.7.timing"]


def test_a_plan_is_not_written_over_its_network(
    bench: Bench, onnx_file: Maker, tmp_path: Path
) -> None:
    model = onnx_file()
    before = model.read_bytes()
    (tmp_path / "plan").hardlink_to(model)
    for output in (model, tmp_path / "plan"):
        with pytest.raises(UsageError, match="is the input itself"):
            bench.get(model, output=output)
    assert bench.builds == 0
    assert model.read_bytes() == before


# --- for real: TensorRT for RTX builds without a GPU

Got = tuple[Plan, list[str]]


def obtain_by_rtx(cache: PlanCache, model: Path, at_most: int | None, **options: Any) -> Got:
    """The plan, and what was said."""
    import tensorrt_rtx

    flavour = Flavour("tensorrt_rtx", "TensorRT for RTX", tensorrt_rtx, timings=False)
    limit = nullcontext() if at_most is None else files_at_most(at_most)
    with hearing() as said, limit:
        return obtain(flavour, model, EngineOptions(**options), Machine(), cache), said


@pytest.fixture
def rtx(apart: Apart, tmp_path: Path) -> Callable[..., Got]:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt-rtx-cu13 is not installed")
    cache = PlanCache(tmp_path / "engines")

    def get(model: Path, at_most: int | None = None, **options: Any) -> Got:
        got: Got = apart(obtain_by_rtx, cache, model, at_most, **options)
        return got

    return get


def test_rtx_miss_hit_rebuild(rtx: Callable[..., Got], onnx_file: Maker) -> None:
    model = onnx_file("net.onnx", ("n", 3, "h", "w"))
    first, said = rtx(model, shape=(32, 48))
    assert first.built
    assert first.content[:4] == b"vtrt"
    assert "for any GPU with TensorRT for RTX" in said[0]
    assert not rtx(model, shape=(32, 48))[0].built
    assert "shape: " in rtx(model, shape=(64, 64))[0].reason
    assert "precision: " in rtx(model, shape=(32, 48), precision="fp32")[0].reason
    batch, _ = rtx(model, shape=(32, 48), batch=BatchRange(1, 2, 4))
    assert "batch: 1, now 1:2:4" in batch.reason
    onnx.save(pose_like(("n", 3, "h", "w"), bias=0.25), model)
    changed, said = rtx(model, shape=(32, 48))
    assert changed.built
    assert changed.reason.startswith("onnx: ")
    assert said[0].startswith("Rebuilding")


def test_rtx_rebuilds_a_truncated_plan(rtx: Callable[..., Got], onnx_file: Maker) -> None:
    model = onnx_file()
    path = rtx(model)[0].path
    assert path is not None
    path.write_bytes(path.read_bytes()[:1000])
    again, said = rtx(model)
    assert again.built
    assert "the plan is cut off: 1000 of" in said[0]
    assert not rtx(model)[0].built


def test_rtx_full_disk(rtx: Callable[..., Got], onnx_file: Maker) -> None:
    plan, said = rtx(onnx_file(), at_most=5000, precision="fp32")
    assert plan.path is None
    assert any("for this run only" in s for s in said)
