"""Bundles: installed networks in one plain tar, to carry to a machine without a network.

The first member is `edgepose-bundle.json` with the size and sha256 of every file; the others lie at
`<network>/<variant>/<file>`, and `<network>/manifest.json` (with a topology of its own beside it)
for networks that are not shipped with edgepose.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from edgepose.errors import DownloadError, NetworkFileError, UnknownNameError
from edgepose.files import put_in_place, replacing
from edgepose.json_file import parse_json
from edgepose.networks import registry
from edgepose.networks.folders import RECORD, facts, files_of, read_record, replace_folder, staging
from edgepose.networks.locks import exclusive
from edgepose.networks.manifest import NAME, VARIANT, load_manifest
from edgepose.networks.model_file import complete
from edgepose.networks.pins import pin_key, pinned
from edgepose.networks.progress import Progress, Silent
from edgepose.networks.transfer import Expected, mismatch
from edgepose.networks.unpack import Limits, entries, read_entry, write_entry
from edgepose.networks.variant import Variant
from edgepose.paths import is_safe_path, networks_home

log = logging.getLogger(__name__)

INDEX = "edgepose-bundle.json"
FORMAT = 1
MAX_INDEX = 1 << 20


class Installed(NamedTuple):
    """One variant that a bundle brought."""

    variant: Variant
    model: Path
    before: bool  # it was there already and has been left as it was


# writing ----------------------------------------------------------------------------------------
def write_bundle(items: Sequence[Variant], out: Path, progress: Progress | None = None) -> int:
    """Write installed variants to a tar; returns its bytes.

    The same content gives the same bytes.

    Raises:
        DownloadError: nothing to write, or it cannot be written.
    """
    if not items:
        raise DownloadError("There is nothing to bundle: no network is installed.")
    files = dict(_bundled_files(items))
    index = {
        "format": FORMAT,
        "networks": [{"network": v.manifest.name, "variant": v.name} for v in items],
        "files": {name: facts(path) for name, path in files.items()},
    }
    progress = progress or Silent()
    progress.begin(out.name, sum(p.stat().st_size for p in files.values()))
    try:
        with replacing(out) as part, tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
            text = (json.dumps(index, indent=2) + "\n").encode()
            tar.addfile(_header(INDEX, len(text)), io.BytesIO(text))
            for name, path in files.items():
                with path.open("rb") as file:
                    tar.addfile(_header(name, path.stat().st_size), file)
                progress.advance(path.stat().st_size)
    except OSError as e:
        raise DownloadError(f"Bundle {out} cannot be written: {e.strerror or e}.") from None
    finally:
        progress.end()
    return out.stat().st_size


def _bundled_files(items: Sequence[Variant]) -> Iterator[tuple[str, Path]]:
    for variant in items:
        manifest, folder = variant.manifest, variant.folder
        for path in [*files_of(folder), folder / RECORD]:
            if path.is_file():
                yield f"{manifest.name}/{variant.name}/{path.relative_to(folder).as_posix()}", path
        if manifest.path is not None and manifest.path.name == "manifest.json":
            yield f"{manifest.name}/manifest.json", manifest.path
            topology = manifest.path.parent / manifest.topology
            if topology.suffix == ".json" and topology.is_file():
                yield f"{manifest.name}/{manifest.topology}", topology


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size = size
    header.mode = 0o644
    return header


# reading ----------------------------------------------------------------------------------------
def is_bundle(path: Path) -> bool:
    """True where a file is a tar whose first member is a bundle's index."""
    try:
        with path.open("rb") as file:
            return file.read(len(INDEX) + 1) == INDEX.encode() + b"\0"
    except OSError:
        return False


def install_bundle(
    bundle: Path,
    wanted: Sequence[str] = (),
    *,
    force: bool = False,
    trust: bool = False,
) -> list[Installed]:
    """Install what a bundle holds, or only some networks of it.

    Everything is unpacked aside and compared with the index before any of it is put in place.

    Args:
        bundle: file made by `write_bundle`.
        wanted: names of networks; () = all.
        force: replace what is installed.
        trust: let it replace networks that edgepose ships, or pass over digests that are published.

    Raises:
        DownloadError: the bundle is damaged or holds something unsafe, or needs `trust`.
        UnknownNameError: a wanted network is not in it.
    """
    with _unpacked(bundle) as (folder, index):
        pairs = [(n["network"], n["variant"]) for n in index["networks"]]
        held = sorted({name for name, _ in pairs})
        chosen = {_held(name, held, bundle) for name in wanted} or set(held)
        brought = [_Brought(folder, name, bundle, force, trust) for name in sorted(chosen)]
        for network in brought:  # nothing is changed before all of it was looked at
            network.check_manifest()
        for network in brought:
            network.install_manifest()
        return [
            network.install(variant)
            for name, variant in pairs
            for network in brought
            if network.name == name
        ]


def _held(name: str, held: Sequence[str], bundle: Path) -> str:
    for one in held:
        if registry.normalise(one) == registry.normalise(name):
            return one
    for manifest in registry.manifests():
        if manifest.name in held and registry.normalise(name) in manifest.aliases:
            return manifest.name
    raise UnknownNameError(f"network in bundle {bundle}", name, held)


