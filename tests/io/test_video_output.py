"""Films as outputs."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import film_picture, number_of, write_film

from edgepose.errors import OutputError, UnknownNameError, UsageError
from edgepose.io.base import OutputOptions, SourceOptions
from edgepose.io.outputs import open_output
from edgepose.io.outputs.formats import CONTAINERS
from edgepose.io.outputs.video import cut_to_whole_boxes
from edgepose.io.pixels import letterbox
from edgepose.io.sources import open_source
from edgepose.types import Frame


def film(count: int, rate: float = 10, size: tuple[int, int] = (64, 48)) -> Iterator[Frame]:
    for i in range(count):
        yield Frame(film_picture(i, *size), i, i / rate, "somewhere/in.mp4", "in")


def write(path: object, frames: Any, **options: Any) -> None:
    with open_output(str(path), OutputOptions(**options)) as output:
        for frame in frames:
            output.write(frame)


def read(path: object) -> list[Frame]:
    with open_source(str(path)) as source:
        return list(source)


def numbers(path: object) -> list[int]:
    return [number_of(f.pixels) for f in read(path)]


def test_a_film_is_written_by_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    with open_output(str(path)) as output:
        for frame in film(3):
            output.write(frame)
        with pytest.raises(OutputError, match="is being written already"):
            write(path, film(2))
    assert numbers(path) == [0, 1, 2]
    write(path, film(2))
    assert numbers(path) == [0, 1]


def codec_of(path: object) -> str:
    import av

    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.name


@pytest.mark.parametrize("extension", sorted(CONTAINERS))
def test_every_container(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"out.{extension}"
    write(path, film(24), input_rate=10.0)
    assert codec_of(path) == {"webm": "vp9", "h265": "hevc", "265": "hevc", "hevc": "hevc"}.get(
        extension, "h264"
    )
    frames = read(path)
    assert [number_of(f.pixels) for f in frames] == list(range(24))
    assert [f.pts for f in frames] == pytest.approx([i / 10 for i in range(24)], abs=0.002)


@pytest.mark.parametrize("codec", ["h264", "h265", "hevc", "vp8", "vp9", "mjpeg"])
def test_every_codec(tmp_path: Path, codec: str) -> None:
    write(tmp_path / "out.mkv", film(12), codec=codec)
    assert codec_of(tmp_path / "out.mkv") == {"h265": "hevc"}.get(codec, codec)
    got = [float(f.pixels.mean()) / 4 for f in read(tmp_path / "out.mkv")]
    assert got == pytest.approx(range(12), abs=1.0)


def test_codecs_and_containers_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="h264"):
        open_output(f"{tmp_path}/a.mp4", OutputOptions(codec="h246"))
    with pytest.raises(UsageError, match="only h264, h265, vp9, mjpeg"):
        open_output(f"{tmp_path}/a.mp4", OutputOptions(codec="vp8"))
    with pytest.raises(UsageError, match="only vp9, vp8"):
        open_output(f"{tmp_path}/a.webm", OutputOptions(codec="h265"))
    with pytest.raises(UnknownNameError, match="encoder"):
        open_output(f"{tmp_path}/a.mp4", OutputOptions(encoder="omx"))
    with pytest.raises(UsageError, match="bit rate"):
        open_output(f"{tmp_path}/a.mp4", OutputOptions(bitrate=-1))
    assert os.listdir(tmp_path) == []


def test_an_encoder_that_is_not_there(tmp_path: Path) -> None:
    output = open_output(f"{tmp_path}/a.mp4", OutputOptions(encoder="v4l2", input_rate=10.0))
    if Path("/dev/video11").exists():
        pytest.skip("this machine may have a V4L2 encoder")
    with pytest.raises(OutputError, match="h264_v4l2m2m"):
        output.write(next(film(1)))
    output.close()
    assert os.listdir(tmp_path) == []


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    times = [3.0, 3.07, 3.3, 3.31, 4.0, 4.4]
    frames = (Frame(film_picture(i), i, t, "a", "a") for i, t in enumerate(times))
    write(tmp_path / "out.mp4", frames)
    assert [f.pts for f in read(tmp_path / "out.mp4")] == pytest.approx(
        [t - 3.0 for t in times], abs=0.002
    )


def test_times_that_start_anew_go_on(tmp_path: Path) -> None:
    twice = [*film(5), *film(5)]
    write(tmp_path / "out.mkv", twice, input_rate=10.0)
    assert [f.pts for f in read(tmp_path / "out.mkv")] == pytest.approx(
        [i / 10 for i in range(10)], abs=0.002
    )


def test_stills_become_a_film(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", (Frame(film_picture(i), i, None, f"{i}.jpg") for i in range(6)))
    write(tmp_path / "b.mp4", (Frame(film_picture(i), i) for i in range(6)), rate=5.0)
    assert read(tmp_path / "a.mp4")[-1].pts == pytest.approx(5 / 30, abs=0.001)
    assert read(tmp_path / "b.mp4")[-1].pts == pytest.approx(1.0, abs=0.001)


def test_a_lower_rate_keeps_the_length(tmp_path: Path) -> None:
    write(tmp_path / "out.mp4", film(30), rate=5.0)
    frames = read(tmp_path / "out.mp4")
    assert [number_of(f.pixels) for f in frames] == list(range(0, 30, 2))
    assert [f.pts for f in frames] == pytest.approx([i / 5 for i in range(15)], abs=0.001)


def test_one_frame_without_a_rate(tmp_path: Path) -> None:
    write(tmp_path / "out.mp4", film(1))
    assert numbers(tmp_path / "out.mp4") == [0]


def test_no_frame_makes_no_file(tmp_path: Path) -> None:
    write(tmp_path / "out.mp4", [])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [(65, 49), (1, 1), (63, 48), (3, 90)])
def test_odd_sizes_are_padded(tmp_path: Path, size: tuple[int, int]) -> None:
    write(tmp_path / "out.mp4", film(3, size=size))
    frame = read(tmp_path / "out.mp4")[2]
    assert (frame.width, frame.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert abs(float(frame.pixels.mean()) - 8) < 3  # no black edge


def test_another_size_is_fitted_into_the_first(tmp_path: Path) -> None:
    frames = [
        Frame(np.full((48, 64, 3), 100, np.uint8), 0, 0.0),
        Frame(np.full((48, 200, 3), 200, np.uint8), 1, 0.1),
        Frame(np.full((96, 128, 3), 200, np.uint8), 2, 0.2),
    ]
    write(tmp_path / "out.mkv", frames, codec="mjpeg")
    one, wide, same = (f.pixels for f in read(tmp_path / "out.mkv"))
    assert one.shape == wide.shape == same.shape == (48, 64, 3)
    assert wide[2, 32].max() < 20
    assert abs(int(wide[24, 32, 0]) - 200) < 8
    assert abs(float(same.mean()) - 200) < 4


def test_letterbox_keeps_the_aspect() -> None:
    pixels = np.full((10, 40, 3), 9, np.uint8)
    out = letterbox(pixels, (20, 20))
    assert out.shape == (20, 20, 3)
    assert out[6].max() == out[12].max() == 0
    assert (out[7:12] == 9).all()
    assert letterbox(pixels, (40, 10)) is pixels


def test_size_and_bitrate(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = [Frame(rng.integers(0, 256, (96, 128, 3), np.uint8), i, i / 30) for i in range(60)]
    write(tmp_path / "a.mp4", noise, bitrate=200_000, width=64)
    write(tmp_path / "b.mp4", noise, bitrate=1_500_000, width=64)
    assert read(tmp_path / "a.mp4")[0].pixels.shape == (48, 64, 3)
    small, large = ((tmp_path / n).stat().st_size for n in ("a.mp4", "b.mp4"))
    assert small * 2 < large


def test_colours_come_back(tmp_path: Path) -> None:
    for size in ((64, 48), (64, 720)):  # two matrices: television's old and new one
        colours = np.zeros((size[1], size[0], 3), np.uint8)
        colours[:, :32], colours[:, 32:] = (200, 30, 40), (20, 60, 220)
        write(tmp_path / "out.mp4", [Frame(colours, 0, 0.0)])
        got = read(tmp_path / "out.mp4")[0].pixels
        np.testing.assert_allclose(got[20, 10], (200, 30, 40), atol=8)
        np.testing.assert_allclose(got[20, 50], (20, 60, 220), atol=8)


def test_the_frame_is_left_alone(tmp_path: Path) -> None:
    pixels = np.full((48, 70, 3), 77, np.uint8)
    pixels.flags.writeable = False
    write(tmp_path / "out.mp4", [Frame(pixels[:, 3:67], i, i / 10) for i in range(3)])
    assert (pixels == 77).all()
    assert len(read(tmp_path / "out.mp4")) == 3


def test_a_frame_that_is_used_again_after_write(tmp_path: Path) -> None:
    pixels = film_picture(0)
    with open_output(f"{tmp_path}/out.mp4") as output:
        for i in range(8):
            pixels[...] = film_picture(i)
            output.write(Frame(pixels, i, i / 10))
    assert numbers(tmp_path / "out.mp4") == list(range(8))


def test_output_that_is_the_input(tmp_path: Path) -> None:
    path = write_film(tmp_path / "in.mp4", 5)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="input itself"):
        open_output(str(path), OutputOptions(audio=str(path)))
    os.link(path, tmp_path / "other.mp4")
    with open_source(str(path)) as source, open_output(str(path)) as output:
        with pytest.raises(UsageError, match="input itself"):
            output.write(next(iter(source)))
    assert path.read_bytes() == before


# sound ------------------------------------------------------------------------------------------
def sound_of(path: object) -> tuple[str, float, float]:
    """Codec, start and end in seconds of the audio of a film."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        times = [
            (float(p.pts * p.time_base), float((p.duration or 0) * p.time_base))
            for p in container.demux(stream)
            if p.pts is not None and p.size
        ]
        return stream.codec_context.name, times[0][0], times[-1][0] + times[-1][1]


