"""The jetson-utils adapter against a double that mirrors the real module, and CSI without a Jetson."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest
from peers import wait_for

from edgepose.cuda.pictures import address_of
from edgepose.doctor.board import Board
from edgepose.doctor.checks import Place, _jetson_utils
from edgepose.errors import (
    BackendUnavailable,
    OutputError,
    SourceError,
    SourceLost,
    UnknownNameError,
    UsageError,
)
from edgepose.io import jetson_utils
from edgepose.io.base import Output, OutputOptions, SourceOptions
from edgepose.io.outputs import jetson as jetson_output
from edgepose.io.outputs import open_output
from edgepose.io.outputs.fanout import FanOut
from edgepose.io.sources import csi, open_source
from edgepose.io.sources.jetson import JetsonCapture
from edgepose.io.uri import parse
from edgepose.types import Frame


class Host(Output):
    """An output that keeps the pixels that it gets."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def write(self, frame: Frame) -> None:
        self.seen.append(frame.pixels)


@pytest.fixture
def utils(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The double, importable as jetson_utils."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "double"))
    monkeypatch.delitem(sys.modules, "jetson_utils", raising=False)
    import jetson_utils

    yield jetson_utils
    del sys.modules["jetson_utils"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("csi://0", "csi://0"),
        ("1", "csi://1"),
        ("/dev/video0", "v4l2:///dev/video0"),
        ("rtsp://u:p@h/p", "rtsp://u:p@h/p"),
        ("rtp://@:5004", "rtp://@:5004"),
    ],
)
def test_cameras_and_streams_go_through_it(utils: Any, text: str, address: str) -> None:
    options = SourceOptions(reconnect=False, width=640, height=480, rate=15, frames=1)
    with open_source(text, options) as source:
        assert source.rate == 30
        frame = next(iter(source))
    _, uri, argv, settings = next(c for c in utils.calls if c[0] == "videoSource")
    assert (uri, settings["width"], settings["height"]) == (address, 640, 480)
    assert settings["framerate"] == 15
    # the real one prints passwords otherwise, and to stdout, where our data go
    assert argv == ("--log-level=error", "--log-file=stderr")
    assert frame.on_device
    assert (frame.width, frame.height) == (32, 24)
    assert "p@h" not in frame.source
    assert utils.calls[-1] == ("videoSource.Close",)


def test_a_taken_image_is_not_written_again(utils: Any) -> None:
    with open_source("csi://0", SourceOptions(reconnect=False)) as source:
        frames = iter(source)
        first = next(frames)
        value = int(jetson_utils.to_host(first.pixels)[0, 0, 0])
        time.sleep(0.1)  # the ring of four goes round
        assert int(jetson_utils.to_host(first.pixels)[0, 0, 0]) == value
        utils.frames_to_give = 0
        with pytest.raises(SourceLost):
            list(frames)


def test_images_that_nobody_holds_are_written_again(utils: Any) -> None:
    with open_source("csi://0", SourceOptions(reconnect=False, frames=40)) as source:
        held, values = [], []
        for number, frame in enumerate(source):
            if number == 20:
                before = utils.calls.count(("cudaMallocMapped",))
            held = [*held, frame.pixels][-3:]
            values = [*values, int(jetson_utils.to_host(frame.pixels)[0, 0, 0])][-3:]
            assert [int(jetson_utils.to_host(p)[0, 0, 0]) for p in held] == values
    assert utils.calls.count(("cudaMallocMapped",)) == before


@pytest.mark.parametrize("kind", ["nv12", "i420"])
def test_planes_stay_as_they_come_until_somebody_looks(utils: Any, kind: str) -> None:
    utils.raw_format = kind
    conversion = ("cudaConvertColor", kind, "rgb8")
    with open_source("csi://0", SourceOptions(reconnect=False, frames=3)) as source:
        frames = list(source)
    assert conversion not in utils.calls
    for frame in frames:
        given = frame.as_given
        assert frame.on_device
        assert (given.planes.format, frame.width, frame.height) == (kind, 32, 24)
        addresses = [address_of(plane) for plane in given.planes.planes]
        assert [a - addresses[0] for a in addresses] == [0, 32 * 24, 32 * 24 * 5 // 4][
            : len(addresses)
        ]
        luma = np.ctypeslib.as_array((ctypes.c_uint8 * (32 * 24)).from_address(addresses[0]))
        assert (jetson_utils.to_host(frame.pixels) == luma[0]).all()
        assert frame.pixels is frame.pixels, "what was drawn into it stays"
    assert utils.calls.count(conversion) == 3
    assert len({int(jetson_utils.to_host(f.pixels)[0, 0, 0]) for f in frames}) == 3


@pytest.mark.parametrize("kind", ["yuyv", None])
def test_what_kernels_do_not_read_is_rgb_at_once(utils: Any, kind: str | None) -> None:
    """None: an older jetson-utils that always converts."""
    utils.raw_format = kind
    with open_source("csi://0", SourceOptions(reconnect=False, frames=2)) as source:
        assert [f.as_given.format for f in source] == ["rgb8", "rgb8"]
    assert utils.calls.count(("cudaConvertColor", "yuyv", "rgb8")) == (2 if kind else 0)


