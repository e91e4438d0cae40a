"""`edgepose doctor` on the files of several boards, written as NVIDIA's documentation shows them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.doctor import Check, run_checks
from edgepose.doctor.board import detect, jetpack_of, parse_l4t, parse_power_modes
from tests.conftest import as_anybody

ORIN_NVPMODEL = """
# NAME is the mode's name, ID its number
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< PM_CONFIG DEFAULT=1 >
"""
NANO_NVPMODEL = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=5W >\n"

BOARDS = {
    "nano": {
        "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
        "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64, DATE: Sat Feb 19 17:05:08 UTC 2022",
        "etc/nvpmodel.conf": NANO_NVPMODEL,
        "var/lib/nvpmodel/status": "pmode:0000",
    },
    "xavier": {
        "proc/device-tree/model": "Jetson-AGX\0",
        "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64, DATE: Tue Aug  1 19:57:35 UTC 2023",
    },
    "orin-nano": {
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025",
        "etc/nvpmodel.conf": ORIN_NVPMODEL,
        "var/lib/nvpmodel/status": "pmode:0001 fmode:quiet",
        "usr/local/cuda/version.json": '{"cuda": {"name": "CUDA SDK", "version": "12.6.11"}}',
        "proc/meminfo": "MemTotal:        7802036 kB\nMemFree: 100 kB\nSwapTotal:       3901008 kB\n",
    },
    "agx-orin": {
        "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 3.0, GCID: 36923193, BOARD: generic, EABI: aarch64, DATE: Fri Jul 19 23:24:25 UTC 2024",
        "tmp/argus_socket": "",
    },
    "thor": {
        "proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
        "etc/nv_tegra_release": "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64, DATE: Fri Aug 22 00:55:42 UTC 2025",
    },
}


@pytest.fixture(params=sorted(BOARDS))
def board(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    for name, text in BOARDS[request.param].items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return request.param, tmp_path


def rows_of(root: Path) -> dict[str, Check]:
    return {row.name: row for row in run_checks(root, network=False)}


def test_boards_are_recognised(board: tuple[str, Path]) -> None:
    name, root = board
    found = detect(root)
    assert found is not None
    expected = {
        "nano": ((32, 7, 1), "4", False, True),
        "xavier": ((35, 4, 1), "5", False, True),
        "orin-nano": ((36, 4, 3), "6.2", True, False),
        "agx-orin": ((36, 3, 0), "6.0", True, True),
        "thor": ((38, 2, 0), "7.0", True, True),
    }
    assert (found.l4t, found.jetpack, found.supported, found.encoder) == expected[name]


def test_every_row_that_must_be_mended_says_how(board: tuple[str, Path]) -> None:
    name, root = board
    rows = rows_of(root)
    for row in rows.values():
        if row.state == "fail":
            assert row.fix, row
        assert "could not be checked" not in row.found, row
    assert rows["board"].state == ("fail" if name in ("nano", "xavier") else "ok")
    # no TensorRT here: on a Jetson that is a failure, with JetPack's package as the fix
    assert rows["TensorRT"].state == "fail"
    assert "python3-libnvinfer" in rows["TensorRT"].fix


@pytest.mark.parametrize("board", ["orin-nano"], indirect=True)
def test_an_orin_nano_in_15w_mode(board: tuple[str, Path]) -> None:
    rows = rows_of(board[1])
    assert (rows["power mode"].state, rows["power mode"].found) == ("warn", "25W")
    assert rows["power mode"].fix == "sudo nvpmodel -m 2"
    assert rows["hardware encoder"].state == "warn"
    assert rows["CUDA toolkit"].found == "12.6.11"
    assert rows["memory"].found == "8.0 GB, swap 4.0 GB"
    assert rows["Argus (CSI cameras)"].state == "note"


@pytest.mark.parametrize("board", ["agx-orin"], indirect=True)
def test_the_argus_socket_is_seen(board: tuple[str, Path]) -> None:
    rows = rows_of(board[1])
    assert rows["Argus (CSI cameras)"].state == "ok"
    assert "hardware encoder" not in rows


@pytest.mark.parametrize("board", ["agx-orin", "orin-nano"], indirect=True)
def test_hardware_codecs_are_their_device_nodes(board: tuple[str, Path]) -> None:
    name, root = board
    row = rows_of(root)["codecs (hardware)"]
    assert row.state == "warn"
    assert "no device nodes" in row.found
    (root / "dev").mkdir(exist_ok=True)
    for node in ("nvhost-nvdec", "v4l2-nvenc"):
        (root / "dev" / node).touch()
    found = rows_of(root)["codecs (hardware)"].found
    assert "/dev/nvhost-nvdec" in found
    assert ("v4l2-nvenc" in found) == (name == "agx-orin")  # the Nano has no encoder


def test_packages_that_overwrite_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "packages" not in rows_of(tmp_path)
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
        (folder / "METADATA").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    row = rows_of(tmp_path)["packages"]
    assert row.state == "warn"
    assert row.fix.endswith("pip install onnxruntime-gpu")


def test_a_desktop_is_no_board(tmp_path: Path) -> None:
    assert detect(tmp_path) is None
    rows = rows_of(tmp_path)
    assert rows["TensorRT"].state == "note"
    assert rows["ONNX Runtime"].state == "ok"


def test_a_camera_without_permission_names_the_group(tmp_path: Path) -> None:
    camera = tmp_path / "dev/video0"
    camera.parent.mkdir()
    camera.touch(mode=0o000)
    row = as_anybody(lambda: rows_of(tmp_path)["cameras"])
    assert row.state == "fail"
    assert "usermod -aG" in row.fix


def test_a_cache_that_cannot_be_written_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o500)
    for folder in ("/proc", closed):
        monkeypatch.setenv("EDGEPOSE_CACHE", f"{folder}/edgepose")
        row = as_anybody(lambda: rows_of(tmp_path)["cache folder"])
        assert row.state in ("fail", "warn")


@pytest.mark.parametrize("text", ["", "R36", "# R (release), REVISION: x", "\0\0"])
def test_other_texts_are_no_release(text: str) -> None:
    assert parse_l4t(text) is None


def test_releases_and_modes() -> None:
    assert jetpack_of(parse_l4t("# R36 (release), REVISION: 4.7, GCID")) == "6.2.1"
    assert jetpack_of((39, 2, 1)) == "7.2"
    assert jetpack_of((21, 0, 0)) == ""
    assert jetpack_of(None) == ""
    assert parse_power_modes(ORIN_NVPMODEL) == ((0, "15W"), (1, "25W"), (2, "MAXN_SUPER"))


def test_the_command_prints_rows_or_json() -> None:
    command = [sys.executable, "-m", "edgepose", "doctor", "--offline"]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    assert plain.returncode in (0, 1), plain.stderr
    assert "ONNX Runtime" in plain.stdout
    data = json.loads(
        subprocess.run([*command, "--json"], capture_output=True, text=True, check=False).stdout
    )
    assert {"name", "state", "found", "means", "fix"} == set(data[0])
    failed = any(row["state"] == "fail" for row in data)
    assert plain.returncode == int(failed)


def test_what_is_only_named_is_not_loaded(tmp_path: Path) -> None:
    """TensorRT for RTX takes 170 MB without a GPU to serve, the self-test's stages 45 MB."""
    (tmp_path / "tensorrt_rtx.py").write_text("raise SystemExit('loaded')")
    code = (
        "import sys; from pathlib import Path; import edgepose.cli.doctor; "
        "from edgepose.doctor.checks import Place, _tensorrt_rtx; "
        "print(*_tensorrt_rtx(Place(Path('/'), None, False)), {'cv2', 'tensorrt_rtx'} & set(sys.modules))"
    )
    alone = {**os.environ, "PYTHONPATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=alone)
    assert "builds engines for GPUs, none here" in run.stdout, run.stderr
    assert run.stdout.endswith("set()\n")
