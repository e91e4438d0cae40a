"""`edgepose build-engine`: a TensorRT engine for this GPU, ahead of the first run."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgepose.cli.build_progress import Bar, progress_for
from edgepose.cli.common import terminate_as_interrupt
from edgepose.cli.console import Talk
from edgepose.cli.help import PlainHelp
from edgepose.errors import EXIT_DONE, BackendUnavailable, UsageError

if TYPE_CHECKING:
    from edgepose.engines.options import Calibration, EngineOptions
    from edgepose.engines.plans import Flavour, Plan
    from edgepose.networks.manifest import Manifest

HELP = """Build the TensorRT engine of a network for this GPU and keep it; prints its path.

NETWORK is a name (see `edgepose networks`) or an ONNX file. posenet builds by itself at first use; this
command does it ahead, with more choices. An engine that is there and fits is not built again.

  edgepose build-engine resnet18-body

  edgepose build-engine rtmpose-m --batch 1:4:8

  edgepose build-engine mine.onnx --shape 256x192 --precision fp32

  edgepose build-engine resnet18-body --precision int8 --calibration ~/pictures

Ctrl-C cancels (TensorRT 10 and later), and nothing half-built stays behind.
"""
_WHAT, _HOW = "What to build", "How to build"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("build-engine", cls=PlainHelp, help=HELP)(build_engine)


def build_engine(
    network: Annotated[str, typer.Argument(metavar="NETWORK|FILE.onnx", help="Network or file.", show_default=False)],
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8 or best (int8 where --calibration is given). [default: fp16]", rich_help_panel=_WHAT)] = "",
    batch: Annotated[str, typer.Option(metavar="N|MIN:OPT:MAX", help="Frames (or people) in one run, for networks with a dynamic batch. [default: 1]", rich_help_panel=_WHAT)] = "",
    shape: Annotated[str, typer.Option(metavar="HxW", help="Input size, for networks that take several. [default: the network's]", rich_help_panel=_WHAT)] = "",
    variant: Annotated[str, typer.Option(help="Variant of a named network's weights.", rich_help_panel=_WHAT)] = "",
    calibration: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Pictures for int8, like those it will see; a few hundred are enough.", rich_help_panel=_WHAT)] = None,
    like: Annotated[str, typer.Option(metavar="NETWORK", help="With FILE.onnx: prepare calibration pictures (and choose the size) as this network does.", rich_help_panel=_WHAT)] = "",
    workspace: Annotated[int, typer.Option(metavar="MIB", min=0, help="Memory that the build may use; 0 = by what is free.", rich_help_panel=_HOW)] = 0,
    dla: Annotated[int | None, typer.Option(metavar="0|1", min=0, help="Build for a deep learning accelerator (Orin, Xavier; fp16 or int8).", rich_help_panel=_HOW)] = None,
    optimization_level: Annotated[int | None, typer.Option(metavar="0-5", min=0, max=5, help="How hard the builder tries; 5 is slowest and best.", rich_help_panel=_HOW)] = None,
    timing_cache: Annotated[Path | None, typer.Option(metavar="FILE", help="Measured kernel times. [default: one for each GPU and version]", rich_help_panel=_HOW)] = None,
    hardware_compatible: Annotated[bool, typer.Option("--hardware-compatible", help="One engine for this and newer GPU families (desktop only; slower).", rich_help_panel=_HOW)] = False,
    engine: Annotated[str, typer.Option(help="tensorrt, tensorrt_rtx or auto.", rich_help_panel=_HOW)] = "auto",
    device: Annotated[str, typer.Option(help="Number of the GPU.", rich_help_panel=_HOW)] = "",
    force: Annotated[bool, typer.Option("--force", help="Build even where an engine is there.", rich_help_panel=_HOW)] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE.engine", help="Write a copy here, with its .json.")] = None,
    no_download: Annotated[bool, typer.Option("--no-download", help="Do not fetch the network.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the path.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
) -> int:  # fmt: skip
    """Run the command; see `HELP`."""
    from edgepose.engines.options import EngineOptions, parse_batch, parse_shape

    talk = Talk("error" if quiet else "info")
    progress = progress_for(talk)
    options = EngineOptions(
        engine=engine,
        device=device,
        precision=precision,
        shape=parse_shape(shape) if shape else None,
        batch=parse_batch(batch) if batch else None,
        workspace=workspace,
        dla=dla,
        optimization_level=optimization_level,
        timing_cache=timing_cache.expanduser() if timing_cache else None,
        hardware_compatible=hardware_compatible,
        rebuild=force,
        output=output.expanduser() if output else None,
        progress=progress,
    )
    flavour = find_flavour(engine)
    with _interruptible():
        model, manifest = find_model(network, variant, like, not no_download, talk)
        options = _for_network(options, model, manifest, calibration)
        plan = _build(flavour, model, options)
    _report(plan, options, as_json, talk)
    return EXIT_DONE


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM cancels as Ctrl-C does."""
    before = signal.getsignal(signal.SIGTERM)
    terminate_as_interrupt()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# what --------------------------------------------------------------------------------------------
def find_flavour(name: str) -> Flavour:
    """TensorRT by name; "auto" is the first that is installed.

    Raises:
        UsageError: another engine, which builds nothing.
        BackendUnavailable: not installed, with what to do.
    """
    from importlib import import_module

    from edgepose.engines.table import find_backend

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
    from edgepose.networks import registry
    from edgepose.networks.resolve import resolve

    path = Path(text).expanduser()
    if path.suffix.lower() in (".onnx", ".xml", ".engine", ".plan") or path.is_file():
        model, manifest = path, registry.find(like) if like else None
    else:
        from edgepose.cli.progress import progress_for as downloads

        if like:
            raise UsageError("--like goes with an ONNX file; a named network prepares its own way.")
        found = resolve(text, variant=variant, download=download, progress=downloads(talk))
        model, manifest = found.model, found.manifest
    _check_onnx(model)
    return model, manifest


def _check_onnx(model: Path) -> None:
    from edgepose.networks.model_file import check_model_file

    kind = check_model_file(model)
    if kind != ".onnx":
        what = "is a finished plan" if kind == ".engine" else "is an OpenVINO network"
        raise UsageError(f"{model} {what}; TensorRT builds from ONNX files.")


def _for_network(
    options: EngineOptions, model: Path, manifest: Manifest | None, folder: Path | None
) -> EngineOptions:
    """The options with the network's size and calibration pictures."""
    from dataclasses import replace

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
    pictures = _calibration(folder.expanduser(), model, manifest, options)
    return replace(options, calibration=pictures, precision=options.precision or "int8")


def _calibration(
    folder: Path, model: Path, manifest: Manifest, options: EngineOptions
) -> Calibration:
    from edgepose.calibration import calibration
    from edgepose.engines.build_plan import choose_shapes
    from edgepose.networks.onnx_file import read_outline

    inputs = read_outline(model).inputs
    picture = next((t for t in inputs if t.name == manifest.input.name), inputs[0])
    _, profiles = choose_shapes(inputs, options)
    shape = profiles[picture.name][1] if picture.name in profiles else picture.shape or ()
    at = 2 if manifest.input.layout == "nchw" else 1
    size = (shape[at], shape[at + 1]) if len(shape) == 4 else None
    return calibration(folder, manifest.input, picture.name, size)


# build -------------------------------------------------------------------------------------------
def _build(flavour: Flavour, model: Path, options: EngineOptions) -> Plan:
    from edgepose.engines.tensorrt_load import build_only

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
        talk.info(f"{plan.sidecar.name} ({plan.sidecar.key.precision}): {how}")
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
