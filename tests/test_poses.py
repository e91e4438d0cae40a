"""What the Python API takes and answers: pictures in every form, `Poses`, streams."""

from __future__ import annotations

import csv
import io
import json
import math
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose import Frame, Link, Pose, PoseNet, Poses, loadImage, videoOutput, videoSource
from edgepose.errors import OutputError, SourceError, UsageError
from edgepose.joints import angle_at
from edgepose.networks.topology import load_topology

ROOT = Path(__file__).resolve().parents[1]
ASTRONAUT = ROOT / "examples/images/astronaut.jpg"
FILM = "test://people?rate=0&frames=8"


@pytest.fixture(scope="module")
def net() -> Iterator[PoseNet]:
    with PoseNet("edgepose-lite-body") as net:
        yield net


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.array(loadImage(str(ASTRONAUT)))


@pytest.fixture(scope="module")
def poses(net: PoseNet) -> Poses:
    return net.process(ASTRONAUT)


def same(a: Poses, b: Poses, within: float = 0.0) -> bool:
    return a.points.shape == b.points.shape and np.allclose(
        a.points, b.points, atol=within, equal_nan=True
    )


# what is taken ------------------------------------------------------------------------------------
def test_a_path_a_frame_and_an_array_are_the_same_picture(
    net: PoseNet, poses: Poses, pixels: np.ndarray
) -> None:
    assert len(poses) == 1
    rgba = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    for thing in (str(ASTRONAUT), pixels, Frame(pixels), rgba, pixels / 255.0, pixels * 1.0):
        assert same(net(thing), poses)


def test_a_list_of_pictures_is_answered_with_a_list(net: PoseNet, poses: Poses) -> None:
    found = net.process([ASTRONAUT, np.zeros((64, 64, 3), np.uint8)])
    assert [len(p) for p in found] == [1, 0]
    assert same(found[0], poses)
    assert net.process([]) == []


def test_an_address_of_a_picture(net: PoseNet, poses: Poses) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(ASTRONAUT.parent))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = net.process(f"http://127.0.0.1:{server.server_port}/{ASTRONAUT.name}")
        server.shutdown()
    assert same(found, poses, within=8)  # FFmpeg decodes colours another way


