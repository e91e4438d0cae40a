"""Frames as decoders give them: their planes, and the RGB that is made of them for who asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from edgepose.cuda.pictures import Planes, TensorLayout
from edgepose.cuda.twins import preprocess
from edgepose.errors import SourceError
from edgepose.geometry import stretch
from edgepose.io.base import SourceOptions
from edgepose.io.ffmpeg import Converter
from edgepose.io.planes import PlanarPixels, planes_of
from edgepose.io.sources.video import VideoSource
from edgepose.types import Frame

BARS = np.array(
    [
        [255, 255, 255],
        [200, 200, 0],
        [0, 200, 200],
        [0, 200, 0],
        [200, 0, 200],
        [200, 0, 0],
        [0, 0, 200],
    ],
    np.uint8,
)
SIZE = (112, 48)


def bars(kind: str, matrix: Any, full: bool) -> Any:
    """Colour bars as a decoder gives them: a frame of a format, matrix and range."""
    rgb = np.broadcast_to(np.repeat(BARS, 16, axis=0), (48, 112, 3))
    reach = ColorRange.JPEG if full else ColorRange.MPEG
    frame = VideoReformatter().reformat(
        av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24"),
        format=kind,
        dst_colorspace=matrix,
        dst_color_range=reach,
    )
    frame.colorspace, frame.color_range = int(matrix), int(reach)
    return frame


def as_kernels_see(planes: Planes) -> np.ndarray:
    """RGB of planes, by the twin of the kernel."""
    layout = TensorLayout(*SIZE, gain=(1, 1, 1), nhwc=True)
    return np.asarray(preprocess([planes], [stretch(SIZE, SIZE)], layout)[0])


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [Colorspace.ITU709, Colorspace.ITU601])
@pytest.mark.parametrize("kind", ["yuv420p", "nv12"])
def test_colours_of_planes_are_those_of_ffmpeg(kind: str, matrix: Any, full: bool) -> None:
    frame = bars(kind, matrix, full)
    planar = Converter("").planar(frame)
    assert isinstance(planar, PlanarPixels)
    assert planar.planes.full_range is full
    assert planar.planes.matrix == {1: "bt709"}.get(int(matrix), "bt601")
    middles = np.s_[24, 8::16]  # away from the edges of bars, where chroma is shared
    seen = as_kernels_see(planar.planes)[middles]
    assert np.abs(seen - BARS).max() <= 3
    assert np.abs(seen - planar.rgb()[middles].astype(int)).max() <= 3


@pytest.mark.parametrize(
    ("kind", "matrix"),
    [
        ("yuv420p10le", 1),  # 10 bits
        ("yuv422p", 1),
        ("yuv444p", 1),
        ("gray", 2),
        ("rgb24", 0),
        ("yuv420p", 9),  # BT.2020
        ("yuv420p", 4),  # FCC
        ("yuv420p", 7),  # SMPTE 240
    ],
)
def test_what_kernels_do_not_know_is_rgb(kind: str, matrix: int) -> None:
    frame = av.VideoFrame(*SIZE, kind)
    frame.colorspace = matrix
    assert planes_of(frame) is None
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    if matrix != 0:
        assert isinstance(Converter("").planar(frame), np.ndarray)


@pytest.mark.parametrize("kind", ["yuv420p", "nv12"])
def test_borrowed_planes_are_copied(kind: str) -> None:
    frame = bars(kind, Colorspace.ITU709, True)
    planar = Converter("", borrowed=True).planar(frame)
    assert isinstance(planar, PlanarPixels)
    before = Converter("")(frame)
    for plane in frame.planes:  # the driver writes the next picture
        plane.update(bytes(plane.buffer_size))
    np.testing.assert_array_equal(planar.rgb(), before)
    assert np.abs(as_kernels_see(planar.planes)[24, 8::16] - BARS).max() <= 3


def test_odd_sizes_and_padded_rows() -> None:
    frame = av.VideoFrame(101, 35, "nv12")
    for plane in frame.planes:
        plane.update(
            bytes(range(256)) * (plane.buffer_size // 256) + bytes(plane.buffer_size % 256)
        )
    planes = planes_of(frame)
    assert planes is not None
    assert [p.shape for p in planes.planes] == [(35, 101), (18, 51, 2)]
    assert planes.pitches[0] == frame.planes[0].line_size


def test_a_frame_gives_rgb_of_planes_once() -> None:
    asked: list[int] = []

    def convert() -> np.ndarray:
        asked.append(1)
        return np.full((4, 6, 3), 7, np.uint8)

    planes = Planes.nv12(np.zeros((4, 6), np.uint8), np.zeros((2, 3, 2), np.uint8))
    frame = Frame(PlanarPixels(planes, convert), index=3)
    assert (frame.width, frame.height, frame.on_device, asked) == (6, 4, False, [])
    assert frame.pixels is frame.pixels
    assert frame.pixels.shape == (4, 6, 3)
    assert asked == [1]
    assert replace(frame, index=4).pixels is frame.pixels
    with pytest.raises(TypeError):
        Frame()  # the pixels have no default


def film(path: Path, matrix: int = 2) -> str:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4" if matrix == 2 else "libx264", 10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.colorspace = matrix
        for level in (60, 120, 180):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return str(path)


def test_a_film_gives_planes_unless_its_pictures_are_changed(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4")
    with VideoSource(path, SourceOptions()) as source:
        plain = list(source)
    assert all(isinstance(f.as_given, PlanarPixels) for f in plain)
    levels = [float(f.pixels.mean()) for f in plain]
    assert np.abs(np.subtract(levels, (60, 120, 180))).max() < 6
    for options in (SourceOptions(flip="horizontal"), SourceOptions(width=32)):
        with VideoSource(path, options) as source:
            changed = list(source)
        assert all(isinstance(f.as_given, np.ndarray) for f in changed)
    flipped = list(VideoSource(path, SourceOptions(flip="horizontal")))
    assert (flipped[1].pixels == plain[1].pixels[:, ::-1]).all()


def test_a_matrix_that_says_nothing_is_as_good_as_none(tmp_path: Path) -> None:
    with VideoSource(film(tmp_path / "film.mp4", 3), SourceOptions()) as source:
        levels = [float(f.pixels.mean()) for f in source]
    assert np.abs(np.subtract(levels, (60, 120, 180))).max() < 6


def test_a_film_whose_colours_nobody_can_read_is_not_called_damaged(tmp_path: Path) -> None:
    told: list[Exception] = []
    options = SourceOptions(on_error=lambda _, e: told.append(e))
    with VideoSource(film(tmp_path / "film.mp4", 8), options) as source:  # YCgCo
        with pytest.raises(
            SourceError, match=r"no frame that can be read\. Its colours \(matrix 8\)"
        ):
            list(source)
    assert told == []


def test_of_each_shape_the_first_frame_shows_whether_rgb_can_be_made() -> None:
    """Where a frame is read its damage is counted; behind that it would end the run."""
    convert, made = Converter(""), []
    for size in (SIZE, SIZE, (64, 48), (64, 48), SIZE):
        frame = av.VideoFrame(*size, "yuv420p")
        frame.colorspace = 1
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        planar = convert.planar(frame)
        assert isinstance(planar, PlanarPixels)
        made.append(planar._rgb is not None)
    assert made == [True, False, True, False, True]