def test_a_picture_of_a_source_that_is_no_more(utils: Any) -> None:
    capture = JetsonCapture(utils, "csi://0", "csi://0", SourceOptions())
    picture = capture.read()
    assert picture is not None
    ring = capture._source._rings["nv12"]
    capture.close()
    del capture
    gc.collect()
    assert picture.load().shape == (24, 32, 3), "what is read lives as long as who reads it"
    for image in ring:
        image._freed = True
    with pytest.raises(SourceLost, match="could not be copied"):
        picture.load()


def test_kernels_built_for_another_gpu(utils: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "kernels_run", False)
    module, reason = jetson_utils.find()
    assert module is None
    assert "do not run on this GPU" in reason
    assert "no kernel image" in reason
    (check,) = _jetson_utils(Place(Path("/"), cast("Board", object()), False))
    assert (check.state, check.found) == ("fail", reason)


def test_a_stalled_camera_is_reopened(utils: Any) -> None:
    utils.stall_after = 3
    events: list[dict[str, Any]] = []
    options = SourceOptions(timeout=1.0, on_event=events.append)
    with open_source("csi://0", options) as source:
        for _ in source:
            if any(e["event"] == "back" for e in events):
                break
    assert [e["event"] for e in events][:3] == ["connected", "lost", "back"]


def test_what_it_cannot_open(utils: Any) -> None:
    with pytest.raises(SourceLost, match="EDGEPOSE_VIDEO=pyav"):
        open_source("rtsp://absent/x")
    with pytest.raises(SourceError, match="chooses the RTSP transport"):
        open_source("rtsp://h/x", SourceOptions(transport="udp"))


