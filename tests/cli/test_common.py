"""What the commands share: usage errors, as a user sees them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.cli.main import run_words
from edgepose.errors import EXIT_USAGE

PICTURE = Path(__file__).resolve().parents[2] / "examples" / "images" / "astronaut.jpg"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evnts"], "No such command 'evnts'. Did you mean 'events'?"),
        (["networks", "shwo"], "No such command 'shwo'. Did you mean 'show'?"),
        (["networks", "show"], "Missing argument NAME"),
        (["networks", "show", "a", "b"], "Too much: b"),
        (["eval", "--images", "."], "Missing option --annotations"),
        (["bench", "--frmaes", "2"], "No such option: --frmaes. Did you mean --frames?"),
        (["bench", "--frames"], "--frames needs a value"),
        (["devices", "--json=1"], "--json takes no value"),
        (["--jsno"], "No such option: --jsno"),
        (["posenet", "--no-reconnect=0"], "--no-reconnect takes no value"),
    ],
)
def test_a_usage_error_is_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert run_words(words) == EXIT_USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("edgepose: ")
    assert said in err
    assert err.count("\n") == 1
    assert err.rstrip().endswith("--help.")
    assert ".." not in err
    assert "?." not in err


@pytest.mark.parametrize(
    "words", [["bench", "--frames", "x", "-h"], ["networks", "--help"], ["-h"]]
)
def test_help_is_shown_whatever_else_is_asked(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run_words(words) == 0
    assert capsys.readouterr().out.startswith("Usage: edgepose")


@pytest.mark.parametrize("words", [[], ["events"], ["config"]])
def test_the_program_shows_its_help_where_a_command_is_missing(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_words(words) == EXIT_USAGE
    shown = "".join(capsys.readouterr())
    assert shown.startswith("Usage: edgepose")
    assert "See edgepose" not in shown
    assert shown.count("Usage:") == 1


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