def test_pictures_of_pil_are_what_they_show(net: PoseNet, poses: Poses, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    picture = image.open(ASTRONAUT)
    assert same(net.process(picture), poses)
    # palettes and printing inks are numbers of something else
    for mode in ("P", "CMYK", "LA", "YCbCr"):
        assert len(net.process(picture.convert(mode))) == 1
    grey = np.asarray(picture.convert("L"))
    for numbers in (grey.astype(np.uint16) * 257, grey.astype(np.int32), np.float32(grey / 255)):
        assert len(net.process(image.fromarray(numbers))) == 1
    with pytest.raises(UsageError, match="numbers of this picture"):  # PIL would make it white
        net.process(image.fromarray(grey.astype(np.int32) * 257))
    lying = picture.transpose(image.Transpose.ROTATE_90)
    exif = lying.getexif()
    exif[0x0112] = 6  # turn it clockwise to see it
    lying.save(tmp_path / "lying.png", exif=exif)
    assert same(
        net.process(image.open(tmp_path / "lying.png")), net.process(tmp_path / "lying.png")
    )


def test_tensors_with_their_channels_first_or_last(
    net: PoseNet, poses: Poses, pixels: np.ndarray
) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    last = torch.from_numpy(pixels)
    for tensor in (last, last.permute(2, 0, 1), last.permute(2, 0, 1) / 255):
        assert same(net.process(tensor), poses)
    for batch in (torch.stack([last, last]), last.permute(2, 0, 1)[None] / 255):
        found = net.process(batch)
        assert len(found) == len(batch)
        assert all(same(one, poses) for one in found)
    assert len(net.process((last / 255).to(torch.bfloat16).requires_grad_())) == 1
    with pytest.raises(UsageError, match="first or last"):
        net.process(torch.zeros(3, 9, 4))
    for nothing in (torch.empty(3, 9, 8, device="meta"), torch.eye(4).to_sparse()):
        with pytest.raises(UsageError, match="Cannot take this tensor"):
            net.process(nothing)


def test_an_array_of_pictures_is_a_list(net: PoseNet, poses: Poses, pixels: np.ndarray) -> None:
    """Of whatever length: the kind of the answer does not hang on it."""
    for count in (0, 1, 2):
        found = net.process(np.stack([pixels] * 2)[:count])
        assert isinstance(found, list)
        assert [same(one, poses) for one in found] == [True] * count


def test_names_that_are_not_one_picture(net: PoseNet, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(ASTRONAUT.read_bytes())
    for name in (str(tmp_path / "*.jpg"), str(tmp_path), FILM):
        with pytest.raises(UsageError, match="is not one picture"):
            net.process(name)
    with pytest.raises(SourceError, match="does not exist"):
        net.process(tmp_path / "none.jpg")


# what is answered ---------------------------------------------------------------------------------
def test_arrays_have_a_row_for_each_pose(net: PoseNet, poses: Poses) -> None:
    assert poses.points.shape == (1, 18, 3)
    assert np.array_equal(np.asarray(poses[0]), poses.points[0], equal_nan=True)
    assert poses.boxes[0] == pytest.approx(poses[0].box)
    assert poses.scores[0] == pytest.approx(poses[0].score)
    assert poses.tracks.tolist() == [-1]
    nobody = net.process(np.zeros((64, 48, 3), np.uint8))
    assert (nobody.points.shape, nobody.boxes.shape) == ((0, 18, 3), (0, 4))
    assert (nobody.scores.shape, nobody.tracks.shape) == ((0,), (0,))


def test_data_is_that_of_the_command(poses: Poses, tmp_path: Path) -> None:
    row = json.loads(poses.to_json())
    assert row == poses.to_dict()
    assert (row["width"], row["height"], row["network"]) == (512, 512, "edgepose-lite-body")
    poses.save(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == row
    poses.save(tmp_path / "a.csv")
    (first, *_) = csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text()))
    assert first["keypoint"] in row["poses"][0]["keypoints"]


def test_a_table_for_pandas(net: PoseNet, poses: Poses, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = poses.to_pandas()
    assert len(table) == len(poses[0])
    nose = table[table.keypoint == "nose"].iloc[0]
    assert nose.x == pytest.approx(poses[0]["nose"].x, abs=0.01)
    poses.save(tmp_path / "a.csv")
    written = pandas.read_csv(tmp_path / "a.csv", keep_default_na=False)
    assert written.astype(str).values.tolist() == table.astype(str).values.tolist()
    assert len(net.process(np.zeros((64, 48, 3), np.uint8)).to_pandas()) == 0


def test_keypoints_for_supervision(net: PoseNet, poses: Poses, pixels: np.ndarray) -> None:
    sv = pytest.importorskip("supervision", reason="supervision is not installed")
    keypoints = poses.to_supervision()
    assert isinstance(keypoints, sv.KeyPoints)
    found = poses.points[0, :, 2] > 0
    assert np.array_equal(keypoints.visible[0], found)
    assert np.array_equal(keypoints.xy[0][found], poses.points[0, found, :2])
    drawn = sv.VertexAnnotator(radius=4).annotate(pixels.copy(), keypoints)
    assert (drawn != pixels).any()
    assert len(net.process(np.zeros((64, 48, 3), np.uint8)).to_supervision()) == 0


def test_pictures_are_drawn_on_copies(poses: Poses, pixels: np.ndarray, tmp_path: Path) -> None:
    drawn = poses.draw()
    assert (drawn != pixels).any()
    assert np.array_equal(poses.frame.pixels, pixels)
    assert np.array_equal(poses.draw(overlay="none"), pixels)
    poses.save(tmp_path / "a.png")
    assert np.array_equal(np.array(loadImage(str(tmp_path / "a.png"))), drawn)
    shown = cv2.imdecode(np.frombuffer(poses._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(shown[:, :, ::-1], drawn)
    for other in (pixels[:-1], pixels[..., :1], pixels / 255):
        with pytest.raises(UsageError, match=r"drawn on uint8 RGB \(512, 512, 3\)"):
            poses.draw(other)
    with pytest.raises(OutputError, match="cannot be written"):
        poses.save(tmp_path / "a.doc")
    assert not (tmp_path / "a.doc").exists()


def test_a_pose_says_what_it_is_in_one_line(poses: Poses) -> None:
    assert "\n" not in repr(poses[0])
    assert len(repr(poses[0])) < 60
    assert repr(poses) == f"<1 poses of edgepose-lite-body in 512x512: [{poses[0]!r}]>"


# angles -------------------------------------------------------------------------------------------
POINT = st.tuples(st.integers(-50, 50), st.integers(-50, 50)).map(lambda p: np.array(p, float))


@given(POINT, POINT, POINT, st.floats(0.1, 10), st.floats(-3.2, 3.2), st.booleans())
def test_angles_do_not_depend_on_place_size_turn_or_mirror(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, scale: float, turn: float, mirror: bool
) -> None:
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    way = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1 if mirror else 1, 1])
    moved = [way @ p + 7 for p in (a, b, c)]
    assert angle_at(*moved) == pytest.approx(angle_at(a, b, c), abs=1e-3, nan_ok=True)
    assert angle_at(c, b, a) == pytest.approx(angle_at(a, b, c), nan_ok=True)


def test_angles_of_known_figures() -> None:
    points = np.full((17, 3), np.nan, np.float32)
    points[:, 2] = 0
    coco = load_topology("coco_17").keypoints
    for name, place in (
        ("left_shoulder", (0, 0)),
        ("left_elbow", (10, 0)),
        ("left_wrist", (10, 9)),
    ):
        points[coco.index(name)] = (*place, 0.9)
    pose = Pose(0, points, tuple(coco), links=(Link(5, 7, 1),))
    assert pose.angle("left_elbow") == pytest.approx(90)
    assert pose.angle("left_shoulder", "left_elbow", "left_wrist") == pytest.approx(90)
    assert math.isnan(pose.angle("right_knee"))
    for wrong in (("nose",), ("left_tail",), ("nose", "left_eye")):
        with pytest.raises(KeyError):
            pose.angle(*wrong)


def test_angles_of_fingers() -> None:
    names = tuple(load_topology("hand_pose").keypoints)
    straight = np.array([[i, 0, 1] for i in range(21)], np.float32)
    pose = Pose(0, straight, names)
    assert pose.angle("index_finger_2") == pytest.approx(180)
    assert pose.angle("thumb_1") == pytest.approx(180)
    with pytest.raises(KeyError, match="two keypoints"):
        pose.angle("thumb_4")


# streams ------------------------------------------------------------------------------------------
def test_a_stream_gives_every_frame_of_a_film(net: PoseNet) -> None:
    seen = [(frame.index, poses.frame is frame) for frame, poses in net.stream(FILM)]
    assert seen == [(i, True) for i in range(8)]
    with videoSource(FILM) as source:
        given = [poses for _, poses in net.stream(source)]
    assert len(given) == 8
    alone = [net.process(frame) for frame, _ in net.stream(FILM)]
    assert all(same(a, b) for a, b in zip(alone, given, strict=True))


def test_tracks_last_and_begin_anew_with_each_stream(net: PoseNet) -> None:
    twice = [[poses.tracks.tolist() for _, poses in net.track(FILM)] for _ in range(2)]
    assert twice[0] == twice[1]
    assert max(t for tracks in twice[0] for t in tracks) >= 1
    assert all(pose.track is None for _, poses in net.stream(FILM) for pose in poses)


def test_frames_wait_for_the_loop_and_leaving_it_closes_the_source(net: PoseNet) -> None:
    read: list[int] = []

    def pictures() -> Iterator[np.ndarray]:
        for i in range(1000):
            read.append(i)
            yield np.zeros((32, 32, 3), np.uint8)

    stream = net.stream(pictures())
    next(stream)
    threads = threading.active_count()
    stream.close()
    assert threading.active_count() < threads
    assert len(read) < 20


def test_errors_of_a_stream_come_out_of_the_loop(net: PoseNet, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        next(net.stream(tmp_path / "none.mp4"))
    with pytest.raises(UsageError, match="as a picture"):
        list(net.stream([np.zeros((4, 4, 3), np.uint8), None]))
    for wrong in (None, 1.5, b"film.mp4", True):
        with pytest.raises(UsageError, match="Cannot read frames"):
            next(net.stream(wrong))


def test_a_net_closed_in_its_loop_ends_the_stream() -> None:
    net = PoseNet("edgepose-lite-body")

    def run() -> None:
        for _ in net.stream(FILM):
            net.close()

    with pytest.raises(UsageError, match="is closed"):
        run()


def test_sources_and_outputs_close_with_their_block(tmp_path: Path) -> None:
    with videoSource(FILM) as source, videoOutput(str(tmp_path / "%i.png")) as output:
        for picture in source:
            output.Render(picture)
    assert len(list(tmp_path.iterdir())) == 8
    assert not source.IsStreaming()


def test_what_json_writes_of_a_stream_is_what_posenet_writes(net: PoseNet, tmp_path: Path) -> None:
    rows: list[Any] = [poses.to_dict() for _, poses in net.stream(FILM)]
    assert [row["frame"] for row in rows] == list(range(8))
    assert all(row["pts"] is not None for row in rows)
