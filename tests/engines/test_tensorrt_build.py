"""Building plans: the same code for TensorRT 8.6 to 11 (doubles) and for real with TensorRT for RTX."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgepose.engines import build_plan as decide
from edgepose.engines import tensorrt_build as tb
from edgepose.engines.base import Feeds
from edgepose.engines.gpu import Gpu, HostMemory
from edgepose.engines.options import BatchRange, Calibration, EngineOptions
from edgepose.engines.tensorrt_run import Loader
from edgepose.errors import EngineError, Interrupted, NetworkFileError, UsageError
from edgepose.networks.onnx_file import read_outline
from edgepose.paths import data_networks
from tests.apart import Apart
from tests.conftest import Material
from tests.engines import trt_double
from tests.engines.conftest import Maker
from tests.engines.onnx_nets import pose_like, write

MONITORED = [v for v, api in trt_double.API.items() if "IProgressMonitor" in api]
Rtx = Callable[..., "Built"]
ORIN = Gpu(0, "Orin", "8.7", "12.6", 8 << 30, True)


@dataclass(frozen=True)
class Built:
    """A plan: its first bytes, its size and what was told of the build."""

    magic: bytes
    size: int
    digest: int
    told: list[tuple[Any, ...]]


@pytest.fixture(params=trt_double.VERSIONS)
def trt(request: pytest.FixtureRequest) -> Any:
    """A double of each version."""
    return trt_double.make(request.param)


@pytest.fixture
def rtx(apart: Apart) -> Rtx:
    """The real TensorRT for RTX, which builds without a GPU, in a process of its own."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt-rtx-cu13 is not installed")
    return functools.partial(apart, build_by_rtx)


def batches(count: int) -> Iterator[Feeds]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield {"x": rng.random((1, 3, 32, 48), dtype="f")}


def pictures(count: int = 3) -> Calibration:
    return Calibration("pictures-digest", functools.partial(batches, count), count)


def build(trt: Any, model: Path, calibrator: Any = None, **options: Any) -> bytes:
    settings = EngineOptions(**options)
    plan = decide.plan_build(model, read_outline(model), settings)
    return tb.build(trt, plan, progress=settings.progress, calibrator=calibrator)


def build_by_rtx(model: Path, progress: Steps | None = None, **options: Any) -> Built:
    import tensorrt_rtx

    content = build(tensorrt_rtx, model, progress=progress, **options)
    return Built(content[:4], len(content), hash(content), progress.told if progress else [])


def asked(trt: Any, model: Path, calibrator: Any = None, **options: Any) -> dict[str, Any]:
    return dict(json.loads(build(trt, model, calibrator, **options)))


class Steps:
    """A Progress that remembers."""

    def __init__(self, stop_after: int = 10**9, fail: bool = False) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.stop_after = stop_after
        self.fail = fail

    def phase(self, name: str, steps: int = 0) -> None:
        self.told.append(("phase", name, steps))

    def step(self, name: str, done: int) -> None:
        self.told.append(("step", name, done))
        if self.fail:
            raise ValueError("the progress bar broke")

    def end(self, name: str) -> None:
        self.told.append(("end", name))

    def cancelled(self) -> bool:
        return sum(t[0] == "step" for t in self.told) >= self.stop_after


# --- the double is honest


@pytest.mark.parametrize("version", trt_double.VERSIONS)
def test_the_double_has_no_method_that_the_real_bindings_lack(version: str) -> None:
    api = trt_double.API[version]
    module = trt_double.make(version)
    for name, cls in module.classes.items():
        methods = {n for n in vars(cls) if not n.startswith("_")}
        newer = {"node_name", "node_operator"} if version == "8.6.1" else set()
        if "set_calibration_profile" not in api["IBuilderConfig"]:
            newer |= {"set_calibration_profile"}
        assert methods - newer <= set(api[name]), (version, name)
    with pytest.raises(AttributeError, match="has no max_workspace_siz"):
        module.Builder(tb.logger_of(module)).max_workspace_size_x  # noqa: B018


def names_of_rtx(classes: list[str]) -> dict[str, set[str]]:
    import tensorrt_rtx

    return {name: set(dir(getattr(tensorrt_rtx, name))) for name in classes}