def test_a_window_shows_device_images_without_a_copy(
    utils: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = utils.cudaFromNumpy(np.full((24, 32, 3), 9, np.uint8))
    events: list[dict[str, Any]] = []
    window = open_output("display://0", OutputOptions(width=320))
    host = Host()
    with FanOut([("window", window), ("file", host)], report=events.append) as fan:
        fan.write(Frame(device))
        wait_for(lambda: ("Render", (24, 32, 3), 9) in utils.calls and host.seen)
        fan.write(Frame(np.full((24, 32, 3), 5, np.uint8)))
        wait_for(lambda: ("Render", (24, 32, 3), 5) in utils.calls)
        assert not fan.closed
        window.status("12 frames/s")  # type: ignore[attr-defined]
        window._output.Close()  # type: ignore[attr-defined]
        assert fan.closed
    assert isinstance(host.seen[0], np.ndarray)
    _, _, argv, settings = next(c for c in utils.calls if c[0] == "videoOutput")
    assert argv == ("--log-level=error", "--log-file=stderr")
    assert settings["width"] == 320
    with pytest.raises(OutputError, match="EDGEPOSE_VIDEO=pyav"):
        jetson_output.open_jetson(utils, parse("rtp://absent:5"), OutputOptions())


def test_its_encoders_on_demand(utils: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_output("rtp://127.0.0.1:5") as out:
        assert not isinstance(out, jetson_output.JetsonOutput)
    monkeypatch.setenv("EDGEPOSE_VIDEO", "jetson")
    for uri in ("rtp://127.0.0.1:5", "rtsp://@:8554/x"):
        with open_output(uri) as out:
            assert isinstance(out, jetson_output.JetsonOutput)


def test_host_pixels(utils: Any) -> None:
    array = np.zeros((2, 3, 3), np.uint8)
    assert jetson_utils.to_host(array) is array
    copy = jetson_utils.to_host(utils.cudaFromNumpy(array + 7))
    np.testing.assert_array_equal(copy, array + 7)
    assert utils.calls[-1] == ("cudaStreamSynchronize", 0)


def test_its_own_functions_are_meant(utils: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 2 hides those of the C++ part behind Python functions of other arguments."""

    def cudaToNumpy(ptr: int, shape: tuple[int, ...], dtype: Any) -> None:
        raise AssertionError

    package = ModuleType("jetson_utils")
    package.__dict__.update(
        {**vars(utils), "cudaToNumpy": cudaToNumpy, "cudaAllocMapped": cudaToNumpy}
    )
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "jetson_utils", package)
        patch.setitem(sys.modules, "jetson_utils_python", utils)
        assert jetson_utils.find() == (utils, "")
        copy = jetson_utils.to_host(utils.cudaFromNumpy(np.full((2, 3, 3), 7, np.uint8)))
    assert (copy == 7).all()


def test_pyav_on_demand(utils: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPOSE_VIDEO", "pyav")
    assert jetson_utils.wanted() is None
    monkeypatch.setenv("EDGEPOSE_VIDEO", "jetsun")
    with pytest.raises(UnknownNameError, match="Did you mean 'jetson'"):
        jetson_utils.wanted()


def test_the_unrelated_package_of_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jetson_utils", ModuleType("jetson_utils"))
    module, reason = jetson_utils.find()
    assert module is None
    assert "pip uninstall jetson-utils" in reason
    assert jetson_utils.wanted() is None
    monkeypatch.setenv("EDGEPOSE_VIDEO", "jetson")
    with pytest.raises(BackendUnavailable, match="unrelated"):
        jetson_utils.wanted()


def test_what_is_there_and_broken_is_said_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "jetson_utils.py").write_text("import termcolour_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "jetson_utils", raising=False)
    assert jetson_utils.wanted() is None
    assert jetson_utils.wanted() is None
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [
        "Cameras and streams go through the CPU: jetson-utils needs the Python package "
        "termcolour_that_is_not_there; run: pip install termcolour_that_is_not_there."
    ]
    for board, state in ((None, "warn"), (object(), "fail")):
        (check,) = _jetson_utils(Place(tmp_path, cast("Board | None", board), False))
        assert check.state == state


def test_nothing_is_said_where_it_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    if jetson_utils.find()[1] != jetson_utils.ABSENT:
        pytest.skip("jetson-utils is here")
    assert jetson_utils.wanted() is None
    assert not caplog.records


def test_without_gstreamers_tools_they_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SourceError, match=r"gst-inspect-1\.0 is missing: sudo apt install"):
        open_source("csi://0")


def test_csi_without_a_jetson() -> None:
    if csi.no_camera_stack() == "":
        pytest.skip("this is a Jetson")
    with pytest.raises(SourceError, match="/dev/video0"):
        open_source("csi://0")
    with pytest.raises(UsageError, match="sensor number"):
        open_source("csi://front")


@pytest.fixture
def gst_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """GStreamer's tools where the machine has them, else a stand-in for gst-launch-1.0."""
    try:
        if csi.has_element("videotestsrc"):
            return
    except BackendUnavailable:
        pass
    stand_in = tmp_path / "tools" / "gst-launch-1.0"
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!{sys.executable}\n{GST_LAUNCH}")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")


# of a source of one colour, as many pictures of the asked size as were asked for, on the asked descriptor
GST_LAUNCH = """
import os, re, sys, time
line = " ".join(sys.argv[1:])
if "videotestsrc" not in line:
    sys.exit(f'ERROR: erroneous pipeline: no element "{sys.argv[2]}"')
width, height, out = (int(n) for n in re.search(r"width=(\\d+),height=(\\d+).* fd=(\\d+)", line).groups())
red = b"\\x51" * (width * height) + b"\\x5a" * (width * height // 4) + b"\\xf0" * (width * height // 4)
last = re.search(r"num-buffers=(\\d+)", line)
for _ in range(int(last[1]) if last else 10**9):
    os.write(out, red)
    time.sleep(1 / 30)
"""


def gst(elements: list[str], **options: Any) -> csi.LiveSource:
    asked = SourceOptions(**{"timeout": 10.0, "reconnect": False, **options})
    opener = csi.gst_opener(elements, (64, 48), parse("csi://0"), asked)
    return csi.LiveSource(opener, asked, uri="csi://0")


def test_raw_frames_of_a_pipeline(gst_tools: None, nothing_left: None) -> None:
    red = ["videotestsrc", "is-live=true", "pattern=red"]
    with gst(red, frames=3) as source:
        frames = list(source)
    assert [f.pixels.shape for f in frames] == [(48, 64, 3)] * 3
    assert np.abs(frames[0].pixels.mean((0, 1)) - (255, 0, 0)).max() < 3


def test_what_a_camera_prints_does_not_shift_its_pictures(
    gst_tools: None, nothing_left: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NVIDIA's elements print to stdout, in the middle of a stream."""
    real = shutil.which("gst-launch-1.0")
    chatty = tmp_path / "gst-launch-1.0"
    chatty.write_text(
        "#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9; do sleep .1; echo GST_ARGUS: Running with; done &\n"
        f'exec {real} "$@"\n'
    )
    chatty.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with gst(["videotestsrc", "is-live=true", "pattern=red"], frames=15) as source:
        frames = list(source)
    assert all(np.abs(f.pixels.mean((0, 1)) - (255, 0, 0)).max() < 3 for f in frames)
    assert all(np.ptp(f.pixels, (0, 1)).max() == 0 for f in frames)


def test_a_pipeline_that_ends_says_why(gst_tools: None, nothing_left: None) -> None:
    with gst(["videotestsrc", "num-buffers=2"]) as source, pytest.raises(SourceLost):
        list(source)
    with pytest.raises(SourceLost, match="nosuchelement"):
        gst(["nosuchelement"])


def test_the_argus_pipeline() -> None:
    words = " ".join(csi.argus(1, (1920, 1080), 30.0))
    assert words.startswith("nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM)")
    assert "width=1920,height=1080,framerate=30/1 ! nvvidconv" in words
