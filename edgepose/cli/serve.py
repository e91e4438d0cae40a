"""`edgepose serve`: arguments in, exit code out. What is served stands in `edgepose/serve/`."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgepose.cli.console import Talk
    from edgepose.networks.resolve import Network
    from edgepose.serve.studio import Studio

DEFAULT_EXAMPLE = "test://people"
INPUT, WEB, NETWORK, ENGINE = "Input", "Web", "Network", "Engine"
EVENTS, TALK = "Events", "Messages"
HELP = """Serve a page with the live view, people and events.

SOURCE is a camera, a stream, a film or a folder, as for posenet; --example names a film to switch to. Without both,
walking test figures are shown.

  edgepose serve /dev/video0

  edgepose serve rtsp://camera/stream --example film.mp4 --db events.db

Beyond loopback (--host 0.0.0.0) a token is needed: EDGEPOSE_TOKEN, else one is made and printed.
"""


def option(*names: str, panel: str, help: str, **more: Any) -> Any:
    """A Typer option in a panel of the help."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def serve(
    source: Annotated[str, typer.Argument(metavar="[SOURCE]", show_default=False)] = "",
    # input
    example: Annotated[
        str, option(panel=INPUT, metavar="VIDEO", help="Film for the tab `Example`.")
    ] = "",
    no_loop: Annotated[
        bool, option("--no-loop", panel=INPUT, help="Stop at the end of a film.")
    ] = False,
    no_pace: Annotated[
        bool, option("--no-pace", panel=INPUT, help="Play films as fast as they are inferred.")
    ] = False,
    always: Annotated[
        bool, option("--always", panel=INPUT, help="Infer and record without viewers too.")
    ] = False,
    timeout: Annotated[
        float,
        option(min=0.1, panel=INPUT, help="Seconds without a frame until a camera is lost."),
    ] = 10.0,
    rtsp_transport: Annotated[
        str, option("--rtsp-transport", panel=INPUT, metavar="tcp|udp", help="How RTSP is carried.")
    ] = "tcp",
    # web
    host: Annotated[str, option(panel=WEB, help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, option(min=0, max=65535, panel=WEB, help="Port; 0 = a free one.")] = 5000,
    overlay: Annotated[
        str,
        option(panel=WEB, help="links, keypoints, boxes, ids, scores, stats, none; see posenet."),
    ] = "links,keypoints,ids",
    quality: Annotated[
        int, option(min=1, max=100, panel=WEB, help="JPEG quality of the live view.")
    ] = 80,
    longest: Annotated[
        int, option(min=64, max=8192, panel=WEB, help="Longest side of the live view in pixels.")
    ] = 1280,
    max_viewers: Annotated[
        int, option("--max-viewers", min=1, panel=WEB, help="Viewers of one source.")
    ] = 100,
    # network
    network: Annotated[
        str,
        option("--network", "-n", panel=NETWORK, help="Network by name; see edgepose networks."),
    ] = "",
    model: Annotated[
        Path | None, option(panel=NETWORK, help="Weights file (.onnx, .xml) of the network.")
    ] = None,
    variant: Annotated[
        str, option(panel=NETWORK, help="Variant of the weights, for example FP16-INT8.")
    ] = "",
    topology: Annotated[
        Path | None, option(panel=NETWORK, help="Topology JSON of a custom network.")
    ] = None,
    no_download: Annotated[
        bool, option("--no-download", panel=NETWORK, help="Never fetch a network.")
    ] = False,
    threshold: Annotated[
        float | None,
        option(min=0.0, max=1.0, panel=NETWORK, help="Least score of keypoints and links."),
    ] = None,
    # engine
    engine: Annotated[
        str, option(panel=ENGINE, help="What infers; see edgepose engines.")
    ] = "auto",
    device: Annotated[
        str,
        option(
            "--device", "--device-name", panel=ENGINE, help="CPU, GPU, NPU, AUTO, or GPU number."
        ),
    ] = "",
    precision: Annotated[
        str, option(panel=ENGINE, help="fp32, fp16, int8 or best; or a variant of the weights.")
    ] = "",
    threads: Annotated[int, option(min=0, panel=ENGINE, help="Threads of a CPU engine.")] = 0,
    # events
    db: Annotated[
        str,
        option(
            panel=EVENTS,
            metavar="FILE|none",
            help="Database of events. [default: EDGEPOSE_EVENTS, else events.db in EDGEPOSE_HOME]",
        ),
    ] = "",
    zones: Annotated[
        Path | None, option(panel=EVENTS, help="Zones and lines (JSON); see docs/events.md.")
    ] = None,
    enter_after: Annotated[
        float, option("--enter-after", min=0, panel=EVENTS, help="Seconds seen until entered.")
    ] = 0.5,
    exit_after: Annotated[
        float, option("--exit-after", min=0, panel=EVENTS, help="Seconds unseen until left.")
    ] = 2.0,
    snapshots: Annotated[
        bool, option("--snapshots", panel=EVENTS, help="Store a picture with each event.")
    ] = False,
    keep_days: Annotated[
        float, option("--keep-days", min=0, panel=EVENTS, help="Delete older events; 0 = never.")
    ] = 0.0,
    keep_megabytes: Annotated[
        float,
        option(
            "--keep-megabytes", min=0, panel=EVENTS, help="Delete the oldest beyond; 0 = never."
        ),
    ] = 0.0,
    # messages
    verbose: Annotated[bool, option("--verbose", "-v", panel=TALK, help="Say more.")] = False,
    quiet: Annotated[bool, option("--quiet", "-q", panel=TALK, help="Say errors only.")] = False,
) -> int:
    from edgepose.cli.console import Talk

    arguments = dict(locals())
    arguments.pop("Talk")
    level = "error" if quiet else "verbose" if verbose else "info"
    return _run(arguments, Talk(level))