@pytest.mark.usefixtures("rtx")
def test_the_real_rtx_module_has_what_the_build_uses(apart: Apart) -> None:
    used = {
        "Builder": "create_network create_builder_config create_optimization_profile "
        "build_serialized_network num_DLA_cores",
        "IBuilderConfig": "set_memory_pool_limit set_flag clear_flag add_optimization_profile "
        "builder_optimization_level progress_monitor hardware_compatibility_level",
        "OnnxParser": "parse num_errors get_error",
        "ParserError": "node node_name node_operator desc",
        "Runtime": "deserialize_cuda_engine",
        "ICudaEngine": "num_io_tensors get_tensor_name get_tensor_mode get_tensor_shape "
        "get_tensor_dtype get_tensor_location get_tensor_profile_shape create_execution_context",
        "IExecutionContext": "set_input_shape infer_shapes get_tensor_shape set_tensor_address "
        "execute_async_v3",
    }
    there = apart(names_of_rtx, list(used))
    for name, methods in used.items():
        assert set(methods.split()) <= there[name], name


# --- what is asked of the builder, by version


def test_fp16_is_a_flag_or_a_converted_file(trt: Any, onnx_file: Maker) -> None:
    got = asked(trt, onnx_file())
    weak = hasattr(trt.BuilderFlag, "FP16")
    assert ("FP16" in got["flags"]) == weak
    assert ("Cast" in got["operators"]) == (not weak)
    expected = {"8.6.1": ["EXPLICIT_BATCH"], "11.4.0": ["STRONGLY_TYPED"]}
    assert got["network"] == expected.get(trt.__version__, ["EXPLICIT_BATCH"])
    assert got["inputs"] == [["x", "float32", [1, 3, 32, 48]]]
    assert [o[1] for o in got["outputs"]] == ["float32", "float32"]
    assert got["profiles"] == []
    assert trt.state.calls[0] == ("plugins", True)


def test_fp32_is_exact(trt: Any, onnx_file: Maker) -> None:
    got = asked(trt, onnx_file(), precision="fp32")
    assert not {"FP16", "INT8", "TF32"} & set(got["flags"])
    assert "Cast" not in got["operators"]


def test_int8_is_a_calibrator_or_qdq(trt: Any, onnx_file: Maker) -> None:
    class Calibrator:
        def __init__(self, module: Any, plan: decide.BuildPlan) -> None:
            assert plan.calibration is not None
            self.left = [0x1000] * plan.calibration.count

        def read_calibration_cache(self) -> None:
            return None

        def write_calibration_cache(self, cache: bytes) -> None:
            assert cache == b"ranges"

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> list[int] | None:
            return [self.left.pop()] if self.left else None

    got = asked(trt, onnx_file(), Calibrator, precision="int8", calibration=pictures())
    if hasattr(trt, "IInt8MinMaxCalibrator"):
        assert {"FP16", "INT8"} <= set(got["flags"])
        assert got["calibrated"] == ["batches", 3, 1]
        assert "QuantizeLinear" not in got["operators"]
        assert got["fp16"] == ["cmap", "paf"], "what answers are read from"
        assert "PREFER_PRECISION_CONSTRAINTS" in got["flags"]
    else:
        assert got["calibrated"] == []
        assert "QuantizeLinear" in got["operators"]


def test_int8_without_device_memory_goes_through_qdq(trt: Any, onnx_file: Maker) -> None:
    got = asked(trt, onnx_file(), None, precision="int8", calibration=pictures())
    assert "QuantizeLinear" in got["operators"]
    assert got["calibrated"] == []
    assert got["fp16"] == []


def test_int8_needs_pictures(trt: Any, onnx_file: Maker) -> None:
    with pytest.raises(UsageError, match="--calibration FOLDER"):
        build(trt, onnx_file(), precision="int8")
    assert "INT8" not in asked(trt, onnx_file(), precision="best")["flags"]


def test_best_is_int8_where_there_are_pictures(trt: Any, onnx_file: Maker) -> None:
    model = onnx_file()
    outline = read_outline(model)
    best = EngineOptions(precision="best")
    assert decide.choose_precision(outline, best)[0] == "fp16"
    best = EngineOptions(precision="best", calibration=pictures())
    assert decide.choose_precision(outline, best)[0] == "int8"


