"""What a TensorRT build will be: precision, shapes and limits, decided before the library is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgepose.engines.base import shape_text
from edgepose.engines.gpu import Gpu, HostMemory
from edgepose.engines.onnxruntime import image_axes
from edgepose.engines.options import BatchRange, Calibration, EngineOptions
from edgepose.errors import EngineError, NetworkFileError, UsageError
from edgepose.networks.onnx_file import OnnxOutline, Tensor
from edgepose.types import Shape

MIB = 1 << 20


@dataclass(frozen=True)
class BuildPlan:
    """What will be built, all choices made.

    Attributes:
        model: the ONNX file.
        outline: what stands in it.
        precision: fp32, fp16 or int8.
        batch: of the profile; low = high where it is fixed.
        profiles: input name to smallest, best and largest shape, for dynamic inputs only.
        workspace: bytes, 0 = the builder's default.
        dla: core, None = GPU.
        level: optimisation level, None = default.
        hardware_compatible: also for newer GPUs.
        calibration: pictures for int8, None = not needed.
        notes: what was decided against what was asked, for people.
    """

    model: Path
    outline: OnnxOutline
    precision: str
    batch: BatchRange
    profiles: dict[str, tuple[Shape, Shape, Shape]]
    workspace: int = 0
    dla: int | None = None
    level: int | None = None
    hardware_compatible: bool = False
    calibration: Calibration | None = None
    notes: tuple[str, ...] = ()

    def shapes(self) -> str:
        """Input shapes as the cache key has them."""
        told = []
        for tensor in self.outline.inputs:
            low, _, high = self.profiles.get(tensor.name, (tensor.shape or (),) * 3)
            dims = tuple(a if a == b else -1 for a, b in zip(low, high, strict=True))
            told.append(f"{tensor.name} {shape_text(dims)}")
        return ", ".join(told)


def plan_build(model: Path, outline: OnnxOutline, options: EngineOptions) -> BuildPlan:
    """Decide precision, shapes and limits.

    Raises:
        UsageError: options that contradict each other or the network.
        NetworkFileError: inputs that cannot be given a shape.
    """
    precision, notes = choose_precision(outline, options)
    batch, profiles = choose_shapes(outline.inputs, options)
    if options.dla is not None and precision == "fp32":
        raise UsageError("A deep learning accelerator computes fp16 and int8 only, not fp32.")
    calibration = options.calibration if precision == "int8" and not outline.quantised else None
    return BuildPlan(
        model,
        outline,
        precision,
        batch,
        profiles,
        options.workspace * MIB,
        options.dla,
        options.optimization_level,
        options.hardware_compatible,
        calibration,
        notes,
    )


def choose_precision(outline: OnnxOutline, options: EngineOptions) -> tuple[str, tuple[str, ...]]:
    """fp32, fp16 or int8, and what was decided against what was asked."""
    asked = options.precision
    if outline.quantised:  # its Q/DQ nodes are int8 whatever is asked
        over = f", so {asked} has no effect" if asked in ("fp32", "fp16") else ""
        return "int8", (f"the ONNX file carries its own int8 scales{over}",)
    if asked == "best":
        return ("int8", ()) if options.calibration else ("fp16", ())
    return asked or "fp16", ()


def check_calibration(plan: BuildPlan) -> None:
    """See that there are pictures where they are needed.

    Raises:
        UsageError: int8 without.
    """
    if plan.precision == "int8" and not plan.outline.quantised and not plan.calibration:
        raise UsageError(
            "int8 needs pictures like those the network will see; run `edgepose build-engine "
            "NETWORK --precision int8 --calibration FOLDER` (a few hundred are enough)."
        )


def choose_shapes(
    inputs: Iterable[Tensor], options: EngineOptions
) -> tuple[BatchRange, dict[str, tuple[Shape, Shape, Shape]]]:
    """The batch, and smallest, best and largest shape of every dynamic input.

    Raises:
        UsageError: a size or batch that the network is not made for, or none where it needs one.
        NetworkFileError: a dimension that is neither batch, height nor width.
    """
    profiles = {}
    fixed_batch = BatchRange()
    batch = options.batch
    wanted = batch or BatchRange()
    for tensor in inputs:
        shape = _sized(tensor, options.shape, options.default_shape)
        if shape and shape[0] > 0 and batch and (shape[0], shape[0]) != (batch.low, batch.high):
            raise UsageError(
                f"Input {tensor.name!r} has a fixed batch of {shape[0]}; export the network with a "
                f"dynamic batch to build for {batch}."
            )
        if shape and shape[0] < 0:
            low, best, high = ((n, *shape[1:]) for n in wanted)
            profiles[tensor.name] = (low, best, high)
        else:
            if shape != tensor.shape:
                profiles[tensor.name] = (shape, shape, shape)
            if len(shape) == 4:
                fixed_batch = BatchRange(shape[0], shape[0], shape[0])
    is_fixed = not any(low[0] != high[0] for low, _, high in profiles.values()) and not batch
    return (fixed_batch if is_fixed else wanted), profiles


def _sized(tensor: Tensor, size: tuple[int, int] | None, default: tuple[int, int] | None) -> Shape:
    if tensor.shape is None:
        raise NetworkFileError(
            f"The ONNX file does not say what shape input {tensor.name!r} has; export it again."
        )
    shape = list(tensor.shape)
    if len(shape) == 4:
        asked = size or default or (-1, -1)
        for axis, wanted in zip(image_axes(tensor.shape), asked, strict=True):
            if size and shape[axis] not in (-1, wanted):
                raise UsageError(
                    f"Input {tensor.name!r} is fixed to {shape_text(tensor.shape)}, so no plan "
                    f"can be built for {size[0]}x{size[1]}; export the network at that size."
                )
            shape[axis] = wanted if shape[axis] < 0 else shape[axis]
            if shape[axis] < 0:
                raise UsageError(
                    f"Input {tensor.name!r} is {shape_text(tensor.shape)}: its size is open, and "
                    "a plan needs one. Add --shape WIDTHxHEIGHT."
                )
    for axis, length in enumerate(shape):
        if axis and length < 0:
            raise NetworkFileError(
                f"Input {tensor.name!r} is {shape_text(tensor.shape)}; dimension {axis} is neither "
                "batch, height nor width. Export the network with a fixed one."
            )
    return tuple(shape)


def check_memory(plan: BuildPlan, gpu: Gpu | None, memory: HostMemory | None) -> tuple[int, str]:
    """(workspace bytes, warning) for this machine; 0 = the builder's own limit.

    On boards whose GPU shares the memory a build can take all of it, and the system then ends
    the program without a word. A build wants about 700 MiB for the libraries and four times the
    network (measured ranges differ by board and version).

    Raises:
        EngineError: so little memory is free that a build would be killed.
    """
    if memory is None or not (gpu and gpu.integrated):
        return plan.workspace, ""
    free = memory.available + memory.swap
    need = 300 * MIB + 4 * plan.model.stat().st_size
    swap_advice = (
        "close other programs, or add swap: sudo fallocate -l 4G /swapfile && "
        "sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile"
    )
    if free < need:
        raise EngineError(
            f"Only {free // MIB} MiB of memory and swap are free, and building this plan takes "
            f"{need // MIB} MiB at least; {swap_advice}."
        )
    workspace = plan.workspace or max(64 * MIB, min(1024 * MIB, memory.available // 4))
    warning = ""
    if free < need + 1200 * MIB:
        warning = (
            f"only {free // MIB} MiB of memory and swap are free; if the build dies, {swap_advice}"
        )
    return workspace, warning
