"""From a set of examples to gestures: windows, checks, cross-validation, a linear classifier and its reach.

scikit-learn (extra `teach`) fits the classifier; what is stored runs with numpy alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepose.errors import BackendUnavailable, UsageError
from edgepose.gestures.features import MOMENTS, Features
from edgepose.gestures.past import window_of
from edgepose.gestures.taught import Taught
from edgepose.networks.keypoint_names import HAND_KEYPOINTS
from edgepose.teach.example_set import ExampleSet
from edgepose.types import Float64Array, Int64Array

LEAST = 8  # examples of a label
PACE = 0.2  # seconds between examples of a film
FOLDS = 5
KEPT = 60  # examples of a label that are kept
WINDOW = 0.6  # seconds, where all examples are films
# how much farther from the examples than these are from each other, film against film, a pose may be
NEAR, SLACK = 0.9, 1.25


@dataclass(frozen=True)
class Examples:
    """N windows: (N, moments, K, 2) pixels; label, film and pose of the set that each ends with."""

    windows: Float64Array
    label: Int64Array
    film: Int64Array
    pose: Int64Array


@dataclass(frozen=True)
class Wrong:
    """An example that is told wrongly: where it is, what it is, and what was said ("" = nothing)."""

    source: str
    time: float
    track: int
    label: str
    said: str


@dataclass(frozen=True)
class Report:
    """What cross-validation says; no film was in both parts of a split.

    Attributes:
        labels: L. confusion: (L, L + 1): examples of a label by what was said of them, last: nothing.
        wrong: those told otherwise than they are. films: of each label. folds: splits.
    """

    labels: tuple[str, ...]
    confusion: Int64Array
    wrong: tuple[Wrong, ...]
    films: tuple[int, ...]
    folds: int

    @property
    def accuracy(self) -> float:
        """Part of the examples that are told right."""
        return float(np.trace(self.confusion) / max(1, self.confusion.sum()))


def train(examples: ExampleSet, window: float | None = None) -> tuple[Taught, Report]:
    """Teach what a set shows.

    Args:
        examples: at least two labels, of each 8 examples from two films or more; a picture is a film.
        window: seconds of motion; None = 0.6 where all examples are films, else none.

    Raises:
        UsageError: the set is too small, a film leaks, or pictures have no motion.
        BackendUnavailable: scikit-learn is not installed.
    """
    stills = any(origin.still for origin in examples.origins)
    if window and stills:
        raise UsageError(
            f"--window {window:g} looks at motion, and the set holds pictures, which have none."
        )
    window = (0.0 if stills else WINDOW) if window is None else window
    found = cut(examples, window)
    films = _check_enough(examples, found)
    parts = _splits(found, min(FOLDS, *films))
    said = np.full(len(found.label), -1)
    for learn, test in parts:
        taught = _fit(examples, found, learn, window)
        scores = taught.scores(Features(examples.keypoints, taught.moments)(found.windows[test]))
        known = np.nan_to_num(scores).max(axis=1) > 0.5
        said[test] = np.where(known, np.nan_to_num(scores).argmax(axis=1), -1)
    everything = np.arange(len(found.label))
    return _fit(examples, found, everything, window), _report(
        examples, found, said, films, len(parts)
    )


def cut(examples: ExampleSet, window: float) -> Examples:
    """The examples of a set: of films one every 0.2 seconds, each with the poses before it."""
    rows: list[tuple[Float64Array, int]] = []
    keys = np.stack([examples.origin, examples.track, examples.label], axis=1)
    xy = np.where(examples.points[:, :, 2:] > 0, examples.points[:, :, :2], np.nan).astype(
        np.float64
    )
    for key in np.unique(keys, axis=0):
        at = np.flatnonzero((keys == key).all(axis=1))
        at = at[np.argsort(examples.time[at], kind="stable")]
        still = examples.origins[key[0]].still
        rows += [(w, i) for w, i in _sampled(at, examples.time[at], xy[at], window, still)]
    pose = np.array([i for _, i in rows], np.int64)
    windows = (
        np.stack([w for w, _ in rows]) if rows else np.zeros((0, 1, len(examples.keypoints), 2))
    )
    return Examples(windows, examples.label[pose], examples.origin[pose], pose)


def _sampled(
    at: Int64Array, time: Float64Array, xy: Float64Array, window: float, still: bool
) -> Iterator[tuple[Float64Array, int]]:
    last = -np.inf
    for i in range(len(at)):
        if not still and (time[i] - last < PACE - 1e-6 or time[i] - time[0] < window - 1e-6):
            continue
        last = time[i]
        if window:
            first = int(np.searchsorted(time, time[i] - 1.5 * window))
            yield (
                window_of(time[first : i + 1].tolist(), list(xy[first : i + 1]), window),
                int(at[i]),
            )
        else:
            yield xy[i][None], int(at[i])


def _check_enough(examples: ExampleSet, found: Examples) -> tuple[int, ...]:
    """The number of films of each label.

    Raises:
        UsageError: there is too little to learn from, or to judge by.
    """
    if len(examples.labels) < 2:
        raise UsageError(
            f"The set has {len(examples.labels)} label; teaching needs two or more. Collect something else, too: "
            "what people do the rest of the time."
        )
    films = []
    for number, label in enumerate(examples.labels):
        own = found.label == number
        films.append(len(np.unique(found.film[own])))
        if own.sum() < LEAST:
            raise UsageError(
                f"{label!r} has {own.sum()} examples; teaching needs {LEAST} of each label."
            )
        if films[-1] < 2:
            raise UsageError(
                f"All examples of {label!r} are of one film: whatever is learned from it would be judged by the same "
                "film. Collect them from two films or more (pictures count each)."
            )
    return tuple(films)


def _splits(found: Examples, folds: int) -> list[tuple[Int64Array, Int64Array]]:
    splitter = _sklearn("model_selection").StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    splits = list(splitter.split(found.label, found.label, found.film))
    return [
        (learn, test)
        for learn, test in splits
        if len(set(found.label[learn])) == len(set(found.label))
    ]


def _fit(examples: ExampleSet, found: Examples, learn: Int64Array, window: float) -> Taught:
    """Teach from some of the examples."""
    moments = MOMENTS if window else 1
    features = Features(examples.keypoints, moments)
    windows, label, film = found.windows[learn], found.label[learn], found.film[learn]
    if examples.keypoints == HAND_KEYPOINTS:  # a sign counts with either hand
        windows = np.concatenate([windows, windows * [-1.0, 1.0]])
        label, film = np.tile(label, 2), np.tile(film, 2)
    with np.errstate(all="ignore"):
        rows = features(windows)
    seen = ~np.isnan(rows)
    count = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, rows, 0.0).sum(axis=0) / count
    scale = np.sqrt(np.where(seen, (rows - mean) ** 2, 0.0).sum(axis=0) / count) + 0.02
    scaled = np.where(seen, (rows - mean) / scale, 0.0)
    model = _sklearn("linear_model").LogisticRegression(
        C=1.0, max_iter=5000, class_weight="balanced"
    )
    model.fit(scaled, label)
    weights, bias = model.coef_, model.intercept_
    if len(weights) == 1:  # two labels have one row, that of the second
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    kept, reach = [], []
    for number in range(len(examples.labels)):
        own = np.flatnonzero(label == number)
        reach.append(_reach(scaled[own], film[own]))
        kept.append(own[_spread(scaled[own])])
    chosen = np.concatenate(kept)
    return Taught(
        examples.labels, examples.keypoints, window, mean, scale, weights, bias, scaled[chosen],
        label[chosen].astype(np.float64), np.array(reach),
    )  # fmt: skip


def _reach(rows: Float64Array, film: Int64Array) -> float:
    """How far a pose may be from the examples: a little farther than most of them are from other films'."""
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    apart[film[:, None] == film[None]] = np.inf
    nearest = apart.min(axis=1)
    nearest = nearest[np.isfinite(nearest)]
    if not len(nearest):  # one film is all that is left: its own spread
        return float(np.linalg.norm(rows - rows.mean(axis=0), axis=1).max(initial=1.0))
    return float(np.quantile(nearest, NEAR) * SLACK)


