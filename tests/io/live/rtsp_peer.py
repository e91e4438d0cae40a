"""A small RTSP server for the tests, run with the system's Python: needs Debian's
gir1.2-gst-rtsp-server-1.0, gstreamer1.0-rtsp, python3-gi, python3-gst-1.0 and
gstreamer1.0-plugins-{base,good,bad,ugly}.

usage: python3 rtsp_peer.py PORT [--user NAME --password WORD] [--record FILE]

/live shows a test pattern (320x240, 15 frames/s, H.264); /switch changes its size every two
seconds; /sound has no picture; /push stores what is pushed in FILE. Prints "ready".
"""

import argparse

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

PICTURE = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1 ! "
)
H264 = (
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 bitrate=400 ! "
    "rtph264pay name=pay0 pt=96 config-interval=1"
)


def factory(launch: str) -> GstRtspServer.RTSPMediaFactory:
    made = GstRtspServer.RTSPMediaFactory()
    made.set_launch(f"( {launch} )")
    made.set_shared(True)
    return made


def switching() -> GstRtspServer.RTSPMediaFactory:
    launch = (
        "videotestsrc is-live=true ! videoscale ! capsfilter name=size "
        "caps=video/x-raw,width=320,height=240,framerate=15/1 ! " + H264
    )
    made = factory(launch)

    def configure(_: object, media: GstRtspServer.RTSPMedia) -> None:
        size = media.get_element().get_by_name("size")
        sizes = ["video/x-raw,width=160,height=120", "video/x-raw,width=320,height=240"]

        def switch() -> bool:
            sizes.append(sizes.pop(0))
            size.set_property("caps", Gst.Caps.from_string(sizes[-1] + ",framerate=15/1"))
            return True

        timer = GLib.timeout_add(2000, switch)
        media.connect("unprepared", lambda _: GLib.source_remove(timer))

    made.connect("media-configure", configure)
    return made


def recording(path: str) -> GstRtspServer.RTSPMediaFactory:
    made = GstRtspServer.RTSPMediaFactory()
    made.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    made.set_launch(
        "( rtph264depay name=depay0 ! h264parse ! mpegtsmux ! "
        f"filesink sync=false buffer-mode=unbuffered location={path} )"
    )
    made.set_latency(200)
    return made


def protect(server: GstRtspServer.RTSPServer, user: str, password: str) -> None:
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "reader")
    auth.add_digest(user, password, token)
    server.set_auth(auth)


def allow(made: GstRtspServer.RTSPMediaFactory) -> None:
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("reader", "media.factory.access", True)
    permissions.add_permission_for_role("reader", "media.factory.construct", True)
    made.set_permissions(permissions)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port")
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--record", default="")
    args = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(args.port)
    mounts = {
        "/live": factory(PICTURE + H264),
        "/switch": switching(),
        "/sound": factory("audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8"),
    }
    if args.record:
        mounts["/push"] = recording(args.record)
    for path, made in mounts.items():
        if args.user:
            allow(made)
        server.get_mount_points().add_factory(path, made)
    if args.user:
        protect(server, args.user, args.password)
    if not server.attach(None):
        raise SystemExit(f"port {args.port} is in use")
    print("ready", flush=True)
    GLib.MainLoop().run()


main()
