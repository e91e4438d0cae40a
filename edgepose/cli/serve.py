"""`edgepose serve`: what is asked for becomes a studio and a server. They stand in `edgepose/serve/`."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepose.cli.common import terminate_as_interrupt
from edgepose.cli.console import Talk, say_line
from edgepose.cli.loading import at_once, engine_with_progress, estimator_options, find_network
from edgepose.cli.serve_options import Serve
from edgepose.draw.overlay import parse_overlay
from edgepose.errors import UnknownNameError, UsageError
from edgepose.events.event import EXAMPLE
from edgepose.events.store import default_path
from edgepose.events.tables import Retention
from edgepose.events.zones import Zones, load_zones, parse_zones
from edgepose.fleet.config import RemoteConfig, Settle
from edgepose.fleet.link import FleetLink, fleet_broker
from edgepose.fleet.poses import FleetPoses, size_of
from edgepose.fleet.publish import PeoplePublisher
from edgepose.fleet.webhook import WebHook
from edgepose.heaps import share_heaps
from edgepose.io.sources import SCHEMES, open_source
from edgepose.io.uri import parse
from edgepose.networks import registry
from edgepose.options import EngineChoice, NetworkChoice, fields_of
from edgepose.serve.engines import Choice, EnginePool
from edgepose.serve.report import camera_states, device_state
from edgepose.serve.studio import Studio
from edgepose.serve.watch import ChannelOptions
from edgepose.serve.zone_book import ZoneBook
from edgepose.wanted import camera_options, wanted_gestures
from edgepose.web import server as web_server
from edgepose.web.access import checked_token, is_loopback, new_token

if TYPE_CHECKING:
    from edgepose.gestures.finder import GestureFinder

log = logging.getLogger(__name__)

DEFAULT_EXAMPLE = "test://people"


def serve(asked: Serve) -> int:
    """Run the command."""
    web_server.require()
    talk = Talk.of(asked.talk)
    host = asked.web.host
    token = page_token(host)
    with ExitStack() as stack:
        listening = web_server.bind(host, asked.web.port)
        stack.callback(listening.close)
        terminate_as_interrupt()
        share_heaps()
        try:
            remote = _remote(asked)
            studio = _studio(asked, talk, remote)
            stack.callback(studio.close)
            talk.info(f"{studio.network.manifest.name} on {studio.prepare()}")
            _deliver(asked, studio, remote)
            server = _server(studio, token)
            say_address(web_server.server_address(listening, host), token, talk)
            if host in (
                "0.0.0.0",
                "::",
            ):  # where a container or a wall hides the address of this machine
                port = listening.getsockname()[1]
                talk.info(f"On this machine, and from a container's host: http://127.0.0.1:{port}/")
            server.run(sockets=[listening])
        except KeyboardInterrupt:  # Ctrl-C and SIGTERM are how a server ends
            talk.info("Ending.")
    return 0


def _remote(asked: Serve) -> RemoteConfig | None:
    """The settings that the fleet's centre has pushed; None where there is no fleet."""
    if not _fleet(asked):
        return None
    fleet_broker(_fleet(asked))  # what cannot be meant is said before anything is loaded
    database = Path(asked.events.db or default_path())
    return RemoteConfig(database.with_name(database.stem + "-settings.json"))


def _server(studio: Studio, token: str) -> Any:
    app = web_server.load_app("edgepose.serve.app:make_app", studio, token)
    return web_server.make_server(app, studio.stop)


def page_token(host: str) -> str:
    """What requests must carry: EDGEPOSE_TOKEN, else a new one beyond loopback, else "" (none)."""
    given = os.environ.get("EDGEPOSE_TOKEN", "")
    if given:
        return checked_token(given)
    return "" if is_loopback(host) else new_token()


def say_address(address: str, token: str, talk: Talk, *, tls: bool = False) -> None:
    """Say where the page is; a token that was made is shown this once."""
    if token and not os.environ.get("EDGEPOSE_TOKEN"):
        address += f"?token={token}"
    say_line(f"edgepose: {address}")
    if token and not tls:
        talk.info("Who opens it needs the token; traffic is not encrypted beyond this machine.")


def _studio(asked: Serve, talk: Talk, remote: RemoteConfig | None) -> Studio:
    web = asked.web
    parse_overlay(web.overlay)
    sources = _sources(asked.sources, asked.play.example)
    plan = _plan(asked, talk, remote.good if remote else {})
    studio = Studio(
        sources,
        plan.engines,
        plan.channels,
        zones=plan.zones,
        database=_database(asked),
        retention=plan.retention,
        always=asked.play.always,
        max_viewers=web.max_viewers,
    )
    if remote is not None:
        change = partial(_change, asked, talk, studio)
        remote.settle(Settle(change, partial(_not_up, studio)))
    return studio