def test_a_quantised_file_is_int8_whatever_is_asked(
    trt: Any, onnx_file: Maker, tmp_path: Path
) -> None:
    from edgepose.engines.convert import to_int8

    path = tmp_path / "q.onnx"
    path.write_bytes(to_int8(onnx_file(), pictures()))
    plan = decide.plan_build(path, read_outline(path), EngineOptions(precision="fp16"))
    assert plan.precision == "int8"
    assert plan.calibration is None
    assert "fp16 has no effect" in plan.notes[0]


def test_profiles_of_dynamic_networks(trt: Any, onnx_file: Maker) -> None:
    model = onnx_file("d.onnx", ("n", 3, "h", "w"))
    got = asked(trt, model, shape=(64, 80), batch=BatchRange(1, 2, 4))
    shapes = [[b, 3, 64, 80] for b in (1, 2, 4)]
    assert got["profiles"] == [{"x": shapes}]
    assert asked(trt, model, shape=(64, 80))["profiles"] == [{"x": [[1, 3, 64, 80]] * 3}]
    with pytest.raises(UsageError, match=r"is \?x3x\?x\?: its size is open.*--shape WIDTHxHEIGHT"):
        build(trt, model)


def test_fixed_networks_refuse_other_shapes(trt: Any, onnx_file: Maker) -> None:
    with pytest.raises(UsageError, match="fixed batch of 1; export"):
        build(trt, onnx_file(), batch=BatchRange(1, 4, 8))
    with pytest.raises(UsageError, match="fixed to 1x3x32x48, so no plan can be built for 64x64"):
        build(trt, onnx_file(), shape=(64, 64))
    assert asked(trt, onnx_file(), shape=(32, 48), batch=BatchRange(1, 1, 1))["profiles"] == []


def test_other_open_dimensions_are_explained(trt: Any, tmp_path: Path) -> None:
    io = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, "t", 4]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", io[:1], io[1:])
    path = write(tmp_path / "seq.onnx", helper.make_model(graph))
    with pytest.raises(NetworkFileError, match="dimension 1 is neither batch, height nor width"):
        build(trt, path)
    untyped = onnx.load(path)
    untyped.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(NetworkFileError, match="does not say what shape input 'x' has"):
        build(trt, write(tmp_path / "untyped.onnx", untyped))


def test_builder_options(trt: Any, onnx_file: Maker) -> None:
    got = asked(trt, onnx_file(), workspace=256, optimization_level=5, hardware_compatible=True)
    assert got["pools"] == {"WORKSPACE": 256 << 20}
    assert got["level"] == 5
    assert got["compatibility"] == "AMPERE_PLUS"
    got = asked(trt, onnx_file())
    assert (got["pools"], got["compatibility"]) == ({}, None)


def test_dla(onnx_file: Maker) -> None:
    trt = trt_double.make("10.3.0", cores=2)
    got = asked(trt, onnx_file(), dla=1)
    assert got["dla"] == 1
    assert {"FP16", "GPU_FALLBACK"} <= set(got["flags"])
    with pytest.raises(UsageError, match="DLA core 2 is asked for, but this device has 2"):
        build(trt, onnx_file(), dla=2)
    with pytest.raises(UsageError, match="fp16 and int8 only"):
        build(trt, onnx_file(), dla=0, precision="fp32")
    with pytest.raises(UsageError, match="has none"):
        build(trt_double.make("11.4.0"), onnx_file(), dla=0)


# --- progress, cancelling, failures


def test_progress(trt: Any, onnx_file: Maker) -> None:
    steps = Steps()
    build(trt, onnx_file(), precision="fp32", progress=steps)
    names = [t[1] for t in steps.told if t[0] == "phase"]
    if hasattr(trt, "IProgressMonitor"):
        assert names == ["parse", "build", "Building engine"]
        assert ("step", "Building engine", 4) in steps.told
    else:
        assert names == ["parse", "build"]
    assert [t[1] for t in steps.told if t[0] == "end"][-1] == "build"
    assert ("build", "tensorrt-build") in trt.state.calls


@pytest.mark.parametrize("trt", MONITORED, indirect=True)
def test_cancelled_by_the_progress_bar(trt: Any, onnx_file: Maker) -> None:
    with pytest.raises(Interrupted, match="cancelled; nothing was kept"):
        build(trt, onnx_file(), progress=Steps(stop_after=2))


