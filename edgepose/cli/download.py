"""`edgepose download`: bring networks to this machine, or from here to another."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgepose.cli.common import terminate_as_interrupt
from edgepose.cli.console import Talk, size_text
from edgepose.cli.help import PlainHelp
from edgepose.cli.progress import progress_for
from edgepose.errors import EXIT_DONE, EXIT_PARTLY, EdgeposeError, UsageError

if TYPE_CHECKING:
    from edgepose.networks.download import InstallOptions
    from edgepose.networks.manifest import Manifest

HELP = """Fetch networks, check them and install them. Prints the path of each model file.

  edgepose download resnet18-body

  edgepose download human-pose-estimation-0001:FP16

  edgepose download --all

  edgepose download resnet18-body --from ~/Downloads/Pose-ResNet18-Body.tar.gz

  edgepose download --all --bundle networks.tar     (then, on a machine without a network:)

  edgepose download --from networks.tar

A broken transfer goes on where it ended. EDGEPOSE_HOME says where networks go, EDGEPOSE_MIRROR names an
address to ask first, HTTPS_PROXY a proxy; EDGEPOSE_OFFLINE=1 forbids the network.
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("download", cls=PlainHelp, help=HELP)(download)


def download(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME[:VARIANT]]...", help="Networks.", show_default=False),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All networks whose addresses are known.")
    ] = False,
    listing: Annotated[
        bool, typer.Option("--list", help="Print what there is and what is installed, and stop.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --list: as JSON.")] = False,
    variant: Annotated[
        str, typer.Option(help="Variant of the weights, for example FP16; also NAME:FP16.")
    ] = "",
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Take it from a file, a folder or a bundle instead of the network."
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Write the named networks (default: all that are installed) to this tar."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Install again what is there.")] = False,
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="With --from: take a file that is not as published.")
    ] = False,
    repin: Annotated[
        bool,
        typer.Option("--repin", help="Accept another file than at the first download."),
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds without a byte before a new attempt.")
    ] = 20.0,
    tries: Annotated[int, typer.Option(min=1, max=100, help="Attempts at each address.")] = 4,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
) -> int:
    """Run the command; see `HELP`."""
    from edgepose.networks.download import InstallOptions
    from edgepose.networks.transfer import TransferOptions

    if listing or as_json:
        return print_list(as_json)
    if no_verify and source is None:
        raise UsageError("--no-verify goes with --from FILE_OR_FOLDER; downloads are verified.")
    talk = Talk("error" if quiet else "info")
    options = InstallOptions(
        source=source.expanduser() if source else None,
        offline=offline,
        force=force,
        verify=not no_verify,
        repin=repin,
        transfer=TransferOptions(timeout=timeout, tries=tries),
    )
    wanted = list(names or ())
    with _interruptible(talk):
        code = _install_all(wanted, every, variant, options, bool(bundle), talk)
        if bundle is not None:
            _write_bundle(wanted, variant, bundle.expanduser(), talk)
    return code


@contextmanager
def _interruptible(talk: Talk) -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does, and both say what becomes of the transfer."""
    before = signal.getsignal(signal.SIGTERM)
    terminate_as_interrupt()
    try:
        yield
    except KeyboardInterrupt:
        talk.error("edgepose: interrupted; run the same command to go on where it stopped.")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


# which ------------------------------------------------------------------------------------------
def _install_all(
    names: list[str],
    every: bool,
    variant: str,
    options: InstallOptions,
    bundling: bool,
    talk: Talk,
) -> int:
    from edgepose.networks.bundle import is_bundle

    if options.source is not None and is_bundle(options.source):
        return _install_bundle(options, names, talk)
    if not names and not every:
        if bundling:
            return EXIT_DONE
        raise UsageError(
            "Which network? Give names, --all, or --list to see what there is "
            "(resnet18-body is the default of posenet)."
        )
    if options.source is not None and not options.source.exists():
        raise UsageError(f"--from {options.source} does not exist.")
    if names and every:
        raise UsageError("Give names or --all, not both.")
    items = _everything() if every else [_item(name, variant) for name in names]
    if len(items) > 1 and options.source is not None and options.source.is_file():
        raise UsageError(
            f"{options.source} is one file and {len(items)} networks were named; give a folder, "
            "or one name."
        )
    return _install_each(items, options, talk)


def _item(name: str, variant: str) -> tuple[Manifest, str]:
    from edgepose.networks import registry

    name, _, own = name.partition(":")
    manifest = registry.find(name)
    wanted = own or variant
    return manifest, registry.find_variant(manifest, wanted).name if wanted else ""


def _everything() -> list[tuple[Manifest, str]]:
    from edgepose.networks import registry

    known = registry.manifests()
    return [(m, m.default_variant) for m in known if m.weights[m.default_variant].downloads]


# do ---------------------------------------------------------------------------------------------
def _install_each(
    items: Sequence[tuple[Manifest, str]], options: InstallOptions, talk: Talk
) -> int:
    from edgepose.networks import registry
    from edgepose.networks.download import install

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
    from edgepose.networks.bundle import install_bundle

    assert options.source is not None
    wanted = [name.partition(":")[0] for name in names]
    done = install_bundle(options.source, wanted, force=options.force)
    for item in done:
        already = " already" if item.before else ""
        talk.info(f"{item.variant}: installed{already}")
        print(item.model, flush=True)
    return EXIT_DONE


def _write_bundle(names: list[str], variant: str, out: Path, talk: Talk) -> None:
    from edgepose.networks import registry
    from edgepose.networks.bundle import write_bundle
    from edgepose.networks.download import installed_variants

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


# list -------------------------------------------------------------------------------------------
def print_list(as_json: bool) -> int:
    """Print every variant of every network: its size, how it is verified, and where it is."""
    from edgepose.networks import registry
    from edgepose.networks.download import download_size

    rows: list[dict[str, Any]] = []
    for m in registry.manifests():
        for name, weights in m.weights.items():
            path = registry.installed(m, name)
            hashed = [bool(d.sha256 or d.sha384) for d in weights.downloads]
            rows.append(
                {
                    "network": m.name,
                    "variant": name,
                    "bytes": download_size(weights) or None,
                    "checksum": _checksum(hashed, weights.shipped),
                    "urls": [u for d in weights.downloads for u in d.urls],
                    "installed": str(path) if path else None,
                }
            )
    if as_json:
        print(json.dumps(rows, indent=2))
        return EXIT_DONE
    from edgepose.cli.networks import print_table

    print_table(
        ("network", "variant", "size", "checksum", "installed"),
        [
            (
                r["network"],
                r["variant"],
                size_text(r["bytes"]) if r["bytes"] else "",
                r["checksum"],
                r["installed"] or "",
            )
            for r in rows
        ],
    )
    return EXIT_DONE


def _checksum(hashed: list[bool], shipped: bool) -> str:
    if shipped:
        return "in the package"
    if not hashed:
        return "bring the file"
    return "published" if all(hashed) else "pinned at first download"