@dataclass(frozen=True)
class _Plan:
    """What settings of a fleet may change."""

    channels: ChannelOptions
    zones: ZoneBook
    retention: Retention
    engines: EnginePool


def _plan(asked: Serve, talk: Talk, settings: Mapping[str, Any]) -> _Plan:
    """What is asked for, with settings of the fleet over it.

    Raises:
        EdgeposeError: it cannot be meant.
    """
    asked, zones = with_settings(asked, settings)
    web, events = asked.web, asked.events
    names, engine = _weights_or_engine(asked.network, asked.engine)
    network = find_network(names, talk, engine.precision)
    assert network.topology is not None  # only detectors have none
    finders = wanted_gestures(events.gestures, network.topology)
    how = estimator_options(asked.estimator, network, talk, download=not names.no_download)
    how = at_once(how, len(asked.sources))
    book = _zone_book(asked, zones, finders)
    channels = ChannelOptions(
        overlay=web.overlay,
        quality=web.quality,
        longest=web.longest,
        enter_after=events.enter_after,
        exit_after=events.exit_after,
        gestures=finders,
        snapshots=events.snapshots,
        loop=not asked.play.no_loop,
        pace=not asked.play.no_pace,
        source=camera_options(asked.camera),
    )
    pool = EnginePool(Choice(engine_with_progress(engine, talk), network), how)
    return _Plan(channels, book, _retention(asked), pool)


def _database(asked: Serve) -> Path | None:
    name = asked.events.db
    return None if name == "none" else Path(name or default_path())


def _zone_book(
    asked: Serve, pushed: Zones | None, finders: Callable[[], GestureFinder] | None
) -> ZoneBook:
    """The zones of --zones, else what the page has kept beside the events; those of the fleet before both.

    Raises:
        UsageError: they cannot be meant, or used here.
    """
    database, path = _database(asked), asked.events.zones
    cameras = list(_named(asked.sources)) or [EXAMPLE]
    if path is None and database is not None:
        path = database.with_name(database.stem + "-zones.json")
    held = "They come from the fleet's settings; they are changed there." if pushed else ""
    zones = pushed
    if zones is None and path is not None and (asked.events.zones or path.exists()):
        zones = load_zones(path, cameras=True)
    check = partial(_check_zones, finders=finders)
    check(zones or Zones())
    book = ZoneBook(cameras, zones, path=path, held=held, check=check)
    unknown = [name for name in book.inputs if name not in (*cameras, EXAMPLE)]
    if unknown:
        log.warning("Zones are for %s, too, which is not served here.", ", ".join(unknown))
    return book


def _check_zones(zones: Zones, finders: Callable[[], GestureFinder] | None) -> None:
    """See that zones can be used here.

    Raises:
        UsageError: they take for fine what is no gesture, or what is not looked for.
    """
    fine = [name for zone in zones.zones for name in zone.fine]
    if fine and finders is None:
        raise UsageError(f"Zones take {fine[0]!r} for fine; that needs --gestures.")
    known = finders().names if finders else ()
    for name in fine:
        if name not in known:
            raise UnknownNameError("gesture", name, known)


# what the centre may set, by the group of options that has it; never sources, secrets or files
REMOTE = {
    "events": ("enter_after", "exit_after", "keep_days", "keep_megabytes"),
    "estimator": (
        "threshold",
        "keypoint_threshold",
        "link_threshold",
        "min_keypoints",
        "min_score",
    ),
    "network": ("network",),
}


def with_settings(asked: Serve, settings: Mapping[str, Any]) -> tuple[Serve, Zones | None]:
    """The options with settings of the fleet over them, and the zones among these.

    Raises:
        UsageError: a setting is not known, or cannot be meant.
    """
    known = {name: group for group, names in REMOTE.items() for name in names}
    fields = {field.name: field for field in fields_of(Serve)}
    for name, value in settings.items():
        if name == "zones":
            continue
        if name not in known:
            raise UnknownNameError("setting", str(name)[:40], [*known, "zones"])
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise UsageError(f"The setting {name} is {str(value)[:40]!r}.")
        found = fields[name].value(name, str(value))
        group = replace(getattr(asked, known[name]), **{name: found})
        asked = replace(asked, **{known[name]: group})
    zones = parse_zones(settings["zones"], "The setting zones") if "zones" in settings else None
    return asked, zones


def _change(asked: Serve, talk: Talk, studio: Studio, settings: Mapping[str, Any]) -> None:
    """Go on with other settings; where they cannot be meant or loaded, as before."""
    quiet = replace(asked, network=replace(asked.network, no_download=True))
    plan = _plan(quiet, talk, settings)
    same = plan.engines.is_like(studio.engines)
    if not same:
        try:
            plan.engines.get(plan.engines.standard)
        except BaseException:
            plan.engines.close()
            raise
    studio.adopt(plan.channels, plan.zones, plan.retention, None if same else plan.engines)


