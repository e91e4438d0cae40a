"""Documentation is tested: links lead somewhere, pages are up to date, examples and commands run."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
COMPLETIONS = ROOT / "completions"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
# pages whose Python examples have tests of their own, which look at what they do
TESTED_ELSEWHERE = ("networks.md", "json.md", "inputs-outputs.md")
GENERATORS = ("command_pages", "completions", "api_page", "figures")


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


# generated pages ----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", GENERATORS)
def test_generated_files_are_up_to_date(name: str) -> None:
    script = ROOT / "tools" / f"make_{name}.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_dependency_has_its_licence() -> None:
    script = ROOT / "tools" / "make_licences.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_public_name_and_method_is_on_the_api_page() -> None:
    import edgepose

    text = (DOCS / "api.md").read_text()
    for name in edgepose.__all__:
        assert f"## {name}\n" in text.replace("`", "")
        thing = getattr(edgepose, name)
        if isinstance(thing, type):
            for member, value in vars(thing).items():
                if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                    assert re.search(rf"\b{member}\b", text), f"{name}.{member}"


# links --------------------------------------------------------------------------------------------
def prose(path: Path) -> str:
    """The page without code."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path: Path) -> set[str]:
    """Anchors of the headings, as GitHub and MkDocs make them."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    found = set()
    for heading in re.findall(r"^#+ +(.+)$", text, re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        found.add(re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain.lower()).strip()))
    return found


def links(path: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(path))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            assert link.startswith(("https://", "mailto:")), link
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{link} does not exist"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{link}: {file.name} has no such heading"


def test_the_site_has_every_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("nav:")[2]
    named = set(re.findall(r"[\w/-]+\.md", navigation))
    assert {str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md")} == named


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_lists_begin_behind_an_empty_line(page: Path) -> None:
    """Else the site makes one paragraph with dashes of them."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    run_on = re.findall(r"^(?![-*#| \d<]|$).*\n(?=- )", text, flags=re.M)
    assert run_on == []


def test_no_code_in_a_table_has_an_escaped_bar() -> None:
    """MkDocs shows the backslash."""
    for page in PAGES:
        for line in page.read_text().splitlines():
            assert not (line.startswith("|") and re.search(r"`[^`]*\\\|[^`]*`", line)), line


def test_pages_of_the_site_link_only_to_pages_of_the_site() -> None:
    for page in DOCS.rglob("*.md"):
        for link in links(page):
            if not re.match(r"[a-z]+:|#", link):
                target = (page.parent / link.partition("#")[0]).resolve()
                assert target.is_relative_to(DOCS), f"{ids(page)}: {link}"


# Python examples ----------------------------------------------------------------------------------
def python_blocks() -> list[Any]:
    """Python examples; a comment `<!-- not run: reason -->` before one leaves it out."""
    found = []
    for page in PAGES:
        if page.name in TESTED_ELSEWHERE:
            continue
        pattern = r"(<!-- not run: [^>]+ -->\n)?```python\n(.*?)```"
        for number, (left_out, code) in enumerate(re.findall(pattern, page.read_text(), re.S)):
            if not left_out:
                found.append(pytest.param(page, code, id=f"{ids(page)}-{number}"))
    return found


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures and the film that the examples and commands of the pages speak of."""
    from edgepose.io.base import OutputOptions
    from edgepose.io.outputs import open_output
    from edgepose.io.sources.testsrc import Painter, TestPattern
    from edgepose.types import Frame

    folder = tmp_path_factory.mktemp("samples")
    painter = Painter(TestPattern(width=320, height=240))
    frames = [Frame(painter.paint(i, i / 30), index=i) for i in range(12)]
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.jpg", "hands/1.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        with open_output(str(folder / name)) as output:
            output.write(frames[0])
    with open_output(str(folder / "film.mp4"), OutputOptions(rate=30)) as output:
        for frame in frames:
            output.write(frame)
    return folder


@pytest.fixture
def desk(samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the samples, as the current one."""
    shutil.copytree(samples, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("page", "code"), python_blocks())
def test_python_examples_run(page: Path, code: str, desk: Path) -> None:
    from edgepose.io.sources.images import read_image

    image = read_image(str(desk / "photo.jpg"))
    model = ROOT / "data" / "networks" / "edgepose-lite-body.onnx"
    known = {"image": image, "pixels": image.copy(), "model": model}
    exec(compile(code, str(page), "exec"), known)


def test_no_page_installs_what_no_index_has() -> None:
    """edgepose is installed from a clone until it is published."""
    for page in hand_written():  # an extra of what is installed already can be added by name
        assert not re.search(r"pip install '?edgepose['`\s]", page.read_text()), page


# commands -----------------------------------------------------------------------------------------
ELSEWHERE = re.compile(  # cameras, networks and windows; files that are not on the desk
    r"/dev/|csi:|rtsp|rtp:|https?:|webrtc|mqtt|display:|rtmp|srt:|\$|<|"
    r"resnet18|densenet|human-pose|rtm|hrnet|simdr|--model|--zones|--metrics|camera|"
    r"--self-test|--choose|^edgepose (batch|download|serve|build-engine|export|eval|engines|events import|teach)"
)


def commands(page: Path) -> list[str]:
    """Lines of code blocks that start with one of our commands, without their comments."""
    blocks = re.findall(r"```(?:sh|bash|console|shell)?\n(.*?)```", page.read_text(), re.S)
    blocks += re.findall(r"((?:^    .*\n)+)", page.read_text(), re.M)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [
        re.sub(r"\s+#\s.*$", "", line)
        for line in lines
        if re.match(r"(posenet|edgepose|python -m edgepose) ", line) and "[" not in line
    ]


def hand_written() -> list[Path]:
    return [p for p in PAGES if p.parent.name != "commands"]


@pytest.mark.parametrize("page", [p for p in hand_written() if commands(p)], ids=ids)
def test_commands_have_the_options_they_show(page: Path) -> None:
    import typer.main

    from edgepose.cli.main import make_app
    from edgepose.flags import normalise_flags

    root = typer.main.get_command(make_app())
    for line in commands(page):
        words = normalise_flags(shlex.split(line.partition(" | ")[0].partition(" && ")[0]))
        if words[:2] == ["python", "-m"]:
            words = words[2:]
        command: Any = root
        words = words if words[0] == "posenet" else words[1:]
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
        for word in words:
            name = word.partition("=")[0]
            if re.fullmatch(r"-{1,2}[a-z][a-z-]*", name):
                assert name in known, f"{line!r}: {command.name} has no {name}"


def runnable(page: Path) -> list[str]:
    return [line for line in commands(page) if not ELSEWHERE.search(line)]


def test_the_readme_has_commands_that_are_run() -> None:
    assert len([line for line in runnable(ROOT / "README.md") if "posenet" in line]) >= 3


# their commands are run in tests of their own, with servers, databases and clusters
TESTED_APART = {
    f"{name}.md"
    for name in "networks download events accuracy batch cluster fleet gestures".split()
}


@pytest.mark.parametrize(
    "page", [p for p in hand_written() if runnable(p) and p.name not in TESTED_APART], ids=ids
)
def test_commands_run(page: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_ = desk / "bin"
    bin_.mkdir()
    for name in ("edgepose", "posenet"):
        words = "-m edgepose" + (" posenet" if name == "posenet" else "")
        (bin_ / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (bin_ / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("EDGEPOSE_NETWORK", "edgepose-lite-body")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing leaves this machine
    for line in runnable(page):
        words = [w for w in shlex.split(line) if not w.startswith("-")]
        inputs = [w for w in words[1:] if re.fullmatch(r"[\w/*%.-]+\.(jpg|png|mp4|mkv)", w)]
        if inputs and not any(desk.glob(inputs[0])):
            continue  # a file that is not on the desk
        if "test://" in line and "frames=" not in line:
            line += " --frames 5"
        if "doctor" in line:
            line += " --offline"
        done = subprocess.run(
            ["sh", "-c", line], capture_output=True, text=True, check=False, timeout=250
        )
        allowed = (0, 1) if "doctor" in line else (0,)
        assert done.returncode in allowed, f"{line}\n{done.stderr}"


# habits -------------------------------------------------------------------------------------------
def edgepose(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgepose", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_python_m_edgepose_is_edgepose() -> None:
    import edgepose as package

    assert edgepose("--version").stdout == f"edgepose {package.__version__}\n"
    assert edgepose("posenet", "--version").stdout == f"edgepose {package.__version__}\n"


def on_a_terminal(*words: str, **environment: str) -> str:
    """What the command prints on a terminal."""
    master, slave = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    env |= {"TERM": "xterm-256color", "COLUMNS": "100", **environment}
    with subprocess.Popen(
        [sys.executable, "-m", "edgepose", *words], stdout=slave, stderr=slave, stdin=slave, env=env
    ) as process:
        os.close(slave)
        data = b""
        while True:
            try:
                block = os.read(master, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not block:
                break
            data += block
        process.wait(60)
    os.close(master)
    return data.decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*\b(3[0-7]|9[0-7]|38|4[0-7]|48)[0-9;]*m")


def test_no_color_is_honoured() -> None:
    assert not COLOUR.search(on_a_terminal("--help", NO_COLOR="1"))
    assert not COLOUR.search(on_a_terminal("posenet", "none.jpg", "out.jpg", NO_COLOR="1"))


COMPLETE = r"""
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_"$1"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("edgepose ev", {"eval", "events"}),
        ("edgepose events ", {"export", "hours", "import", "list"}),
        ("edgepose events list --event e", {"enter", "exit"}),
        ("posenet --netw", {"--network", "--network-size"}),
        ("posenet --network = resnet18-", {"resnet18-body", "resnet18-hand"}),
        ("edgepose posenet --resize l", {"letterbox"}),
        ("posenet pho", {"photo.jpg", "photos"}),
    ],
)
def test_bash_completion(words: str, expected: set[str], desk: Path) -> None:
    bash = shutil.which("bash")
    if not bash:
        pytest.skip("bash is not installed")
    split = words.split(" ")
    script = COMPLETIONS / f"{split[0]}.bash"
    done = subprocess.run(
        [bash, "-c", COMPLETE, "bash", str(script), *split],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == expected, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_their_completion(shell: str) -> None:
    program = shutil.which(shell)
    if not program:
        pytest.skip(f"{shell} is not installed")
    for name in ("edgepose", "posenet"):
        file = COMPLETIONS / f"{name}.{shell}"
        done = subprocess.run(
            [program, "-n", str(file)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_fish_completion() -> None:
    fish = shutil.which("fish")
    if not fish:
        pytest.skip("fish is not installed")
    ask = f"source {COMPLETIONS}/edgepose.fish; complete -C 'edgepose events l'"
    done = subprocess.run([fish, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "list"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks/results").glob("*.json")), ids=lambda p: p.stem
)
def test_commands_of_stored_results_name_no_folder_of_a_machine(path: Path) -> None:
    rows = json.loads(path.read_text())
    for row in rows if isinstance(rows, list) else [rows]:
        assert not re.search(r"(^|[ =])[/~]", row.get("command", ""))
