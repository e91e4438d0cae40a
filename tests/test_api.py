"""The Python API: our names, jetson-inference's names, and a script written for it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgepose import (
    Log,
    PoseNet,
    cudaAllocMapped,
    cudaFont,
    cudaFromNumpy,
    cudaMemcpy,
    cudaResize,
    cudaToNumpy,
    loadImage,
    poseNet,
    saveImage,
    videoOutput,
    videoSource,
)
from edgepose.errors import SourceError, UnknownNameError, UsageError
from edgepose.estimators import EstimatorOptions
from edgepose.io.sources.testsrc import Painter, TestPattern
from edgepose.networks.registry import find

ROOT = Path(__file__).resolve().parents[1]
ASTRONAUT = ROOT / "examples/images/astronaut.jpg"


@pytest.fixture(scope="module")
def net(body: dict[str, Any]) -> Iterator[poseNet]:
    with poseNet(**body) as net:
        yield net


@pytest.fixture
def image() -> np.ndarray:
    source = videoSource(str(ASTRONAUT))
    pixels = source.Capture()
    assert pixels is not None
    return pixels.copy()


def test_process_finds_the_person_and_leaves_the_picture_alone(
    net: poseNet, image: np.ndarray
) -> None:
    before = image.copy()
    (pose,) = net.process(image)
    assert abs(pose["nose"].x - 227) < 15
    assert 0 < pose["nose"].score <= 1
    np.testing.assert_array_equal(image, before)
    assert net.stages["network"] > 0


def test_grey_rgba_and_float_pictures_work_too(net: poseNet, image: np.ndarray) -> None:
    rgba = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    for picture in (rgba, image.astype(np.float32)):
        (pose,) = net.process(picture)
        assert abs(pose["nose"].x - 227) < 15
    assert len(net.process(image.mean(axis=2).astype(np.uint8))) <= 1


def test_a_batch_gives_the_same_as_one_by_one(net: poseNet, image: np.ndarray) -> None:
    mirrored = np.ascontiguousarray(image[:, ::-1])
    both = net.process_batch([image, mirrored])
    assert both == [net.process(image), net.process(mirrored)]


def test_the_overlay_is_drawn_in_place_where_asked(net: poseNet, image: np.ndarray) -> None:
    before = image.copy()
    net.Process(image, overlay="links,keypoints")
    assert (image != before).any()
    image.flags.writeable = False
    with pytest.raises(UsageError, match="writable"):
        net.Process(image)
    with pytest.raises(UnknownNameError, match="links"):
        net.process(before, overlay="linkz")


def test_jetson_inferences_methods(net: poseNet, body: dict[str, Any], image: np.ndarray) -> None:
    assert net.GetNumKeypoints() == 18
    assert net.GetKeypointName(0) == "nose"
    assert net.FindKeypointID("neck") == net.topology.keypoints.index("neck")
    with pytest.raises(KeyError, match="no keypoint named 'tail'"):
        net.FindKeypointID("tail")
    net.process(image)
    assert net.GetNetworkFPS() == pytest.approx(1000 / net.GetNetworkTime())
    assert net.GetModelType() == ("xml" if "model" in body else "onnx")
    net.SetKeypointScale(0.01)
    net.SetLinkScale(0.002)
    assert (net.GetKeypointScale(), net.GetLinkScale()) == (0.01, 0.002)


@pytest.mark.parametrize("wrong", [-0.1, 3, float("nan")])
def test_a_threshold_that_is_no_score_is_refused(wrong: float) -> None:
    with pytest.raises(UsageError, match="0 to 1"):
        PoseNet("edgepose-lite-body", threshold=wrong)


def test_the_threshold_counts(body: dict[str, Any], image: np.ndarray) -> None:
    with poseNet(**body, threshold=0.15) as net:
        many = len(net.process(image)[0])
        net.SetThreshold(0.6)
        assert net.GetThreshold() == 0.6
        few = sum(len(p) for p in net.process(image))
    assert few < many


def test_argv_wins_over_the_arguments_as_in_jetson_inference(body_words: list[str]) -> None:
    argv = ["script.py", *body_words, "--threshold=0.3", "x.jpg"]
    with poseNet("resnet18-body", argv) as net:
        assert net.network == body_words[1]
        assert net.GetThreshold() == 0.3


def test_a_source_ends_with_its_last_picture() -> None:
    source = videoSource(str(ASTRONAUT))
    assert source.IsStreaming()
    assert source.Capture() is not None
    assert not source.IsStreaming()
    assert (source.GetWidth(), source.GetHeight(), source.GetFrameCount()) == (512, 512, 1)
    with pytest.raises(SourceError, match="has ended"):
        source.Capture()


def test_bgr_is_rgb_reversed() -> None:
    rgb = videoSource(str(ASTRONAUT)).Capture("rgb8")
    bgr = videoSource(str(ASTRONAUT)).Capture("bgr8")
    np.testing.assert_array_equal(rgb[:, :, ::-1], bgr)


def test_an_output_writes_what_it_is_given(tmp_path: Path, image: np.ndarray) -> None:
    cv2 = pytest.importorskip("cv2")
    output = videoOutput(str(tmp_path / "o.png"))
    output.Render(image)
    output.SetStatus("a title where there is a window")
    assert output.IsStreaming()
    output.Close()
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "o.png"))[:, :, ::-1], image)


def test_a_film_keeps_its_times_and_numbers(tmp_path: Path, shared: Path) -> None:
    film = str(shared / "media/one-by-one-person-detection.mp4")  # 10 frames a second
    source = videoSource(film, argv=["--input-width=64"])
    outputs = [videoOutput(str(tmp_path / name)) for name in ("o.mkv", "frames")]
    for number in range(4):
        image = source.Capture()
        assert (image.width, image.height, image.channels) == (64, 36, 3)
        assert image.timestamp == number * 100_000_000
        assert not hasattr(image[:5] + 0, "frame") or (image[:5] + 0).frame is None
        for output in outputs:
            output.Render(image)
    source.Close()
    for output in outputs:
        output.Close()
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "o.mkv")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([0, 0.1, 0.2, 0.3], abs=0.002)
    assert sorted(p.name for p in (tmp_path / "frames").iterdir()) == [
        f"one-by-one-person-detection-{n:06d}.jpg" for n in range(4)
    ]


def test_a_script_written_for_jetson_inference_runs(
    body_words: list[str], shared: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for path in sorted((shared / "datasets/coco-mini/images").glob("*.jpg"))[3:6]:
        (folder / path.name).write_bytes(path.read_bytes())
    command = [sys.executable, str(ROOT / "examples/detect.py"), str(folder), str(tmp_path / "out")]
    command += body_words
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("objects in image") == 3
    assert "nose at" in result.stdout
    assert len(list((tmp_path / "out").iterdir())) == 3


SCRIPT = """
import argparse, sys
from {package} import poseNet
from {package} import videoSource, videoOutput, Log

