"""What `edgepose serve` and `edgepose events` take: classes of options, whose docstrings are their help."""

# fmt: off
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from edgepose.options import (
    AsJson,
    CameraChoice,
    EngineChoice,
    EstimatorChoice,
    GestureWords,
    NetworkChoice,
    Option,
    OverlayWords,
    TalkChoice,
)


@dataclass(frozen=True)
class WebChoice:
    """The page of `serve`."""

    PANEL: ClassVar[str] = "Web"

    host: Annotated[str, Option("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Option("Port; 0 = a free one.", least=0, most=65535)] = 5000
    overlay: OverlayWords = "links,keypoints,ids,gestures"
    quality: Annotated[int, Option("JPEG quality of the live view.", least=1, most=100)] = 80
    longest: Annotated[int, Option("Longest side of the live view in pixels.", least=64, most=8192)] = 1280
    max_viewers: Annotated[int, Option("Viewers of one source.", least=1)] = 100


@dataclass(frozen=True)
class EventsChoice:
    """What `serve` records."""

    PANEL: ClassVar[str] = "Events"

    gestures: GestureWords = ""
    db: Annotated[str, Option("Database of events. [default: EDGEPOSE_EVENTS, else events.db in EDGEPOSE_HOME]", metavar="FILE|none", writes=True)] = ""
    zones: Annotated[Path | None, Option("Zones and lines (JSON).")] = None
    enter_after: Annotated[float, Option("Seconds seen until entered.", least=0, most=86400)] = 0.5
    exit_after: Annotated[float, Option("Seconds unseen until left.", least=0, most=86400)] = 2.0
    snapshots: Annotated[bool, Option("Store a picture with each event.")] = False
    keep_days: Annotated[float, Option("Delete older events; 0 = never.", least=0, most=1e6)] = 0.0
    keep: Annotated[tuple[str, ...], Option("Days for one camera, instead of --keep-days; repeatable.", metavar="NAME=DAYS")] = ()
    keep_megabytes: Annotated[float, Option("Delete the oldest beyond; 0 = never.", least=0, most=1e9)] = 0.0


@dataclass(frozen=True)
class DeliveryChoice:
    """Where `serve` sends events."""

    PANEL: ClassVar[str] = "Events to elsewhere"

    mqtt: Annotated[str, Option("Publish people's events and states.", metavar="mqtt://HOST/TOPIC")] = ""
    mqtt_discovery: Annotated[bool, Option("Have Home Assistant find cameras, people and zones by itself.")] = False
    webhook: Annotated[str, Option("POST each event, signed with EDGEPOSE_WEBHOOK_SECRET.", metavar="URL")] = ""
    fleet: Annotated[str, Option("Deliver events to `edgepose collect`. [default: EDGEPOSE_FLEET]", metavar="mqtts://HOST/?device=NAME")] = ""
    fleet_poses: Annotated[str, Option("PUT the poses of every 15 minutes as Parquet. [default: EDGEPOSE_FLEET_POSES]", metavar="https://DEVICE:PASSWORD@HOST/")] = ""
    fleet_disk: Annotated[str, Option("Room for poses and events; the oldest poses go first.", metavar="SIZE")] = "2G"


@dataclass(frozen=True)
class PlayChoice:
    """How `serve` plays its inputs."""

    PANEL: ClassVar[str] = "Input"

    example: Annotated[str, Option("Film for the tab `Example`.", metavar="VIDEO")] = ""
    no_loop: Annotated[bool, Option("Stop at the end of a film.")] = False
    no_pace: Annotated[bool, Option("Play films as fast as they are inferred.")] = False
    always: Annotated[bool, Option("Infer and record all cameras without viewers too.")] = False


@dataclass(frozen=True)
class Serve:
    """Serve a page with the live view, people and events.

    SOURCE is a camera, a stream, a film or a folder, as for posenet, or NAME=SOURCE where there are several; --example
    names a film to switch to. Without both, walking test figures are shown.

      edgepose serve /dev/video0

      edgepose serve door=rtsp://camera/stream desk=/dev/video0 --always

      edgepose serve rtsp://camera/stream --example film.mp4 --db events.db

    Beyond loopback (--host 0.0.0.0) a token is needed: EDGEPOSE_TOKEN, else one is made and printed.
    """

    sources: Annotated[tuple[str, ...], Option(metavar="[[NAME=]SOURCE]...", argument=True)] = ()
    play: PlayChoice = PlayChoice()
    camera: CameraChoice = CameraChoice()
    web: WebChoice = WebChoice()
    network: NetworkChoice = NetworkChoice()
    estimator: EstimatorChoice = EstimatorChoice()
    engine: EngineChoice = EngineChoice()
    events: EventsChoice = EventsChoice()
    delivery: DeliveryChoice = DeliveryChoice()
    talk: TalkChoice = TalkChoice()


Database = Annotated[Path | None, Option("The database. [default: EDGEPOSE_EVENTS, else events.db in EDGEPOSE_HOME]")]
TIMES = "2026-11-21, 2026-11-21T07:30, 90m, 24h, 7d (ago), today or yesterday"


@dataclass(frozen=True)
class EventFilter:
    """Which events."""

    PANEL: ClassVar[str] = "Which events"

    event: Annotated[tuple[str, ...], Option("enter, exit, cross, begin or end; repeatable.")] = ()
    zone: Annotated[tuple[str, ...], Option("Zone or line; '' = the whole picture; repeatable.")] = ()
    gesture: Annotated[tuple[str, ...], Option("Gesture of a begin or end; repeatable.")] = ()
    track: Annotated[tuple[int, ...], Option("Track id; repeatable.")] = ()
    source: Annotated[tuple[str, ...], Option("Source; repeatable.")] = ()
    session: Annotated[tuple[str, ...], Option("Session; repeatable.")] = ()
    since: Annotated[str, Option(f"Not before: {TIMES}.", metavar="TIME")] = ""
    until: Annotated[str, Option("Before this time.", metavar="TIME")] = ""


@dataclass(frozen=True)
class EventsList:
    """Show events, the newest first.

      edgepose events list --since today --event enter
    """

    db: Database = None
    which: EventFilter = EventFilter()
    limit: Annotated[int, Option("At most so many, 1 to 1000.", "-n")] = 50
    cursor: Annotated[str, Option("Go on behind an earlier list.")] = ""
    json: AsJson = False


@dataclass(frozen=True)
class EventsExport:
    """Write events to a file or to stdout, the oldest first.

      edgepose events export events.csv --since 7d
    """

    output: Annotated[str, Option("*.csv, *.json or *.jsonl; - = stdout.", metavar="[FILE]", argument=True, writes=True)] = "-"
    db: Database = None
    which: EventFilter = EventFilter()
    format: Annotated[str, Option("csv, json or jsonl. [default: by the name, else csv]")] = ""


@dataclass(frozen=True)
class EventsHours:
    """Plot counts by hour (local time) in the terminal.

      edgepose events hours --since 7d --of-day
    """

    db: Database = None
    which: EventFilter = EventFilter()
    of_day: Annotated[bool, Option("Sum up by hour of the day.")] = False
    json: AsJson = False


@dataclass(frozen=True)
class EventsImport:
    """Bring over the events of the OpenVINO pose-estimation demo's database; twice does no harm.

      edgepose events import demo.db --db events.db
    """

    file: Annotated[Path, Option("The SQLite file with a table person_detection.", argument=True)]
    db: Database = None
    json: AsJson = False
