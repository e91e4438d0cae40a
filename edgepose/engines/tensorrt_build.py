"""Builds a TensorRT plan from an ONNX file.

The module is an argument: `tensorrt` 8.6 to 11 and `tensorrt_rtx` run the same lines. What differs is
probed as a feature, never read from a version: the EXPLICIT_BATCH flag (8.x needs it), FP16 and INT8
flags (gone where networks are strongly typed: there the ONNX file itself is converted), the
MinMax calibrator, the progress monitor, DLA cores, the timing cache.
Functions of the library return None or False where they fail; each answer is looked at.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from edgepose.closing import Worker
from edgepose.engines import convert
from edgepose.engines.build_plan import BuildPlan, check_calibration
from edgepose.engines.messages import build_advice, parser_error_text
from edgepose.engines.options import BuildProgress
from edgepose.errors import (
    EdgeposeError,
    EngineError,
    Interrupted,
    NetworkFileError,
    UsageError,
)
from edgepose.files import write_atomically


class BuildLog:
    """The errors of a library, from the moment at which this is made.

    Args:
        trt: the library.
    """

    def __init__(self, trt: Any) -> None:
        self.logger = logger_of(trt)
        self._before = self.logger.told

    def _errors(self) -> list[str]:
        new = self.logger.told - self._before
        return self.logger.errors[-new:] if new else []

    def first(self) -> str:
        """The first error that tells something (what follows from it comes later), shortened."""
        errors = self._errors()
        told = [e for e in errors if "catchCudaError" not in e] or errors
        return told[0][:240] if told else ""

    def last(self) -> str:
        """The newest error, shortened; "" where there is none."""
        return "".join(self._errors()[-1:])[:240]


# One logger a library, for life: threads of the builder may log after a cancelled build, and a library
# that is given a second logger goes on with the first, whoever has let go of it.
_loggers: dict[type, Any] = {}


def logger_of(trt: Any) -> Any:
    """The ILogger of that library; `errors` has its newest errors, `told` counts all of them."""
    if trt.ILogger in _loggers:
        return _loggers[trt.ILogger]

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.told = 0

        def log(self, severity: Any, msg: str) -> None:
            if str(getattr(severity, "name", severity)) in ("INTERNAL_ERROR", "ERROR"):
                self.errors.append(" ".join(msg.split()))
                self.told += 1
                del self.errors[:-50]

    logger = _loggers.setdefault(trt.ILogger, Logger())
    register_plugins(trt, logger)
    return logger


def register_plugins(trt: Any, logger: Any) -> None:
    """Make TensorRT's own plugins known; some operators (instance normalisation in 8.6) are plugins."""
    register = getattr(trt, "init_libnvinfer_plugins", None)
    if register is not None:
        with suppress(Exception):  # networks without plugins do not need it
            register(logger, "")


WEIGHTED = ("CONVOLUTION", "DECONVOLUTION", "FULLY_CONNECTED", "MATRIX_MULTIPLY")


def heads(network: Any) -> list[Any]:
    """The layers with weights from which outputs of a network come, with nothing of the kind in between."""
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    makers = {layer.get_output(i).name: layer for layer in layers for i in range(layer.num_outputs)}
    todo = [network.get_output(i).name for i in range(network.num_outputs)]
    found, seen = [], set()
    while todo:
        name = todo.pop()
        layer = makers.get(name)
        if layer is None or name in seen:
            continue
        seen.add(name)
        if layer.type.name in WEIGHTED:
            found.append(layer)
        else:
            inputs = (layer.get_input(i) for i in range(layer.num_inputs))
            todo += [tensor.name for tensor in inputs if tensor is not None]
    return found


