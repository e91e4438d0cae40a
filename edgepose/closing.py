"""What is opened is closed: the context manager that ends in `close()`."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

S = TypeVar("S")


class Closing:
    """Base of sources, outputs, sinks and everything else that holds something open."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finish and release; safe to call twice."""
