"""One worker: keeps the engine loaded, and does one task after the other."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edgepose.batch.files import FILM, PICTURES, Folder, Task
from edgepose.batch.finish import finish
from edgepose.batch.plan import digests, gesture_files, stored, why
from edgepose.closing import Closing
from edgepose.errors import EngineError, OutputError, SourceError, UsageError
from edgepose.estimators import make_estimator
from edgepose.files import locked, valid, write_atomically
from edgepose.heaps import share_heaps
from edgepose.io.base import Sink, Source
from edgepose.io.sinks.parquet import Grain, ParquetWriter, describe
from edgepose.io.sources.images import ImageSource
from edgepose.io.sources.segments import NotAsPlanned
from edgepose.io.sources.video import VideoSource
from edgepose.json_file import read_named
from edgepose.pipeline import Pipeline
from edgepose.types import Result
from edgepose.version import __version__
from edgepose.wanted import (
    estimator_options,
    find_detector,
    find_network,
    wanted_engine,
    wanted_lanes,
)

log = logging.getLogger(__name__)

LOCAL = "local"  # the run of a worker whose death is the driver's


@dataclass(frozen=True)
class Done:
    """What a worker says of a task.

    Attributes:
        key, name: of the task. frames, poses: done in it; 0 where nothing was to do any more.
        problem: why it was set aside, "" where it was not. recut: why its film must go through in one
            piece, its shard picture by picture. finished: its film or shard is done. cpu: seconds.
        who: host and process.
        fatal: why no task at all can be done here.
    """

    key: str = ""
    name: str = ""
    frames: int = 0
    poses: int = 0
    problem: str = ""
    recut: str = ""
    finished: bool = False
    cpu: float = 0.0
    who: str = ""
    fatal: str = ""

    def to_json(self) -> str:
        """For the way to the driver."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Done:
        """What `to_json` wrote."""
        return cls(**json.loads(text))


