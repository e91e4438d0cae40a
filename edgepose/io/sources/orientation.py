"""Which way up a picture is meant, where OpenCV's decoders do not look.

OpenCV honours the EXIF orientation of JPEG, PNG (eXIf), WebP and TIFF. Left to us are the properties
of AVIF (clap, irot and imir, ISO 23008-12), EXIF that older programs put as text into PNG, and XMP, which
counts where there is no EXIF orientation.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from edgepose.io.sources import header

# EXIF orientation -> the flip that makes it upright
EXIF = {
    2: "horizontal",
    3: "rotate-180",
    4: "vertical",
    5: "upper-left-diagonal",
    6: "clockwise",
    7: "upper-right-diagonal",
    8: "counterclockwise",
}
ORIENTATION = 274
MAX_TEXT = 1 << 24  # of a compressed chunk

# (counterclockwise quarter turns, then mirrored: None, 0 = top and bottom, 1 = left and right)
_AVIF = {
    (1, None): "counterclockwise",
    (2, None): "rotate-180",
    (3, None): "clockwise",
    (0, 0): "vertical",
    (0, 1): "horizontal",
    (1, 0): "upper-left-diagonal",
    (1, 1): "upper-right-diagonal",
    (2, 0): "horizontal",
    (2, 1): "vertical",
    (3, 0): "upper-right-diagonal",
    (3, 1): "upper-left-diagonal",
}


def missed_flip(data: bytes, kind: str) -> str:
    """The flip (a name of `pixels.FLIPS`) that a picture still needs after OpenCV has decoded it.

    Args:
        data: the whole file. kind: as `header.kind`.
    """
    try:
        if kind == "avif":
            return _AVIF.get(_avif(data), "none")
        finder = {"jpeg": _jpeg, "png": _png, "webp": _webp, "tiff": _tiff}.get(kind)
        return EXIF.get(finder(data), "none") if finder else "none"
    except (struct.error, IndexError, ValueError, OverflowError, zlib.error):
        return "none"  # what is damaged says nothing


def whole_flip(data: bytes, kind: str) -> str:
    """The flip that an encoded JPEG, PNG, WebP or TIFF asks for."""
    try:
        own = EXIF.get(OWN[kind](data), "none")
    except (struct.error, IndexError, ValueError, OverflowError):
        own = "none"
    return own if own != "none" else missed_flip(data, kind)


def _exif(data: bytes) -> int:
    return header.tiff_tags(data.removeprefix(b"Exif\0\0")).get(ORIENTATION, 0)


def _left(data: bytes) -> int | None:
    """The EXIF orientation that OpenCV does not see, 0 where it sees it, None where there is none.

    It takes two bytes whatever their type says, which are the wrong ones of a big-endian LONG.
    """
    found = header.Directory(data.removeprefix(b"Exif\0\0"))
    value = found.tags.get(ORIENTATION, 0)
    if not value:
        return None
    return 0 if found.order == "<" or found.kinds[ORIENTATION] == 3 else value


def _xmp(data: bytes) -> int:
    match = re.search(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])", data)
    return int(match[1]) if match else 0


def _jpeg(data: bytes) -> int:
    segments = [data[a:e] for m, a, e in header.jpeg_segments(data) if m == 0xE1]
    for segment in segments:
        left = _left(segment) if segment.startswith(b"Exif\0\0") else None
        if left is not None:
            return left
    return next((_xmp(s) for s in segments if s.startswith(b"http://ns.adobe.com/xap/")), 0)


def _jpeg_exif(data: bytes) -> int:
    segments = (data[a:e] for m, a, e in header.jpeg_segments(data) if m == 0xE1)
    return next((_exif(s) for s in segments if s.startswith(b"Exif\0\0")), 0)


def _png_exif(data: bytes) -> int:
    return next((_exif(content) for name, content in _png_chunks(data) if name == b"eXIf"), 0)


# EXIF where OpenCV looks for it
OWN = {
    "jpeg": _jpeg_exif,
    "png": _png_exif,
    "webp": lambda data: _exif(dict(_webp_chunks(data)).get(b"EXIF", b"")),
    "tiff": _exif,
}


def _tiff(data: bytes) -> int:
    return 0 if header.tiff_tags(data).get(ORIENTATION) else _xmp(data) if b"xmpmeta" in data else 0


def _webp(data: bytes) -> int:
    chunks = dict(_webp_chunks(data))
    left = _left(chunks.get(b"EXIF", b""))
    return _xmp(chunks.get(b"XMP ", b"")) if left is None else left


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _png(data: bytes) -> int:
    found = 0
    for name, content in _png_chunks(data):
        left = _left(content) if name == b"eXIf" else None
        if left is not None:
            return left
        if name in (b"tEXt", b"zTXt", b"iTXt"):
            keyword, text = _png_text(name, content)
            if keyword == b"XML:com.adobe.xmp":
                found = found or _xmp(text)
            elif keyword.startswith(b"Raw profile type "):
                # a line with the name, one with the length, then hexadecimal digits
                raw = bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii", "ignore"))
                found = _exif(raw) or found or _xmp(raw)
    return found


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def _png_text(name: bytes, content: bytes) -> tuple[bytes, bytes]:
    keyword, _, text = content.partition(b"\0")
    if name == b"tEXt":
        return keyword, text
    compressed = name == b"zTXt" or text[:1] == b"\1"
    if name == b"iTXt":  # flag, method, language, translated keyword
        text = text[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        text = text[1:]
    return keyword, zlib.decompressobj().decompress(text, MAX_TEXT) if compressed else text


# AVIF -------------------------------------------------------------------------------------------------
def avif_crop(data: bytes, width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of a decoded AVIF that are to be seen, before it is turned (clap, ISO 14496-12)."""
    whole = slice(0, height), slice(0, width)
    try:
        start = _properties(data).get(b"clap")
        if start is None:
            return whole
        w, h, x, y = (n / d for n, d in struct.iter_unpack(">iI", data[start : start + 32]))
    except (struct.error, IndexError, ValueError, ZeroDivisionError):
        return whole  # what is damaged says nothing
    rows, columns = _middle(height, h, y), _middle(width, w, x)
    return (rows, columns) if rows and columns else whole


