"""Engines on a GPU, against doubles that refuse names, addresses and orders that the real ones would."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgepose.cuda.buffers import DriverCuda, check_driver
from edgepose.engines import infer_all
from edgepose.engines.base import Feeds
from edgepose.engines.gpu import Gpu
from edgepose.engines.onnxruntime import OnnxRuntimeEngine, open_session, session_options
from edgepose.engines.onnxruntime_cuda import (
    CUDA_PROVIDER,
    TENSORRT_PROVIDER,
    OrtCudaEngine,
    probe_provider,
    provider_options,
    provider_words,
)
from edgepose.engines.options import BatchRange, Calibration, EngineOptions
from edgepose.engines.plans import Flavour
from edgepose.engines.tensorrt_calibrator import _Feeder
from edgepose.engines.tensorrt_load import start
from edgepose.engines.tensorrt_run import TensorRTEngine
from edgepose.errors import BackendUnavailable, EngineError
from edgepose.networks.onnx_file import Tensor
from tests.engines import trt_double
from tests.engines.conftest import Maker
from tests.engines.cuda_double import Lazy, lazy_cuda

ORIN = Gpu(0, "Orin", "8.7", "12.6", 8 << 30, False)


class Rig:
    """A TensorRT double on a CUDA double."""

    def __init__(self, version: str = "10.3.0", memory: int = 1 << 30) -> None:
        self.trt = trt_double.make(version)
        self.lazy, self.cuda = lazy_cuda(memory)
        self.trt.state.launch = self.lazy.launch

    def engine(self, model: Path, **options: Any) -> TensorRTEngine:
        flavour = Flavour("tensorrt", "TensorRT", self.trt)
        options.setdefault("precision", "fp32")
        return start(flavour, model, EngineOptions(**options), ORIN, self.cuda)

    def calls(self, name: str) -> list[Any]:
        return [c[1:] for c in self.trt.state.calls if c[0] == name]


@pytest.fixture(params=trt_double.VERSIONS)
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(request.param)


def batch_of(n: int, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    """Rows with the means 1, 2, 3, ..."""
    return np.ones((n, 3, *size), "f") * np.arange(1, n + 1, dtype="f").reshape(-1, 1, 1, 1)


# --- TensorRT


def test_one_frame(rig: Rig, onnx_file: Maker) -> None:
    engine = rig.engine(onnx_file())
    assert engine.name == "tensorrt (Orin, fp32)"
    assert engine.inputs[0].shape == (1, 3, 32, 48)
    assert engine.max_batch == 1
    out = engine.infer({"x": batch_of(1)})
    assert {k: v.shape for k, v in out.items()} == {"cmap": (1, 4, 16, 24), "paf": (1, 6, 16, 24)}
    np.testing.assert_allclose(out["cmap"], 2.0)
    assert out["paf"].dtype == np.float32


def test_batches_of_a_profile(rig: Rig, onnx_file: Maker) -> None:
    model = onnx_file("d.onnx", ("n", 3, "h", "w"))
    engine = rig.engine(model, shape=(32, 48), batch=BatchRange(1, 2, 4))
    assert engine.inputs[0].shape == (-1, 3, 32, 48)
    assert engine.max_batch == 4
    for n in (1, 4, 3):
        out = engine.infer({"x": batch_of(n)})["cmap"]
        assert out.shape == (n, 4, 16, 24)
        np.testing.assert_allclose(out[:, 0, 0, 0], 2.0 * np.arange(1, n + 1))
    with pytest.raises(EngineError, match="has 5 rows, but this engine takes 4"):
        engine.infer({"x": batch_of(5)})
    out = infer_all(engine, {"x": batch_of(10)})["cmap"]
    np.testing.assert_allclose(out[:, 0, 0, 0], 2.0 * np.arange(1, 11))


def test_smaller_batches_than_the_profile(rig: Rig, onnx_file: Maker) -> None:
    model = onnx_file("d.onnx", ("n", 3, 32, 48))
    engine = rig.engine(model, batch=BatchRange(2, 2, 4))
    with pytest.raises(EngineError, match="outside of this engine's range 2x3x32x48 to 4x3x32x48"):
        engine.infer({"x": batch_of(1)})
    assert engine.infer({"x": batch_of(2)})["cmap"].shape[0] == 2


def test_answers_are_the_callers(rig: Rig, onnx_file: Maker) -> None:
    engine = rig.engine(onnx_file())
    first = engine.infer({"x": batch_of(1)})["cmap"]
    for _ in range(3):
        engine.infer({"x": batch_of(1) * 7})
    np.testing.assert_allclose(first, 2.0)


def test_two_frames_in_flight(rig: Rig, onnx_file: Maker) -> None:
    """Frame 2 is put in place and enqueued before anyone has waited for frame 1."""
    engine = rig.engine(onnx_file())
    shape = (1, 3, 32, 48)
    with engine.slot() as a, engine.slot() as b:
        assert a.stream is not b.stream
        assert a.inputs["x"].address != b.inputs["x"].address
        hosts = {}
        for slot, value in ((a, 3.0), (b, 5.0)):
            pinned = slot.host_feed("x")
            pinned[:] = value
            rig.cuda.upload(pinned, slot.inputs["x"], slot.stream)
            out = slot.run({"x": shape})
            assert out["cmap"].shape == (1, 4, 16, 24)
            assert out["cmap"].__cuda_array_interface__["data"] == (
                slot.outputs["cmap"].address,
                False,
            )
            hosts[value] = slot.host_result("cmap")
            rig.cuda.download(out["cmap"], hosts[value], slot.stream)
        b.stream.synchronize()
        np.testing.assert_allclose(hosts[5.0], 10.0)
        a.stream.synchronize()
        np.testing.assert_allclose(hosts[3.0], 6.0)
    handles = {handle for handle, _ in rig.calls("execute")}
    assert handles == {engine.stream.handle}


def test_slots_are_reused_and_waited_for(rig: Rig, onnx_file: Maker) -> None:
    engine = rig.engine(onnx_file())
    seen = set()
    for _ in range(5):
        with engine.slot() as slot:
            seen.add(id(slot))
    assert len(seen) == 1
    with engine.slot(), engine.slot():
        waited = threading.Event()
        got: list[Any] = []

        def third() -> None:
            waited.set()
            with engine.slot() as slot:
                got.append(slot)

        thread = threading.Thread(target=third)
        thread.start()
        waited.wait(10)
        assert got == []
    thread.join(10)
    assert len(got) == 1


def test_slots_take_turns_where_work_stays_queued(rig: Rig, onnx_file: Maker) -> None:
    """Nobody waits in between; each answer is of its own frame."""
    engine = rig.engine(onnx_file())
    seen, hosts = [], []
    for value in range(1, 6):
        with engine.slot(ahead=True) as slot:
            seen.append(id(slot))
            feed = np.full((1, 3, 32, 48), value, "f")
            rig.cuda.upload(feed, slot.inputs["x"], slot.stream)
            out = slot.run({"x": feed.shape})["cmap"]
            hosts.append((slot.stream, np.empty(out.shape, "f")))
            rig.cuda.download(out, hosts[-1][1], slot.stream)
    assert seen == [*(seen[:2] * 2), seen[0]]
    assert len(set(seen)) == 2
    with rig.cuda.current():
        for value, (stream, host) in enumerate(hosts, 1):
            stream.synchronize()
            np.testing.assert_allclose(host, 2 * value)
    np.testing.assert_allclose(engine.infer({"x": batch_of(1)})["cmap"], 2.0)
    engine.close()


def test_one_slot_serves_where_there_is_no_memory_for_two(rig: Rig, onnx_file: Maker) -> None:
    engine = rig.engine(onnx_file())
    seen = []
    for _ in range(3):
        with engine.slot(ahead=True) as slot:
            seen.append(id(slot))
        rig.lazy.left = 0
    assert len(set(seen)) == 1
    engine.close()


def test_many_threads(rig: Rig, onnx_file: Maker) -> None:
    engine = rig.engine(onnx_file())
    wrong: list[Any] = []

    def work(value: float) -> None:
        for _ in range(10):
            out = engine.infer({"x": np.full((1, 3, 32, 48), value, "f")})["cmap"]
            if not np.allclose(out, 2 * value):
                wrong.append((value, float(out.mean())))

    threads = [threading.Thread(target=work, args=(float(i),)) for i in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_only_the_known_names_are_bound(rig: Rig, onnx_file: Maker) -> None:
    engine = rig.engine(onnx_file())
    engine.infer({"x": batch_of(1)})
    bound = rig.calls("address")
    assert [name for name, _ in bound] == ["x", "cmap", "paf"]
    with rig.cuda.current():
        for _, address in bound:
            assert rig.lazy.memory(address, 4) is not None


def test_close_gives_everything_back(rig: Rig, onnx_file: Maker) -> None:
    engine = rig.engine(onnx_file())
    engine.infer({"x": batch_of(1)})
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer({"x": batch_of(1)})
    held = len(rig.lazy.blocks)
    again = rig.engine(onnx_file())
    again.infer({"x": batch_of(1)})
    assert len(rig.lazy.blocks) == held
    again.close()
    rig.cuda.context.close()
    assert rig.lazy.blocks == {}


def test_memory_that_is_not_there(onnx_file: Maker) -> None:
    rig = Rig(memory=20_000)
    engine = rig.engine(onnx_file())
    with pytest.raises(EngineError, match="No GPU memory left"):
        engine.infer({"x": batch_of(1)})
    rig.lazy.left = 1 << 30
    np.testing.assert_allclose(engine.infer({"x": batch_of(1)})["cmap"], 2.0)


def test_an_engine_that_does_not_run(rig: Rig, onnx_file: Maker) -> None:
    engine = rig.engine(onnx_file())
    rig.trt.state.fail = "boom"
    with pytest.raises(EngineError, match="could not run the engine"):
        engine.infer({"x": batch_of(1)})
    rig.trt.state.fail = ""
    np.testing.assert_allclose(engine.infer({"x": batch_of(1)})["cmap"], 2.0)


def test_memory_that_the_library_refuses(rig: Rig, onnx_file: Maker) -> None:
    engine = rig.engine(onnx_file())
    rig.trt.state.refuse_memory = "Error Code 3: not aligned."
    with pytest.raises(EngineError, match=r"memory of tensor 'x': Error Code 3: not aligned\.$"):
        engine.infer({"x": batch_of(1)})
    rig.trt.state.refuse_memory = ""
    np.testing.assert_allclose(engine.infer({"x": batch_of(1)})["cmap"], 2.0)


def test_plan_files_run_as_they_are(rig: Rig, onnx_file: Maker, tmp_path: Path) -> None:
    rig.engine(onnx_file(), output=tmp_path / "mine.engine")
    builds = len(rig.calls("build"))
    engine = rig.engine(tmp_path / "mine.engine")
    np.testing.assert_allclose(engine.infer({"x": batch_of(1)})["cmap"], 2.0)
    assert len(rig.calls("build")) == builds
    with pytest.raises(EngineError, match="finished plan"):
        rig.engine(tmp_path / "mine.engine", rebuild=True)


def test_the_cache_serves_the_second_start(rig: Rig, onnx_file: Maker) -> None:
    rig.engine(onnx_file())
    rig.engine(onnx_file())
    assert len(rig.calls("build")) == 1


def test_calibration_in_device_memory(onnx_file: Maker) -> None:
    rig = Rig("10.3.0")
    read: list[int] = []

    def batches() -> Iterator[Feeds]:
        for i in range(5):
            read.append(i)
            yield {"x": np.full((1, 3, 32, 48), i, "f")}

    model = onnx_file("d.onnx", ("n", 3, 32, 48))
    options = {
        "precision": "int8",
        "batch": BatchRange(1, 2, 4),
        "calibration": Calibration("digest", batches, 5),
    }
    engine = rig.engine(model, **options)
    assert "int8" in engine.name
    assert read == [0, 1, 2, 3, 4]
    read.clear()
    rig.engine(model, **options, rebuild=True)
    assert read == []  # the ranges were kept


@pytest.mark.parametrize(
    ("count", "best", "calls"), [(30, 1, 30), (30, 8, 4), (7, 8, 1), (30, 32, 1)]
)
@pytest.mark.parametrize(
    ("kind", "taken"),
    [("float32", "f4"), ("float16", "f2"), ("uint8", "u1"), ("int8", "f4")],
)
def test_every_picture_calibrates(count: int, best: int, calls: int, kind: str, taken: str) -> None:
    _, cuda = lazy_cuda()
    plan = SimpleNamespace(
        batch=BatchRange(1, best, best),
        outline=SimpleNamespace(inputs=[Tensor("x", kind, (best, 2))]),
        calibration=Calibration(
            "d", lambda: ({"x": np.full((1, 2), i, "f")} for i in range(count)), count
        ),
    )
    with cuda.current():
        feeder = _Feeder(plan, cuda)  # type: ignore[arg-type]
        seen = []
        while (addresses := feeder.next(["x"])) is not None:
            host = np.empty((best, 2), taken)
            cuda.download(SimpleNamespace(address=addresses[0]), host, feeder._stream)
            feeder._stream.synchronize()
            seen.append(host[:, 0])
    assert len(seen) == calls
    assert set(np.concatenate(seen)) == set(range(count))


def test_broken_pictures_end_the_calibration(onnx_file: Maker) -> None:
    def batches() -> Iterator[Feeds]:
        yield {"x": np.zeros((1, 3, 32, 48), "f")}
        raise OSError("the card was pulled out")

    options = {"precision": "int8", "calibration": Calibration("digest", batches, 2)}
    assert Rig("10.3.0").engine(onnx_file(), **options)


# --- ONNX Runtime: the same code with "cpu" memory, so that it really computes


@pytest.fixture
def ort_rig() -> tuple[Lazy, DriverCuda]:
    lazy, cuda = lazy_cuda()
    return lazy, cuda


class Eager:
    """Runs a session at once, as ONNX Runtime's CPU provider does: what its inputs wait for, first."""

    def __init__(self, session: Any, lazy: Lazy) -> None:
        self._session, self._lazy = session, lazy

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        for stream in list(self._lazy.streams.values()):
            stream.synchronize()
        self._session.run_with_iobinding(binding, options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def ort_engine(model: Path, rig: tuple[Lazy, DriverCuda], **options: Any) -> OrtCudaEngine:
    import onnxruntime as ort

    lazy, cuda = rig
    settings = EngineOptions(**options)
    session = open_session(ort, model, session_options(ort, settings), ["CPUExecutionProvider"])
    with cuda.current():
        stream = cuda.stream()
    return OrtCudaEngine(
        ort, Eager(session, lazy), model, settings, cuda, stream, "onnxruntime-cuda (x)", "cpu"
    )


@pytest.mark.parametrize("dims", [(1, 3, 32, 48), ("n", 3, "h", "w"), (1, 3, None, None)])
def test_io_binding_gives_the_same_answers(
    onnx_file: Maker, ort_rig: tuple[Lazy, DriverCuda], dims: tuple[Any, ...]
) -> None:
    import onnxruntime as ort

    model = onnx_file("n.onnx", dims)
    engine = ort_engine(model, ort_rig, shape=(32, 48))
    plain = OnnxRuntimeEngine(
        open_session(ort, model, session_options(ort, EngineOptions()), ["CPUExecutionProvider"]),
        EngineOptions(),
    )
    for seed in range(3):
        x = {"x": np.random.default_rng(seed).random((1, 3, 32, 48), dtype="f")}
        mine, theirs = engine.infer(x), plain.infer(x)
        for name in theirs:
            np.testing.assert_array_equal(mine[name], theirs[name])
    assert engine.choice.name == "onnxruntime-cuda"


def test_io_binding_batches(onnx_file: Maker, ort_rig: tuple[Lazy, DriverCuda]) -> None:
    model = onnx_file("n.onnx", ("n", 3, "h", "w"))
    engine = ort_engine(model, ort_rig, shape=(32, 48), batch=BatchRange(1, 2, 4))
    x = np.random.default_rng(0).random((4, 3, 32, 48), dtype="f")
    four = engine.infer({"x": x})["paf"]
    assert four.shape == (4, 6, 16, 24)
    np.testing.assert_allclose(engine.infer({"x": x[2:3]})["paf"][0], four[2], atol=1e-6)
    with pytest.raises(EngineError, match="has 5 rows, but this engine takes 4"):
        engine.infer({"x": np.zeros((5, 3, 32, 48), "f")})
    engine.close()
    engine.close()


def test_io_binding_refuses_other_sizes(onnx_file: Maker, ort_rig: tuple[Lazy, DriverCuda]) -> None:
    engine = ort_engine(onnx_file("n.onnx", (1, 3, "h", "w")), ort_rig, shape=(32, 48))
    with pytest.raises(EngineError, match="takes 1x3x32x48, but 1x3x64x48"):
        engine.infer({"x": np.zeros((1, 3, 64, 48), "f")})


def test_provider_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPOSE_CACHE", str(tmp_path / "fresh" / "machine"))
    cuda = provider_options(CUDA_PROVIDER, EngineOptions(device="cuda:1"), 1234, (1, 31))
    assert cuda["device_id"] == 1
    assert cuda["user_compute_stream"] == "1234"
    assert "device_id" not in provider_options(CUDA_PROVIDER, EngineOptions(), 1234, (1, 31))
    options = EngineOptions(precision="fp32", workspace=256, dla=0, optimization_level=2)
    trt = provider_options(TENSORRT_PROVIDER, options, 1, (1, 31))
    assert trt["trt_fp16_enable"] is False
    assert trt["trt_max_workspace_size"] == 256 << 20
    assert trt["trt_dla_core"] == 0
    assert "engines" in trt["trt_engine_cache_path"]
    assert Path(trt["trt_engine_cache_path"]).is_dir(), (
        "the provider makes no folders above its own"
    )
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEPOSE_CACHE", str(tmp_path / "file"))
    assert not provider_options(TENSORRT_PROVIDER, options, 1, (1, 31))["trt_engine_cache_enable"]


def test_fp32_has_no_tf32() -> None:
    def asked(precision: str, *version: int) -> object:
        options = EngineOptions(precision=precision)
        return provider_options(CUDA_PROVIDER, options, 1, version).get("use_tf32")

    assert asked("fp32", 1, 18) is False
    assert asked("", 1, 31) is None
    assert asked("fp32", 1, 17) is None, "it knows no such option"


# --- what is missing is named


def test_why_a_provider_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "libonnxruntime_providers_cuda.so").write_bytes(b"")
    assert "file too short" in provider_words(CUDA_PROVIDER, tmp_path)
    assert "cannot open shared object file" in provider_words(TENSORRT_PROVIDER, tmp_path)


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "hides every GPU" in probe_provider(CUDA_PROVIDER, EngineOptions())


