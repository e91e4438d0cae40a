"""`edgepose devices`: which cameras this machine has, what they can do, and how to name them."""

from __future__ import annotations

import glob
import json
import os
from typing import Any

from edgepose.cli.options import Devices
from edgepose.errors import EXIT_DONE
from edgepose.io import jetson_utils
from edgepose.io.sources import csi, v4l2
from edgepose.io.sources.v4l2 import Camera


def devices(asked: Devices) -> int:
    """List cameras and what else can be an input."""
    cameras = v4l2.cameras()
    utils, reason = jetson_utils.find()
    why = "" if utils is not None else csi.no_camera_stack()
    argus = not why
    if asked.json:
        print(json.dumps({"cameras": [_device_row(c) for c in cameras], "csi": argus,
                          "jetson_utils": utils is not None}, indent=2))  # fmt: skip
        return EXIT_DONE
    for camera in cameras:
        _print(camera)
    if not cameras:
        print("No V4L2 camera (/dev/video*). In a container: --device /dev/video0.")
    print("CSI cameras: csi://0, csi://1, ..." if argus else f"CSI cameras: none, {why}.")
    if utils is None:
        print(f"jetson-utils: no, {reason}.")
    print("Without a camera: posenet test://people")
    return EXIT_DONE


def links(path: str) -> list[str]:
    """The names under /dev/v4l that stay the same when cameras are plugged in another order."""
    return [n for n in sorted(glob.glob("/dev/v4l/*/*")) if os.path.realpath(n) == path]


def _device_row(camera: Camera) -> dict[str, Any]:
    return {
        "path": camera.path,
        "name": camera.name,
        "links": links(camera.path),
        "modes": [
            {"format": m.fourcc, "width": m.width, "height": m.height, "rate": m.rate}
            for m in camera.modes
        ],
        "trouble": camera.trouble,
    }


def _print(camera: Camera) -> None:
    if camera.trouble:
        print(camera.trouble)
        return
    print(f"{camera.path}  {camera.name}")
    for link in links(camera.path):
        print(f"    also {link}")
    sizes: dict[tuple[str, int, int], list[float]] = {}
    for mode in camera.modes:
        sizes.setdefault((mode.fourcc, mode.width, mode.height), []).append(mode.rate)
    for (fourcc, width, height), rates in sizes.items():
        shown = ", ".join(f"{rate:g}" for rate in rates if rate)
        print(f"    {fourcc}  {width}x{height}  {shown + ' frames/s' if shown else ''}".rstrip())
