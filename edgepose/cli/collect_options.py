"""What `edgepose collect` and its commands take: classes of options, whose docstrings are their help."""

# fmt: off
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from edgepose.options import AsJson, Option, TalkChoice

STORE = "Where the events are. [default: EDGEPOSE_FLEET_STORE, else fleet.db in EDGEPOSE_HOME]", "FILE|postgresql://..."
Store = Annotated[str, Option(STORE[0], metavar=STORE[1])]


@dataclass(frozen=True)
class CollectWeb:
    """The page of `collect`."""

    PANEL: ClassVar[str] = "Web"

    listen: Annotated[str, Option("Address of the page; none = no page.", metavar="HOST:PORT|none")] = "127.0.0.1:8443"
    cert: Annotated[Path | None, Option("Certificate of the page; needed beyond loopback.", metavar="FILE")] = None
    key: Annotated[Path | None, Option("Its key.", metavar="FILE")] = None


@dataclass(frozen=True)
class Collect:
    """Collect the events of many devices (`edgepose serve --fleet`) into one store, each exactly once.

    BROKER is mqtts://user:password@host/?ca=FILE, by default EDGEPOSE_FLEET. The store is a file for one collector, or a
    PostgreSQL that several share.

      edgepose collect mqtts://collector:secret@broker/

      edgepose collect mqtts://broker/ --store postgresql://fleet@database/fleet --group events

    Beyond loopback the page needs --cert, --key and a token: EDGEPOSE_TOKEN, else one is made and printed.
    """

    broker: Annotated[str, Option(metavar="[BROKER]", argument=True)] = ""
    store: Annotated[str, Option(STORE[0], metavar=STORE[1], writes=True)] = ""
    group: Annotated[str, Option("Share the work with other collectors of this name.", metavar="NAME")] = ""
    keep_days: Annotated[float, Option("Delete events that came earlier; 0 = never.", least=0, most=1e6)] = 0.0
    poses: Annotated[Path | None, Option("Take the poses of devices (`serve --fleet-poses`); needs EDGEPOSE_POSES_KEY.", metavar="FOLDER")] = None
    web: CollectWeb = CollectWeb()
    talk: TalkChoice = TalkChoice()


@dataclass(frozen=True)
class CollectDevices:
    """Show the devices: up, last seen, frames/s, events that wait, clock, version, settings.

      edgepose collect devices --store fleet.db
    """

    store: Store = ""
    json: AsJson = False


@dataclass(frozen=True)
class CollectCheck:
    """Look whether the store has all that devices have delivered; exit code 1 where something is missing.

      edgepose collect check --store fleet.db
    """

    store: Store = ""


@dataclass(frozen=True)
class CollectConfig:
    """Push settings to a device: `config push DEVICE FILE`.

    FILE is JSON: zones (as a file of zones), enter_after, exit_after, keep_days, keep_megabytes, threshold,
    keypoint_threshold, link_threshold, min_keypoints, min_score, network. The device keeps them where they work, and
    goes back where a camera or the network does not come up within a minute; `collect devices` says which.

      edgepose collect config push cam-0042 settings.json --broker mqtts://collector:secret@broker/
    """

    action: Annotated[str, Option(metavar="push", argument=True)]
    device: Annotated[str, Option(metavar="DEVICE", argument=True)]
    file: Annotated[Path, Option(metavar="FILE", argument=True)]
    broker: Annotated[str, Option("The broker. [default: EDGEPOSE_FLEET]", metavar="mqtts://HOST")] = ""
