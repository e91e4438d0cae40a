"""What an image file is by its bytes, and whether it is whole, without decoding it.

This tells images from films whatever their extension. Formats: JPEG (ISO 10918-1), PNG, GIF89a, TIFF
6.0 and BigTIFF.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from mmap import mmap

Buffer = bytes | mmap
HEAD = 64


def kind(data: bytes) -> str:
    """Name of the image format that the first `HEAD` bytes belong to, "" where none."""
    for name, magic in _MAGIC:
        if re.match(magic, data, re.DOTALL):
            return name
    return ""


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


def gif_frames(data: Buffer) -> tuple[int, bool]:
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


def _skip_blocks(data: Buffer, at: int) -> int:
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


def still_png(data: bytes) -> bytes:
    """A PNG without its animation, which need not begin with the picture that the file shows (APNG)."""
    if b"acTL" not in data:
        return data
    kept, at = [data[:8]], 8
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] not in (b"acTL", b"fcTL", b"fdAT"):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _jpeg_is_whole(data: bytes) -> bool:
    """True where the end of image stands behind the first scan; thumbnails lie in segments before."""
    for marker, at, _ in jpeg_segments(data):
        if marker == 0xDA:
            return data.find(b"\xff\xd9", at) >= 0
    return False


def jpeg_segments(data: Buffer, at: int = 0) -> Iterator[tuple[int, int, int]]:
    """(marker, where its content begins, where it ends) of each segment of the JPEG at a place, up to
    its first scan. Bytes that belong to no segment are passed over, as decoders do."""
    at += 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2  # no length: fill bytes, restarts, junk
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at + 4, end
        if marker in (0xD9, 0xDA):
            return
        at = end


def is_jpeg_film(data: Buffer, extension: str = "") -> bool:
    """True for JPEG behind JPEG (a raw .mjpeg film), rather than one picture with a preview behind it.

    The second must be of the first one's size, unless the file's extension says that it is a film; the
    pictures of a multi-picture file (MPO) are listed in the first one's APP2.
    """
    first = list(jpeg_segments(data))
    if any(m == 0xE2 and data[a : a + 4] == b"MPF\0" for m, a, _ in first):
        return False
    film = extension in ("mjpeg", "mjpg")
    whole = first and first[-1][0] == 0xDA
    second = _behind_jpeg(data, first[-1][2], _ANYWHERE if film else _NEXT) if whole else -1
    if second < 0:
        return False
    return film or _frame(data, 0) == _frame(data, second)


def _behind_jpeg(data: Buffer, at: int, gap: re.Pattern[bytes]) -> int:
    """Where the next JPEG begins behind the one whose first scan's data begin at a place, else -1.

    gap: what may lie between the two, with the beginning of the second.
    """
    while match := _MARKER.search(data, at):
        marker = match[0][1]
        if marker == 0xD9:
            following = gap.match(data, match.end())
            return following.end() - 3 if following else -1
        at = match.end() + (0 if marker == 0xD8 else int.from_bytes(data[match.end() :][:2], "big"))
    return -1


_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_NEXT = re.compile(rb"[\0\r\n]{0,4096}\xff\xd8\xff")
_ANYWHERE = re.compile(rb".*?\xff\xd8\xff", re.DOTALL)


def _frame(data: Buffer, at: int) -> bytes:
    """Height, width and components of the JPEG at a place, as its header has them; b"" without."""
    for marker, start, end in jpeg_segments(data, at):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return bytes(data[start + 1 : end])
    return b""


def is_cut_avi(path: str) -> bool:
    """True where an AVI file ends before the last of its RIFF chunks does; it may have several."""
    with open(path, "rb") as file:
        end, at = file.seek(0, 2), 0
        while at + 8 <= end:
            file.seek(at)
            name, length = file.read(4), int.from_bytes(file.read(4), "little")
            if name != b"RIFF":
                return False
            at += 8 + length + length % 2
    return at > end + 1


class Directory:
    """The first directory of a TIFF or BigTIFF, or of EXIF data.

    What lies outside the data is left out: a TIFF of nothing but its header has no tags.

    Attributes:
        tags: the (first) numbers in it by their tags. kinds: the TIFF type of each (1 BYTE, 3 SHORT, 4 LONG,
            ...). places: where each number stands.
        order: "<" or ">". following: where the next directory lies, 0 where there is none.
    """

    def __init__(self, data: bytes) -> None:
        self.tags: dict[int, int] = {}
        self.kinds: dict[int, int] = {}
        self.places: dict[int, int] = {}
        self.order = "<" if data[:2] == b"II" else ">"
        self.following = 0
        with suppress(struct.error, OverflowError):
            self._read(data)

    def _read(self, data: bytes) -> None:
        order = self.order
        big = struct.unpack_from(order + "H", data, 2)[0] == 43
        start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
        count = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
        first, step, value = (start + 8, 20, 12) if big else (start + 2, 12, 8)
        offset = order + ("Q" if big else "I")
        for at in range(first, first + step * min(count, 4096), step):
            tag, kind = struct.unpack_from(order + "HH", data, at)
            form = order + {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(kind, "")
            if form == order:
                continue
            place, numbers = at + value, struct.unpack_from(offset, data, at + 4)[0]
            if numbers * struct.calcsize(form) > step - value:  # too many to stand here
                place = struct.unpack_from(offset, data, place)[0]
            with suppress(struct.error, OverflowError):  # the others count nevertheless
                self.tags[tag] = struct.unpack_from(form, data, place)[0]
                self.kinds[tag], self.places[tag] = kind, place
        self.following = struct.unpack_from(
            order + ("Q" if big else "I"), data, first + step * count
        )[0]

    @property
    def is_preview(self) -> bool:
        """True where a larger picture follows: raw files of cameras begin with a small one."""
        return bool(self.tags.get(_SUBFILE, 0) & 1) and bool(
            self.following or _SUBDIRECTORIES in self.tags
        )


def tiff_tags(data: bytes) -> dict[int, int]:
    """The numbers in the first directory of a TIFF (or of EXIF data) by their tags."""
    return Directory(data).tags


def straight_alpha(data: bytes) -> int:
    """Where a TIFF says that its colours are not multiplied by their alpha, 0 where it does not."""
    found = Directory(data)
    return found.places[_EXTRA] if found.tags.get(_EXTRA) == 2 else 0


def has_own_masks(data: bytes) -> bool:
    """True for a BMP of 32 bits whose colours stand at other places than blue, green, red."""
    if len(data) < 66:
        return False
    bits, packing = struct.unpack_from("<HI", data, 28)
    masks = struct.unpack_from("<III", data, 54)
    return bits == 32 and packing == 3 and masks != (0xFF0000, 0xFF00, 0xFF)


def netpbm_most(data: bytes) -> int:
    """The value that is white in a PGM or PPM whose values OpenCV gives as they stand, 0 for others."""
    match = _NETPBM.match(data)
    most = int(match[1]) if match else 0
    # it scales what is written in digits, but not above 255
    return most if data[:2] in (b"P5", b"P6") or most > 255 else 0


_SUBFILE, _SUBDIRECTORIES, _EXTRA = 254, 330, 338
_GAP = rb"(?:\s|#[^\n]*\n)+"
_NETPBM = re.compile(rb"P[2356]" + _GAP + rb"\d+" + _GAP + rb"\d+" + _GAP + rb"(\d{1,5})\s")

_MAGIC: tuple[tuple[str, bytes], ...] = (
    ("jpeg", rb"\xff\xd8\xff"),
    ("png", rb"\x89PNG\r\n\x1a\n"),
    ("gif", rb"GIF8[79]a"),
    ("bmp", rb"BM....\0\0\0\0"),
    ("webp", rb"RIFF....WEBP"),
    ("tiff", rb"II[*+]\0|MM\0[*+]"),
    ("netpbm", rb"P[1-6]\s"),
    ("pfm", rb"P[Ff]\s"),
    ("pam", rb"P7\n"),
    ("jpeg2000", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    ("avif", rb"....ftyp(avif|avis|(mif1|miaf|msf1).{4,40}avif)"),
    ("heif", rb"....ftyp(heic|heix|heim|heis|hevc|hevx|hevm|hevs|mif1|msf1)"),
    ("hdr", rb"#\?(RADIANCE|RGBE)"),
    ("exr", rb"v/1\x01"),
    ("sun", rb"\x59\xa6\x6a\x95"),
    ("photoshop", rb"8BPS"),
)