@pytest.mark.parametrize("trt", MONITORED, indirect=True)
def test_a_broken_progress_bar_does_not_reach_the_library(trt: Any, onnx_file: Maker) -> None:
    with pytest.raises(ValueError, match="progress bar broke"):
        build(trt, onnx_file(), progress=Steps(fail=True))


@pytest.mark.parametrize(
    ("told", "advice"),
    [
        ("Out of memory: requested 4 GB", "add swap, lower --workspace"),
        ("Could not find any implementation for node Conv_3", "Raise --workspace"),
        ("Calibration failure occurred", "other calibration pictures"),
        ("input x: shape mismatch in profile", "Check --shape and --batch"),
        ("something else", "--precision fp32, or run with --engine onnxruntime"),
    ],
)
def test_builder_that_returns_nothing(onnx_file: Maker, told: str, advice: str) -> None:
    trt = trt_double.make("10.3.0", fail=told)
    with pytest.raises(EngineError, match=advice) as caught:
        build(trt, onnx_file())
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", trt_double.VERSIONS)
def test_parser_errors_name_node_and_operator(version: str, onnx_file: Maker) -> None:
    error = (1, "act", "Relu", "Plugin not found,\n are the plugin name and version correct?")
    trt = trt_double.make(version, parse_errors=[error, error])
    with pytest.raises(NetworkFileError) as caught:
        build(trt, onnx_file())
    message = str(caught.value)
    assert "node 1 'act' (Relu): Plugin not found, are" in message
    assert "TensorRT has no such operator" in message
    assert "(and 1 more)" in message
    assert "\n" not in message


def test_ctrl_c_cancels_a_build(tmp_path: Path, onnx_file: Maker) -> None:
    """In a process of its own, as a terminal does it: SIGINT while the builder works."""
    script = textwrap.dedent(
        """
        import sys, threading
        from pathlib import Path
        from edgepose.engines import build_plan as decide
        from edgepose.engines import tensorrt_build as tb
        from edgepose.networks.onnx_file import read_outline
        from edgepose.engines.options import EngineOptions
        from edgepose.errors import Interrupted
        from tests.engines import trt_double

        gate = threading.Event()
        trt = trt_double.make(sys.argv[2], gate=gate)
        model = Path(sys.argv[1])
        plan = decide.plan_build(model, read_outline(model), EngineOptions(precision="fp32"))
        class Told:
            def phase(self, name, steps=0):
                print(name, flush=True)
            def step(self, name, done): ...
            def end(self, name): ...
            def cancelled(self): return False
        if sys.argv[2] != "8.6.1":
            threading.Timer(1.0, gate.set).start()
        try:
            tb.build(trt, plan, progress=Told())
        except Interrupted as e:
            print(e, flush=True)
            sys.exit(130)
        """
    )
    for version in ("8.6.1", "10.3.0"):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(onnx_file()), version],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "build":
                break
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert "cancelled; nothing was kept" in out, version
        assert process.returncode == 130, version


@pytest.mark.parametrize("trt", MONITORED, indirect=True)
def test_threads_of_a_cancelled_builder_may_still_call_us(trt: Any, onnx_file: Maker) -> None:
    """The library has no promise that they do not: what they call is there for life."""
    made: list[weakref.ref[Any]] = []
    configure = trt.Builder.create_builder_config

    def watched(builder: Any) -> Any:
        config = configure(builder)
        made.append(weakref.ref(config))
        return config

    trt.Builder.create_builder_config = watched
    with pytest.raises(Interrupted):
        build(trt, onnx_file(), precision="fp32", progress=Steps(stop_after=2))
    monitor = weakref.ref(tb._for_life[-1])
    assert isinstance(monitor(), trt.IProgressMonitor)
    assert tb.logger_of(trt) is tb.logger_of(trt)
    assert made[0]() is None, "what the library made waits for a collector"


def test_a_build_beside_a_runtime_tells_its_own_errors(onnx_file: Maker) -> None:
    trt = trt_double.make("10.3.0", fail="the second")
    runtime = Loader(trt)
    runtime.log.logger.log(SimpleNamespace(name="ERROR"), "the first")
    with pytest.raises(EngineError, match="the second") as caught:
        build(trt, onnx_file(), precision="fp32")
    assert "the first" not in str(caught.value)
    assert runtime.log.last() == "the second"


