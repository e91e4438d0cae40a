"""The sound of a film beside its pictures, copied packet by packet."""

from __future__ import annotations

import logging
from typing import Any

import av

from edgepose.errors import OutputError
from edgepose.io.ffmpeg import file_name, first_video, open_container
from edgepose.types import Frame

log = logging.getLogger(__name__)


class Sound:
    """The audio of a file, copied packet by packet beside the film."""

    def __init__(self, source: Any, stream: Any, container: Any, start: float) -> None:
        self._source = source
        self._target = container.add_stream_from_template(stream)
        self._container = container
        self._packets: Any = source.demux(stream)
        self._start = start
        self._held: Any = None

    @classmethod
    def open(cls, path: str, container: Any, first: Frame) -> Sound | None:
        """The sound of a file, None where it has none that the container holds.

        Raises:
            OutputError: the file cannot be read.
        """
        if not path:
            return None
        try:
            source = open_container(file_name(path))
        except (av.FFmpegError, OSError) as e:
            raise OutputError(f"Audio of {path} cannot be read: {e.strerror or e}.") from None
        streams = source.streams.audio
        if not streams:
            source.close()
            return None
        holds, name = container.supported_codecs, streams[0].codec_context.name
        # FFmpeg lists for MPEG-TS only what it would encode itself
        if name not in holds and container.format.name != "mpegts":
            log.warning("the audio of %s (%s) is left out: %s", path, name, container.format.name)
            source.close()
            return None
        start = first.pts or 0.0
        film = first_video(source)
        if film is not None:
            start += float((film.start_time or 0) * film.time_base)
        return cls(source, streams[0], container, start)

    def up_to(self, seconds: float) -> None:
        """Write the packets that start before a time of the film."""
        while True:
            packet = self._held or self._next()
            self._held = packet
            if packet is None or packet.pts * packet.time_base >= seconds:
                return
            self._held = None
            packet.stream = self._target
            self._container.mux(packet)

    def _next(self) -> Any:
        """The next packet, its times counted from the film's start; None at the end or at damage."""
        try:
            for packet in self._packets:
                if not packet.size or packet.pts is None or packet.dts is None:
                    continue
                shift = round(self._start / float(packet.time_base))
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                if packet.dts >= 0:
                    return packet
        except (av.FFmpegError, OSError):
            log.warning("the audio is damaged and ends here")
        return None

    def close(self) -> None:
        """Release the file that the sound comes from."""
        self._source.close()
