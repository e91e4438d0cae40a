"""JSON lines: one object a frame, and one a status event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgepose.io.base import Sink, SinkOptions
from edgepose.io.sinks.rows import plain, result_row, to_json
from edgepose.io.sinks.target import Target
from edgepose.types import Result


class JsonSink(Sink):
    """One JSON object a line, as result.schema.json says.

    Args:
        target: file or "-" for stdout.
    """

    def __init__(self, target: str, options: SinkOptions) -> None:
        self._target = Target(target, options.inputs)

    def write(self, result: Result) -> None:
        """Write one result."""
        self._target.write(to_json(result_row(result)) + "\n")

    def event(self, event: Mapping[str, Any]) -> None:
        """Write a status event: an object with "event" (connected, lost, ...) and what belongs to it."""
        self._target.write(to_json(plain(dict(event))) + "\n")

    def close(self) -> None:
        """Finish the file."""
        self._target.close()
