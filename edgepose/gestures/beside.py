"""Gestures that take long, told beside the frames of a live source: in a thread of their own, for the newest poses.

A frame that comes while an earlier one is looked at passes it by, with what is known of its tracks. Films wait
instead, so that the same film always has the same gestures.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Protocol

from edgepose.types import Gesture, Pose

log = logging.getLogger(__name__)
LONGEST_WAIT = 0.01  # seconds for which a frame waits for its own gestures


class Teller(Protocol):
    """As `GestureFinder`."""

    def update(self, poses: Sequence[Pose], now: float) -> tuple[Pose, ...]:
        """The poses with their gestures."""
        ...


class Beside:
    """As the finder, but never later than after `patience` seconds.

    Args:
        finder: called in the thread alone. patience: seconds.
    """

    def __init__(self, finder: Teller, patience: float = LONGEST_WAIT) -> None:
        self._finder, self._patience = finder, patience
        self._thread = ThreadPoolExecutor(1, "gestures")
        self._answer: Future[tuple[Pose, ...]] | None = None
        self._known: tuple[float, dict[int | None, tuple[Gesture, ...]]] = (0.0, {})
        self._said = False

    def update(self, poses: Sequence[Pose], now: float) -> tuple[Pose, ...]:
        """The poses with their gestures, or with those that their tracks had when they were last told.

        Raises:
            EdgeposeError: what the finder raised, now or in an earlier frame.
        """
        if self._answer is None or self._answer.done():
            if self._answer is not None:
                self._answer.result()  # what failed after its frame had passed
            self._answer = self._thread.submit(self._tell, poses, now)
            wait((self._answer,), self._patience)
            if self._answer.done():
                return self._answer.result()
        if not self._said:
            self._said = True
            log.warning(
                "These gestures take longer than frames: they are told of some frames only, and the others have "
                "what was told before."
            )
        when, known = self._known
        return tuple(
            pose.with_(gestures=tuple(g._replace(seconds=g.seconds + now - when) for g in found))
            for pose, found in ((p, known.get(p.track, ())) for p in poses)
        )

    def _tell(self, poses: Sequence[Pose], now: float) -> tuple[Pose, ...]:
        found = self._finder.update(poses, now)
        self._known = now, {p.track: p.gestures for p in found if p.track is not None}
        return found

    def close(self) -> None:
        """Let the thread end when it is done."""
        self._thread.shutdown(wait=False)