# --- memory


def test_memory_preflight(onnx_file: Maker) -> None:
    model = onnx_file()
    plan = decide.plan_build(model, read_outline(model), EngineOptions())
    mib = decide.MIB
    workspace, warning = decide.check_memory(plan, ORIN, HostMemory(1000 * mib, 0))
    assert workspace == 250 * mib
    assert "add swap" in warning
    workspace, warning = decide.check_memory(plan, ORIN, HostMemory(6000 * mib, 4000 * mib))
    assert (workspace, warning) == (1024 * mib, "")
    with pytest.raises(EngineError, match=r"Only 200 MiB of memory and swap are free.*mkswap"):
        decide.check_memory(plan, ORIN, HostMemory(200 * mib, 0))
    desktop = Gpu(0, "RTX 4090", "8.9", "13.0", 24 << 30, False)
    assert decide.check_memory(plan, desktop, HostMemory(mib, 0)) == (0, "")
    assert decide.check_memory(plan, ORIN, None) == (0, "")


# --- the timing cache


def test_timing_cache_grows_and_survives_damage(trt: Any, onnx_file: Maker, tmp_path: Path) -> None:
    model, path = onnx_file(), tmp_path / "timing" / "orin.timing"
    plan = decide.plan_build(model, read_outline(model), EngineOptions(precision="fp32"))
    tb.build(trt, plan, timing_cache=path)
    assert path.read_bytes() == b"+"
    tb.build(trt, plan, timing_cache=path)
    assert path.read_bytes() == b"++"
    trt.state.refuse_timing = True
    tb.build(trt, plan, timing_cache=path)
    assert path.read_bytes() == b"+"
    assert not list(path.parent.glob(".*.part"))


def test_a_timing_cache_that_cannot_be_written_is_no_error(
    trt: Any, onnx_file: Maker, tmp_path: Path
) -> None:
    model = onnx_file()
    plan = decide.plan_build(model, read_outline(model), EngineOptions(precision="fp32"))
    (tmp_path / "file").touch()
    assert tb.build(trt, plan, timing_cache=tmp_path / "file" / "x.timing")


# --- for real, with TensorRT for RTX


def test_rtx_builds_a_fixed_network(rtx: Rtx, onnx_file: Maker) -> None:
    plan = rtx(onnx_file(), precision="fp32")
    assert plan.magic == b"vtrt"
    assert plan.size > 10_000


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_rtx_builds_converted_networks(rtx: Rtx, onnx_file: Maker, precision: str) -> None:
    full = rtx(onnx_file(), precision="fp32")
    other = rtx(onnx_file(), precision=precision, calibration=pictures())
    assert other.magic == b"vtrt"
    assert other.digest != full.digest


def test_rtx_builds_profiles(rtx: Rtx, onnx_file: Maker) -> None:
    model = onnx_file("d.onnx", ("n", 3, "h", "w"))
    told = rtx(model, shape=(64, 80), batch=BatchRange(1, 2, 4), progress=Steps()).told
    phases = [t[1] for t in told if t[0] == "phase"]
    assert phases[:3] == ["convert", "parse", "build"]
    assert "Building engine" in phases
    assert sum(t[0] == "step" for t in told) > 20


def test_rtx_cancels(rtx: Rtx, onnx_file: Maker) -> None:
    with pytest.raises(Interrupted):
        rtx(onnx_file(), precision="fp32", progress=Steps(stop_after=3))


def test_rtx_takes_weights_beside_the_file(rtx: Rtx, tmp_path: Path) -> None:
    path = tmp_path / "outside.onnx"
    onnx.save(pose_like(), path, save_as_external_data=True, location="w.data", size_threshold=0)
    assert rtx(path, precision="fp32").magic == b"vtrt"
    assert rtx(path, precision="fp16").magic == b"vtrt"
    (tmp_path / "w.data").unlink()
    with pytest.raises(NetworkFileError, match="Its weights cannot be read"):
        rtx(path, precision="fp32")


