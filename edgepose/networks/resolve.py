"""What a user's options mean: --network, --model, --topology and their like become a network."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepose.errors import DownloadError, NetworkFileError, UsageError
from edgepose.machine import has_int8_units, has_nvidia_gpu
from edgepose.networks.manifest import InputSpec, Manifest, load_manifest
from edgepose.networks.measured import ways
from edgepose.networks.model_file import check_model_file, is_model_name
from edgepose.networks.registry import (
    find,
    find_variant,
    installed_variant,
    names,
    normalise,
)
from edgepose.networks.topology import Topology, load_colors, load_topology
from edgepose.networks.variant import Variant
from edgepose.paths import cache, is_safe_path

if TYPE_CHECKING:
    from edgepose.networks.progress import Progress

log = logging.getLogger(__name__)

DEFAULT = "resnet18-body"  # where there is an NVIDIA GPU, as in jetson-inference
EMBEDDED = (
    "movenet-multipose"  # comes with the package: everywhere else, and where DEFAULT cannot be had
)
INT8 = "INT8"  # variant whose file carries its own int8 scales, for CPUs


@dataclass(frozen=True)
class Network:
    """A network ready to be loaded.

    Attributes:
        manifest: what is known about it, the user's overrides applied.
        model: the model file, which exists.
        topology: keypoints and links with colours; None for detectors.
        variant: of the weights, "" where the user brought the file.
    """

    manifest: Manifest
    model: Path
    topology: Topology | None
    variant: str = ""


def resolve(
    name: str = "",
    *,
    variant: str = "",
    model: str | Path | None = None,
    topology: str | Path | None = None,
    colors: str | Path | None = None,
    input_blob: str = "",
    output_cmap: str = "",
    output_paf: str = "",
    download: bool = True,
    progress: Progress | None = None,
    gpu: bool | None = None,
    precision: str = "",
) -> Network:
    """What the options --network, --model, --topology, ... mean together.

    `name` alone is a known network (or the path of a manifest), fetched on first use; with `model`
    it is that network with the weights of a file. `model` without `name` is a custom bottom-up
    network and needs `topology` (a name or a file). With neither it is the default network: the one in
    the package, or resnet18-body where there is an NVIDIA GPU.

    Args:
        name: network, alias, or path of a manifest ending in .json; "" = default or custom.
        variant: of the weights; "" = what is installed, else the default.
        model: ONNX file, OpenVINO IR or TensorRT plan.
        topology: overrides the network's, by name ("human_pose") or file.
        colors: file of `R G B [A]` lines, overrides the topology's colours.
        input_blob, output_cmap, output_paf: tensor names, override the manifest's.
        download: may fetch what is not installed.
        progress: told about downloads.
        gpu: there is an NVIDIA GPU; None = look.
        precision: the engine is asked for (fp32, fp16, int8, best, "" = its choice); decides the variant
            where none is named.

    Raises:
        UnknownNameError: no such network or variant.
        UsageError: options that do not go together.
        NetworkFileError: a file is missing or broken, or nothing is installed and `download` is off.
        DownloadError: it could not be fetched.
    """
    if not name and model is not None and not _is_file_name(model):
        name, model = str(model), None  # jetson-inference takes --model=resnet18-body too
    if not name and model is None:
        if topology is not None:
            raise UsageError("--topology was given without --model FILE or --network NAME.")
        tensors = (input_blob, output_cmap, output_paf)
        if not (variant or any(tensors)) and default_name(gpu) == EMBEDDED:
            return resolve(EMBEDDED, colors=colors, download=False, gpu=gpu, precision=precision)
        return _default(variant, colors, tensors, download, progress)
    manifest = _manifest_of(name) if name else _custom(Path(str(model)), topology)
    manifest = _bind(manifest, input_blob, output_cmap, output_paf)
    skeleton = _topology_of(manifest, topology, colors)
    if model is not None:
        if name:  # `_custom` has looked at the others
            check_model_file(Path(model))
        return Network(manifest, Path(model), skeleton, variant)
    wanted = variant or fast_variant(manifest, gpu, precision=precision)
    found = installed_variant(manifest, wanted) or _fetch(manifest, variant, download, progress)
    return _network(manifest, found, skeleton)


def fast_variant(
    manifest: Manifest, gpu: bool | None = None, int8: bool | None = None, precision: str = ""
) -> str:
    """The variant that is fastest on this CPU, "" = the first that there is.

    What `edgepose bench --choose` measured decides; without it the int8 weights of a network in the
    package, where the CPU is fast at int8.

    Args:
        gpu, int8: what the machine has, None = look.
        precision: asked of the engine: int8 takes such weights anyway, fp32 and fp16 never.
    """
    if precision in ("fp32", "fp16") or (has_nvidia_gpu() if gpu is None else gpu):
        return ""
    weights = manifest.weights.get(INT8)
    shipped = weights is not None and weights.shipped
    if precision == "int8":
        return INT8 if shipped else ""
    measured = next((way.variant for way in ways(manifest.name)), "")
    if measured in manifest.weights and installed_variant(manifest, measured):
        return measured
    if not shipped:
        return ""
    return INT8 if (has_int8_units() if int8 is None else int8) else ""


def default_name(gpu: bool | None = None) -> str:
    """The network where none is named; `gpu`: there is an NVIDIA GPU, None = look."""
    return DEFAULT if (has_nvidia_gpu() if gpu is None else gpu) else EMBEDDED


def _is_file_name(model: str | Path) -> bool:
    path = Path(model)
    return bool(path.suffix) or len(path.parts) > 1 or path.exists()


def _default(
    variant: str,
    colors: str | Path | None,
    tensors: tuple[str, str, str],
    download: bool,
    progress: Progress | None,
) -> Network:
    """The default network; the one in the package where that can neither be found nor fetched."""
    manifest = _bind(find(DEFAULT), *tensors)
    skeleton = _topology_of(manifest, None, colors)
    stand_in = not variant and EMBEDDED in names()
    try:
        found = installed_variant(manifest, variant)
        if found is None and stand_in and failed_lately():
            raise DownloadError(f"{DEFAULT} could not be fetched a short while ago.")
        found = found or _fetch(manifest, variant, download, progress, quick=stand_in)
    except (DownloadError, NetworkFileError):
        if not stand_in:
            raise
        log.log(
            logging.DEBUG if failed_lately(86400.0) else logging.INFO,  # once a day is enough
            "%s is not installed and cannot be fetched: using %s, which comes with edgepose "
            "(`edgepose download %s` says why; --network chooses).",
            DEFAULT,
            EMBEDDED,
            DEFAULT,
        )
        if download:
            remember_failure()
        return resolve(EMBEDDED, colors=colors, download=False)
    return _network(manifest, found, skeleton)


def _network(manifest: Manifest, found: Variant, skeleton: Topology | None) -> Network:
    if found.model is None:  # somebody deletes it meanwhile
        raise found.not_installed()
    return Network(manifest, found.model, skeleton, found.name)


def _failure_mark() -> Path:
    return cache() / "downloads" / "default-network-failed"


def failed_lately(within: float = 3600.0) -> bool:
    """True where the default network could not be fetched in the last `within` seconds.

    Behind a firewall every attempt costs seconds, so that not every run should make one.
    """
    try:
        return 0 <= time.time() - _failure_mark().stat().st_mtime < within
    except OSError:
        return False


def remember_failure() -> None:
    """Note that the default network could not be fetched now."""
    if failed_lately():
        return
    try:
        _failure_mark().parent.mkdir(parents=True, exist_ok=True)
        _failure_mark().touch()
    except OSError:
        pass  # it only saves time


def _manifest_of(name: str) -> Manifest:
    if name.lower().endswith(".json"):
        return load_manifest(Path(name))
    if is_model_name(name):
        raise UsageError(f"--network takes a name, found the file {name!r}: use --model {name}.")
    return find(name)


def _custom(model: Path, topology: str | Path | None) -> Manifest:
    """The manifest of a user's own network, with jetson-inference's preprocessing."""
    check_model_file(model)
    if topology is None:
        raise UsageError(
            f"--model {model} is not a known network, so it needs --topology FILE (keypoints and "
            "skeleton), or --network NAME of the network whose weights it holds."
        )
    return Manifest(
        name=normalise(model.stem),
        family="bottom-up",
        description=f"custom network {model.name}",
        input=InputSpec(width=0, height=0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        decoder={"type": "paf"},
        topology=str(topology),
        custom=True,
    )


def _bind(manifest: Manifest, input_blob: str, cmap: str, paf: str) -> Manifest:
    given = {role: tensor for role, tensor in (("cmap", cmap), ("paf", paf)) if tensor}
    if given and manifest.family != "bottom-up":
        raise UsageError(
            f"--output-cmap and --output-paf belong to bottom-up networks; {manifest.name} is "
            f"{manifest.family}."
        )
    if input_blob:
        manifest = manifest.with_input(name=input_blob)
    return replace(manifest, outputs={**manifest.outputs, **given})


def _topology_of(
    manifest: Manifest, given: str | Path | None, colors: str | Path | None
) -> Topology | None:
    if given is None and not manifest.topology:
        return None
    topology = load_topology(given) if given is not None else own_topology(manifest)
    if colors is not None:
        rows = load_colors(Path(colors))
    else:
        rows = manifest.colors if given is None and manifest.colors else topology.colors
    if rows and len(rows) != len(topology.keypoints):
        raise NetworkFileError(
            f"Colours {colors or 'of ' + manifest.name}: found {len(rows)}, and topology "
            f"{given or manifest.topology} has {len(topology.keypoints)} keypoints."
        )
    return replace(topology, colors=rows)


def own_topology(manifest: Manifest) -> Topology:
    """The topology a manifest names: a file beside it, else a shipped one.

    Raises:
        NetworkFileError: no such file, or not a topology.
    """
    if manifest.path is not None and manifest.topology.endswith(".json"):
        if not is_safe_path(manifest.topology):
            raise NetworkFileError(
                f"Manifest {manifest.path}: topology {manifest.topology[:80]!r} is no file beside it."
            )
        return load_topology(manifest.path.parent / manifest.topology)
    return load_topology(manifest.topology)


def _fetch(
    manifest: Manifest,
    name: str,
    download: bool,
    progress: Progress | None,
    quick: bool = False,
) -> Variant:
    variant = find_variant(manifest, name)
    if not download or not variant.weights.downloads:
        raise variant.not_installed()
    # HTTP and TLS take 30 ms to load, for nothing where the network is installed
    from edgepose.networks.download import QUICK, InstallOptions, install

    options = InstallOptions(transfer=QUICK) if quick else InstallOptions()
    install(manifest, variant.name, options, progress=progress)
    return variant
