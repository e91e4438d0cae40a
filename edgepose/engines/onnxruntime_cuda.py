"""ONNX Runtime on an NVIDIA GPU: its CUDA or TensorRT provider, fed by IO binding.

Device buffers go in and stay, as with TensorRT: the session computes on our stream and in our memory.
`onnxruntime-tensorrt` is the same with another provider.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgepose import paths
from edgepose.cuda.buffers import check_driver, open_cuda
from edgepose.engines.base import Choice, max_batch, shape_text
from edgepose.engines.build_plan import choose_shapes
from edgepose.engines.device import Cuda, DeviceEngine, Slot
from edgepose.engines.gpu import find_gpu, gpu_index
from edgepose.engines.messages import first_line
from edgepose.engines.onnxruntime import (
    module,
    open_session,
    session_options,
    tensor_spec,
    with_size,
)
from edgepose.engines.options import EngineOptions
from edgepose.errors import BackendUnavailable, EngineError
from edgepose.networks.onnx_file import Tensor, read_outline
from edgepose.types import Shape, TensorSpec

log = logging.getLogger(__name__)

CUDA_PROVIDER = "CUDAExecutionProvider"
TENSORRT_PROVIDER = "TensorrtExecutionProvider"


def probe(options: EngineOptions) -> str:
    """Why this engine cannot run here; "" where it can."""
    return probe_provider(CUDA_PROVIDER, options)


def probe_provider(provider: str, options: EngineOptions) -> str:
    """Why a provider cannot run here; "" where it can. Cheap tests come first."""
    try:
        find_gpu(options.device)
        ort = module()
        check_driver()
    except BackendUnavailable as e:
        return str(e).rstrip(".")
    if provider not in ort.get_available_providers():
        return f"this onnxruntime has no {provider} (it is the CPU package)"
    return ""


def load(model: Path, options: EngineOptions) -> OrtCudaEngine:
    """The engine on the CUDA provider.

    Raises:
        BackendUnavailable: no GPU, or the provider does not start.
        NetworkFileError, UsageError: as the CPU engine.
    """
    return load_with([CUDA_PROVIDER], "onnxruntime-cuda", model, options)


def load_with(
    providers: Sequence[str], name: str, model: Path, options: EngineOptions
) -> OrtCudaEngine:
    """The engine on a provider, with the ones behind it as fallback for single operators."""
    ort = module()
    gpu = find_gpu(options.device)
    cuda = open_cuda(gpu.index)
    with cuda.current():
        stream = cuda.stream()
    settings = session_options(ort, options)
    version = tuple(int(n) for n in ort.__version__.split(".")[:2])
    chain = [(p, provider_options(p, options, stream.handle, version)) for p in providers]
    session = open_session(ort, model, settings, [*chain, "CPUExecutionProvider"])
    if providers[0] not in session.get_providers():
        told = provider_words(providers[0], Path(ort.__file__).parent / "capi")
        raise BackendUnavailable(
            f"onnxruntime could not start its {providers[0]}{f' ({told})' if told else ''}: CUDA, cuDNN or "
            "TensorRT of the version that it was built for are missing. See the requirements of your "
            "onnxruntime-gpu."
        )
    return OrtCudaEngine(ort, session, model, options, cuda, stream, f"{name} ({gpu.name})")


def provider_words(provider: str, folder: Path) -> str:
    """Why the library of a provider does not load, in the loader's words; "" where that is not the reason.

    ONNX Runtime tells its own log only, which goes to stderr past Python.
    """
    kind = provider.removesuffix("ExecutionProvider").lower()
    try:
        ctypes.CDLL(str(folder / f"libonnxruntime_providers_{kind}.so"))
    except OSError as e:
        words = str(e).split(str(folder))[-1].strip("/ ")
        return "" if "undefined symbol" in words else words  # its host is only there in a session
    return ""


def provider_options(
    provider: str, options: EngineOptions, stream: int, version: tuple[int, ...]
) -> dict[str, Any]:
    """Options of a provider: our GPU, our stream, and TensorRT's own cache of engines.

    Args:
        version: (major, minor) of ONNX Runtime.
    """
    out: dict[str, Any] = {"user_compute_stream": str(stream)}
    if index := gpu_index(options.device):
        out["device_id"] = index  # 0 goes without saying: 1.26 to 1.31 warn on stderr of any number
    if provider == CUDA_PROVIDER:
        # a fixed input shape: measure the algorithms once instead of guessing
        out |= {"cudnn_conv_algo_search": "EXHAUSTIVE", "do_copy_in_default_stream": True}
        if options.precision == "fp32" and version >= (1, 18):
            out["use_tf32"] = False  # who asks for fp32 wants its 24 bits
        return out
    folder = (
        paths.engines_cache() / "onnxruntime"
    )  # the provider makes one folder, not those above it
    try:
        folder.mkdir(parents=True, exist_ok=True)
        cached = os.access(folder, os.W_OK)
    except OSError:
        cached = False
    if not cached:
        log.warning("%s cannot be written: the engine is built again at every start.", folder)
    out |= {
        "trt_fp16_enable": options.precision in ("", "fp16", "best"),
        "trt_engine_cache_enable": cached,
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": cached,
        "trt_timing_cache_path": str(folder),
    }
    if options.workspace:
        out["trt_max_workspace_size"] = options.workspace << 20
    if options.optimization_level is not None:
        out["trt_builder_optimization_level"] = options.optimization_level
    if options.dla is not None:
        out |= {"trt_dla_enable": True, "trt_dla_core": options.dla}
    return out


class OrtCudaEngine(DeviceEngine):
    """A session that computes in the slots' memory.

    Args:
        ort, session: the library and its session.
        model: the ONNX file (for the shapes of buffers).
        cuda, stream: the GPU, and the stream that the session was told to use.
        device: ONNX Runtime's name of the memory; tests bind "cpu" memory.
    """

    def __init__(
        self,
        ort: Any,
        session: Any,
        model: Path,
        options: EngineOptions,
        cuda: Cuda,
        stream: Any,
        name: str,
        device: str = "cuda",
    ) -> None:
        super().__init__(cuda)
        self.stream = stream
        self.name = name
        self.choice = Choice(name.split(" ")[0], "asked for")
        advice = "leave the shape out, or export the network at that size"
        specs = [tensor_spec(node) for node in session.get_inputs()]
        self._limits = _largest_shapes(model, options)
        sized = (with_size(s, options.shape, advice) for s in specs)
        self.inputs = tuple(_as_wide_as(s, self._limits[s.name]) for s in sized)
        self.outputs = tuple(tensor_spec(n) for n in session.get_outputs())
        self.max_batch = max_batch(self.inputs) or min(s[0] for s in self._limits.values())
        self._session, self._device = session, device
        self._index = gpu_index(options.device) if device == "cuda" else 0
        self._run_options = ort.RunOptions()
        # our events order the streams; the session need not wait for the GPU
        self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._known: dict[tuple[Shape, ...], dict[str, Shape]] = {}

    def largest(self, specs: Sequence[TensorSpec]) -> Iterator[TensorSpec]:
        """The tensors at their largest shapes."""
        outputs = self.output_shapes(self._limits)
        for spec in specs:
            yield spec._replace(shape=(self._limits | outputs)[spec.name])

    def output_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Shapes of the outputs for shapes of the inputs.

        Where the file leaves them open, the session runs once on zeros and is asked.

        Raises:
            EngineError: a shape that the buffers do not hold.
        """
        for name, shape in shapes.items():
            largest = self._limits[name]
            if len(shape) != len(largest) or any(
                a > b for a, b in zip(shape, largest, strict=True)
            ):
                raise EngineError(
                    f"Input {name!r} of {shape_text(shape)} is larger than {shape_text(largest)}, "
                    "which this engine was made for; set another batch or shape."
                )
        key = tuple(shapes[s.name] for s in self.inputs)
        if key not in self._known:
            self._known[key] = self._ask(shapes)
        return self._known[key]

    def _ask(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        if all(min(s.shape, default=1) > 0 for s in self.outputs):
            return {s.name: s.shape for s in self.outputs}
        zeros = {s.name: np.zeros(shapes[s.name], s.dtype) for s in self.inputs}
        names = [s.name for s in self.outputs]
        try:
            results = self._session.run(names, zeros)
        except Exception as e:  # its errors have no common class of their own
            raise EngineError(f"onnxruntime failed: {first_line(e)}.") from e
        return {n: tuple(r.shape) for n, r in zip(names, results, strict=True)}

    def launch(self, slot: Slot, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> None:
        """Bind the slot's addresses and run on the engine's stream."""
        binding = self._session.io_binding()
        for spec in self.inputs:
            binding.bind_input(
                spec.name,
                self._device,
                self._index,
                spec.dtype,
                list(inputs[spec.name]),
                slot.inputs[spec.name].address,
            )
        for spec in self.outputs:
            binding.bind_output(
                spec.name,
                self._device,
                self._index,
                spec.dtype,
                list(outputs[spec.name]),
                slot.outputs[spec.name].address,
            )
        try:
            self._session.run_with_iobinding(binding, self._run_options)
        except Exception as e:  # as above
            raise EngineError(f"onnxruntime failed: {first_line(e)}.") from e

    def release(self) -> None:
        """Let go of the session."""
        self._session = None


def _as_wide_as(spec: TensorSpec, largest: Shape) -> TensorSpec:
    """The input with every dimension but the batch as the buffers have it."""
    return spec._replace(shape=(*spec.shape[:1], *largest[1:]))


def _largest_shapes(model: Path, options: EngineOptions) -> dict[str, Shape]:
    tensors: tuple[Tensor, ...] = read_outline(model).inputs
    _, profiles = choose_shapes(tensors, options)
    fixed = {t.name: t.shape or () for t in tensors}
    return fixed | {name: high for name, (_, _, high) in profiles.items()}
