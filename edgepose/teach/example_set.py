"""Sets of examples (*.npz): the poses of people who do something, with its name, where they come from and when.

Every pose of a film is kept, so that motion can be learned from it. `meta` in the file is JSON: format, version,
keypoints, labels and the sources with a digest of their content, by which the same film is known under any name.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgepose.errors import OutputError, SourceError, UsageError
from edgepose.files import replacing
from edgepose.json_file import parse_json
from edgepose.types import AnyArray, Float32Array, Float64Array, Int64Array

FORMAT, VERSION = "edgepose-examples", 1
MOST_UNPACKED = 2_000_000_000  # unpacked
MOST_POSES = 200_000


@dataclass(frozen=True)
class Origin:
    """Where poses come from: name for people, digest of the content, whether it is a picture."""

    name: str
    digest: str
    still: bool


@dataclass(frozen=True)
class ExampleSet:
    """M poses of K keypoints.

    Attributes:
        keypoints: K names. labels, origins: what `label` and `origin` number.
        points: (M, K, 3) as of `Pose`. time: (M,) seconds in their film. track: (M,), 0 where nothing is tracked.
        label, origin: (M,).
    """

    keypoints: tuple[str, ...]
    labels: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()
    points: Float32Array = field(default_factory=lambda: np.zeros((0, 0, 3), np.float32))
    time: Float64Array = field(default_factory=lambda: np.zeros(0))
    track: Int64Array = field(default_factory=lambda: np.zeros(0, np.int64))
    label: Int64Array = field(default_factory=lambda: np.zeros(0, np.int64))
    origin: Int64Array = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.time)

    def added(
        self,
        label: str,
        origin: Origin,
        points: Sequence[Float32Array],
        time: Sequence[float],
        track: Sequence[int],
    ) -> ExampleSet:
        """This set and the poses of one origin; those that are in it already are left out.

        Raises:
            UsageError: one of them is in it with another label, or it becomes too large.
        """
        labels = self.labels if label in self.labels else (*self.labels, label)
        digests = [o.digest for o in self.origins]
        origins = self.origins if origin.digest in digests else (*self.origins, origin)
        number, place = labels.index(label), [o.digest for o in origins].index(origin.digest)
        known = {
            (w, t): int(n)
            for w, t, n, o in zip(
                self.time.tolist(), self.track.tolist(), self.label, self.origin, strict=True
            )
            if o == place
        }
        keep = []
        for i, key in enumerate(zip(time, track, strict=True)):
            if known.get(key, number) != number:
                raise UsageError(
                    f"{origin.name} is in the set as {labels[known[key]]!r} already; it cannot be {label!r}, too."
                )
            if key not in known:
                known[key] = number
                keep.append(i)
        if len(self) + len(keep) > MOST_POSES:
            raise UsageError(f"A set holds at most {MOST_POSES} poses. Take shorter films.")
        if not keep:
            return self
        rows = np.stack([points[i] for i in keep]).astype(np.float32)
        old = self.points if len(self) else rows[:0]
        full = np.full(len(keep), 0, np.int64)
        return replace(
            self,
            labels=labels,
            origins=origins,
            points=np.concatenate([old, rows]),
            time=np.concatenate([self.time, [time[i] for i in keep]]),
            track=np.concatenate([self.track, [track[i] for i in keep]]),
            label=np.concatenate([self.label, full + number]),
            origin=np.concatenate([self.origin, full + place]),
        )


def save_set(examples: ExampleSet, path: str | os.PathLike[str]) -> None:
    """Write a set, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "keypoints": examples.keypoints,
        "labels": examples.labels,
        "sources": [vars(origin) for origin in examples.origins],
    }
    text = json.dumps(meta).encode("ascii")
    arrays = {
        name: getattr(examples, name) for name in ("points", "time", "track", "label", "origin")
    }
    try:
        with replacing(path) as part, open(part, "wb") as file:
            np.savez_compressed(file, meta=np.frombuffer(text, np.uint8), **arrays)
    except OSError as e:
        raise OutputError(f"{path} cannot be written: {e.strerror or e}.") from None


def load_set(path: str | os.PathLike[str]) -> ExampleSet:
    """Read a set.

    Raises:
        SourceError: it is missing, damaged, of a newer edgepose, or none of ours.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            if sum(info.file_size for info in packed.infolist()) > MOST_UNPACKED:
                raise ValueError("it is too large")
        with np.load(path, allow_pickle=False) as file:
            return _parsed({name: file[name] for name in file.files})
    except FileNotFoundError:
        raise SourceError(
            f"Set {path} does not exist. `edgepose teach collect` makes sets."
        ) from None
    except Exception as e:  # zipfile and numpy raise whatever a damaged file brings them to
        reason = f"{e} is missing" if isinstance(e, KeyError) else getattr(e, "strerror", None) or e
        raise SourceError(f"Set {path} cannot be used: {reason}.") from None


def _parsed(arrays: dict[str, AnyArray]) -> ExampleSet:
    meta: Any = parse_json(arrays["meta"].astype(np.uint8).tobytes())
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ValueError("it is no set of examples")
    if meta.get("version") != VERSION:
        raise ValueError(
            f"it has version {meta.get('version')}, this edgepose knows {VERSION}; update edgepose"
        )
    origins = tuple(
        Origin(str(o["name"]), str(o["digest"]), bool(o["still"])) for o in meta["sources"]
    )
    found = ExampleSet(
        tuple(map(str, meta["keypoints"])),
        tuple(map(str, meta["labels"])),
        origins,
        arrays["points"].astype(np.float32),
        arrays["time"].astype(np.float64),
        *(arrays[name].astype(np.int64) for name in ("track", "label", "origin")),
    )
    count = len(found)
    if found.points.shape != (count, len(found.keypoints), 3) and count:
        raise ValueError("its poses have not the keypoints that it names")
    if any(
        len(a) != count or a.ndim != 1 for a in (found.time, found.track, found.label, found.origin)
    ):
        raise ValueError("its columns differ in length")
    seen = found.points[:, :, 2] > 0
    if np.isnan(found.points[:, :, 2]).any() or not np.isfinite(found.points[seen]).all():
        raise ValueError("it holds keypoints that are no numbers")
    for numbers, names in ((found.label, found.labels), (found.origin, found.origins)):
        if count and not (numbers.min() >= 0 and numbers.max() < len(names)):
            raise ValueError("it numbers a label or source that it does not name")
    if not np.isfinite(found.time).all():
        raise ValueError("it holds times that are no numbers")
    return found
