"""Gives poses their gestures: what is asked for (`--gestures`), and one finder for each source.

judges (built-in rules, taught gestures) -> scores -> steady over time, a track -> pose.gestures
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from edgepose.errors import UnknownNameError, UsageError
from edgepose.gestures.builtin import BODY, HAND, Judge, make_builtin
from edgepose.gestures.rule import TRUE
from edgepose.gestures.steady import Steady
from edgepose.gestures.taught import TaughtJudge, load_taught
from edgepose.networks.topology import Topology
from edgepose.types import Float64Array, Gesture, Pose

BUILTIN = "builtin"
ENDING = ".gestures"
HEAVY = (
    1_000_000  # multiplications for a pose: more than the largest file for hands or bodies needs
)
KNOWN = tuple(dict.fromkeys(rule.name for rule in (*BODY, *HAND)))


class GestureFinder:
    """The gestures of the poses of one camera or film. Without a clock: the time is an argument.

    A pose with a track has the gestures that began on its track and have not ended; one without is judged by
    itself.

    Args:
        make_judges: of two gestures with the same name, the first judge's counts.
        names: gestures to tell; () = all.

    Attributes:
        heavy: a few people take as long as a frame.
    """

    def __init__(
        self, make_judges: Callable[[], Sequence[Judge]], names: Sequence[str] = ()
    ) -> None:
        self._make_judges, self._judges = make_judges, make_judges()
        judges = self._judges
        self.heavy = sum(judge.work for judge in judges) > HEAVY
        rules = [rule for judge in judges for rule in judge.rules]
        self.names = tuple(rule.name for rule in rules)
        self._hold, self._memory = [r.hold for r in rules], [r.memory for r in rules]
        first = [self.names.index(name) == i for i, name in enumerate(self.names)]
        asked = [name in (names or self.names) for name in self.names]
        self._wanted = np.array(first) & np.array(asked)
        beats = [[float(a.name in b.unless or b.name in a.unless) for b in rules] for a in rules]
        self._either = np.array(beats)
        self._steady = Steady(self._hold, self._memory)
        self._now = float("-inf")

    def update(self, poses: Sequence[Pose], now: float) -> tuple[Pose, ...]:
        """The same poses in the same order, with their gestures.

        Args:
            poses: of the next frame, image pixels; all of the topology that the judges were made for.
            now: its time in seconds; where it goes back, everything before is forgotten.
        """
        if not poses:
            return ()
        if now < self._now:
            self._steady, self._judges = Steady(self._hold, self._memory), self._make_judges()
        self._now = now
        tracks = [pose.track for pose in poses]
        points = np.concatenate([pose.points for pose in poses], dtype=np.float64)
        points = points.reshape(len(poses), -1, 3)
        with np.errstate(all="ignore"):
            scores = [judge.scores(points, tracks, now) for judge in self._judges]
            found = self._found(np.concatenate(scores, axis=1), tracks, now)
        return tuple(pose.with_(gestures=g) for pose, g in zip(poses, found, strict=True))

    def _found(
        self, scores: Float64Array, tracks: Sequence[int | None], now: float
    ) -> list[tuple[Gesture, ...]]:
        known = [track for track in tracks if track is not None]
        if len(known) == len(tracks):
            on, score, since = self._steady.update(known, scores, now)
            # what is only remembered gives way to what is seen instead of it
            remembered = on & (scores != scores)
            if np.count_nonzero(remembered):
                on ^= remembered & ((scores >= TRUE) @ self._either > 0)
        else:
            on, score, since = scores >= TRUE, scores.copy(), np.full(scores.shape, now)
            rows = [i for i, track in enumerate(tracks) if track is not None]
            if rows:
                on[rows], score[rows], since[rows] = self._steady.update(known, scores[rows], now)
        found: list[list[Gesture]] = [[] for _ in tracks]
        at = (on & self._wanted).ravel().nonzero()[0]
        numbers = score.ravel().take(at).tolist(), (now - since.ravel().take(at)).tolist()
        count = len(self.names)
        for place, sure, seconds in zip(at.tolist(), *numbers, strict=True):
            found[place // count].append(Gesture(self.names[place % count], sure, seconds))
        return [tuple(one) for one in found]


def make_finders(text: str, topology: Topology) -> Callable[[], GestureFinder]:
    """What makes a finder for each source.

    Args:
        text: `builtin`, names of built-in gestures, files of taught ones; separated by commas.
        topology: of the poses.

    Raises:
        UsageError: an unknown name, one of a hand for bodies, or a topology that the rules do not know.
        NetworkFileError: a file cannot be used.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    files = {word: load_taught(word) for word in words if word.endswith(ENDING)}
    names = [word for word in words if word != BUILTIN and word not in files]
    labels = [label for taught in files.values() for label in taught.labels]
    builtin = len(files) < len(words) or not words
    if builtin:
        _check_names(names, [rule.name for rule in _builtin(topology).rules])
    if names:
        names += labels

    def judges() -> list[Judge]:
        taught = [TaughtJudge(t, topology.keypoints, f) for f, t in files.items()]
        return [*taught, *([_builtin(topology)] if builtin else [])]

    judges()  # says what does not fit before anything runs
    return partial(GestureFinder, judges, names)


def _check_names(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name in KNOWN and name not in known:
            what = "bodies" if "fallen" in known else "hands"
            raise UsageError(
                f"--gestures {name} is not among the gestures of {what}, which this network finds. "
                f"Known: {', '.join(known)}."
            )
        if name not in known:
            raise UnknownNameError("gesture", name, (BUILTIN, *known), f"Files end in {ENDING}.")


def _builtin(topology: Topology) -> Judge:
    judge = make_builtin(topology.keypoints)
    if judge is None:
        raise UsageError(
            f"--gestures {BUILTIN} knows bodies and hands of 21 keypoints; this network finds "
            f"{topology.name}s with {', '.join(topology.keypoints[:4])}, ... Teach gestures of your own."
        )
    return judge
