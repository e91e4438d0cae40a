"""docker/fleet as it is shipped, without the containers: its scripts, its broker's configuration and rights, and the
collector with the words and variables of its service, on this machine."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from broker import Broker, need_mosquitto, wait_for
from fleet_peers import QUICK, Running, drained, record

from edgepose.cli.main import run_words
from edgepose.collect.inbox import device_password
from edgepose.errors import OutputError
from edgepose.fleet.link import FleetLink
from edgepose.fleet.poses import PoseFiles, PosePut

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra batch)")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")
SHIPPED = Path(__file__).parents[2] / "docker" / "fleet"
HOST = "127.0.0.1"


@dataclass
class Centre:
    """The services on this machine.

    Attributes:
        folder: docker/fleet. secrets: its .env. page: address of the collector.
    """

    folder: Path
    secrets: dict[str, str]
    broker: Broker
    page: str

    def device(self, name: str) -> dict[str, str]:
        """What device.sh says for a device, with our ports and place of the authority."""
        said = run(self.folder, "device.sh", name)
        told = dict(line.split("=", 1) for line in said.splitlines() if line[0] != "#")
        told = {k: v.replace("/etc/edgepose", str(self.folder / "keys")) for k, v in told.items()}
        told["EDGEPOSE_FLEET"] = told["EDGEPOSE_FLEET"].replace(
            f"@{HOST}/", f"@{HOST}:{self.broker.port}/"
        )
        page = self.page.removeprefix("https://")
        told["EDGEPOSE_FLEET_POSES"] = told["EDGEPOSE_FLEET_POSES"].replace(f"{HOST}:8443", page)
        return told


def run(folder: Path, script: str, word: str) -> str:
    done = subprocess.run(
        ["sh", str(folder / script), word], check=True, capture_output=True, text=True
    )
    return done.stdout


def env_of(folder: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines())


class Shipped(Broker):
    """A mosquitto with the shipped configuration, whose places and port alone are others."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "data").mkdir()
        text = (SHIPPED / "mosquitto.conf").read_text()
        text = text.replace("listener 8883", f"listener {self.port} {HOST}")
        text = text.replace("/mosquitto/config", str(folder))
        self.config.write_text(text.replace("/mosquitto/data", str(folder / "data")))


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory, postgres: str) -> Iterator[Centre]:
    need_mosquitto()
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("fleet")
    shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
    run(folder, "keys.sh", HOST)
    run(folder, "device.sh", "cam-1")  # as a device that was there before the broker began
    broker = Shipped(folder).start()
    secrets = env_of(folder)
    service = yaml.safe_load((SHIPPED / "compose.yaml").read_text())["services"]["collector"]

    def filled(text: str) -> str:
        text = re.sub(r"\$\{(\w+)[^}]*\}", lambda m: secrets[m[1]], text)
        text = text.replace("@mosquitto/", f"@{HOST}:{broker.port}/")
        return re.sub(r"(?<![\w/])/(keys|poses)", lambda m: str(folder / m[1]), text)

    words = [filled(word) for word in service["command"]]
    words[words.index("--listen") + 1] = f"{HOST}:0"
    variables = {name: filled(text) for name, text in service["environment"].items()}
    variables["EDGEPOSE_FLEET_STORE"] = postgres
    running = Running(folder, *words[1:], **variables)
    port = running.url.rpartition(":")[2]
    yield Centre(folder, secrets, broker, f"https://{HOST}:{port}")
    assert running.end() == 0, "".join(running.said)
    broker.kill()


def test_events_and_poses_of_a_device_reach_the_centre(centre: Centre, tmp_path: Path) -> None:
    told = centre.device("cam-2")
    assert centre.broker.process is not None
    centre.broker.process.send_signal(signal.SIGHUP)  # it reads its users anew
    record(tmp_path / "events.db", 5)
    wait_for(lambda: connected(told["EDGEPOSE_FLEET"], tmp_path / "events.db"), "the new user")
    files = PoseFiles(tmp_path / "poses", 10**9, tmp_path / "events.db")
    files.close()
    (files.folder / "door@20260101T000000-1.parquet").write_bytes(b"PAR1")
    with PosePut(told["EDGEPOSE_FLEET_POSES"], files) as put:
        wait_for(lambda: put.sent, "the file")
    arrived = centre.folder / "poses" / "cam-2" / "door@20260101T000000-1.parquet"
    assert arrived.read_bytes() == b"PAR1"
    with page(centre) as http:
        events = http.get("/api/v1/events", params={"device": "cam-2"}).json()["events"]
        assert len(events) == 5
        assert http.get("/healthz").json() == {"ok": True, "reasons": []}


def connected(target: str, database: Path) -> bool:
    try:
        with FleetLink(target, database, pace=QUICK) as device:
            drained(device)
    except OutputError:
        return False
    return True


def page(centre: Centre) -> Any:
    headers = {"authorization": f"Bearer {centre.secrets['EDGEPOSE_TOKEN']}"}
    trust = ssl.create_default_context(cafile=str(centre.folder / "keys" / "ca.crt"))
    return httpx.Client(base_url=centre.page, verify=trust, headers=headers, trust_env=False)


def test_who_is_not_let_in(centre: Centre, tmp_path: Path) -> None:
    record(tmp_path / "events.db", 1)
    trust = f"?ca={centre.folder}/keys/ca.crt"
    for user in ("cam-1:wrong@", "nobody:x@"):
        with pytest.raises(OutputError, match="refuses us"):
            FleetLink(f"mqtts://{user}{HOST}:{centre.broker.port}/{trust}", tmp_path / "events.db")
    with page(centre) as http:
        put = {"content": b"abc", "headers": {"x-sha256": hashlib.sha256(b"abc").hexdigest()}}
        own = ("cam-1", device_password(centre.secrets["EDGEPOSE_POSES_KEY"], "cam-1"))
        place = "/poses/cam-{}/x.parquet"
        assert http.put(place.format(2), auth=own, **put).status_code == 401
        assert http.put(place.format(1), auth=("cam-1", "wrong"), **put).status_code == 401
        assert http.put(place.format(1), auth=own, **put).status_code == 201
    with httpx.Client(base_url=centre.page, verify=False, trust_env=False) as stranger:
        assert stranger.get("/api/v1/devices").status_code == 401


def test_settings_are_pushed_with_the_collectors_rights(centre: Centre, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"exit_after": 3}')
    password = centre.secrets["COLLECTOR_PASSWORD"]
    words = ["collect", "config", "push", "cam-1", str(tmp_path / "s.json"), "--broker"]
    target = (
        f"mqtts://collector:{password}@{HOST}:{centre.broker.port}/?ca={centre.folder}/keys/ca.crt"
    )
    assert run_words([*words, target]) == 0


def test_what_the_scripts_make_is_for_their_owner_alone(centre: Centre) -> None:
    for name in (".env", "passwords", "keys/ca.key", "keys/server.key"):
        assert (centre.folder / name).stat().st_mode & 0o077 == 0, name
    before = env_of(centre.folder)
    run(centre.folder, "keys.sh", HOST)
    assert env_of(centre.folder) == before
    refused = subprocess.run(["sh", str(centre.folder / "device.sh"), "a/b"], capture_output=True)
    assert (refused.returncode, b"no name" in refused.stderr) == (2, True)