@pytest.mark.parametrize("extension", ["mp4", "mkv", "mov", "flv", "avi", "ts"])
def test_sound_is_copied(tmp_path: Path, extension: str) -> None:
    source = write_film(tmp_path / "in.mp4", 20, sound="aac")
    out = tmp_path / f"out.{extension}"
    write(out, read(source), audio=str(source), input_rate=10.0)
    assert [float(f.pixels.mean()) / 4 for f in read(out)] == pytest.approx(range(20), abs=1.1)
    codec, start, end = sound_of(out)
    assert codec == "aac"
    assert start == pytest.approx(0, abs=0.25)
    assert end - start == pytest.approx(2.0, abs=0.1)


def test_sound_of_a_part(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mp4", 40, sound="aac")
    with open_source(str(source)) as frames:
        part = [f for f in frames if 10 <= f.index < 25]
    write(tmp_path / "out.mp4", part, audio=str(source), input_rate=10.0)
    _, start, end = sound_of(tmp_path / "out.mp4")
    assert start == pytest.approx(0, abs=0.05)
    assert end == pytest.approx(1.5, abs=0.06)


def test_sound_that_the_container_does_not_hold(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import av

    source = write_film(tmp_path / "in.mp4", 5, sound="aac")
    write(tmp_path / "out.webm", read(source), audio=str(source))
    assert "left out" in caplog.text
    write(tmp_path / "out.h264", read(source), audio=str(source))
    for name in ("out.webm", "out.h264"):
        with av.open(str(tmp_path / name)) as container:
            assert len(container.streams.audio) == 0


def test_a_film_without_sound(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mp4", 5)
    write(tmp_path / "out.mp4", read(source), audio=str(source))
    assert len(read(tmp_path / "out.mp4")) == 5
    output = open_output(f"{tmp_path}/b.mp4", OutputOptions(audio=f"{tmp_path}/none.mp4", rate=9))
    with pytest.raises(OutputError, match="Audio"):
        output.write(next(film(1)))
    assert sorted(os.listdir(tmp_path)) == ["in.mp4", "out.mp4"]


# what goes wrong --------------------------------------------------------------------------------
_WRITER = """
import sys
import numpy as np
from edgepose.io.base import OutputOptions
from edgepose.io.outputs import open_output
from edgepose.types import Frame
output = open_output(sys.argv[1], OutputOptions(input_rate=30.0))
for i in range(100_000):
    output.write(Frame(np.full((48, 64, 3), i % 60 * 4, np.uint8), i, i / 30))
    print(i, flush=True)
"""


@pytest.mark.parametrize("extension", ["mp4", "mov", "mkv", "webm", "avi", "flv", "h264"])
def test_a_killed_program_leaves_a_film(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"out.{extension}"
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 150:
            break
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process.stdout.close()
    with open_source(str(path), SourceOptions(on_error=lambda p, e: None)) as source:
        got = [number_of(frame.pixels) for frame in source]
    assert len(got) > 90  # 150 less about a second, less what the encoder held
    # of the last pictures, those that others depend on may be there alone
    assert got[:90] == [i % 60 for i in range(90)]


@pytest.mark.parametrize("extension", ["mp4", "mov", "mkv", "avi", "h264"])
def test_a_full_disk_keeps_the_film(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"out.{extension}"
    rng = np.random.default_rng(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    output = open_output(str(path), OutputOptions(input_rate=10.0))
    frames = (Frame(rng.integers(0, 256, (96, 128, 3), np.uint8), i, i / 10) for i in range(2000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))  # as a quota would
    try:
        with pytest.raises(OutputError, match="kept"):
            deque(map(output.write, frames))
        output.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(OutputError, match="closed"):
        output.write(next(film(1)))
    assert path.stat().st_size <= 400_000
    errors: list[str] = []
    with open_source(str(path), SourceOptions(on_error=lambda p, e: errors.append(str(e)))) as got:
        count = len(list(got))
    assert count > 8
    if extension in ("mp4", "mov"):
        assert errors == []  # cut behind the last whole fragment


def test_cut_to_whole_boxes(tmp_path: Path) -> None:
    def box(kind: bytes, length: int) -> bytes:
        return length.to_bytes(4, "big") + kind + b"x" * (length - 8)

    path = tmp_path / "a.mp4"
    whole = box(b"ftyp", 20) + box(b"moov", 50) + box(b"moof", 30) + box(b"mdat", 40)
    for rest in (b"", b"xyz", box(b"moof", 30), box(b"moof", 30) + box(b"mdat", 60)[:50]):
        path.write_bytes(whole + rest)
        cut_to_whole_boxes(str(path))
        assert path.read_bytes() == whole
    path.write_bytes(b"rubbish that is no MP4")
    cut_to_whole_boxes(str(path))
    assert path.read_bytes() == b"rubbish that is no MP4"
    cut_to_whole_boxes(str(tmp_path / "none.mp4"))


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="mkdir -p"):
        open_output(f"{tmp_path}/no/parent/a.mp4")
    write(tmp_path / "new" / "a.mp4", film(2))
    assert numbers(tmp_path / "new" / "a.mp4") == [0, 1]
    (tmp_path / "dir.mp4").mkdir()
    write(tmp_path / "dir.mp4", film(2))
    assert len(os.listdir(tmp_path / "dir.mp4")) == 2  # a folder is a folder


def test_close_twice(tmp_path: Path) -> None:
    output = open_output(f"{tmp_path}/a.mp4")
    output.write(next(film(1)))
    output.close()
    output.close()
    assert numbers(tmp_path / "a.mp4") == [0]


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    source = write_film(tmp_path / "in.mp4", 3, sound="aac")
    write(tmp_path / "a.mp4", film(2), audio=str(source))
    before = descriptors()
    for i in range(5):
        write(tmp_path / f"{i}.mp4", film(2), audio=str(source))
    assert descriptors() == before
