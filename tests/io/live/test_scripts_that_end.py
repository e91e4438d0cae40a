"""A script that ends while FFmpeg opens or reads its source: the interpreter waits for FFmpeg's thread.

FFmpeg asks PyAV whether to go on, and PyAV asks Python: in an interpreter that is torn down that is a crash.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# the first function to be registered is called last
SCRIPT = """
import atexit, os, signal, socket, sys, threading
atexit.register(lambda: print("left", [t.name for t in threading.enumerate() if t.daemon]))
import edgepose
server = socket.create_server(("127.0.0.1", 0))
{before}
source = edgepose.videoSource(f"{url}", ["--timeout=3600", {options}])
connection, _ = server.accept()
{end}
"""
PORT = "127.0.0.1:{server.getsockname()[1]}"
INTERRUPT = """
connections = []
def interrupt():
    connections.append(server.accept())
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
"""


@pytest.mark.parametrize(
    ("url", "options", "before", "end", "code"),
    [
        (f"rtsp://{PORT}/x", "'--wait'", "", "", 0),
        (f"rtsp://{PORT}/x", "'--wait'", "", "sys.exit(7)", 7),
        (f"rtsp://{PORT}/x", "", INTERRUPT, "", -2),
        (f"http://{PORT}/x.mjpeg", "", INTERRUPT, "", -2),
    ],
)
def test_nothing_of_a_source_is_left_when_the_interpreter_goes(
    url: str, options: str, before: str, end: str, code: int
) -> None:
    script = SCRIPT.format(url=url, options=options, before=before, end=end)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (code, "left []\n"), done.stderr


def test_a_named_pipe_that_is_silent_keeps_no_script(tmp_path: Path) -> None:
    script = """
import array, atexit, fcntl, os, signal, sys, termios, threading, time
atexit.register(lambda: print("left", [t.name for t in threading.enumerate() if t.daemon]))
import edgepose
os.mkfifo(sys.argv[1])
pipe = os.open(sys.argv[1], os.O_RDWR)
os.write(pipe, bytes(100))
def interrupt():
    waiting = array.array("i", [1])
    while waiting[0]:
        fcntl.ioctl(pipe, termios.FIONREAD, waiting)
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
edgepose.videoSource(sys.argv[1])
"""
    command = [sys.executable, "-c", script, str(tmp_path / "pipe.ts")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (-2, "left []\n"), done.stderr
