"""Gestures taught from examples: a file *.gestures (JSON), and what tells them from keypoints with numpy alone.

    {"format": "edgepose-gestures", "version": 1, "labels": [...], "keypoints": [...], "window": seconds,
     "mean": [F], "scale": [F], "weights": [[F] a label], "bias": [a label],
     "examples": [[F], ...], "of": [label of each example], "reach": [a label]}

A linear classifier says which label is the likeliest; it counts where the pose is within reach of an example of
that label. What looks like no example has no label.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import NetworkFileError
from edgepose.gestures.features import MOMENTS, Features, canonical
from edgepose.gestures.past import Past
from edgepose.gestures.rule import Rule
from edgepose.json_file import read_named
from edgepose.types import Float64Array

FORMAT, VERSION = "edgepose-gestures", 1
LABEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
MOST_MISSING = 0.4  # part of the keypoints that may be missing
LARGEST_FILE = 20_000_000
MOST_LABELS, MOST_EXAMPLES, MOST_SECONDS = 50, 2000, 10.0
HOLD, MEMORY = 0.3, 0.6


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
        # poses in the last dimension: what follows is one operation for rows of all of them
        rows = rows.T
        missing = rows != rows
        hidden = np.add.reduce(missing[: 2 * len(self.keypoints)])
        mean, per_scale = self._columns(len(hidden))
        scaled = (rows - mean) * per_scale
        np.copyto(scaled, 0.0, where=missing)
        likely, distances = self._compared(scaled)
        likely -= np.maximum.reduce(likely)
        np.exp(likely, out=likely)
        best, who = likely.argmax(axis=0), np.arange(len(hidden))
        near = distances[best, who] <= self.reach[best]
        out = np.zeros((len(hidden), len(likely)))
        out[who, best] = near / np.add.reduce(likely)  # the likeliest of them is 1
        out[hidden > MOST_MISSING * 2 * len(self.keypoints)] = np.nan
        return out

    def _compared(self, scaled: Float64Array) -> tuple[Float64Array, Float64Array]:
        """What the classifier gives for scaled features (F, N), and their distances to the nearest example of each
        label; both (L, N)."""
        table, constants, starts = self._by_label
        # with the weights and all examples in one product: |a - b|^2 = |a|^2 - 2ab + |b|^2
        found = table @ scaled
        found += constants
        nearest = np.minimum.reduceat(found, starts)
        nearest += np.einsum("ij,ij->j", scaled, scaled)
        np.sqrt(np.maximum(nearest, 0.0, out=nearest), out=nearest)
        return found[: len(self.labels)], nearest

    @cached_property
    def _by_label(self) -> tuple[Float64Array, Float64Array, NDArray[np.intp]]:
        """Rows (L + E, F) that features are multiplied with: of the classifier, and -2 times the examples in the order of
        their labels; what is added to the products; and the first row of each label's examples."""
        order = np.argsort(self.of, kind="stable")
        examples = self.examples[order]
        table = np.concatenate([self.weights, -2 * examples])
        constants = np.concatenate([self.bias, (examples**2).sum(axis=1)])[:, None]
        starts = np.searchsorted(self.of[order], np.arange(len(self.labels))) + len(self.labels)
        return table, constants, starts

    @cached_property
    def _columns(self) -> Callable[[int], Float64Array]:
        """The mean and one over the scale (2, F, N), the same for each of N poses: much faster than a column."""
        column = np.stack([self.mean, 1.0 / self.scale])[:, :, None]
        # mostly there are as many as in the frame before
        return lru_cache(1)(partial(np.repeat, column, axis=2))


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
        self.work = (len(taught.labels) + len(taught.examples)) * taught.examples.shape[1]
        self._taught = taught
        self._features = Features(taught.keypoints, taught.moments)
        self._past = Past(taught.window, len(taught.keypoints))

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
        followed = [track for track in tracks if track is not None]
        if len(followed) == len(tracks):
            windows = self._past.update(followed, xy, now)
        else:
            windows = np.full((len(xy), MOMENTS, *xy.shape[1:]), np.nan)
            windows[:, 0] = xy
            rows = [i for i, track in enumerate(tracks) if track is not None]
            if rows:
                windows[rows] = self._past.update(followed, xy[rows], now)
        return self._taught.scores(self._features(windows))


# the file ----------------------------------------------------------------------------------------
def load_taught(path: str | Path) -> Taught:
    """What a file *.gestures holds.

    Raises:
        NetworkFileError: it is missing, damaged, of a newer edgepose, or none of ours.
    """
    data = read_named(path, "Gestures file", NetworkFileError, LARGEST_FILE)
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
