"""The choice of an engine, and what is said about it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.engines import NAMES, EngineOptions, choose, load_engine
from edgepose.engines.base import Reason
from edgepose.engines.options import BatchRange, parse_batch, parse_shape
from edgepose.engines.table import BACKENDS, Backend, probe
from edgepose.errors import BackendUnavailable, UnknownNameError, UsageError
from edgepose.networks.measured import Timed, store_ways
from tests.engines.conftest import Maker


def only(monkeypatch: pytest.MonkeyPatch, **reasons: str) -> None:
    """Pretend that the engines named cannot run, for these reasons, and that all others can."""
    names = {k.replace("_", "-") if k.startswith("onnx") else k: v for k, v in reasons.items()}

    def probe(backend: Backend, options: EngineOptions) -> Reason | None:
        text = names.get(backend.name)
        return Reason("absent", text) if text else None

    monkeypatch.setattr("edgepose.engines.table.probe", probe)


def test_every_row_has_its_module() -> None:
    reasons = {b.name: probe(b, EngineOptions()) for b in BACKENDS}
    assert reasons["onnxruntime"] is None
    assert all("\n" not in r.text for r in reasons.values() if r)
    assert NAMES[0] == "auto"


def test_auto_on_a_machine_without_a_gpu(onnx_file: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    choice = choose(onnx_file(), EngineOptions())
    assert choice.name == "onnxruntime"
    assert choice.line() == "onnxruntime (the default on a CPU)", "nothing about absent GPUs"
    assert choice.passed_over[0][1].kind == "no gpu"
    passed = dict(choice.passed_over)
    assert set(passed) == {b.name for b in BACKENDS} - {"onnxruntime"}
    assert passed["onnxruntime-tensorrt"].kind == "named"
    assert len(choice.lines()) == len(BACKENDS)


def test_auto_prefers_tensorrt(onnx_file: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    assert choose(onnx_file(), EngineOptions()).name == "tensorrt"
    only(monkeypatch, tensorrt="no GPU", tensorrt_rtx="no GPU")
    assert choose(onnx_file(), EngineOptions()).name == "onnxruntime-cuda"


def test_auto_without_onnxruntime(onnx_file: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = dict.fromkeys(("tensorrt", "tensorrt_rtx", "onnxruntime_cuda", "onnxruntime"), "gone")
    only(monkeypatch, **gone)
    assert choose(onnx_file(), EngineOptions()).name == "openvino"
    only(monkeypatch, **gone, openvino="gone too")
    with pytest.raises(
        BackendUnavailable, match=r"No engine runs .onnx files here.*openvino: gone too"
    ):
        choose(onnx_file(), EngineOptions())


def test_ir_goes_to_openvino(ir: Path) -> None:
    choice = choose(ir, EngineOptions())
    assert choice.name == "openvino"
    assert choice.line() == "openvino (it reads OpenVINO networks)"
    with pytest.raises(UsageError, match=r"onnxruntime does not read .xml files .*openvino does"):
        choose(ir, EngineOptions("onnxruntime"))


def test_an_engine_asked_for_by_name(onnx_file: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(onnx_file(), EngineOptions("OnnxRuntime")).because == "asked for"
    with pytest.raises(UnknownNameError, match="Did you mean 'tensorrt'"):
        choose(onnx_file(), EngineOptions("tensort"))
    only(monkeypatch, tensorrt="no GPU was found.")
    with pytest.raises(BackendUnavailable, match="tensorrt cannot run here: no GPU was found"):
        choose(onnx_file(), EngineOptions("tensorrt"))


def test_auto_takes_what_was_measured_to_be_the_fastest(onnx_file: Maker) -> None:
    model = onnx_file()
    size = model.stat().st_size
    rows = [
        Timed("", model.name, size, "openvino", "fp32", 5.9),
        Timed("", model.name, size, "onnxruntime", "fp32", 6.9),
        Timed("", model.name, size, "openvino", "fp16", 7.9),
    ]
    store_ways("net", rows)
    choice = choose(model, EngineOptions())
    assert (choice.name, choice.precision) == ("openvino", "fp32")
    assert choice.because == "the fastest here by bench --choose, 5.9 ms"
    with closing(load_engine(model)) as engine:
        assert engine.name.startswith("openvino (CPU, fp32")
    assert choose(model, EngineOptions(precision="fp16")).precision == "fp16"
    assert choose(model, EngineOptions("onnxruntime")).because == "asked for"
    store_ways("net", [replace(rows[0], size=size + 1)])
    assert choose(model, EngineOptions()).name == "onnxruntime", "another file of that name"


def test_notes_tell_what_has_no_effect(onnx_file: Maker) -> None:
    choice = choose(onnx_file(), EngineOptions("onnxruntime", precision="fp16", dla=0))
    assert len(choice.notes) == 2
    assert "not in fp16" in choice.notes[0]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("engine", [b.name for b in BACKENDS])
def test_a_precision_without_effect_is_told(
    onnx_file: Maker, monkeypatch: pytest.MonkeyPatch, engine: str, precision: str
) -> None:
    monkeypatch.setattr("edgepose.engines.table.probe", lambda *_: "")
    choice = choose(onnx_file(), EngineOptions(engine, precision=precision))
    has = {"openvino": ("fp16",), "onnxruntime-tensorrt": ("fp16",)}
    able = engine.startswith("tensorrt") or precision in has.get(engine, ())
    told = [f"not in {precision}" in note for note in choice.notes]
    assert told == ([] if able else [True])


@pytest.mark.parametrize("engine", [b.name for b in BACKENDS])
def test_an_accelerator_that_an_engine_lacks_is_told(
    onnx_file: Maker, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr("edgepose.engines.table.probe", lambda *_: "")
    choice = choose(onnx_file(), EngineOptions(engine, dla=0))
    assert ["--dla has no effect" in note for note in choice.notes] == (
        [] if "tensorrt" in engine else [True]
    )


@pytest.mark.parametrize(
    "bad",
    [
        {"precision": "fp8"},
        {"threads": -1},
        {"shape": (0, 3)},
        {"batch": BatchRange(2, 1, 4)},
    ],
)
def test_options_are_checked(bad: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        EngineOptions(**bad)  # type: ignore[arg-type]


@given(st.tuples(*[st.integers(1, 16384)] * 2))
def test_shapes_survive_text(size: tuple[int, int]) -> None:
    height, width = size
    assert parse_shape(f"{width}x{height}") == size
    assert parse_shape(f"hxw:{height}X{width}") == size
    assert parse_shape(f"1x3x{height}x{width}") == size


@given(st.lists(st.integers(1, 1024), min_size=3, max_size=3).map(sorted))
def test_batches_survive_text(values: list[int]) -> None:
    batch = BatchRange(*values)
    assert parse_batch(str(batch)) == batch
    assert parse_batch(":".join(map(str, values))) == batch


@pytest.mark.parametrize("threads", [-1, 1_000_000, 1 << 70, 1.5, "two", True, None])
def test_threads_are_bounded(threads: object) -> None:
    with pytest.raises(UsageError, match="threads"):
        EngineOptions(threads=threads)  # type: ignore[arg-type]


@given(st.text(max_size=12))
def test_any_other_text_is_a_usage_error(text: str) -> None:
    for parse in (parse_shape, parse_batch):
        try:
            values = parse(text)
        except UsageError:
            continue
        assert min(values) >= 1


@pytest.mark.parametrize(
    ("device", "chosen"),
    [
        ("", "tensorrt"),
        ("0", "tensorrt"),
        ("cuda:1", "tensorrt"),
        ("GPU", "tensorrt"),
        ("CPU", "onnxruntime"),
        ("NPU", "openvino"),
        ("auto", "openvino"),
        ("GPU.1", "tensorrt"),
    ],
)
def test_auto_looks_at_the_device(
    onnx_file: Maker, monkeypatch: pytest.MonkeyPatch, device: str, chosen: str
) -> None:
    only(monkeypatch)
    assert choose(onnx_file(), EngineOptions(device=device)).name == chosen


def test_gpu_without_cuda_is_openvinos(onnx_file: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, **dict.fromkeys(("tensorrt", "tensorrt_rtx", "onnxruntime_cuda"), "no GPU"))
    choice = choose(onnx_file(), EngineOptions(device="GPU"))
    assert choice.name == "openvino"
    assert dict(choice.passed_over)["onnxruntime"] == ("absent", "it runs on the CPU only")


@pytest.mark.parametrize(
    ("engine", "device"),
    [("onnxruntime", "GPU"), ("onnxruntime", "NPU"), ("tensorrt", "CPU"), ("openvino", "cuda:0")],
)
def test_devices_that_an_engine_does_not_have(onnx_file: Maker, engine: str, device: str) -> None:
    with pytest.raises(UsageError, match=f"--device {device} does not go with {engine}"):
        choose(onnx_file(), EngineOptions(engine, device=device))


@pytest.mark.parametrize("device", ["TPU", "gpu.x", "-1", "cuda:"])
def test_unknown_devices(onnx_file: Maker, device: str) -> None:
    with pytest.raises(UsageError):
        choose(onnx_file(), EngineOptions(device=device))


def test_an_engine_that_does_not_start_makes_room(
    onnx_file: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    import edgepose.engines.onnxruntime_cuda as cuda

    def load(model: Path, options: EngineOptions) -> None:
        raise BackendUnavailable("cuDNN is missing.")

    only(monkeypatch, tensorrt="gone", tensorrt_rtx="gone")
    monkeypatch.setattr(cuda, "load", load)
    engine = load_engine(onnx_file())
    assert engine.choice.name == "onnxruntime"
    assert "not onnxruntime-cuda: cuDNN is missing" in engine.choice.line()
    assert dict(engine.choice.passed_over)["onnxruntime-cuda"].text == "cuDNN is missing"
    with pytest.raises(BackendUnavailable, match="cuDNN"):
        load_engine(onnx_file(), EngineOptions("onnxruntime-cuda"))
