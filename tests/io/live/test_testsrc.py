"""The test source: deterministic, paced, and with a clock that survives a codec."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.errors import SourceError, UnknownNameError, UsageError
from edgepose.io import uri
from edgepose.io.base import SourceOptions
from edgepose.io.sources import open_source, testsrc
from edgepose.io.sources.testsrc import (
    Painter,
    TestPattern,
    latency,
    read_clock,
    write_clock,
)


def pattern_of(text: str, options: SourceOptions) -> TestPattern:
    return testsrc.parse(uri.parse(text), options)


def test_the_words_of_the_uri() -> None:
    pattern = pattern_of("test://people?rate=25&size=320x240&frames=7&people=2&clock=wall", NONE)
    assert pattern == TestPattern(25.0, 320, 240, 7, 2, "wall")
    assert pattern_of(
        "test://", SourceOptions(width=160, height=120, rate=5, frames=3)
    ) == TestPattern(5.0, 160, 120, 3)


@pytest.mark.parametrize(
    "uri", ["test://people?size=8", "test://people?rate=-1", "test://people?clock=sun"]
)
def test_a_value_that_cannot_be_meant(uri: str) -> None:
    with pytest.raises(UsageError, match="cannot be meant"):
        pattern_of(uri, NONE)


@pytest.mark.parametrize(
    ("asked", "size"), [({"width": 320}, (320, 240)), ({"height": 96}, (128, 96)), ({}, (640, 480))]
)
def test_one_side_alone_keeps_the_aspect(asked: dict[str, int], size: tuple[int, int]) -> None:
    pattern = pattern_of("test://people", SourceOptions(**asked))
    assert (pattern.width, pattern.height) == size


def test_unknown_words_and_scenes() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'people'"):
        pattern_of("test://peple", NONE)
    with pytest.raises(UnknownNameError, match="Did you mean 'rate'"):
        pattern_of("test://people?rat=3", NONE)


def test_the_same_frames_every_time() -> None:
    uri = "test://people?rate=0&size=160x120&frames=4"
    first, second = (list(open_source(uri, NONE)) for _ in range(2))
    assert [f.index for f in first] == [0, 1, 2, 3]
    assert [f.pts for f in first] == pytest.approx([i / 30 for i in range(4)])
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)
    assert not np.array_equal(first[0].pixels, first[3].pixels)


def test_a_paced_source_is_live_and_shows_what_the_unpaced_one_does() -> None:
    unpaced = {f.index: f.pixels for f in open_source("test://?rate=0&size=160x120&frames=9", NONE)}
    with open_source("test://people?rate=300&size=160x120&frames=9", NONE) as source:
        assert source.live
        assert (source.rate, source.length) == (300.0, 9)
        last = list(source)[-1]
    assert last.index == 8
    # figures move by seconds, so compare a picture of the same second: frame 0 is at 0 in both
    assert read_clock(last.pixels) == pytest.approx(8 / 300, abs=0.001)
    assert unpaced[0].shape == last.pixels.shape


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(64, 48), (321, 240), (640, 480), (1280, 720)]))
def test_the_clock_reads_back(milliseconds: int, size: tuple[int, int]) -> None:
    canvas = np.full((size[1], size[0], 3), 128, np.uint8)
    write_clock(canvas, milliseconds / 1000)
    assert read_clock(canvas) == pytest.approx(milliseconds / 1000, abs=1e-6)


def test_the_clock_survives_h264() -> None:
    av = pytest.importorskip("av")
    painter = Painter(TestPattern(width=320, height=240))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=30, options={"crf": "30"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(12):
            pixels = painter.paint(i, 1000 + i / 30)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        out.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as back:
        clocks = [read_clock(f.to_ndarray(format="rgb24")) for f in back.decode(video=0)]
    assert clocks == pytest.approx([1000 + i / 30 for i in range(12)], abs=0.001)


def test_a_picture_without_a_clock_has_none() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    black = np.zeros((120, 160, 3), np.uint8)
    assert read_clock(noise) is None
    assert read_clock(black) is None
    assert read_clock(black + 255) is None
    assert latency(black) is None


def test_latency_across_the_wrap_of_the_clock() -> None:
    canvas = np.zeros((120, 160, 3), np.uint8)
    write_clock(canvas, 2**32 / 1000 - 0.010)
    assert latency(canvas, now=2**32 / 1000 + 0.015) == pytest.approx(0.025, abs=1e-3)


def test_a_picture_of_ones_own(tmp_path: object) -> None:
    import cv2

    path = f"{tmp_path}/red.png"
    cv2.imwrite(path, np.full((40, 30, 3), (0, 0, 255), np.uint8))
    frames = list(open_source(f"test://people?rate=0&frames=2&size=160x120&image={path}", NONE))
    red = (frames[0].pixels == (255, 0, 0)).all(axis=-1)
    assert 0.1 < red.mean() < 0.9
    with pytest.raises(SourceError, match="cannot be read"):
        open_source("test://people?image=/nowhere.png", NONE)


NONE = SourceOptions()