def test_a_gpu_without_pycuda_or_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    import edgepose.engines.onnxruntime_cuda as module

    monkeypatch.setattr(module, "find_gpu", lambda device: ORIN)
    monkeypatch.setattr("edgepose.engines.onnxruntime_cuda.check_driver", lambda: None)
    import onnxruntime as ort

    if CUDA_PROVIDER not in ort.get_available_providers():
        reason = probe_provider(CUDA_PROVIDER, EngineOptions())
        assert reason == f"this onnxruntime has no {CUDA_PROVIDER} (it is the CPU package)"

    def missing() -> None:
        raise BackendUnavailable("PyCUDA is not installed (pip install 'edgepose[gpu]')")

    monkeypatch.setattr("edgepose.engines.onnxruntime_cuda.check_driver", missing)
    assert "PyCUDA is not installed" in probe_provider(CUDA_PROVIDER, EngineOptions())


def test_check_explains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'edgepose\[gpu\]'"):
        check_driver()


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_broken_installations_are_reasons_not_crashes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.import_module(f"edgepose.engines.{name}")
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / name
    package.mkdir()
    bodies = {
        "raise ImportError('libnvonnxparser.so.11: cannot open shared object file')": "libnvonnx",
        "raise OSError('libcudart.so.12: cannot open shared object file')": "libcudart",
        "raise AttributeError('np.bool')": "does not load: np.bool",
    }
    for body, message in bodies.items():
        (package / "__init__.py").write_text(body)
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        with pytest.raises(BackendUnavailable, match=message):
            module.flavour()
    sys.modules.pop(name, None)
