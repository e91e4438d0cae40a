"""What `PoseNet` answers: the poses of one picture, as a list that turns into arrays, tables and pictures."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgepose.draw.overlay import Overlay, parse_overlay
from edgepose.errors import BackendUnavailable, UsageError
from edgepose.io.base import SinkOptions
from edgepose.io.jetson_utils import to_host
from edgepose.io.outputs.images import encode_image, write_whole
from edgepose.io.sinks import open_sink
from edgepose.io.sinks.csv_rows import HEADER, keypoint_rows
from edgepose.io.sinks.rows import result_row, to_json
from edgepose.networks.topology import Topology
from edgepose.types import AnyArray, Float32Array, Frame, Int32Array, Pixels, Pose, Result

DEFAULT_OVERLAY = "links,keypoints"
SHOWN = 1024  # pixels of the longer side of a picture in a notebook
DATA = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}
NO_TRACK = -1


@dataclass(frozen=True)
class Style:
    """How the poses of a network are drawn: its topology, sizes and opacity."""

    topology: Topology
    alpha: int = 255
    keypoint_scale: float = 0.0052
    link_scale: float = 0.0013

    def overlay(self, words: str, poses: Sequence[Pose]) -> Overlay | None:
        """What draws these words of these poses; None where there is nothing to draw.

        Raises:
            UnknownNameError: a word is none of them.
        """
        what = parse_overlay(words)
        if not what:
            return None
        return Overlay(
            self.topology,
            what,
            keypoint_scale=self.keypoint_scale,
            link_scale=self.link_scale,
            alpha=self.alpha,
            tracked=any(pose.track is not None for pose in poses),
        )


class Poses(list[Pose]):
    """The poses of one picture: a list of `Pose` with its numbers as arrays, tables and a picture.

    Only `PoseNet` makes them. A part of them (a slice, a comprehension) is a plain list.

    Attributes:
        frame: the picture in which they were found, with its number, time and source.
        result: the same as the data outputs write it (network, engine, milliseconds by stage, ...).

    >>> from edgepose import PoseNet
    >>> with PoseNet("fast") as net:
    ...     poses = net.process("examples/images/astronaut.jpg")
    >>> len(poses), poses.points.shape, poses.boxes.shape, poses.scores.dtype.name
    (1, (1, 17, 3), (1, 4), 'float32')
    >>> poses.to_dict()["poses"][0]["keypoints"]["nose"]["score"] > 0.3
    True
    >>> poses.draw().shape
    (512, 512, 3)
    """

    def __init__(self, frame: Frame, result: Result, style: Style) -> None:
        super().__init__(result.poses)
        self.frame = frame
        self.result = result
        self._style = style

    def __repr__(self) -> str:
        return f"<{len(self)} poses of {self.result.network} in {self._size()}: {list(self)!r}>"

    def _size(self) -> str:
        return f"{self.result.width}x{self.result.height}"

    # arrays --------------------------------------------------------------------------------------
    @property
    def names(self) -> tuple[str, ...]:
        """The K keypoint names, in the order of `points`."""
        return tuple(self._style.topology.keypoints)

    @property
    def points(self) -> Float32Array:
        """(N, K, 3): x, y in pixels and score 0..1; x and y are NaN and the score 0 where not detected."""
        empty = np.empty((0, len(self.names), 3), np.float32)
        return np.stack([p.points for p in self]) if self else empty

    @property
    def boxes(self) -> Float32Array:
        """(N, 4): left, top, right, bottom in pixels."""
        return np.array([p.box for p in self], np.float32).reshape(-1, 4)

    @property
    def scores(self) -> Float32Array:
        """(N,): the scores of the poses, 0..1."""
        return np.array([p.score for p in self], np.float32)

    @property
    def tracks(self) -> Int32Array:
        """(N,) int32: the track ids, -1 where nobody is tracked."""
        return np.array([NO_TRACK if p.track is None else p.track for p in self], np.int32)

    # data ----------------------------------------------------------------------------------------
    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `posenet --json` writes it (docs/json.md)."""
        return result_row(replace(self.result, poses=tuple(self)))

    def to_json(self) -> str:
        """`to_dict` on one line, as `posenet --json` writes it."""
        return to_json(self.to_dict())

    def to_pandas(self) -> Any:
        """A pandas.DataFrame with a row for each detected keypoint, with the columns of `--csv`.

        Raises:
            BackendUnavailable: pandas is not installed.
        """
        rows = keypoint_rows(replace(self.result, poses=tuple(self)))
        return _package("pandas").DataFrame(rows, columns=list(HEADER))

    def to_supervision(self) -> Any:
        """A supervision.KeyPoints: missing keypoints lie at 0, 0 and are not `visible`.

        Its `data` has the boxes as "xyxy" and the tracks as "tracker_id" where people are tracked.

        Raises:
            BackendUnavailable: supervision is not installed.
        """
        points = np.nan_to_num(self.points, nan=0.0)
        data: dict[str, AnyArray] = {"xyxy": self.boxes}
        if any(p.track is not None for p in self):
            data["tracker_id"] = self.tracks
        return _package("supervision").KeyPoints(
            xy=points[:, :, :2],
            keypoint_confidence=points[:, :, 2],
            detection_confidence=self.scores,
            visible=points[:, :, 2] > 0,
            class_id=np.zeros(len(self), int),
            data=data,
        )

    # pictures ------------------------------------------------------------------------------------
    def draw(self, image: Any = None, overlay: str = DEFAULT_OVERLAY) -> Pixels:
        """A copy of the picture, uint8 RGB (height, width, 3), with the poses drawn.

        Args:
            image: another uint8 RGB picture of the same size to draw on; None = the one they were found in.
            overlay: words of what to draw, as `--overlay`.

        Raises:
            UsageError: the picture is no uint8 RGB, or of another size. UnknownNameError: an unknown word.
        """
        pixels = np.array(to_host(self.frame.pixels if image is None else image), order="C")
        wanted = (self.result.height, self.result.width, 3)
        if pixels.dtype != np.uint8 or pixels.shape != wanted:
            raise UsageError(
                f"These poses are drawn on uint8 RGB {wanted}; this is {pixels.dtype} {pixels.shape}."
            )
        drawer = self._style.overlay(overlay, self)
        if drawer is not None:
            drawer.draw(pixels, self, None)
        return pixels

    def save(self, path: str | Path, overlay: str = DEFAULT_OVERLAY) -> None:
        """Write them to a file: a picture with the poses drawn (.jpg, .png, ...), or .json, .csv, .parquet.

        Raises:
            OutputError: it cannot be written, or no picture has that suffix.
        """
        kind = DATA.get(Path(path).suffix.lower())
        if kind is None:
            write_whole(str(path), encode_image(self.draw(overlay=overlay), str(path)))
            return
        with open_sink(kind, str(path), SinkOptions(topology=self._style.topology)) as sink:
            sink.write(replace(self.result, poses=tuple(self)))

    def _repr_png_(self) -> bytes:
        """The picture that a notebook shows."""
        drawn = self.draw()
        scale = SHOWN / max(drawn.shape[:2])
        if scale < 1:
            drawn = cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return encode_image(drawn, "poses.png")


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise BackendUnavailable(f"{name} does not load ({e}); pip install {name}") from None