class Worker(Closing):
    """Does tasks of the job in a folder.

    Args:
        root: the folder. run: name of the driver's run, by which tries are counted; `LOCAL` in the
            driver's own process. attempts: tries after which a task is set aside.
        mixed: another engine than the first worker's is as good.

    Raises:
        UsageError: another version or other weights than the job's, or another engine than its first
            worker's. NetworkFileError, EngineError: the network cannot be loaded.
    """

    def __init__(self, root: str, run: str = LOCAL, attempts: int = 3, mixed: bool = False) -> None:
        share_heaps()
        self.folder = Folder(root)
        job = stored(self.folder)
        if job is None:
            raise UsageError(f"{self.folder.job} is not seen here: --out must be shared.")
        if job.edgepose != __version__:
            raise UsageError(f"Here is edgepose {__version__}, and the job is of {job.edgepose}.")
        self.job, self._run, self._attempts = job, run, attempts
        network = find_network(job.network, precision=job.engine.precision)
        detector = find_detector(network, job.estimator, download=not job.network.no_download)
        if digests(network, detector) != job.weights:
            raise UsageError(f"Here are other weights of {network.manifest.name} than the job's.")
        self._check_gestures()
        options = estimator_options(job.estimator, detector)
        how = replace(wanted_engine(job.engine), lanes=wanted_lanes(job.estimator, job.engine))
        self.estimator = make_estimator(network, replace(options, engine=how))
        try:
            if not mixed:
                self._agree()
        except BaseException:
            self.close()
            raise

    def _check_gestures(self) -> None:
        try:
            same = gesture_files(self.job.gestures) == self.job.taught
        except OSError as e:
            raise UsageError(
                f"{e.filename} is not seen here: gestures must be in folders that all nodes share."
            ) from None
        if not same:
            raise UsageError("Here are other gestures than the job's: the file was changed.")

    def _agree(self) -> None:
        """All workers of a job infer with the same engine, which the first one writes down."""
        mine = self.estimator.engine_name
        with locked(self.folder.root / ".engine"):
            if not self.folder.engine.exists():
                write_atomically(self.folder.engine, json.dumps({"engine": mine}) + "\n")
        told = read_named(self.folder.engine, "Note", UsageError)
        first = told.get("engine") if isinstance(told, dict) else None
        if first != mine:
            raise UsageError(
                f"{mine} infers here, and the job began with {first}: poses would differ a "
                "little. Name one by --engine and --threads, or allow it by --mixed-engines."
            )

    def close(self) -> None:
        """Release the engine."""
        self.estimator.close()

    def do(self, task: Task) -> Done:
        """Do a task, or find that it is done; a film or shard whose last part it was is finished.

        Raises:
            OutputError: the disk is full. EngineError: the engine fails.
        """
        folder, key, name = self.folder, task.key, task.name
        done = Done(key, name, who=_here())
        if folder.poses(task.kind, key).exists():
            return done
        if not folder.part(key, name).exists():
            if task.recuts and folder.why_recut(key):
                return done
            done = self._try(task, done)
        if not folder.part(key, name).exists():
            return done
        return replace(done, finished=finish(folder, self.job, task) is not None)

    def _try(self, task: Task, done: Done) -> Done:
        folder, key, name = self.folder, task.key, task.name
        begun = time.process_time()
        path = task.path if task.kind == FILM else task.paths[0]
        try:
            folder.make_work(key)
            died = folder.tries(key, name, self._run)
            if died and task.kind == PICTURES and task.recuts:
                return self._recut(task, done, "its worker died")
            if died >= self._attempts:
                return self._set_aside(task, done, f"{path}: its worker died {died} times")
            folder.add_try(key, name, self._run)
            frames, poses = self._infer(task)
        except NotAsPlanned as e:
            return self._recut(task, done, str(e))
        except SourceError as e:
            return self._set_aside(task, done, str(e))  # which names its file
        except (OutputError, EngineError, KeyboardInterrupt):
            folder.forget_tries(key, name)  # nothing that the task could help
            raise
        except Exception as e:  # a defect that one input brings out must not end all the others
            log.debug("%s %s", task.path, name, exc_info=True)
            if task.kind == PICTURES and task.recuts:
                return self._recut(task, done, why(e))
            if died + 1 < self._attempts:
                return done
            return self._set_aside(task, done, f"{path}: {why(e)}")
        folder.forget_tries(key, name)
        return replace(done, frames=frames, poses=poses, cpu=time.process_time() - begun)

    def _recut(self, task: Task, done: Done, reason: str) -> Done:
        """The film or shard is done the other way; what was tried so far does not count."""
        self.folder.set_recut(task.key, reason)
        self.folder.forget_tries(task.key, task.name)
        return replace(done, recut=reason)

    def _set_aside(self, task: Task, done: Done, problem: str) -> Done:
        """Give a task up: its film fails; a picture is named, and the others of its shard count."""
        if task.kind == FILM:
            self.folder.set_failed(task.key, task.name, problem)
        else:
            with ParquetWriter(self.folder.part(task.key, task.name), Grain.EXACT) as writer:
                writer.metadata |= {
                    "problems": [[valid(task.paths[0]), valid(problem)]],
                    "set_aside": 1,
                }
        self.folder.forget_tries(task.key, task.name)
        return replace(done, problem=problem)

    def _infer(self, task: Task) -> tuple[int, int]:
        """Write the part of a task; frames and poses in it."""
        problems: list[list[str]] = []
        source = self._open(task, problems)
        writer = ParquetWriter(self.folder.part(task.key, task.name), Grain.EXACT)
        begun = time.process_time()
        try:
            with source:
                pipeline = Pipeline(source, self.estimator, sinks=[_Part(writer, task.first)])
                summary = pipeline.run()
            if summary.interrupted:
                raise KeyboardInterrupt
            topology = self.estimator.topology
            describe(writer.metadata, Result(0, 0, 0, engine=self.estimator.engine_name), topology)
            writer.metadata |= {
                "network": self.estimator.manifest.name,
                "problems": problems,
                "cpu": time.process_time() - begun,
                "who": _here(),
            }
            writer.close()
        except BaseException as e:
            if not (isinstance(e, SourceError) and task.kind != FILM and problems):
                writer.abandon()
                raise
            writer.metadata |= {"problems": problems}  # not one picture of the shard can be read
            writer.close()
            return 0, 0
        return summary.frames, summary.poses

    def _open(self, task: Task, problems: list[list[str]]) -> Source:
        options = replace(
            self.job.source_options(),
            on_error=lambda path, error: problems.append([valid(path), valid(str(error))]),
        )
        if task.kind == FILM:
            return VideoSource(task.path, options, task.segment)
        return ImageSource(task.paths, Path(task.path).stem, options, many=True)


class _Part(Sink):
    """Gives the pictures of a shard the numbers that they have in their folder."""

    def __init__(self, writer: ParquetWriter, first: int) -> None:
        self._writer, self._first = writer, first

    def write(self, result: Result) -> None:
        """Write one result."""
        self._writer.write(replace(result, frame=result.frame + self._first))

    def close(self) -> None:
        """The worker closes the file."""


def _here() -> str:
    return f"{socket.gethostname()} (process {os.getpid()})"


def fatal(error: BaseException) -> Done:
    """What a worker says that can do nothing, and where that is."""
    return Done(fatal=f"{_here()}: {why(error)}")