def _spread(rows: Float64Array) -> Int64Array:
    """At most 60 of the rows, each as far as possible from those before it."""
    if len(rows) <= KEPT:
        return np.arange(len(rows))
    chosen = [0]
    away = np.linalg.norm(rows - rows[0], axis=1)
    while len(chosen) < KEPT:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, np.linalg.norm(rows - rows[chosen[-1]], axis=1))
    return np.array(chosen)


def _report(
    examples: ExampleSet, found: Examples, said: Int64Array, films: tuple[int, ...], folds: int
) -> Report:
    labels = examples.labels
    confusion = np.zeros((len(labels), len(labels) + 1), np.int64)
    np.add.at(confusion, (found.label, said), 1)  # -1 is the last column
    wrong = [
        Wrong(
            examples.origins[found.film[i]].name,
            float(examples.time[found.pose[i]]),
            int(examples.track[found.pose[i]]),
            labels[found.label[i]],
            labels[said[i]] if said[i] >= 0 else "",
        )
        for i in np.flatnonzero(said != found.label)
    ]
    return Report(labels, confusion, tuple(wrong), films, folds)


def _sklearn(module: str) -> Any:
    """A module of scikit-learn.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError:
        raise BackendUnavailable(
            "Teaching needs scikit-learn. Install it: pip install edgepose[teach]"
        ) from None
