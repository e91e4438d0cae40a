"""`edgepose build-engine`: a TensorRT engine for this GPU, ahead of the first run."""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgepose.calibration import calibration, sample
from edgepose.cli.build_progress import Bar, progress_for
from edgepose.cli.common import interruptible
from edgepose.cli.console import Talk
from edgepose.cli.options import BuildEngine
from edgepose.cli.progress import progress_for as downloads
from edgepose.engines.build_plan import choose_shapes
from edgepose.engines.options import Calibration, EngineOptions, parse_batch, parse_shape
from edgepose.engines.plans import Flavour, Plan
from edgepose.engines.table import find_backend
from edgepose.engines.tensorrt_load import build_only
from edgepose.errors import (
    EXIT_DONE,
    BackendUnavailable,
    EngineError,
    NetworkFileError,
    UsageError,
)
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.estimators.preparation import preparation
from edgepose.eval.loss import loss
from edgepose.networks import registry
from edgepose.networks.manifest import Manifest
from edgepose.networks.model_file import check_model_file
from edgepose.networks.onnx_file import read_outline
from edgepose.networks.resolve import Network, own_topology, resolve

log = logging.getLogger(__name__)
CHECKED = 32  # pictures on which the loss of int8 is looked at


def build_engine(asked: BuildEngine) -> int:
    """Run the command."""
    talk, how = Talk.of(asked.talk), asked.how
    options = EngineOptions(
        engine=how.engine,
        device=how.device,
        precision=asked.precision,
        shape=parse_shape(asked.shape) if asked.shape else None,
        batch=parse_batch(asked.batch) if asked.batch else None,
        workspace=how.workspace,
        dla=how.dla,
        optimization_level=how.optimization_level,
        timing_cache=how.timing_cache.expanduser() if how.timing_cache else None,
        hardware_compatible=how.hardware_compatible,
        rebuild=how.force,
        output=asked.output.expanduser() if asked.output else None,
        progress=progress_for(talk),
    )
    flavour = find_flavour(how.engine)
    with interruptible():
        model, manifest = find_model(
            asked.network, asked.variant, asked.like, not asked.no_download, talk
        )
        options = _for_network(options, model, manifest, asked.calibration, how.force)
        plan = _build(flavour, model, options)
    _report(plan, options, asked.json, talk)
    return EXIT_DONE


# what --------------------------------------------------------------------------------------------
def find_flavour(name: str) -> Flavour:
    """TensorRT by name; "auto" is the first that is installed.

    Raises:
        UsageError: another engine, which builds nothing.
        BackendUnavailable: not installed, with what to do.
    """
    names = ["tensorrt", "tensorrt_rtx"] if name.lower() == "auto" else [find_backend(name).name]
    if names[0] not in ("tensorrt", "tensorrt_rtx"):
        raise UsageError(f"Engine {names[0]} runs ONNX files as they are; nothing is built for it.")
    reasons = []
    for each in names:
        try:
            flavour: Flavour = import_module(f"edgepose.engines.{each}").flavour()
            return flavour
        except BackendUnavailable as e:
            reasons.append(str(e))
    raise BackendUnavailable(
        f"No engine can be built here: {'; '.join(reasons)}. {find_backend(names[0]).install}"
    )


def find_model(
    text: str, variant: str, like: str, download: bool, talk: Talk
) -> tuple[Path, Manifest | None]:
    """The ONNX file that is meant, and the manifest where one is known.

    Raises:
        UnknownNameError, DownloadError, NetworkFileError: no such network, or it cannot be had.
        UsageError: an OpenVINO network, which TensorRT does not read.
    """
    path = Path(text).expanduser()
    if path.suffix.lower() in (".onnx", ".xml", ".engine", ".plan") or path.is_file():
        model, manifest = path, registry.find(like) if like else None
    else:
        if like:
            raise UsageError("--like goes with an ONNX file; a named network prepares its own way.")
        found = resolve(text, variant=variant, download=download, progress=downloads(talk))
        model, manifest = found.model, found.manifest
    _check_onnx(model)
    return model, manifest


