"""Encoded pictures as packets of RTP (RFC 3550), and their lines in a description (SDP).

Payloads of H.264 are in RFC 6184, of H.265 in RFC 7798, of VP8 in RFC 7741.
"""

from __future__ import annotations

import secrets
import struct
import time
from base64 import b64encode

Packet = tuple[int, bytes]  # 0 RTP or 1 RTCP, and what is sent
REPORT_SECONDS = 5.0
SINCE_1900 = 2208988800  # seconds from there to 1970
LARGEST = 1200  # bytes of a payload: it fits every network's packets


class Payload:
    """How one codec's pictures are split.

    Attributes:
        kind: the payload's number. clock: ticks of a stamp in a second.
    """

    kind, clock = 96, 90000

    def split(self, data: bytes) -> tuple[list[bytes], bool]:
        """The payloads of a picture, and whether decoding can begin with it."""
        raise NotImplementedError

    def description(self) -> str:
        """Lines of an SDP, once a key picture came."""
        raise NotImplementedError


class Units(Payload):
    """H.264 and H.265: units between start codes, parameter sets before every key picture."""

    def __init__(self, h265: bool = False) -> None:
        self._h265 = h265
        self._set_kinds = (32, 33, 34) if h265 else (7, 8)
        self._key_kinds = tuple(range(16, 22)) if h265 else (5,)
        self._sets: dict[int, bytes] = {}

    def _kind(self, unit: bytes) -> int:
        return unit[0] >> 1 & 63 if self._h265 else unit[0] & 31

    def split(self, data: bytes) -> tuple[list[bytes], bool]:
        units = [u for u in (part.rstrip(b"\0") for part in data.split(b"\0\0\1")) if u]
        self._sets |= {self._kind(u): u for u in units if self._kind(u) in self._set_kinds}
        units = [u for u in units if self._kind(u) not in self._set_kinds]
        key = any(self._kind(u) in self._key_kinds for u in units)
        if key:
            units = [self._sets[k] for k in self._set_kinds if k in self._sets] + units
        return [part for unit in units for part in self._parts(unit)], key

    def _parts(self, unit: bytes) -> list[bytes]:
        """A unit whole, or in fragments."""
        if len(unit) <= LARGEST:
            return [unit]
        if self._h265:
            head, body = bytes([unit[0] & 0x81 | 49 << 1, unit[1]]), unit[2:]
        else:
            head, body = bytes([unit[0] & 0xE0 | 28]), unit[1:]
        parts = []
        for at in range(0, len(body), LARGEST):
            edge = (0x80 if at == 0 else 0) | (0x40 if at + LARGEST >= len(body) else 0)
            parts.append(head + bytes([edge | self._kind(unit)]) + body[at : at + LARGEST])
        return parts

    def description(self) -> str:
        """Lines of an SDP: the parameter sets, so that a decoder is ready before the first picture."""
        sets = [b64encode(self._sets.get(kind, b"")).decode() for kind in self._set_kinds]
        if self._h265:
            name = "H265"
            how = ";".join(
                f"sprop-{n}={s}" for n, s in zip(("vps", "sps", "pps"), sets, strict=True)
            )
        else:
            name, profile = "H264", self._sets.get(7, b"")[1:4].hex()
            how = (
                f"packetization-mode=1;profile-level-id={profile};"
                f"sprop-parameter-sets={','.join(sets)}"
            )
        return f"m=video 0 RTP/AVP 96\r\na=rtpmap:96 {name}/90000\r\na=fmtp:96 {how}\r\n"


class Vp8(Payload):
    """VP8: a byte before each part, which says whether it is the first."""

    def split(self, data: bytes) -> tuple[list[bytes], bool]:
        cuts = range(0, len(data), LARGEST)
        parts = [bytes([0 if at else 0x10]) + data[at : at + LARGEST] for at in cuts]
        return parts, bool(data) and not data[0] & 1

    def description(self) -> str:
        return "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"


def payload_for(codec: str) -> Payload:
    """Of h264, h265 or vp8."""
    return Vp8() if codec == "vp8" else Units(codec == "h265")


class Packets:
    """The packets of one stream."""

    def __init__(self, payload: Payload) -> None:
        self.payload = payload
        self._source, self._sequence = secrets.randbits(32), secrets.randbits(16)
        self._sent, self._bytes, self._reported = 0, 0, 0.0

    def of(self, data: bytes) -> tuple[list[Packet], bool]:
        """Packets of a picture of now, and whether decoding can begin with it."""
        parts, key = self.payload.split(data)
        now = time.monotonic()
        stamp = int(now * self.payload.clock) & 0xFFFFFFFF
        packets = [self._packet(part, stamp, i == len(parts)) for i, part in enumerate(parts, 1)]
        if now >= self._reported + REPORT_SECONDS:
            self._reported = now
            packets.append((1, self._report(stamp)))
        return packets, key

    def _packet(self, part: bytes, stamp: int, last: bool) -> Packet:
        self._sequence = self._sequence + 1 & 0xFFFF
        self._sent, self._bytes = self._sent + 1, self._bytes + len(part)
        kind = self.payload.kind | (128 if last else 0)
        return 0, struct.pack("!BBHII", 128, kind, self._sequence, stamp, self._source) + part

    def _report(self, stamp: int) -> bytes:
        """What time a stamp is, for players (a sender report)."""
        ntp = int((time.time() + SINCE_1900) * 2**32)
        counts = (self._sent & 0xFFFFFFFF, self._bytes & 0xFFFFFFFF)
        return struct.pack("!BBHIQIII", 128, 200, 6, self._source, ntp, stamp, *counts)
