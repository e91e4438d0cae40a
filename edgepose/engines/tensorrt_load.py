"""What TensorRT and TensorRT for RTX share: asking the machine, building or loading, running."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepose.cuda.buffers import check_driver, open_cuda
from edgepose.engines.base import Choice
from edgepose.engines.build_plan import BuildPlan
from edgepose.engines.cache import PlanCache
from edgepose.engines.device import Cuda
from edgepose.engines.gpu import Gpu, find_gpu
from edgepose.engines.messages import first_line
from edgepose.engines.options import EngineOptions
from edgepose.engines.plans import Flavour, Machine, Plan, obtain
from edgepose.engines.tensorrt_calibrator import make_calibrator
from edgepose.engines.tensorrt_run import Loader, TensorRTEngine
from edgepose.errors import BackendUnavailable, EngineError, built_for_other_numpy
from edgepose.networks.model_file import PLANS
from edgepose.networks.onnx_file import model_digest


def library(name: str, load: Callable[[], Any]) -> Any:
    """A TensorRT module, imported by `load`.

    Raises:
        BackendUnavailable: not installed, its own libraries are missing, or it is not NVIDIA's.
    """
    if importlib.util.find_spec(name) is None:
        raise BackendUnavailable(f"the {name} package is not installed")
    try:
        module = load()
    except Exception as e:  # its C part was built for other libraries than are here
        why = built_for_other_numpy(e, name) or f"{name} does not load: {first_line(e)}"
        raise BackendUnavailable(why) from e
    if not hasattr(module, "Builder"):
        raise BackendUnavailable(f"the package named {name} is incomplete or not NVIDIA's")
    return module


def probe_flavour(flavour: Callable[[], Flavour], options: EngineOptions) -> str:
    """Why a flavour cannot run here, "" where it can; the cheap questions come first."""
    try:
        gpu = find_gpu(options.device)
        check_gpu(flavour(), gpu)
        check_driver()
    except BackendUnavailable as e:
        return str(e).rstrip(".")
    return ""


def check_gpu(flavour: Flavour, gpu: Gpu) -> None:
    """See that a library has kernels for a GPU: TensorRT for RTX finds out only when a plan is built and loaded.

    Raises:
        BackendUnavailable: it names the GPUs it knows, and this one is not among them.
    """
    named = getattr(getattr(flavour.trt, "ComputeCapability", None), "__members__", {})
    known = sorted(int(name[2:]) for name in named if name[:2] == "SM" and name[2:].isdigit())
    here = int(gpu.compute_capability.replace(".", ""))
    if known and here not in known and here < known[-1]:
        several = ", ".join(f"{n // 10}.{n % 10}" for n in known)
        raise BackendUnavailable(
            f"{flavour.title} {flavour.version} has no kernels for {gpu.name} (compute capability "
            f"{gpu.compute_capability}; it knows {several} and later ones)"
        )


def load_flavour(
    flavour: Flavour, model: Path, options: EngineOptions, cuda: Cuda | None = None
) -> TensorRTEngine:
    """The engine of an ONNX file or of a plan; see `plans.obtain` for what it raises."""
    gpu = find_gpu(options.device)
    check_gpu(flavour, gpu)
    cuda = cuda or open_cuda(gpu.index)
    return start(flavour, model, options, gpu, cuda)


def start(
    flavour: Flavour, model: Path, options: EngineOptions, gpu: Gpu, cuda: Cuda
) -> TensorRTEngine:
    """`load_flavour` for a known GPU."""
    if options.engine_file is None and model.suffix.lower() in PLANS:
        options = with_engine_file(options, model)
    with cuda.current():
        loader = Loader(flavour.trt)
        plan = obtain(flavour, model, options, machine(loader, gpu, cuda))
        details = plan.sidecar.key.precision if plan.sidecar else plan.reason
        name = f"{flavour.name} ({gpu.name}, {details})"
        engine = TensorRTEngine(flavour.trt, plan.loaded, loader, cuda, name)
    engine.choice = Choice(flavour.name, "asked for")
    return engine


def machine(loader: Loader, gpu: Gpu, cuda: Cuda) -> Machine:
    """This machine with its GPU: verifies plans by deserialising, calibrates in device memory."""

    def calibrator(trt: Any, plan: BuildPlan) -> Any:
        assert plan.calibration is not None
        digest = model_digest(plan.model, plan.outline.external)[:12]
        name = f"{plan.model.stem}.{digest}.{plan.calibration.digest[:12]}.minmax"
        return make_calibrator(trt, plan, cuda, PlanCache().folder / "calibration" / name)

    return Machine(gpu, loader.deserialise, calibrator, cuda.current)


def build_only(
    flavour: Flavour, model: Path, options: EngineOptions, *, must_keep: bool = True
) -> Plan:
    """Build (or find) a plan without running it; for `edgepose build-engine`.

    TensorRT for RTX builds where no GPU is; TensorRT needs one.

    Raises:
        BackendUnavailable: TensorRT, and no GPU or no binding of its driver.
    """
    try:
        gpu = find_gpu(options.device)
        check_driver()
    except BackendUnavailable:
        if flavour.name != "tensorrt_rtx":
            raise
        return obtain(flavour, model, options, Machine(), must_keep=must_keep)
    check_gpu(flavour, gpu)
    cuda = open_cuda(gpu.index)
    with cuda.current():
        loader = Loader(flavour.trt)
        return obtain(flavour, model, options, machine(loader, gpu, cuda), must_keep=must_keep)


def with_engine_file(options: EngineOptions, path: Path) -> EngineOptions:
    """The options that use a plan as it is.

    Raises:
        EngineError: a plan and an ONNX file's options contradict each other.
    """
    if options.rebuild:
        raise EngineError(f"{path} is a finished plan; name the ONNX file to build it anew.")
    return replace(options, engine_file=path)