def _check_onnx(model: Path) -> None:
    kind = check_model_file(model)
    if kind != ".onnx":
        what = "is a finished plan" if kind == ".engine" else "is an OpenVINO network"
        raise UsageError(f"{model} {what}; TensorRT builds from ONNX files.")


def _for_network(
    options: EngineOptions,
    model: Path,
    manifest: Manifest | None,
    folder: Path | None,
    force: bool,
) -> EngineOptions:
    """The options with the network's size and calibration pictures."""
    if manifest is not None:
        size = (manifest.input.height, manifest.input.width)
        options = replace(options, default_shape=size)
    if folder is None:
        return options
    if manifest is None:
        raise UsageError(
            "--calibration needs to know how pictures are prepared for this file: add "
            "--like NETWORK."
        )
    folder = folder.expanduser()
    pictures = _calibration(folder, model, manifest, options)
    check = partial(_check_loss, model, manifest, folder, force)
    pictures = replace(pictures, check=check)
    return replace(options, calibration=pictures, precision=options.precision or "int8")


def _calibration(
    folder: Path, model: Path, manifest: Manifest, options: EngineOptions
) -> Calibration:
    inputs = read_outline(model).inputs
    picture = next((t for t in inputs if t.name == manifest.input.name), inputs[0])
    _, profiles = choose_shapes(inputs, options)
    shape = profiles[picture.name][1] if picture.name in profiles else picture.shape or ()
    at = 2 if manifest.input.layout == "nchw" else 1
    size = (shape[at + 1], shape[at]) if len(shape) == 4 else None
    return calibration(folder, preparation(manifest, size), picture.name)


def _check_loss(model: Path, manifest: Manifest, folder: Path, force: bool, made: bytes) -> None:
    """Say what int8 loses on some of the pictures that it was calibrated on, by ONNX Runtime on the CPU.

    Raises:
        EngineError: too much, and it is not forced.
    """
    if manifest.family == "detector":
        return
    options = EstimatorOptions(engine=EngineOptions("onnxruntime"))
    with TemporaryDirectory() as place, ExitStack() as stack:
        int8 = Path(place) / "int8.onnx"
        int8.write_bytes(made)
        try:
            skeleton = own_topology(manifest)
            right = make_estimator(Network(manifest, model, skeleton), options)
            stack.callback(right.close)
            other = make_estimator(Network(manifest, int8, skeleton), options)
            stack.callback(other.close)
            told = loss(right, other, sample(folder, CHECKED))
        except (EngineError, NetworkFileError, UsageError) as e:
            log.warning("What int8 loses could not be told: %s", e)
            return
    log.info("int8 against float32 on pictures of %s: %s", folder, told)
    if told.too_much and not force:
        raise EngineError(
            f"int8 loses too much: {told}. Calibrate on pictures like those the network will see, use "
            "--precision fp16, or build it all the same with --force."
        )


# build -------------------------------------------------------------------------------------------
def _build(flavour: Flavour, model: Path, options: EngineOptions) -> Plan:
    progress = options.progress
    try:
        return build_only(flavour, model, options)
    except BackendUnavailable as e:
        raise BackendUnavailable(f"{model.name} cannot be built here: {str(e).rstrip('.')}.") from e
    finally:
        if isinstance(progress, Bar):
            progress.close()


def _report(plan: Plan, options: EngineOptions, as_json: bool, talk: Talk) -> None:
    path = options.output or plan.path
    if plan.sidecar is not None:
        seconds = plan.sidecar.build_seconds
        how = f"built in {seconds:.1f} s" if plan.built else "already there"
        where = "" if plan.loaded is not None else "; built for GPUs, none here to run it"
        talk.info(f"{plan.sidecar.name} ({plan.sidecar.key.precision}): {how}{where}")
    if as_json:
        print(json.dumps(description(plan, path), indent=2))
    else:
        print(path)


def description(plan: Plan, path: Path | None) -> dict[str, Any]:
    """A plan as JSON."""
    return {
        "engine": str(path) if path else None,
        "built": plan.built,
        "reason": plan.reason,
        **(plan.sidecar.to_json() if plan.sidecar else {}),
    }
