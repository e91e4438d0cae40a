"""`posenet` as a user runs it: real processes, real files, exit codes, streams, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgepose.cli.inputs import split_positionals
from edgepose.cli.posenet_job import without_effect
from edgepose.errors import UsageError
from edgepose.flags import normalise_flags, parse_size
from edgepose.io.outputs.images import encode_image
from edgepose.options import Posenet, fields_of, parse_argv

ROOT = Path(__file__).resolve().parents[2]
ASTRONAUT = ROOT / "examples/images/astronaut.jpg"
LITE = ["--network", "edgepose-lite-body"]


def posenet(
    *words: object, cwd: Path | None = None, timeout: float = 120
) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "edgepose", "posenet", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=timeout)


@pytest.fixture(scope="session")
def intel(body_words: list[str]) -> list[str]:
    return body_words


@pytest.fixture
def photos(tmp_path: Path, shared: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted((shared / "datasets/coco-mini/images").glob("*.jpg"))[:3]:
        shutil.copy(path, folder)
    return folder


def encode_noise(side: int) -> bytes:
    """A PNG that compresses badly: about three bytes a pixel."""
    pixels = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    return encode_image(pixels, "noise.png")


def assert_short(result: subprocess.CompletedProcess, code: int, *words: str) -> None:
    """One or two lines of error, no traceback, the documented exit code."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("edgepose: ")]
    assert 1 <= len(errors) <= 2, result.stderr
    for word in words:
        assert word in result.stderr


def test_two_names_of_one_file_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a.json").touch()
    (tmp_path / "b.csv").hardlink_to(tmp_path / "a.json")
    (tmp_path / "c.csv").symlink_to(tmp_path / "new.json")
    for one, other in (("a.json", "b.csv"), ("new.json", "c.csv")):
        result = posenet(ASTRONAUT, "--json", one, "--csv", other, cwd=tmp_path)
        assert_short(result, 2, "two outputs")


def test_a_pipe_is_not_opened_to_see_whether_it_is_a_photo(tmp_path: Path) -> None:
    pipe = tmp_path / "out.ts"
    os.mkfifo(pipe)
    assert split_positionals(["a.mp4", str(pipe)], [], []) == (["a.mp4"], [str(pipe)])


def test_poses_are_counted_and_people_where_they_are_followed(tmp_path: Path) -> None:
    words = ["test://people?size=320x240&frames=30&people=1&rate=0", "--headless", *LITE]
    result = posenet(*words, cwd=tmp_path)
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("30 frames, ")]
    assert " poses, " in line
    assert "people" not in line
    assert line.endswith("nothing written: name an output, --json - or --csv FILE")
    result = posenet(*words, "--track", "--json", "t.jsonl", cwd=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    ids = {pose.get("track") for row in rows for pose in row.get("poses", ())} - {None}
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("30 frames, ")]
    assert f" of {len(ids)} pe" in line
    # in two frames nobody has been seen often enough to be followed
    short = [words[0].replace("frames=30", "frames=2"), *words[1:], "--track"]
    (line,) = [x for x in posenet(*short).stderr.splitlines() if x.startswith("2 frames, ")]
    assert "poses, none of them sure enough to be followed, " in line


def test_the_last_line_comes_behind_the_data(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgepose", "posenet", str(ASTRONAUT), "--format=dict", *LITE]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("1 frame, ")
    assert lines[-2].endswith("}")


def test_a_name_on_the_command_line_is_stronger_than_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ASTRONAUT, tmp_path / "a.jpg")
    monkeypatch.setenv("EDGEPOSE_SOURCE", "missing.jpg\nnor_this.jpg")
    monkeypatch.setenv("EDGEPOSE_OUTPUT", "set.jpg")
    monkeypatch.setenv("EDGEPOSE_NETWROK", "x")
    result = posenet("a.jpg", "--headless", *LITE, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "set.jpg").exists()
    assert "EDGEPOSE_NETWROK is set" in result.stderr
    assert "Did you mean EDGEPOSE_NETWORK?" in result.stderr
    result = posenet("a.jpg", "b.jpg", *LITE, cwd=tmp_path)
    assert (result.returncode, (tmp_path / "b.jpg").exists()) == (0, True), result.stderr
    assert_short(posenet(*LITE, cwd=tmp_path), 1, "missing.jpg", "nor_this.jpg")


def test_a_tensor_that_a_known_network_does_not_have_is_said() -> None:
    result = posenet(ASTRONAUT, "--headless", "--input_blob=nosuch", *LITE)
    assert result.returncode == 0
    assert "no tensor 'nosuch'" in result.stderr