def build(
    trt: Any,
    plan: BuildPlan,
    *,
    progress: BuildProgress | None = None,
    timing_cache: Path | None = None,
    calibrator: Callable[[Any, BuildPlan], Any] | None = None,
    on_device: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> bytes:
    """Build the plan; blocking. Ctrl-C cancels at the builder's next step.

    Args:
        trt: the library.
        plan: what to build.
        progress: who is told how far it is.
        timing_cache: file of measured kernel times, read and updated.
        calibrator: makes the int8 calibrator for libraries that have one (it needs device memory).
        on_device: makes the GPU current in the thread that builds.

    Returns:
        The serialised plan.

    Raises:
        NetworkFileError: the parser does not take the network.
        EngineError: the builder failed.
        Interrupted: cancelled.
    """
    check_calibration(plan)
    job = _BuildJob(trt, plan, progress, timing_cache, calibrator)

    def work() -> bytes:
        with on_device():
            return job.run()

    return _in_thread(work, job)


class _BuildJob:
    """One build, in the order in which it happens."""

    def __init__(
        self,
        trt: Any,
        plan: BuildPlan,
        progress: BuildProgress | None,
        timing_cache: Path | None,
        calibrator: Callable[[Any, BuildPlan], Any] | None,
    ) -> None:
        self.trt = trt
        self.plan = plan
        self.progress = progress
        self.timing_cache = timing_cache
        self.calibrator = calibrator
        self.log = BuildLog(trt)
        self.stopped = threading.Event()
        self.failure: BaseException | None = None
        self.can_stop = hasattr(trt, "IProgressMonitor")
        self.monitor: Any = None
        self.keep: list[Any] = []  # objects that the library does not keep alive itself

    def run(self) -> bytes:
        logger = self.log.logger
        try:
            builder = self.trt.Builder(logger)
        except (RuntimeError, TypeError) as e:
            raise EngineError(f"TensorRT cannot start here: {self.log.first() or e}.") from e
        self._check_dla(builder)
        typed_model = self._typed_model()
        network = self._parse(builder, logger, typed_model)
        config = self._configure(builder, network)
        serialised = self._phase("build", lambda: builder.build_serialized_network(network, config))
        if self.failure:
            raise self.failure
        if serialised is None:
            raise self._failed()
        self._save_timing_cache(config)
        return bytes(memoryview(serialised))

    def _phase(self, name: str, work: Callable[[], Any]) -> Any:
        if self.stopped.is_set():
            raise Interrupted("The build was cancelled; nothing was kept.")
        if self.progress:
            self.progress.phase(name)
        try:
            return work()
        finally:
            if self.progress:
                self.progress.end(name)

    def tell(self, call: Callable[[BuildProgress], None]) -> None:
        """Report progress from inside the library, and hear whether to stop."""
        if self.progress is None:
            return
        try:
            call(self.progress)
            if self.progress.cancelled():
                self.stopped.set()
        except BaseException as e:
            self.failure = self.failure or e
            self.stopped.set()

    # --- network

    @property
    def _weakly_typed(self) -> bool:
        return hasattr(self.trt.BuilderFlag, "FP16")

    @property
    def _has_calibrator(self) -> bool:
        return hasattr(self.trt, "IInt8MinMaxCalibrator") and self.calibrator is not None

    def _typed_model(self) -> bytes | None:
        """The ONNX file in the plan's precision, None = as it is."""
        plan = self.plan
        if plan.precision == "int8" and plan.calibration and not self._has_calibrator:
            pictures = plan.calibration
            made = bytes(self._phase("calibrate", lambda: convert.to_int8(plan.model, pictures)))
            pictures.check(made)
            return made
        if plan.precision == "fp16" and not self._weakly_typed:
            return bytes(self._phase("convert", lambda: convert.to_fp16(plan.model)))
        return None

    def _parse(self, builder: Any, logger: Any, typed_model: bytes | None) -> Any:
        network = builder.create_network(self._network_flags(typed_model))
        if network is None:
            raise EngineError(f"TensorRT cannot make a network: {self.log.first()}.")
        parser = self.trt.OnnxParser(network, logger)
        self.keep.append(parser)  # it owns the weights until the network is built

        def parse() -> bool:
            content = typed_model if typed_model is not None else self.plan.model.read_bytes()
            return bool(parser.parse(content, str(self.plan.model)))

        if not self._phase("parse", parse):
            raise self._parser_failure(parser)
        if not network.num_outputs:
            raise NetworkFileError(f"Network {self.plan.model} has no outputs.")
        return network

    def _network_flags(self, typed_model: bytes | None) -> int:
        flags = self.trt.NetworkDefinitionCreationFlag
        names = ["EXPLICIT_BATCH"]
        if not self._weakly_typed:
            names.append("STRONGLY_TYPED")
        bits = 0
        for name in names:
            flag = getattr(flags, name, None)
            if flag is not None:
                bits |= 1 << int(flag)
        return bits

    def _parser_failure(self, parser: Any) -> NetworkFileError:
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        if not errors:
            return NetworkFileError(
                f"TensorRT cannot parse {self.plan.model}: {self.log.first() or 'no reason given'}."
            )
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        told = parser_error_text(errors[0], self.plan.outline)
        return NetworkFileError(f"TensorRT cannot parse {self.plan.model}: {told}{more}")

    # --- configuration

    def _configure(self, builder: Any, network: Any) -> Any:
        config = builder.create_builder_config()
        self.keep.append(config)
        plan = self.plan
        if plan.workspace:
            config.set_memory_pool_limit(self.trt.MemoryPoolType.WORKSPACE, plan.workspace)
        if plan.level is not None and hasattr(config, "builder_optimization_level"):
            config.builder_optimization_level = plan.level
        self._set_precision(config)
        if plan.precision == "int8" and plan.calibration and self._has_calibrator:
            self._keep_heads(network, config)
        self._set_dla(config)
        self._set_compatibility(config)
        self._set_profile(builder, network, config)
        self._load_timing_cache(config)
        if self.can_stop:
            config.progress_monitor = self.monitor = _make_monitor(self.trt, self)
        return config

    def _set_precision(self, config: Any) -> None:
        flags = self.trt.BuilderFlag
        if self.plan.precision == "fp32" and hasattr(flags, "TF32"):
            config.clear_flag(flags.TF32)  # who asks for fp32 wants its 24 bits
        if self._weakly_typed and self.plan.precision in ("fp16", "int8"):
            config.set_flag(flags.FP16)
        if self._weakly_typed and self.plan.precision == "int8":
            config.set_flag(flags.INT8)

    def _keep_heads(self, network: Any, config: Any) -> None:
        """The last convolutions in front of the outputs stay in fp16: keypoints and links are read there, and
        a step of int8 is as large as the differences that tell them apart (docs/engines.md has figures)."""
        prefer = getattr(self.trt.BuilderFlag, "PREFER_PRECISION_CONSTRAINTS", None)
        if prefer is None:
            return
        config.set_flag(prefer)
        for layer in heads(network):
            layer.precision = self.trt.DataType.HALF

    def _set_dla(self, config: Any) -> None:
        if self.plan.dla is None:
            return
        config.default_device_type = self.trt.DeviceType.DLA
        config.DLA_core = self.plan.dla
        config.set_flag(self.trt.BuilderFlag.GPU_FALLBACK)

    def _check_dla(self, builder: Any) -> None:
        cores = int(getattr(builder, "num_DLA_cores", 0))
        if self.plan.dla is not None and self.plan.dla >= cores:
            there = f"this device has {cores}" if cores else "this device (or TensorRT) has none"
            raise UsageError(f"DLA core {self.plan.dla} is asked for, but {there}.")

    def _set_compatibility(self, config: Any) -> None:
        if not self.plan.hardware_compatible:
            return
        levels = getattr(self.trt, "HardwareCompatibilityLevel", None)
        if levels is None or not hasattr(config, "hardware_compatibility_level"):
            raise UsageError("This TensorRT cannot build hardware-compatible plans.")
        config.hardware_compatibility_level = levels.AMPERE_PLUS

    def _set_profile(self, builder: Any, network: Any, config: Any) -> None:
        if not self.plan.profiles:
            self._set_calibrator(config, None)
            return
        profile = builder.create_optimization_profile()
        for name, (low, best, high) in self.plan.profiles.items():
            profile.set_shape(name, low, best, high)
        if config.add_optimization_profile(profile) < 0:
            raise EngineError(
                f"TensorRT refuses the input shapes {self.plan.shapes()} for batch "
                f"{self.plan.batch}: {self.log.first()}."
            )
        self._set_calibrator(config, profile)

    def _set_calibrator(self, config: Any, profile: Any) -> None:
        if self.plan.precision != "int8" or not self.plan.calibration or not self._has_calibrator:
            return
        assert self.calibrator is not None
        if profile is not None and hasattr(config, "set_calibration_profile"):
            config.set_calibration_profile(profile)
        calibrator = self.calibrator(self.trt, self.plan)
        self.keep.append(calibrator)
        config.int8_calibrator = calibrator

    # --- timing cache

    def _load_timing_cache(self, config: Any) -> None:
        if self.timing_cache is None or not hasattr(config, "create_timing_cache"):
            return
        try:
            content = self.timing_cache.read_bytes()
        except OSError:
            content = b""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            for data in (content, b""):  # a cache of another version is refused: start anew
                cache = config.create_timing_cache(data)
                if cache is not None and config.set_timing_cache(cache, False):
                    return

    def _save_timing_cache(self, config: Any) -> None:
        if self.timing_cache is None or not hasattr(config, "get_timing_cache"):
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            cache = config.get_timing_cache()
            content = cache.serialize() if cache is not None else None
        if content is None:
            return
        with suppress(OSError):  # it only makes the next build faster
            self.timing_cache.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.timing_cache, bytes(memoryview(content)))

    # --- failure

    def _failed(self) -> EdgeposeError:
        if self.stopped.is_set():
            return Interrupted("The build was cancelled; nothing was kept.")
        told = self.log.first()
        return EngineError(
            f"TensorRT could not build {self.plan.model.name} in {self.plan.precision}: "
            f"{told.rstrip('.') or 'it gave no reason'}. {build_advice(told, on_dla=self.plan.dla is not None)}"
        )


