"""What infers: one file a backend, chosen by name from one table."""

from edgepose.engines.base import Choice, Engine, infer_all
from edgepose.engines.options import BatchRange, Calibration, EngineOptions, Progress
from edgepose.engines.table import NAMES, choose, load_engine

__all__ = [
    "NAMES",
    "BatchRange",
    "Calibration",
    "Choice",
    "Engine",
    "EngineOptions",
    "Progress",
    "choose",
    "infer_all",
    "load_engine",
]