@contextmanager
def _unpacked(bundle: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """A temporary folder with the verified content of a bundle, and its index."""
    home = networks_home()
    folder = home / f".bundle.{os.getpid()}.tmp"
    try:
        home.mkdir(parents=True, exist_ok=True)
        limits = Limits(bytes=bundle.stat().st_size, files=100_000)
    except OSError as e:
        raise DownloadError(f"Cannot install from {bundle} to {home}: {e.strerror or e}.") from None
    try:
        index: Mapping[str, Any] | None = None
        for entry in entries(bundle, "tar", limits):
            if index is None:
                if str(entry.path) != INDEX or entry.size > MAX_INDEX:
                    raise DownloadError(
                        f"{bundle} is not a bundle: it does not start with {INDEX}."
                    )
                index = _parse_index(read_entry(entry, bundle), bundle)
            elif str(entry.path) not in index["files"]:
                raise DownloadError(
                    f"Bundle {bundle} holds {str(entry.path)!r}, which is not in its index."
                )
            else:
                write_entry(entry, folder / entry.path)
        if index is None:
            raise DownloadError(f"Bundle {bundle} is empty.")
        for name, wanted in index["files"].items():
            path = folder / name
            if not path.is_file() or facts(path) != wanted:
                raise DownloadError(
                    f"Bundle {bundle}: {name} is missing or damaged; copy it again."
                )
        yield folder, index
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _parse_index(text: bytes, bundle: Path) -> Mapping[str, Any]:
    try:
        index = parse_json(text)
    except ValueError:
        index = None
    if not _valid_index(index):
        raise DownloadError(
            f"Bundle {bundle} has an index that this version cannot read; make it again with "
            "`edgepose download --bundle`."
        )
    unsafe = next((name for name in index["files"] if not is_safe_path(name)), None)
    if unsafe is not None:
        raise DownloadError(f"Bundle {bundle} names the unsafe path {unsafe[:80]!r} in its index.")
    return dict(index)


def _valid_index(index: Any) -> bool:
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        return False
    networks, files = index.get("networks"), index.get("files")
    if not isinstance(networks, list) or not isinstance(files, dict):
        return False
    return bool(networks) and all(
        isinstance(n, dict)
        and _matches(NAME, n.get("network"))
        and _matches(VARIANT, n.get("variant"))
        for n in networks
    )


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


@dataclass(frozen=True)
class _Brought:
    """One network of an unpacked bundle, and how far its maker is trusted."""

    root: Path
    name: str
    bundle: Path
    force: bool
    trust: bool

    @property
    def manifest(self) -> Path:
        """Its manifest, where it brings one."""
        return self.root / self.name / "manifest.json"

    def check_manifest(self) -> None:
        """See that it is its own, and takes no name of a shipped network without trust.

        Raises:
            DownloadError, NetworkFileError: it does, or is damaged.
        """
        if not self.manifest.is_file():
            return
        try:
            manifest = load_manifest(self.manifest)
        except NetworkFileError as e:
            # said of its place in the bundle: the folder will be gone
            reason = str(e).replace(f"{self.root}{os.sep}", "")
            raise NetworkFileError(f"Bundle {self.bundle}: {reason}") from None
        if manifest.name != self.name:
            raise DownloadError(f"The bundle's manifest of {self.name} is that of another network.")
        taken = registry.shipped_names()
        known = [n for n in (manifest.name, *manifest.aliases) if registry.normalise(n) in taken]
        if known:
            self._must_trust(f"replaces the shipped network {known[0]} and its published checksums")

    def _must_trust(self, what: str) -> None:
        if not self.trust:
            raise DownloadError(
                f"Bundle {self.bundle} {what}. Only if you know who made it: --trust takes it."
            )
        log.warning("Bundle %s %s; it is trusted as asked.", self.bundle, what)

    def install_manifest(self) -> None:
        """Bring the manifest (and topology) of a network that is not shipped."""
        if not self.manifest.is_file():
            return
        topology = self.manifest.with_name(load_manifest(self.manifest).topology or "none")
        target = networks_home() / self.name
        with exclusive(target / "manifest.json"):
            for file in (f for f in (topology, self.manifest) if f.is_file()):
                there = target / file.name
                same = there.is_file() and there.read_bytes() == file.read_bytes()
                if there.exists() and not same and not self.force:
                    raise DownloadError(
                        f"{there} is another than the bundle's; --force replaces it."
                    )
                put_in_place(file, there)

    def install(self, name: str) -> Installed:
        """Bring one variant, unless it is there."""
        variant = registry.find_variant(registry.find(self.name), name)
        model, final = variant.weights.model, variant.folder
        with exclusive(final.parent):
            if complete(final / model) and not self.force:
                return Installed(variant, final / model, True)
            source = self.root / self.name / name
            self._check_published(variant, source)
            with staging(final) as stage:
                stage.rmdir()
                os.replace(source, stage)
                replace_folder(stage, final)
        return Installed(variant, final / model, False)

    def _check_published(self, variant: Variant, source: Path) -> None:
        """A bundle's own digests say that it arrived whole; the published ones, that it is the file."""
        weights = variant.weights
        if not complete(source / weights.model):
            raise NetworkFileError(f"Bundle {self.bundle} lacks {weights.model} of {variant}.")
        if not read_record(source).get("verified", True):
            self._must_trust(f"holds {variant}, which its maker took unverified")
            return
        for d in weights.downloads:
            if d.archive and (d.sha256 or d.sha384):
                self._must_trust(f"holds {variant} unpacked, whose checksum is of {d.file}")
            if d.archive or not (source / d.file).is_file():
                continue
            pinned_before = "" if d.sha256 or d.sha384 else pinned(pin_key(variant, d))
            expected = Expected(d.bytes, d.sha256 or pinned_before, d.sha384)
            if wrong := mismatch(source / d.file, expected):
                self._must_trust(f"holds another {d.file} of {variant}: it {wrong}")
