"""`edgepose bench`: stage times, side by side."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Any

from edgepose import bench as b
from edgepose import wanted
from edgepose.cli.console import Talk
from edgepose.cli.loading import find_network
from edgepose.cli.options import Bench
from edgepose.engines import EngineOptions
from edgepose.errors import OutputError, UsageError
from edgepose.files import refuse_input, write_atomically
from edgepose.networks.measured import store, store_ways
from edgepose.networks.resolve import Network
from edgepose.options import NetworkChoice


def bench(asked: Bench) -> None:
    """Run the command."""
    talk = Talk.of(asked.talk)
    for written in (asked.json if asked.json != "-" else "", asked.plot):
        if written:
            refuse_input(written, (asked.model, asked.input))
    base = wanted.wanted_engine(asked.engine)
    names = NetworkChoice(asked.network, asked.model, no_download=asked.no_download)
    found = find_network(names, talk, asked.engine.precision)
    columns = _columns(asked, found, base)
    pictures = b.read_pictures(asked.input, 32)
    before = b.conditions()
    measured = _measure(asked, found, columns, pictures, talk)
    after = b.conditions()
    fastest = min(measured, key=lambda m: m.total.percentile(50))
    store(found.manifest.name, fastest.stages["network"].percentile(50), fastest.engine)
    data = {
        "network": found.manifest.name,
        "input": asked.input,
        "frames": asked.frames,
        "conditions": {"before": before, "after": after},
        "columns": [m.as_dict(measured[0]) for m in measured],
    }
    if asked.choose:
        _remember(found, measured, talk)
    if asked.json:
        text = jsonlib.dumps(data, indent=1)
        if asked.json == "-":
            print(text)
        else:
            _write_report(Path(asked.json), text + "\n")
    if asked.json != "-":
        print(table(data))
    if before["clocks"]["throttled"] or after["clocks"]["throttled"]:
        talk.warning(
            "The processor runs well below its highest clock: the figures are not its best."
        )
    if before["load"] > 0.5 * (before["cores"] or 1):
        talk.warning(f"The machine was busy before (load {before['load']}): trust the ratios only.")
    if asked.plot:
        draw(data, asked.plot)


def _columns(asked: Bench, network: Network, base: EngineOptions) -> list[b.Configuration]:
    if not asked.choose:
        texts = asked.compare or [asked.engine.engine]
        return [b.parse_configuration(text, base) for text in texts]
    if asked.compare:
        raise UsageError("--choose measures every way there is; leave --compare out.")
    return b.candidates(network, base)


def _remember(network: Network, measured: list[b.Measured], talk: Talk) -> None:
    """Keep what is fastest for `auto`, and say it in one line."""
    ways = b.best_first(measured)
    store_ways(network.manifest.name, ways)
    first, *others = (
        f"{' '.join(filter(None, (w.variant, w.engine, w.precision)))} {w.ms:.1f} ms" for w in ways
    )
    rest = f" ({', '.join(others)})" if others else ""
    talk.info(f"{network.manifest.name}: auto takes {first} on this CPU from now on{rest}.")


def _measure(
    asked: Bench,
    network: Network,
    columns: list[b.Configuration],
    pictures: list[bytes],
    talk: Talk,
) -> list[b.Measured]:
    settings: dict[str, Any] = {"frames": asked.frames, "warmup": asked.warmup}
    if not talk.bars:
        return list(b.run(network, columns, pictures, **settings))
    from rich.progress import Progress

    with Progress(console=talk.console, transient=True) as progress:
        task = progress.add_task("measuring", total=asked.frames * len(columns))
        settings["tick"] = lambda n: progress.update(task, completed=n)
        return list(b.run(network, columns, pictures, **settings))


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


def _write_report(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as e:
        raise OutputError(f"Cannot write {path}: {e.strerror}.") from None
