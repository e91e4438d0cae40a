"""Parquet: one row a pose, and one without a pose for a frame where nobody is (pyarrow, extra `batch`).

| column | type | meaning |
|---|---|---|
| source | string | path of the film or picture |
| frame, pts | int64, double | number and time in seconds, as in the JSON lines |
| width, height | int32 | of the frame |
| pose | int16 | number within the frame; null = nobody in this frame |
| track | int32 | null without tracking |
| score, left, top, right, bottom | float | of the pose |
| keypoints | list of float | x, y, score of every keypoint of the topology; x and y null = not detected |
| links | list of float | number a, number b, score of every matched link |
| handedness | string | left or right, of hands where the network tells; else null |
| gestures | list of {name, score, seconds} | with --gestures; else empty |

The file's metadata hold, under the key "edgepose", a JSON object: schema, edgepose, network, engine,
keypoints (names) and links (pairs of numbers) of the topology; of `Grain.SMALL` also pixel_steps and score_steps.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from enum import Enum
from typing import Any

import numpy as np

from edgepose.errors import BackendUnavailable, OutputError, SourceError, UsageError
from edgepose.files import refuse_input, replacing, valid
from edgepose.io.base import Closing, Sink, SinkOptions
from edgepose.io.sinks.rows import PIXEL_DIGITS, SCORE_DIGITS, gesture_rows, pixel, score, seconds
from edgepose.io.targets import check_folder
from edgepose.json_file import parse_json
from edgepose.networks.topology import Topology
from edgepose.types import Box, Float64Array, Gesture, Link, Pose, Result
from edgepose.version import __version__

SCHEMA = 1
KEY = "edgepose"
ROWS = 16384  # of one row group
LATER = ("handedness", "gestures")  # columns that the first files of this schema have not
BOX = ("left", "top", "right", "bottom")
Metadata = dict[str, Any]


class Grain(Enum):
    """How fine a file keeps what it has of a pose."""

    EXACT = "every bit, for files that are read again by edgepose"
    TEXT = "as the JSON lines: hundredths of a pixel"
    SMALL = "16ths of a pixel, scores of 1/256, no links: a third of the bytes"


PIXEL_STEPS, SCORE_STEPS = 16, 256  # of Grain.SMALL


def arrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet.

    Raises:
        BackendUnavailable: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise BackendUnavailable(
            "Parquet needs pyarrow. Install it: pip install edgepose[batch]"
        ) from None
    return pyarrow, pyarrow.parquet


def schema(grain: Grain = Grain.TEXT) -> Any:
    """The columns."""
    pa, _ = arrow()
    real = pa.float64() if grain is Grain.EXACT else pa.float32()
    gesture = [("name", pa.string()), ("score", pa.float32()), ("seconds", pa.float64())]
    return pa.schema(
        [
            ("source", pa.string()),
            ("frame", pa.int64()),
            ("pts", pa.float64()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("pose", pa.int16()),
            ("track", pa.int32()),
            ("score", real),
            *((edge, real) for edge in BOX),
            ("keypoints", pa.list_(pa.float32())),
            ("links", pa.list_(real)),
            ("handedness", pa.string()),
            ("gestures", pa.list_(pa.struct(gesture))),
        ]
    )


class ParquetWriter(Closing):
    """A Parquet file that is there, whole, once it is closed; before that there is none.

    Args:
        path: the file. grain: how fine it is.

    Attributes:
        metadata: goes into the file as it is when the file is closed.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], grain: Grain = Grain.TEXT) -> None:
        self.path = os.fspath(path)
        self.metadata: Metadata = {"schema": SCHEMA, "edgepose": __version__}
        if grain is Grain.SMALL:
            self.metadata |= {"pixel_steps": PIXEL_STEPS, "score_steps": SCORE_STEPS}
        self._grain = grain
        self._schema = schema(grain)
        self._columns: dict[str, list[Any]] = {name: [] for name in self._schema.names}
        self._stack = ExitStack()
        self._file: Any = None
        self._carefully(self._open)

    def _open(self) -> None:
        _, parquet = arrow()
        part = self._stack.enter_context(replacing(self.path))
        file = parquet.ParquetWriter(
            str(part),
            self._schema,
            compression="zstd",
            write_page_checksum=True,
            **(_small_options() if self._grain is Grain.SMALL else {}),
        )
        self._file = self._stack.enter_context(file)

    def write(self, result: Result) -> None:
        """Add the poses of one frame.

        Raises:
            OutputError: the disk is full.
        """
        frame = self._frame_row(result)
        for pose in result.poses or (None,):
            row = (*frame, *_pose_row(pose, self._grain))
            for column, value in zip(self._columns.values(), row, strict=True):
                column.append(value)
        if len(self._columns["frame"]) >= ROWS:
            self._carefully(self._flush)

    def _frame_row(self, result: Result) -> tuple[Any, ...]:
        source = valid(result.source)
        pts = result.pts if self._grain is Grain.EXACT else seconds(result.pts)
        return source, result.frame, pts, result.width, result.height

    def _flush(self) -> None:
        if self._columns["frame"]:
            self._file.write_table(arrow()[0].table(self._columns, schema=self._schema))
            self._columns = {name: [] for name in self._schema.names}

    def _carefully(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as e:
            self.abandon()
            reason = os.strerror(e.errno) if e.errno else e
            raise OutputError(f"{self.path} cannot be written: {reason}.") from None

    def close(self) -> None:
        """Put the file in its place; safe to call twice.

        Raises:
            OutputError: the disk is full.
        """
        if self._file is not None:
            self._carefully(self._finish)

    def _finish(self) -> None:
        self._flush()
        self._file.add_key_value_metadata({KEY: json.dumps(self.metadata)})
        self._file = None
        self._stack.close()

    def abandon(self) -> None:
        """Leave no file; `close` does nothing then."""
        self._file = None
        given_up = KeyboardInterrupt()
        with suppress(OSError, KeyboardInterrupt):
            self._stack.__exit__(KeyboardInterrupt, given_up, None)


def _small_options() -> dict[str, Any]:
    """The bytes of a float apart: those of rounded numbers that are mostly zero take no room."""
    floats = ("score", *BOX, "keypoints.list.element")
    return {
        "compression_level": 12,
        "use_dictionary": ["source", "handedness", "track", "width", "height", "pose"],
        "column_encoding": dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
    }


def _pose_row(pose: Pose | None, grain: Grain) -> tuple[Any, ...]:
    """What a pose has in the columns from `pose` on."""
    if pose is None:
        return (None,) * 11
    links, told = pose.links, (pose.handedness or None, gesture_rows(pose))
    if grain is Grain.EXACT:
        flat = [v for n in links for v in (n.a, n.b, n.score)]
        return pose.id, pose.track, pose.score, *pose.box, pose.points.ravel().tolist(), flat, *told
    there = (pose.points[:, 2] > 0) & np.isfinite(pose.points).all(1)
    # a float32 times ten thousand is exact in float64, so the digits are those of Python's round
    points = np.where(there[:, None], pose.points, 0).astype(np.float64)
    if grain is Grain.SMALL:
        points[:, :2] = np.rint(points[:, :2] * PIXEL_STEPS) / PIXEL_STEPS
        steps = np.maximum(np.rint(points[:, 2] * SCORE_STEPS), there)  # what is there stays there
        points[:, 2] = steps / SCORE_STEPS
        box = [round(pixel(v) * PIXEL_STEPS) / PIXEL_STEPS for v in pose.box]
        sure = round(score(pose.score) * SCORE_STEPS) / SCORE_STEPS
        return pose.id, pose.track, sure, *box, _flat(points, there), [], *told
    points[:, :2] = np.round(points[:, :2], PIXEL_DIGITS)
    points[:, 2] = np.round(points[:, 2], SCORE_DIGITS)
    flat = [v for n in links if there[n.a] and there[n.b] for v in (n.a, n.b, score(n.score))]
    values = (score(pose.score), *map(pixel, pose.box), _flat(points, there))
    return pose.id, pose.track, *values, flat, *told


def _flat(points: Float64Array, there: Any) -> list[float | None]:
    """x, y and score of all keypoints; None, None, 0 where one is not there."""
    flat: list[float | None] = (points + 0.0).ravel().tolist()
    for missing in np.flatnonzero(~there).tolist():
        flat[3 * missing] = flat[3 * missing + 1] = None
    return flat


def describe(metadata: Metadata, result: Result, topology: Topology | None) -> None:
    """Add what a result and its topology tell of the whole file."""
    metadata.setdefault("network", result.network)
    metadata.setdefault("engine", result.engine)
    if "keypoints" not in metadata and topology is not None:
        metadata |= {"keypoints": topology.keypoints, "links": topology.links}


class ParquetSink(Sink):
    """The poses of a run as one Parquet file, which is there when the run has ended.

    Args:
        target: the file.

    Raises:
        UsageError: stdout or an input is named. OutputError: it cannot be written.
    """

    def __init__(self, target: str, options: SinkOptions) -> None:
        if target == "-":
            raise UsageError("--parquet needs a file: Parquet cannot be read from a pipe.")
        path = os.path.expanduser(target)
        refuse_input(path, options.inputs)
        check_folder(os.path.dirname(path), create=True)
        self._writer = ParquetWriter(path)
        self._topology = options.topology

    def write(self, result: Result) -> None:
        """Add one result."""
        describe(self._writer.metadata, result, self._topology)
        self._writer.write(result)

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


# reading -----------------------------------------------------------------------------------------
def read_metadata(path: str | os.PathLike[str]) -> Metadata:
    """The metadata of a file.

    Raises:
        SourceError: not a Parquet file, or not of edgepose.
    """
    with _opened(path) as file:
        return _metadata(file, path)


def read_results(path: str | os.PathLike[str]) -> Iterator[Result]:
    """The results of a file in its order, a few thousand rows in memory at a time.

    Raises:
        SourceError: not a Parquet file, not of edgepose, or not as it was written: every page of a
            column has a checksum.
    """
    with _opened(path) as file:
        metadata = _metadata(file, path)
        rows: list[dict[str, Any]] = []
        for batch in _batches(file, path):
            for row in batch:
                if rows and (row["frame"], row["source"]) != (rows[0]["frame"], rows[0]["source"]):
                    yield _result(rows, metadata, path)
                    rows = []
                rows.append(row)
        if rows:
            yield _result(rows, metadata, path)


def _batches(file: Any, path: str | os.PathLike[str]) -> Iterator[list[dict[str, Any]]]:
    pa, _ = arrow()
    batches, count = file.iter_batches(4096), 0
    while True:
        try:
            rows = next(batches).to_pylist()
        except StopIteration:
            break
        except (OSError, pa.ArrowException) as e:
            raise SourceError(f"{os.fspath(path)} is damaged: {e}.") from None
        count += len(rows)
        yield rows
    if count != file.metadata.num_rows:  # the head of a page is damaged
        raise SourceError(
            f"{os.fspath(path)} is damaged: {count} of {file.metadata.num_rows} rows."
        )


def _opened(path: str | os.PathLike[str]) -> Any:
    pa, parquet = arrow()
    try:
        return parquet.ParquetFile(os.fspath(path), page_checksum_verification=True)
    except (OSError, pa.ArrowException) as e:
        raise SourceError(f"{os.fspath(path)} is not a whole Parquet file: {e}.") from None


def _metadata(file: Any, path: str | os.PathLike[str]) -> Metadata:
    try:
        found: Metadata = parse_json((file.metadata.metadata or {}).get(KEY.encode(), b"{}"))
    except ValueError:
        found = {}
    ours = isinstance(found, dict) and found.get("schema") == SCHEMA
    if not ours or not _has_our_columns(file.schema_arrow) or not _names_keypoints(found):
        raise SourceError(f"{os.fspath(path)} does not hold poses of edgepose, schema {SCHEMA}.")
    return found


def _has_our_columns(found: Any) -> bool:
    """All columns of ours, each of its type; lists are looked at when they are read."""
    pa, _ = arrow()
    types = dict(zip(found.names, found.types, strict=True))
    for rounded, exact in zip(schema(), schema(Grain.EXACT), strict=True):
        there = types.get(rounded.name)
        if there is None:
            if rounded.name not in LATER:
                return False
        elif not pa.types.is_nested(there) and there not in (rounded.type, exact.type):
            return False
    return True


def _names_keypoints(metadata: Metadata) -> bool:
    names = metadata.get("keypoints") or []  # null where a shard found nothing
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _result(
    rows: Sequence[dict[str, Any]], metadata: Metadata, path: str | os.PathLike[str]
) -> Result:
    first, names = rows[0], tuple(metadata.get("keypoints") or ())
    try:
        poses = tuple(_pose(row, names) for row in rows if row["pose"] is not None)
        if any(names and len(p.points) != len(names) for p in poses) or None in (
            first[name] for name in ("source", "frame", "width", "height")
        ):
            raise ValueError
    except (TypeError, ValueError):  # lists of wrong lengths or kinds: the head of a page
        raise SourceError(f"{os.fspath(path)} is damaged at frame {first['frame']}.") from None
    return Result(
        frame=first["frame"],
        width=first["width"],
        height=first["height"],
        poses=poses,
        pts=first["pts"],
        source=first["source"],
        name=os.path.splitext(os.path.basename(first["source"]))[0],
        network=metadata.get("network", ""),
        engine=metadata.get("engine", ""),
    )


def _pose(row: dict[str, Any], names: tuple[str, ...]) -> Pose:
    flat = row["links"]
    links = tuple(Link(int(a), int(b), s) for a, b, s in zip(*[iter(flat)] * 3, strict=True))
    points = np.array(row["keypoints"], np.float32).reshape(-1, 3)  # None becomes NaN
    # detected, with a score that was rounded to 0
    points[np.isfinite(points[:, 0]) & (points[:, 2] == 0), 2] = np.finfo(np.float32).tiny
    box: Box = (row["left"], row["top"], row["right"], row["bottom"])
    told: dict[str, Any] = {
        "handedness": row.get("handedness") or "",
        "gestures": tuple(Gesture(**gesture) for gesture in row.get("gestures") or ()),
    }
    return Pose(row["pose"], points, names, links, row["score"], box, row["track"], **told)
