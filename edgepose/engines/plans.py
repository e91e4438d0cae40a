"""From an ONNX file to a TensorRT plan that fits this machine: out of the cache, or built once.

No GPU library is imported here; the library, the GPU's facts and the function that deserialises come
as arguments, so that all of it runs where no GPU is.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgepose.engines.build_plan import (
    MIB,
    BuildPlan,
    check_calibration,
    check_memory,
    plan_build,
)
from edgepose.engines.cache import (
    Lookup,
    PlanCache,
    PlanKey,
    Sidecar,
    machine_fields,
    read_sidecar,
    sidecar_path,
    write_plan,
)
from edgepose.engines.gpu import Gpu, host_memory
from edgepose.engines.options import EngineOptions
from edgepose.engines.tensorrt_build import build
from edgepose.errors import EngineError, NetworkFileError, OutputError
from edgepose.files import refuse_input
from edgepose.networks.onnx_file import model_digest, read_outline

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Flavour:
    """TensorRT or TensorRT for RTX.

    Attributes:
        name: "tensorrt" or "tensorrt_rtx", as the cache key has it.
        title: for people.
        trt: the library.
        timings: True where it measures kernels while it builds, so that a timing cache helps.
    """

    name: str
    title: str
    trt: Any
    timings: bool = True

    @property
    def version(self) -> str:
        """Version of the library."""
        return str(self.trt.__version__)


@dataclass(frozen=True)
class Machine:
    """What a build and a load need of the machine.

    Attributes:
        gpu: its GPU, None where plans are only built.
        deserialise: makes an engine of a plan, for a core of the accelerator (-1 = GPU); raises
            EngineError with the library's words where it refuses. None = there is no GPU to ask.
        calibrator: makes an int8 calibrator, None = no device memory at hand.
        on_device: makes the GPU current in the calling thread.
    """

    gpu: Gpu | None = None
    deserialise: Callable[[bytes, int], Any] | None = None
    calibrator: Callable[[Any, BuildPlan], Any] | None = None
    on_device: Callable[[], AbstractContextManager[Any]] = nullcontext

    def load(self, content: bytes, sidecar: Sidecar | None) -> Any:
        """The engine of a plan, None where there is no GPU to ask.

        Raises:
            EngineError: the library refuses it; its words.
        """
        if self.deserialise is None:
            return None
        return self.deserialise(content, -1 if sidecar is None else sidecar.key.dla)


@dataclass(frozen=True)
class Plan:
    """A plan ready to use.

    Attributes:
        content: the serialised plan.
        path: where it lies, None where it could not be kept.
        sidecar: what it was built from, None for a file used as it is.
        loaded: the deserialised engine, None without a GPU.
        built: True where it was built just now.
        reason: why it was built, or where it comes from.
    """

    content: bytes
    path: Path | None
    sidecar: Sidecar | None
    loaded: Any
    built: bool
    reason: str


def plan_key(flavour: Flavour, plan: BuildPlan, gpu: Gpu | None) -> PlanKey:
    """The cache key of a build."""
    options = []
    if plan.workspace:
        options.append(f"workspace={plan.workspace // MIB}")
    if plan.level is not None:
        options.append(f"level={plan.level}")
    if plan.hardware_compatible:
        options.append("hardware-compatible")
        # such a plan is looked up by other GPUs too
        gpu = gpu and Gpu(0, "Ampere or newer", "8.0", gpu.driver, 0, False)
    return PlanKey(
        onnx=model_digest(plan.model, plan.outline.external),
        flavour=flavour.name,
        version=flavour.version,
        **machine_fields(gpu),
        precision=plan.precision,
        shape=plan.shapes(),
        batch=str(plan.batch),
        dla=-1 if plan.dla is None else plan.dla,
        calibration=plan.calibration.digest if plan.calibration else "",
        options=" ".join(options),
    )


def obtain(
    flavour: Flavour,
    model: Path,
    options: EngineOptions,
    machine: Machine,
    cache: PlanCache | None = None,
    *,
    must_keep: bool = False,
) -> Plan:
    """The plan of a network for this machine: from the cache where it fits, else built and kept.

    Args:
        must_keep: raise where the plan cannot be written, instead of using it this once.

    Raises:
        NetworkFileError, UsageError: the network or the options cannot be built.
        EngineError: no plan fits and building is off, or the build failed.
        OutputError: with `must_keep`, the cache cannot be written.
        Interrupted: cancelled.
    """
    if options.engine_file is not None:
        return _as_it_is(flavour, options.engine_file, machine)
    if options.output is not None:
        for written in (options.output, sidecar_path(options.output)):
            refuse_input(
                written, (model, *(model.parent / n for n in read_outline(model).external))
            )
    job = _Obtain(flavour, model, options, machine, cache or PlanCache(), must_keep)
    plan = job.run()
    if options.output is not None and plan.sidecar is not None:
        write_plan(options.output, plan.content, plan.sidecar)
    return plan


class _Obtain:
    def __init__(
        self,
        flavour: Flavour,
        model: Path,
        options: EngineOptions,
        machine: Machine,
        cache: PlanCache,
        must_keep: bool,
    ) -> None:
        self.flavour, self.options, self.machine = flavour, options, machine
        self.cache, self.must_keep = cache, must_keep
        self.model, self.name = model, model.stem
        outline = read_outline(model)
        self.plan = plan_build(model, outline, options)
        self.key = plan_key(flavour, self.plan, machine.gpu)

    def run(self) -> Plan:
        lookup = Lookup(None, "asked for")
        if not self.options.rebuild:
            for path in self._calibrated():
                cached, _ = self._use(Lookup(path), "cached, calibrated before")
                if cached:
                    return cached
            lookup = self.cache.look_up(self.name, self.key)
            cached, lookup = self._use(lookup)
            if cached:
                return cached
        check_calibration(self.plan)
        if not self.options.build:
            raise EngineError(
                f"No engine for {self.model.name} fits here ({lookup.reason}), and building is "
                "off. Leave out --no-build, or run `edgepose build-engine` first."
            )
        with ExitStack() as stack:
            keep = self._lock(stack)
            if keep and self.waited:
                again = self.cache.look_up(self.name, self.key)
                cached, _ = self._use(again, "built by another process")
                if cached:
                    return cached
            return self._build(lookup, keep)

    def _calibrated(self) -> list[Path]:
        """int8 plans of whatever pictures, where int8 (or the best) is asked and none are given."""
        asked = self.options.precision in ("int8", "best") and not self.options.calibration
        if not asked or self.plan.outline.quantised:
            return []
        return self.cache.calibrated(self.name, replace(self.key, precision="int8"))

    def _use(self, lookup: Lookup, reason: str = "cached") -> tuple[Plan | None, Lookup]:
        """The cached plan, or the lookup with the reason why it cannot be used."""
        if lookup.path is None:
            return None, lookup
        try:
            content = lookup.path.read_bytes()
            sidecar = read_sidecar(sidecar_path(lookup.path))
        except (OSError, NetworkFileError) as e:
            return None, Lookup(None, str(e).rstrip("."), rebuild=True)
        try:
            loaded = self.machine.load(content, sidecar)
        except EngineError as e:
            return None, Lookup(None, f"{self.flavour.title} refuses the plan: {e}", rebuild=True)
        return Plan(content, lookup.path, sidecar, loaded, False, reason), lookup

    def _lock(self, stack: ExitStack) -> bool:
        """Take the build lock; False where the cache cannot be written (and need not be)."""
        self.waited = False

        def waiting() -> None:
            self.waited = True
            log.info("Waiting for another process that builds %s", self.model.name)

        try:
            stack.enter_context(self.cache.lock(self.name, self.key, waiting))
        except OutputError as e:
            if self.must_keep:
                raise
            log.warning("%s The engine is built for this run only.", e)
            return False
        return True

    def _build(self, lookup: Lookup, keep: bool) -> Plan:
        workspace, warning = check_memory(self.plan, self.machine.gpu, host_memory())
        self._announce(lookup, warning)
        start = time.monotonic()
        content = build(
            self.flavour.trt,
            replace(self.plan, workspace=workspace),
            progress=self.options.progress,
            timing_cache=self._timing_cache(),
            calibrator=self.machine.calibrator,
            on_device=self.machine.on_device,
        )
        sidecar = self._sidecar(time.monotonic() - start)
        try:
            loaded = self.machine.load(content, sidecar)
        except EngineError as e:
            raise EngineError(
                f"{self.flavour.title} built {self.model.name} but cannot load the plan: {e}. Where "
                "the GPU is out of memory, close other programs that use it and try again."
            ) from None
        path = self._store(content, sidecar) if keep else None
        sidecar = read_sidecar(sidecar_path(path)) if path else sidecar
        return Plan(content, path, sidecar, loaded, True, lookup.reason)

    def _announce(self, lookup: Lookup, warning: str) -> None:
        verb = "Rebuilding" if lookup.rebuild else "Building"
        where = self.machine.gpu.name if self.machine.gpu else "any GPU"
        log.info(
            f"{verb} {self.model.name} in {self.key.precision} for {where} with "
            f"{self.flavour.title} {self.flavour.version} ({lookup.reason}); "
            "this takes minutes, once"
        )
        for note in (*self.plan.notes, warning):
            if note:
                log.warning(note)

    def _timing_cache(self) -> Path | None:
        if self.options.timing_cache is not None or not self.flavour.timings:
            return self.options.timing_cache
        gpu = self.machine.gpu
        parts = [self.flavour.name, self.flavour.version]
        parts += [gpu.name, gpu.compute_capability] if gpu else ["no-gpu"]
        return self.cache.folder / "timing" / (re.sub(r"[^\w.]+", "_", "-".join(parts)) + ".timing")

    def _sidecar(self, seconds: float) -> Sidecar:
        outline = self.plan.outline
        return Sidecar(
            self.key,
            self.name,
            str(self.model.resolve()),
            bytes=0,
            sha256="",
            created=time.time(),
            build_seconds=round(seconds, 3),
            inputs={t.name: [t.dtype, list(t.shape or ())] for t in outline.inputs},
            outputs={t.name: [t.dtype, list(t.shape or ())] for t in outline.outputs},
            notes=self.plan.notes,
        )

    def _store(self, content: bytes, sidecar: Sidecar) -> Path | None:
        try:
            return self.cache.store(content, sidecar)
        except OutputError as e:
            if self.must_keep:
                raise
            log.warning("%s The engine is used for this run only.", e)
            return None


def _as_it_is(flavour: Flavour, path: Path, machine: Machine) -> Plan:
    """A plan file that the user names; no key is asked, but a refusal is explained by it.

    Raises:
        EngineError: missing, or the library refuses it.
    """
    try:
        content = path.read_bytes()
    except OSError as e:
        raise EngineError(f"Engine file {path} cannot be read: {e.strerror}.") from e
    if not content:
        raise EngineError(f"Engine file {path} is empty.")
    try:
        sidecar = read_sidecar(sidecar_path(path))
    except NetworkFileError:
        sidecar = None
    try:
        loaded = machine.load(content, sidecar)
    except EngineError as e:
        raise EngineError(
            f"Engine file {path} does not load: {_refusal(flavour, sidecar, machine)} "
            f"({flavour.title}: {e})."
        ) from None
    return Plan(content, path, sidecar, loaded, False, "named by --engine-file")


def _refusal(flavour: Flavour, sidecar: Sidecar | None, machine: Machine) -> str:
    if sidecar is not None:
        here = replace(
            sidecar.key,
            flavour=flavour.name,
            version=flavour.version,
            **machine_fields(machine.gpu),
        )
        differences = sidecar.key.differences(here)
        if differences:
            return f"it was built for another machine ({'; '.join(differences)}); build it here"
    return (
        f"it is damaged, or was built for another GPU or another version than "
        f"{flavour.title} {flavour.version}; build it here with `edgepose build-engine`"
    )