def _middle(length: int, wanted: float, offset: float) -> slice | None:
    """So many pixels about the middle and an offset; None where they are not all there."""
    first = round((length - wanted) / 2 + offset)
    end = first + int(wanted)
    return slice(first, end) if 0 <= first < end <= length else None


def _avif(data: bytes) -> tuple[int, int | None]:
    """(quarter turns, mirror) that the primary picture's properties ask for."""
    found = _properties(data)
    turns, mirror = found.get(b"irot"), found.get(b"imir")
    return data[turns] & 3 if turns else 0, data[mirror] & 1 if mirror else None


def _properties(data: bytes) -> dict[bytes, int]:
    """Where the content of each property of the primary picture begins, by its name."""
    meta = dict(_boxes(data, 0, len(data))).get(b"meta", (0, 0))
    inside = dict(_boxes(data, meta[0] + 4, meta[1]))
    version = data[inside[b"pitm"][0]] if b"pitm" in inside else 0
    at = inside[b"pitm"][0] + 4 if b"pitm" in inside else 0
    primary = int.from_bytes(data[at : at + (2 if version == 0 else 4)], "big")
    groups = dict(_boxes(data, *inside.get(b"iprp", (0, 0))))
    properties = list(_boxes(data, *groups.get(b"ipco", (0, 0))))
    numbers = _associated(data, groups.get(b"ipma", (0, 0))[0], primary)
    return {name: start for name, (start, _) in (properties[n - 1] for n in numbers)}


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """(name, (begin, end of the content)) of the boxes between two places."""
    while at + 8 <= min(end, len(data)):
        length, start = int.from_bytes(data[at : at + 4], "big"), at + 8
        if length == 1:
            length, start = int.from_bytes(data[start : start + 8], "big"), at + 16
        length = length or end - at
        if length < 8:
            return
        yield data[at + 4 : at + 8], (start, at + length)
        at += length


def _associated(data: bytes, at: int, item: int) -> Iterator[int]:
    """Numbers, from 1, of the properties of an item (the ipma box, whose content begins at `at`)."""
    version, wide = data[at], data[at + 3] & 1
    count, at = int.from_bytes(data[at + 4 : at + 8], "big"), at + 8
    size = 2 if version == 0 else 4
    for _ in range(min(count, 65536)):
        this = int.from_bytes(data[at : at + size], "big")
        entries, at = data[at + size], at + size + 1
        for _ in range(entries):
            number = struct.unpack_from(">H", data, at)[0] & 0x7FFF if wide else data[at] & 0x7F
            at += 2 if wide else 1
            if this == item and number:
                yield number
