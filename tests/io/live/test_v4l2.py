"""Cameras: choosing a mode, and capture from a stand-in that is unplugged, busy and silent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.errors import SourceError, SourceLost, UnknownNameError
from edgepose.io.base import SourceOptions
from edgepose.io.sources import open_source, v4l2
from edgepose.io.sources.v4l2 import Mode, choose
from edgepose.io.uri import parse
from tests.conftest import as_anybody

WEBCAM = (
    Mode("YUYV", 640, 480, 30.0),
    Mode("YUYV", 1280, 720, 10.0),
    Mode("MJPG", 640, 480, 60.0),
    Mode("MJPG", 1280, 720, 30.0),
    Mode("MJPG", 1920, 1080, 30.0),
    Mode("H264", 1920, 1080, 30.0),
    Mode("XYZ1", 1280, 720, 30.0),
)


@pytest.mark.parametrize(
    ("asked", "mode"),
    [
        ({}, Mode("MJPG", 1280, 720, 30.0)),
        ({"width": 640, "height": 480}, Mode("YUYV", 640, 480, 30.0)),
        ({"width": 640, "height": 480, "rate": 60}, Mode("MJPG", 640, 480, 60.0)),
        ({"rate": 10}, Mode("YUYV", 1280, 720, 10.0)),
        ({"width": 4000, "height": 3000}, Mode("MJPG", 1920, 1080, 30.0)),
        ({"width": 1920, "height": 1080, "codec": "h264"}, Mode("H264", 1920, 1080, 30.0)),
        ({"codec": "raw"}, Mode("YUYV", 1280, 720, 10.0)),
        ({"codec": "MJPEG", "width": 600, "height": 400}, Mode("MJPG", 640, 480, 60.0)),
    ],
)
def test_the_nearest_mode_is_chosen(asked: dict[str, Any], mode: Mode) -> None:
    assert choose(WEBCAM, SourceOptions(**asked)) == mode


def test_a_codec_that_the_camera_lacks() -> None:
    with pytest.raises(SourceError, match="it offers H264, MJPG, YUYV"):
        choose(WEBCAM, SourceOptions(codec="h265"))
    with pytest.raises(UnknownNameError, match="Did you mean 'mjpeg'"):
        choose(WEBCAM, SourceOptions(codec="mjpg"))


MODES = st.builds(
    Mode,
    st.sampled_from(["YUYV", "MJPG", "NV12", "BA81"]),
    st.integers(16, 4000),
    st.integers(16, 4000),
    st.sampled_from([0.0, 5.0, 30.0, 60.0]),
)


@given(st.lists(MODES, max_size=8), st.integers(1, 4000), st.integers(1, 4000))
def test_no_usable_mode_is_nearer(modes: list[Mode], width: int, height: int) -> None:
    chosen = choose(tuple(modes), SourceOptions(width=width, height=height))
    usable = [m for m in modes if m.fourcc != "BA81"]
    if chosen is None:
        assert not usable
        return
    away = [abs(m.width - width) + abs(m.height - height) for m in usable]
    assert abs(chosen.width - width) + abs(chosen.height - height) == min(away)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/dev/video3", "/dev/video3"),
        ("v4l2:///dev/video0", "/dev/video0"),
        ("v4l2://2", "/dev/video2"),
        ("/dev/v4l/by-id/usb-cam-index0", "/dev/v4l/by-id/usb-cam-index0"),
    ],
)
def test_the_node_of_a_name(text: str, path: str) -> None:
    assert v4l2.node(parse(text)) == path


def test_a_missing_camera_and_what_is_no_camera() -> None:
    with pytest.raises(SourceLost, match="edgepose devices"):
        open_source("/dev/video97")
    with pytest.raises(SourceError, match="not a V4L2 device"):
        open_source("v4l2:///dev/zero")


def test_permission_names_the_group(tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.touch(0)
    with pytest.raises(SourceError, match="usermod -aG"):
        as_anybody(lambda: open_source(f"v4l2://{device}"))


def test_the_advice_on_permission(tmp_path: Path) -> None:
    import grp

    device = tmp_path / "video0"
    device.touch()
    group = grp.getgrgid(device.stat().st_gid).gr_name
    refusal = v4l2.explain(PermissionError(13, "Permission denied"), str(device))
    assert f'group "{group}"' in str(refusal)
    assert f"usermod -aG {group}" in str(refusal)


SCRIPT = """
import json, pathlib, sys, threading, time
from edgepose.errors import EdgeposeError
from edgepose.io.base import SourceOptions
from edgepose.io.sources import open_source, v4l2

folder = pathlib.Path(sys.argv[1])
events, out = [], {}

def run(frames, until=None, **options):
    with open_source("/dev/video0", SourceOptions(on_event=events.append, **options)) as source:
        got = []
        for frame in source:
            got.append([*frame.pixels.shape, int(frame.pixels[0, 0, 0])])
            if len(got) >= frames or (until and until()):
                return got, source
