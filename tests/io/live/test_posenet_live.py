"""posenet as a program on live sources: it ends when asked, survives its peers, and says so."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from importlib.resources import files
from pathlib import Path
from typing import Any

import av
import pytest
from peers import RtspPeer, free_port, wait_for

QUIET = ["--network", "edgepose-lite-body", "--headless", "--no-progress"]


def start(*words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgepose", "posenet", *words, *QUIET],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def frames_in(path: Path) -> int:
    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))


def end(process: subprocess.Popen[str]) -> str:
    """SIGTERM; what it said on stderr."""
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=15)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    return err


def test_sigterm_ends_it_with_everything_valid(tmp_path: Path) -> None:
    film, data = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    port = free_port()
    process = start(
        "test://people?rate=20&size=320x240",
        *("--output", str(film), "--output", f"http://@127.0.0.1:{port}/cam"),
        *("--output", f"rtmp://127.0.0.1:{free_port()}/nobody/there"),
        *("--json", str(data), "--metrics", f"127.0.0.1:{port}"),
    )
    # the RTMP server that is not there is told, and stops nobody
    wait_for(lambda: any(r.get("event") == "output_failed" for r in rows(data)), 60)
    count = len(rows(data))
    wait_for(lambda: len(rows(data)) > count + 10, 60)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    err = end(process)
    results = [r for r in rows(data) if "frame" in r]
    # an output that is behind drops frames of a live source, and counts them
    counted = rf'output_frames_total{{output="{re.escape(str(film))}",state="dropped"}} (\d+)'
    dropped = re.search(counted, metrics)
    assert dropped is not None
    # more may have been dropped after the metrics were read
    assert len(results) // 2 < frames_in(film) <= len(results) - int(dropped[1])
    assert "output_failed" in err
    assert 'edgepose_source_up{source="people"} 1.0' in metrics
    assert f'edgepose_output_failures_total{{output="http://@127.0.0.1:{port}/cam"}} 0.0' in metrics
    assert any(r.get("event") == "ended" for r in rows(data))
    jsonschema = pytest.importorskip("jsonschema")
    schema = files("edgepose.io.sinks").joinpath("result.schema.json").read_text()
    validator = jsonschema.Draft202012Validator(json.loads(schema))
    for row in rows(data):
        validator.validate(row)


def test_a_camera_that_dies_and_returns(rtsp_peer: RtspPeer, tmp_path: Path) -> None:
    data = tmp_path / "out.jsonl"
    process = start(rtsp_peer.url("live", "me:hunter2@"), "--json", str(data))

    def events() -> list[str]:
        return [r["event"] for r in rows(data) if "event" in r]

    def frames() -> int:
        return sum("frame" in r for r in rows(data))

    wait_for(lambda: frames() > 3, 60)
    rtsp_peer.kill()
    wait_for(lambda: "lost" in events())
    rtsp_peer.start()
    wait_for(lambda: "back" in events())
    count = frames()
    wait_for(lambda: frames() > count + 3)
    err = end(process)
    assert "hunter2" not in err + data.read_text()
    assert rtsp_peer.url("live") in err


def test_sigterm_while_nothing_answers(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"rtsp://127.0.0.1:{mute.getsockname()[1]}/x"
        process = start(url, "--timeout", "60")
        mute.settimeout(30)
        connection, _ = mute.accept()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=15)
        connection.close()
    assert process.returncode == 130, err


def test_an_absent_camera_is_an_error_or_waited_for(tmp_path: Path) -> None:
    peer = RtspPeer()
    process = start(peer.url("live"))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "nothing listens there" in err
    data = tmp_path / "out.jsonl"
    process = start(peer.url("live"), "--wait", "--json", str(data), "--frames", "2")
    try:
        wait_for(lambda: any(r.get("event") == "waiting" for r in rows(data)), 60)
        peer.start()
        _, err = process.communicate(timeout=60)
    finally:
        peer.kill()
    assert process.returncode == 0, err
    assert sum("frame" in r for r in rows(data)) == 2


def test_two_cameras_share_the_engine(tmp_path: Path) -> None:
    data = tmp_path / "out.jsonl"
    process = start(
        "test://people?rate=10&size=160x120&frames=10",
        "test://people?rate=20&size=160x120&frames=20",
        *("--output", str(tmp_path / "{name}.mp4"), "--json", str(data)),
    )
    _, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    results = [r for r in rows(data) if "frame" in r]
    by_source: dict[str, list[int]] = {}
    for r in results:
        by_source.setdefault(r["source"], []).append(r["frame"])
    assert len(by_source) == 2
    assert all(numbers == sorted(numbers) for numbers in by_source.values())
    films = sorted(p.name for p in tmp_path.glob("*.mp4"))
    assert films == ["people-2.mp4", "people.mp4"]
    assert sum(frames_in(tmp_path / name) for name in films) == len(results)
