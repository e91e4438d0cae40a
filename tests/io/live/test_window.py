"""The window under a real X server (without one, in SDL's memory), and its absence where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import OutputError
from edgepose.io.outputs import default_output, open_output
from edgepose.io.outputs.window import grid

SCRIPT = """
import os, sys, time
import numpy as np
from edgepose.io.base import OutputOptions
from edgepose.io.outputs import open_output
from edgepose.types import Frame

def wait_for(condition):
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)

red = np.zeros((100, 200, 3), np.uint8); red[:] = (250, 0, 0)
blue = np.zeros((100, 100, 3), np.uint8); blue[:] = (0, 0, 250)
window = open_output("display://0", OutputOptions(width=400, height=300))
window.status("hello")
for i in range(int(sys.argv[1])):
    window.write(Frame((red, blue)[i], source=str(i)))
time.sleep(0.5)
if "SURFACE" in os.environ:
    import pygame
    pixels = pygame.surfarray.array3d(pygame.display.get_surface())
    np.save(os.environ["SURFACE"], pixels.swapaxes(0, 1))
print("ready", flush=True)
sys.stdin.readline()
if len(sys.argv) > 2:
    import pygame
    key = getattr(pygame, sys.argv[2])
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
    wait_for(lambda: window.closed)
    window.write(Frame(red))
    print("closed", flush=True)
window.close()
"""


@pytest.fixture
def display(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What has to be in the environment for a window: an Xvfb's display, or SDL's driver without one."""
    pytest.importorskip("pygame", reason="the window extra is not installed")
    if not shutil.which("Xvfb"):
        yield {"SDL_VIDEODRIVER": "dummy", "SURFACE": str(tmp_path / "surface.npy")}
        return
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24", "-fbdir", str(tmp_path)],
        pass_fds=[write],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    yield {"DISPLAY": f":{number}"}
    server.terminate()
    server.wait(10)


def screen(folder: Path) -> np.ndarray:
    """What is shown, RGB (H, W, 3): of the X server's XWD file, or the window alone."""
    if (folder / "surface.npy").exists():
        return np.load(folder / "surface.npy")
    data = (folder / "Xvfb_screen0").read_bytes()
    header, colours = int.from_bytes(data[:4], "big"), int.from_bytes(data[76:80], "big")
    pixels = np.frombuffer(data, np.uint8, 640 * 480 * 4, header + colours * 12)
    return pixels.reshape(480, 640, 4)[..., 2::-1]


def run(display: dict[str, str], *words: str) -> subprocess.Popen[str]:
    environment = dict(os.environ)
    environment.pop("SDL_VIDEODRIVER", None)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *words],
        env=environment | display,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.stderr
    return process


def bounds(mask: np.ndarray) -> tuple[int, int]:
    rows, columns = np.nonzero(mask)
    return int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def test_a_frame_keeps_its_aspect_and_colours(display: dict[str, str], tmp_path: Path) -> None:
    process = run(display, "1")
    shown = screen(tmp_path)
    process.communicate("\n", timeout=20)
    red = (shown == (250, 0, 0)).all(-1)
    assert bounds(red) == (400, 200)  # 200x100 in a window of 400x300


def test_several_sources_make_a_grid(display: dict[str, str], tmp_path: Path) -> None:
    process = run(display, "2")
    shown = screen(tmp_path)
    process.communicate("\n", timeout=20)
    assert bounds((shown == (250, 0, 0)).all(-1)) == (200, 100)
    assert bounds((shown == (0, 0, 250)).all(-1)) == (200, 200)


@pytest.mark.parametrize("key", ["K_ESCAPE", "K_q"])
def test_esc_and_q_close_it(display: dict[str, str], key: str) -> None:
    process = run(display, "1", key)
    out, err = process.communicate("\n", timeout=30)
    assert out == "closed\n", err
    assert process.returncode == 0


def test_no_display_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OutputError, match="--headless"):
        open_output("display://0")
    assert default_output() is None


def test_a_display_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame", reason="the window extra is not installed")
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":4711")
    with pytest.raises(OutputError, match="cannot be opened"):
        open_output("display://0")
    assert default_output() is None


@pytest.mark.parametrize("count", range(1, 11))
def test_the_grid_fills_the_window_without_overlap(count: int) -> None:
    canvas = np.zeros((301, 403), int)
    for left, top, width, height in grid(count, 403, 301):
        canvas[top : top + height, left : left + width] += 1
    assert canvas.max() == 1
    columns = round(count**0.5 + 0.4999)
    rows = -(-count // columns)
    empty = rows * columns - count
    assert (canvas == 0).sum() == pytest.approx(canvas.size * empty / (rows * columns), abs=1000)
