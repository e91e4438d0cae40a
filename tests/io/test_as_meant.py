"""Pictures and films come as they are meant: upright, whole, in their shape, whatever says so."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import struct
import subprocess
import sys
import threading
import urllib.request
import zlib
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.errors import SourceError, UsageError
from edgepose.io.base import OutputOptions, SinkOptions, SourceOptions
from edgepose.io.ffmpeg import turn
from edgepose.io.outputs import open_output
from edgepose.io.pixels import flip
from edgepose.io.sinks import open_sink
from edgepose.io.sources import header, open_source
from edgepose.io.sources.images import decode_image, read_image
from edgepose.io.sources.orientation import EXIF, missed_flip
from edgepose.types import Frame, Pose, Result

# what undoes each flip
BACK = {"clockwise": "counterclockwise", "counterclockwise": "clockwise"}


def picture(width: int = 64, height: int = 48) -> Any:
    """No two of its eight orientations are alike."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (250, 20, 20)
    pixels[: height // 2, width // 2 :] = (20, 250, 20)
    pixels[height // 2 :, : width // 2] = (20, 20, 250)
    return pixels


def encoded(extension: str, pixels: Any) -> bytes:
    done, data = cv2.imencode(extension, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert done
    return bytes(data)


def close(a: Any, b: Any) -> bool:
    return a.shape == b.shape and float(np.abs(a.astype(float) - b.astype(float)).mean()) < 8


def stored(orientation: int) -> Any:
    """The picture as it is stored for an orientation that will turn it upright."""
    name = EXIF.get(orientation, "none")
    return flip(picture(), BACK.get(name, name))


# orientation ------------------------------------------------------------------------------------------
def exif(orientation: int) -> bytes:
    return b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", 274, 3, 1, orientation, 0) + bytes(4)


def xmp(orientation: int, element: bool) -> bytes:
    said = f"<tiff:Orientation>{orientation}</tiff:Orientation>" if element else ""
    attribute = "" if element else f' tiff:Orientation="{orientation}"'
    return f"<x:xmpmeta><rdf:Description{attribute}>{said}</rdf:Description></x:xmpmeta>".encode()


def png_with(name: bytes, content: bytes) -> Any:
    def add(data: bytes) -> bytes:
        body = name + content
        chunk = struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
        return data[:33] + chunk + data[33:]  # behind IHDR

    return add


def jpeg_with(content: bytes) -> Any:
    return lambda data: (
        data[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + data[2:]
    )


def webp_with(name: bytes, content: bytes, flag: int) -> Any:
    def add(data: bytes) -> bytes:
        size = (64 - 1).to_bytes(3, "little") + (48 - 1).to_bytes(3, "little")
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), 1)
        height, width = decoded.shape[:2]
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        extra = name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
        body = b"WEBPVP8X\x0a\0\0\0" + bytes([flag, 0, 0, 0]) + size + data[12:] + extra
        return b"RIFF" + struct.pack("<I", len(body)) + body

    return add


def hexadecimal(content: bytes) -> bytes:
    return b"\nexif\n%8d\n" % len(content) + content.hex().encode() + b"\n"


SPELLINGS = {
    "PNG eXIf": (".png", lambda o: png_with(b"eXIf", exif(o))),
    "PNG raw text": (
        ".png",
        lambda o: png_with(
            b"tEXt", b"Raw profile type exif\0" + hexadecimal(b"Exif\0\0" + exif(o))
        ),
    ),
    "PNG raw compressed": (
        ".png",
        lambda o: png_with(
            b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(hexadecimal(exif(o)))
        ),
    ),
    "PNG XMP": (
        ".png",
        lambda o: png_with(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(o, False)),
    ),
    "PNG XMP compressed": (
        ".png",
        lambda o: png_with(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp(o, True))),
    ),
    "JPEG EXIF": (".jpg", lambda o: jpeg_with(b"Exif\0\0" + exif(o))),
    "JPEG XMP": (".jpg", lambda o: jpeg_with(b"http://ns.adobe.com/xap/1.0/\0" + xmp(o, True))),
    "WebP EXIF": (".webp", lambda o: webp_with(b"EXIF", exif(o), 8)),
    "WebP XMP": (".webp", lambda o: webp_with(b"XMP ", xmp(o, False), 4)),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_orientation_in_every_spelling(spelling: str, orientation: int) -> None:
    extension, put = SPELLINGS[spelling]
    data = put(orientation)(encoded(extension, stored(orientation)))
    assert close(decode_image(data), picture())


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_orientation_of_pictures_in_a_pipe(spelling: str, tmp_path: Path) -> None:
    """FFmpeg knows the turn of an EXIF orientation, but PyAV does not show its mirror."""
    extension, put = SPELLINGS[spelling]
    data = b"".join(put(o)(encoded(extension, stored(o))) for o in range(1, 9))
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    frames = [f.pixels for f in open_source(str(path))]
    writer.join()
    assert [close(pixels, picture()) for pixels in frames] == [True] * 8


@pytest.mark.parametrize("spelling", [s for s in SPELLINGS if s.startswith("JPEG")])
def test_orientation_of_pictures_in_a_film(spelling: str, tmp_path: Path) -> None:
    extension, put = SPELLINGS[spelling]
    path = tmp_path / "a.mjpeg"
    path.write_bytes(b"".join(put(o)(encoded(extension, stored(o))) for o in range(1, 9)))
    frames = [f.pixels for f in open_source(str(path))]
    assert [close(pixels, picture()) for pixels in frames] == [True] * 8


@pytest.mark.parametrize("kind", [1, 3, 4])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("way", ["JPEG", "PNG", "WebP"])
def test_orientation_in_every_type_and_order_of_bytes(way: str, order: str, kind: int) -> None:
    value = {1: "B3x", 3: "H2x", 4: "I"}[kind]
    tags = struct.pack(f"{order}HIHHHI{value}I", 42, 8, 1, 274, kind, 1, 3, 0)
    content = (b"II" if order == "<" else b"MM") + tags
    put = {
        "JPEG": lambda: jpeg_with(b"Exif\0\0" + content)(encoded(".jpg", stored(3))),
        "PNG": lambda: png_with(b"eXIf", content)(encoded(".png", stored(3))),
        "WebP": lambda: webp_with(b"EXIF", content, 8)(encoded(".webp", stored(3))),
    }
    assert close(decode_image(put[way]()), picture())


@pytest.mark.parametrize("most", [1, 15, 100, 255, 256, 1023, 65535])
@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6", "P7"])
def test_white_of_a_netpbm_is_its_largest_value(kind: str, most: int) -> None:
    pixels = picture() // 128 * 255
    grey = kind in ("P2", "P5")
    values = (pixels[:, :, 1] if grey else pixels).astype(int) * most // 255
    data = f"{kind}\n# white\n64 48\n{most}\n".encode()
    if kind == "P7":
        data = f"P7\nWIDTH 64\nHEIGHT 48\nDEPTH 3\nMAXVAL {most}\nTUPLTYPE RGB\nENDHDR\n".encode()
    if kind in ("P2", "P3"):
        data += b"\n".join(
            str(v).encode() for v in values.reshape(-1)
        )  # some end with the last digit
    else:
        data += values.astype(np.uint8 if most < 256 else ">u2").tobytes()
    expected = np.repeat(pixels[:, :, 1:2], 3, 2) if grey else pixels
    np.testing.assert_array_equal(decode_image(data), expected)


@pytest.mark.parametrize("order", "<>")
def test_a_portable_float_map_is_bright_and_upright(order: str) -> None:
    values = (picture()[::-1] / 255).astype(f"{order}f4")
    data = b"PF\n64 48\n" + (b"-1.0\n" if order == "<" else b"1.0\n") + values.tobytes()
    np.testing.assert_array_equal(decode_image(data), picture())


def test_a_tiff_that_begins_with_a_preview_is_refused() -> None:
    """Raw files of cameras (DNG, NEF, ARW) are such."""
    done, two = cv2.imencodemulti(".tiff", [picture(16, 12), picture()])
    assert done
    data = bytearray(two.tobytes())
    assert decode_image(bytes(data)).shape == (
        12,
        16,
        3,
    )  # of several pictures the first one counts
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", data, 4)[0] + 2
    struct.pack_into(order + "HHII", data, at, 254, 4, 1, 1)
    with pytest.raises(SourceError, match="preview"):
        decode_image(bytes(data))


def test_a_tiff_of_other_colours_is_refused() -> None:
    """L*a*b* would come some levels off."""
    data = bytearray(encoded(".tiff", picture()))
    at = header.Directory(bytes(data)).places[262]
    data[at : at + 2] = (8).to_bytes(2, "little" if data[:2] == b"II" else "big")
    with pytest.raises(SourceError, match="Save it as RGB"):
        decode_image(bytes(data))


def test_of_an_animated_png_the_picture_outside_counts() -> None:
    """It need not be in the animation, which viewers without animations do not know."""

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    def shown(number: int) -> bytes:
        return chunk(b"fcTL", struct.pack(">5I2H2B", number, 64, 48, 0, 0, 1, 10, 0, 0))

    def rows(pixels: Any) -> bytes:
        return zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0))
    animated = chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"IDAT", rows(picture()))
    for i in (0, 2):
        content = struct.pack(">I", i + 1) + rows(255 - picture())
        animated += shown(i) + chunk(b"fdAT", content)
    data = b"\x89PNG\r\n\x1a\n" + head + animated + chunk(b"IEND", b"")
    assert close(decode_image(data), picture())


