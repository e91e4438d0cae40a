"""Publishes an encoded stream from stdin to a server; a program of its own.

Connecting may take for ever, and PyAV holds Python's lock while it connects an output: in a process
of its own that stops nobody, and a stuck connection can be killed.

stdin: one line of JSON {url, format, options}, then a NUT stream. stdout: `ok` once connected, or
`error TEXT` before it ends.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import av


def main() -> int:
    """Copy packets until stdin ends."""

    line = bytearray()
    stdin = open(0, "rb", buffering=0)  # noqa: SIM115  unbuffered: each packet at once
    while not line.endswith(b"\n"):
        byte = stdin.read(1)
        if not byte:
            return 1
        line += byte
    order: dict[str, Any] = json.loads(line)
    try:
        with av.open(stdin, format="nut", options={"fflags": "nobuffer"}) as source:
            _copy(source, order)
    except (av.FFmpegError, OSError, ValueError) as e:
        print(f"error {getattr(e, 'strerror', None) or type(e).__name__}", flush=True)
        return 1
    return 0


def _copy(source: Any, order: dict[str, Any]) -> None:
    incoming = source.streams.video[0]
    with av.open(order["url"], "w", format=order["format"], options=order["options"]) as target:
        outgoing = target.add_stream_from_template(incoming)
        target.start_encoding()
        print("ok", flush=True)
        for packet in source.demux(incoming):
            if packet.dts is not None:
                packet.stream = outgoing
                target.mux_one(packet)


if __name__ == "__main__":
    sys.exit(main())
