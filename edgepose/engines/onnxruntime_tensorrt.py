"""Not written yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgepose.engines.options import EngineOptions
from edgepose.errors import BackendUnavailable


def probe(options: EngineOptions) -> str:
    """Why this engine cannot run here."""
    return "not part of this version yet"


def load(model: Path, options: EngineOptions) -> Any:
    """Refuses."""
    raise BackendUnavailable(probe(options))
