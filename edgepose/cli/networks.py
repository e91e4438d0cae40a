"""`edgepose networks`: which networks there are, what is known about them, and what is installed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgepose.cli.console import say_line
from edgepose.cli.options import Networks, NetworksRemove, NetworksShow
from edgepose.cli.table import print_table
from edgepose.errors import EXIT_DONE, EXIT_FAILED, UsageError
from edgepose.networks import measured, registry
from edgepose.networks.download import uninstall as delete
from edgepose.networks.folders import damaged_files
from edgepose.networks.manifest import Manifest, Weights
from edgepose.networks.resolve import default_name, own_topology
from edgepose.networks.topology import read_json
from edgepose.paths import data_networks, engines_cache


def networks(asked: Networks) -> int:
    """List the networks and the cached engines."""
    known = registry.manifests()
    engines = cached_engines()
    broken = [str(e) for e in registry.problems()]
    if asked.json:
        rows = [summary(m) for m in known]
        print(json.dumps({"networks": rows, "engines": engines, "problems": broken}, indent=2))
        return EXIT_DONE
    print_table(
        ("network", "family", "input", "AP", "MB", "ms", "licence", "installed"),
        [_row(m) for m in known],
    )
    if engines:
        print()
        print_table(
            ("engine", "precision", "TensorRT", "GPU", "size", "file"),
            [_engine_row(e) for e in engines],
        )
    for line in broken:
        say_line(f"edgepose: {line}")
    return EXIT_DONE


def show(asked: NetworksShow) -> int:
    """Print one network."""
    manifest = registry.find(asked.name)
    data = details(manifest)
    damaged: list[str] = []
    if asked.verify:
        for variant in registry.variants(manifest):
            damaged += damaged_files(variant.folder)
        data["damaged"] = damaged
    print(json.dumps(data, indent=2) if asked.json else _as_text(data))
    for line in damaged:
        say_line(f"edgepose: {line}; `edgepose download {asked.name} --force`")
    return EXIT_FAILED if damaged else EXIT_DONE


def remove(asked: NetworksRemove) -> int:
    """Delete installed weights."""
    manifest = registry.find(asked.name)
    chosen = registry.variants(manifest)
    if asked.variant:
        chosen = [registry.find_variant(manifest, asked.variant)]
    gone = [v.name for v in chosen if delete(v)]
    if not gone:
        places = ", ".join(str(v.folder) for v in chosen)
        raise UsageError(f"{manifest.name} is not installed (looked in {places}).")
    say_line(f"{manifest.name} ({', '.join(gone)}) removed")
    return EXIT_DONE


def size(weights: Weights) -> int:
    """Bytes of a variant where they are published or the file is shipped and there, else 0."""
    if weights.shipped:
        path = data_networks() / weights.model
        return path.stat().st_size if path.is_file() else 0
    return sum(d.bytes for d in weights.downloads)


# facts ------------------------------------------------------------------------------------------
def summary(m: Manifest) -> dict[str, Any]:
    """What the table says about a network."""
    return {
        "name": m.name,
        "aliases": list(m.aliases),
        "family": m.family,
        "description": m.description,
        "input": [m.input.width, m.input.height],
        "metrics": dict(m.metrics),
        "license": m.license,
        "bytes": max((size(w) for w in m.weights.values()), default=0),
        "measured": measured.load().get(m.name),
        "default": m.name == default_name(),
        "installed": {
            v: str(path) for v in m.weights if (path := registry.installed(m, v)) is not None
        },
    }


def details(m: Manifest) -> dict[str, Any]:
    """All that is known about a network."""
    topology = own_topology(m) if m.topology else None
    return {
        **summary(m),
        "homepage": m.homepage,
        "notes": m.notes,
        "manifest": str(m.path),
        "input": asdict(m.input),
        "outputs": m.outputs,
        "decoder": m.decoder,
        "detector": m.detector or None,
        "topology": m.topology or None,
        "keypoints": list(topology.keypoints) if topology else [],
        "links": len(topology.links) if topology else 0,
        "weights": {
            v: {
                "model": w.model,
                "folder": str(registry.find_variant(m, v).folder),
                "installed": str(registry.installed(m, v) or "") or None,
                "downloads": [_download(d) for d in w.downloads],
                "shipped": w.shipped,
            }
            for v, w in m.weights.items()
        },
    }


def _download(d: Any) -> dict[str, Any]:
    return {
        "file": d.file,
        "urls": list(d.urls),
        "bytes": d.bytes or None,
        "sha256": d.sha256 or None,
        "sha384": d.sha384 or None,
    }


def cached_engines() -> list[dict[str, Any]]:
    """The sidecars of the plans in the engine cache."""
    found = []
    for file in sorted(engines_cache().glob("*.json")):
        try:
            data = read_json(file, "Sidecar")
        except ValueError:
            data = None
        key = data.get("key") if isinstance(data, dict) else None
        key = key if isinstance(key, dict) else {}
        data = data if isinstance(data, dict) else {}
        plan = file.with_suffix("")
        plan = plan if plan.is_file() else file
        found.append(
            {
                "name": data.get("name"),
                "precision": key.get("precision"),
                "tensorrt": " ".join(
                    str(key[k]) for k in ("flavour", "version") if key.get(k) is not None
                ),
                "gpu": key.get("gpu"),
                "bytes": data.get("bytes"),
                "created": data.get("created"),
                "file": str(plan),
            }
        )
    return found


# printing ---------------------------------------------------------------------------------------
def _row(m: Manifest) -> tuple[str, ...]:
    shape = f"{m.input.width}x{m.input.height}" if m.input.width else "any"
    megabytes = max((size(w) for w in m.weights.values()), default=0) / 1e6
    time = measured.load().get(m.name)
    return (
        m.name,
        m.family,
        shape,
        _ap(m),
        f"{megabytes:.1f}" if megabytes else "",
        f"{time['ms']:.1f}" if time else "",
        m.license.partition(";")[0],
        _where(m),
    )


def _ap(m: Manifest) -> str:
    if "coco_ap" in m.metrics:
        return f"{100 * m.metrics['coco_ap']:.1f}"
    return f"{100 * m.metrics['box_ap']:.1f} (box)" if "box_ap" in m.metrics else ""


def _where(m: Manifest) -> str:
    found = [(v, w) for v, w in m.weights.items() if registry.installed(m, v)]
    if not found:
        return "no" if any(w.downloads for w in m.weights.values()) else "bring the file"
    return ", ".join(dict.fromkeys(_place(m, v, w) for v, w in found))  # each place once


def _place(m: Manifest, variant: str, weights: Weights) -> str:
    path = registry.installed(m, variant)
    if path is None:
        return ""
    return "in the package" if weights.shipped else f"{variant}: {_short(path.parent)}"


def _short(path: Path) -> str:
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)


def _engine_row(e: dict[str, Any]) -> tuple[str, ...]:
    size = f"{e['bytes'] / 1e6:.1f} MB" if isinstance(e["bytes"], int) else ""
    words = [e["name"], e["precision"], e["tensorrt"], e["gpu"], size, Path(e["file"]).name]
    return tuple(str(w) if w is not None else "?" for w in words)


def _normalisation(spec: dict[str, Any]) -> str:
    text = "pixel" if spec["scale"] == 1 else f"pixel / {spec['scale']:g}"
    if any(spec["mean"]) or set(spec["std"]) != {1.0}:
        mean, std = (" ".join(f"{v:g}" for v in spec[k]) for k in ("mean", "std"))
        text = f"({text} - [{mean}]) / [{std}]"
    return text if text != "pixel" else "no: pixels 0..255"


def _as_text(data: dict[str, Any]) -> str:
    spec = data["input"]
    size = f"{spec['width']}x{spec['height']}" if spec["width"] else "as the model file says"
    lines = [
        ("network", data["name"]),
        ("", data["description"]),
        ("aliases", ", ".join(data["aliases"])),
        ("family", data["family"] + (f", detector {data['detector']}" if data["detector"] else "")),
        ("input", f"{size} {spec['color']}, {spec['resize']}, {spec['layout']}"),
        ("normalised", _normalisation(spec)),
        ("outputs", ", ".join(f"{k}: {v}" for k, v in data["outputs"].items())),
        ("decoder", ", ".join(f"{k} {v}" for k, v in data["decoder"].items())),
        ("topology", f"{data['topology']}, {data['links']} links" if data["topology"] else ""),
        ("keypoints", ", ".join(data["keypoints"])),
        ("metrics", ", ".join(f"{k} {v:g}" for k, v in data["metrics"].items())),
        ("licence", data["license"]),
        ("home page", data["homepage"]),
        ("manifest", data["manifest"]),
        ("notes", data["notes"]),
    ]
    out = [f"{k:<12}{v}" for k, v in lines if v]
    for name, w in data["weights"].items():
        out += [
            "",
            f"variant {name}: " + (w["installed"] or f"not installed (goes to {w['folder']})"),
        ]
        for d in w["downloads"]:
            out += [f"  {url}" for url in d["urls"]]
            digest = next((f"{k} {d[k]}" for k in ("sha256", "sha384") if d[k]), "")
            size = f"{d['bytes']} bytes" if d["bytes"] else "size not published"
            out.append(f"    {size}, {digest or 'no checksum published: pinned at first download'}")
    return "\n".join(out)
