"""`edgepose engines`: the cache of TensorRT engines."""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from edgepose.cli.options import (
    EnginesExport,
    EnginesImport,
    EnginesList,
    EnginesPrune,
    EnginesShow,
)
from edgepose.cli.table import print_table
from edgepose.engines.base import shape_text
from edgepose.engines.cache import (
    MACHINE,
    Entry,
    PlanCache,
    export_plan,
    import_plan,
    machine_fields,
    read_sidecar,
    sidecar_path,
)
from edgepose.engines.gpu import find_gpu
from edgepose.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    BackendUnavailable,
    NetworkFileError,
    UsageError,
    printable,
)
from edgepose.networks.onnx_file import model_digest, read_outline

log = logging.getLogger(__name__)

LONGEST_LINE = 2000


def list_engines(asked: EnginesList) -> int:
    """List the cache."""
    cache, here = PlanCache(), this_machine()
    rows = [row(entry, here) for entry in cache.entries()]
    if asked.json:
        print(json.dumps({"folder": str(cache.folder), "engines": rows}, indent=2))
    elif rows:
        head = ("network", "precision", "input", "built with", "for", "size", "state", "file")
        print_table(head, [_line(r) for r in rows])
    else:
        log.info("No engines in %s; `edgepose build-engine NETWORK` makes one.", cache.folder)
    return EXIT_DONE


def show(asked: EnginesShow) -> int:
    """Print one engine."""
    cache = PlanCache()
    data = details(cache, find_one(cache, asked.name))
    print(json.dumps(data, indent=2) if asked.json else _as_text(data))
    return EXIT_FAILED if data["damage"] else EXIT_DONE


def prune(asked: EnginesPrune) -> int:
    """Remove what is of no use."""
    cache, here = PlanCache(), this_machine()
    gone: list[dict[str, Any]] = []
    for entry in cache.entries():
        reason = _why_remove(cache, entry, here, asked.all_, asked.older_than)
        if reason:
            freed = entry.size if asked.dry_run else cache.remove(entry)
            gone.append({"file": str(entry.path), "bytes": freed, "reason": reason})
    for path in cache.leftovers():
        gone.append({"file": str(path), "bytes": path.lstat().st_size, "reason": "unfinished"})
        if not asked.dry_run:
            path.unlink(missing_ok=True)
    if asked.json:
        print(json.dumps({"removed": gone, "dry_run": asked.dry_run}, indent=2))
        return EXIT_DONE
    verb = "would remove" if asked.dry_run else "removed"
    for item in gone:
        log.info("%s %s: %s", verb, item["file"], item["reason"])
    freed = sum(int(item["bytes"]) for item in gone)
    log.info(f"{len(gone)} files, {freed / 1e6:.1f} MB" if gone else "Nothing to remove.")
    return EXIT_DONE


def export(asked: EnginesExport) -> int:
    """Copy an engine out of the cache."""
    cache = PlanCache()
    print(export_plan(cache, find_one(cache, asked.name), asked.output.expanduser()))
    return EXIT_DONE


def import_(asked: EnginesImport) -> int:
    """Copy engines into the cache."""
    cache, here = PlanCache(), this_machine()
    for file in asked.files:
        path = import_plan(cache, file.expanduser())
        differences = foreign(read_sidecar(sidecar_path(path)).key, here)
        if differences:
            log.warning("%s is for another machine (%s)", path.name, "; ".join(differences))
        print(path)
    return EXIT_DONE


# facts -------------------------------------------------------------------------------------------
def this_machine() -> dict[str, Any]:
    """The fields of a key that this machine fixes, as far as they can be known here."""
    here: dict[str, Any] = {}
    for name in ("tensorrt", "tensorrt_rtx"):
        version = _installed_version(name)
        if version:
            here[name] = version
    with suppress(BackendUnavailable):
        here |= machine_fields(find_gpu())
    return here


def _installed_version(name: str) -> str:
    """Version of a TensorRT package, "" where it cannot be used."""
    try:
        return str(import_module(f"edgepose.engines.{name}").flavour().version)
    except BackendUnavailable:
        return ""


def foreign(key: Any, here: dict[str, Any]) -> list[str]:
    """What differs between a key and this machine, "field: there, here ..."; unknown fields do not."""
    out = []
    version = here.get(key.flavour)
    if version and version != key.version:
        out.append(f"version: {key.version}, here {version}")
    if "hardware-compatible" in key.options or not key.gpu:
        return out
    for field in MACHINE:
        mine, theirs = here.get(field), getattr(key, field)
        if mine and theirs and mine != theirs:
            out.append(f"{field.replace('_', ' ')}: {theirs}, here {mine}")
    return out


