"""Still pictures as inputs."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media import (
    ANIMATED_GIF,
    CMYK_JPEG,
    STILL_GIF,
    corners,
    png_of_size,
    tiff,
    with_orientation,
    write_image,
)

from edgepose.errors import SourceError, UsageError
from edgepose.io import memory
from edgepose.io.base import SourceOptions
from edgepose.io.memory import MAX_PIXELS, available_memory, pixel_limit
from edgepose.io.sources import header, open_source
from edgepose.io.sources.file import natural
from edgepose.io.sources.images import ImageSource, decode_image
from edgepose.io.sources.orientation import missed_flip
from edgepose.types import Frame


def frames_of(uri: object, **options: object) -> list[Frame]:
    with open_source(str(uri), SourceOptions(**options)) as source:  # type: ignore[arg-type]
        return list(source)


def pixels_of(path: Path) -> np.ndarray:
    (frame,) = frames_of(path)
    assert frame.pixels.dtype == np.uint8
    assert frame.pixels.flags.c_contiguous
    assert frame.pixels.flags.writeable  # overlays are drawn into it
    return np.asarray(frame.pixels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in (1, 2, 10):
        write_image(tmp_path / f"img{n}.png", np.full((4, 5, 3), n, np.uint8))
    write_image(tmp_path / ".hidden.png", corners())
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "sub").mkdir()
    write_image(tmp_path / "sub" / "img3.png", corners())
    return tmp_path


# formats ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("extension", ["png", "bmp", "tiff", "ppm", "gif", "webp", "jpg", "jp2"])
def test_formats(tmp_path: Path, extension: str) -> None:
    if not cv2.haveImageWriter(f"x.{extension}"):
        pytest.skip(f"this OpenCV writes no {extension}")
    got = pixels_of(write_image(tmp_path / f"a.{extension}", corners(96, 64)))
    np.testing.assert_allclose(got[8::16, 8::16], corners(96, 64)[8::16, 8::16], atol=12)


def test_grey_and_alpha_and_palette(tmp_path: Path) -> None:
    grey = np.tile(np.arange(20, dtype=np.uint8) * 10, (4, 1))
    np.testing.assert_array_equal(
        pixels_of(write_image(tmp_path / "grey.png", grey)), np.repeat(grey[..., None], 3, 2)
    )
    alpha = np.dstack([corners(), np.full((24, 32), 7, np.uint8)])
    np.testing.assert_array_equal(pixels_of(write_image(tmp_path / "a.png", alpha)), corners())


@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize("deep", [False, True])
def test_tiffs_with_alpha_keep_their_colours(tmp_path: Path, extra: int, deep: bool) -> None:
    """What is transparent is not black, whether or not colours are said to be multiplied by alpha."""
    values = np.dstack([corners(), np.zeros((24, 32), np.uint8)])
    data = tiff(values.astype("<u2") * 257 if deep else values, 2, 16 if deep else 8, extra=extra)
    (tmp_path / "a.tif").write_bytes(data)
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tif"), corners())


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_avif_with_alpha_keeps_its_colours(tmp_path: Path, alpha: int) -> None:
    """OpenCV gives red for blue where RGB is asked for at once."""
    if not cv2.haveImageWriter("x.avif"):
        pytest.skip("this OpenCV writes no AVIF")
    picture = np.dstack([corners(), np.full((24, 32), alpha, np.uint8)])
    got = pixels_of(write_image(tmp_path / "a.avif", picture))
    np.testing.assert_allclose(got[4::16, 4::16], corners()[4::16, 4::16], atol=12)


@pytest.mark.parametrize(("bits", "signed"), [(8, np.int8), (16, np.int16)])
@pytest.mark.parametrize("colours", [1, 3])
def test_signed_pictures_are_refused(tmp_path: Path, bits: int, signed: Any, colours: int) -> None:
    values = np.full((4, 6, colours), 100, signed)
    (tmp_path / "a.tif").write_bytes(tiff(values, 1 if colours == 1 else 2, bits, 2))
    with pytest.raises(SourceError, match="signed numbers"):
        pixels_of(tmp_path / "a.tif")


@pytest.mark.parametrize("order", ["bgr", "rgb", "xbgr"])
def test_bmps_say_where_their_colours_stand(tmp_path: Path, order: str) -> None:
    places = [order.index(c) for c in "rgb"]
    values = np.zeros((24, 32, 4), np.uint8)
    values[:, :, places] = corners()[::-1]
    masks = struct.pack("<III", *(0xFF << 8 * place for place in places))
    head = struct.pack("<IiiHHIIiiII", 40, 32, 24, 1, 32, 3, values.size, 0, 0, 0, 0) + masks
    begin = 14 + len(head)
    file = b"BM" + struct.pack("<IHHI", begin + values.size, 0, 0, begin) + head + values.tobytes()
    (tmp_path / "a.bmp").write_bytes(file)
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.bmp"), corners())


def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path) -> None:
    deep = corners().astype(np.uint16) * 257
    for name in ("a.png", "a.tiff"):
        np.testing.assert_array_equal(pixels_of(write_image(tmp_path / name, deep)), corners())


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_sixteen_bits_of_which_few_are_used_are_refused(tmp_path: Path, name: str) -> None:
    """As arrays of them: they would be black."""
    few = corners().astype(np.uint16) * 16
    with pytest.raises(SourceError, match="16 bits a value and none above 4080"):
        pixels_of(write_image(tmp_path / name, few))
    assert pixels_of(write_image(tmp_path / name, few * 0)).max() == 0
    assert pixels_of(write_image(tmp_path / name, corners() // 17)).max() == 15


def test_cmyk(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(CMYK_JPEG)
    got = pixels_of(tmp_path / "a.jpg")
    np.testing.assert_allclose(got[2, 2], (255, 0, 0), atol=12)
    np.testing.assert_allclose(got[-3, 2], (0, 0, 255), atol=12)
    ink = np.zeros((4, 6, 4), np.uint8)
    ink[..., 1:3] = 255  # magenta and yellow: red
    (tmp_path / "a.tif").write_bytes(tiff(ink, photometric=5, bits=8))
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tif")[1, 1], (255, 0, 0))


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_floating_point_tiff(tmp_path: Path, scale: float) -> None:
    values = np.tile(np.linspace(0, scale, 6, dtype=np.float32), (4, 1))
    values[3, 5] = np.nan
    (tmp_path / "a.tif").write_bytes(tiff(values, photometric=1, bits=32, sample_format=3))
    got = pixels_of(tmp_path / "a.tif")
    np.testing.assert_array_equal(got[0, :, 0], [0, 51, 102, 153, 204, 255])
    assert got[3, 5, 0] == 0


def test_one_bit_tiff(tmp_path: Path) -> None:
    bits = np.zeros((4, 8), np.uint8)
    bits[:, 4:] = 1
    (tmp_path / "a.tif").write_bytes(tiff(bits, photometric=1, bits=1))
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tif")[0, :, 0], [0] * 4 + [255] * 4)


def test_formats_that_only_ffmpeg_knows(tmp_path: Path) -> None:
    head = bytes([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 2, 0, 24, 32])
    (tmp_path / "a.tga").write_bytes(head + bytes([10, 20, 30]) * 6)
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tga"), np.full((2, 3, 3), (30, 20, 10)))


@pytest.mark.parametrize("size", [(1, 1), (1, 97), (97, 1), (3, 5)])
@pytest.mark.parametrize("extension", ["png", "jpg", "bmp"])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int], extension: str) -> None:
    path = write_image(tmp_path / f"a.{extension}", np.full((*size, 3), 90, np.uint8))
    assert pixels_of(path).shape == (*size, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    stored = corners(96, 64)
    jpeg = cv2.imencode(".jpg", stored[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(with_orientation(jpeg, orientation))
    # Exif 2.32, 4.6.4: where the 0th row and column of the stored picture belong
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(stored, 1),
    }[orientation]
    got = pixels_of(tmp_path / "a.jpg")
    assert got.shape == upright.shape
    np.testing.assert_allclose(got[8::16, 8::16], upright[8::16, 8::16], atol=6)


def test_gifs(tmp_path: Path) -> None:
    (tmp_path / "film.gif").write_bytes(ANIMATED_GIF)
    (tmp_path / "still.gif").write_bytes(STILL_GIF)
    with open_source(str(tmp_path / "film.gif")) as film:
        assert not film.stills
        assert film.length == 3
        frames = list(film)
    assert [int(f.pixels[1, 1, 0]) for f in frames] == [10, 100, 200]
    assert [f.pts for f in frames] == pytest.approx([0.0, 0.1, 0.3])
    with open_source(str(tmp_path / "still.gif")) as still:
        assert still.stills
        assert [int(f.pixels[1, 1, 0]) for f in still] == [10]
    assert [f.name for f in frames_of(tmp_path)] == ["film", "still"]


def test_a_cut_gif_film_keeps_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "film.gif").write_bytes(ANIMATED_GIF[:-25])
    errors: list[str] = []
    frames = frames_of(tmp_path / "film.gif", on_error=lambda p, e: errors.append(str(e)))
    assert [int(f.pixels[1, 1, 0]) for f in frames][:2] == [10, 100]
    assert "middle" in errors[0]


# lists ------------------------------------------------------------------------------------------
def test_folder(folder: Path) -> None:
    with open_source(str(folder)) as source:
        assert isinstance(source, ImageSource)
        assert (source.live, source.stills, source.length, source.rate) == (False, True, 3, 0.0)
        assert source.paths == tuple(str(folder / f"img{n}.png") for n in (1, 2, 10))
        frames = list(source)
    assert [f.name for f in frames] == ["img1", "img2", "img10"]
    assert [f.source for f in frames] == list(source.paths)
    assert [f.index for f in frames] == [0, 1, 2]
    assert [f.pts for f in frames] == [None] * 3
    assert [int(f.pixels[0, 0, 0]) for f in frames] == [1, 2, 10]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.png", ["img1", "img2", "img10"]),
        ("img?.png", ["img1", "img2"]),
        ("img[12].png", ["img1", "img2"]),
        ("img{1,10}.png", ["img1", "img10"]),
        ("{img{1,2},*0}.{png,jpg}", ["img1", "img2", "img10"]),
        ("*", ["img1", "img2", "img10"]),
        ("*/*.png", ["img3"]),
        ("img%i.png", ["img1", "img2", "img10"]),
        ("img%02d.png", ["img10"]),
    ],
)
def test_patterns(folder: Path, pattern: str, names: list[str]) -> None:
    assert [f.name for f in frames_of(folder / pattern)] == names
    assert [f.name for f in frames_of(f"file://{folder}/{pattern}")] == names


def test_home_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert [f.name for f in frames_of("~/img1.png")] == ["img1"]
    assert len(frames_of("~/*.png")) == 3


def test_a_name_that_looks_like_a_pattern_is_a_name_first(tmp_path: Path) -> None:
    for name in ("a[1].png", "b%04d.png", "c d.png"):
        write_image(tmp_path / name, corners())
    assert frames_of(tmp_path / "a[1].png")[0].name == "a[1]"
    assert frames_of(tmp_path / "b%04d.png")[0].name == "b%04d"
    assert frames_of(f"file://{tmp_path}/c%20d.png")[0].name == "c d"


def test_sequence_takes_numbers_as_they_are_written(tmp_path: Path) -> None:
    for name in ("f_0007.png", "f_0010.png", "f_12345.png", "f_9.png", "f_x.png", "g_0001.png"):
        write_image(tmp_path / name, corners(8, 8))
    assert [f.name for f in frames_of(tmp_path / "f_%04d.png")] == ["f_0007", "f_0010", "f_12345"]
    assert [f.name for f in frames_of(tmp_path / "f_%d.png")] == ["f_9", "f_12345"]
    with pytest.raises(UsageError, match="one %i"):
        frames_of(tmp_path / "f_%d_%d.png")


@given(st.lists(st.integers(0, 10**20), unique=True, max_size=8))
def test_natural_order_is_that_of_the_numbers(numbers: list[int]) -> None:
    assert natural(f"a{n}.jpg" for n in numbers) == [f"a{n}.jpg" for n in sorted(numbers)]


@given(st.lists(st.text(max_size=6), max_size=8))
def test_natural_order_is_total(names: list[str]) -> None:
    assert natural(names) == natural(reversed(names))
    assert sorted(natural(names)) == sorted(names)


def test_start_frames_and_loop(folder: Path) -> None:
    def indices(**options: object) -> list[int]:
        with open_source(str(folder), SourceOptions(**options)) as source:  # type: ignore[arg-type]
            got = [f.index for f in source]
            assert source.length == len(got)
        return got

    assert indices(start=1) == [1, 2]
    assert indices(start=1, frames=1) == [1]
    assert indices(loop=1) == [0, 1, 2]
    assert indices(loop=2) == [0, 1, 2, 3, 4, 5]
    assert indices(loop=2, start=2) == [2, 5]
    assert indices(loop=-1, frames=7) == list(range(7))
    assert indices(start=9) == []
    assert open_source(str(folder), SourceOptions(loop=-1)).length is None
    for bad in ({"start": -1}, {"frames": -1}, {"loop": -2}):
        with pytest.raises(UsageError):
            indices(**bad)


def test_flip_and_size(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", corners(32, 24))
    (frame,) = frames_of(path, flip="clockwise", width=48)
    assert frame.pixels.shape == (64, 48, 3)
    np.testing.assert_array_equal(frame.pixels[5, 5], (0, 0, 255))


def test_close_ends_the_iteration(folder: Path) -> None:
    source = open_source(str(folder), SourceOptions(loop=-1))
    got = 0
    for _ in source:
        got += 1
        if got == 5:
            source.close()
    source.close()
    assert got == 5


# what is broken ---------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "webp", "tiff", "gif"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.97])
def test_cut_images(
    tmp_path: Path, kind: str, part: float, capfd: pytest.CaptureFixture[str]
) -> None:
    if kind == "gif":
        data = STILL_GIF
    else:
        noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
        data = write_image(tmp_path / f"whole.{kind}", noise).read_bytes()
    (tmp_path / f"cut.{kind}").write_bytes(data[: max(1, int(len(data) * part))])
    with pytest.raises(SourceError, match=r"cut\.\w+"):
        frames_of(tmp_path / f"cut.{kind}")
    assert "OpenCV" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"hello world, this is text\n" * 9, "not an image"),
        ("text.png", b"hello", "not an image"),
        ("notes.txt", b"hello world\n" * 50, "not a film|cannot be opened"),
        ("noise.bin", bytes(range(256)) * 9, "damaged, cut or something else"),
    ],
)
def test_files_that_are_something_else(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        frames_of(tmp_path / name)


def test_an_image_is_known_by_its_content(tmp_path: Path) -> None:
    png = write_image(tmp_path / "a.png", corners()).read_bytes()
    for name in ("b.jpg", "b", "b.mp4", "b.dat"):
        (tmp_path / name).write_bytes(png)
        np.testing.assert_array_equal(pixels_of(tmp_path / name), corners())


def test_nothing_there(tmp_path: Path) -> None:
    write_image(tmp_path / "person.jpg", corners())
    with pytest.raises(SourceError, match=r"Did you mean .*person\.jpg"):
        open_source(str(tmp_path / "persn.jpg"))
    with pytest.raises(SourceError, match="no folder"):
        open_source(str(tmp_path / "none" / "a.jpg"))
    with pytest.raises(UsageError, match="matches no file"):
        open_source(str(tmp_path / "*.png"))
    with pytest.raises(SourceError, match="No file matches"):
        open_source(str(tmp_path / "img_%04d.png"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no image"):
        open_source(str(tmp_path / "empty"))
    (tmp_path / "empty" / "a.mp4").write_bytes(b"x")
    with pytest.raises(SourceError, match="1 film"):
        open_source(str(tmp_path / "empty"))


def test_braces_without_end() -> None:
    with pytest.raises(UsageError, match="more than"):
        open_source("{a,b}" * 40)


def test_one_broken_image_among_many(folder: Path) -> None:
    (folder / "img3.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    errors: list[tuple[str, str]] = []
    frames = frames_of(folder, on_error=lambda p, e: errors.append((p, str(e))))
    assert [(f.name, f.index) for f in frames] == [("img1", 0), ("img2", 1), ("img10", 3)]
    assert [p for p, _ in errors] == [str(folder / "img3.png")]
    with pytest.raises(SourceError, match=r"img3\.png"):
        frames_of(folder)
    # a lone one raises even where errors are collected
    with pytest.raises(SourceError, match=r"img3\.png"):
        frames_of(folder / "img3.png", on_error=lambda p, e: None)


def test_all_images_broken_ends_even_a_loop(folder: Path) -> None:
    for path in folder.glob("img*.png"):
        path.write_bytes(b"")
    with pytest.raises(SourceError, match="None of the 3"):
        frames_of(folder, loop=-1, on_error=lambda p, e: None)


def test_an_image_that_vanishes(folder: Path) -> None:
    errors: list[str] = []
    with open_source(str(folder), SourceOptions(on_error=lambda p, e: errors.append(p))) as source:
        (folder / "img2.png").unlink()
        assert [f.name for f in source] == ["img1", "img10"]
    assert errors == [str(folder / "img2.png")]


# size limits ------------------------------------------------------------------------------------
def test_too_many_pixels(tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(png_of_size(30_000, 30_000))
    (tmp_path / "none.png").write_bytes(png_of_size(0, 30_000))
    (tmp_path / "big.png").write_bytes(png_of_size(5000, 5000))
    read = "from edgepose.io.sources.images import read_image; import sys; read_image(sys.argv[1])"

    def said(name: str, **environment: str) -> str:
        # a process of its own: OpenCV takes its limit when it is loaded
        done = subprocess.run(
            [sys.executable, "-c", read, str(tmp_path / name)],
            capture_output=True,
            text=True,
            env=os.environ | environment,
        )
        return done.stderr.strip().splitlines()[-1]

    assert "more than 5" in said("huge.png")
    assert "cannot be decoded" in said("none.png")
    assert "more than 20 megapixels" in said("big.png", OPENCV_IO_MAX_IMAGE_PIXELS="20000000")


def test_the_limit_follows_the_free_memory() -> None:
    free = available_memory()
    assert free is None or free > 0
    assert 0 < pixel_limit() <= MAX_PIXELS


def test_memory_of_a_container(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 5\nactive_file 7\ninactive_file 300000\n")
    assert memory._available_of_container(tmp_path) == 400_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._available_of_container(tmp_path) is None


@pytest.mark.parametrize("extension", ["png", "jpg", "bmp", "webp", "tiff", "ppm", "jp2", "avif"])
def test_kinds_are_read_from_headers(tmp_path: Path, extension: str) -> None:
    if not cv2.haveImageWriter(f"x.{extension}"):
        pytest.skip(f"this OpenCV writes no {extension}")
    data = write_image(tmp_path / f"a.{extension}", corners(70, 50)).read_bytes()
    assert header.kind(data[: header.HEAD])
    assert not header.is_cut(data)


def test_pictures_of_a_gif_and_tags_of_a_big_tiff() -> None:
    assert header.gif_frames(ANIMATED_GIF) == (3, False)
    entries = b"".join(
        tag.to_bytes(2, "little")
        + b"\4\0"
        + (1).to_bytes(8, "little")
        + value.to_bytes(8, "little")
        for tag, value in ((256, 70), (257, 50))
    )
    big = b"II+\0\10\0\0\0" + (16).to_bytes(8, "little") + (2).to_bytes(8, "little") + entries
    assert header.tiff_tags(big) == {256: 70, 257: 50}


@given(st.sampled_from([n for n, _ in header._MAGIC]), st.binary(max_size=80))
def test_headers_of_rubbish(name: str, rest: bytes) -> None:
    starts = {
        "jpeg": b"\xff\xd8\xff",
        "png": b"\x89PNG\r\n\x1a\n",
        "gif": b"GIF89a",
        "bmp": b"BM1234\0\0\0\0",
        "webp": b"RIFF1234WEBP",
        "tiff": b"II*\0",
        "netpbm": b"P6 ",
        "jpeg2000": b"\xff\x4f\xff\x51",
        "avif": b"\0\0\0\x1cftypavif",
    }
    data = starts.get(name, b"") + rest
    header.is_cut(data)
    header.tiff_tags(data)
    header.is_jpeg_film(data)
    assert isinstance(missed_flip(data, name), str)
    header.gif_frames(data)


@given(st.binary(max_size=200))
def test_rubbish_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError):
        decode_image(data)


@given(st.data())
def test_damaged_png_is_refused_or_read(data: st.DataObject) -> None:
    whole = bytearray(cv2.imencode(".png", corners(9, 7))[1].tobytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(8, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(SourceError):
        assert decode_image(bytes(whole)).ndim == 3


def test_of_an_icon_the_largest_picture_counts(tmp_path: Path) -> None:
    shapes = (16, 48, 32)
    pictures = [cv2.imencode(".png", np.full((n, n, 3), n, np.uint8))[1].tobytes() for n in shapes]
    head, at = struct.pack("<HHH", 0, 1, len(shapes)), 6 + 16 * len(shapes)
    for n, data in zip(shapes, pictures, strict=True):
        head += struct.pack("<BBBBHHII", n, n, 0, 0, 1, 24, len(data), at)
        at += len(data)
    path = tmp_path / "a.ico"
    path.write_bytes(head + b"".join(pictures))
    (frame,) = open_source(str(path))
    assert frame.pixels.shape == (48, 48, 3)
    assert (frame.pixels == 48).all()
