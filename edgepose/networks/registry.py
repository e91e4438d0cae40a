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
from edgepose.networks.manifest import Manifest, load_manifest, manifest_of
from edgepose.networks.topology import read_json
from edgepose.networks.variant import Variant
from edgepose.paths import data_networks, networks_home


def normalise(name: str) -> str:
    """A name as it is compared: lower case, "-" for "_" and blanks."""
    return re.sub(r"[\s_]+", "-", name.strip().lower())


@lru_cache(maxsize=4)
def _shipped(folder: Path) -> tuple[Manifest, ...]:
    read = {f: read_json(f, "Manifest") for f in sorted(folder.glob("*.json"))}
    return tuple(manifest_of(data, f) for f, data in read.items() if "family" in data)


def shipped_manifests() -> tuple[Manifest, ...]:
    """The networks that come with edgepose, by name."""
    return _shipped(data_networks())


def shipped_names() -> frozenset[str]:
    """Names and aliases of the networks that come with edgepose, as `normalise` makes them."""
    return frozenset(normalise(n) for m in shipped_manifests() for n in (m.name, *m.aliases))


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
    known = {m.name: m for m in shipped_manifests()}
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


def variants(manifest: Manifest) -> list[Variant]:
    """All variants of a network, the default one first."""
    return [Variant(manifest, name) for name in manifest.weights]


def find_variant(manifest: Manifest, name: str = "") -> Variant:
    """A variant by name ("" = the default one), whatever its case.

    Raises:
        UnknownNameError: the network has no such variant.
    """
    wanted = name or manifest.default_variant
    for variant in variants(manifest):
        if normalise(variant.name) == normalise(wanted):
            return variant
    raise UnknownNameError(f"variant of {manifest.name}", name, manifest.weights)


def installed_variant(manifest: Manifest, name: str = "") -> Variant | None:
    """A variant if it is installed; with "" the first that is.

    Raises:
        UnknownNameError: the network has no such variant.
    """
    wanted = [find_variant(manifest, name)] if name else variants(manifest)
    return next((v for v in wanted if v.model), None)


def installed(manifest: Manifest, variant: str = "") -> Path | None:
    """The installed model file of a variant; with "" the first variant that is there.

    Raises:
        UnknownNameError: the network has no such variant.
    """
    found = installed_variant(manifest, variant)
    return found.model if found else None