"""


def camera_script(library: Path, folder: Path, text: str, **more: str) -> Any:
    """Run a script with the stand-in for a camera; the JSON that it prints."""
    environment = {
        **os.environ,
        **more,
        "LD_PRELOAD": str(library),
        "FAKE_CAMERA": "/dev/video0",
        "FAKE_CAMERA_UNPLUGGED": str(folder / "unplugged"),
        "FAKE_CAMERA_BUSY": str(folder / "busy"),
        "FAKE_CAMERA_SILENT": str(folder / "silent"),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + text, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_modes_frames_and_sizes(fake_camera: Path, tmp_path: Path) -> None:
    text = """
camera = v4l2.describe("/dev/video0")
out["name"] = camera.name
out["modes"] = [str(m) for m in camera.modes]
out["small"], source = run(3, width=300, height=200)
out["rate"] = source.rate
out["large"], _ = run(2)
(folder / "busy").touch()
try:
    run(1)
except EdgeposeError as e:
    out["busy"] = str(e)
print(json.dumps(out))
"""
    out = camera_script(fake_camera, tmp_path, text)
    assert out["name"] == "Fake camera"
    assert out["modes"] == [
        "640x480 30/s YUYV",
        "640x480 15/s YUYV",
        "320x240 30/s YUYV",
        "320x240 15/s YUYV",
        "1280x720 10/s YUYV",
    ]
    assert [shape[:3] for shape in out["small"]] == [[240, 320, 3]] * 3
    assert out["rate"] == 30
    greys = [shape[3] for shape in out["small"]]
    assert greys == sorted(greys)
    assert [shape[:2] for shape in out["large"]] == [[720, 1280]] * 2
    assert "in use by" in out["busy"]


def test_planes_of_a_camera_are_its_own_copies(fake_camera: Path, tmp_path: Path) -> None:
    """The driver has eight buffers, which go round."""
    text = """
from edgepose.io.planes import PlanarPixels
with open_source("/dev/video0", SourceOptions(width=320, height=240, rate=30, frames=12)) as source:
    frames = list(source)
out["planar"] = [isinstance(f.as_given, PlanarPixels) for f in frames]
out["luma"] = [sorted({*f.as_given.planes.planes[0].ravel().tolist()}) for f in frames]
out["rgb"] = [[*f.pixels.shape, int(f.pixels.min()), int(f.pixels.max())] for f in frames]
print(json.dumps(out))
"""
    out = camera_script(fake_camera, tmp_path, text, FAKE_CAMERA_NV12="1")
    assert out["planar"] == [True] * 12
    numbers = [luma[0] for luma in out["luma"]]
    assert all(len(luma) == 1 for luma in out["luma"])
    assert numbers == sorted({*numbers})
    black = [max(0, round((n - 16) * 255 / 219)) for n in numbers]  # of luma from 16 to 235
    assert all(
        rgb[:3] == [240, 320, 3] and abs(rgb[3] - b) <= 1 and abs(rgb[4] - b) <= 1
        for rgb, b in zip(out["rgb"], black, strict=True)
    )


def test_unplugged_and_plugged_in_again(fake_camera: Path, tmp_path: Path) -> None:
    text = """
def unplug():
    (folder / "unplugged").touch()
    while not any(e["event"] == "lost" for e in events):
        time.sleep(0.01)
    (folder / "unplugged").unlink()

threading.Timer(0.3, unplug).start()
run(1000, lambda: any(e["event"] == "back" for e in events), width=320, height=240)
print(json.dumps(events))
"""
    events = camera_script(fake_camera, tmp_path, text)
    assert [e["event"] for e in events] == ["connected", "lost", "back", "ended"]
    assert "No such device" in events[1]["error"]


def test_a_silent_driver_does_not_hold_the_thread(fake_camera: Path, tmp_path: Path) -> None:
    text = """
with open_source("/dev/video0", SourceOptions(timeout=60, width=320, height=240)) as source:
    frames = iter(source)
    next(frames)
    (folder / "silent").touch()
    taker = threading.Thread(target=lambda: list(frames))
    taker.start()
    time.sleep(0.2)
    source.close()
    taker.join(10)
    out["alive"] = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
print(json.dumps(out))
"""
    assert camera_script(fake_camera, tmp_path, text)["alive"] == []


def test_devices_lists_it(fake_camera: Path, tmp_path: Path) -> None:
    text = """
import glob
glob.glob = lambda pattern, real=glob.glob: ["/dev/video0"] if "video" in pattern else real(pattern)
from edgepose.cli.devices import Devices, devices
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()) as said:
    devices(Devices())
print(json.dumps(said.getvalue()))
"""
    said = camera_script(fake_camera, tmp_path, text)
    assert "/dev/video0  Fake camera\n" in said
    assert "    YUYV  640x480  30, 15 frames/s\n" in said
