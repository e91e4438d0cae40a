"""Defaults from the environment and from files: their order, their errors, and `config show`."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from edgepose import settings
from edgepose.errors import UsageError
from edgepose.options import Posenet, fields_of
from edgepose.paths import user_folder
from tests.conftest import hearing

OPTIONS = {"posenet": ["network", "threshold", "min_score"], "serve": ["port", "network"]}


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, ["/h/.local/share", "/h/.config", "/h/.cache"]),
        ("darwin", {}, ["/h/Library/Application Support"] * 2 + ["/h/Library/Caches"]),
        ("linux", {"XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": "/c"}, ["/d", "/c", "/h/.cache"]),
        ("linux", {"XDG_CACHE_HOME": "k"}, ["/h/.local/share", "/h/.config", "/h/.cache"]),
        ("win32", {"LOCALAPPDATA": "/l"}, ["/l", "/l", "/l"]),
    ],
)
def test_folders_of_users_are_where_the_system_wants_them(
    platform: str, environment: dict[str, str], expected: list[str]
) -> None:
    known = {"HOME": "/h", **environment}
    found = [user_folder(kind, platform, known) for kind in ("data", "config", "cache")]
    ends = ["edgepose", "edgepose", "edgepose/Cache" if platform == "win32" else "edgepose"]
    assert found == [Path(a) / b for a, b in zip(expected, ends, strict=True)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    (tmp_path / "user/edgepose").mkdir(parents=True)
    return tmp_path


def values(environment: dict[str, str] | None = None) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for setting in settings.load(OPTIONS, environment or {"HOME": "/"}):
        found.setdefault(setting.command, {})[setting.name] = setting.value
    return found


def test_the_environment_beats_the_folder_which_beats_the_user(here: Path) -> None:
    user = here / "user/edgepose/edgepose.toml"
    user.write_text('[posenet]\nnetwork = "c"\nthreshold = 0.3\nmin-score = 0.1\n')
    (here / "edgepose.toml").write_text('[posenet]\nnetwork = "b"\nthreshold = 0.2\n')
    assert values({"EDGEPOSE_NETWORK": "a"}) == {
        "posenet": {"network": "a", "threshold": 0.2, "min_score": 0.1}
    }


def test_commands_other_than_posenet_are_named_in_the_variable(here: Path) -> None:
    found = values({"EDGEPOSE_SERVE_PORT": "80", "EDGEPOSE_PORT": "90", "EDGEPOSE_HOME": "/x"})
    assert found == {"serve": {"port": "80"}}


def test_one_file_can_be_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "edgepose.toml").write_text('[posenet]\nnetwork = "b"\n')
    (here / "mine.toml").write_text("[posenet]\nthreshold = 0.5\n")
    monkeypatch.setenv("EDGEPOSE_CONFIG", str(here / "mine.toml"))
    assert values() == {"posenet": {"threshold": 0.5}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[posenet", "cannot be used"),
        ('network = "x"', "outside a table"),
        ('[posenet]\nnetwrk = "x"', "Did you mean 'network'"),
        ("\0", "cannot be used"),
        ("x = " + "[" * 100_000, "cannot be used|too deep"),
        ("[posenet]\nthreshold = " + "9" * 5000, "cannot be used"),
    ],
)
def test_a_file_that_cannot_be_meant_is_named(here: Path, text: str, said: str) -> None:
    (here / "edgepose.toml").write_text(text)
    with pytest.raises(UsageError, match=said) as error:
        values()
    assert "edgepose.toml" in str(error.value)


def test_a_file_as_other_editors_write_it(here: Path) -> None:
    data = b"\xef\xbb\xbf[posenet]\r\nthreshold = 0.25\r\n"
    (here / "edgepose.toml").write_bytes(data)
    assert values()["posenet"]["threshold"] == 0.25


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=60))
def test_no_file_does_worse_than_a_usage_error(here: Path, data: bytes) -> None:
    path = here / "edgepose.toml"
    path.write_bytes(data)
    with contextlib.suppress(UsageError):
        values()


def test_config_show_tells_where_values_come_from(here: Path) -> None:
    (here / "edgepose.toml").write_text("[posenet]\nthreshold = 0.25\n")
    command = [sys.executable, "-m", "edgepose", "config", "show", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (row,) = [r for r in json.loads(result.stdout) if r["option"] == "threshold"]
    assert row == {
        "command": "posenet",
        "option": "threshold",
        "value": 0.25,
        "origin": "edgepose.toml",
    }


def test_config_show_hides_passwords(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPOSE_SOURCE", "rtsp://u:SECRET@host/live")
    (here / "edgepose.toml").write_text(
        '[posenet]\nmqtt = "mqtt://u:SECRET@broker/t"\noutput = ["rtmp://u:SECRET@h/x", "a.mp4"]\n'
    )
    for words in ([], ["--json"]):
        command = [sys.executable, "-m", "edgepose", "config", "show", *words]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "SECRET" not in result.stdout
        assert "host/live" in result.stdout
        assert "a.mp4" in result.stdout


def test_several_values_are_a_list_or_lines_or_one_word() -> None:
    field = next(f for f in fields_of(Posenet) if f.name == "source")

    def typed(value: object) -> object:
        return settings.as_typed(settings.Setting("posenet", "source", value, "x"), field)

    assert typed("a b.jpg") == ["a b.jpg"]
    assert typed("a.jpg\nb.jpg\n") == ["a.jpg", "b.jpg"]
    assert typed(["a.jpg", "b.jpg"]) == ["a.jpg", "b.jpg"]


def test_a_variable_that_means_nothing_is_said(here: Path) -> None:
    with hearing() as said:
        values({"EDGEPOSE_NETWROK": "x", "EDGEPOSE_HOME": "/x", "EDGEPOSE_ZZZZ": "1"})
    assert said == [
        "EDGEPOSE_NETWROK is set, and edgepose has no such variable. Did you mean EDGEPOSE_NETWORK?",
        "EDGEPOSE_ZZZZ is set, and edgepose has no such variable.",
    ]
