"""Runs an estimator over annotated pictures and keeps what it finds in COCO's result format."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.closing import Closing
from edgepose.errors import OutputError, SourceError
from edgepose.eval.annotations import Annotations, LabelledPicture, find_pictures, match_names
from edgepose.files import write_atomically
from edgepose.io.pixels import flip
from edgepose.io.sources import header, images, orientation
from edgepose.json_file import parse_json
from edgepose.networks.topology import Topology
from edgepose.timing import Statistics, Stopwatch
from edgepose.types import Frame, Pose

log = logging.getLogger(__name__)

JournalRow = dict[str, Any]
# the flip that takes another one back, where it is not the same
BACK = {"clockwise": "counterclockwise", "counterclockwise": "clockwise"}


class PoseFinder(Protocol):
    """What is measured: an estimator, or anything that answers like one."""

    topology: Topology

    def estimate(self, frames: Sequence[Frame], stopwatch: Stopwatch) -> list[tuple[Pose, ...]]:
        """The poses of each frame."""
        ...


@dataclass
class Outcome:
    """What a run found.

    Attributes:
        rows: COCO results, in the order of the pictures.
        stages: milliseconds by stage; `total` is their sum for each picture.
        pictures: how many were done, also in former runs that this one resumed.
        seconds: wall time of this run.
    """

    rows: list[JournalRow] = field(default_factory=list)
    stages: dict[str, Statistics] = field(default_factory=dict)
    pictures: int = 0
    seconds: float = 0.0

    def add(self, rows: Sequence[JournalRow], stages: dict[str, float]) -> None:
        """Count one picture."""
        self.rows += rows
        self.pictures += 1
        for name, value in {**stages, "total": sum(stages.values())}.items():
            self.stages.setdefault(name, Statistics()).add(value)

    def speed(self) -> dict[str, float]:
        """Median milliseconds a picture by stage."""
        return {name: s.percentile(50) for name, s in self.stages.items()}


class Journal(Closing):
    """Finished pictures as JSON lines, so that an interrupted run can go on.

    Args:
        path: the file.
        key: identifies what is measured; a journal of anything else is not resumed.
        resume: read what is there; otherwise start anew.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path, key: str, resume: bool) -> None:
        self.path = path
        self.done: dict[Any, tuple[list[JournalRow], dict[str, float]]] = {}
        if resume:
            self._read(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a" if self.done else "w", encoding="utf-8")
            if not self.done:
                self._write({"key": key})
        except OSError as e:
            raise OutputError(f"{path} cannot be written: {e.strerror or e}.") from None

    def _read(self, key: str) -> None:
        try:
            lines = self.path.read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError):
            return
        entries: list[dict[str, Any]] = []
        for line in lines:
            try:
                entry = parse_json(line)
                if not entries and entry["key"] != key:
                    return
                if entries:
                    self.done[entry["image_id"]] = (_report_rows(entry), dict(entry["stages"]))
            except (ValueError, KeyError, TypeError, IndexError):
                break  # the line that was being written when the run ended, or a damaged one
            entries.append(entry)
        if not entries:
            return
        # drop a line that was cut short, so that the next one starts on its own
        whole = "".join(json.dumps(e) + "\n" for e in entries)
        try:
            write_atomically(self.path, whole)
        except OSError as e:
            raise OutputError(f"{self.path} cannot be written: {e.strerror or e}.") from None

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def add(self, picture: Any, rows: Sequence[JournalRow], stages: dict[str, float]) -> None:
        """Write one finished picture."""
        self._write({"image_id": picture, "results": list(rows), "stages": stages})

    def remove(self) -> None:
        """The run is complete: the journal has served."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the journal for another run to resume."""
        self._file.close()


def _report_rows(entry: dict[str, Any]) -> list[JournalRow]:
    rows: list[JournalRow] = entry["results"]
    for row in rows:
        np.asarray(row["keypoints"], float).reshape(-1, 3), float(row["score"])
    return rows


def journal_key(annotations: Annotations, **what: Any) -> str:
    """Digest of all that decides the results: annotations, network, thresholds, ..."""
    digest = hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode())
    digest.update(annotations.path.read_bytes())
    return digest.hexdigest()


