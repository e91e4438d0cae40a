"""`edgepose batch`: many films and pictures; `status`, `check` and `export` of a job."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepose.batch.files import PICTURES, Folder, held, running
from edgepose.batch.finish import DAMAGED, DONE, FAILED, WAITING, finals, forget_failures
from edgepose.batch.local import LocalPool
from edgepose.batch.manifest import Manifest, check
from edgepose.batch.plan import (
    Item,
    Job,
    absolute_gestures,
    check_inputs,
    digests,
    find_items,
    gesture_files,
    read_list,
    settle,
    settled,
    stored,
    to_do,
)
from edgepose.batch.ray_pool import PoolShape, RayPool
from edgepose.batch.run import BatchProgress, run_job
from edgepose.batch.worker import Done
from edgepose.cli.common import interruptible
from edgepose.cli.console import Talk
from edgepose.cli.loading import find_network, load_estimator
from edgepose.cli.options import Batch, BatchCheck, BatchExport, BatchStatus
from edgepose.errors import EXIT_DONE, EXIT_FAILED, SourceError, UsageError
from edgepose.events.zones import load_zones
from edgepose.flags import one_of
from edgepose.io.base import SinkOptions
from edgepose.io.sinks import open_sink
from edgepose.io.sinks.parquet import arrow, read_metadata, read_results
from edgepose.io.sources.images import ImageSource
from edgepose.io.sources.video import VideoSource
from edgepose.json_file import read_json
from edgepose.networks.resolve import Network
from edgepose.options import CameraChoice
from edgepose.timing import Stopwatch
from edgepose.wanted import find_detector, wanted_gestures

EVERY = 5.0  # seconds between two lines of progress
TRIAL = 20  # frames from which --dry-run reckons


def batch(asked: Batch) -> int:
    """Run the command.

    Raises:
        EdgeposeError: nothing can be done, or nothing more.
    """
    talk = Talk.of(asked.talk)
    one_of("--progress", asked.progress, ("text", "json"))
    arrow()
    inputs = [*asked.inputs, *(read_list(asked.files.list_) if asked.files.list_ else ())]
    if not inputs:
        raise UsageError(
            "Name films, pictures or folders, or give --list FILE; see edgepose batch --help."
        )
    check_inputs(inputs)
    if asked.out is None:
        raise UsageError("Name the folder of the results: --out DIR.")
    if asked.estimator.detect_every > 1:
        raise UsageError(
            "--detect-every is for a film in one go: the parts of edgepose batch would begin anew, and find "
            "others than the whole. Leave it out."
        )
    _with_ray(asked)
    if asked.zones is not None:
        load_zones(asked.zones)  # says what is wrong with it
    network = find_network(asked.network, talk, asked.engine.precision)
    if asked.gestures and network.topology is not None:
        wanted_gestures(asked.gestures, network.topology)  # likewise
    job, folder = _job(asked, network), Folder(asked.out)
    if asked.dry_run:
        if not asked.overwrite:
            settled(folder, job)
        return _say_plan(asked, job, folder, inputs, network, talk)
    folder.make()
    with interruptible("the same command goes on."), held(folder) as run:
        return _run(asked, settle(folder, job, asked.overwrite), folder, inputs, run, talk)


def _with_ray(asked: Batch) -> bool:
    """Whether Ray does the work; `--workers 1` needs none.

    Raises:
        UsageError: GPUs are asked for where nobody gives them out.
    """
    w = asked.workers
    if w.workers > 1 or w.cluster:
        return True
    if w.gpus_per_worker:
        raise UsageError("--gpus-per-worker is for several workers; one takes what --engine finds.")
    return False


def _job(asked: Batch, network: Network) -> Job:
    files, engine = asked.files, asked.engine
    if _with_ray(asked) and not engine.threads:
        engine = replace(engine, threads=max(1, int(asked.workers.cpus_per_worker)))
    choice = asked.network
    if choice.model is None:
        # the default may change, and what is fastest differs by machine
        choice = replace(choice, network=network.manifest.name, variant=network.variant)
    detector = find_detector(network, asked.estimator, download=not asked.network.no_download)
    gestures = absolute_gestures(asked.gestures)
    return Job(
        network=choice,
        estimator=asked.estimator,
        camera=CameraChoice(
            input_width=files.input_width,
            input_height=files.input_height,
            input_rate=files.input_rate,
            input_flip=files.input_flip,
        ),
        engine=engine,
        track=asked.track,
        smooth=asked.smooth,
        gestures=gestures,
        taught=gesture_files(gestures),
        zones=read_json(asked.zones) if asked.zones is not None else {},
        segment=asked.segment,
        shard=asked.shard,
        weights=digests(network, detector),
    )


def _run(
    asked: Batch, job: Job, folder: Folder, inputs: Sequence[str], run: str, talk: Talk
) -> int:
    if asked.retry_failed:
        talk.info(f"{forget_failures(folder)} parts that were set aside are tried again.")
    items = list(find_items(inputs, job, folder, keep=True))
    for item in items:
        if item.problem:
            talk.error(f"edgepose: {item.problem}")
    tasks = sum(1 for _ in to_do(items, folder))
    talk.info(f"{_in_words(items)}; parts to do: {tasks}.")
    if job.track and sum(item.kind == PICTURES for item in items) > 1:
        talk.info(
            f"Pictures are tracked in shards of {job.shard}; track ids begin anew in each (--shard)."
        )
    if job.zones and any(item.kind == PICTURES for item in items):
        talk.warning("Zones make events in films; pictures make none.")
    teller = Teller(talk, asked.progress == "json")
    with ExitStack() as stack:
        pool = stack.enter_context(_pool(asked, job, folder, items, run)) if tasks else _Nobody()
        summary = run_job(folder, job, items, pool, teller)
    if asked.progress == "json":
        row = {"event": "end", **summary.counts, "frames": summary.frames, "poses": summary.poses}
        print(json.dumps(row), flush=True)
    if summary.states[FAILED] or summary.states[DAMAGED]:
        talk.error(
            f"edgepose: not all is well: edgepose batch status {folder.root} has the reasons."
        )
    talk.info(f"{summary.line()}; in {folder.root / 'poses'}")
    return summary.exit_code


class _Nobody:
    """A pool for nothing to do."""

    def run(self, tasks: Sequence[Any]) -> Any:
        """What became of no tasks."""
        return iter(())

    def close(self) -> None:
        """There is nobody to let go."""


def _pool(asked: Batch, job: Job, folder: Folder, items: Sequence[Item], run: str) -> Any:
    w, root = asked.workers, str(folder.root)
    if not _with_ray(asked):
        return LocalPool(root, w.attempts, w.mixed_engines)
    shape = PoolShape(w.workers, w.cpus_per_worker, w.gpus_per_worker, w.cluster)
    pool = RayPool(root, run, w.attempts, w.mixed_engines, shape)
    try:
        good = [item for item in items if not item.problem]
        pool.check_nodes(job, [item.paths[0] if item.paths else item.path for item in good])
    except BaseException:
        pool.close()
        raise
    return pool


def _in_words(items: Sequence[Item]) -> str:
    films = sum(item.kind == "film" for item in items)
    pictures = sum(len(item.paths) for item in items)
    frames = sum(item.frames for item in items)
    numbers = ((films, "film"), (pictures, "picture"), (frames, "frame"))
    return ", ".join(f"{n} {word}{'s' * (n != 1)}" for n, word in numbers if n or word == "frame")


class Teller:
    """Says how far a job is: a line every few seconds, or a JSON object on stdout for every part."""

    def __init__(self, talk: Talk, as_json: bool) -> None:
        self._talk, self._json = talk, as_json
        self._next = time.monotonic() + EVERY

    def __call__(self, done: Done, progress: BatchProgress) -> None:
        """Say it."""
        if done.problem:
            self._talk.error(f"edgepose: {done.problem}")
        if done.recut:
            self._talk.verbose(f"{done.key} is cut in another way: {done.recut}")
        left = progress.left
        if self._json:
            row = {"event": "part", "key": done.key, "part": done.name, "frames": done.frames}
            row |= {"done": progress.done, "of": progress.frames, "problem": done.problem}
            row["worker"] = done.who
            print(json.dumps(row | {"seconds_left": left and round(left, 1)}), flush=True)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY
            self._talk.info(
                f"{progress.tasks_done} of {progress.tasks} parts, {progress.done} of {progress.frames} "
                f"frames, {progress.rate:.1f} frames/s, {_span(left)} left"
            )


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# dry run ------------------------------------------------------------------------------------------
def _say_plan(
    asked: Batch, job: Job, folder: Folder, inputs: Sequence[str], network: Network, talk: Talk
) -> int:
    """What there is to do, and how long one worker here would take; writes nothing."""
    items = list(find_items(inputs, job, folder, keep=False))
    for item in items:
        if item.problem:
            talk.error(f"edgepose: {item.problem}")
    good = [item for item in items if not item.problem]
    frames = sum(item.frames for item in good if not folder.poses(item.kind, item.key).exists())
    print(f"{_in_words(items)}; parts to do: {sum(1 for _ in to_do(items, folder))}.")
    if not good:
        return EXIT_FAILED
    estimator = load_estimator(network, asked.network, asked.estimator, asked.engine, talk)
    with ExitStack() as stack:
        stack.callback(estimator.close)
        each = _seconds_a_frame(job, good[0], estimator)
    workers = asked.workers.workers
    print(
        f"{frames} frames at {each * 1e3:.1f} ms = {_span(frames * each)} with one worker here"
        + (
            f", about {_span(frames * each / workers)} with {workers} like it."
            if workers > 1
            else "."
        )
    )
    return EXIT_DONE


def _seconds_a_frame(job: Job, item: Item, estimator: Any) -> float:
    options = replace(job.source_options(), frames=TRIAL, on_error=lambda path, error: None)
    source: Any
    if item.paths:
        source = ImageSource(item.paths, item.path, options, many=True)
    else:
        source = VideoSource(item.path, options)
    begun, count = time.monotonic(), 0
    with source:
        for frame in source:
            estimator.estimate([frame], Stopwatch())
            count += 1
            if count == 1:  # the first one warms up
                begun = time.monotonic()
    return (time.monotonic() - begun) / max(1, count - 1)


# looking at a job ---------------------------------------------------------------------------------
def _existing(path: Path) -> Folder:
    folder = Folder(path)
    if stored(folder) is None:
        raise UsageError(f"{path} holds no job of edgepose batch: there is no job.json in it.")
    return folder


def job_status(asked: BatchStatus) -> None:
    """Run `batch status`.

    Raises:
        UsageError: the folder holds no job.
    """
    folder = _existing(asked.folder)
    arrow()
    manifest, runner = Manifest.read(folder), running(folder)
    rows = list(manifest.rows.values())
    for row in rows:
        final = folder.poses(row["kind"], row["key"])
        row["problems"] = _problems(row, final)
        row["parts"] = len(list(folder.work(row["key"]).glob("[sp]*-*.parquet")))
        if row["status"] == WAITING and final.exists():
            row |= {"status": DONE, "parts": 0}
    summary = Manifest(folder, manifest.rows).sum_up(manifest.rows)
    if asked.json:
        told = {"running": runner or None, **summary.counts, "frames": summary.frames}
        print(json.dumps({**told, "poses": summary.poses, "sources": rows}))
        return
    who = f"runs on {runner['host']}, process {runner['pid']}" if runner else "does not run now"
    print(f"{folder.root} {who}: {summary.line()}.")
    for row in rows:
        if row["parts"]:
            print(f"  {row['path']}: {row['parts']} of {row['segments']} parts")
        for problem in row["problems"]:
            print(f"  {row['path']}: {row['status']}: {problem}")


def _problems(row: dict[str, Any], final: Path) -> list[str]:
    """What is wrong with a source; of a shard each of its pictures is told."""
    if row["status"] not in (FAILED, DAMAGED):
        return []
    with suppress(SourceError):
        return [reason for _, reason in read_metadata(final).get("problems", ())]
    return [row["message"]]


def check_job(asked: BatchCheck) -> int:
    """Run `batch check`.

    Raises:
        UsageError: the folder holds no job, or somebody works on it.
    """
    folder = _existing(asked.folder)
    with held(folder):
        problems = check(folder)
    for problem in problems:
        print(problem)
    files = sum(1 for _ in finals(folder))
    print(f"{files} files, {len(problems)} problems")
    return EXIT_FAILED if problems else EXIT_DONE


def export_job(asked: BatchExport) -> None:
    """Run `batch export`.

    Raises:
        UsageError: the folder holds no job, or no format is named. OutputError: a file cannot be written.
    """
    folder = _existing(asked.folder)
    kinds = [(k, t) for k in ("json", "csv", "coco") if (t := getattr(asked, k))]
    if not kinds:
        raise UsageError("Name what to write: --json FILE, --csv FILE or --coco FILE.")
    if sum(target == "-" for _, target in kinds) > 1:
        raise UsageError("Only one kind of data can be printed on stdout; give the others a file.")
    order = {row["key"]: n for n, row in enumerate(Manifest.read(folder).rows.values())}
    files = sorted(finals(folder), key=lambda p: order.get(p.stem.partition("=")[2], len(order)))
    with ExitStack() as stack:
        options = SinkOptions(inputs=tuple(str(path) for path in files))
        sinks = [stack.enter_context(open_sink(kind, target, options)) for kind, target in kinds]
        for path in files:
            for result in read_results(path):
                for sink in sinks:
                    sink.write(result)
