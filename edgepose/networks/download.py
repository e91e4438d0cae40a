"""Installing networks: from their addresses, from local files, from a bundle.

`install` decides first (is it there? who may bring it?) and then acts: fetch or copy into a
temporary folder beside the final one, verify, rename, under a lock. What was installed is written to
`installed.json` in the folder. A variant lies in `EDGEPOSE_HOME/networks/<name>/<variant>/`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgepose.errors import DownloadError
from edgepose.files import file_digest
from edgepose.networks import registry
from edgepose.networks.connection import shown
from edgepose.networks.folders import copy, replace_folder, staging, write_record
from edgepose.networks.locks import exclusive
from edgepose.networks.manifest import Download, Manifest, Weights
from edgepose.networks.model_file import IR, ONNX, complete
from edgepose.networks.pins import pin, pin_key, pinned, pins_file
from edgepose.networks.progress import Progress, Silent
from edgepose.networks.transfer import (
    Expected,
    TransferOptions,
    fetch,
    mismatch,
)
from edgepose.networks.unpack import unpack
from edgepose.networks.variant import Variant
from edgepose.paths import cache

# for a network that nobody asked for by name, where another can stand in
QUICK = TransferOptions(timeout=4.0, tries=1)


@dataclass(frozen=True)
class InstallOptions:
    """How a network is brought in.

    Attributes:
        source: a file or folder to take it from instead of the network.
        offline: never touch the network (also EDGEPOSE_OFFLINE=1).
        force: install again what is installed.
        verify: compare local files with the published digests; downloads always are.
        repin: accept another file than the one pinned at the first download.
        trust: let a bundle replace networks that edgepose ships, or pass over their digests.
        transfer: patience.
    """

    source: Path | None = None
    offline: bool = False
    force: bool = False
    verify: bool = True
    repin: bool = False
    trust: bool = False
    transfer: TransferOptions = field(default_factory=TransferOptions)


def install(
    manifest: Manifest,
    variant: str = "",
    options: InstallOptions | None = None,
    *,
    progress: Progress | None = None,
) -> Path:
    """Install a variant (with "" the default one) unless it is there, and return its model file.

    Raises:
        UnknownNameError: no such variant.
        DownloadError: it cannot be had, or what came did not verify; nothing is left behind but
            partial transfers, which the next attempt goes on with.
    """
    options = options or InstallOptions()
    progress = progress or Silent()
    if options.source is not None and not variant:
        return _install_any(manifest, options, progress)
    return _install(_Job(registry.find_variant(manifest, variant), options, progress))


def _install_any(manifest: Manifest, options: InstallOptions, progress: Progress) -> Path:
    """The first variant that the local source holds."""
    errors = []
    for variant in registry.variants(manifest):
        try:
            return _install(_Job(variant, options, progress, guessed=True))
        except DownloadError as e:
            errors.append(str(e))
    raise DownloadError(errors[0])


def _install(job: _Job) -> Path:
    def there() -> Path | None:
        return None if job.options.force else job.variant.model

    if found := there():
        return found
    final = job.variant.folder
    with exclusive(final.parent):
        if found := there():  # another process was faster
            return found
        with staging(final) as stage:
            job.gather(stage)
            replace_folder(stage, final)
    job.finish()
    return final / job.weights.model


class _Job:
    """One variant on its way into a temporary folder."""

    def __init__(
        self, variant: Variant, options: InstallOptions, progress: Progress, guessed: bool = False
    ) -> None:
        self.variant = variant
        self.manifest = variant.manifest
        self.weights = variant.weights
        self.options = options
        self.progress = progress
        # no digest tells an unpublished variant from its sisters: the name of its folder must,
        # unless the user has said which it is
        alone = len(self.manifest.weights) == 1
        self.by_folder = guessed and not alone and not self.weights.downloads
        self.origins: list[str] = []
        self.fetched: list[Path] = []
        self.to_pin: list[tuple[str, str, int, str]] = []

    def gather(self, stage: Path) -> None:
        """Bring every file into `stage` and write the record.

        Raises:
            DownloadError: a file cannot be had or does not verify.
        """
        source = self.options.source
        if source is None:
            self._may_use_network()
        elif not source.exists():
            raise DownloadError(f"{self.variant}: {source} (--from) does not exist.")
        for wanted in wanted_files(self.weights):
            if source is None:
                self._from_network(wanted, stage)
            else:
                self._from_source(source, wanted, stage)
        if not complete(stage / self.weights.model):
            raise DownloadError(f"{self.variant}: {self.weights.model} is missing or empty.")
        write_record(
            stage,
            network=self.manifest.name,
            variant=self.variant.name,
            model=self.weights.model,
            origins=self.origins,
            verified=self.options.verify or self.options.source is None,
        )

    def finish(self) -> None:
        """After it is installed: remember digests, drop what was only needed on the way."""
        for key, digest, size, url in self.to_pin:
            pin(key, digest, size, url)
        for path in self.fetched:
            path.unlink(missing_ok=True)

    # the network --------------------------------------------------------------------------------
    def _may_use_network(self) -> None:
        if not self.weights.downloads:
            raise DownloadError(str(self.variant.not_installed()))
        if self.options.offline or os.environ.get("EDGEPOSE_OFFLINE", "0") not in ("", "0"):
            places = " and ".join(map(str, self.variant.candidates()))
            files = ", ".join(d.file for d in self.weights.downloads)
            raise DownloadError(
                f"{self.variant} is not installed (looked for {places}) and downloads are off. "
                f"Bring {files} from another machine: `edgepose download {self.manifest.name} "
                "--from FILE_OR_FOLDER`."
            )

    def _from_network(self, wanted: Download, stage: Path) -> None:
        target = cache() / "downloads" / pin_key(self.variant, wanted)
        with exclusive(target):
            url = self._fetch(wanted, target, stage)
            self._keep_pin(target, wanted, shown(url))
            if not wanted.archive:
                copy(target, stage / wanted.file)
        self.fetched.append(target)
        self.origins.append(shown(url))

    def _fetch(self, wanted: Download, target: Path, stage: Path) -> str:
        """Bring a file to `target` and return where it came from."""
        mirror = os.environ.get("EDGEPOSE_MIRROR", "").rstrip("/")
        own = [f"{mirror}/{pin_key(self.variant, wanted)}"] if mirror else []
        transfer = self.options.transfer
        if mirror.startswith("http://"):  # said so in so many words
            transfer = replace(transfer, allow_http=True)
        expected = Expected(wanted.bytes, wanted.sha256, wanted.sha384)
        if target.is_file() and not (
            mismatch(target, expected) or self._check(target, wanted, stage)
        ):
            return wanted.urls[0]  # of a run that was killed before it could install it
        try:
            return fetch(
                [*own, *wanted.urls],
                target,
                expected,
                label=wanted.file,
                check=lambda path: self._check(path, wanted, stage),
                options=transfer,
                progress=self.progress,
            )
        except DownloadError as e:
            raise DownloadError(
                f"{self.variant}: {e} Bring the file yourself with `edgepose download "
                f"{self.manifest.name} --from FILE`, or set HTTPS_PROXY or EDGEPOSE_MIRROR."
            ) from None

    def _check(self, path: Path, wanted: Download, stage: Path) -> str:
        """What is wrong with a file that came; an archive is unpacked on the way."""
        if wrong := self._check_pin(path, wanted):
            return wrong
        try:
            if wanted.archive:
                unpack(path, wanted.archive, wanted.members or (self.weights.model,), stage)
        except DownloadError as e:
            return f"is no good: {e}".rstrip(".")
        return ""

    # pins ---------------------------------------------------------------------------------------
    def _check_pin(self, path: Path, wanted: Download) -> str:
        if wanted.sha256 or wanted.sha384 or not wanted.urls or self.options.repin:
            return ""
        known = pinned(pin_key(self.variant, wanted))
        if not known or known == file_digest(path):
            return ""
        return (
            f"is another than at the first download (sha256 {known[:16]}... is pinned in "
            f"{pins_file()}; --repin accepts the new one)"
        )

    def _keep_pin(self, path: Path, wanted: Download, origin: str) -> None:
        if wanted.urls and not (wanted.sha256 or wanted.sha384):
            digest, size = file_digest(path), path.stat().st_size
            self.to_pin.append((pin_key(self.variant, wanted), digest, size, origin))

    # local files --------------------------------------------------------------------------------
    def _from_source(self, source: Path, wanted: Download, stage: Path) -> None:
        refused = []
        for path in self._places(source, wanted.file):
            wrong = self._check_local(path, wanted, stage)
            if wrong:
                refused.append(f"{path} {wrong}")
                continue
            self._keep_pin(path, wanted, str(path))
            if not wanted.archive:
                copy(path, stage / wanted.file)
            self.origins.append(str(path))
            return
        if wanted.archive and self._unpacked(source, wanted, stage):
            return
        if refused:
            raise DownloadError(f"{self.variant}: {'; '.join(refused)}.")
        raise DownloadError(
            f"{self.variant}: {source} holds no {' or '.join((wanted.file, *wanted.members))} "
            f"(looked there and in its folders {self.variant.name}, {self.manifest.name} and one level "
            "down)."
        )

    def _check_local(self, path: Path, wanted: Download, stage: Path) -> str:
        expected = Expected(wanted.bytes, wanted.sha256, wanted.sha384)
        try:
            wrong = mismatch(path, expected if self.options.verify else Expected())
        except OSError as e:
            return f"cannot be read ({e.strerror or e})"
        if wrong and expected.hashed and self.options.verify:
            wrong += " (--no-verify takes it all the same)"
        return wrong or self._check(path, wanted, stage)

    def _unpacked(self, source: Path, wanted: Download, stage: Path) -> bool:
        """Take the members of an archive that somebody has already unpacked."""
        members = wanted.members or (self.weights.model,)
        found = {m: next(self._places(source, m), None) for m in members}
        for member, path in found.items():
            if path is None or mismatch(path, Expected()):
                return False
            copy(path, stage / member)
            self.origins.append(str(path))
        return True

    def _places(self, source: Path, file: str) -> Iterator[Path]:
        """Existing files that may be `file`, the likeliest first."""
        if source.is_file():
            found = self._place_of_file(source, Path(file).suffix)
        else:
            name, variant = self.manifest.name, self.variant.name
            folders = [source / name / variant, source / variant, source / name, source]
            folders += sorted(p for p in source.iterdir() if p.is_dir())
            found = [f / file for f in folders]
        for path in dict.fromkeys(found):
            if path.is_file() and not (
                self.by_folder and path.resolve().parent.name != self.variant.name
            ):
                yield path

    def _place_of_file(self, source: Path, suffix: str) -> list[Path]:
        """A single file stands for the model, its .bin beside it, or an archive of any name."""
        if suffix == ".bin":
            return [source.with_suffix(".bin")]
        kinds = (ONNX, IR)
        is_model = source.suffix.lower() in kinds
        fits = source.suffix.lower() == suffix if is_model else suffix not in kinds
        return [source] if fits else []


def wanted_files(weights: Weights) -> tuple[Download, ...]:
    """What belongs to a variant: its downloads, else the model file (with the .bin of an IR)."""
    if weights.downloads:
        return weights.downloads
    files = [weights.model]
    if weights.model.endswith(".xml"):
        files.append(weights.model[:-4] + ".bin")
    return tuple(Download(file, ()) for file in files)


def uninstall(variant: Variant) -> bool:
    """Delete an installed variant; False where it was not installed.

    Raises:
        DownloadError: the folder cannot be deleted.
    """
    final = variant.folder
    with exclusive(final.parent):
        if not final.is_dir():
            return False
        aside = final.with_name(f".{variant.name}.{os.getpid()}.old")
        try:
            os.replace(final, aside)
            shutil.rmtree(aside)
        except OSError as e:
            raise DownloadError(f"Cannot delete {final}: {e.strerror or e}.") from None
        return True


def installed_variants(manifests: Sequence[Manifest]) -> list[Variant]:
    """Every installed (not shipped) variant of some networks."""
    known = (v for m in manifests for v in registry.variants(m))
    return [v for v in known if complete(v.folder / v.weights.model)]
