"""What is done with the parts of a film: one file with tracks, as a single run would give it.

Tracks go through the whole film, so they are made here, in one pass over the stored poses.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgepose.batch.files import FILM, Folder, Task
from edgepose.batch.plan import Job
from edgepose.errors import OutputError, SourceError
from edgepose.events.detector import EventDetector
from edgepose.events.zones import parse_zones
from edgepose.files import locked, valid, write_atomically
from edgepose.io.sinks.parquet import ParquetWriter, read_metadata, read_results
from edgepose.networks.topology import Topology
from edgepose.track.one_euro import OneEuro
from edgepose.track.tracker import Tracker
from edgepose.types import Result
from edgepose.wanted import wanted_gestures

DONE, DAMAGED, FAILED, WAITING = "done", "damaged", "failed", "waiting"


@dataclass
class Account:
    """What the parts of a film or shard say together.

    Attributes:
        frames, poses: how many. seconds: CPU time of the workers. engines: what inferred.
        problems: (path, what is wrong with it). set_aside: how many of them were given up.
    """

    frames: int = 0
    poses: int = 0
    seconds: float = 0.0
    engines: list[str] = field(default_factory=list)
    problems: list[list[str]] = field(default_factory=list)
    set_aside: int = 0


def finish(folder: Folder, job: Job, task: Task) -> Account | None:
    """Make the final file where all parts are there; None where they are not, or someone else does it.

    Raises:
        OutputError: the disk is full.
    """
    parts = folder.parts(task)
    if not all(part.exists() for part in parts):
        return None
    try:
        with locked(folder.work(task.key) / ".finish", timeout=0):
            if folder.poses(task.kind, task.key).exists():
                return None
            account = _join(folder, job, task, parts)
    except TimeoutError:
        return None
    except OSError as e:
        if isinstance(e, OutputError):
            raise
        raise OutputError(
            f"{folder.work(task.key)} cannot be written: {e.strerror or e}."
        ) from None
    folder.drop_work(task.key)
    return account


def _join(folder: Folder, job: Job, task: Task, parts: Sequence[Path]) -> Account:
    account = Account()
    told = [_add_up(account, read_metadata(part)) for part in parts]
    first = next((t for t in told if "keypoints" in t), {})  # a part without pictures tells nothing
    result_file = folder.poses(task.kind, task.key)
    with ExitStack() as stack:
        writer = ParquetWriter(result_file)
        stack.callback(writer.abandon)  # does nothing after close
        events: list[str] = []
        for result in _followed(parts, first, job, task, events):
            account.frames += 1
            account.poses += len(result.poses)
            writer.write(result)
        if job.zones and task.kind == FILM:
            folder.events(task.key).parent.mkdir(exist_ok=True)
            write_atomically(folder.events(task.key), "".join(events))
        about = {k: first.get(k) for k in ("network", "engine", "keypoints", "links")}
        writer.metadata |= about | row_of(task, account)
        writer.close()
    return account


def _add_up(account: Account, told: dict[str, Any]) -> dict[str, Any]:
    account.seconds += told.get("cpu", 0.0)
    account.problems += told.get("problems", [])
    account.set_aside += told.get("set_aside", 0)
    if told.get("engine") and told["engine"] not in account.engines:
        account.engines.append(told["engine"])
    return told


def row_of(task: Task, account: Account) -> dict[str, Any]:
    """The row of the manifest, as the final file carries it."""
    found = FAILED if account.problems and not account.frames else DAMAGED
    return {
        "path": valid(task.path),
        "key": task.key,
        "kind": task.kind,
        "frames": account.frames,
        "poses": account.poses,
        "status": found if account.problems else DONE,
        "message": account.problems[0][1] if account.problems else "",
        "problems": account.problems,
        "set_aside": account.set_aside,
        "engines": account.engines,
        "seconds": round(account.seconds, 3),
    }


def _followed(
    parts: Sequence[Path], told: dict[str, Any], job: Job, task: Task, events: list[str]
) -> Iterator[Result]:
    """The results of all parts, with tracks and events where they are asked for."""
    topology = Topology(
        "", tuple(told.get("keypoints", ())), tuple(map(tuple, told.get("links", ())))
    )
    make_finder = wanted_gestures(job.gestures if topology.keypoints else "", topology)
    finder = make_finder() if make_finder else None
    follow = job.track or job.smooth or job.zones or (finder and task.kind == FILM)
    tracker = Tracker(topology, smooth=OneEuro() if job.smooth else None) if follow else None
    zones = parse_zones(job.zones, "of the job") if job.zones else None
    detector = EventDetector(zones, source=task.path)
    for part in parts:
        for result in read_results(part):
            now = float(result.frame) if result.pts is None else result.pts
            if tracker is not None:
                result = replace(result, poses=tracker.update(result.poses, now))
            if finder is not None:
                result = replace(result, poses=finder.update(result.poses, now))
            if zones is not None and task.kind == FILM:
                size = (result.width, result.height)
                events += map(_line, detector.update(result.poses, now, *size, result.frame))
            yield result
    if zones is not None:
        events += map(_line, detector.finish())


def _line(event: Any) -> str:
    # the time is that of the film: nobody knows when it was made
    row = event.as_dict() | {"time": round(event.time, 3)}
    return json.dumps({k: row[k] for k in row if k not in ("id", "session", "snapshot")}) + "\n"


# the whole job ------------------------------------------------------------------------------------
def check_file(path: Path) -> str:
    """What is wrong with a final file, "" where nothing is: every frame once, as many as it says."""
    told = read_metadata(path)
    last: tuple[int, str] | None = None
    count = 0
    for result in read_results(path):
        here = (result.frame, result.source)
        if last is not None and here[0] <= last[0]:
            return f"frame {here[0]} comes behind frame {last[0]}"
        last, count = here, count + 1
    if count != told.get("frames"):
        return f"it holds {count} frames of {told.get('frames')}"
    return ""


def forget_failures(folder: Folder) -> int:
    """Let everything that was set aside be tried again; how much that is."""
    count = 0
    for mark in [*folder.root.glob("work/*/*.failed"), *folder.root.glob("work/*/*.tries")]:
        count += mark.suffix == ".failed"
        mark.unlink(missing_ok=True)
    for path in finals(folder):
        with suppress(SourceError):  # a file that is damaged is for `check`
            if aside := read_metadata(path).get("set_aside", 0):
                count += aside
                path.unlink()
    return count


def finals(folder: Folder) -> Iterator[Path]:
    """All final files."""
    yield from sorted(p for p in folder.root.glob("poses/*=*.parquet") if os.path.isfile(p))
