"""`edgepose download`: what is printed where, exit codes, and what a terminal shows."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgepose.cli.common import run_app
from edgepose.cli.main import make_app
from edgepose.networks import registry
from edgepose.networks.resolve import resolve
from edgepose.paths import cache, networks_home
from tests.networks.archives import tgz
from tests.networks.web import Handler, Web, file, status

NET = b"\x08\x07" + os.urandom(40_000)
GOOD = tgz({"Top/net.onnx": NET})


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Web() as server:
        yield server


Network = Callable[..., Path]


@pytest.fixture
def network(web: Web) -> Network:
    """A network of the user's own whose address is on loopback; returns where its model goes."""

    def make(name: str = "my-net", *behaviours: Callable[[Handler], None]) -> Path:
        url = web.on(f"/{name}", *(behaviours or (file(GOOD),)))
        d = {"file": f"{name}.tar.gz", "urls": [url], "archive": "tar.gz", "members": ["net.onnx"]}
        manifest = {
            "name": name,
            "family": "bottom-up",
            "topology": "human_pose",
            "weights": {"FP32": {"model": "net.onnx", "downloads": [d]}},
        }
        folder = networks_home() / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder / "FP32" / "net.onnx"

    return make


Said = tuple[int, str, str]
Run = Callable[..., Said]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Exit code, stdout and stderr of `edgepose download ...`."""

    def call(*args: str) -> Said:
        code = run_app(make_app(), ["download", *args], "edgepose")
        return (code, *capfd.readouterr())

    return call


def test_a_download(network: Network, run: Run) -> None:
    model = network()
    code, out, err = run("my-net")
    assert (code, out) == (0, f"{model}\n")
    assert "my-net.tar.gz: 40." in err
    assert err.splitlines()[-1] == "my-net (FP32): installed"
    assert model.read_bytes() == NET
    code, out, err = run("my-net")
    assert (code, out, err) == (0, f"{model}\n", "my-net (FP32): installed already\n")


def test_quiet(network: Network, run: Run) -> None:
    model = network()
    assert run("my-net", "-q") == (0, f"{model}\n", "")


def test_why_an_address_is_given_up(network: Network, run: Run) -> None:
    network("my-net", status(503), file(GOOD))
    code, _, err = run("my-net")
    assert code == 0
    assert "HTTP 503" in err
    assert "trying again" in err


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        ((), 2, "Which network?"),
        (("nothing",), 2, "Unknown network 'nothing'"),
        (("my-net:INT8",), 2, "Unknown variant of my-net 'INT8'"),
        (("my-net", "--variant", "INT8"), 2, "Unknown variant"),
        (("my-net", "--no-verify"), 2, "--from"),
        (("my-net", "--all"), 2, "not both"),
        (("my-net", "--from", "/none"), 2, "/none does not exist"),
        (("my-net", "resnet18-body", "--from", __file__), 2, "one file and 2 networks"),
        (("my-net", "--offline"), 1, "downloads are off"),
        (("hrnet-w32",), 1, "edgepose download hrnet-w32 --from FILE"),
        (("--bundle", "/none/x.tar"), 1, "nothing to bundle"),
        (("my-net", "--tries", "0"), 2, "--tries"),
        (("my-net", "--timeout", "soon"), 2, "--timeout"),
        (("--nonsense",), 2, "--nonsense"),
    ],
)
def test_errors(
    network: Network, run: Run, web: Web, args: tuple[str, ...], code: int, says: str
) -> None:
    network()
    got, out, err = run(*args)
    assert got == code
    assert says in err
    assert "Traceback" not in err
    assert out == ""
    assert web.requests == []


def test_some_of_many_fail(network: Network, run: Run) -> None:
    good = network("good")
    network("bad", status(404))
    code, out, err = run("good", "bad")
    assert code == 3
    assert out == f"{good}\n"
    assert "HTTP 404" in err
    assert "1 of 2 networks failed" in err
    assert run("bad")[0] == 1


def test_all_means_what_has_an_address(
    network: Network, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = network("good")
    monkeypatch.setattr(
        registry, "_shipped", lambda folder: (registry.load_manifest(folder / "hrnet-w32.json"),)
    )
    code, out, _ = run("--all")
    assert (code, out) == (0, f"{good}\n")


def test_from_a_file(network: Network, run: Run, web: Web, tmp_path: Path) -> None:
    model = network()
    source = tmp_path / "x.tar.gz"
    source.write_bytes(GOOD)
    code, out, _ = run("my-net", "--from", str(source))
    assert (code, out) == (0, f"{model}\n")
    assert web.requests == []


def test_a_file_that_nobody_publishes(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "frozen.onnx"
    source.write_bytes(NET)
    code, out, _ = run("openpose-mobilenet-v2-small", "--from", str(source))
    assert code == 0
    assert resolve("openpose-mobilenet-v2-small", download=False).model == Path(out.strip())


def test_intel_files_at_hand(run: Run, tmp_path: Path) -> None:
    """The folder's name tells the variant, for INT8 has no published digest."""
    for name in ("human-pose-estimation-0001/FP16-INT8", "person-detection-retail-0013/FP16"):
        folder = tmp_path / "networks" / name
        folder.mkdir(parents=True)
        for ending in (".xml", ".bin"):
            (folder / f"{folder.parent.name}{ending}").write_bytes(b"of another release")
    code, out, err = run("human-pose-estimation-0001", "--from", str(tmp_path / "networks"))
    assert code == 0
    assert Path(out.strip()).parent.name == "FP16-INT8"
    assert "(FP16-INT8): installed" in err
    code, _, err = run("person-detection-retail-0013", "--from", str(tmp_path / "networks"))
    assert code == 1  # of another release than the published digest
    assert "--no-verify" in err
    assert (
        run("person-detection-retail-0013", "--from", str(tmp_path / "networks"), "--no-verify")[0]
        == 0
    )


