"""Which networks exist, which are installed, and what a user's options mean.

Networks are the manifests shipped in `data/networks` and those in the user's own folder
(`EDGEPOSE_HOME/networks/<name>/manifest.json`), which win over a shipped one of the same name.
Files of variant V lie in `EDGEPOSE_HOME/networks/<name>/V/`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgepose.errors import DownloadError, NetworkFileError, UnknownNameError, UsageError
from edgepose.networks.manifest import InputSpec, Manifest, load_manifest
from edgepose.networks.topology import Topology, load_colors, load_topology, read_json
from edgepose.paths import cache, data_networks, networks_home

if TYPE_CHECKING:
    from edgepose.networks.progress import Progress

DEFAULT = "resnet18-body"
FALLBACK = "edgepose-lite-body"  # shipped in the package, for where DEFAULT cannot be had
MODEL_SUFFIXES = (".onnx", ".xml")


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


def normalise(name: str) -> str:
    """A name as it is compared: lower case, "-" for "_" and blanks."""
    return re.sub(r"[\s_]+", "-", name.strip().lower())


@lru_cache(maxsize=4)
def _shipped(folder: Path) -> tuple[Manifest, ...]:
    files = sorted(f for f in folder.glob("*.json") if "family" in read_json(f, "Manifest"))
    return tuple(load_manifest(f) for f in files)


def _user_files() -> list[Path]:
    try:
        return sorted(networks_home().glob("*/manifest.json"))
    except OSError:
        return []


def _load_user_file(file: Path) -> Manifest:
    manifest = load_manifest(file)
    if normalise(manifest.name) != normalise(file.parent.name):
        raise NetworkFileError(
            f"Manifest {file}: name is {manifest.name!r}, not that of its folder "
            f"{file.parent.name!r}."
        )
    return manifest


def _load_user() -> Iterator[Manifest | NetworkFileError]:
    for file in _user_files():
        try:
            yield _load_user_file(file)
        except NetworkFileError as e:
            yield e


def manifests() -> list[Manifest]:
    """Every known network in alphabetical order; broken user manifests are left out."""
    known = {m.name: m for m in _shipped(data_networks())}
    known.update({m.name: m for m in _load_user() if isinstance(m, Manifest)})
    return [known[name] for name in sorted(known)]


def problems() -> list[NetworkFileError]:
    """Why user manifests were left out."""
    return [e for e in _load_user() if isinstance(e, NetworkFileError)]


def names() -> list[str]:
    """Canonical names of the known networks."""
    return [m.name for m in manifests()]


def find(name: str) -> Manifest:
    """The manifest of a network given by name or alias (case and "_" do not matter).

    Raises:
        UnknownNameError: no network of that name.
        NetworkFileError: the user's manifest of that name is broken.
    """
    wanted = normalise(name)
    for file in _user_files():
        if normalise(file.parent.name) == wanted:
            return _load_user_file(file)
    known = manifests()
    words = {normalise(a): m for m in known for a in m.aliases}
    words.update({normalise(m.name): m for m in known})  # a name wins over an alias
    if wanted in words:
        return words[wanted]
    hint = "For a file of your own use --model FILE with --topology FILE."
    raise UnknownNameError("network", name, [m.name for m in known], hint)


def find_variant(manifest: Manifest, variant: str = "") -> str:
    """Canonical name of a variant ("" = the default one), whatever its case.

    Raises:
        UnknownNameError: the network has no such variant.
    """
    if not variant:
        return manifest.default_variant
    for name in manifest.weights:
        if normalise(name) == normalise(variant):
            return name
    raise UnknownNameError(f"variant of {manifest.name}", variant, manifest.weights)


def folder(manifest: Manifest, variant: str) -> Path:
    """Where a variant is installed."""
    return networks_home() / manifest.name / variant


def candidates(manifest: Manifest, variant: str) -> list[Path]:
    """Where the model file of a variant is looked for, in this order."""
    weights = manifest.weights[variant]
    places = [folder(manifest, variant), networks_home() / manifest.name]
    if weights.shipped:
        places.append(data_networks())
    return [p / weights.model for p in places]


def complete(model: Path) -> bool:
    """True where a model file is there with all that belongs to it (the .bin of an IR)."""
    try:
        parts = [model, model.with_suffix(".bin")] if model.suffix == ".xml" else [model]
        return all(p.is_file() and p.stat().st_size > 0 for p in parts)
    except OSError:
        return False


def _installed(manifest: Manifest, variant: str) -> tuple[str, Path] | None:
    wanted = [find_variant(manifest, variant)] if variant else list(manifest.weights)
    found = ((v, p) for v in wanted for p in candidates(manifest, v) if complete(p))
    return next(found, None)


def installed(manifest: Manifest, variant: str = "") -> Path | None:
    """The installed model file of a variant; with "" the first variant that is there.

    Raises:
        UnknownNameError: the network has no such variant.
    """
    found = _installed(manifest, variant)
    return found[1] if found else None


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
) -> Network:
    """What the options --network, --model, --topology, ... mean together.

    `name` alone is a known network (or the path of a manifest), fetched on first use; with `model`
    it is that network with the weights of a file. `model` without `name` is a custom bottom-up
    network and needs `topology` (a name or a file). With neither it is the default network.

    Args:
        name: network, alias, or path of a manifest ending in .json; "" = default or custom.
        variant: of the weights; "" = what is installed, else the default.
        model: ONNX or OpenVINO IR file.
        topology: overrides the network's, by name ("human_pose") or file.
        colors: file of `R G B [A]` lines, overrides the topology's colours.
        input_blob, output_cmap, output_paf: tensor names, override the manifest's.
        download: may fetch what is not installed.
        progress: told about downloads.

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
        return _default(variant, colors, (input_blob, output_cmap, output_paf), download, progress)
    manifest = _manifest_of(name) if name else _custom(Path(str(model)), topology)
    manifest = _bind(manifest, input_blob, output_cmap, output_paf)
    skeleton = _topology_of(manifest, topology, colors)
    if model is not None:
        return Network(manifest, check_model(Path(model)), skeleton, variant)
    found = _installed(manifest, variant) or _fetch(manifest, variant, download, progress)
    return Network(manifest, found[1], skeleton, found[0])


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
    stand_in = not variant and FALLBACK in names()
    try:
        found = _installed(manifest, variant)
        if found is None and stand_in and failed_lately():
            raise DownloadError(f"{DEFAULT} could not be fetched a short while ago.")
        found = found or _fetch(manifest, variant, download, progress, quick=stand_in)
    except (DownloadError, NetworkFileError):
        if not stand_in:
            raise
        if download:
            remember_failure()
        if progress is not None:
            progress.note(
                f"{DEFAULT} is not installed and cannot be fetched: using {FALLBACK}, which comes "
                f"with edgepose (`edgepose download {DEFAULT}` says why; --network chooses)."
            )
        return resolve(FALLBACK, colors=colors, download=False)
    return Network(manifest, found[1], skeleton, found[0])


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
    if Path(name).suffix.lower() in MODEL_SUFFIXES:
        raise UsageError(f"--network takes a name, found the file {name!r}: use --model {name}.")
    return find(name)


