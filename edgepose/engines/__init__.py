"""What infers: one file a backend, chosen by name from one table."""

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
