"""Zones and lines of each input: from a file, changed through the API, and written back."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepose.errors import EdgeposeError, OutputError, UsageError
from edgepose.events.zones import Line, Zone, Zones, parse_zones, zone_row
from edgepose.files import write_atomically

Shapes = tuple[Zone | Line, ...]
FIELDS = ("size", "reference", "zones", "revision")


class ZonesHeld(EdgeposeError):
    """They cannot be changed now: somebody else has changed them, or they are not ours to change."""


class ZoneBook:
    """The zones by input.

    A zone that names no camera is for all cameras; the example has its own.

    Args:
        cameras: names of the inputs that zones without a camera are for.
        zones: as they were read.
        path: where they are kept; None = only until the end.
        held: why they cannot be changed here, "" where they can.
        check: raises UsageError where zones cannot be used here.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        zones: Zones | None = None,
        *,
        path: Path | None = None,
        held: str = "",
        check: Callable[[Zones], Any] | None = None,
    ) -> None:
        shapes = zones.shapes if zones else ()
        own = sorted({s.camera for s in shapes} - {"", *cameras})
        self._cameras, self._guard = tuple(cameras), threading.Lock()
        self._of: dict[str, Shapes] = {
            **{c: _for(shapes, ("", c)) for c in cameras},
            **{name: _for(shapes, (name,)) for name in own},
        }
        self._path, self._held = path, held
        self._check = check or (lambda zones: None)
        self._written = self._on_disk()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Whom the zones are for, by name: what is served, and what the file speaks of beside."""
        return tuple(self._of)

    def of(self, name: str) -> Zones:
        """The zones of an input."""
        return _zones(self._of.get(name, ()))

    def document(self, name: str) -> dict[str, Any]:
        """The zones of an input as they go to and from the page; `revision` tells whether they are still the same."""
        rows = [zone_row(shape) for shape in self._of.get(name, ())]
        return {
            "source": name,
            "zones": rows,
            "revision": hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16],
            "kept": self._path is not None,
            "held": self._held,
        }

    def change(self, name: str, data: Any) -> Zones:
        """Take other zones for an input, and keep them.

        Args:
            data: decoded JSON: as a file of zones, and with the `revision` that was changed, where others may
                change them too.

        Raises:
            UsageError: they do not follow the format, or cannot be used here. ZonesHeld: they were changed by
                others. OutputError: they cannot be written. Nothing is changed then.
        """
        zones = self._parsed(name, data)
        with self._guard:
            if self._held:
                raise ZonesHeld(self._held)
            if data.get("revision", now := self.document(name)["revision"]) != now:
                raise ZonesHeld("The zones were changed by somebody else meanwhile.")
            before, self._of = self._of, {**self._of, name: zones.shapes}
            try:
                self._keep()
            except EdgeposeError:
                self._of = before
                raise
        return zones

    def _parsed(self, name: str, data: Any) -> Zones:
        if not isinstance(data, dict) or set(data) - set(FIELDS):
            raise UsageError(f"Send an object of {', '.join(map(repr, FIELDS))}.")
        zones = parse_zones({k: v for k, v in data.items() if k != "revision"})
        foreign = next((s.camera for s in zones.shapes if s.camera not in ("", name)), "")
        if foreign:
            raise UsageError(f"These are the zones of {name}; one is for {foreign!r}.")
        zones = _zones(_for(zones.shapes, ("", name)))
        self._check(zones)
        return zones

    def _keep(self) -> None:
        if self._path is None:
            return
        if self._on_disk() != self._written:
            raise ZonesHeld(
                f"{self._path.name} was changed by another program; start edgepose serve anew to take it as it is."
            )
        text = json.dumps({"zones": self._rows()}, indent=1, ensure_ascii=False) + "\n"
        try:
            write_atomically(self._path, text)
        except OSError as e:
            raise OutputError(f"Zones {self._path} cannot be written: {e.strerror or e}.") from None
        self._written = self._on_disk()

    def _on_disk(self) -> bytes | None:
        """What the file holds, None where it cannot be read."""
        try:
            return self._path.read_bytes() if self._path else None
        except OSError:
            return None

    def _rows(self) -> list[dict[str, Any]]:
        """The rows of the file: what all cameras share first, then what is for one input."""
        others = {
            s.name for n, shapes in self._of.items() if n not in self._cameras for s in shapes
        }
        shared = [
            s
            for s in self._of[self._cameras[0]]
            if s.name not in others and all(s in self._of[c] for c in self._cameras)
        ]
        own = [
            replace(s, camera=name)
            for name, shapes in self._of.items()
            for s in shapes
            if name not in self._cameras or s not in shared
        ]
        return [zone_row(s) for s in (*shared, *own)]


def _for(shapes: Shapes, cameras: tuple[str, ...]) -> Shapes:
    return tuple(replace(s, camera="") for s in shapes if s.camera in cameras)


def _zones(shapes: Shapes) -> Zones:
    return Zones(
        tuple(s for s in shapes if isinstance(s, Zone)),
        tuple(s for s in shapes if isinstance(s, Line)),
    )