usage = poseNet.Usage() + videoSource.Usage() + videoOutput.Usage() + Log.Usage()
parser = argparse.ArgumentParser(epilog=usage, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("input", nargs="?", default="")
parser.add_argument("output", nargs="?", default="")
parser.add_argument("--network", default="resnet18-body")
parser.add_argument("--overlay", default="links,keypoints")
parser.add_argument("--threshold", type=float, default=0.15)
args = parser.parse_known_args()[0]

net = poseNet(args.network, sys.argv, args.threshold)
source = videoSource(args.input, argv=sys.argv)
output = videoOutput(args.output, argv=sys.argv)
while True:
    picture = source.Capture()
    if picture is None:
        continue
    poses = net.Process(picture, overlay=args.overlay)
    print("found", len(poses))
    for pose in poses:
        print(pose, pose.Keypoints, pose.Links)
    output.Render(picture)
    output.SetStatus("%s at %d" % (args.network, net.GetNetworkFPS()))
    net.PrintProfilerTimes()
    if not source.IsStreaming() or not output.IsStreaming():
        break
"""


LEFT_OPEN = """
import sys
from edgepose import videoOutput, videoSource

source, output = videoSource("test://people?frames=9&rate=0"), videoOutput(sys.argv[1])
for _ in range(int(sys.argv[2])):
    output.Render(source.Capture())
raise RuntimeError("the script is at fault")
"""


@pytest.mark.parametrize("frames", [1, 5])
def test_a_script_that_fails_leaves_whole_films(frames: int, tmp_path: Path) -> None:
    film = tmp_path / "out.mp4"
    command = [sys.executable, "-c", LEFT_OPEN, str(film), str(frames)]
    failed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert failed.returncode == 1
    assert failed.stderr.endswith("RuntimeError: the script is at fault\n")
    with videoSource(str(film)) as source:
        assert sum(1 for _ in source) == frames


@pytest.mark.parametrize("package", ["edgepose", "edgepose.jetson_inference"])
def test_the_calls_of_jetson_inferences_own_example_run(package: str, tmp_path: Path) -> None:
    script = tmp_path / "posenet.py"
    script.write_text(SCRIPT.format(package=package))
    command = [sys.executable, str(script), str(ASTRONAUT), str(tmp_path / "out.png")]
    command += ["--network=edgepose-lite-body", "--log-level=error"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert "found 1" in result.stdout
    assert "network" in result.stderr
    assert (loadImage(str(tmp_path / "out.png")) != loadImage(str(ASTRONAUT))).any()
    shown = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True)
    for option in ("--threshold", "--input-width", "--output-codec", "--log-level"):
        assert option in shown.stdout


def test_pictures_in_every_format_come_back(tmp_path: Path, image: np.ndarray) -> None:
    for format, turned in (("rgb8", False), ("rgba32f", False), ("bgr8", True), ("bgra32f", True)):
        picture = loadImage(str(ASTRONAUT), format)
        assert picture.format == format
        assert picture.dtype == (np.uint8 if format.endswith("8") else np.float32)
        assert picture.channels == (4 if "a" in format else 3)
        saveImage(str(tmp_path / "o.png"), picture)
        np.testing.assert_array_equal(loadImage(str(tmp_path / "o.png")), image)
        copy = cudaFromNumpy(np.asarray(picture), isBGR=turned)
        assert (copy.format, copy.frame) == (format, None)
    assert loadImage(str(ASTRONAUT), "gray8").shape == (512, 512, 1)
    with pytest.raises(UnknownNameError, match="rgb8"):
        loadImage(str(ASTRONAUT), "nv12")
    with pytest.raises(UsageError, match="channels"):
        cudaFromNumpy(np.zeros((4, 4, 2)))


def test_memory_is_allocated_copied_and_resized(image: np.ndarray) -> None:
    small = cudaAllocMapped(width=64, height=32, format="rgb8")
    assert (small.width, small.height, small.format, int(small.max())) == (64, 32, "rgb8", 0)
    cudaResize(image, small)
    assert abs(float(small.mean()) - float(image.mean())) < 5
    same = cudaAllocMapped(like=small)
    assert cudaMemcpy(same, small) is same
    np.testing.assert_array_equal(cudaToNumpy(same), cudaToNumpy(cudaMemcpy(small)))
    with pytest.raises(UsageError, match="no pixels"):
        cudaAllocMapped(width=0, height=4)


def test_text_is_written_where_it_says(image: np.ndarray) -> None:
    font, before = cudaFont(size=20), image.copy()
    font.OverlayText(image, text="Hello", x=30, y=40, color=font.White, background=font.Gray40)
    left, top, right, bottom = font.TextExtents("Hello", 30, 40)
    changed = np.argwhere((image != before).any(axis=2))
    assert (changed.min(axis=0) >= (top, left)).all()
    assert (changed.max(axis=0) < (bottom, right)).all()
    assert (image[top:bottom, left:right] == 255).all(axis=2).any()


def test_messages_are_shown_up_to_their_level(capsys: pytest.CaptureFixture[str]) -> None:
    before = Log.GetLevel()
    try:
        Log.SetLevel("warning")
        Log.Warning("wet paint")
        Log.Info("it is noon")
    finally:
        Log.SetLevel(before)
    assert capsys.readouterr().err == "wet paint\n"
    with pytest.raises(UnknownNameError, match="debug"):
        Log.SetLevel("loud")


def test_the_threshold_in_use_is_told() -> None:
    """Not a general default: that of the network's manifest, or what was asked for."""
    with poseNet("edgepose-lite-body") as net:
        assert net.GetThreshold() == find("edgepose-lite-body").decoder["keypoint_threshold"] == 0.2
        net.SetThreshold(0.35)
        assert (net.GetThreshold(), net.threshold) == (0.35, 0.35)
        with pytest.raises(UsageError, match="0 to 1"):
            net.SetThreshold(7)
        assert net.GetThreshold() == 0.35
        assert net.process(np.zeros((64, 64, 3), np.uint8)) == []
    with PoseNet("edgepose-lite-body", options=EstimatorOptions(keypoint_threshold=0.4)) as own:
        assert own.threshold == 0.4


@pytest.mark.parametrize("wrong", ["x", [], b"0.1", 1j])
def test_what_is_no_number_is_no_threshold(wrong: Any) -> None:
    with pytest.raises(UsageError, match="0 to 1"):
        PoseNet("edgepose-lite-body", threshold=wrong)


def test_an_engine_may_be_given_by_its_name() -> None:
    with PoseNet("edgepose-lite-body", engine="onnxruntime") as net:
        assert net.engine.startswith("onnxruntime")
    with pytest.raises(UsageError, match="no-such"):
        PoseNet("edgepose-lite-body", engine="no-such")


def test_what_is_no_picture_is_refused() -> None:
    bogus = SimpleNamespace(__cuda_array_interface__={"shape": 7})
    with PoseNet("edgepose-lite-body") as net:
        for thing, message in (
            (None, "as a picture"),
            (bogus, "__cuda_array_interface__"),
            (SimpleNamespace(__cuda_array_interface__=None), "as a picture"),
            (object(), "as a picture"),
        ):
            with pytest.raises(UsageError, match=message):
                net.process(thing)
        for many in (None, 7, "photos"):
            with pytest.raises(UsageError, match="list of pictures"):
                net.process_batch(many)  # type: ignore[arg-type]
        assert net.process_batch([]) == []


@pytest.mark.parametrize(("argv", "more"), [(["--track", "--smooth"], {}), ([], {"track": True})])
def test_people_are_followed_where_that_is_asked(argv: list[str], more: dict[str, bool]) -> None:
    source = videoSource("test://people?rate=0&frames=12")
    frames = [source.Capture() for _ in range(12)]
    with PoseNet("edgepose-lite-body", argv, **more) as net:  # type: ignore[arg-type]
        tracks = [[pose.track for pose in net.process(f)] for f in frames]
    assert tracks[0] == [None] * len(tracks[0])
    assert any(track is not None for track in tracks[-1])
    with PoseNet("edgepose-lite-body") as net:
        assert [p.track for p in net.process(loadImage(str(ASTRONAUT)))] == [None]


def test_eight_threads_get_their_own_poses_while_the_threshold_changes() -> None:
    painter = Painter(TestPattern())
    pictures = [painter.paint(25 * i, 0.0).copy() for i in range(8)]
    with PoseNet("edgepose-lite-body") as net:
        wanted = {}
        for threshold in (0.2, 0.6):
            net.threshold = threshold
            wanted[threshold] = net.process_batch(pictures)
        assert len({str(poses) for poses in wanted[0.2]}) == 8

        def work(i: int) -> set[float]:
            seen = set()
            for _ in range(6):
                poses = net.process(pictures[i])
                seen |= {t for t in wanted if poses == wanted[t][i]} or {-1.0}
            return seen

        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(work, i) for i in range(8)]
            for threshold in (0.2, 0.6, 0.2):
                net.threshold = threshold
            results = [job.result() for job in jobs]
        assert all(-1.0 not in seen for seen in results)
        assert net._count == 16 + 8 * 6