serve.__doc__ = HELP


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def _run(a: Mapping[str, Any], talk: Talk) -> int:
    from edgepose.cli.common import terminate_as_interrupt
    from edgepose.serve import run

    run.require()
    token = _token(a["host"])
    with ExitStack() as stack:
        listening = run.bind(a["host"], a["port"])
        stack.callback(listening.close)
        terminate_as_interrupt()
        try:
            studio = _studio(a, talk)
            stack.callback(studio.close)
            talk.info(f"{studio.network.manifest.name} on {studio.prepare()}")
            server = run.make_server(studio, token)
            _announce(run.address(listening, a["host"]), token, talk)
            server.run(sockets=[listening])
        except KeyboardInterrupt:  # Ctrl-C and SIGTERM are how a server ends
            talk.info("Ending.")
    return 0


def _token(host: str) -> str:
    """What requests must carry: EDGEPOSE_TOKEN, else a new one beyond loopback, else "" (none)."""
    from edgepose.serve.security import checked_token, is_loopback, new_token

    given = os.environ.get("EDGEPOSE_TOKEN", "")
    if given:
        return checked_token(given)
    return "" if is_loopback(host) else new_token()


def _announce(address: str, token: str, talk: Talk) -> None:
    """Say where the page is; a token that was made is shown this once."""
    if token and not os.environ.get("EDGEPOSE_TOKEN"):
        address += f"?token={token}"
    print(f"edgepose: {address}", file=sys.stderr, flush=True)
    if token:
        talk.info("Who opens it needs the token; traffic is not encrypted beyond this machine.")


def _studio(a: Mapping[str, Any], talk: Talk) -> Studio:
    from edgepose.draw.overlay import parse_overlay
    from edgepose.engines import EngineOptions
    from edgepose.errors import UnknownNameError
    from edgepose.estimators import EstimatorOptions
    from edgepose.events.store import default_path
    from edgepose.events.tables import Retention
    from edgepose.events.zones import load_zones
    from edgepose.io.base import SourceOptions
    from edgepose.serve.studio import Studio
    from edgepose.serve.watch import ChannelOptions

    parse_overlay(a["overlay"])
    if a["rtsp_transport"] not in ("tcp", "udp"):
        raise UnknownNameError("value of --rtsp-transport", a["rtsp_transport"], ("tcp", "udp"))
    sources = _sources(a["source"], a["example"])
    variant, precision = _variant(a)
    network, detector = _networks({**a, "variant": variant}, talk)
    return Studio(
        sources,
        network,
        EstimatorOptions(threshold=a["threshold"], detector=detector),
        EngineOptions(
            engine=a["engine"],
            device=a["device"],
            precision=precision,
            threads=a["threads"],
        ),
        ChannelOptions(
            overlay=a["overlay"],
            quality=a["quality"],
            longest=a["longest"],
            enter_after=a["enter_after"],
            exit_after=a["exit_after"],
            zones=load_zones(a["zones"]) if a["zones"] else None,
            snapshots=a["snapshots"],
            loop=not a["no_loop"],
            pace=not a["no_pace"],
            source=SourceOptions(timeout=a["timeout"], transport=a["rtsp_transport"]),
        ),
        database=None if a["db"] == "none" else Path(a["db"] or default_path()),
        retention=Retention(a["keep_days"], a["keep_megabytes"]),
        always=a["always"],
        max_viewers=a["max_viewers"],
        on_notice=talk.info,
    )


def _sources(source: str, example: str) -> dict[str, str]:
    """Inputs by name, those that are files looked at now.

    Raises:
        UsageError: a name cannot be meant. SourceError: a file is missing or cannot be read.
    """
    from edgepose.errors import SourceError, UnknownNameError
    from edgepose.io.sources import SCHEMES, open_source
    from edgepose.io.uri import parse

    if not source and not example:
        example = DEFAULT_EXAMPLE
    named = {"camera": source, "example": example}
    sources = {name: uri for name, uri in named.items() if uri}
    for text in sources.values():
        uri = parse(text)
        if uri.scheme not in SCHEMES:
            raise UnknownNameError("input scheme", uri.scheme, sorted(SCHEMES))
        if uri.scheme in ("file", "test"):
            open_source(text).close()
        elif uri.scheme == "v4l2" and not Path(uri.path).exists():
            raise SourceError(f"{uri.display} does not exist. See `edgepose devices`.")
    return sources


def _variant(a: Mapping[str, Any]) -> tuple[str, str]:
    """Variant of the weights and precision of the engine; the weights may have what --precision names."""
    from edgepose.networks import registry

    name, precision = a["network"], a["precision"]
    if a["variant"] or a["model"] or not (name and precision):
        return a["variant"], "int8" if precision.upper() == "FP16-INT8" else precision.lower()
    if precision.upper() in registry.find(name).weights:
        return precision.upper(), ""
    return "", precision.lower()


def _networks(a: Mapping[str, Any], talk: Talk) -> tuple[Network, Network | None]:
    """The network that the arguments name, and the detector it needs."""
    from edgepose.cli.progress import progress_for
    from edgepose.networks.resolve import resolve

    download, progress = not a["no_download"], progress_for(talk)
    network = resolve(
        a["network"],
        variant=a["variant"],
        model=a["model"],
        topology=a["topology"],
        download=download,
        progress=progress,
    )
    if network.manifest.family != "top-down":
        return network, None
    name = network.manifest.detector
    return network, resolve(name, download=download, progress=progress)
