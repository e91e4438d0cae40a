"""What the commands share: usage errors, as a user sees them."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from edgepose.cli.common import ENDS, fail, finishing, interruptible, run_app
from edgepose.cli.console import Talk
from edgepose.cli.serve import say_address
from edgepose.errors import EXIT_USAGE
from edgepose.jetson_pictures import Log

PICTURE = Path(__file__).resolve().parents[2] / "examples" / "images" / "astronaut.jpg"


def app() -> typer.Typer:
    made = typer.Typer(no_args_is_help=True)

    @made.command()
    def count(number: int, *, least: int = 0) -> None:
        """Count."""

    @made.command()
    def other() -> None:
        """Another, so that the first is a sub-command."""

    return made


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cuont"], "No such command 'cuont'"),
        (["count"], "Missing argument"),
        (["count", "x"], "Invalid value for"),
        (["count", "1", "--laest", "2"], "No such option: --laest"),
    ],
)
def test_a_usage_error_is_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert run_app(app(), words, "edgepose") == EXIT_USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("edgepose: ")
    assert said in err
    assert err.count("\n") == 1
    assert err.rstrip().endswith("--help.")
    assert ".." not in err
    assert "?." not in err


def test_too_little_memory_is_no_defect(capsys: pytest.CaptureFixture[str]) -> None:
    large = typer.Typer()

    @large.command()
    def run() -> None:
        """Ask for more than there is."""
        bytearray(1 << 62)

    assert run_app(large, [], "edgepose") == 1
    assert capsys.readouterr().err.startswith("edgepose: there is not enough memory.")


def test_a_group_without_a_command_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(app(), [], "edgepose") == EXIT_USAGE
    out, err = capsys.readouterr()
    assert "count" in out + err
    assert "edgepose: " not in err


@pytest.mark.parametrize("words", [[], ["events"], ["config"]])
def test_the_program_shows_its_help_where_a_command_is_missing(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from edgepose.cli.main import make_app

    assert run_app(make_app(), words, "edgepose") == EXIT_USAGE
    shown = "".join(capsys.readouterr())
    assert shown.startswith("Usage: edgepose")
    assert "See edgepose" not in shown
    assert shown.count("Usage:") == 1


def finish_and_be_interrupted(number: int) -> None:
    done: list[int] = []

    def finish(signals: int) -> None:
        with finishing():
            for came in range(signals):
                os.kill(os.getpid(), number)
                done.append(came)

    with interruptible():
        finish(0)
        for signals in (1, 2):  # a second one ends it at once
            with pytest.raises(KeyboardInterrupt):
                finish(signals)
        assert done == [0, 0]
        with pytest.raises(KeyboardInterrupt):  # as it was before
            os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, *ENDS])
def test_files_are_finished_before_a_signal_is_heard(number: signal.Signals) -> None:
    # in a process of its own: a signal that is not taken would end the session
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=finish_and_be_interrupted, args=(int(number),))
    process.start()
    process.join(100)
    assert process.exitcode == 0


@pytest.mark.parametrize("others", [True, False])
def test_nothing_is_torn_down_under_threads_that_still_work(others: bool) -> None:
    """FFmpeg asks in its own threads whether to go on, by a function of Python: without one left that is a crash."""
    code = (
        "import atexit, sys, threading\n"
        "from edgepose.cli.common import leave\n"
        "atexit.register(print, 'torn down')\n"
        f"if {others}: threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "print('written')\n"
        "leave(7)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert done.stdout == ("written\n" if others else "written\ntorn down\n")


def test_a_full_disk_behind_the_messages_ends_no_run() -> None:
    command = [sys.executable, "-m", "edgepose", "posenet", str(PICTURE)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*command, "--headless", "--json", "-"],
            stdout=subprocess.PIPE,
            stderr=full,
            check=False,
        )
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 1


class Pieces(io.StringIO):
    """What is written, write by write."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return len(text)


def test_a_line_is_written_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the line of another thread comes between its text and its end."""
    pieces = Pieces()
    monkeypatch.setattr("sys.stderr", pieces)
    Talk("info").info("a camera: live")
    fail("nothing there")
    say_address("http://127.0.0.1:80/", "", Talk())
    Log.Info("as jetson-utils\n")
    assert pieces.pieces == [
        "a camera: live\n",
        "edgepose: nothing there\n",
        "edgepose: http://127.0.0.1:80/\n",
        "as jetson-utils\n",
    ]


def test_who_is_in_a_folder_that_is_gone_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = typer.Typer()
    made.command()(lambda: print(os.path.abspath("x.jpg")))
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run_app(made, [], "edgepose") == 1
    assert "The folder that this was started in is gone." in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
def test_messages_that_find_no_room_change_no_exit_code() -> None:
    command = [sys.executable, "-m", "edgepose", "posenet", str(PICTURE), "--topolgy", "x"]
    with open("/dev/full", "w") as full:
        assert subprocess.run(command, stderr=full).returncode == EXIT_USAGE


@pytest.mark.parametrize("door", ["door", "posenet"])
def test_ctrl_c_while_a_command_loads_leaves_no_traceback(door: str) -> None:
    script = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(name, *_):\n"
        "        if name == 'typer': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder)\n"
        f"import edgepose.cli.{door}"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