def _not_up(studio: Studio) -> str:
    """What does not work under new settings, "" where all does."""
    running = [c for c in studio.channels if c.always]
    down = [c.name for c in running if c.state != "live" and not c.was_down]
    return f"{', '.join(down)} did not come up" if down else ""


def _deliver(asked: Serve, studio: Studio, remote: RemoteConfig | None) -> None:
    """Open what events go to.

    Raises:
        EdgeposeError: a target cannot be meant, or refuses us.
    """
    wanted, database = asked.delivery, studio.store.path if studio.store else None
    fleet = _fleet(asked)
    if (wanted.webhook or fleet) and database is None:
        raise UsageError(
            "--webhook and --fleet deliver recorded events; they go with --db FILE, not none."
        )
    if wanted.mqtt_discovery and not wanted.mqtt:
        raise UsageError("--mqtt-discovery goes with --mqtt.")
    if (wanted.webhook or fleet or wanted.mqtt) and not asked.play.always:
        log.warning("Events are made only while somebody looks; with --always day and night.")
    if wanted.mqtt:
        states = partial(camera_states, studio)
        publisher = PeoplePublisher(wanted.mqtt, database, states, announce=wanted.mqtt_discovery)
        studio.deliver(publisher)
    if wanted.webhook and database is not None:
        secret = os.environ.get("EDGEPOSE_WEBHOOK_SECRET", "")
        studio.deliver(WebHook(wanted.webhook, secret, database))
    poses = _poses(asked, studio, database)
    if fleet and database is not None and remote is not None:

        def state() -> dict[str, Any]:
            kept = {"poses": poses.state} if poses else {}
            return {**device_state(studio), "config": remote.state, **kept}

        studio.deliver(FleetLink(fleet, database, state=state, on_config=remote.take))


def _poses(asked: Serve, studio: Studio, database: Path | None) -> FleetPoses | None:
    """Keep poses and bring them to the centre, where that is asked for."""
    url = _poses_url(asked)
    if not url:
        return None
    if database is None:
        raise UsageError("--fleet-poses keeps files beside the events: --db FILE, not none.")
    poses = FleetPoses(url, database, size_of(asked.delivery.fleet_disk))
    studio.deliver(poses)
    studio.keep(poses.files.add)
    return poses


def _poses_url(asked: Serve) -> str:
    return asked.delivery.fleet_poses or os.environ.get("EDGEPOSE_FLEET_POSES", "")


def _retention(asked: Serve) -> Retention:
    """What is kept of events; poses and events have one room, of which poses leave first."""
    events, most = asked.events, asked.events.keep_megabytes
    if _poses_url(asked):
        quota = size_of(asked.delivery.fleet_disk) / 1e6
        most = min(most or quota, quota)
    return Retention(events.keep_days, most, _days_of_cameras(events.keep, _named(asked.sources)))


def _days_of_cameras(words: Sequence[str], cameras: Collection[str]) -> dict[str, float]:
    """Days by camera, from NAME=DAYS.

    Raises:
        UsageError: it is none, or there is no such camera.
    """
    found: dict[str, float] = {}
    for word in words:
        name, _, days = word.rpartition("=")
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", days):
            raise UsageError(f"--keep {word[:60]} is no NAME=DAYS. Example: --keep door=7")
        if name not in cameras:
            raise UnknownNameError("camera", name, sorted(cameras))
        found[name] = float(days)
    return found


def _fleet(asked: Serve) -> str:
    return asked.delivery.fleet or os.environ.get("EDGEPOSE_FLEET", "")


def _sources(named: Sequence[str], example: str) -> dict[str, str]:
    """Inputs by name, those that are files looked at now; cameras that are absent are waited for.

    Raises:
        UsageError: a name cannot be meant. SourceError: a file is missing or cannot be read.
    """
    if not named and not example:
        example = DEFAULT_EXAMPLE
    sources = _named(named)
    if example:
        sources["example"] = example
    for text in sources.values():
        uri = parse(text)
        if uri.scheme not in SCHEMES:
            raise UnknownNameError("input scheme", uri.scheme, sorted(SCHEMES))
        if uri.scheme in ("file", "test"):
            open_source(text).close()
    return sources


def _named(words: Sequence[str]) -> dict[str, str]:
    """Cameras by name; one alone needs none."""
    found: dict[str, str] = {}
    for number, word in enumerate(words, 1):
        match = re.fullmatch(r"([A-Za-z0-9][\w.-]{0,31})=(.+)", word, re.DOTALL)
        # a file may have such a name, too
        if match is None or os.path.exists(word):
            name, uri = "camera" if len(words) == 1 else f"camera{number}", word
        else:
            name, uri = match[1], match[2]
        if name in found or name == "example":
            raise UsageError(
                f"{name} is a name for one input only; give each its own: NAME=SOURCE."
            )
        found[name] = uri
    return found


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
