"""The table of commands, the one look of their help, and that no argument is answered with "this is a defect"."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import signal
import time
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.cli.commands import COMMANDS, GROUPS, Command
from edgepose.cli.common import run_app
from edgepose.cli.console import Talk, Ticker
from edgepose.cli.main import find_command, make_app, make_command, run_words
from edgepose.options import fields_of

ALONE = [c for c in COMMANDS if c.path not in GROUPS]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.path)
def test_the_work_takes_the_options_that_the_table_names(command: Command) -> None:
    module, _, name = command.work.partition(":")
    work = getattr(importlib.import_module(f"edgepose.cli.{module}"), name)
    hints = typing.get_type_hints(work)
    answer = hints.pop("return")
    assert list(hints.values()) == [command.options]
    assert answer in (int, type(None))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.path)
def test_no_word_means_two_options(command: Command) -> None:
    words = [name for field in fields_of(command.options) for name in field.names]
    assert sorted(words) == sorted(set(words))


def shown(words: list[str]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run_words([*words, "--help"]) == 0
    return out.getvalue()


@pytest.mark.parametrize(
    "words", [[], *([g] for g in GROUPS), *(c.path.split() for c in ALONE)], ids=" ".join
)
def test_every_help_is_plain_and_has_an_example(words: list[str]) -> None:
    text = shown(words)
    assert text.startswith(" ".join(["Usage: edgepose", *words]))
    assert re.search(r"^  (edgepose|posenet) ", text, re.M)
    assert "-h, --help" in text
    assert not re.search(r"[│╭\x1b]|<\w+>|--install-completion", text)
    assert max(map(len, text.splitlines())) < 130


def test_every_command_is_listed_with_what_it_does() -> None:
    lines = shown([]).splitlines()
    for command in COMMANDS:
        name = command.path.split()[0]
        assert any(re.match(rf"  {name} +[A-Z]", line) for line in lines), name


def test_the_command_is_found_by_its_first_words() -> None:
    for command in ALONE:
        assert find_command([*command.path.split(), "x", "--y"]) is command
    for words in ([], ["evnts"], ["events"], ["--version"], ["networks", "--json"]):
        assert find_command(words) is None


@pytest.mark.parametrize(("word", "on"), [("yes", True), ("0", False), ("off", False)])
def test_a_switch_in_the_environment_is_read_as_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str, on: bool
) -> None:
    monkeypatch.setenv("EDGEPOSE_VERSION", word)
    assert run_words(["posenet"]) == (0 if on else 2)  # without it, an input must be named
    assert capsys.readouterr().out.startswith("edgepose ") == on


def test_a_switch_in_the_environment_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEPOSE_VERSION", "perhaps")
    assert run_words(["posenet"]) == 2
    assert "Invalid value for '--version'" in capsys.readouterr().err


def test_only_the_nearest_name_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(make_app(), ["posenet", "--netwrok", "x"], "edgepose") == 2
    assert "No such option: --netwrok. Did you mean --network? See" in capsys.readouterr().err
    assert run_app(make_app(), ["serve", "--port", "0", "--mqtt", "x"], "edgepose") == 2
    assert "Did you mean" not in capsys.readouterr().err
    assert run_app(make_app(), ["evnts"], "edgepose") == 2
    assert "Did you mean 'events'?" in capsys.readouterr().err


def test_progress_without_an_end_becomes_rare(capsys: pytest.CaptureFixture[str]) -> None:
    class Summary:
        frames, poses, rate = 1, 1, 1.0

    for total, most in ((None, 12), (10**6, 10**6)):
        ticker = Ticker(Talk(), total, every=0.001)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            ticker(Summary())
        lines = capsys.readouterr().err.splitlines()
        assert 1 <= len(lines) <= most
    assert len(lines) > 12


# what nobody should type ----------------------------------------------------------------------------
NASTY = (
    *("", " ", "-1", "0", "1", "1e308", "nan", "9" * 400, "\0", "\udcff", "é/ü", "://", "rtsp://"),
    *("http://[", "x://@:99999/", "%i", "%d%s", "{name}", "/", "/dev/null", "photo.jpg", "a\nb"),
    *("~nobody/x", "1x1", "0x0", "65536x65536", ",", "|", "[", "{a,b}", "x" * 5000, "none", "-"),
    *("2026-13-45", "1:2:3", "fp16", "wxh:1x1", ".", "*", "file:///x", "mqtt://", ":0", ":-1"),
)
START = {
    "posenet": ["test://people?size=64x48&frames=1&rate=0", "--network", "edgepose-lite-body",
                "--headless", "--threads", "1", "--timeout", "1", "--reconnect-limit", "1"],
    "bench": ["--frames", "1", "--warmup", "0", "--input", "test://people?size=64x48&frames=1"],
    "export": ["resnet18-body", "nope.pth"],
    "build-engine": ["nope.onnx"],
}  # fmt: skip
LEFT_OUT = ("serve", "doctor", "devices")  # a server; the machine itself
FIELDS = [(c, f) for c in ALONE if c.path not in LEFT_OUT for f in fields_of(c.options)]


@contextlib.contextmanager
def signals_as_they_were() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(n) for n in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


BEGUN: list[float] = []
SECONDS = 30.0  # in all; what is left of the examples then only looks at the clock


@settings(max_examples=120, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.sampled_from([x for x in FIELDS if not x[1].switch]), st.sampled_from(NASTY) | st.text())
def test_no_value_of_an_option_is_a_defect(
    tmp_path_factory: pytest.TempPathFactory, choice: tuple[Command, typing.Any], value: str
) -> None:
    BEGUN.append(time.monotonic())
    if BEGUN[-1] - BEGUN[0] > SECONDS:
        return
    command, field = choice
    words = list(START.get(command.path, []))
    words = [value, *words[1:]] if field.option.argument else [*words, f"{field.names[0]}={value}"]
    err = io.StringIO()
    desk = tmp_path_factory.mktemp("desk")
    with (
        pytest.MonkeyPatch.context() as patch,
        signals_as_they_were(),
        open(desk / "stdout", "w") as out,
    ):
        patch.chdir(desk)
        patch.setenv("EDGEPOSE_OFFLINE", "1")
        patch.setenv("https_proxy", "http://127.0.0.1:9")
        Path("photo.jpg").touch()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run_app(make_command(command), words, f"edgepose {command.path}")
    assert code in (0, 1, 2, 3, 130)
    assert "defect" not in err.getvalue(), (words, err.getvalue())
