"""Films as inputs."""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import film_picture, number_of, turn_film, write_film

from edgepose.errors import SourceError
from edgepose.io.base import SourceOptions
from edgepose.io.sources import open_source
from edgepose.types import Frame


def frames_of(path: object, **options: Any) -> list[Frame]:
    with open_source(str(path), SourceOptions(**options)) as source:
        return list(source)


def numbers_of(path: object, **options: Any) -> list[int]:
    return [number_of(f.pixels) for f in frames_of(path, **options)]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film") / "clip.mp4")


KINDS = [
    ("mp4", "libx264"),
    ("mkv", "libx264"),
    ("mov", "libx265"),
    ("avi", "mjpeg"),
    ("avi", "libx264"),
    ("webm", "libvpx-vp9"),
    ("webm", "libvpx"),
    ("flv", "libx264"),
    ("h264", "libx264"),
    ("h265", "libx265"),
    ("ts", "libx264"),
]


@pytest.mark.parametrize(("extension", "codec"), KINDS)
def test_every_frame_of_every_kind(tmp_path: Path, extension: str, codec: str) -> None:
    path = write_film(tmp_path / f"clip.{extension}", 24, codec=codec)
    with open_source(str(path)) as source:
        assert (source.live, source.stills, source.name) == (False, False, "clip")
        assert source.rate == pytest.approx(10, abs=0.01)
        assert source.length in (24, None)
        frames = list(source)
    assert [f.index for f in frames] == list(range(24))
    assert [f.pts for f in frames] == pytest.approx([i / 10 for i in range(24)], abs=0.002)
    assert [number_of(f.pixels) for f in frames] == list(range(24))
    assert {f.source for f in frames} == {str(path)}
    assert {f.name for f in frames} == {"clip"}
    pixels = frames[0].pixels
    assert (pixels.shape, pixels.dtype) == ((48, 64, 3), np.uint8)
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable


