"""The table of commands: what each takes, and where its work stands.

Nothing here imports the work: `edgepose X` loads only the modules of X, and `--help` none.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgepose.cli.options import (
    Batch,
    BatchCheck,
    BatchExport,
    BatchStatus,
    Bench,
    BuildEngine,
    ConfigShow,
    Devices,
    Doctor,
    Download,
    EnginesExport,
    EnginesImport,
    EnginesList,
    EnginesPrune,
    EnginesShow,
    Eval,
    Export,
    Networks,
    NetworksRemove,
    NetworksShow,
)
from edgepose.cli.serve_options import EventsExport, EventsHours, EventsImport, EventsList, Serve
from edgepose.options import Posenet


@dataclass(frozen=True)
class Command:
    """A command: how it is typed, what it takes, and "module:function" in edgepose.cli of its work.

    The function takes the options as one value and returns an exit code, or None for 0.
    """

    path: str
    options: type
    work: str

    @property
    def name(self) -> str:
        """The last word."""
        return self.path.rpartition(" ")[2]


COMMANDS = (
    Command("posenet", Posenet, "posenet_job:run"),
    Command("download", Download, "download:download"),
    Command("networks", Networks, "networks:networks"),
    Command("networks show", NetworksShow, "networks:show"),
    Command("networks remove", NetworksRemove, "networks:remove"),
    Command("build-engine", BuildEngine, "build_engine:build_engine"),
    Command("engines list", EnginesList, "engines:list_engines"),
    Command("engines show", EnginesShow, "engines:show"),
    Command("engines prune", EnginesPrune, "engines:prune"),
    Command("engines export", EnginesExport, "engines:export"),
    Command("engines import", EnginesImport, "engines:import_"),
    Command("batch", Batch, "batch:batch"),
    Command("batch status", BatchStatus, "batch:job_status"),
    Command("batch check", BatchCheck, "batch:check_job"),
    Command("batch export", BatchExport, "batch:export_job"),
    Command("serve", Serve, "serve:serve"),
    Command("events list", EventsList, "events:list_events"),
    Command("events export", EventsExport, "events:export"),
    Command("events hours", EventsHours, "events:hours"),
    Command("events import", EventsImport, "events:import_events"),
    Command("export", Export, "export:export_checkpoint"),
    Command("eval", Eval, "eval:evaluate"),
    Command("bench", Bench, "bench:bench"),
    Command("doctor", Doctor, "doctor:doctor"),
    Command("devices", Devices, "devices:devices"),
    Command("config show", ConfigShow, "config:show_config"),
)
ROOT = """Find the poses of people and hands in images, videos, cameras and streams.

  edgepose posenet photo.jpg out.jpg

  edgepose serve /dev/video0

  edgepose doctor
"""
GROUPS = {
    "networks": """List the networks, where they are installed, and the engines built from them.

  edgepose networks

  edgepose networks show rtmpose-m

  edgepose networks remove resnet18-body
""",
    "engines": """List, explain, remove and carry the TensorRT engines that were built here.

  edgepose engines list
""",
    "batch": """Find the poses in many films and pictures, and go on where an earlier run ended.

  edgepose batch films/ --out poses

  edgepose batch status poses
""",
    "events": """List, export, count and import enter and exit events.

  edgepose events list --since today
""",
    "config": """Defaults from the environment and from configuration files.

  edgepose config show
""",
}