# flags and positionals ---------------------------------------------------------------------------
def test_jetson_inferences_spellings_become_ours() -> None:
    words = ["--input_blob=a_b", "-network=X", "--Log-Level=INFO", "in_put.jpg", "-v", "-1"]
    assert normalise_flags([*words, "--", "--raw_word"]) == [
        "--input-blob=a_b",
        "--network=X",
        "--log-level=INFO",
        "in_put.jpg",
        "-v",
        "-1",
        "--",
        "--raw_word",
    ]


def test_values_stay_as_they_are_whatever_they_begin_with() -> None:
    texts = [f for f in fields_of(Posenet) if f.kind is str and not f.option.argument]
    assert len(texts) > 10
    for field in texts:
        for name in field.names:
            for value in ("-0:", "-Odd_Name.mp4", "--Not_A_Flag", "--", "-"):
                words = normalise_flags([name, value, "-network=X"], {name})
                assert words == [name, value, "--network=X"]
    assert parse_argv(["--network", "-0:_A", "--output_cmap", "-C_M"]).network.network == "-0:_A"
    assert_short(posenet(ASTRONAUT, "--network", "-0:_A"), 2, "'-0:_A'")


def test_a_password_is_not_among_the_words_that_others_see() -> None:
    """`ps` shows the command line to every user of the machine."""
    words = ["rtsp://admin:s3cret@127.0.0.1:9/cam?pass=s3cret", "--headless", "--wait"]
    words += ["--input_uri=rtsp://u:s3cret@127.0.0.1:9/b", "--mqtt", "mqtt://u:s3cret@127.0.0.1:9"]
    command = [sys.executable, "-m", "edgepose", "posenet", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"A": "b"}) as process:
        assert process.stderr is not None
        process.stderr.readline()  # it has begun to work
        seen = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        process.kill()
    assert seen.rstrip(b"\0").endswith(b"--mqtt\0mqtt://127.0.0.1:9")
    assert b"--wait" in seen
    assert b"s3cret" not in seen
    assert b"A=b" in environment


def test_the_last_positional_is_the_output_unless_outputs_are_named(tmp_path: Path) -> None:
    assert split_positionals(["a"], [], []) == (["a"], [])
    assert split_positionals(["a", "b"], [], []) == (["a"], ["b"])
    assert split_positionals(["a", "b", "c/"], [], []) == (["a", "b"], ["c/"])
    assert split_positionals(["a", "b"], [], ["o"]) == (["a", "b"], ["o"])
    assert split_positionals(["o"], ["s"], []) == (["s"], ["o"])
    existing = tmp_path / "c.jpg"
    existing.touch()
    with pytest.raises(UsageError, match="Quote the glob"):
        split_positionals(["a.jpg", "b.jpg", str(existing)], [], [])


def test_a_photo_out_of_a_camera_is_never_the_output_by_accident(tmp_path: Path) -> None:
    photo, drawn = tmp_path / "b.jpg", tmp_path / "c.jpg"
    data = ASTRONAUT.read_bytes()
    exif = b"\xff\xe1\x00\x10Exif\0\0II*\0\x08\0\0\0"
    photo.write_bytes(data[:2] + exif + data[2:])
    drawn.write_bytes(data)
    with pytest.raises(UsageError, match="photo out of a camera"):
        split_positionals(["a.jpg", str(photo)], [], [])
    assert split_positionals(["a.jpg", str(drawn)], [], []) == (["a.jpg"], [str(drawn)])
    assert split_positionals(["a.jpg"], [], [str(photo)]) == (["a.jpg"], [str(photo)])


@pytest.mark.parametrize("text", ["256", "0x3", "axb", "1x2x3", "99999x2", "-1x5", "²x2"])
def test_sizes_are_two_numbers(text: str) -> None:
    with pytest.raises(UsageError, match="WIDTHxHEIGHT"):
        parse_size("--network-size", text)


