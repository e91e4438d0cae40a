"""One worker in this process: `--workers 1` needs no Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgepose.batch.files import Task
from edgepose.batch.worker import LOCAL, Done, Worker
from edgepose.closing import Closing


class LocalPool(Closing):
    """Does tasks one after the other; the engine is loaded when there is a first one.

    Args:
        root: folder of the job. attempts, mixed: as of `Worker`.
    """

    def __init__(self, root: str, attempts: int, mixed: bool) -> None:
        self._arguments = (root, LOCAL, attempts, mixed)
        self._worker: Worker | None = None

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """What became of each task."""
        for task in tasks:
            self._worker = self._worker or Worker(*self._arguments)
            yield self._worker.do(task)

    def close(self) -> None:
        """Release the engine."""
        if self._worker is not None:
            self._worker.close()
