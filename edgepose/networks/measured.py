"""How long networks take on this machine, as `edgepose bench` measured it last."""

from __future__ import annotations

import json
from typing import Any

from edgepose.paths import home


def load() -> dict[str, dict[str, Any]]:
    """{network: {"ms": ..., "engine": ...}}; empty where nothing was measured or the file is damaged."""
    try:
        data = json.loads((home() / "measured.json").read_text(encoding="utf-8"))
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
    path = home() / "measured.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(data, indent=1), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        return
