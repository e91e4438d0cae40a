"""`edgepose serve`: what is asked for becomes a studio and a server. They stand in `edgepose/serve/`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepose.cli.common import terminate_as_interrupt
from edgepose.cli.console import Talk
from edgepose.cli.loading import engine_with_progress, estimator_options, find_network
from edgepose.cli.serve_options import Serve
from edgepose.draw.overlay import parse_overlay
from edgepose.errors import UnknownNameError, UsageError
from edgepose.events.store import default_path
from edgepose.events.tables import Retention
from edgepose.events.zones import Zones, load_zones
from edgepose.gestures.finder import GestureFinder, make_finders
from edgepose.io.sources import SCHEMES, open_source
from edgepose.io.uri import parse
from edgepose.networks import registry
from edgepose.options import EngineChoice, NetworkChoice
from edgepose.serve.engines import Choice, EnginePool
from edgepose.serve.studio import Studio
from edgepose.serve.watch import ChannelOptions
from edgepose.wanted import camera_options
from edgepose.web import server as web_server
from edgepose.web.access import checked_token, is_loopback, new_token

DEFAULT_EXAMPLE = "test://people"


def serve(asked: Serve) -> int:
    """Run the command."""
    web_server.require()
    talk = Talk.of(asked.talk)
    host = asked.web.host
    token = _token(host)
    with ExitStack() as stack:
        listening = web_server.bind(host, asked.web.port)
        stack.callback(listening.close)
        terminate_as_interrupt()
        try:
            studio = _studio(asked, talk)
            stack.callback(studio.close)
            talk.info(f"{studio.network.manifest.name} on {studio.prepare()}")
            server = _server(studio, token)
            _announce(web_server.server_address(listening, host), token, talk)
            server.run(sockets=[listening])
        except KeyboardInterrupt:  # Ctrl-C and SIGTERM are how a server ends
            talk.info("Ending.")
    return 0


def _server(studio: Studio, token: str) -> Any:
    from edgepose.serve.app import make_app  # Starlette is imported where a page is served

    return web_server.make_server(make_app(studio, token), studio.stop)


def _token(host: str) -> str:
    """What requests must carry: EDGEPOSE_TOKEN, else a new one beyond loopback, else "" (none)."""
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


def _studio(asked: Serve, talk: Talk) -> Studio:
    web, events = asked.web, asked.events
    parse_overlay(web.overlay)
    sources = _sources(asked.source, asked.play.example)
    names, engine = _weights_or_engine(asked.network, asked.engine)
    network = find_network(names, talk, engine.precision)
    assert network.topology is not None  # only detectors have none
    finders = make_finders(events.gestures, network.topology) if events.gestures else None
    how = estimator_options(asked.estimator, network, talk, download=not names.no_download)
    return Studio(
        sources,
        EnginePool(Choice(engine_with_progress(engine, talk), network), how),
        ChannelOptions(
            overlay=web.overlay,
            quality=web.quality,
            longest=web.longest,
            enter_after=events.enter_after,
            exit_after=events.exit_after,
            zones=_zones(events.zones, finders),
            gestures=finders,
            snapshots=events.snapshots,
            loop=not asked.play.no_loop,
            pace=not asked.play.no_pace,
            source=camera_options(asked.camera),
        ),
        database=None if events.db == "none" else Path(events.db or default_path()),
        retention=Retention(events.keep_days, events.keep_megabytes),
        always=asked.play.always,
        max_viewers=web.max_viewers,
    )


def _zones(path: Path | None, finders: Callable[[], GestureFinder] | None) -> Zones | None:
    """The zones of a file.

    Raises:
        UsageError: it cannot be used, or takes for fine what is no gesture, or what is not looked for.
    """
    zones = load_zones(path) if path else None
    fine = [name for zone in (zones.zones if zones else ()) for name in zone.fine]
    if fine and finders is None:
        raise UsageError(f"Zones {path} take {fine[0]!r} for fine; that needs --gestures.")
    known = finders().names if finders else ()
    for name in fine:
        if name not in known:
            raise UnknownNameError("gesture", name, known)
    return zones


def _sources(source: str, example: str) -> dict[str, str]:
    """Inputs by name, those that are files looked at now; cameras that are absent are waited for.

    Raises:
        UsageError: a name cannot be meant. SourceError: a file is missing or cannot be read.
    """
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
    return sources


def _weights_or_engine(
    names: NetworkChoice, engine: EngineChoice
) -> tuple[NetworkChoice, EngineChoice]:
    """--precision may name a variant of the weights instead of what the engine computes in."""
    precision = engine.precision.upper()
    named = names.network and precision and not names.variant and not names.model
    if named and precision in registry.find(names.network).weights:
        return replace(names, variant=precision), replace(engine, precision="")
    low = "int8" if precision == "FP16-INT8" else precision.lower()
    return names, replace(engine, precision=low)