def test_bundles(
    network: Network, run: Run, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network("one")
    network("two")
    tar = tmp_path / "all.tar"
    code, out, err = run("one", "two", "--bundle", str(tar))
    assert code == 0
    assert len(out.splitlines()) == 2
    assert f"--from {tar}" in err
    asked = len(web.requests)
    monkeypatch.setenv("EDGEPOSE_HOME", str(tmp_path / "device"))
    monkeypatch.setenv("EDGEPOSE_OFFLINE", "1")
    code, out, err = run("two", "--from", str(tar))
    assert (code, out) == (0, f"{tmp_path / 'device/networks/two/FP32/net.onnx'}\n")
    code, out, err = run("--from", str(tar))
    assert len(out.splitlines()) == 2
    assert "two (FP32): installed already" in err
    assert len(web.requests) == asked
    assert resolve("one", download=False).model.read_bytes() == NET


def test_help_is_quick_and_complete(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for word in (
        "--from",
        "--bundle",
        "--offline",
        "--all",
        "EDGEPOSE_HOME",
        "HTTPS_PROXY",
    ):
        assert word in out


def test_help_loads_nothing_of_the_work() -> None:
    code = (
        "import sys, edgepose.cli.door as m\n"
        "sys.argv = ['edgepose', 'download', '--help']\n"
        "try: m.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'rich', 'numpy', 'urllib.request', 'ssl', 'pydantic', 'edgepose.cli.download'}\n"
        "sys.exit(f'imported {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# a terminal and a keyboard --------------------------------------------------------------------------
def slow(data: bytes) -> Callable[[Handler], None]:
    def act(handler: Handler) -> None:
        handler.head(200, {"Content-Length": len(data), "ETag": '"1"'})
        for at in range(0, len(data), len(data) // 8):
            handler.wfile.write(data[at : at + len(data) // 8])
            handler.wfile.flush()
            if handler.server.closing.wait(0.15):
                return

    return act


def test_progress_on_a_terminal(network: Network) -> None:
    model = network("my-net", slow(GOOD))
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgepose", "download", "my-net"],
        stdout=subprocess.PIPE,
        stderr=child,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"},
        text=True,
    )
    os.close(child)
    said = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([parent], [], [], 0.2)[0]:
            try:
                block = os.read(parent, 4096)
            except OSError:  # closed when the program has ended
                break
            said += block
    os.close(parent)
    out = process.communicate(timeout=20)[0]
    assert out == f"{model}\n"
    text = said.decode()
    assert "/s" in text, "a rate"
    assert "kB" in text, "bytes"
    assert "0:00:0" in text, "time left"
    assert "my-net (FP32): installed" in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(network: Network, web: Web, number: signal.Signals) -> None:
    model = network("my-net", file(GOOD, stop=20_000, then="stall"))
    process = subprocess.Popen(
        [sys.executable, "-m", "edgepose", "download", "my-net"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    part = cache() / "downloads" / "my-net" / "FP32" / "my-net.tar.gz.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size == 20_000):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert "interrupted; run the same command" in err
    assert not model.parent.exists()
    assert not list(networks_home().rglob("*.tmp"))
    web.on("/my-net", file(GOOD))
    again = subprocess.run(
        [sys.executable, "-m", "edgepose", "download", "my-net"], capture_output=True, text=True
    )
    assert again.returncode == 0
    assert web.ranges()[-1] == "bytes=20000-"
    assert "going on at 20.0 kB" in again.stderr
