"""An RTSP server that sends what comes in on stdin; a program of its own, without edgepose.

It runs with a Python that has GStreamer's bindings (on Debian, Ubuntu and JetPack the system's), so
that edgepose itself may live in a virtual environment without them.

stdin: records of kind (1 byte), mount number (1), length (4), nothing else in network order; then
`length` bytes. Kind A adds a mount: JSON {path, codec, user, password}. Kind F is one encoded
picture. stdout: lines `ready`, `mounted MOUNT`, `watched MOUNT 1|0`, `join MOUNT` (a viewer needs a key frame),
`error TEXT`. The end of stdin ends the server.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
from typing import Any, BinaryIO

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

HEADER = struct.Struct("!cBI")
PAYLOADS = {
    "h264": (
        "video/x-h264,stream-format=byte-stream,alignment=au",
        "h264parse ! rtph264pay config-interval=1",
    ),
    "h265": (
        "video/x-h265,stream-format=byte-stream,alignment=au",
        "h265parse ! rtph265pay config-interval=1",
    ),
    "vp8": ("video/x-vp8", "rtpvp8pay"),
    "mjpeg": ("image/jpeg", "jpegparse ! rtpjpegpay"),
}


def tell(text: str) -> None:
    """One line to the parent."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Mount:
    """A path of the server: a shared pipeline that exists while somebody watches."""

    def __init__(self, number: int, server: Any, setting: dict[str, str]) -> None:
        self.number = number
        self.source: Any = None
        caps, payloader = PAYLOADS[setting["codec"]]
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(
            f"( appsrc name=source is-live=true do-timestamp=true format=time caps={caps} ! "
            f"{payloader} name=pay0 pt=96 )"
        )
        factory.set_shared(True)
        factory.set_latency(0)
        factory.connect("media-configure", self.configured)
        if setting.get("user"):
            # roles are names of GStreamer's, which allow fewer letters than user names
            protect(server, factory, f"viewer{number}", setting)
        server.get_mount_points().add_factory(setting["path"], factory)

    def configured(self, _: Any, media: Any) -> None:
        """The first viewer came: take the new pipeline's entrance.

        Pictures must flow from now on: the stream is described from the first of them.
        """
        self.source = media.get_element().get_by_name_recurse_up("source")
        self.source.set_property("max-bytes", 4 << 20)
        self.source.set_property("block", False)
        media.connect("unprepared", self.unprepared)
        tell(f"watched {self.number} 1")
        tell(f"join {self.number}")

    def unprepared(self, _: Any) -> None:
        """The last viewer left."""
        self.source = None
        tell(f"watched {self.number} 0")

    def push(self, data: bytes) -> None:
        """Hand one picture to the pipeline, if there is one."""
        source = self.source
        if source is not None:
            source.emit("push-buffer", Gst.Buffer.new_wrapped(data))


def protect(server: Any, factory: Any, role: str, setting: dict[str, str]) -> None:
    """Ask for a user name and password (digest)."""
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role(role, "media.factory.access", True)
    permissions.add_permission_for_role(role, "media.factory.construct", True)
    factory.set_permissions(permissions)
    auth = server.get_auth() or GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", role)
    auth.add_digest(setting["user"], setting.get("password", ""), token)
    server.set_auth(auth)


class Child:
    """The server and its mounts."""

    def __init__(self, host: str, port: str) -> None:
        self.server = GstRtspServer.RTSPServer()
        self.server.set_address(host)
        self.server.set_service(port)
        self.mounts: dict[int, Mount] = {}
        self.paths: dict[str, Mount] = {}
        self.server.connect("client-connected", self.client_connected)

    def client_connected(self, _: Any, client: Any) -> None:
        """Ask for a key frame when somebody begins to watch."""
        client.connect("pre-play-request", self.about_to_play)

    def about_to_play(self, _: Any, context: Any) -> Any:
        """A viewer is about to play one of the paths."""
        mount = self.paths.get(context.uri.abspath.rstrip("/"))
        if mount is not None:
            tell(f"join {mount.number}")
        return GstRtsp.RTSPStatusCode.OK

    def read(self, stream: BinaryIO, loop: Any) -> None:
        """Take records until stdin ends."""
        while len(head := stream.read(HEADER.size)) == HEADER.size:
            kind, number, length = HEADER.unpack(head)
            data = stream.read(length)
            if kind == b"A":
                GLib.idle_add(self.add, number, json.loads(data))
            elif number in self.mounts:
                self.mounts[number].push(data)
        loop.quit()

    def add(self, number: int, setting: dict[str, str]) -> bool:
        """Add a mount (in the main loop)."""
        mount = Mount(number, self.server, setting)
        self.mounts[number] = self.paths[setting["path"].rstrip("/")] = mount
        tell(f"mounted {number}")
        return False


def main() -> None:
    """`python rtsp_child.py HOST PORT`."""
    Gst.init(None)
    child = Child(sys.argv[1], sys.argv[2])
    if not child.server.attach(None):
        tell(f"error port {sys.argv[2]} is in use or not ours to open")
        return
    tell("ready")
    loop = GLib.MainLoop()
    threading.Thread(target=child.read, args=(sys.stdin.buffer, loop), daemon=True).start()
    loop.run()
    sys.stdout.flush()
    os._exit(0)  # GStreamer's threads need no farewell


if __name__ == "__main__":
    main()
