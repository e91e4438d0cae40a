"""How long networks take on this machine, as `edgepose bench` measured it last."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from edgepose.files import write_atomically
from edgepose.json_file import read_json
from edgepose.paths import home


def load() -> dict[str, dict[str, Any]]:
    """{network: {"ms": ..., "engine": ...}}; empty where nothing was measured or the file is damaged."""
    try:
        data = read_json(home() / "measured.json")
    except (OSError, ValueError):
        return {}
    rows = data.items() if isinstance(data, dict) else ()
    return {
        str(name): row
        for name, row in rows
        if isinstance(row, dict) and isinstance(row.get("ms"), int | float)
    }


def store(network: str, milliseconds: float, engine: str) -> None:
    """Remember the median time of a network; a folder that cannot be written is passed over."""
    data = load()
    data[network] = {"ms": round(milliseconds, 2), "engine": engine}
    with suppress(OSError):
        home().mkdir(parents=True, exist_ok=True)
        write_atomically(home() / "measured.json", json.dumps(data, indent=1))
