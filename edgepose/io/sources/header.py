"""Kind and size of an image file from its first bytes, without decoding it.

This tells images from films whatever their extension, and keeps a small file that claims to be huge
from filling the memory. Formats: JPEG (ISO 10918-1), PNG, GIF89a, BMP, WebP (RFC 9649), TIFF 6.0 and
BigTIFF, netpbm, JPEG 2000 and AVIF boxes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

Size = tuple[int, int]
HEAD = 32


def kind(data: bytes) -> str:
    """Name of the image format that the first `HEAD` bytes belong to, "" where none."""
    for name, magic in _MAGIC:
        if re.match(magic, data, re.DOTALL):
            return name
    return ""


def size(data: bytes) -> Size | None:
    """(width, height) as stored (before an EXIF rotation), None where the header does not say."""
    reader = _READERS.get(kind(data))
    try:
        return reader(data) if reader else None
    except (struct.error, IndexError, ValueError):
        return None


def is_cut(data: bytes) -> bool:
    """True where a JPEG, PNG or GIF ends before its end; other formats are left to the decoder.

    Old OpenCV fills the missing part of a JPEG with grey, libpng writes to stderr what it finds, and
    FFmpeg fills the missing part of a GIF with nothing.
    """
    name = kind(data)
    if name == "jpeg":
        return not _jpeg_is_whole(data)
    if name == "png":
        return not _png_is_whole(data)
    return name == "gif" and gif_frames(data)[1]


def gif_frames(data: bytes) -> tuple[int, bool]:
    """(number of whole pictures in a GIF, True where it ends before its trailer)."""
    count = 0
    try:
        at = 13 + _color_table(data[10])
        while data[at] != 0x3B:
            if data[at] == 0x21:
                at = _skip_blocks(data, at + 2)
            elif data[at] == 0x2C:
                at = _skip_blocks(data, at + 11 + _color_table(data[at + 9]))
                count += 1
            else:
                return count, True
    except IndexError:
        return count, True
    return count, False


def _color_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += data[at] + 1
    data[at + 1]  # the file goes on behind the terminator
    return at + 1


def _png_is_whole(data: bytes) -> bool:
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + length
    return False


def _jpeg_is_whole(data: bytes) -> bool:
    """True where the end of image stands behind the first scan; thumbnails lie in segments before."""
    for marker, at in _jpeg_segments(data):
        if marker == 0xDA:
            return data.find(b"\xff\xd9", at) >= 0
    return False


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, position of the length) of each segment up to the first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1  # a fill byte
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2  # no length
        else:
            yield marker, at + 2
            if marker == 0xDA:
                return
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _jpeg(data: bytes) -> Size | None:
    for marker, at in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
    return None


def _png(data: bytes) -> Size:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> Size:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> Size:
    if data[14] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)


def _webp(data: bytes) -> Size | None:
    chunk = data[12:16]
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return None


def _tiff(data: bytes) -> Size | None:
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    count = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
    first, step, value = (start + 8, 20, 12) if big else (start + 2, 12, 8)
    found: dict[int, int] = {}
    for at in range(first, first + step * min(count, 4096), step):
        tag, field = struct.unpack_from(order + "HH", data, at)
        if tag in (256, 257):
            found[tag] = struct.unpack_from(order + ("H" if field == 3 else "I"), data, at + value)[
                0
            ]
    return (found[256], found[257]) if len(found) == 2 else None


def _netpbm(data: bytes) -> Size | None:
    words = re.sub(rb"#[^\n]*\n", b" ", data[:4096]).split(maxsplit=3)
    return int(words[1]), int(words[2])


def _jpeg2000(data: bytes) -> Size | None:
    at = data.find(b"ihdr", 0, 4096)
    if at < 0:
        return None
    height, width = struct.unpack_from(">II", data, at + 4)
    return width, height


def _avif(data: bytes) -> Size | None:
    sizes = [
        struct.unpack_from(">II", data, m.end() + 4) for m in re.finditer(b"ispe", data[:8192])
    ]
    return max(sizes, default=None)


_MAGIC: tuple[tuple[str, bytes], ...] = (
    ("jpeg", rb"\xff\xd8\xff"),
    ("png", rb"\x89PNG\r\n\x1a\n"),
    ("gif", rb"GIF8[79]a"),
    ("bmp", rb"BM....\0\0\0\0"),
    ("webp", rb"RIFF....WEBP"),
    ("tiff", rb"II[*+]\0|MM\0[*+]"),
    ("netpbm", rb"P[1-6]\s"),
    ("pam", rb"P7\n"),
    ("jpeg2000", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    ("avif", rb"....ftyp(avif|avis)"),
    ("heif", rb"....ftyp(heic|heix|mif1)"),
    ("hdr", rb"#\?(RADIANCE|RGBE)"),
    ("exr", rb"v/1\x01"),
    ("sun", rb"\x59\xa6\x6a\x95"),
    ("photoshop", rb"8BPS"),
)

_READERS: dict[str, Callable[[bytes], Size | None]] = {
    "jpeg": _jpeg,
    "png": _png,
    "gif": _gif,
    "bmp": _bmp,
    "webp": _webp,
    "tiff": _tiff,
    "netpbm": _netpbm,
    "jpeg2000": _jpeg2000,
    "avif": _avif,
}
