"""The floors of the house: a module imports only from floors below its own, never in a circle; no
function is wider than a reader can hold, and a name means one thing.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edgepose"

# first component below edgepose -> floor; see docs/architecture.md
FLOORS = {
    "closing": 0,
    "errors": 0,
    "flags": 0,
    "options": 0,
    "settings": 0,
    "types": 0,
    "geometry": 0,
    "paths": 0,
    "timing": 0,
    "matching": 0,
    "files": 0,
    "heaps": 0,
    "machine": 0,
    "json_file": 0,
    "joints": 0,
    "version": 0,
    "networks": 1,
    "cuda": 1,
    "io": 2,
    "preprocess": 2,
    "engines": 2,
    "decode": 2,
    "track": 2,
    "draw": 2,
    "gestures": 2,
    "events": 2,
    "batching": 2,
    "estimators": 3,
    "calibration": 3,
    "pipeline": 3,
    "jetson_inference": 3,
    "jetson_pictures": 3,
    "posenet": 3,
    "poses": 3,
    "given": 3,
    "wanted": 3,
    "web": 3,
    "fleet": 3,
    "serve": 4,
    "collect": 4,
    "eval": 4,
    "export": 4,
    "teach": 4,
    "batch": 4,
    "bench": 4,
    "doctor": 4,
    "cli": 5,
    "__main__": 6,
    "__init__": 6,
}
SIBLINGS = (0, 3)  # floors whose modules may use each other
HEAVY = (
    "onnxruntime",
    "openvino",
    "av",
    "cv2",
    "tensorrt",
    "pycuda",
    "starlette",
    "torch",
    "pyarrow",
    "ray",
)


MOST_PARAMETERS = 12
MOST_MODULES = 2  # in which one name may be defined
# what stands in every module of its kind, and is asked for by that name
SHARED_NAMES = {
    "__all__": "what a package gives away",
    "log": "each module's logger",
    "main": "the entry point of each process",
    "load": "each engine's door",
    "probe": "each engine's reason why it cannot run here",
    "T": "the type variable of what is generic",
}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Dotted names below `edgepose` that a file imports, in functions too; not under TYPE_CHECKING."""
    tree = ast.parse(path.read_text())
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edgepose."):
            found.add((node.module or "").removeprefix("edgepose."))
        elif isinstance(node, ast.ImportFrom) and node.module == "edgepose":
            found |= {a.name for a in node.names if a.name in FLOORS}
        elif isinstance(node, ast.Import):
            found |= {
                a.name.removeprefix("edgepose.")
                for a in node.names
                if a.name.startswith("edgepose.")
            }
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_from_floors_below(path: Path) -> None:
    home = path.relative_to(PACKAGE).with_suffix("").parts[0]
    assert home in FLOORS, f"{home} has no floor: put it into the table and the design"
    for name in imports(path):
        target = name.split(".")[0]
        floor = FLOORS[home]
        allowed = target == home or (floor in SIBLINGS and FLOORS[target] == floor)
        assert allowed or FLOORS[target] < floor, f"{path.name} (floor {floor}) imports {name}"


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def dotted(path: Path) -> str:
    name = ".".join(("edgepose", *path.relative_to(PACKAGE).with_suffix("").parts))
    return name.removesuffix(".__init__")


def imported_modules(path: Path, known: set[str]) -> set[str]:
    """The modules of the package that a file needs, lazily or not; a package is not its children."""
    found: set[str] = set()
    tree = parse(path)
    hidden = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in hidden:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{a.name}" for a in node.names} & known
            whole = any(f"{node.module}.{a.name}" not in known for a in node.names)
            found |= inner | ({node.module} if whole else set())
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
    return (found & known) - {dotted(path), "edgepose"}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other (Tarjan's strongly connected components)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for other in graph[name]:
            if other not in number:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == number[name]:
            at = stack.index(name)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in number:
            visit(name)
    return found


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == [["b", "c"]]


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    known = {dotted(p) for p in modules()}
    assert circles({dotted(p): imported_modules(p, known) for p in modules()}) == []


IO_FOLDERS = ("edgepose.io.sources", "edgepose.io.outputs", "edgepose.io.sinks")


def io_folder(name: str) -> str:
    """The folder of io in which a module stands, "" for io's ground floor and what is outside."""
    return next((f for f in IO_FOLDERS if name == f or name.startswith(f + ".")), "")


def test_in_io_arrows_go_down_only() -> None:
    """What stands directly in io/ is the ground floor of its three folders, which never use each other."""
    known = {dotted(p) for p in modules()}
    inside = [p for p in modules() if dotted(p).startswith("edgepose.io")]
    arrows = [(dotted(p), other) for p in inside for other in imported_modules(p, known)]
    assert {io_folder(b) for _, b in arrows} == {"", *IO_FOLDERS}, "an empty look finds nothing"
    assert [(a, b) for a, b in arrows if io_folder(b) not in ("", io_folder(a))] == []


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_function_has_few_parameters(path: Path) -> None:
    for node in ast.walk(parse(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            args = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            assert len(args) <= MOST_PARAMETERS, f"{node.name} (line {node.lineno}): {len(args)}"


def defined(path: Path) -> Iterator[str]:
    """Names that a module defines at its top level."""
    for node in parse(path).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def test_a_name_means_one_thing() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for path in modules():
        for name in defined(path):
            homes[name].add(dotted(path))
    many = {name: sorted(where) for name, where in homes.items() if len(where) > MOST_MODULES}
    assert {n: w for n, w in many.items() if n not in SHARED_NAMES} == {}
    assert set(SHARED_NAMES) <= set(many), "an exception that is not needed any more"


def test_the_page_has_the_same_floors() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    for line in page.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if len(cells) == 3 and cells[0].isdigit():
            named = {name for name, floor in FLOORS.items() if floor == int(cells[0])}
            assert {n for n in named if f"`{n}" not in cells[1]} == set(), cells[0]


def test_importing_edgepose_loads_nothing_heavy() -> None:
    code = (
        "import sys, edgepose, edgepose.cli.main; edgepose.cli.main.make_app();"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_picture_needs_nothing_that_streams_downloads_and_locks_need() -> None:
    picture = PACKAGE.parent / "examples" / "images" / "astronaut.jpg"
    words = ["posenet", str(picture), "--network", "edgepose-lite-body", "--json", "-"]
    code = (
        f"import sys; from edgepose.cli.main import run_words; assert run_words({words!r}) == 0;"
        "print(sorted({'av', 'filelock', 'tarfile', 'rich', 'pydantic'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "[]"


def test_before_the_engine_begins_nothing_is_loaded_that_can_be_beside_it() -> None:
    code = (
        "import sys, edgepose.cli.posenet_start;"
        "print([m for m in ('cv2', 'edgepose.pipeline', 'edgepose.draw', 'edgepose.estimators.runner')"
        " if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_public_names_exist_and_unknown_ones_do_not() -> None:
    import edgepose

    for name in edgepose.__all__:
        assert getattr(edgepose, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'poseNett'"):
        _ = edgepose.poseNett
