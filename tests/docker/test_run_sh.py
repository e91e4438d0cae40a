"""docker/run.sh with a stand-in for docker that records its arguments, and the files around it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docker"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """An empty root folder, and a `docker` on the PATH that writes its arguments, one a line."""
    (tmp_path / "root/dev").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin/docker"
    docker.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\n')
    docker.chmod(0o755)
    return tmp_path


def run(machine: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {
        "PATH": f"{machine / 'bin'}:{os.environ['PATH']}",
        "HOME": str(machine / "home"),
        "EDGEPOSE_ROOT": str(machine / "root"),
        **environment,
    }
    return subprocess.run(
        ["bash", str(FOLDER / "run.sh"), *words],
        capture_output=True,
        text=True,
        env=env,
        cwd=machine,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def arguments(machine: Path) -> list[str]:
    return (machine / "arguments").read_text().splitlines()


def test_without_a_gpu_the_cpu_image_runs_with_the_data_folder(machine: Path) -> None:
    result = run(machine, "posenet", "a b.jpg", "out/")
    assert result.returncode == 0, result.stderr
    words = arguments(machine)
    assert words[-4:] == ["edgepose:cpu", "posenet", "a b.jpg", "out/"]
    assert f"{machine}/home/edgepose-data:/data" in words
    assert f"{machine}:/work" in words
    assert not {"--runtime", "--gpus", "-it", "--device"} & set(words)
    assert (machine / "home/edgepose-data").is_dir()


def test_a_jetson_gets_runtime_cameras_argus_and_its_own_image(machine: Path) -> None:
    root = machine / "root"
    (root / "etc").mkdir()
    (root / "tmp").mkdir()
    (root / "etc/nv_tegra_release").write_text(
        "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: x\n"
    )
    (root / "tmp/argus_socket").touch()
    for name in ("video0", "video1"):
        (root / "dev" / name).touch()
    run(machine, "serve", DISPLAY=":0")
    words = arguments(machine)
    assert words[words.index("--runtime") + 1] == "nvidia"
    assert [words[i + 1] for i, w in enumerate(words) if w == "--device"] == [
        "/dev/video0",
        "/dev/video1",
    ]
    assert "/tmp/argus_socket:/tmp/argus_socket" in words
    assert "DISPLAY=:0" in words
    assert words[-2:] == ["edgepose:r36.4", "serve"]


def test_a_desktop_gpu_gets_gpus_and_headless_hides_the_display(machine: Path) -> None:
    (machine / "root/proc/driver/nvidia").mkdir(parents=True)
    (machine / "root/proc/driver/nvidia/version").touch()
    run(machine, "--headless", "--image", "mine", "bench", DISPLAY=":0")
    words = arguments(machine)
    assert words[words.index("--gpus") + 1] == "all"
    assert not any(w.startswith("DISPLAY=") for w in words)
    assert words[-2:] == ["mine", "bench"]


def test_in_the_background_it_restarts(machine: Path) -> None:
    run(machine, "--detach", "serve")
    words = arguments(machine)
    assert words[words.index("--restart") + 1] == "unless-stopped"
    assert "--rm" not in words


def test_a_dry_run_prints_the_command_and_does_nothing(machine: Path) -> None:
    result = run(machine, "--dry-run", "posenet", "a b.jpg")
    assert result.stdout.startswith("docker run --rm")
    assert result.stdout.rstrip().endswith("posenet a\\ b.jpg")
    assert not (machine / "arguments").exists()
    assert not (machine / "home").exists()


def test_a_wrong_option_is_named(machine: Path) -> None:
    result = run(machine, "--hedless", "serve")
    assert result.returncode == 2
    assert "--hedless" in result.stderr


def test_the_token_is_passed_by_name_only(machine: Path) -> None:
    result = run(machine, "--dry-run", "serve", EDGEPOSE_TOKEN="secret")
    assert "-e EDGEPOSE_TOKEN" in result.stdout
    assert "secret" not in result.stdout


@pytest.mark.parametrize("name", ["Dockerfile.jetson", "Dockerfile.cpu"])
def test_what_a_dockerfile_copies_exists(name: str) -> None:
    for line in re.findall(r"^COPY (?!--from)(.+)$", (FOLDER / name).read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert (FOLDER.parent / source).exists(), f"{name} copies {source}"


def test_the_help_is_the_remark_at_the_top_and_nothing_behind_it(machine: Path) -> None:
    remark = []
    for line in (FOLDER / "run.sh").read_text().splitlines()[1:]:
        if not line.startswith("#"):
            break
        remark.append(line.removeprefix("#").removeprefix(" "))
    assert run(machine, "--help").stdout.splitlines() == remark
