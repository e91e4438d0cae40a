"""`edgepose bench`: stage times, side by side."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgepose.cli.console import Talk

if TYPE_CHECKING:
    from edgepose.bench import Measured


def bench(
    network: Annotated[str, typer.Argument(help="Network by name.")] = "edgepose-lite-body",
    model: Annotated[Path | None, typer.Option(help="Weights file of the network.")] = None,
    input: Annotated[
        str, typer.Option("--input", "-i", help="Frames to measure with.")
    ] = "test://people?size=1280x720",
    compare: Annotated[
        list[str] | None,
        typer.Option(
            "--compare",
            metavar="SPEC",
            help="A column, for example openvino,precision=fp32,threads=2,batch=4; may be given "
            "several times. The first is the base of the ratios.",
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames to count for each column.")] = 200,
    warmup: Annotated[int, typer.Option(min=0, help="Frames before, not counted.")] = 20,
    engine: Annotated[str, typer.Option(help="Engine of all columns that name none.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Threads, likewise.")] = 0,
    no_download: Annotated[
        bool, typer.Option("--no-download", help="Never fetch a network.")
    ] = False,
    json: Annotated[str, typer.Option(metavar="FILE|-", help="Figures as JSON.")] = "",
    plot: Annotated[Path | None, typer.Option(help="Stage times as a PNG (extra: plot).")] = None,
) -> None:
    """Measure the stages of a frame: decode, preprocess, network, postprocess, overlay, encode.

    Several engines, precisions, batches or numbers of threads are measured in turns in one run.
    """
    from edgepose import bench as b
    from edgepose.engines import EngineOptions
    from edgepose.networks.measured import store
    from edgepose.networks.resolve import resolve

    talk = Talk()
    base = EngineOptions(engine=engine, threads=threads)
    columns = [b.parse_configuration(text, base) for text in compare or [engine]]
    found = resolve(network, model=model, download=not no_download)
    pictures = b.read_pictures(input, 32)
    before = b.conditions()
    measured = _measure(b, found, columns, pictures, frames, warmup, talk)
    after = b.conditions()
    fastest = min(measured, key=lambda m: m.total.percentile(50))
    store(found.manifest.name, fastest.stages["network"].percentile(50), fastest.engine)
    data = {
        "network": found.manifest.name,
        "input": input,
        "frames": frames,
        "conditions": {"before": before, "after": after},
        "columns": [m.as_dict(measured[0]) for m in measured],
    }
    if json:
        text = jsonlib.dumps(data, indent=1)
        if json == "-":
            print(text)
        else:
            _write(Path(json), text + "\n")
    if json != "-":
        print(table(data))
    if before["clocks"]["throttled"] or after["clocks"]["throttled"]:
        talk.warning(
            "The processor runs well below its highest clock: the figures are not its best."
        )
    if before["load"] > 0.5 * (before["cores"] or 1):
        talk.warning(f"The machine was busy before (load {before['load']}): trust the ratios only.")
    if plot:
        draw(data, plot)


def _measure(
    b: Any, found: Any, columns: Any, pictures: Any, frames: int, warmup: int, talk: Talk
) -> list[Measured]:
    settings: dict[str, Any] = {"frames": frames, "warmup": warmup}
    if not talk.bars:
        return list(b.run(found, columns, pictures, **settings))
    from rich.progress import Progress

    with Progress(console=talk.console, transient=True) as progress:
        task = progress.add_task("measuring", total=frames * len(columns))
        settings["tick"] = lambda n: progress.update(task, completed=n)
        return list(b.run(found, columns, pictures, **settings))


def table(data: dict[str, Any]) -> str:
    """The figures as a Markdown table, so that it can be pasted."""
    columns = data["columns"]
    head = ["ms a frame, p50", *(f"{c['label']}: {c['engine']}" for c in columns)]
    rows = [
        [stage, *(f"{c['stages_ms'].get(stage, {}).get('p50', 0):.2f}" for c in columns)]
        for stage in columns[0]["stages_ms"]
    ]
    for key in ("p50", "p90", "p99"):
        rows.append([f"total {key}", *(f"{c['total_ms'][key]:.2f}" for c in columns)])
    rows.append(["frames/s", *(f"{c['frames_per_s']:.1f}" for c in columns)])
    rows.append(["ratio", *(f"{c['ratio']:.2f}" for c in columns)])
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(head), line(["-" * w for w in widths]), *map(line, rows)])


def draw(data: dict[str, Any], path: Path) -> None:
    """Stacked bars of the stage times as a PNG.

    Raises:
        UsageError: matplotlib is not installed.
    """
    from edgepose.errors import UsageError

    try:
        import matplotlib as mpl
    except ImportError:
        raise UsageError("--plot needs matplotlib: pip install 'edgepose[plot]'.") from None
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.6 * len(data["columns"])))
    left = [0.0] * len(data["columns"])
    labels = [c["label"] for c in data["columns"]]
    for stage in data["columns"][0]["stages_ms"]:
        widths = [c["stages_ms"].get(stage, {}).get("p50", 0.0) for c in data["columns"]]
        axes.barh(labels, widths, left=left, label=stage)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_xlabel("milliseconds a frame (median)")
    axes.set_title(data["network"])
    axes.invert_yaxis()
    axes.legend(ncols=6, loc="lower center", bbox_to_anchor=(0.5, 1.12), frameon=False)
    figure.savefig(path, dpi=120, bbox_inches="tight")


def _write(path: Path, text: str) -> None:
    from edgepose.errors import OutputError

    try:
        path.write_text(text)
    except OSError as e:
        raise OutputError(f"Cannot write {path}: {e.strerror}.") from None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(bench)
