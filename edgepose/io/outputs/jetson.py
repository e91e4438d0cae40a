"""Windows through jetson-utils: device images are shown without a copy to the host.

Network outputs and files go through PyAV also where jetson-utils is installed, unless
EDGEPOSE_VIDEO=jetson asks for its encoders (NVENC): it stamps frames by the wall clock, tears films
down when the size changes, and its RTSP server refuses viewers that come back.
"""

from __future__ import annotations

from typing import Any

from edgepose.errors import OutputError
from edgepose.io.base import Output, OutputOptions
from edgepose.io.jetson_utils import LOG_OPTIONS
from edgepose.io.uri import Uri
from edgepose.types import Frame


class JetsonOutput(Output):
    """A `videoOutput`.

    Attributes:
        closed: its window was closed.

    Raises:
        OutputError: it cannot be opened.
    """

    drops = True
    takes_device = True

    def __init__(self, utils: Any, uri: Uri, options: OutputOptions) -> None:
        self._utils, self._shown = utils, uri.display
        settings: dict[str, Any] = {
            "codec": options.codec,
            "bitrate": options.bitrate,
            "width": options.width,
            "height": options.height,
            "framerate": options.rate or options.input_rate,
        }
        try:
            self._output = utils.videoOutput(
                uri.text,
                argv=LOG_OPTIONS,
                options={k: v for k, v in settings.items() if v},
            )
        except Exception as e:  # jetson-utils raises plain Exception
            raise OutputError(
                f"{uri.display} cannot be opened through jetson-utils "
                f"({str(e).replace(uri.text, uri.display)}). EDGEPOSE_VIDEO=pyav "
                "tries without it."
            ) from None

    @property
    def closed(self) -> bool:
        """The window was closed, or the stream ended."""
        return not self._output.IsStreaming()

    def write(self, frame: Frame) -> None:
        """Show or send one frame, from the device or the host.

        Raises:
            OutputError: jetson-utils refused it.
        """
        image = frame.pixels if frame.on_device else self._utils.cudaFromNumpy(frame.pixels)
        try:
            self._output.Render(image)
        except Exception as e:  # jetson-utils raises plain Exception
            raise OutputError(f"{self._shown}: {e}.") from None

    def status(self, text: str) -> None:
        """Set the title of the window."""
        self._output.SetStatus(text)

    def close(self) -> None:
        """Close the window or stream."""
        self._output.Close()


def open_jetson(utils: Any, uri: Uri, options: OutputOptions) -> Output:
    """Open a `videoOutput`."""
    return JetsonOutput(utils, uri, options)
