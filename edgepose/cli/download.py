"""`edgepose download`: bring networks to this machine, or from here to another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepose.cli.common import interruptible
from edgepose.cli.console import Talk, size_text
from edgepose.cli.options import Download
from edgepose.cli.progress import progress_for
from edgepose.errors import EXIT_DONE, EXIT_PARTLY, EdgeposeError, UsageError
from edgepose.networks import registry
from edgepose.networks.bundle import install_bundle, is_bundle, write_bundle
from edgepose.networks.download import InstallOptions, install, installed_variants
from edgepose.networks.manifest import Manifest
from edgepose.networks.transfer import TransferOptions


def download(asked: Download) -> int:
    """Run the command."""
    talk = Talk.of(asked.talk)
    if asked.no_verify and asked.from_ is None:
        raise UsageError("--no-verify goes with --from FILE_OR_FOLDER; downloads are verified.")
    options = InstallOptions(
        source=asked.from_.expanduser() if asked.from_ else None,
        offline=asked.offline,
        force=asked.force,
        verify=not asked.no_verify,
        repin=asked.repin,
        trust=asked.trust,
        transfer=TransferOptions(timeout=asked.timeout, tries=asked.tries),
    )
    wanted = list(asked.names)
    with interruptible("run the same command to go on where it stopped."):
        code = _install_all(wanted, asked, options, talk)
        if asked.bundle is not None:
            _write_bundle(wanted, asked.variant, asked.bundle.expanduser(), talk)
    return code


# which ------------------------------------------------------------------------------------------
def _install_all(names: list[str], asked: Download, options: InstallOptions, talk: Talk) -> int:
    if options.source is not None and is_bundle(options.source):
        return _install_bundle(options, names, talk)
    if not names and not asked.all_:
        if asked.bundle:
            return EXIT_DONE
        raise UsageError(
            "Which network? Give names or --all; `edgepose networks` lists what there is "
            "(resnet18-body is the default of posenet)."
        )
    if options.source is not None and not options.source.exists():
        raise UsageError(f"--from {options.source} does not exist.")
    if names and asked.all_:
        raise UsageError("Give names or --all, not both.")
    items = _everything() if asked.all_ else [_item(name, asked.variant) for name in names]
    if len(items) > 1 and options.source is not None and options.source.is_file():
        raise UsageError(
            f"{options.source} is one file and {len(items)} networks were named; give a folder, "
            "or one name."
        )
    return _install_each(items, options, talk)


def _item(name: str, variant: str) -> tuple[Manifest, str]:
    name, _, own = name.partition(":")
    manifest = registry.find(name)
    wanted = own or variant
    return manifest, registry.find_variant(manifest, wanted).name if wanted else ""


def _everything() -> list[tuple[Manifest, str]]:
    known = registry.manifests()
    return [(m, m.default_variant) for m in known if m.weights[m.default_variant].downloads]


# do ---------------------------------------------------------------------------------------------
def _install_each(
    items: Sequence[tuple[Manifest, str]], options: InstallOptions, talk: Talk
) -> int:
    failed: list[EdgeposeError] = []
    for manifest, variant in items:
        before = {v for v in manifest.weights if registry.installed(manifest, v)}
        try:
            model = install(manifest, variant, options, progress=progress_for(talk))
        except EdgeposeError as e:
            if len(items) == 1:
                raise
            talk.error(f"edgepose: {e}")
            failed.append(e)
            continue
        got = next(v for v in manifest.weights if registry.installed(manifest, v) == model)
        already = " already" if got in before and not options.force else ""
        talk.info(f"{manifest.name} ({got}): installed{already}")
        print(model, flush=True)
    if not failed:
        return EXIT_DONE
    talk.error(f"edgepose: {len(failed)} of {len(items)} networks failed.")
    return failed[0].exit_code if len(failed) == len(items) else EXIT_PARTLY


def _install_bundle(options: InstallOptions, names: list[str], talk: Talk) -> int:
    assert options.source is not None
    wanted = [name.partition(":")[0] for name in names]
    done = install_bundle(options.source, wanted, force=options.force, trust=options.trust)
    for item in done:
        already = " already" if item.before else ""
        talk.info(f"{item.variant}: installed{already}")
        print(item.model, flush=True)
    return EXIT_DONE


def _write_bundle(names: list[str], variant: str, out: Path, talk: Talk) -> None:
    if names:
        asked = [_item(name, variant) for name in names]
        found = [
            item
            for manifest, wanted in asked
            for item in installed_variants([manifest])
            if not wanted or item.name == wanted
        ]
    else:
        found = installed_variants(registry.manifests())
    size = write_bundle(found, out, progress_for(talk))
    held = ", ".join(map(str, found))
    talk.info(
        f"{out}: {size_text(size)} with {held}. Install it with `edgepose download --from {out}`."
    )
