"""Segments of films: cut anywhere, they give the frames of one reading."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import pytest
from films import KINDS, damage, write_kind
from hypothesis import given, settings
from hypothesis import strategies as st
from media import write_film

from edgepose.errors import SourceError
from edgepose.io.base import SourceOptions
from edgepose.io.sources.segments import NotAsPlanned, Segment, cut, entry
from edgepose.io.sources.video import VideoSource, plan_film
from edgepose.types import Frame

Told = tuple[int, float | None, str]


def told(frame: Frame) -> Told:
    return frame.index, frame.pts, hashlib.sha256(frame.pixels.tobytes()).hexdigest()


def read(path: Path, segment: Segment | None = None, **options: object) -> list[Told]:
    with VideoSource(str(path), SourceOptions(**options), segment) as source:  # type: ignore[arg-type]
        return [told(frame) for frame in source]


@lru_cache
def whole(path: Path) -> list[Told]:
    return read(path)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    return {kind: write_kind(folder, kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_film_is_cut_where_its_key_frames_are(films: dict[str, Path], kind: str) -> None:
    plan = plan_film(str(films[kind]))
    assert (plan.whole, len(plan.times)) == ("", 75)
    assert len(plan.keys) >= 6
    segments = cut(plan, 0.4)
    assert len(segments) >= 5
    # every frame once, in order
    assert [s.first for s in segments] == [
        sum(s.count or 0 for s in segments[:i]) for i in range(len(segments))
    ]
    assert sum(s.count or 0 for s in segments) == 75


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6)
@given(seconds=st.floats(0.01, 3.5))
def test_the_frames_of_segments_are_those_of_one_reading(
    films: dict[str, Path], kind: str, seconds: float
) -> None:
    path = films[kind]
    segments = cut(plan_film(str(path)), seconds)
    assert [f for s in segments for f in read(path, s)] == whole(path)


@settings(max_examples=8)
@given(rate=st.floats(1, 30), seconds=st.floats(0.01, 2))
def test_thinned_segments_give_the_frames_of_one_thinned_reading(
    films: dict[str, Path], rate: float, seconds: float
) -> None:
    path = films["closed"]
    segments = cut(plan_film(str(path)), seconds)
    assert [f for s in segments for f in read(path, s, rate=rate)] == read(path, rate=rate)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8)
@given(start=st.integers(0, 80), count=st.integers(0, 30))
def test_a_start_gives_the_frames_of_a_reading_from_the_beginning(
    films: dict[str, Path], kind: str, start: int, count: int
) -> None:
    expected = whole(films[kind])[start:][: count or None]
    assert read(films[kind], start=start, frames=count) == expected


@pytest.mark.parametrize("kind", KINDS)
@given(frame=st.integers(0, 80))
def test_a_part_of_the_packets_says_the_same_of_a_frame(
    films: dict[str, Path], kind: str, frame: int
) -> None:
    path = str(films[kind])
    assert entry(plan_film(path, frame), frame) == entry(plan_film(path), frame)


def test_a_start_is_decoded_from_the_key_frame_before_it(films: dict[str, Path]) -> None:
    source = VideoSource(str(films["mp4"]), SourceOptions(start=70))
    assert source._entry is not None
    times = plan_film(source.path).times
    assert times.index(source._entry.key) >= 70 - 12


def test_a_start_goes_with_loops_rates_and_flips(films: dict[str, Path]) -> None:
    path = films["closed"]
    once = whole(path)
    looped = read(path, start=50, loop=2)
    assert [pixels for _, _, pixels in looped] == [pixels for _, _, pixels in once[50:]] * 2
    assert [index for index, _, _ in looped] == [*range(50, 75), *range(125, 150)]
    with VideoSource(str(path), SourceOptions(rate=5, start=31)) as source:
        assert [frame.index for frame in source] == [31, 35, 40, 45, 50, 55, 60, 65, 70]


@pytest.mark.parametrize(
    ("name", "codec", "reason"),
    [
        ("a.avi", "libx264", "format"),
        ("a.h264", "libx264", "format"),
        ("a.webm", "libvpx", "codec"),
        ("a.flv", "libx264", "format"),
    ],
)
def test_what_is_not_sure_is_read_from_its_beginning(
    tmp_path: Path, name: str, codec: str, reason: str
) -> None:
    path = write_film(tmp_path / name, 24, codec=codec, gop=5)
    plan = plan_film(str(path))
    assert reason in plan.whole
    assert cut(plan, 0.1) == []
    assert read(path, start=13) == whole(path)[13:]


def test_a_cut_film_is_read_in_one_piece(films: dict[str, Path], tmp_path: Path) -> None:
    data = films["open"].read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(data[: len(data) // 2])
    assert "ends after" in plan_film(str(path)).whole


def test_parts_put_one_behind_the_other_are_not_cut(tmp_path: Path) -> None:
    parts = [write_film(tmp_path / f"{n}.ts", 20, gop=5).read_bytes() for n in "ab"]
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    plan = plan_film(str(tmp_path / "both.ts"))
    assert plan.whole
    assert read(tmp_path / "both.ts", start=27) == whole(tmp_path / "both.ts")[27:]
    # the first part alone looks sound, and the way into it must not lead into the second
    assert read(tmp_path / "both.ts", start=7) == whole(tmp_path / "both.ts")[7:]


@pytest.mark.parametrize("seed", range(16))
def test_a_damaged_film_is_read_in_one_piece_or_gives_the_same(
    films: dict[str, Path], seed: int
) -> None:
    kinds = ("mp4", "closed", "open", "ts")
    path = damage(films[kinds[seed % 4]], seed)
    options = SourceOptions(on_error=lambda path, error: None)
    try:
        with VideoSource(str(path), options) as source:
            expected = [told(frame) for frame in source]
        segments = cut(plan_film(str(path)), 0.4)
        found = [f for s in segments for f in read(path, s)]
    except (NotAsPlanned, SourceError):
        return  # noticed: the whole film is read
    assert not segments or found == expected


def test_a_segment_of_another_film_is_noticed(films: dict[str, Path]) -> None:
    segment = cut(plan_film(str(films["mp4"])), 0.4)[2]
    with pytest.raises(NotAsPlanned):
        read(films["closed"], segment)