def test_rtx_builds_a_real_network(rtx: Rtx, shared: Material) -> None:
    name = "openpose-mobilenet-v2-small/openpose_mnv2small_dyn.onnx"
    model = shared.network(name, "edgepose-lite-body.onnx")
    assert rtx(model, precision="fp16", shape=(384, 416)).magic == b"vtrt"


@pytest.mark.parametrize(
    ("name", "shape", "batch"),
    [
        ("edgepose-lite-body", (256, 256), BatchRange(1, 4, 4)),
        ("movenet-multipose", (288, 384), None),
        ("movenet-multipose", (384, 384), None),
        ("movenet-multipose", (224, 384), BatchRange(1, 2, 4)),
        ("movenet-thunder", None, BatchRange(1, 4, 8)),
        ("yolox-nano", (416, 416), BatchRange(1, 2, 8)),
        ("mediapipe-palm", None, None),
        ("mediapipe-hand", None, None),
    ],
)
def test_rtx_builds_what_comes_with_edgepose(
    rtx: Rtx, name: str, shape: tuple[int, int] | None, batch: BatchRange | None
) -> None:
    model = data_networks() / f"{name}.onnx"
    assert rtx(model, precision="fp16", shape=shape, batch=batch).magic == b"vtrt"


def test_no_network_that_comes_with_edgepose_is_left_out() -> None:
    shipped = {path.stem for path in data_networks().glob("*.onnx")}
    shipped -= {"movenet-multipose-int8", "movenet-thunder-int8"}  # asymmetric: CPUs only
    (mark,) = test_rtx_builds_what_comes_with_edgepose.pytestmark  # type: ignore[attr-defined]
    assert shipped == {name for name, *_ in mark.args[1]}


def hostile(tmp_path: Path, kind: str) -> Path:
    io = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 8, 8]) for n in "xy"]
    huge = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 10**6, 10**6]) for n in "xy"]
    nodes = {
        "unknown operator": ([helper.make_node("Frobnicate", ["x"], ["y"], name="odd")], io),
        "missing input": ([helper.make_node("Conv", ["x"], ["y"], name="odd")], io),
        "dangling name": ([helper.make_node("Add", ["x", "nothing"], ["y"], name="odd")], io),
        "no path to the output": ([helper.make_node("Relu", ["x"], ["z"], name="odd")], io),
        "huge": ([helper.make_node("Relu", ["x"], ["y"], name="odd")], huge),
    }[kind]
    graph = helper.make_graph(nodes[0], "g", nodes[1][:1], nodes[1][1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return write(tmp_path / "hostile.onnx", model)


@pytest.mark.parametrize(
    "kind",
    [
        "unknown operator",
        "missing input",
        "dangling name",
        "no path to the output",
        "huge",
    ],
)
def test_rtx_and_hostile_networks(rtx: Rtx, tmp_path: Path, kind: str) -> None:
    path = hostile(tmp_path, kind)
    with pytest.raises((NetworkFileError, EngineError)) as caught:
        rtx(path, precision="fp32")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    if kind in ("unknown operator", "missing input"):
        assert "node 0 'odd'" in message


def test_rtx_explains_an_unknown_operator(rtx: Rtx, tmp_path: Path) -> None:
    with pytest.raises(NetworkFileError, match=r"\(Frobnicate\).*TensorRT has no such operator"):
        rtx(hostile(tmp_path, "unknown operator"), precision="fp32")


def test_build_runs_on_the_device_of_the_caller(onnx_file: Maker) -> None:
    trt = trt_double.make("10.3.0")
    model = onnx_file()
    plan = decide.plan_build(model, read_outline(model), EngineOptions())
    seen: list[str] = []

    class Current:
        def __enter__(self) -> None:
            seen.append(threading.current_thread().name)

        def __exit__(self, *args: object) -> None:
            seen.append("left")

    tb.build(trt, plan, on_device=Current)
    assert seen == ["tensorrt-build", "left"]


def test_library_that_does_not_start(onnx_file: Maker) -> None:
    trt = trt_double.make("10.3.0")

    def refuse(logger: Any) -> None:
        logger.log(SimpleNamespace(name="ERROR"), "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    trt.Builder = refuse
    with pytest.raises(EngineError, match="cannot start here: CUDA initialization failure"):
        build(trt, onnx_file(), precision="fp32")