def read_picture(file: Path, entry: LabelledPicture) -> NDArray[np.uint8]:
    """A picture as uint8 RGB (H, W, 3), turned as the annotations have it.

    Raises:
        SourceError: it cannot be read or decoded, is cut, or its size is not the annotated one.
    """
    try:
        data = file.read_bytes()
    except OSError as e:
        raise SourceError(f"Image {file} cannot be read: {e.strerror or e}.") from None
    pixels, kind = images.decode_image(data, f"Image {file}"), header.kind(data)
    turned = orientation.whole_flip(data, kind) if kind in orientation.OWN else "none"
    # most sets are annotated as the pixels are stored, others as viewers show them: turned by a tag
    stored = flip(pixels, BACK.get(turned, turned))
    size = (entry.height, entry.width)
    pixels = stored if stored.shape[:2] == size else pixels
    if pixels.shape[:2] != size:
        raise SourceError(
            f"Image {file} has {pixels.shape[1]}x{pixels.shape[0]} pixels; its annotation says "
            f"{entry.width}x{entry.height}."
        )
    return np.ascontiguousarray(pixels)


def coco_rows(
    poses: Sequence[Pose], image: Any, category: int, order: Sequence[int]
) -> list[JournalRow]:
    """Poses of one picture as COCO results.

    Args:
        poses: what was found.
        image, category: numbers for the rows.
        order: for each keypoint of the annotations its number in the network, -1 = none.
    """
    rows = []
    for pose in poses:
        points = [0.0] * (3 * len(order))
        for i, k in enumerate(order):
            if k >= 0 and pose.points[k, 2] > 0:
                x, y, score = (float(v) for v in pose.points[k])
                points[3 * i : 3 * i + 3] = [round(x, 2), round(y, 2), round(score, 4)]
        rows.append(
            {
                "image_id": image,
                "category_id": category,
                "keypoints": points,
                "score": round(pose.score, 6),
            }
        )
    return rows


def evaluate(
    estimator: PoseFinder,
    annotations: Annotations,
    folder: Path,
    *,
    journal: Journal | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Run over the pictures, one at a time as a camera would.

    Args:
        estimator: what is measured.
        annotations: which pictures, and the order of keypoints of the results.
        folder: where the pictures are.
        journal: keeps finished pictures and knows those of a former run.
        tick: called with (done, all) after each picture.

    Raises:
        SourceError: pictures are missing or cannot be decoded.
        UsageError: network and annotations have no keypoint name in common.
        EngineError: the network failed.
    """
    order = match_names(estimator.topology.keypoints, annotations.keypoints)
    lacking = [name for name, k in zip(annotations.keypoints, order, strict=True) if k < 0]
    if lacking:
        log.warning(
            "The network has no %s: what is labelled of them counts as not found.",
            ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if lacking[5:] else ""),
        )
    files = find_pictures(annotations, folder)
    done = journal.done if journal else {}
    outcome = Outcome()
    start = time.monotonic()
    for entry, pixels in _pictures(annotations, files, done):
        if pixels is None:
            rows, stages = done[entry.id]
        else:
            watch = Stopwatch()
            poses = estimator.estimate([Frame(pixels, source=entry.file, name=entry.file)], watch)[
                0
            ]
            rows, stages = coco_rows(poses, entry.id, annotations.category, order), watch.stages
            if journal:
                journal.add(entry.id, rows, stages)
        outcome.add(rows, stages)
        outcome.seconds = time.monotonic() - start
        if tick:
            tick(outcome.pictures, len(files))
    return outcome


def _pictures(
    annotations: Annotations, files: Sequence[Path], done: dict[Any, Any]
) -> Iterator[tuple[LabelledPicture, NDArray[np.uint8] | None]]:
    """Each picture, the next one decoded meanwhile; None for those already done."""
    with ThreadPoolExecutor(1) as reader:
        jobs = list(zip(annotations.pictures, files, strict=True))
        todo = [j for j in jobs if j[0].id not in done]
        waiting = iter(todo)
        first = next(waiting, None)
        ahead = reader.submit(read_picture, first[1], first[0]) if first else None
        for entry, _ in jobs:
            if entry.id in done:
                yield entry, None
                continue
            assert ahead is not None
            pixels = ahead.result()
            after = next(waiting, None)
            ahead = reader.submit(read_picture, after[1], after[0]) if after else None
            yield entry, pixels


def write_rows(rows: Sequence[JournalRow], path: Path) -> None:
    """Write COCO results, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        write_atomically(path, json.dumps(list(rows)))
    except OSError as e:
        raise OutputError(f"--results {path} cannot be written: {e.strerror or e}.") from None