def _custom(model: Path, topology: str | Path | None) -> Manifest:
    """The manifest of a user's own network, with jetson-inference's preprocessing."""
    check_model(model)
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
    )


def check_model(model: Path) -> Path:
    """The path of a model file that is there and complete.

    Raises:
        NetworkFileError: it is missing, empty, of an unknown kind, or an IR without its .bin.
    """
    if model.suffix.lower() not in MODEL_SUFFIXES:
        raise NetworkFileError(
            f"Model {model} is not an .onnx or .xml (OpenVINO IR) file; convert it first "
            "(`edgepose export` for PyTorch checkpoints)."
        )
    if not model.is_file():
        raise NetworkFileError(f"Model {model} does not exist (looked in {Path.cwd()}).")
    if not complete(model):
        if model.suffix == ".xml" and model.stat().st_size:
            weights = model.with_suffix(".bin")
            raise NetworkFileError(f"Model {model} needs its weights {weights}: missing or empty.")
        raise NetworkFileError(f"Model {model} is empty.")
    return model


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
    if manifest.path is not None:
        beside = manifest.path.parent / manifest.topology
        if beside.suffix == ".json" and beside.is_file():
            return load_topology(beside)
    return load_topology(manifest.topology)


def _fetch(
    manifest: Manifest,
    variant: str,
    download: bool,
    progress: Progress | None,
    quick: bool = False,
) -> tuple[str, Path]:
    variant = find_variant(manifest, variant)
    if not download or not manifest.weights[variant].downloads:
        raise not_installed(manifest, variant)
    from edgepose.networks.download import QUICK, InstallOptions, install

    options = InstallOptions(transfer=QUICK) if quick else InstallOptions()
    return variant, install(manifest, variant, options, progress=progress)


def not_installed(manifest: Manifest, variant: str) -> NetworkFileError:
    """The error for a network whose weights are nowhere; it says what was looked for where."""
    looked = " and ".join(str(p) for p in candidates(manifest, variant))
    what = f"Network {manifest.name} ({variant}) is not installed: looked for {looked}."
    name = manifest.name if variant == manifest.default_variant else f"{manifest.name}:{variant}"
    if manifest.weights[variant].downloads:
        return NetworkFileError(f"{what} Run `edgepose download {name}`, or give --model FILE.")
    return NetworkFileError(
        f"{what} No address of it is known: give --model FILE, or install it with "
        f"`edgepose download {name} --from FILE` (see `edgepose networks show {manifest.name}`)."
    )