def _make_monitor(trt: Any, job: _BuildJob) -> Any:
    """An IProgressMonitor that tells `job.progress` and stops where asked.

    Nothing may be raised into the library: what goes wrong here stops the build and is raised after.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            job.tell(lambda p: p.phase(phase_name, num_steps))

        def phase_finish(self, phase_name: str) -> None:
            job.tell(lambda p: p.end(phase_name))

        def step_complete(self, phase_name: str, step: int) -> bool:
            job.tell(lambda p: p.step(phase_name, step + 1))
            return not job.stopped.is_set()

    return Monitor()


# --- the thread that builds, so that the main thread hears Ctrl-C

_abandoned: list[Worker] = []
_for_life: list[
    Any
] = []  # monitors of cancelled builds, which threads of the builder may still call
_cancelled = threading.Event()


def was_cancelled() -> bool:
    """True where a build of this process was cancelled: threads of the builder may still be at work."""
    return _cancelled.is_set()


def _in_thread(work: Callable[[], bytes], job: _BuildJob) -> bytes:
    result: list[bytes] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as e:  # handed to the waiting thread
            failure.append(e)

    thread = Worker(run, "tensorrt-build")
    try:
        thread.start()
        while thread.is_alive():
            thread.join(0.1)
    except KeyboardInterrupt:
        job.stopped.set()
        _cancelled.set()
        if job.can_stop:
            _wait(thread)
        else:
            _abandon(thread)
        _for_life.append(job.monitor)
        raise Interrupted("The build was cancelled; nothing was kept.") from None
    if job.stopped.is_set():
        _for_life.append(job.monitor)
    # builder, network and parser are destroyed here and now, not when a collector finds their cycle
    for error in failure:
        traceback.clear_frames(error.__traceback__)
    job.keep.clear()
    if failure:
        raise failure.pop()
    return result[0]


def _wait(thread: Worker, seconds: float = 30.0) -> None:
    """Let the builder reach its next step; a second Ctrl-C, or too long a step, abandons it."""
    end = time.monotonic() + seconds
    try:
        while thread.is_alive() and time.monotonic() < end:
            thread.join(0.1)
    except KeyboardInterrupt:
        pass
    if thread.is_alive():
        _abandon(thread)


def _abandon(thread: Worker) -> None:
    """Before TensorRT 10 nothing stops a build; it ends with the process, which must not wait."""
    if not _abandoned:
        atexit.register(_leave_at_once)
    _abandoned.append(thread)


def _leave_at_once() -> None:
    # ending the interpreter under a working builder would tear down the library that it runs in
    if any(thread.is_alive() for thread in _abandoned):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)