def test_close_waits_for_calls_and_later_ones_are_refused() -> None:
    net = PoseNet("edgepose-lite-body")
    picture = Painter(TestPattern()).paint(0, 0.0).copy()
    wanted = net.process(picture)
    started = threading.Barrier(9)

    def work() -> int:
        started.wait()
        for done in range(10_000):
            try:
                assert net.process(picture) == wanted
            except UsageError:
                return done
        return -1

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(work) for _ in range(8)]
        started.wait()
        for _ in range(2):
            net.close()
        assert all(job.result() >= 0 for job in jobs)
    for call in (lambda: net.process(picture), lambda: setattr(net, "threshold", 0.3)):
        with pytest.raises(UsageError, match="This PoseNet is closed"):
            call()
    assert net.topology.keypoints


FORKED = """
import os, signal
import numpy as np
from edgepose import PoseNet
from edgepose.engines import EngineOptions
picture = np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8)
net = PoseNet("edgepose-lite-body", threshold=0, engine=EngineOptions(engine="onnxruntime", threads=1))
for used in (False, True):
    child = os.fork()
    found = [pose.points for pose in net.process(picture)]
    if child == 0:
        np.save(f"{used}.npy", np.array(found))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(np.load(f"{used}.npy"), np.array(found))
"""


def test_a_child_of_fork_goes_on_with_the_network(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FORKED], cwd=tmp_path, check=True, timeout=200)


def test_rows_of_numbers_are_no_list_of_pictures(net: poseNet) -> None:
    """Each row of nested lists would be a grey picture three pixels wide."""
    picture = np.full((6, 8, 3), 90, np.uint8)
    for rows in (picture.tolist(), tuple(picture.tolist())):
        with pytest.raises(UsageError, match="as an array"):
            net.process(rows)
    assert len(net.process([picture.tolist()])) == len(net.process([picture])) == 1


def test_memory_on_a_device_that_tells_its_shape_in_the_interface_only(net: poseNet) -> None:
    picture = np.full((6, 8, 3), 90, np.uint8)
    interface = {"shape": picture.shape, "typestr": "|u1", "data": (4096, False), "version": 3}
    there = SimpleNamespace(__cuda_array_interface__=interface, get=lambda: picture)
    assert len(net.process(there)) == len(net.process(picture))