def row(entry: Entry, here: dict[str, Any]) -> dict[str, Any]:
    """An engine as `list --json` prints it."""
    base: dict[str, Any] = {"file": str(entry.path), "bytes": entry.size}
    if entry.sidecar is None:
        return base | {"state": "damaged", "why": entry.damage}
    key = entry.sidecar.key
    differences = foreign(key, here)
    state, why = "fits", ""
    if entry.damage:
        state, why = "damaged", entry.damage
    elif differences:
        state, why = "other machine", "; ".join(differences)
    elif "gpu" not in here:
        state, why = "no GPU here", "built for GPUs, none here"
    elif not here.get(key.flavour):
        state, why = "unknown", f"{key.flavour} is not here"
    return base | {
        "name": entry.sidecar.name,
        "created": _date(entry.sidecar.created),
        "state": state,
        "why": why,
        "key": {f: getattr(key, f) for f in key.__dataclass_fields__},
    }


def _line(r: dict[str, Any]) -> tuple[str, ...]:
    key = r.get("key", {})
    file = Path(r["file"]).name
    size = f"{r['bytes'] / 1e6:.1f} MB"
    if not key:
        return ("?", "", "", "", "", size, r["state"], file)
    return (
        r["name"],
        key["precision"],
        key["shape"] + (f" batch {key['batch']}" if key["batch"] != "1" else ""),
        f"{key['flavour']} {key['version']}",
        key["gpu"] or "any",
        size,
        r["state"],
        file,
    )


def details(cache: PlanCache, entry: Entry) -> dict[str, Any]:
    """An engine as `show` prints it, its checksum compared."""
    here = this_machine()
    data = row(entry, here)
    data["damage"] = cache.damage(entry.path)
    if entry.sidecar is not None:
        data["source"] = entry.sidecar.source
        data["source_state"] = _source_state(entry.sidecar)
        data["inputs"] = _tensors(entry.sidecar.inputs)
        data["outputs"] = _tensors(entry.sidecar.outputs)
        data["build_seconds"] = entry.sidecar.build_seconds
        data["notes"] = list(entry.sidecar.notes)
        data["differences"] = foreign(entry.sidecar.key, here)
        data["others"] = _others(cache, entry)
    return data


def _tensors(tensors: dict[str, Any]) -> dict[str, str]:
    return {name: f"{shape_text(shape)} {dtype}" for name, (dtype, shape) in tensors.items()}


def _source_state(sidecar: Any) -> str:
    """Whether the ONNX file is still the one that the engine was built from."""
    path = Path(sidecar.source)
    try:
        if not path.is_file():
            return "gone"
        digest = model_digest(path, read_outline(path).external)
    except NetworkFileError:
        return "damaged"
    except OSError:  # a name that no disk takes
        return "gone"
    return "unchanged" if digest == sidecar.key.onnx else "changed since"


def _others(cache: PlanCache, entry: Entry) -> dict[str, list[str]]:
    """Which fields tell the other engines of the same network from this one."""
    assert entry.sidecar is not None
    mine = entry.sidecar
    return {
        other.path.name: mine.key.differences(other.sidecar.key)
        for other in cache.entries()
        if other.sidecar and other.path != entry.path and other.sidecar.name == mine.name
    }


def _as_text(data: dict[str, Any]) -> str:
    lines = []
    for name, value in data.items():
        if isinstance(value, dict):
            lines.append(f"{name}:")
            lines += [f"  {k.replace('_', ' ')}: {_short(v)}" for k, v in value.items()]
        elif value or name in ("state",):
            lines.append(f"{name.replace('_', ' ')}: {_short(value)}")
    return "\n".join(printable(line, LONGEST_LINE) for line in lines)


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return "none" if value in ("", None) else str(value)


def find_one(cache: PlanCache, name: str) -> Entry:
    """The one engine that a name means.

    Raises:
        UsageError: none, or several.
    """
    found = cache.find(name)
    if not found:
        there = ", ".join(e.path.name for e in cache.entries()[:5]) or "it is empty"
        raise UsageError(f"No engine {name!r} in {cache.folder} ({there}).")
    if len(found) > 1:
        names = ", ".join(e.path.name for e in found)
        raise UsageError(f"{name!r} means {len(found)} engines; name one of {names}.")
    return found[0]


def _why_remove(
    cache: PlanCache, entry: Entry, here: dict[str, Any], every: bool, older: float | None
) -> str:
    if every:
        return "asked for"
    damage = cache.damage(entry.path)
    if damage or entry.sidecar is None:
        return damage or entry.damage
    if older is not None and time.time() - entry.sidecar.created > older * 86400:
        return f"built {_date(entry.sidecar.created)}"
    return "; ".join(foreign(entry.sidecar.key, here))


def _date(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "?"
