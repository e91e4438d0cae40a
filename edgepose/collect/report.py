"""What is known of a fleet: its devices, what is missing, and the same for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from edgepose.collect.store import Device, FleetStore
from edgepose.events.event import iso_time

if TYPE_CHECKING:
    from edgepose.collect.receive import Receiver

SILENT = 90.0  # seconds without a word of a device that is up: three states
TWICE = 600.0  # seconds for which two devices of one name are told


def device_rows(devices: Iterable[Device], now: float) -> list[dict[str, Any]]:
    """A row for each device; what it did not say is None or ""."""
    return [_device_row(device, now) for device in devices]


def _device_row(device: Device, now: float) -> dict[str, Any]:
    told = device.state
    outbox, config = _part(told, "outbox"), _part(told, "config")
    sources = told.get("sources")
    cameras = [s for s in sources if isinstance(s, dict)] if isinstance(sources, list) else []
    rates = [_figure(s.get("fps")) for s in cameras]
    silent = now - device.seen > SILENT
    return {
        "name": device.name,
        "state": "offline" if not device.up else "silent" if silent else "up",
        "seen": iso_time(device.seen),
        "seconds_ago": round(max(0.0, now - device.seen), 1),
        "duplicate": now - device.twice < TWICE,
        "fps": round(sum(r or 0.0 for r in rates), 1) if rates else None,
        "cameras": len(cameras),
        "cameras_up": sum(s.get("up") is True for s in cameras),
        "waiting": _figure(outbox.get("events")),
        "oldest_s": _figure(outbox.get("oldest_s")),
        "dropped": _figure(outbox.get("dropped")) or 0,
        "clock_offset": _figure(told.get("clock_offset")),
        "version": str(told.get("version", ""))[:40],
        "network": str(told.get("network", ""))[:80],
        "config": _figure(config.get("have")) or 0,
        "config_wanted": _figure(config.get("wanted")) or 0,
        "config_error": str(config.get("error", ""))[:200],
        "sources": sources if isinstance(sources, list) else [],
    }


def _part(told: dict[str, Any], name: str) -> dict[str, Any]:
    part = told.get(name)
    return part if isinstance(part, dict) else {}


def _figure(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def problems(store: FleetStore) -> list[str]:
    """What is missing: a device has delivered more events of a run than the store has, or lost some."""
    counts, found = store.counts(), list[str]()
    for device in store.devices():
        outbox, run = _part(device.state, "outbox"), str(device.state.get("run", ""))
        stored, gone = counts.get((device.name, run), (0, 0))
        delivered, dropped = (
            _figure(outbox.get("delivered")) or 0,
            _figure(outbox.get("dropped")) or 0,
        )
        if stored + gone < delivered:
            found.append(
                f"{device.name}: {delivered - stored - gone} of the {delivered} events that it delivered "
                f"(run {run}) are not in the store"
            )
        poses = _part(device.state, "poses")
        if gone_poses := _figure(poses.get("dropped")):
            found.append(f"{device.name}: {gone_poses} files of poses were deleted there")
        if dropped:
            found.append(
                f"{device.name}: {dropped} events were lost there, before they were delivered"
            )
    for row in store.rejected():
        found.append(f"{row['device']}: {row['count']} messages were rejected: {row['reason']}")
    return found


def metrics(receiver: Receiver, devices: Sequence[Device], now: float) -> str:
    """The text format of Prometheus."""
    lines: list[str] = []
    for word in ("events", "duplicates", "rejected", "commits", "failures"):
        lines += [f"# TYPE edgepose_fleet_{word}_total counter"]
        lines += [f"edgepose_fleet_{word}_total {receiver.counts[word]}"]
    gauges = {"connected": int(receiver.connected), "queue": receiver.waiting}
    for word, value in gauges.items():
        lines += [f"# TYPE edgepose_fleet_{word} gauge", f"edgepose_fleet_{word} {value}"]
    rows = device_rows(devices, now)
    columns = {"up": "state", "seconds_ago": "seconds_ago", "waiting": "waiting", "fps": "fps"}
    columns |= {"dropped": "dropped", "clock_offset_seconds": "clock_offset"}
    for name, column in columns.items():
        lines.append(f"# TYPE edgepose_device_{name} gauge")
        for row in rows:
            value = int(row["state"] == "up") if name == "up" else row[column]
            if value is not None:
                label = row["name"].replace("\\", "\\\\").replace('"', '\\"')
                lines.append(f'edgepose_device_{name}{{device="{label}"}} {value}')
    return "\n".join(lines) + "\n"
