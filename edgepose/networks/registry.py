"""Which networks exist, which are installed, and what a user's options mean.

Networks are the manifests shipped in `data/networks` and those in the user's own folder
(`EDGEPOSE_HOME/networks/<name>/manifest.json`), which win over a shipped one of the same name.
Files of variant V lie in `EDGEPOSE_HOME/networks/<name>/V/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from edgepose.errors import NetworkFileError, UnknownNameError
from edgepose.networks.manifest import Manifest, load_manifest
from edgepose.networks.model_file import complete
from edgepose.networks.topology import read_json
from edgepose.paths import data_networks, networks_home


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


def installed_variant(manifest: Manifest, variant: str = "") -> tuple[str, Path] | None:
    """An installed variant (with "" the first that is there) and its model file.

    Raises:
        UnknownNameError: the network has no such variant.
    """
    wanted = [find_variant(manifest, variant)] if variant else list(manifest.weights)
    found = ((v, p) for v in wanted for p in candidates(manifest, v) if complete(p))
    return next(found, None)


def installed(manifest: Manifest, variant: str = "") -> Path | None:
    """The installed model file of a variant; with "" the first variant that is there.

    Raises:
        UnknownNameError: the network has no such variant.
    """
    found = installed_variant(manifest, variant)
    return found[1] if found else None


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
