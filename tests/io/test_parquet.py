"""Parquet rows: the same poses as the JSON lines, read by what people read Parquet with."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.errors import OutputError, SourceError, UsageError
from edgepose.io.base import SinkOptions
from edgepose.io.sinks import open_sink
from edgepose.io.sinks.parquet import KEY, Grain, ParquetWriter, read_metadata, read_results
from edgepose.io.sinks.rows import result_row
from edgepose.networks.topology import Topology
from edgepose.types import Gesture, Link, Pose, Result

pytest.importorskip("pyarrow", reason="the batch extra is not installed")

TOPOLOGY = Topology("person", ("nose", "neck", "left_eye"), ((0, 1), (1, 2)))
coordinates = st.floats(-50, 20_000, width=32)
scores = st.floats(0, 1, width=32)


@st.composite
def poses(draw: st.DrawFn, number: int) -> Pose:
    points = np.array(
        [(draw(coordinates), draw(coordinates), draw(scores)) for _ in range(3)], np.float32
    )
    points[points[:, 2] == 0, :2] = np.nan
    links = tuple(Link(a, b, draw(st.floats(0, 1))) for a, b in TOPOLOGY.links)
    box = tuple(draw(st.floats(-50, 20_000)) for _ in range(4))
    track = draw(st.none() | st.integers(1, 1 << 30))
    told = {
        "handedness": draw(st.sampled_from(["", "left", "right"])),
        "gestures": tuple(
            Gesture(name, draw(st.floats(0, 1)), draw(st.floats(0, 1e6)))
            for name in draw(st.lists(st.sampled_from(["wave", "fallen"]), unique=True))
        ),
    }
    return Pose(
        number, points, TOPOLOGY.keypoints, links, draw(st.floats(0, 1)), box, track, **told
    )  # type: ignore[arg-type]


@st.composite
def results(draw: st.DrawFn) -> list[Result]:
    return [
        Result(
            frame,
            640,
            480,
            tuple(draw(poses(i)) for i in range(draw(st.integers(0, 3)))),
            pts=draw(st.none() | st.floats(0, 1e6)),
            source=draw(st.sampled_from(["a.mp4", "folder/é.jpg"])),
            network="net",
            engine="eng",
        )
        for frame in range(draw(st.integers(0, 5)))
    ]


def rows(found: list[Result]) -> list[dict[str, Any]]:
    return [result_row(r) | {"inference_ms": 0} for r in found]


@given(given_=results())
def test_what_is_read_is_what_the_json_lines_say(
    given_: list[Result], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("p") / "a.parquet"
    with open_sink("parquet", str(path), SinkOptions(topology=TOPOLOGY)) as sink:
        for result in given_:
            sink.write(result)
    assert rows(list(read_results(path))) == rows(given_)


@given(given_=results())
def test_exact_rows_keep_every_bit(
    given_: list[Result], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("p") / "a.parquet"
    with ParquetWriter(path, Grain.EXACT) as writer:
        writer.metadata |= {"keypoints": TOPOLOGY.keypoints}
        for result in given_:
            writer.write(result)
    for ours, theirs in zip(read_results(path), given_, strict=True):
        assert (ours.frame, ours.pts, ours.source) == (theirs.frame, theirs.pts, theirs.source)
        for a, b in zip(ours.poses, theirs.poses, strict=True):
            assert (a.id, a.track, a.score, a.box, a.links, a.handedness) == (
                b.id,
                b.track,
                b.score,
                b.box,
                b.links,
                b.handedness,
            )
            assert a.points.dtype == b.points.dtype
            np.testing.assert_array_equal(a.points, b.points)


@given(given_=results())
def test_small_rows_are_near_and_take_nobody_away(
    given_: list[Result], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("p") / "a.parquet"
    with ParquetWriter(path, Grain.SMALL) as writer:
        writer.metadata |= {"keypoints": TOPOLOGY.keypoints}
        for result in given_:
            writer.write(result)
    for ours, theirs in zip(read_results(path), given_, strict=True):
        for a, b in zip(ours.poses, theirs.poses, strict=True):
            there = np.isfinite(b.points).all(1) & (b.points[:, 2] > 0)
            assert ((a.points[:, 2] > 0) == there).all()
            near = np.abs(a.points - b.points)[there]
            assert (near[:, :2] <= 1 / 32 + 1e-6 * np.abs(b.points[there, :2])).all()
            assert (near[:, 2] <= 1 / 256).all()
            assert (a.id, a.track, a.links, a.handedness) == (b.id, b.track, (), b.handedness)


def one_result(frame: int = 0) -> Result:
    points = np.array([[1, 2, 0.5], [np.nan, np.nan, 0], [5, 6, 0.25]], np.float32)
    pose = Pose(0, points, TOPOLOGY.keypoints, (), 0.5, (1, 2, 5, 6))
    return Result(frame, 64, 48, (pose,), pts=0.04 * frame, source="a.mp4", network="net")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.parquet"
    with open_sink("parquet", str(path), SinkOptions(topology=TOPOLOGY)) as sink:
        for frame in range(3):
            sink.write(one_result(frame))
        sink.write(Result(3, 64, 48, pts=0.12, source="a.mp4"))
    return path


def test_names_and_topology_are_in_the_metadata(file: Path) -> None:
    metadata = read_metadata(file)
    assert metadata["keypoints"] == list(TOPOLOGY.keypoints)
    assert metadata["links"] == [[0, 1], [1, 2]]
    assert (metadata["schema"], metadata["network"]) == (1, "net")


def test_a_keypoint_that_is_not_there_is_null(file: Path) -> None:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(file)
    assert table.column("keypoints")[0].as_py() == [1, 2, 0.5, None, None, 0, 5, 6, 0.25]
    assert table.column("pose").to_pylist() == [0, 0, 0, None]
    metadata = pyarrow.parquet.read_metadata(file).metadata
    assert json.loads(metadata[b"edgepose"])["schema"] == 1


@pytest.mark.parametrize("library", ["pandas", "duckdb", "polars"])
def test_read_by(library: str, file: Path) -> None:
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    if library == "duckdb":
        found = module.sql(f"select count(*), count(pose) from '{file}'").fetchall()
        assert found == [(4, 3)]
        return
    table = module.read_parquet(file)
    assert list(table["frame"]) == [0, 1, 2, 3]


def test_no_file_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    writer = ParquetWriter(path)
    writer.write(one_result())
    assert not path.exists()
    writer.abandon()
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_refused_targets(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a file"):
        open_sink("parquet", "-")
    path = tmp_path / "in.parquet"
    path.write_bytes(b"x")
    with pytest.raises(UsageError, match="input itself"):
        open_sink("parquet", str(path), SinkOptions(inputs=(str(path),)))
    with pytest.raises(OutputError, match="cannot be made"):
        open_sink("parquet", str(tmp_path / "no" / "no" / "a.parquet"))
    with pytest.raises(SourceError, match="not a whole Parquet"):
        next(read_results(path))


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_bit_that_has_turned_in_the_rows_is_found(
    place: float, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import pyarrow.parquet

    path = tmp_path_factory.mktemp("p") / "a.parquet"
    with open_sink("parquet", str(path), SinkOptions(topology=TOPOLOGY)) as sink:
        for frame in range(50):
            sink.write(one_result(frame))
    group = pyarrow.parquet.read_metadata(path).row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    first = min(c.dictionary_page_offset or c.data_page_offset for c in columns)
    data = bytearray(path.read_bytes())
    data[first + int(place * sum(c.total_compressed_size for c in columns))] ^= 1 << bit
    path.write_bytes(data)
    before = rows([one_result(frame) for frame in range(50)])
    # the head of a page has no checksum: what is read in spite of a turned bit in it is right
    with contextlib.suppress(SourceError):
        assert rows(list(read_results(path))) == before


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_parquet import one_result
from edgepose.io.sinks import open_sink
from edgepose.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sink = open_sink("parquet", "a.parquet")
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    for i in range(40000):
        sink.write(one_result(i * 7919 % 100003))
    sink.close()
except OutputError as e:
    print(e)
sink.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "a.parquet cannot be written: File too large." in done.stdout
    assert os.listdir(tmp_path) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 2000


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema": 1}',
        b'{"schema": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_table_of_somebody_else(told: bytes, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"frame": [1]}).replace_schema_metadata({KEY: told}), path)
    with pytest.raises(SourceError, match="does not hold poses of edgepose"):
        list(read_results(path))
