"""docker/fleet: files that fit together, and keys that a broker and a client take."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgepose.collect.report import metrics
from edgepose.collect.store import Device

FLEET = Path(__file__).parents[2] / "docker" / "fleet"


def test_the_dashboard_asks_for_what_there_is() -> None:
    class Receiver:
        counts = dict.fromkeys(("events", "duplicates", "rejected", "commits", "failures"), 0)
        connected, waiting = True, 0

    state = {"outbox": {"events": 1, "dropped": 1}, "clock_offset": 0.1, "sources": [{"fps": 1}]}
    there = metrics(Receiver(), [Device("a", True, 0.0, state)], 1.0)  # type: ignore[arg-type]
    names = set(re.findall(r"^(edgepose_\w+)", there, re.MULTILINE))
    panels = json.loads((FLEET / "grafana.json").read_text())["panels"]
    asked = {
        m for p in panels for t in p["targets"] for m in re.findall(r"edgepose_\w+", t["expr"])
    }
    assert asked
    assert asked <= names


def test_every_file_that_the_services_mount_is_made_or_there() -> None:
    text = (FLEET / "compose.yaml").read_text()
    mounted = set(re.findall(r"- \./([\w.]+):", text))
    assert mounted == {"mosquitto.conf", "acl", "passwords", "keys"}
    assert (FLEET / "mosquitto.conf").exists()
    assert (FLEET / "acl").exists()


@pytest.mark.skipif(
    shutil.which("openssl") is None or shutil.which("mosquitto_passwd") is None,
    reason="openssl or mosquitto is not installed",
)
@pytest.mark.parametrize("host", ["broker.example.org", "192.0.2.7"])
def test_the_keys_fit_the_host(tmp_path: Path, host: str) -> None:
    for name in ("keys.sh", "passwd.sh"):
        shutil.copy(FLEET / name, tmp_path)
    for _ in range(2):  # again changes nothing
        subprocess.run(["sh", str(tmp_path / "keys.sh"), host], check=True, capture_output=True)
    check = ["openssl", "verify", "-CAfile", "ca.crt", "server.crt"]
    subprocess.run(check, cwd=tmp_path / "keys", check=True, capture_output=True)
    flag = "-checkip" if host[0].isdigit() else "-checkhost"
    shown = subprocess.run(
        ["openssl", "x509", "-in", "server.crt", "-noout", flag, host], cwd=tmp_path / "keys",
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "does match" in shown.stdout
