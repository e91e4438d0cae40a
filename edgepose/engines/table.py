"""The table of engines by name, the choice among them, and loading."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgepose.engines.base import Choice, Engine, Reason
from edgepose.engines.gpu import find_gpu
from edgepose.engines.options import EngineOptions
from edgepose.errors import BackendUnavailable, UnknownNameError, UsageError
from edgepose.networks.measured import Timed, ways
from edgepose.networks.model_file import check_model_file


@dataclass(frozen=True)
class Backend:
    """One row: a name, the module that has `probe(options)` and `load(model, options)`.

    Attributes:
        name: what --engine takes.
        module: the one module that imports the library.
        formats: kinds of files it reads, as `check_model_file` names them.
        because: why "auto" took it, when it did; "" = only when asked for by name.
        gpu: whether it needs an NVIDIA GPU, which is asked before its module is imported.
        install: what to do where it is missing, one line.
    """

    name: str
    module: str
    formats: tuple[str, ...]
    because: str
    gpu: bool
    install: str


_ORT_GPU = (
    "Install the onnxruntime-gpu of your CUDA (Jetson: NVIDIA's wheel) in place of onnxruntime, and "
    "'edgepose[gpu]'."
)
# in the order in which "auto" considers them
BACKENDS = (
    Backend(
        "tensorrt",
        "tensorrt",
        (".onnx", ".engine"),
        "the fastest on NVIDIA GPUs",
        True,
        "On Jetson: sudo apt install python3-libnvinfer, and a virtual environment made with "
        "--system-site-packages; elsewhere: pip install tensorrt. Both: pip install 'edgepose[gpu]'.",
    ),
    Backend(
        "tensorrt_rtx",
        "tensorrt_rtx",
        (".onnx", ".engine"),
        "TensorRT for RTX GPUs",
        True,
        "With an RTX GPU: pip install tensorrt-rtx-cu13 'edgepose[gpu]'.",
    ),
    Backend(
        "onnxruntime-cuda", "onnxruntime_cuda", (".onnx",), "CUDA without TensorRT", True, _ORT_GPU
    ),
    Backend("onnxruntime-tensorrt", "onnxruntime_tensorrt", (".onnx",), "", True, _ORT_GPU),
    Backend(
        "onnxruntime",
        "onnxruntime",
        (".onnx",),
        "the default on a CPU",
        False,
        "Run `pip install onnxruntime`.",
    ),
    Backend(
        "openvino",
        "openvino",
        (".xml", ".onnx"),
        "it reads OpenVINO networks",
        False,
        "Run `pip install 'edgepose[openvino]'`.",
    ),
)
NAMES = ("auto", *(b.name for b in BACKENDS))


def find_backend(name: str) -> Backend:
    """The row of that name.

    Raises:
        UnknownNameError: there is none.
    """
    wanted = name.lower().replace("tensorrt-rtx", "tensorrt_rtx")
    for backend in BACKENDS:
        if backend.name == wanted:
            return backend
    raise UnknownNameError("engine", name, NAMES)


def choose(model: Path, options: EngineOptions, failed: Mapping[str, str] | None = None) -> Choice:
    """Which engine would run the model here, and why; nothing is loaded but what must be asked.

    Args:
        failed: engines that were tried and did not start, with the reason; "auto" leaves them out.

    Raises:
        NetworkFileError: the model file is missing or of no known kind.
        UnknownNameError: no such engine or device.
        UsageError: the engine asked for cannot read that kind of file, or has no such device.
        BackendUnavailable: no engine (or not the one asked for) runs here.
    """
    kind = check_model_file(options.engine_file or model)
    if options.engine.lower() != "auto":
        backend = find_backend(options.engine)
        _check_format(backend, kind, options.engine_file or model)
        conflict = _conflict(backend, options.device)
        if conflict:
            raise UsageError(
                f"--device {options.device} does not go with {backend.name}: {conflict.text}."
            )
        reason = probe(backend, options)
        if reason:
            raise BackendUnavailable(
                f"Engine {backend.name} cannot run here: {reason.text}. {backend.install}"
            )
        return Choice(backend.name, "asked for", notes=_notes(backend.name, options))
    return _choose_among(kind, options, failed or {}, fastest(model, options))


def fastest(model: Path, options: EngineOptions) -> Timed | None:
    """How `edgepose bench --choose` found this file to run fastest on this CPU, None where it did not."""
    rows = (w for w in ways() if options.precision in ("", w.precision) and w.fits(model))
    return next(rows, None)


def _choose_among(
    kind: str, options: EngineOptions, failed: Mapping[str, str], known: Timed | None
) -> Choice:
    chosen: Backend | None = None
    over: list[tuple[str, Reason]] = []
    # a measured one goes before the others that need no GPU
    for backend in sorted(
        BACKENDS, key=lambda b: not b.gpu and known is not None and b.name != known.engine
    ):
        if backend.name in failed:
            reason: Reason | None = Reason("absent", failed[backend.name])
        else:
            reason = _why_not(backend, kind, chosen, options)
        if reason:
            over.append((backend.name, reason))
        else:
            chosen = backend
    if chosen is None:
        dull = ("format", "device", "named")
        reasons = "; ".join(f"{n}: {why.text}" for n, why in over if why.kind not in dull)
        where = f"on {options.device}" if options.device else "here"
        raise BackendUnavailable(f"No engine runs {kind} files {where}. {reasons.rstrip('.?')}.")
    notes = _notes(chosen.name, options)
    if known and chosen.name == known.engine:
        because = f"the fastest here by bench --choose, {known.ms:.1f} ms"
        return Choice(chosen.name, because, tuple(over), notes, known.precision)
    return Choice(chosen.name, chosen.because, tuple(over), notes)


def _why_not(
    backend: Backend, kind: str, chosen: Backend | None, options: EngineOptions
) -> Reason | None:
    if kind not in backend.formats:
        return Reason("format", f"does not read {kind} files")
    if not backend.because:
        return Reason("named", "only when asked for by name")
    conflict = _conflict(backend, options.device)
    if conflict:
        return conflict
    if chosen:
        faster = "; edgepose bench NETWORK --choose finds out whether it is faster here"
        more = faster if backend.name == "openvino" else ""
        return Reason("order", f"{chosen.name} comes first{more}")
    return probe(backend, options)


def _conflict(backend: Backend, device: str) -> Reason | None:
    """Why a backend cannot run on the device that is asked for, None where it may.

    CPU, NPU and AUTO are OpenVINO's, a number (also cuda:1) is an NVIDIA GPU, GPU is either's.

    Raises:
        UnknownNameError: no engine has such a device.
    """
    match = re.fullmatch(r"(|CPU|NPU|AUTO|GPU|CUDA)(?:[.:]?(\d+))?", device.upper(), re.ASCII)
    if match is None:
        raise UnknownNameError("device", device, ("CPU", "GPU", "NPU", "AUTO", "0", "cuda:1"))
    kind = "CUDA" if match[2] and not match[1] else match[1]
    if backend.gpu:
        other = kind in ("CPU", "NPU", "AUTO")
        return Reason("device", f"{kind} is asked for") if other else None
    if backend.name == "onnxruntime":
        return Reason("absent", "it runs on the CPU only") if kind not in ("", "CPU") else None
    return Reason("absent", "it has no CUDA") if kind == "CUDA" else None


def probe(backend: Backend, options: EngineOptions) -> Reason | None:
    """Why a backend cannot run here, None where it can."""
    if backend.gpu:
        try:
            find_gpu(options.device)
        except BackendUnavailable as e:
            return Reason("no gpu", str(e).rstrip("."))
    text = str(_module(backend).probe(options)).rstrip(".")
    return Reason("absent", text) if text else None


def load_engine(model: Path, options: EngineOptions | None = None) -> Engine:
    """Load a network with the engine that the options name, or the best one here.

    Raises:
        NetworkFileError, UsageError, EngineError: as `choose` and the engine's own `load`; with
            "auto", an engine that does not start makes room for the next one.
    """
    options = options or EngineOptions()
    failed: dict[str, str] = {}
    while True:
        choice = choose(model, options, failed)
        try:
            return load_chosen(choice, model, options)
        except BackendUnavailable as e:
            if options.engine.lower() != "auto":
                raise
            failed[choice.name] = str(e).rstrip(".")


def load_chosen(choice: Choice, model: Path, options: EngineOptions) -> Engine:
    """Load a network with the engine that `choose` found; raises as that engine's own `load`."""
    how = replace(options, precision=options.precision or choice.precision)
    engine: Engine = _module(find_backend(choice.name)).load(model, how)
    engine.choice = choice
    return engine


def _module(backend: Backend) -> Any:
    return importlib.import_module(f"edgepose.engines.{backend.module}")


def _check_format(backend: Backend, kind: str, path: Path) -> None:
    if kind in backend.formats:
        return
    able = ", ".join(b.name for b in BACKENDS if kind in b.formats)
    raise UsageError(f"Engine {backend.name} does not read {kind} files ({path}); {able} does.")


def _notes(name: str, options: EngineOptions) -> tuple[str, ...]:
    """What the options ask for and this engine has not."""
    notes = []
    lacking = {
        "fp16": ("onnxruntime", "onnxruntime-cuda"),
        "int8": ("onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt", "openvino"),
        "dla": ("onnxruntime", "onnxruntime-cuda", "openvino"),
    }
    if name in lacking.get(options.precision, ()):
        notes.append(
            f"{name} runs the network in the precision of its file, not in {options.precision}."
        )
    if options.dla is not None and name in lacking["dla"]:
        notes.append(f"{name} has no deep learning accelerator; --dla has no effect.")
    return tuple(notes)
