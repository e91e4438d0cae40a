"""What infers: one file a backend, chosen by name from one table."""

import os

# ONNX Runtime 1.32 keeps a number of this machine in the user's cache and sends to its maker what runs, unless this
# is set before it is loaded; all of edgepose that loads it is in this folder
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from edgepose.engines.base import Choice, Engine, infer_all
from edgepose.engines.options import (
    BatchRange,
    BuildProgress,
    Calibration,
    EngineOptions,
    lanes_of,
)
from edgepose.engines.table import NAMES, choose, load_engine

__all__ = [
    "NAMES",
    "BatchRange",
    "BuildProgress",
    "Calibration",
    "Choice",
    "Engine",
    "EngineOptions",
    "choose",
    "infer_all",
    "lanes_of",
    "load_engine",
]
