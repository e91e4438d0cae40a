"""Collecting examples: the poses of pictures, films and cameras go into a set."""

from __future__ import annotations

import logging
import math
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgepose.files import file_digest
from edgepose.gestures.features import canonical
from edgepose.teach.example_set import ExampleSet, Origin
from edgepose.types import Frame, Pose, Result

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """Which poses are examples.

    Attributes:
        label: what they show. person: only this track, 0 = everybody. largest: only the largest in each frame.
        countdown: seconds before a live source counts. seconds: for which it does.
    """

    label: str
    person: int = 0
    largest: bool = False
    countdown: float = 3.0
    seconds: float = 5.0


def collect(
    examples: ExampleSet,
    results: Iterable[tuple[Frame, Result]],
    wanted: Wanted,
    *,
    stills: bool,
    live: bool,
) -> ExampleSet:
    """The set and the poses of one input.

    Args:
        examples: what is there already. results: of the input, films and cameras tracked. wanted: which of them.
        stills: it is pictures, of which each counts as a film. live: a camera, which has a countdown.

    Raises:
        UsageError: a pose is in the set with another label.
    """
    session, digests = uuid.uuid4().hex, dict[str, str]()
    rows: dict[Origin, list[tuple[Pose, float]]] = {}
    for frame, result in _timely(results, wanted) if live else results:
        origin = Origin(os.path.basename(frame.source), _digest(frame, session, digests), stills)
        when = (frame.captured if live else frame.pts) or 0.0
        rows.setdefault(origin, []).extend(
            (pose, when) for pose in _chosen(result.poses, wanted, stills)
        )
    for origin, found in rows.items():
        if not found:
            continue
        numbers = canonical(found[0][0].names)[1]
        tracks = [pose.id if stills else pose.track or 0 for pose, _ in found]
        points = [pose.points[list(numbers)] for pose, _ in found]
        examples = examples.added(wanted.label, origin, points, [t for _, t in found], tracks)
    return examples


def _chosen(poses: Iterable[Pose], wanted: Wanted, stills: bool) -> list[Pose]:
    found = [p for p in poses if stills or p.track is not None]
    if wanted.person and not stills:
        found = [p for p in found if p.track == wanted.person]
    if wanted.largest and found:
        found = [max(found, key=lambda p: (p.box[2] - p.box[0]) * (p.box[3] - p.box[1]))]
    return found


def _timely(
    results: Iterable[tuple[Frame, Result]], wanted: Wanted
) -> Iterator[tuple[Frame, Result]]:
    """The frames after the countdown, for so many seconds."""
    start, said = math.inf, math.inf
    for frame, result in results:
        now = frame.captured or 0.0
        start = min(start, now + wanted.countdown)
        left = max(0, math.ceil(start - now))
        if left < said:
            said = left
            log.info(
                "%s", left if left > 0 else f"{wanted.label}: go, for {wanted.seconds:g} seconds"
            )
        if now >= start + wanted.seconds:
            return
        if now >= start:
            yield frame, result


def _digest(frame: Frame, session: str, known: dict[str, str]) -> str:
    """What a file is by its content, so that a copy is no other film; of a camera the session."""
    if frame.source not in known:
        file = Path(frame.source)
        known[frame.source] = file_digest(file) if file.is_file() else session
    return known[frame.source]