def test_exif_counts_before_xmp() -> None:
    data = jpeg_with(b"http://ns.adobe.com/xap/1.0/\0" + xmp(3, True))(
        jpeg_with(b"Exif\0\0" + exif(6))(encoded(".jpg", stored(6)))
    )
    assert close(decode_image(data), picture())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_avif_and_heic(orientation: int, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    heif = pytest.importorskip("pillow_heif")
    info = image.Exif()
    info[274] = orientation
    pixels = image.fromarray(stored(orientation))
    heif.register_heif_opener()
    for extension in ("avif", "heif"):
        data = io.BytesIO()
        pixels.save(data, extension.upper(), exif=info.tobytes(), quality=95)
        # the content decides, whatever the name
        (tmp_path / f"{extension}.jpg").write_bytes(data.getvalue())
        assert close(read_image(str(tmp_path / f"{extension}.jpg")), picture()), extension


def with_properties(data: bytes, added: dict[bytes, bytes]) -> bytes:
    """An AVIF of one item with more properties: its meta box stands anew at the end, so that nothing moves."""
    at = data.index(b"meta") - 4
    meta = bytearray(data[at : at + int.from_bytes(data[at : at + 4], "big")])

    def grow(box: bytes, more: bytes) -> None:
        start = meta.index(box) - 4
        size = int.from_bytes(meta[start : start + 4], "big")
        meta[start + size : start + size] = more
        for outer in {box, b"iprp", b"meta"}:
            here = meta.index(outer) - 4
            larger = int.from_bytes(meta[here : here + 4], "big") + len(more)
            meta[here : here + 4] = larger.to_bytes(4, "big")

    number, end = 1, meta.index(b"ipma") - 4
    here = meta.index(b"ipco") + 4
    while here < end:
        here += int.from_bytes(meta[here : here + 4], "big")
        number += 1
    for name, content in added.items():
        grow(b"ipma", bytes([0x80 | number]))
        meta[meta.index(b"ipma") + 14] += 1
        grow(b"ipco", struct.pack(">I", len(content) + 8) + name + content)
        number += 1
    return data[: at + 4] + b"free" + data[at + 8 :] + bytes(meta)


def test_the_crop_of_an_avif_comes_before_its_turn() -> None:
    if not cv2.haveImageWriter("x.avif"):
        pytest.skip("this OpenCV writes no AVIF")
    data = encoded(".avif", picture())
    # 48 x 34 pixels about a place 2 to the right of the middle and 1 above it
    crop = struct.pack(">IIIIiIiI", 48, 1, 34, 1, 4, 2, -1, 1)
    for turns in range(4):
        avif = with_properties(data, {b"clap": crop, b"irot": bytes([turns])})
        assert close(decode_image(avif), np.rot90(picture()[6:40, 10:58], turns))


def test_heic_without_pillow_heif_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    (tmp_path / "a.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    for name in (tmp_path, tmp_path / "a.HEIC", tmp_path / "*.HEIC"):
        with pytest.raises(SourceError, match=r"pip install edgepose\[heif\]"):
            list(open_source(str(name)))


# films ------------------------------------------------------------------------------------------------
def film(path: Path, count: int = 10, noise: bool = False, **options: str) -> Path:
    random = np.random.default_rng(1)
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.options = {"crf": "10", "g": "5"}
        for _ in range(count):
            pixels = random.integers(0, 255, (48, 64, 3), np.uint8) if noise else picture()
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_film_that_was_cut_in_a_pipe_is_told(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = film(tmp_path / name, 40, noise=True, movflags="faststart").read_bytes()
    for part, said in ((len(whole), 0), (len(whole) // 2, 1)):
        os.mkfifo(tmp_path / "pipe")
        writer = threading.Thread(
            target=(tmp_path / "pipe").write_bytes, args=(whole[:part],), daemon=True
        )
        writer.start()
        with open_source(str(tmp_path / "pipe")) as source:
            frames = list(source)
        writer.join()
        assert len(frames) == 40 if not said else 10 < len(frames) < 30
        assert caplog.text.count("it was cut") == said
        (tmp_path / "pipe").unlink()


MATRICES = {
    (1, 0, 0, 1): "none",
    (-1, 0, 0, 1): "horizontal",
    (1, 0, 0, -1): "vertical",
    (-1, 0, 0, -1): "rotate-180",
    (0, 1, -1, 0): "clockwise",
    (0, -1, 1, 0): "counterclockwise",
    (0, 1, 1, 0): "upper-left-diagonal",
    (0, -1, -1, 0): "upper-right-diagonal",
}


def with_matrix(path: Path, numbers: tuple[float, ...]) -> bytes:
    """The film with another display matrix in its track header (tkhd, ISO 14496-12)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (round(n * 65536) for n in numbers)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return bytes(data)


@pytest.mark.parametrize("numbers", MATRICES)
def test_turned_and_mirrored_films(numbers: tuple[int, ...], tmp_path: Path) -> None:
    """From a file and through a pipe, the eight display matrices."""
    data = with_matrix(film(tmp_path / "f.mp4", movflags="faststart"), numbers)
    (tmp_path / "a.mp4").write_bytes(data)
    expected = flip(picture(), MATRICES[numbers])
    with open_source(str(tmp_path / "a.mp4")) as source:
        assert all(close(f.pixels, expected) for f in source)
    os.mkfifo(tmp_path / "pipe.mp4")
    writer = threading.Thread(target=(tmp_path / "pipe.mp4").write_bytes, args=(data,))
    writer.start()
    with open_source(str(tmp_path / "pipe.mp4")) as source:
        frames = list(source)
    writer.join()
    assert len(frames) == 10
    assert all(close(f.pixels, expected) for f in frames)
    with av.open(io.BytesIO(data)) as container:
        assert turn(next(container.decode(video=0)), "") == MATRICES[numbers]


@pytest.mark.parametrize(
    ("numbers", "nearest"),
    [
        ((0.707, 0.707, -0.707, 0.707), "none"),
        ((0.5, 0.866, -0.866, 0.5), "clockwise"),
        ((1, 0, 0.5, 1), "none"),  # slanted
        ((-0.94, 0.34, 0.34, 0.94), "horizontal"),
    ],
)
def test_a_turn_that_is_no_quarter_turn_is_told(
    numbers: tuple[float, ...], nearest: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(with_matrix(film(tmp_path / "f.mp4"), numbers))
    with open_source(str(path)) as source:
        assert all(close(f.pixels, flip(picture(), nearest)) for f in source)
    (said,) = caplog.messages
    assert said.startswith(f"{path} is to be shown askew")


def test_a_quarter_turn_need_not_be_exact(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(with_matrix(film(tmp_path / "f.mp4"), (-0.001, 1.5, -1.5, 0.001)))
    with open_source(str(path)) as source:
        assert all(close(f.pixels, flip(picture(), "clockwise")) for f in source)
    assert caplog.text == ""


def test_frames_that_were_read_are_let_go(tmp_path: Path) -> None:
    """Without the garbage collector, which a loop over frames gives little to do: months of films end well.

    PyAV's frame and its side data hold each other once the display matrix was asked.
    """
    (tmp_path / "a.mp4").write_bytes(with_matrix(film(tmp_path / "f.mp4"), (-1, 0, 0, 1)))

    def held() -> int:
        return sum(isinstance(x, av.VideoFrame) for x in gc.get_objects())

    gc.collect()
    before = held()
    gc.disable()
    try:
        for name in ("f.mp4", "a.mp4"):
            with open_source(str(tmp_path / name), SourceOptions(loop=3)) as source:
                pixels = [f.pixels.shape for f in source]
        assert len(pixels) == 30
        assert held() == before
    finally:
        gc.enable()


def test_oblong_pixels_become_square(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = 2
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(), format="rgb24")))
        container.mux(stream.encode(None))
    assert [f.pixels.shape for f in open_source(str(path))] == [(48, 128, 3)]


@pytest.mark.parametrize("name", ["a.mjpeg", "a.MJPG", "a.jpg"])
def test_jpeg_behind_jpeg_is_a_film(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(encoded(".jpg", picture()) * 7)
    with open_source(str(tmp_path / name)) as source:
        assert not source.stills
        assert len(list(source)) == 7
    (tmp_path / "b.jpg").write_bytes(encoded(".jpg", picture()))
    (tmp_path / "c.jpg").write_bytes(encoded(".jpg", picture()) * 2)
    errors: list[str] = []
    options = SourceOptions(on_error=lambda path, error: errors.append(path))
    frames = list(open_source(str(tmp_path / "[bc].jpg"), options))
    assert [f.name for f in frames] == ["b"]
    assert errors == [str(tmp_path / "c.jpg")]


def test_junk_between_the_pictures_of_a_film(tmp_path: Path) -> None:
    """Grabbers that lose bytes: by its name it is a film, not its first picture."""
    jpeg = encoded(".jpg", picture())
    (tmp_path / "a.mjpeg").write_bytes((jpeg + b"\0\xff\x12garbage" * 5) * 4)
    with open_source(str(tmp_path / "a.mjpeg")) as source:
        assert not source.stills
        assert len(list(source)) == 4
    (tmp_path / "b.mjpeg").write_bytes(jpeg + b"garbage")
    with open_source(str(tmp_path / "b.mjpeg")) as source:
        assert source.stills


@pytest.mark.parametrize("end", [b"--b\r\n", b"--b--\r\n", b"--b--", b""])
def test_the_last_boundary_of_pictures_in_parts_is_no_damage(end: bytes, tmp_path: Path) -> None:
    """As MIME ends them, and as FFmpeg does; in a file and in a pipe."""
    jpeg = encoded(".jpg", picture())
    data = b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg + b"\r\n"
    (tmp_path / "a.mjpeg").write_bytes(data * 5 + end)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data * 5 + end,))
    writer.start()
    for name in ("a.mjpeg", "pipe"):
        with open_source(str(tmp_path / name)) as source:
            assert len(list(source)) == 5
    writer.join()
    (tmp_path / "a.mjpeg").write_bytes(data * 3 + b"--c\r\n" + data)
    with (
        open_source(str(tmp_path / "a.mjpeg")) as source,
        pytest.raises(SourceError, match="damag"),
    ):
        list(source)


def test_of_several_films_in_a_file_its_default_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        streams: Any = [container.add_stream("libx264", rate=10) for _ in range(2)]
        streams[0].disposition = av.stream.Disposition(0)
        streams[1].disposition = av.stream.Disposition.default
        for stream, size in zip(streams, ((64, 48), (96, 64)), strict=True):
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for stream in streams:
            pixels = picture(stream.width, stream.height)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
    assert [f.pixels.shape for f in open_source(str(path))] == [(64, 96, 3)]


def test_a_preview_behind_a_picture_is_no_film(tmp_path: Path) -> None:
    photo, preview = encoded(".jpg", picture(128, 96)), encoded(".jpg", picture())
    (tmp_path / "a.jpg").write_bytes(photo + preview)
    mpf = photo[:2] + b"\xff\xe2\0\x08MPF\0\0\0" + photo[2:]
    (tmp_path / "b.jpg").write_bytes(mpf + photo)
    for name in ("a.jpg", "b.jpg"):
        with open_source(str(tmp_path / name)) as source:
            assert source.stills
            assert [f.pixels.shape for f in source] == [(96, 128, 3)]


@pytest.mark.parametrize("extra", [b"\0\1\2\3", b"\xff", b"\xff\0junk"])
def test_junk_between_the_segments_of_a_jpeg(extra: bytes) -> None:
    data = encoded(".jpg", picture())
    end = 4 + int.from_bytes(data[4:6], "big")
    assert close(decode_image(data[:end] + extra + data[end:]), picture())


def test_matroska_whose_times_begin_at_hours_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(10):
            frame = av.VideoFrame.from_ndarray(picture(), format="rgb24")
            frame.pts = 900_000 + i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_source(str(path)) as source:
        assert source.length == 10
        assert [f.pts for f in source] == pytest.approx([i / 10 for i in range(10)])


def test_avi_with_dropped_frames_is_whole_and_a_cut_one_not(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with open_output(str(path), OutputOptions(input_rate=10)) as output:
        for i in (0, 1, 2, 5, 6, 9):
            output.write(Frame(picture(), i, pts=i / 10))
    assert len(list(open_source(str(path)))) == 6
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(SourceError, match=r"frames early|damaged"):
        list(open_source(str(path)))


def test_a_cut_film_gives_its_last_frames(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 40, noise=True, movflags="faststart")
    for share in (0.5, 0.7, 0.9):
        cut = tmp_path / "cut.mp4"
        cut.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        one_thread = 0
        with av.open(str(cut)) as container:
            container.streams.video[0].thread_type = "NONE"
            for packet in container.demux(video=0):
                try:
                    one_thread += len(packet.decode())
                except av.FFmpegError:
                    continue
        frames: list[Frame] = []
        with pytest.raises(SourceError, match=r"damaged|it ends after"):
            frames.extend(iter(open_source(str(cut))))
        options = SourceOptions(on_error=lambda path, error: None)
        frames = list(open_source(str(cut), options))
        assert [f.index for f in frames] == list(range(one_thread))


WRITES = """
import sys, time
import numpy as np
from edgepose.io.base import OutputOptions
from edgepose.io.outputs import open_output
from edgepose.types import Frame
outputs = [open_output(path, OutputOptions(input_rate=1)) for path in sys.argv[1:]]
for i in range(30):
    for output in outputs:
        output.write(Frame(np.full((48, 64, 3), 8 * i, np.uint8), i, pts=float(i)))
print("written", flush=True)
time.sleep(600)
"""


def test_a_killed_film_has_nearly_all_of_a_slow_input(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"a.{extension}") for extension in ("webm", "mkv", "mp4", "ts")]
    command = [sys.executable, "-c", WRITES, *paths]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "written\n"
        child.kill()
    options = SourceOptions(on_error=lambda path, error: None)
    for path in paths:
        assert len(list(open_source(path, options))) >= 26, path


@pytest.mark.parametrize("codec", [34712, 9, 32809, 65000])
def test_a_tiff_codec_that_opencv_lacks_is_refused(codec: int) -> None:
    data = bytearray(encoded(".tif", picture()))
    tag = data.index(struct.pack("<HHI", 259, 3, 1))
    data[tag + 8 : tag + 10] = struct.pack("<H", codec)
    with pytest.raises(SourceError, match="compression"):
        decode_image(bytes(data))


def test_offsets_beyond_the_file(tmp_path: Path) -> None:
    good = encoded(".png", picture())
    (tmp_path / "a.tif").write_bytes(b"II+\0\x08\0\0\0" + b"\xff" * 8 + bytes(64))
    (tmp_path / "b.png").write_bytes(good)
    errors: list[str] = []
    options = SourceOptions(on_error=lambda path, error: errors.append(path))
    assert [f.name for f in open_source(str(tmp_path), options)] == ["b"]
    assert len(errors) == 1


def test_a_title_in_latin1_through_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "TITLE12"
        stream: Any = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(), format="rgb24")))
        container.mux(stream.encode(None))
    data = path.read_bytes().replace(b"TITLE12", b"Cam\xe9ra1")
    path.write_bytes(data)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    writer.start()
    assert len(list(open_source(str(tmp_path / "pipe")))) == 1
    writer.join()
    assert len(list(open_source(str(path)))) == 1


def test_sound_belongs_to_local_films_only(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv")
    with open_source(str(path)) as source:
        assert source.sound == str(path)
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        with open_source(f"/dev/fd/{cat.stdout.fileno()}") as source:
            assert source.sound == ""
            assert len(list(source)) == 10


def test_sun_raster() -> None:
    pixels = picture()
    head = struct.pack(">8I", 0x59A66A95, 64, 48, 24, 64 * 48 * 3, 1, 0, 0)
    assert (decode_image(head + pixels[..., ::-1].tobytes()) == pixels).all()


@pytest.mark.parametrize("kind", ["json", "csv", "coco", "dict", "metrics"])
def test_no_sink_dies_of_an_odd_name(kind: str, tmp_path: Path) -> None:
    """A file name of Latin-1 bytes, a newline and a NUL-like character."""
    pose = Pose(0, np.ones((1, 3), np.float32), ("no\u00e9\udce9se",))
    target = "127.0.0.1:0" if kind == "metrics" else str(tmp_path / "out")
    sink: Any = open_sink(kind, target)
    for i, name in enumerate(("caf\udce9.jpg", "a\nb\x01.jpg", '"x"\\\u2028.jpg')):
        sink.write(Result(i, 4, 4, (pose,), source=name, name=name))
        sink.event({"event": "lost", "source": name, "name": name, "error": name})
    if kind == "metrics":
        url = f"http://127.0.0.1:{sink.port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert b"caf" in answer.read()
    sink.close()
    if kind != "metrics":
        assert "caf" in "".join(p.read_text(encoding="utf-8") for p in tmp_path.iterdir())


# the input keeps what it is ---------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["hard", "symbolic", "folder"])
def test_no_output_is_an_input_by_another_name(kind: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    photo = tmp_path / "in" / "a.png"
    photo.write_bytes(encoded(".png", picture()))
    clip = film(tmp_path / "in" / "f.mp4")
    out = tmp_path / "out"
    if kind == "folder":
        out.symlink_to(tmp_path / "in")
    else:
        out.mkdir()
        for path in (photo, clip):
            if kind == "hard":
                os.link(path, out / path.name)
            else:
                (out / path.name).symlink_to(path)
    os.link(photo, tmp_path / "number_0.png")
    inputs = (str(photo), str(clip))
    options = OutputOptions(inputs=inputs, input_rate=10)
    before = photo.read_bytes(), clip.read_bytes()
    frame = Frame(picture(), 0, source=str(photo), name="a")
    for target in (out / "a.png", out, tmp_path / "number_%i.png", out / "f.mp4"):
        with pytest.raises(UsageError, match="is the input"):
            with open_output(str(target), options) as output:
                output.write(frame)
    for sink in ("json", "csv", "coco", "dict"):
        with pytest.raises(UsageError, match="is the input"):
            open_sink(sink, str(out / "f.mp4"), SinkOptions(inputs=inputs))
    assert (photo.read_bytes(), clip.read_bytes()) == before


def test_a_name_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "dang.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(SourceError, match=r"is a link to .*gone.jpg, which does not exist"):
        open_source(str(tmp_path / "dang.jpg"))
    (tmp_path / "out.jpg").touch()
    outputs = (str(tmp_path / "out.jpg"),)
    with pytest.raises(SourceError) as error:
        open_source(str(tmp_path / "ouf.jpg"), SourceOptions(outputs=outputs))
    assert "Did you mean" not in str(error.value)


# anything may stand in a file -------------------------------------------------------------------------
SEEDS = {
    **{
        f"a{e}": encoded(e, picture())
        for e in (".jpg", ".png", ".bmp", ".webp", ".tif", ".ppm", ".jp2")
    },
    **{f"x{i}{e}": put(6)(encoded(e, picture())) for i, (e, put) in enumerate(SPELLINGS.values())},
}
SEEDS["bad.avif"] = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0\0\0\x30meta" + bytes(64)
SEEDS["bad.heic"] = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
SEEDS["a.gif"] = b"GIF89a\4\0\4\0\x80\0\0" + bytes(6) + b"\x2c" + bytes(8) + b"\0\2\2\x44\1\0;"
SEEDS["a.tga"] = bytes(2) + b"\2" + bytes(9) + b"\4\0\4\0\x18\0" + bytes(48)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SEEDS)), st.data())
def test_a_damaged_picture_is_read_or_refused(name: str, data: st.DataObject) -> None:
    content = bytearray(SEEDS[name])
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, min(len(content) - 1, 400)))
        content[at] = data.draw(st.sampled_from((0, 1, 127, 128, 254, 255)))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(content))) :]
    kind = header.kind(bytes(content[: header.HEAD]))
    assert isinstance(missed_flip(bytes(content), kind), str)
    with contextlib.suppress(SourceError):
        assert decode_image(bytes(content), name).shape[2] == 3


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["mp4", "mkv", "ts", "avi", "mjpeg"]), st.data())
def test_a_damaged_film_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, extension: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole = folder / f"whole.{extension}"
    if not whole.exists():
        if extension == "mjpeg":
            whole.write_bytes(encoded(".jpg", picture()) * 5)
        else:
            film(whole, 5)
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(0, 12))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(content))) :]
    path = folder / f"damaged.{extension}"
    path.write_bytes(content)
    with (
        contextlib.suppress(SourceError),
        open_source(str(path), SourceOptions(frames=50)) as source,
    ):
        assert all(frame.pixels.ndim == 3 for frame in source)
