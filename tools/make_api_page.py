"""Write docs/api.md from the docstrings of the public names. `--check` only compares.

usage: python tools/make_api_page.py [--check]
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from cli_tree import ROOT, write_or_check

PAGE = ROOT / "docs" / "api.md"
HEAD = """<!-- written by tools/make_api_page.py from the docstrings; edit them there -->
# Python API
Everything on this page is imported from `edgepose`; names load on first use, so `import edgepose` itself is light.

```python
from edgepose import PoseNet

with PoseNet("fast") as net:
    poses = net.process("photo.jpg")    # a path or URL; numpy, PIL, torch; or a list of them
    print(poses.points.shape)           # (people, keypoints, 3): x, y, score
    poses.save("out.jpg")               # the picture with its poses; or .json, .csv, .parquet
    for pose in poses:
        print(pose.score, pose["nose"].x if "nose" in pose else None, pose.angle("left_elbow"))
    for frame, poses in net.track("film.mp4"):     # or 0, a camera; "rtsp://..."
        print(frame.index, poses.tracks, poses.boxes)
```

| in Python | what it is |
|---|---|
| `poses.points`, `.boxes`, `.scores`, `.tracks` | numpy arrays with a row for each person |
| `poses.to_dict()`, `.to_json()` | as `posenet --json` writes them |
| `poses.to_pandas()`, `.to_supervision()` | a table with a row for each keypoint; `supervision.KeyPoints` for its annotators |
| `poses.draw()`, `.save(path)` | a copy of the picture with the poses; a notebook shows it by itself |
| `net.stream(source)`, `net.track(source)` | every frame of a film, the newest of a camera, with its poses |

Coordinates are image pixels with the centre of the top left pixel at (0.5, 0.5); scores lie in 0..1. Names that begin with a capital are
jetson-inference's spellings of the same things, so that its programs run with their import lines changed
([coming from jetson-inference](migrate.md)).

Programs to start from, of at most 45 lines each, are in the folder `examples/` of the repository:

| program | what it does |
|---|---|
| `poses_to_csv.py` | keypoints of every picture in a folder as one CSV file |
| `batch.py` | many pictures at once |
| `count_crossings.py` | counts people who cross a line, with tracks and events |
| `hands_up.py` | says who raises a hand: gestures as geometry on named keypoints |
| `lamp.py` | switches a lamp over MQTT by hand sign, see [the tutorial](lamp.md) |
| `blur_faces.py` | blurs faces in pictures and films |
| `live_json.py` | the latest poses of a camera at an HTTP address |
| `custom_network.py` | an ONNX network of your own with a topology of your own |
| `detect.py` | a program written for jetson-inference |
"""


def public() -> dict[str, Any]:
    """The public objects by name."""
    import edgepose

    return {name: getattr(edgepose, name) for name in edgepose.__all__}


def page() -> str:
    """The whole page."""
    out = [HEAD.rstrip()]
    for name, thing in public().items():
        out.append(f"## `{name}`" if name.startswith("_") else f"## {name}")
        if inspect.isfunction(thing):
            out += [f"```\n{name}{signature(thing)}\n```", text(inspect.getdoc(thing) or "")]
        elif not inspect.isclass(thing):
            out.append(
                f"A {type(thing).__name__}." if name != "__version__" else "The version as text."
            )
        elif thing.__name__ != name:
            out.append(f"The same as [{thing.__name__}](#{thing.__name__.lower()}).")
        else:
            out += described(thing)
    return "\n\n".join(out) + "\n"


def described(cls: type) -> Iterator[str]:
    """A class: signature, text, attributes that are computed, methods, spellings."""
    if not issubclass(cls, Exception):
        yield f"```\n{cls.__name__}{signature(cls)}\n```"
    yield text(inspect.getdoc(cls) or "")
    own = [(n, m) for n, m in vars(cls).items() if not n.startswith("_") and has_text(m)]
    rows = []
    for name, member in own:
        if isinstance(member, (property, cached_property)):
            rows.append((f"`{name}`", first_line(member)))
        elif name[0].isupper():
            rows.append((f"`{name}{signature(plain(member))}`", first_line(member)))
        else:
            yield f"### {cls.__name__}.{name}"
            yield f"```\n{name}{signature(plain(member))}\n```"
            yield text(inspect.getdoc(plain(member)) or "")
    if rows:
        cells = [f"| {n.replace(' | ', ' or ')} | {t} |" for n, t in rows]
        yield "\n".join(["| name | |", "|---|---|", *cells])


def plain(member: Any) -> Any:
    """The function of a method, whatever kind."""
    member = getattr(member, "__func__", member)
    return getattr(member, "func", member) if not isinstance(member, property) else member.fget


def has_text(member: Any) -> bool:
    """Whether it is something of ours to describe: a function or property with a docstring."""
    function = plain(member)
    return inspect.isfunction(function) and bool(function.__doc__)


def first_line(member: Any) -> str:
    """First paragraph of the docstring in one line."""
    doc = inspect.getdoc(plain(member)) or ""
    return escaped(" ".join(doc.split("\n\n")[0].split()))


def signature(thing: Any) -> str:
    """As it is written, without self."""
    found = inspect.signature(thing)
    words: list[str] = []
    for parameter in found.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        words.append(written(parameter))
    back = found.return_annotation
    arrow = "" if back in (inspect.Signature.empty, None, "None") else f" -> {named(back)}"
    return f"({', '.join(words)}){arrow}"


def written(parameter: inspect.Parameter) -> str:
    """One parameter."""
    star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    empty = inspect.Parameter.empty
    kind = "" if parameter.annotation is empty else f": {named(parameter.annotation)}"
    if parameter.default is empty:
        return f"{star}{parameter.name}{kind}"
    default = "..." if "factory" in repr(parameter.default) else repr(parameter.default)
    return f"{parameter.name}{kind} = {default}"


def named(annotation: Any) -> str:
    """An annotation as it stands in the source."""
    return (
        annotation
        if isinstance(annotation, str)
        else getattr(annotation, "__name__", str(annotation))
    )


def text(doc: str) -> str:
    """A docstring as Markdown: its sections become lists."""
    out: list[str] = []
    for block in doc.split("\n\n"):
        if block.startswith(">>>"):
            out.append(f"```pycon\n{block}\n```")
            continue
        head, _, rest = block.partition("\n")
        if re.fullmatch(r"(Args|Attributes|Raises|Returns):", head):
            out.append(f"{head.rstrip(':')}:")
            out.append("\n".join(items(inspect.cleandoc("\n" + rest))))
        else:
            out.append(escaped(" ".join(block.split())))
    return "\n\n".join(out)


def items(body: str) -> Iterator[str]:
    """The entries of a section; a line that is indented belongs to the one before."""
    entries: list[str] = []
    for line in body.splitlines():
        if line.startswith(" ") and entries:
            entries[-1] += " " + line.strip()
        else:
            entries.append(line)
    for entry in entries:
        names, colon, meaning = entry.partition(":")
        if colon and re.fullmatch(r"[\w, ]+", names):
            spelled = ", ".join(f"`{n.strip()}`" for n in names.split(","))
            yield f"- {spelled}: {escaped(meaning.strip())}"
        else:
            yield f"- {escaped(entry)}"


def escaped(words: str) -> str:
    """Nothing is taken for HTML or a table."""
    parts = words.split("`")
    for i in range(0, len(parts), 2):
        parts[i] = parts[i].replace("<", "\\<").replace("*", "\\*").replace("|", "\\|")
    return "`".join(parts)


def main() -> int:
    """Write or compare."""
    return write_or_check({PAGE: page()}, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
