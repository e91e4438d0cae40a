"""Outputs and sinks whose target holds `{name}`: one for each source, opened when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgepose.errors import OutputError
from edgepose.files import identity
from edgepose.io.base import Output, Sink, Source

PLACE = "{name}"


class ByName(Output, Sink):
    """Writes each frame or result to the target of its source.

    Args:
        pattern: target with `{name}` in it, which the source's short name replaces; characters that
            cannot stand in a file name become "_".
        open_: opens one target: an Output or a Sink.
    """

    def __init__(self, pattern: str, open_: Callable[[str], Any]) -> None:
        self._pattern = pattern
        self._open = open_
        self._writers: dict[str, Any] = {}
        self._targets: dict[tuple[int, int, str], str] = {}
        self._attached: tuple[Source, Sequence[Output]] | None = None
        # streams may lose frames (see `outputs.fanout`)
        self.drops = "://" in pattern and not pattern.lower().startswith("file://")

    def write(self, item: Any) -> None:
        """Write to the target of `item.name`."""
        name = item.name or "source"
        if name not in self._writers:
            safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
            target = self._pattern.replace(PLACE, safe)
            earlier = self._targets.setdefault(identity(target), name)
            if earlier != name:
                raise OutputError(f"{earlier} and {name} would both be written to {target}.")
            self._writers[name] = self._open(target)
            if self._attached is not None:
                self._writers[name].attach(*self._attached)
        self._writers[name].write(item)

    def attach(self, source: Source, outputs: Sequence[Output]) -> None:
        """Tell those that will be opened."""
        self._attached = source, outputs

    def event(self, event: dict[str, Any]) -> None:
        """Pass a status event of a source to its own target, where that is open and takes events."""
        writer = self._writers.get(str(event.get("name", "")))
        if writer is not None:
            writer.event(event)

    def close(self) -> None:
        """Close all; every one is closed even where one fails."""
        error: Exception | None = None
        for writer in self._writers.values():
            try:
                writer.close()
            except Exception as e:  # the others are closed first
                error = error or e
        if error:
            raise error
