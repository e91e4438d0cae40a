"""What is known of a server: states and speed, health, and the same for Prometheus."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepose.fleet.people import state_of
from edgepose.networks import registry
from edgepose.version import __version__

if TYPE_CHECKING:
    from edgepose.serve.channel import Channel
    from edgepose.serve.studio import Studio

SCARCE = 200e6  # bytes free on the disk of the events
LOST_SECONDS = 60.0  # a camera that is lost for longer is a matter for whoever watches the server


def stats(studio: Studio) -> dict[str, Any]:
    """States and speed."""
    store = studio.store
    return {
        "source": studio.current,
        "sources": [{"name": n, "input": d} for n, d in studio.displays.items()],
        "network": studio.network.manifest.name,
        "uptime_s": round(time.monotonic() - studio.started, 1),
        "channels": [c.status() for c in studio.channels],
        "events": {
            "stored": store is not None,
            "dropped": store.dropped if store else 0,
            "put_aside": store.put_aside if store else 0,
            "without_picture": store.without_picture if store else 0,
            "damaged": store.damaged if store else 0,
            "error": str(store.error) if store and store.error else "",
        },
    }


def camera_states(studio: Studio) -> dict[str, dict[str, Any]]:
    """By camera what its people and zones are."""
    return {
        c.name: state_of(c.inside, c.state == "live")
        for c in studio.channels
        if c.name in studio.cameras
    }


def device_state(studio: Studio) -> dict[str, Any]:
    """What a device of a fleet says of itself; no address stands in it."""
    current = [c for c in studio.channels if c.name in studio.cameras]
    store = studio.store
    return {
        "version": __version__,
        "uptime_s": round(time.monotonic() - studio.started),
        "network": studio.network.manifest.name,
        "engine": next((e for c in current if (e := c.status()["engine"])), ""),
        "sources": [
            {
                "name": c.name,
                "up": c.state == "live",
                "state": c.state,
                "fps": c.fps,
                "frames": c.frames,
            }
            for c in current
        ],
        "events_dropped": store.dropped if store else 0,
        "health": health(studio)["reasons"],
    }


def networks(studio: Studio) -> list[dict[str, Any]]:
    """The networks that edgepose knows, and which are installed."""
    return [
        {
            "name": m.name,
            "family": m.family,
            "description": m.description,
            "installed": registry.installed(m) is not None,
            "current": m.name == studio.network.manifest.name,
        }
        for m in registry.manifests()
    ]


def health(
    studio: Studio, patience: float = LOST_SECONDS, scarce: float = SCARCE
) -> dict[str, Any]:
    """ok, degraded (the reasons say why), or failing: no camera works any more, or no event is kept.

    Nothing that is secret stands in it: it is told without a token.
    """
    channels, store = studio.channels, studio.store
    lost = {c.name: c.lost_for for c in channels if c.lost_for}
    ill = {c.name: trouble for c in channels if (trouble := _trouble(c, patience))}
    reasons = [f"{name} {trouble}" for name, trouble in sorted(ill.items())]
    written = store is None or (store.alive and store.error is None)
    if store is not None and not written:
        reasons.append(
            "events cannot be written" if store.alive else "the writer of events has ended"
        )
    failing = not written or (bool(ill) and len(ill) == len({c.name for c in channels}))
    if store is not None and _free(store.path) < scarce:
        reasons.append("the disk of the events is nearly full")
    return {
        "ok": not reasons,
        "status": "failing" if failing else "degraded" if reasons else "ok",
        "reasons": reasons,
        "failed": sorted({c.name for c in channels if c.state == "failed"}),
        "lost": sorted(lost),
        "events_written": written,
        "events_damaged": store.damaged if store else 0,
    }


def _trouble(channel: Channel, patience: float) -> str:
    if channel.state == "failed":
        return "has failed"
    if channel.lost_for and channel.lost_for >= patience:
        return f"is lost for {channel.lost_for:.0f} s"
    if channel.silent_for >= max(patience, 1.0):
        return f"gives no frames for {channel.silent_for:.0f} s"
    return ""


def _free(path: Path) -> float:
    """Bytes that are free where a file lies."""
    try:
        return float(shutil.disk_usage(path.parent).free)
    except OSError:
        return float("inf")


# the names of `posenet --metrics` (io/sinks/metrics.py), and what only a server has
_FIGURES: dict[str, tuple[str, Callable[[Channel], float]]] = {
    "edgepose_frames_total": ("counter", lambda c: c.frames),
    "edgepose_poses": ("gauge", lambda c: c.seen),
    "edgepose_poses_found_total": ("counter", lambda c: c.found),
    "edgepose_people": ("gauge", lambda c: c.seen),  # the former names of these two, until 1.0
    "edgepose_people_found_total": ("counter", lambda c: c.found),
    "edgepose_source_up": ("gauge", lambda c: float(c.state == "live")),
    "edgepose_viewers": ("gauge", lambda c: c.viewers),
}


def quoted(text: str) -> str:
    """A label's value: people choose the names of zones."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def metrics(studio: Studio) -> str:
    """The text format of Prometheus."""
    channels = [(c, f'source="{c.name}",channel="{n}"') for n, c in enumerate(studio.channels)]
    lines: list[str] = []
    for name, (kind, value) in _FIGURES.items():
        lines.append(f"# TYPE {name} {kind}")
        lines += [f"{name}{{{labels}}} {value(c)}" for c, labels in channels]
    lines.append("# TYPE edgepose_people_inside gauge")
    for c, labels in channels:
        now = sorted(c.inside.items())
        lines += [f'edgepose_people_inside{{{labels},zone="{quoted(z)}"}} {n}' for z, n in now]
    lines.append("# TYPE edgepose_source_events_total counter")
    for c, labels in channels:
        told = sorted(c.source_events.items())
        lines += [f'edgepose_source_events_total{{{labels},event="{e}"}} {n}' for e, n in told]
    lines.append("# TYPE edgepose_gestures_total counter")
    for c, labels in channels:
        begun = sorted(c.gestures.items())
        lines += [f'edgepose_gestures_total{{{labels},gesture="{g}"}} {n}' for g, n in begun]
    lines.append("# TYPE edgepose_stage_seconds histogram")
    for c, labels in channels:
        for stage, times in sorted(c.times.items()):
            lines += times.lines("edgepose_stage_seconds", f'{labels},stage="{stage}"')
    if studio.store is not None:
        counts = {"dropped": studio.store.dropped, "put_aside": studio.store.put_aside}
        counts["without_picture"] = studio.store.without_picture
        counts["damaged"] = studio.store.damaged
        for word, count in counts.items():
            lines.append(f"# TYPE edgepose_events_{word}_total counter")
            lines.append(f"edgepose_events_{word}_total {count}")
    return "\n".join(lines) + "\n"