@pytest.mark.parametrize("size", [(65, 49), (2, 2), (33, 17)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_film(tmp_path / "clip.mkv", 3, codec="mjpeg", size=size)
    frames = frames_of(path)
    assert {f.pixels.shape for f in frames} == {(size[1], size[0], 3)}
    assert abs(float(frames[2].pixels.mean()) - 8) < 3


def test_known_by_its_content(film: Path, tmp_path: Path) -> None:
    for name in ("clip", "clip.bin", "with:colon.xyz"):
        (tmp_path / name).write_bytes(film.read_bytes())
        assert len(frames_of(tmp_path / name)) == 30
    assert len(frames_of(f"file://{film}")) == 30


def test_a_pattern_may_name_one_film(film: Path) -> None:
    assert len(frames_of(film.parent / "cl*.mp4")) == 30


def test_uneven_times_are_the_films_own(tmp_path: Path) -> None:
    ticks = [0, 7, 30, 31, 95, 140]
    path = write_film(tmp_path / "clip.mp4", 6, ticks=ticks)
    frames = frames_of(path)
    assert [f.pts for f in frames] == pytest.approx([t / 100 for t in ticks], abs=0.001)
    assert [number_of(f.pixels) for f in frames] == list(range(6))


def test_frames_at_one_time_move_no_other(tmp_path: Path) -> None:
    """As halves of pictures and clocks of whole milliseconds give them."""
    ticks = [0, 0, 20, 20, 40, 40, 60]
    frames = frames_of(write_film(tmp_path / "clip.mkv", 7, codec="ffv1", ticks=ticks))
    assert [f.pts for f in frames] == pytest.approx([t / 100 for t in ticks], abs=0.001)


def test_times_that_waver_stand_still(tmp_path: Path) -> None:
    """As some cameras write them: every seventh frame 2 ms before the one in front of it."""
    path = write_film(tmp_path / "clip.mkv", 9, codec="ffv1", gop=1)
    data = path.read_bytes()
    block = struct.pack(">BhB", 0x81, 600, 0x80)  # track, time, key frame
    assert data.count(block) == 1
    path.write_bytes(data.replace(block, struct.pack(">BhB", 0x81, 498, 0x80)))
    times = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.7, 0.8]
    assert [f.pts for f in frames_of(path)] == pytest.approx(times)


def test_start_frames_and_loop(film: Path) -> None:
    assert numbers_of(film, start=20) == list(range(20, 30))
    assert numbers_of(film, start=3, frames=4) == [3, 4, 5, 6]
    assert numbers_of(film, loop=2, start=27) == [27, 28, 29] * 2
    assert numbers_of(film, loop=-1, frames=65) == [i % 30 for i in range(65)]
    assert numbers_of(film, start=99, loop=-1) == []
    frames = frames_of(film, loop=2)
    assert [f.index for f in frames] == list(range(60))
    assert [f.pts for f in frames] == pytest.approx([i / 10 for i in range(60)], abs=0.001)
    for options, length in [
        (SourceOptions(loop=2, start=10), 40),
        (SourceOptions(loop=-1), None),
        (SourceOptions(loop=-1, frames=5), 5),
        (SourceOptions(rate=5), 15),
    ]:
        with open_source(str(film), options) as source:
            assert source.length == length


def test_a_lower_rate_takes_frames_evenly(film: Path) -> None:
    with open_source(str(film), SourceOptions(rate=4)) as source:
        assert source.rate == 4
        frames = list(source)
    assert [f.index for f in frames] == [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28]
    # a higher one changes nothing: files have no more
    with open_source(str(film), SourceOptions(rate=40)) as source:
        assert source.rate == 10
        assert len(list(source)) == 30


def test_flip_and_size(tmp_path: Path) -> None:
    path = write_film(tmp_path / "clip.mp4", 2)
    (frame, _) = frames_of(path, flip="counterclockwise", width=24)
    assert frame.pixels.shape == (32, 24, 3)


@pytest.mark.parametrize(
    ("matrix", "turns"),
    [
        ((0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30), -1),  # 90 degrees clockwise, as a phone writes
        ((-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30), 2),
        ((0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30), 1),
    ],
)
def test_rotation_of_the_container(
    tmp_path: Path, matrix: tuple[int, ...], turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ramp = np.zeros((48, 64, 3), np.uint8)
    ramp[:24] = 200  # bright above
    monkeypatch.setattr("media.film_picture", lambda n, w, h: ramp)
    path = write_film(tmp_path / "clip.mp4", 2)
    turn_film(path, matrix)
    pixels = frames_of(path)[0].pixels
    expected = np.rot90(ramp, turns)
    assert pixels.shape == expected.shape
    np.testing.assert_allclose(pixels[4::8, 4::8], expected[4::8, 4::8], atol=12)


def test_size_that_changes_in_the_middle(tmp_path: Path) -> None:
    parts = [
        write_film(tmp_path / f"{n}.h264", 5, size=size).read_bytes()
        for n, size in enumerate([(64, 48), (96, 80)])
    ]
    (tmp_path / "both.h264").write_bytes(b"".join(parts))
    frames = frames_of(tmp_path / "both.h264")
    assert [f.width for f in frames] == [64] * 5 + [96] * 5


def test_titles_that_are_no_text(tmp_path: Path) -> None:
    path = write_film(tmp_path / "clip.mkv", 3, title="TITLE")
    data = path.read_bytes()
    assert b"TITLE" in data
    path.write_bytes(data.replace(b"TITLE", b"T\xff\xe9LE"))
    assert numbers_of(path) == [0, 1, 2]


def test_sound_is_no_film(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(SourceError, match="no film"):
        open_source(str(path))


# damage -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("extension", "part"), [("mp4", 0.8), ("mkv", 0.5), ("avi", 0.8), ("flv", 0.8)]
)
def test_a_cut_film_keeps_its_beginning(tmp_path: Path, extension: str, part: float) -> None:
    start = {"movflags": "faststart"} if extension == "mp4" else {}
    path = write_film(tmp_path / f"clip.{extension}", 30, options=start, gop=1)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    got: list[int] = []
    source = open_source(str(path))
    with pytest.raises(SourceError, match=r"ends .* were read"):
        got.extend(number_of(frame.pixels) for frame in source)
    assert 3 <= len(got) < 30
    assert got == list(range(len(got)))
    errors: list[tuple[str, str]] = []
    frames = frames_of(path, on_error=lambda p, e: errors.append((p, str(e))), loop=2)
    assert len(frames) == 2 * len(got)
    assert [p for p, _ in errors] == [str(path)]  # told once, not in every pass


def test_parts_put_one_behind_the_other(tmp_path: Path) -> None:
    parts = [write_film(tmp_path / f"{n}.ts", 10).read_bytes() for n in "ab"]
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    frames = frames_of(tmp_path / "both.ts")
    assert [number_of(f.pixels) for f in frames] == [*range(10), *range(10)]
    assert [f.pts for f in frames] == pytest.approx([i / 10 for i in range(20)], abs=0.11)
    assert [f.pts for f in frames] == sorted(f.pts or 0 for f in frames)


@pytest.mark.parametrize("extension", ["mp4", "mkv"])
def test_damage_in_the_middle(tmp_path: Path, extension: str) -> None:
    path = write_film(tmp_path / f"clip.{extension}", 60, size=(160, 120), gop=6)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    noise = np.random.default_rng(1).integers(0, 256, len(data) // 20, np.uint8).tobytes()
    data[middle : middle + len(noise)] = noise
    path.write_bytes(data)
    errors: list[str] = []
    frames = frames_of(path, on_error=lambda p, e: errors.append(str(e)))
    got = [number_of(f.pixels) for f in frames]
    assert got[:10] == list(range(10))
    assert got[-1] == 59  # it goes on behind the damage
    assert [f.pts for f in frames] == sorted(f.pts or 0 for f in frames)
    assert "damaged in" in errors[0]


def test_an_index_at_the_end_that_is_missing(film: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(film.read_bytes()[:-200])
    with pytest.raises(SourceError, match="damaged, cut or something else"):
        open_source(str(tmp_path / "clip.mp4"))


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"ftypisom" * 100, b"text\n" * 100])
@pytest.mark.parametrize("extension", ["mp4", "mkv", "avi", "h264", "gif", "txt"])
def test_rubbish(tmp_path: Path, content: bytes, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=path.name):
        frames_of(path)


def test_a_film_without_a_frame_that_can_be_decoded(tmp_path: Path) -> None:
    path = write_film(tmp_path / "clip.mkv", 5, codec="libvpx-vp9", size=(320, 240))
    data = bytearray(path.read_bytes())
    start = data.find(b"\x1f\x43\xb6\x75") + 30
    data[start:] = b"\xff" * (len(data) - start)
    path.write_bytes(data)
    with pytest.raises(SourceError):
        frames_of(path, loop=-1, on_error=lambda p, e: None)


# closing ----------------------------------------------------------------------------------------
def test_close_from_another_thread_ends_the_iteration(film: Path) -> None:
    source = open_source(str(film), SourceOptions(loop=-1))
    seen = threading.Event()
    ended: list[int] = []

    def read() -> None:
        count = 0
        for _ in source:
            count += 1
            if count == 10:
                seen.set()
        ended.append(count)

    thread = threading.Thread(target=read)
    thread.start()
    assert seen.wait(20)
    source.close()
    thread.join(20)
    assert not thread.is_alive()
    assert ended[0] >= 10
    source.close()


def test_closed_before_it_is_read(film: Path) -> None:
    source = open_source(str(film))
    source.close()
    assert list(source) == []


def test_a_source_can_be_read_again(film: Path) -> None:
    source = open_source(str(film), SourceOptions(frames=3))
    assert [len(list(source)), len(list(source))] == [3, 3]
    source.close()


def test_descriptors_are_given_back(film: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    frames_of(film, frames=1)
    before = descriptors()
    for _ in range(5):
        iterator = iter(open_source(str(film)))
        next(iterator)
        iterator.close()  # type: ignore[attr-defined]
        frames_of(film, loop=2, frames=40)
    assert descriptors() == before


def test_a_real_film(shared: Path) -> None:
    path = shared / "media" / "one-by-one-person-detection.mp4"
    with open_source(str(path), SourceOptions(start=100, frames=3)) as source:
        assert (source.rate, source.length) == (10.0, 3)
        frames = list(source)
    assert [(f.index, f.pts) for f in frames] == [(100, 10.0), (101, 10.1), (102, 10.2)]
    assert frames[0].pixels.shape == (432, 768, 3)
    assert film_picture(1).shape == (48, 64, 3)


def test_a_list_of_other_files_is_no_film(tmp_path: Path) -> None:
    """FFmpeg would follow it, and says "permission denied" of names that it does not follow."""
    path = tmp_path / "film.mp4"
    path.write_text("ffconcat version 1.0\nfile '/etc/hostname'\n")
    with pytest.raises(SourceError, match="cannot be opened as an image or film"):
        open_source(str(path))
