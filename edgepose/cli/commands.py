"""The table of commands: what each takes, and where its work stands.

Nothing here imports the work: `edgepose X` loads only the modules of X, and `--help` none.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command: how it is typed, "module:class" of what it takes, "module:function" of its work.

    The modules are those of edgepose.cli, or with a dot before them of edgepose. The function takes the
    options as one value and returns an exit code, or None for 0.
    """

    path: str
    takes: str
    work: str

    @property
    def options(self) -> type:
        """The class of its options; only those of the command that was asked for are loaded."""
        module, _, name = self.takes.partition(":")
        home = f"edgepose{module}" if module.startswith(".") else f"edgepose.cli.{module}"
        found: type = getattr(importlib.import_module(home), name)
        return found

    @property
    def name(self) -> str:
        """The last word."""
        return self.path.rpartition(" ")[2]


COMMANDS = (
    Command("posenet", ".options:Posenet", "posenet_start:start"),
    Command("download", "options:Download", "download:download"),
    Command("networks", "options:Networks", "networks:networks"),
    Command("networks show", "options:NetworksShow", "networks:show"),
    Command("networks remove", "options:NetworksRemove", "networks:remove"),
    Command("build-engine", "options:BuildEngine", "build_engine:build_engine"),
    Command("engines list", "options:EnginesList", "engines:list_engines"),
    Command("engines show", "options:EnginesShow", "engines:show"),
    Command("engines prune", "options:EnginesPrune", "engines:prune"),
    Command("engines export", "options:EnginesExport", "engines:export"),
    Command("engines import", "options:EnginesImport", "engines:import_"),
    Command("batch", "options:Batch", "batch:batch"),
    Command("batch status", "options:BatchStatus", "batch:job_status"),
    Command("batch check", "options:BatchCheck", "batch:check_job"),
    Command("batch export", "options:BatchExport", "batch:export_job"),
    Command("serve", "serve_options:Serve", "serve:serve"),
    Command("events list", "serve_options:EventsList", "events:list_events"),
    Command("events export", "serve_options:EventsExport", "events:export"),
    Command("events hours", "serve_options:EventsHours", "events:hours"),
    Command("events import", "serve_options:EventsImport", "events:import_events"),
    Command("teach collect", "teach_options:TeachCollect", "teach:collect_examples"),
    Command("teach show", "teach_options:TeachShow", "teach:show_set"),
    Command("teach train", "teach_options:TeachTrain", "teach:train_set"),
    Command("collect", "collect_options:Collect", "collect:collect"),
    Command("collect devices", "collect_options:CollectDevices", "collect:devices"),
    Command("collect config", "collect_options:CollectConfig", "collect:config"),
    Command("collect check", "collect_options:CollectCheck", "collect:check"),
    Command("export", "options:Export", "export:export_checkpoint"),
    Command("eval", "options:Eval", "eval:evaluate"),
    Command("bench", "options:Bench", "bench:bench"),
    Command("doctor", "options:Doctor", "doctor:doctor"),
    Command("devices", "options:Devices", "devices:devices"),
    Command("config show", "options:ConfigShow", "config:show_config"),
)
ROOT = """Find the poses of people and hands in images, videos, cameras and streams.

  edgepose posenet photo.jpg out.jpg                            # skeletons on a photo

  edgepose posenet film.mp4 out.mp4 --track --json poses.jsonl  # people followed through a film

  edgepose serve /dev/video0                                    # a camera on a page in your browser

  edgepose doctor                                               # what this machine has, and what to mend
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
    "teach": """Teach gestures and postures of your own from examples.

  edgepose teach collect thumb_left photos/*.jpg --to signs.npz --network hand

  edgepose teach show signs.npz

  edgepose teach train signs.npz --to signs.gestures
""",
    "events": """List, export, count and import enter and exit events.

  edgepose events list --since today
""",
    "collect": """Collect the events of many devices into one store, and look after the devices.

  edgepose collect mqtts://collector:secret@broker/

  edgepose collect devices
""",
    "config": """Defaults from the environment and from configuration files.

  edgepose config show
""",
}
