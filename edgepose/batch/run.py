"""The driver: rounds of tasks until all sources are done or set aside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edgepose.batch.files import Folder, Task
from edgepose.batch.finish import finish
from edgepose.batch.manifest import Manifest, Summary
from edgepose.batch.plan import Item, Job, to_do
from edgepose.batch.worker import Done
from edgepose.errors import EngineError

EVERY = 30.0  # seconds between two writings of the manifest while tasks run


class Pool(Protocol):
    """Who does tasks."""

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """What became of each task, as it is ended, in any order."""
        ...

    def close(self) -> None:
        """Let the workers go."""
        ...


@dataclass
class BatchProgress:
    """How far a run is.

    Attributes:
        frames: to do at its start. done: frames done since. tasks, tasks_done: likewise.
        begun: `time.monotonic()` of the start.
    """

    frames: int = 0
    done: int = 0
    tasks: int = 0
    tasks_done: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.done / max(1e-9, time.monotonic() - self.begun)

    @property
    def left(self) -> float | None:
        """Seconds left; None while nobody knows."""
        return (self.frames - self.done) / self.rate if self.done else None


def run_job(
    folder: Folder,
    job: Job,
    items: Sequence[Item],
    pool: Pool,
    tell: Callable[[Done, BatchProgress], None],
) -> Summary:
    """Do all that is to do, and say what it comes to.

    Raises:
        EdgeposeError: nothing more can be done here: a full disk, no engine. What is done stays.
    """
    folder.sweep()
    manifest = Manifest.read(folder)
    by_key = {item.key: item for item in items}
    manifest.forget_failed(items)
    for item in items:
        manifest.add(item)
    manifest.write()
    written = time.monotonic()
    progress = BatchProgress()
    try:
        while tasks := list(to_do(items, folder)):
            progress.tasks = progress.tasks_done + len(tasks)
            progress.frames = progress.done + sum(_frames(t, by_key[t.key]) for t in tasks)
            for done in pool.run(tasks):
                progress.tasks_done += 1
                progress.done += done.frames
                tell(done, progress)
                if done.fatal:
                    raise EngineError(done.fatal)
                if done.finished or done.problem:
                    manifest.add(by_key[done.key])
                if time.monotonic() - written > EVERY:
                    manifest.write()
                    written = time.monotonic()
        _finish_all(folder, job, items)
    finally:
        for item in items:
            manifest.add(item)
        manifest.write()
    return manifest.sum_up(by_key)


def _frames(task: Task, item: Item) -> int:
    if task.segment is not None:
        return task.segment.count or 0
    return 1 if task.picture >= 0 else item.frames


def _finish_all(folder: Folder, job: Job, items: Iterable[Item]) -> None:
    """Finish films whose last worker died between its part and the end."""
    for item in items:
        if not item.problem and not folder.poses(item.kind, item.key).exists():
            finish(folder, job, item.tasks(bool(folder.why_recut(item.key)))[0])
