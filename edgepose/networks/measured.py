"""How long networks take on this machine, as `edgepose bench` measured it last, and what is the fastest here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.files import write_atomically
from edgepose.json_file import read_json
from edgepose.machine import cpu_name
from edgepose.paths import home


@dataclass(frozen=True)
class Timed:
    """One way to run a network on the CPU of this machine, as `edgepose bench --choose` measured it.

    Attributes:
        variant: of the weights.
        model: name of its file. size: its bytes, so that another file of that name is not meant.
        engine: name in the table of engines.
        precision: what the engine was asked to compute in, "" = its own choice.
        ms: median of the network's run, milliseconds.
    """

    variant: str
    model: str
    size: int
    engine: str
    precision: str
    ms: float

    def fits(self, model: Path) -> bool:
        """True where it was measured with this file."""
        try:
            return self.model == model.name and self.size == model.stat().st_size
        except OSError:
            return False


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
    _put(network, {"ms": round(milliseconds, 2), "engine": engine})


def store_ways(network: str, ways: Sequence[Timed]) -> None:
    """Remember ways to run a network, the best first, which `auto` follows on this CPU."""
    _put(network, {"cpu": cpu_name(), "ways": [dataclasses.asdict(way) for way in ways]})


def _put(network: str, fields: dict[str, Any]) -> None:
    data = load()
    data[network] = {"ms": 0.0, **data.get(network, {}), **fields}
    with suppress(OSError):
        home().mkdir(parents=True, exist_ok=True)
        write_atomically(home() / "measured.json", json.dumps(data, indent=1))


def ways(network: str = "") -> list[Timed]:
    """The ways to run a network ("" = all networks) that were measured on this CPU, the best first."""
    rows = [row for name, row in load().items() if network in ("", name) and "ways" in row]
    return [
        way
        for row in rows
        if row.get("cpu") == cpu_name() and isinstance(row["ways"], list)
        for way in map(_way, row["ways"])
        if way
    ]


def _way(data: Any) -> Timed | None:
    try:
        way = Timed(**data)
    except TypeError:
        return None
    kinds = (str, str, int, str, str, int | float)
    return way if all(map(isinstance, dataclasses.astuple(way), kinds)) else None
