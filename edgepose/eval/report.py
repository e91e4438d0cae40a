"""What a measurement says, for people and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgepose.eval.figures import FIGURES


@dataclass(frozen=True)
class Measurement:
    """One engine's result.

    Attributes:
        engine: what inferred.
        figures: AP, AP50, ... or PCK@0.2, ...
        poses: how many were found.
        speed: median milliseconds a picture by stage, and `total`.
    """

    engine: str
    figures: Mapping[str, float]
    poses: int
    speed: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """Figures at the top level, the rest beside them."""
        total = self.speed.get("total", 0.0)
        return {
            **{k: round(v, 6) for k, v in self.figures.items()},
            "engine": self.engine,
            "poses": self.poses,
            "ms": {k: round(v, 3) for k, v in self.speed.items()},
            "fps": round(1e3 / total, 2) if total else 0.0,
        }


def as_json(
    network: str, pictures: int, measured: Sequence[Measurement], checker: str
) -> dict[str, Any]:
    """The object that --json prints; a second measurement goes under `compare` with its `delta`."""
    first = {"network": network, "images": pictures, "checker": checker, **measured[0].as_json()}
    if len(measured) > 1:
        first["compare"] = {**measured[1].as_json(), "delta": _delta(*measured[:2])}
    return first


def _delta(a: Measurement, b: Measurement) -> dict[str, float]:
    return {k: round(b.figures[k] - v, 6) for k, v in a.figures.items() if k in b.figures}


def as_text(network: str, pictures: int, measured: Sequence[Measurement]) -> str:
    """A table: one line a figure, one column an engine and, for two, their difference."""
    lines = [f"{network}, {pictures} images"]
    for number, m in enumerate(measured, 1):
        mark = f"[{number}] " if len(measured) > 1 else ""
        lines.append(f"  {mark}{m.engine}: {m.poses} poses")
    stages = [*(k for k in measured[0].speed if k != "total"), "total"]
    width = max(len(k) for k in [*measured[0].figures, *(f"{s} ms" for s in stages)])
    head = ["figure".ljust(width), *(f"[{i}]".rjust(8) for i in range(1, len(measured) + 1))]
    if len(measured) > 1:
        lines.append("  ".join([*head, "[2]-[1]".rjust(8)]))
    for name in measured[0].figures:
        values = [m.figures[name] for m in measured]
        cells = [_cell(name, v) for v in values]
        if len(values) > 1:
            cells.append(f"{values[1] - values[0]:+8.4f}")
        lines.append("  ".join([name.ljust(width), *cells]))
    for name in stages:
        cells = [f"{m.speed.get(name, 0.0):8.2f}" for m in measured]
        lines.append("  ".join([f"{name} ms".ljust(width), *cells]))
    return "\n".join(lines)


def _cell(name: str, value: float) -> str:
    # COCO's code answers -1 where there is no ground truth of that size
    return "    none" if name in FIGURES and value < 0 else f"{value:8.4f}"
