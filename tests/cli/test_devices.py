"""`edgepose devices`: cameras with their modes, and what to do without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from edgepose.io.sources import v4l2

CAMERA_TESTS = Path(__file__).parents[1] / "io" / "live"


def devices(*words: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "edgepose", "devices", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_a_camera_it_says_what_to_do() -> None:
    text = devices()
    assert "posenet test://people" in text
    if not v4l2.cameras():
        assert "No V4L2 camera" in text


def test_json() -> None:
    found = json.loads(devices("--json"))
    assert set(found) == {"cameras", "csi", "jetson_utils"}
    assert [c["path"] for c in found["cameras"]] == [c.path for c in v4l2.cameras()]
