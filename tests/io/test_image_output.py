"""Pictures into image files."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from media import corners, write_image

from edgepose.errors import OutputError, UnknownNameError, UsageError
from edgepose.io.base import OutputOptions, SourceOptions
from edgepose.io.outputs import open_output
from edgepose.io.outputs.images import ImageOutput, write_whole
from edgepose.io.sources import open_source
from edgepose.io.sources.images import read_image
from edgepose.types import Frame


def still(name: str, grey: int = 50, size: tuple[int, int] = (6, 8)) -> Frame:
    return Frame(np.full((*size, 3), grey, np.uint8), source=name, name=Path(name).stem)


def film_frame(index: int) -> Frame:
    return Frame(np.full((6, 8, 3), index, np.uint8), index, index / 10, "films/clip.mp4", "clip")


def write(uri: object, *frames: Frame, **options: Any) -> None:
    with open_output(str(uri), OutputOptions(**options)) as output:
        for frame in frames:
            output.write(frame)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff", "ppm"])
def test_one_file(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"out.{extension}"
    write(path, Frame(corners(96, 64)))
    np.testing.assert_allclose(
        read_image(str(path))[8::16, 8::16], corners(96, 64)[8::16, 8::16], atol=12
    )
    assert names(tmp_path) == [path.name]


def test_a_second_picture_for_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    with open_output(str(path)) as output:
        output.write(still("a.jpg", 10))
        with pytest.raises(OutputError, match=r"out_%i\.png"):
            output.write(still("b.jpg", 20))
    assert read_image(str(path))[0, 0, 0] == 10


def test_names_carry_over_into_folders(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write(folder, still("in/a.jpg"), still("b.PNG"), still("x/c.webp"), still("d.tga"), still("e"))
    assert names(folder) == ["a.jpg", "b.PNG", "c.webp", "d.png", "e.png"]
    write(folder, Frame(corners(), name="0"), Frame(corners(), 1, name="1"))
    assert {"0.jpg", "1.jpg"} <= set(names(folder))


def test_frames_of_films_carry_their_numbers(tmp_path: Path) -> None:
    write(f"{tmp_path}/frames/", film_frame(0), film_frame(12))
    assert names(tmp_path / "frames") == ["clip-000000.jpg", "clip-000012.jpg"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("p_%i.png", ["p_0.png", "p_1.png"]),
        ("p_%04d.jpg", ["p_0000.jpg", "p_0001.jpg"]),
        ("p_*.bmp", ["p_0.bmp", "p_1.bmp"]),
        ("%3u.png", ["  0.png", "  1.png"]),
    ],
)
def test_patterns_count_from_zero(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    write(tmp_path / "new" / pattern, still("b.jpg"), still("b.jpg"))
    assert names(tmp_path / "new") == expected


def test_two_inputs_for_one_name(tmp_path: Path) -> None:
    with open_output(f"{tmp_path}/out/") as output:
        output.write(still("x/a.jpg", 10))
        with pytest.raises(OutputError, match=r"x/a\.jpg and y/a\.jpg"):
            output.write(still("y/a.jpg", 20))
    assert abs(int(read_image(f"{tmp_path}/out/a.jpg")[0, 0, 0]) - 10) < 3


def test_two_films_of_one_name(tmp_path: Path) -> None:
    other = Frame(np.zeros((6, 8, 3), np.uint8), 9, 0.9, "other/clip.mp4", "clip")
    with open_output(f"{tmp_path}/out/") as output:
        output.write(film_frame(0))
        output.write(film_frame(1))
        with pytest.raises(OutputError, match=r"films/clip\.mp4 and other/clip\.mp4"):
            output.write(other)
    assert names(tmp_path / "out") == ["clip-000000.jpg", "clip-000001.jpg"]


def test_a_loop_may_write_the_same_picture_again(tmp_path: Path) -> None:
    write(tmp_path / "out", still("a.png", 10), still("a.png", 10))
    assert names(tmp_path / "out") == ["a.png"]


def test_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    for grey in (10, 20):
        write(tmp_path / "out.png", still("a.png", grey))
        assert read_image(f"{tmp_path}/out.png")[0, 0, 0] == grey


def test_output_that_is_the_input(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", corners())
    before = path.read_bytes()
    (tmp_path / "link.png").symlink_to(path)
    with pytest.raises(UsageError, match="input itself"):
        open_output(str(tmp_path / "link.png"), OutputOptions(inputs=(str(path),)))
    for uri in (tmp_path, tmp_path / "link.png"):
        with open_source(str(path)) as source, open_output(str(uri)) as output:
            (frame,) = source
            with pytest.raises(UsageError, match="input itself"):
                output.write(frame)
    with (
        open_output(f"{tmp_path}/%i.png", OutputOptions(inputs=(f"{tmp_path}/0.png",))) as output,
        pytest.raises(UsageError, match="input itself"),
    ):
        output.write(still("b.png"))
    assert path.read_bytes() == before


def test_size_and_quality(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    write(tmp_path / "a.jpg", Frame(noise), width=40, quality=95)
    assert read_image(f"{tmp_path}/a.jpg").shape == (30, 40, 3)
    write(tmp_path / "b.jpg", Frame(noise), width=40, quality=20)
    assert (tmp_path / "b.jpg").stat().st_size < (tmp_path / "a.jpg").stat().st_size


def test_the_frame_is_left_alone(tmp_path: Path) -> None:
    pixels = corners()
    pixels.flags.writeable = False
    write(tmp_path / "a.png", Frame(pixels[:, 2:]))  # with gaps between its rows
    np.testing.assert_array_equal(read_image(f"{tmp_path}/a.png"), corners()[:, 2:])


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="mkdir -p"):
        open_output(f"{tmp_path}/no/parent/a.jpg")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="not a folder"):
        open_output(f"{tmp_path}/file/a.jpg")
    open_output(f"{tmp_path}/new/").close()
    assert not (tmp_path / "new").exists()  # nothing was written
    (tmp_path / "v1.2").mkdir()
    write(tmp_path / "v1.2", still("a.png"))
    assert names(tmp_path / "v1.2") == ["a.png"]


def test_a_folder_that_cannot_be_written() -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        open_output("/proc/a.jpg")


def test_unknown_extensions(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="jpg"):
        open_output(f"{tmp_path}/out.jpgg")
    with pytest.raises(UnknownNameError, match="End it with /"):
        open_output(f"{tmp_path}/out.results2")
    with pytest.raises(UnknownNameError):
        open_output(f"{tmp_path}/out_%i.mp4")


def test_a_format_that_cannot_hold_the_picture(tmp_path: Path) -> None:
    wide = Frame(np.zeros((1, 70_000, 3), np.uint8))
    with pytest.raises(OutputError, match=r"Try \.png"):
        write(tmp_path / "a.jpg", wide)
    assert names(tmp_path) == []
    write(tmp_path / "a.png", wide)


def test_a_full_disk_leaves_whole_files(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_output(f"{tmp_path}/out/") as output:
        output.write(still("a.png"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))  # as a quota would
        try:
            with pytest.raises(OutputError, match=r"b\.png cannot be written"):
                output.write(Frame(noise, source="b.png", name="b"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        output.write(still("c.png"))
    assert names(tmp_path / "out") == ["a.png", "c.png"]


def test_write_whole_replaces_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_whole(str(path), b"old")
    reader = path.open("rb")
    write_whole(str(path), b"new")
    assert (reader.read(), path.read_bytes()) == (b"old", b"new")
    reader.close()
    assert os.listdir(tmp_path) == ["a.bin"]


def test_many_images_end_to_end(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(12):
        write_image(tmp_path / "in" / f"p{i}.jpg", corners(40, 30))
    with (
        open_source(f"{tmp_path}/in", SourceOptions(flip="horizontal")) as source,
        open_output(f"{tmp_path}/out") as output,
    ):
        assert isinstance(output, ImageOutput)
        for frame in source:
            output.write(frame)
    assert names(tmp_path / "out") == names(tmp_path / "in")
    got = cv2.imread(f"{tmp_path}/out/p3.jpg")[..., ::-1]
    np.testing.assert_allclose(got[5, 5], (0, 255, 0), atol=12)


def test_names_that_are_one_file_are_not_both_written(tmp_path: Path) -> None:
    """As where upper case is lower case; a link stands for it here."""
    with open_output(f"{tmp_path}/") as output:
        output.write(still("in/a.png", 10))
        os.link(tmp_path / "a.png", tmp_path / "A.png")
        with pytest.raises(OutputError, match=r"in/a\.png and in/A\.png would both be written"):
            output.write(still("in/A.png", 20))
        output.write(still("in/a.png", 30))  # a loop
    assert read_image(str(tmp_path / "a.png"))[0, 0, 0] == 30
