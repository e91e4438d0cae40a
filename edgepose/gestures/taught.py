"""Gestures taught from examples: a file *.gestures (JSON), and what tells them from keypoints with numpy alone.

    {"format": "edgepose-gestures", "version": 1, "labels": [...], "keypoints": [...], "window": seconds,
     "mean": [F], "scale": [F], "weights": [[F] a label], "bias": [a label],
     "examples": [[F], ...], "of": [label of each example], "reach": [a label]}

A linear classifier says which label is the likeliest; it counts where the pose is within reach of an example of
that label. What looks like no example has no label.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose import json_file
from edgepose.errors import NetworkFileError
from edgepose.gestures.features import MOMENTS, Features, canonical
from edgepose.gestures.rule import Rule
from edgepose.types import Float64Array

FORMAT, VERSION = "edgepose-gestures", 1
LABEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
MOST_MISSING = 0.4  # part of the keypoints that may be missing
LARGEST_FILE = 20_000_000
MOST_LABELS, MOST_EXAMPLES, MOST_SECONDS = 50, 2000, 10.0
HOLD, MEMORY = 0.3, 0.6
GONE = 2.0  # seconds after which a track that is not seen starts a new window


@dataclass(frozen=True)
class Taught:
    """What a file *.gestures holds; arrays are float64, F features.

    Attributes:
        labels: L names. keypoints: as `canonical` gives them. window: seconds, 0 = the pose alone.
        mean, scale: (F,) of the features; what is missing is taken as the mean.
        weights, bias: (L, F) and (L,) of the classifier.
        examples: (E, F), scaled. of: (E,) the label of each. reach: (L,) how far a pose may be from them.
    """

    labels: tuple[str, ...]
    keypoints: tuple[str, ...]
    window: float
    mean: Float64Array
    scale: Float64Array
    weights: Float64Array
    bias: Float64Array
    examples: Float64Array
    of: Float64Array
    reach: Float64Array

    @property
    def moments(self) -> int:
        """Poses of a window."""
        return MOMENTS if self.window else 1

    def scores(self, rows: Float64Array) -> Float64Array:
        """Scores (N, L) of features (N, F): 0 for all labels but the likeliest, and for that where it is out of
        reach; NaN where too much is missing."""
        missing = np.isnan(rows)
        hidden = np.add.reduce(missing[:, : 2 * len(self.keypoints)], axis=1)
        scaled = (rows - self.mean) / self.scale
        np.copyto(scaled, 0.0, where=missing)
        logits = scaled @ self.weights.T + self.bias
        likely = np.exp(logits - np.maximum.reduce(logits, axis=1, keepdims=True))
        best, who = likely.argmax(axis=1), np.arange(len(rows))
        near = self.distances(scaled)[who, best] <= self.reach[best]
        out = np.zeros(likely.shape)
        out[who, best] = near / np.add.reduce(likely, axis=1)  # the likeliest of them is 1
        out[hidden > MOST_MISSING * 2 * len(self.keypoints)] = np.nan
        return out

    def distances(self, scaled: Float64Array) -> Float64Array:
        """Distance (N, L) of scaled features to the nearest example of each label."""
        examples, squares, starts = self._by_label
        apart = squares - scaled @ examples
        nearest = np.minimum.reduceat(apart, starts, axis=1)
        nearest += np.einsum("ij,ij->i", scaled, scaled)[:, None]
        distances: Float64Array = np.sqrt(np.maximum(nearest, 0.0, out=nearest))
        return distances

    @cached_property
    def _by_label(self) -> tuple[Float64Array, Float64Array, NDArray[np.intp]]:
        """Twice the examples (F, E) in the order of their labels, their squares, and where each label starts."""
        order = np.argsort(self.of, kind="stable")
        examples = self.examples[order]
        starts = np.searchsorted(self.of[order], np.arange(len(self.labels)))
        return np.ascontiguousarray(2 * examples.T), (examples**2).sum(axis=1), starts


class TaughtJudge:
    """Tells taught gestures; remembers for each track the poses of the window.

    Args:
        taught: what was taught. names: of the keypoints of the poses that will come. where: the file, for messages.

    Raises:
        NetworkFileError: the poses have other keypoints.
    """

    def __init__(self, taught: Taught, names: Sequence[str], where: str) -> None:
        own, numbers = canonical(names)
        unknown = [name for name in taught.keypoints if name not in own]
        if unknown or len(own) != len(taught.keypoints):
            what = (
                f"names {unknown[0]!r}"
                if unknown
                else f"has {len(taught.keypoints)} keypoints of {len(own)}"
            )
            raise NetworkFileError(
                f"Gestures {where}: taught on other keypoints than those of this network; it {what}. Choose the "
                "network that they were taught with, or teach them again."
            )
        self.rules = tuple(
            Rule(label, "Taught.", (), hold=HOLD, memory=MEMORY) for label in taught.labels
        )
        self._numbers = np.array([numbers[own.index(name)] for name in taught.keypoints])
        self._taught = taught
        self._features = Features(taught.keypoints, taught.moments)
        self._past: dict[int, deque[tuple[float, Float64Array]]] = {}

    def scores(
        self, points: Float64Array, tracks: Sequence[int | None], now: float
    ) -> Float64Array:
        """As `Judge`."""
        taken = points.T.take(self._numbers, axis=1)
        places = taken[:2]
        there = np.isfinite(places[0] + places[1])
        there &= taken[2] > 0
        np.copyto(places, np.nan, where=~there)
        xy = places.T
        if not self._taught.window:
            return self._taught.scores(self._features(xy[:, None]))
        windows = np.stack(
            [self._window(one, track, now) for one, track in zip(xy, tracks, strict=True)]
        )
        return self._taught.scores(self._features(windows))

    def _window(self, xy: Float64Array, track: int | None, now: float) -> Float64Array:
        """The poses (moments, K, 2) of a track, newest first; NaN where it is not known for so long."""
        if track is None:
            return np.concatenate([xy[None], np.full((MOMENTS - 1, *xy.shape), np.nan)])
        past = self._past.setdefault(track, deque())
        if past and now - past[-1][0] > GONE:
            past.clear()
        past.append((now, xy))
        while now - past[0][0] > 1.5 * self._taught.window + 0.2:
            past.popleft()
        if len(self._past) > 1000:
            self._past = {k: p for k, p in self._past.items() if now - p[-1][0] <= GONE}
        return window_of(
            [when for when, _ in past], [pose for _, pose in past], self._taught.window
        )


def window_of(times: Sequence[float], poses: Sequence[Float64Array], window: float) -> Float64Array:
    """Poses (moments, K, 2) evenly over the `window` seconds before the last one, newest first.

    Each is the one that was seen nearest to its moment; NaN where none was seen within half a step.
    """
    step = window / (MOMENTS - 1)
    all_times = np.array(times)
    picked = []
    for moment in range(MOMENTS):
        wanted = all_times[-1] - moment * step
        nearest = int(np.abs(all_times - wanted).argmin())
        near = abs(all_times[nearest] - wanted) <= 0.5 * step
        picked.append(poses[nearest] if near else np.full(poses[-1].shape, np.nan))
    return np.stack(picked)


# the file ----------------------------------------------------------------------------------------
def load_taught(path: str | Path) -> Taught:
    """What a file *.gestures holds.

    Raises:
        NetworkFileError: it is missing, damaged, of a newer edgepose, or none of ours.
    """
    try:
        data = json_file.read_json(path, LARGEST_FILE)
    except FileNotFoundError:
        raise NetworkFileError(f"Gestures {path} do not exist.") from None
    except OSError as e:
        raise NetworkFileError(f"Gestures {path} cannot be read: {e.strerror or e}.") from None
    except ValueError as e:
        raise NetworkFileError(f"Gestures {path} are not valid JSON: {e}.") from None
    return parse_taught(data, str(path))


def parse_taught(data: Any, where: str) -> Taught:
    """As `load_taught`, of decoded JSON; `where` names the file in messages.

    Raises:
        NetworkFileError: the data do not follow the format.
    """
    try:
        return _taught(data)
    except (_Malformed, KeyError, TypeError, ValueError, OverflowError) as e:
        reason = f"{e.args[0]!r} is missing" if isinstance(e, KeyError) else e
        raise NetworkFileError(
            f"Gestures {where} cannot be used: {reason}. `edgepose teach train` writes such files."
        ) from None


class _Malformed(Exception):
    """What is wrong, as the middle of a sentence."""


def _taught(data: Any) -> Taught:
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise _Malformed("it is not a file of gestures")
    version = data.get("version")
    if not isinstance(version, int) or version < 1:
        raise _Malformed("its version is no number")
    if version > VERSION:
        raise _Malformed(
            f"it has version {version}, this edgepose knows {VERSION}; update edgepose"
        )
    labels, keypoints = _names(data, "labels", MOST_LABELS), _names(data, "keypoints", 500)
    if len(labels) < 2 or not all(LABEL.fullmatch(label) for label in labels):
        raise _Malformed("'labels' are not two or more plain words")
    window = data["window"]
    if not isinstance(window, int | float) or not 0 <= window <= MOST_SECONDS:
        raise _Malformed(f"'window' is not a time of 0 to {MOST_SECONDS:g} seconds")
    count = Features(keypoints, MOMENTS if window else 1).count
    examples = _array(data, "examples", (-1, count))
    of = _array(data, "of", (len(examples),))
    if len(examples) > MOST_EXAMPLES or set(of.tolist()) != set(map(float, range(len(labels)))):
        raise _Malformed("a label has no examples, or there are too many")
    scale = _array(data, "scale", (count,))
    if not (scale > 0).all():
        raise _Malformed("'scale' holds what is not above 0")
    return Taught(
        labels, keypoints, float(window), _array(data, "mean", (count,)), scale,
        _array(data, "weights", (len(labels), count)), _array(data, "bias", (len(labels),)),
        examples, of, _array(data, "reach", (len(labels),)),
    )  # fmt: skip


def _names(data: dict[str, Any], key: str, most: int) -> tuple[str, ...]:
    value = data[key]
    if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
        raise _Malformed(f"{key!r} is not a list of names")
    if not 1 <= len(value) <= most or len(set(value)) != len(value):
        raise _Malformed(f"{key!r} holds a name twice, or not 1 to {most}")
    return tuple(value)


def _array(data: dict[str, Any], key: str, shape: tuple[int, ...]) -> Float64Array:
    try:
        array = np.array(data[key], np.float64)
    except (ValueError, TypeError):
        raise _Malformed(f"{key!r} holds what is no number") from None
    fits = array.ndim == len(shape) and all(
        w in (-1, n) for w, n in zip(shape, array.shape, strict=True)
    )
    if not fits or not np.isfinite(array).all() or np.abs(array).max(initial=0) > 1e9:
        raise _Malformed(f"{key!r} has not the numbers that belong to it")
    return array


def as_json(taught: Taught) -> dict[str, Any]:
    """A file's data; numbers with six digits, which is more than keypoints are worth."""

    def numbers(array: Float64Array) -> Any:
        return (
            [numbers(row) for row in array]
            if array.ndim > 1
            else [float(f"{v:.6g}") for v in array]
        )

    head = {"format": FORMAT, "version": VERSION, "labels": list(taught.labels)}
    head |= {"keypoints": list(taught.keypoints), "window": taught.window}
    arrays = ("mean", "scale", "weights", "bias", "examples", "reach")
    return (
        head
        | {"of": [int(v) for v in taught.of]}
        | {k: numbers(getattr(taught, k)) for k in arrays}
    )