def test_every_flag_of_jetson_inference_is_accepted(intel: list[str], tmp_path: Path) -> None:
    flags = (
        "--input_blob=data --output-cmap= --threshold=0.15 --batch_size=1 --overlay=links|keypoints "
        "--keypoint-scale=0.0052 --link-scale=0.0013 --profile --prototxt=x --labels=x --mean-pixel=0 "
        "--headless --maximized --fullscreen --log-level=info --log-file=stdout --input-width=0 "
        "--input-height=0 --input-rate=0 --input-codec=h264 --input-decoder=cpu --input-flip=none "
        "--input-loop=0 --input-latency=10 --output-codec=h264 --output-encoder=cpu --bitrate=4000000 "
        "--output-save=x --num-buffers=4 --stun-server=disabled --ssl-key=k --ssl-cert=c"
    ).split()
    result = posenet(*intel, *flags, ASTRONAUT, tmp_path / "o.jpg")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "o.jpg").is_file()
    assert result.stderr.count("--prototxt has no meaning here") == 1


# the main job ------------------------------------------------------------------------------------
def test_a_photo_becomes_a_picture_and_a_line_of_json(intel: list[str], tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    out = tmp_path / "out.png"
    result = posenet(*intel, ASTRONAUT, out, "--json", "-")
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    data = json.loads(line)
    assert (data["frame"], data["width"], data["height"]) == (0, 512, 512)
    assert data["network"] == intel[1]
    (pose,) = data["poses"]
    nose = pose["keypoints"]["nose"]
    assert abs(nose["x"] - 227) < 15
    assert abs(nose["y"] - 125) < 15
    before, after = cv2.imread(str(ASTRONAUT)), cv2.imread(str(out))
    assert after.shape == before.shape
    changed = np.abs(after.astype(int) - before).max(axis=2) > 60
    assert 0.001 < changed.mean() < 0.2


def test_a_folder_keeps_its_names_and_order(intel: list[str], photos: Path, tmp_path: Path) -> None:
    result = posenet(*intel, photos, tmp_path / "out", "--json", tmp_path / "r.jsonl")
    assert result.returncode == 0, result.stderr
    names = sorted(p.name for p in photos.iterdir())
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [Path(r["source"]).name for r in rows] == names
    assert [r["frame"] for r in rows] == [0, 1, 2]


def test_a_video_keeps_every_frame_its_rate_and_its_numbers(
    intel: list[str], shared: Path, tmp_path: Path
) -> None:
    av = pytest.importorskip("av")
    video = shared / "media/one-by-one-person-detection.mp4"
    words = ["--start", 60, "--frames", 12, "--json", tmp_path / "r.jsonl"]
    result = posenet(*intel, video, tmp_path / "o.mp4", *words)
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [r["frame"] for r in rows] == list(range(60, 72))
    np.testing.assert_allclose([r["pts"] for r in rows], [i / 10 for i in range(60, 72)], atol=0.02)
    with av.open(str(tmp_path / "o.mp4")) as made:
        stream = made.streams.video[0]
        assert (stream.width, stream.height) == (768, 432)
        assert len(list(made.decode(video=0))) == 12


def test_format_dict_prints_the_dictionary_of_a_folder(intel: list[str], photos: Path) -> None:
    result = posenet(*intel, photos, "--format", "dict")
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert len(data) == 3
    for entry in data.values():
        assert set(entry) == {"bounding_box", "key_points"}
        assert len(entry["bounding_box"]) == len(entry["key_points"])


def test_tracks_are_in_the_json(intel: list[str], shared: Path) -> None:
    video = shared / "media/one-by-one-person-detection.mp4"
    result = posenet(*intel, video, "--start", 150, "--frames", 8, "--track", "--json", "-")
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    tracks = {p["track"] for r in rows for p in r["poses"] if p.get("track") is not None}
    assert len(tracks) == 1


# bad input ---------------------------------------------------------------------------------------
def test_one_broken_picture_among_many_is_named_and_the_others_are_done(
    intel: list[str], photos: Path, tmp_path: Path
) -> None:
    (photos / "000_broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    (photos / "zzz_empty.png").touch()
    result = posenet(*intel, photos, tmp_path / "out")
    assert result.returncode == 3, result.stderr
    assert "000_broken.jpg" in result.stderr
    assert "zzz_empty.png" in result.stderr
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_names_from_the_shell_count_like_a_folder(
    intel: list[str], photos: Path, tmp_path: Path
) -> None:
    (photos / "0-empty.jpg").touch()
    names = sorted(photos.iterdir())
    result = posenet(*intel, *names, tmp_path / "no.jpg", tmp_path / "out")
    assert result.returncode == 3, result.stderr
    assert "2 of 5 inputs" in result.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [p.name for p in names[1:]]
    posenet(*intel, *names[1:], "-o", tmp_path / "second", "--start", 1, "--frames", 1)
    assert [p.name for p in (tmp_path / "second").iterdir()] == [names[2].name]


def test_a_disk_that_fills_is_told_once_and_what_is_done_stays(
    intel: list[str], photos: Path, tmp_path: Path
) -> None:
    # a picture above the limit stands for the one that no longer fits
    command = [sys.executable, "-m", "edgepose", "posenet", *intel, str(photos), "out/"]
    small, big = sorted(photos.iterdir())[:2]
    (photos / "zz.png").write_bytes(encode_noise(900))
    limit = 1_000_000
    script = f"import resource, os, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); os.execv(sys.argv[1], sys.argv[1:])"
    result = subprocess.run(
        [sys.executable, "-c", script, *command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert_short(result, 3, "zz.png")
    assert result.stderr.count("zz.png cannot be written") == 1
    assert {small.name, big.name} <= {p.name for p in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(
    ("words", "inputs", "outputs", "said"),
    [
        (["--bitrate=5000", "--codec=h265"], ["a.jpg"], ["b.jpg"], "--output-codec and --bitrate"),
        (["--output-rate=5"], ["a.mp4"], [], "--output-rate"),
        (["--wait", "--input-save=x.mkv"], ["a.mp4"], ["b.mp4"], "--input-save and --wait"),
        (["--bitrate=5000", "--codec=h264"], ["a.jpg"], ["b/", "c.MP4"], ""),
        (["--bitrate=5000", "--wait"], ["http://host/a.mp4"], ["rtmp://host/x"], ""),
    ],
)
def test_options_without_effect_are_said(
    words: list[str], inputs: list[str], outputs: list[str], said: str
) -> None:
    sentences = list(without_effect(parse_argv(words), inputs, outputs))
    assert [s.partition(" ignored")[0] for s in sentences] == [said] * bool(said)


def test_closed_streams_are_no_reason_to_fail(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "edgepose", "posenet", "--no-download", "-n"]
    words += ["edgepose-lite-body", str(ASTRONAUT), "o.jpg"]
    script = 'exec "$@" >&- 2>&- <&-'
    done = subprocess.run(["sh", "-c", script, "sh", *words], cwd=tmp_path, timeout=120)
    assert done.returncode == 0
    assert (tmp_path / "o.jpg").read_bytes()[:2] == b"\xff\xd8"
    script = 'exec "$@" --json - >&-'  # but data are lost
    done = subprocess.run(["sh", "-c", script, "sh", *words], cwd=tmp_path, stderr=-1, text=True)
    assert_short(done, 1, "standard output (-), which is closed")


def test_a_damaged_video_keeps_the_frames_before_the_damage(
    intel: list[str], shared: Path, tmp_path: Path
) -> None:
    whole = (shared / "media/one-by-one-person-detection.mp4").read_bytes()
    damaged = tmp_path / "damaged.mkv"
    av = pytest.importorskip("av")
    with av.open(str(shared / "media/one-by-one-person-detection.mp4")) as src:
        with av.open(str(damaged), "w") as dst:
            stream = dst.add_stream_from_template(src.streams.video[0])
            for i, packet in enumerate(src.demux(video=0)):
                if packet.dts is None or i > 60:
                    break
                packet.stream = stream
                dst.mux(packet)
    data = damaged.read_bytes()
    assert len(data) < len(whole)
    damaged.write_bytes(data[: len(data) // 2])
    result = posenet(*intel, damaged, "--json", tmp_path / "r.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert 10 < len(rows) < 60
    assert result.returncode in (0, 3), result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["missing.jpg"], 1, "missing.jpg"),
        (["nothing*.jpg"], 2, "nothing"),
        (["empty.jpg"], 1, "empty.jpg"),
        (["text.mp4"], 1, "text.mp4"),
        (["folder"], 1, "folder"),
        (["ok.jpg", "ok.jpg"], 2, "ok.jpg"),
        (["ok.jpg", "no/such/folder/o.jpg"], 1, "no/such/folder"),
        (["ok.jpg", "o.xyz"], 2, "xyz"),
        (["ok.jpg", "--overlay", "lnks"], 2, "links"),
        (["ok.jpg", "--engine", "onnxrutime"], 2, "onnxruntime"),
        (["ok.jpg", "--log-level", "loud"], 2, "loud"),
        (["ok.jpg", "--input-flip", "sideways"], 2, "sideways"),
        (["ftp://host/x.mp4"], 2, "ftp"),
        (["ok.jpg", "--resize", "squeeze"], 2, "squeeze"),
        (["ok.jpg", "--format", "yaml"], 2, "yaml"),
        (["ok.jpg", "--json", "-", "--csv", "-"], 2, "stdout"),
        (["--treshold", "0.3", "ok.jpg"], 2, "--threshold"),
        (["ok.jpg", "--threshold", "3"], 2, "--threshold"),
        (["ok.jpg", "--engine", "onnx"], 2, "Did you mean 'onnxruntime'"),
        (["ok.jpg", "o.jpg", "--start", "5"], 1, "no frame 5"),
        (["many/*.jpg", "o.jpg"], 2, "o_%i.jpg"),
        (["many/*", "o/"], 1, "o/a.png"),
        (["missing.jpg", "nor_this.jpg", "o/"], 1, "missing.jpg"),
        (["none/*.jpg", "o.jpg"], 2, "none/*.jpg matches no file"),
        (["ok.jpg", "--threads", "1000000"], 2, "1000000 threads"),
        (["ok.jpg", "--json", "folder/../j", "--csv", "j"], 2, "two outputs"),
        (["-i", "-dash.jpg", "--no-download"], 1, "edgepose: -dash.jpg"),
        (["ok.jpg", "--input-width", "99999"], 2, "megapixels"),
        (["ok.jpg", "-o", "o.mp4", "-o", "./o.mp4"], 2, "two outputs"),
        (["ok.jpg", "o.jpg", "--json", "o.jpg"], 2, "two outputs"),
        (["ok.jpg", "o.jpg", "--output-width", "99999"], 2, "megapixels"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else None,
)
def test_bad_input_ends_in_a_line_or_two(
    intel: list[str], tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    shutil.copy(ASTRONAUT, tmp_path / "ok.jpg")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.mp4").write_text("this is no film")
    (tmp_path / "folder").mkdir()
    (tmp_path / "many").mkdir()
    for name in ("a.jpg", "b.jpg", "a.gif", "a.png"):  # a.gif is written as a.png
        shutil.copy(ASTRONAUT, tmp_path / "many" / name)
    before = sorted(p.name for p in tmp_path.iterdir())
    result = posenet(*intel, *words, cwd=tmp_path)
    assert_short(result, code, said)
    assert result.stdout == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--network", "resnet81-body"], 2, "resnet18-body"),
        (["--model", "missing.onnx", "--topology", "t.json"], 1, "missing.onnx"),
        (["--model", "text.onnx", "--topology", "t.json"], 1, "text.onnx"),
        (["--model", "text.onnx"], 1, "text.onnx"),
        (["--network", "resnet18-body", "--no-download"], 1, "resnet18-body"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else None,
)
def test_networks_that_cannot_be_used_are_explained(
    tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    (tmp_path / "text.onnx").write_text("not a network")
    shutil.copy(ROOT / "data/networks/human_pose.json", tmp_path / "t.json")
    result = posenet(ASTRONAUT, *words, cwd=tmp_path)
    assert_short(result, code, said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_finishes_the_files(
    intel: list[str], shared: Path, tmp_path: Path, number: signal.Signals
) -> None:
    av = pytest.importorskip("av")
    out, rows = tmp_path / "o.mp4", tmp_path / "r.jsonl"
    command = [sys.executable, "-m", "edgepose", "posenet", *intel, "--json", str(rows)]
    command += [str(shared / "media/one-by-one-person-detection.mp4"), str(out)]
    was = signal.signal(number, signal.SIG_DFL)  # under nohup children would ignore SIGHUP
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(number, was)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not rows.exists() or rows.stat().st_size < 3000):
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    with av.open(str(out)) as made:
        frames = len(list(made.decode(video=0)))
    assert frames == len(lines) > 0, errors
    assert "Traceback" not in errors


def test_an_unpaced_test_source_becomes_a_film(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    lite = ["--network", "edgepose-lite-body", "-q"]
    result = posenet("test://people?rate=0&frames=5", "o.mp4", *lite, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    with av.open(str(tmp_path / "o.mp4")) as made:
        assert len(list(made.decode(video=0))) == 5


def test_a_network_that_leaves_its_size_open_needs_one(tmp_path: Path) -> None:
    shipped = ROOT / "data/networks"
    words = ["--model", str(shipped / "edgepose-lite-body.onnx"), "--topology", "human_pose"]
    result = posenet(ASTRONAUT, *words, cwd=tmp_path)
    assert_short(result, 2, "--network-size")
    done = posenet(ASTRONAUT, "o.jpg", *words, "--network-size", "256x256", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
