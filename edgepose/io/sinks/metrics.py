"""`--metrics :9090`: Prometheus metrics over HTTP at /metrics (prometheus-client, extra `metrics`).

| metric | labels | meaning |
|---|---|---|
| edgepose_frames_total | source | frames inferred |
| edgepose_poses | source | poses in the last frame |
| edgepose_poses_found_total | source | poses found in all frames |
| edgepose_people | source | the former name of edgepose_poses, until 1.0 |
| edgepose_people_found_total | source | the former name of edgepose_poses_found_total, until 1.0 |
| edgepose_gestures_total | source, gesture | gestures that began, of tracked people |
| edgepose_stage_seconds | stage | histogram of stage times (decode, preprocess, network, ...) |
| edgepose_source_frames_total | source, state | read, taken, dropped, late (live sources) |
| edgepose_source_events_total | source, event | connected, lost, back, ended |
| edgepose_source_up | source | 1 while the source delivers |
| edgepose_output_frames_total | output, state | written, dropped |
| edgepose_output_failures_total | output | failed writes |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgepose.errors import BackendUnavailable, UsageError
from edgepose.files import valid
from edgepose.io import web
from edgepose.io.base import Output, Sink, SinkOptions, Source
from edgepose.io.sinks.gesture_changes import GestureChanges
from edgepose.types import Result

PATH = "/metrics"
FORMER = "people"  # the name of poses before; dashboards know it
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
UP = {"connected": 1, "back": 1, "lost": 0, "ended": 0, "waiting": 0}


def metrics_address(target: str) -> tuple[str, int]:
    """(host, port) of `:9090`, `9090`, `127.0.0.1:9090` or `[::1]:9090`.

    Raises:
        UsageError: no port in it.
    """
    host, _, port = target.removeprefix("http://").rstrip("/").rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--metrics {target!r} names no port. Example: --metrics :9090")
    return host.strip("[]").removeprefix("@"), int(port)


class MetricsSink(Sink):
    """Counts results and events, and serves them.

    Attributes:
        port: where it listens (useful with `:0`).

    Raises:
        BackendUnavailable: no prometheus-client. OutputError: the port cannot be opened.
    """

    def __init__(self, target: str, options: SinkOptions | None = None) -> None:
        try:
            import prometheus_client as prometheus
        except ImportError:
            raise BackendUnavailable(
                "--metrics needs prometheus-client. Install it: pip install edgepose[metrics]"
            ) from None
        host, port = metrics_address(target)
        self._prometheus = prometheus
        self._registry = prometheus.CollectorRegistry()
        self._make()
        self._changes = GestureChanges()
        self._sources: list[Source] = []
        self._outputs: list[Output] = []
        self._registry.register(self)
        self._server = web.add(host, port, PATH, web.Route(self._answer))
        self.port = self._server.port
        self._closed = False

    def _make(self) -> None:
        p, r = self._prometheus, self._registry
        self._frames = p.Counter("edgepose_frames", "Frames inferred", ["source"], registry=r)
        self._poses = [
            p.Gauge(f"edgepose_{name}", "Poses in the last frame", ["source"], registry=r)
            for name in ("poses", FORMER)
        ]
        self._found = [
            p.Counter(f"edgepose_{name}_found", "Poses found", ["source"], registry=r)
            for name in ("poses", FORMER)
        ]
        self._gestures = p.Counter(
            "edgepose_gestures", "Gestures that began", ["source", "gesture"], registry=r
        )
        self._stages = p.Histogram(
            "edgepose_stage_seconds", "Stage times", ["stage"], registry=r, buckets=BUCKETS
        )
        self._events = p.Counter(
            "edgepose_source_events", "Status events", ["source", "event"], registry=r
        )
        self._up = p.Gauge("edgepose_source_up", "The source delivers", ["source"], registry=r)

    def write(self, result: Result) -> None:
        """Count one result."""
        name = valid(result.name or result.source)
        self._frames.labels(name).inc()
        for gauge, counter in zip(self._poses, self._found, strict=True):
            gauge.labels(name).set(len(result.poses))
            counter.labels(name).inc(len(result.poses))
        for word, _, gesture in self._changes.update(result):
            if word == "begin":
                self._gestures.labels(name, gesture.name).inc()
        for stage, milliseconds in result.stages.items():
            self._stages.labels(stage).observe(milliseconds / 1e3)

    def event(self, event: Mapping[str, Any]) -> None:
        """Count a status event."""
        name = valid(str(event.get("name") or event.get("source") or event.get("output") or ""))
        word = str(event.get("event", ""))
        self._events.labels(name, word).inc()
        if word in UP:
            self._up.labels(name).set(UP[word])

    def attach(self, source: Source, outputs: Sequence[Output] = ()) -> None:
        """Also serve the counters of a source (or group) and of outputs, read when asked for."""
        self._sources.append(source)
        self._outputs += outputs

    def collect(self) -> Iterator[Any]:
        """For prometheus_client: the counters of the attached, as they are now."""
        from prometheus_client import core

        frames = core.CounterMetricFamily(
            "edgepose_source_frames", "Frames of live sources", labels=["source", "state"]
        )
        for source in self._sources:
            for name, numbers in source.counts().items():
                for state in ("read", "taken", "dropped", "late"):
                    frames.add_metric([valid(name), state], numbers[state])
        yield frames
        written = core.CounterMetricFamily(
            "edgepose_output_frames", "Frames of outputs", labels=["output", "state"]
        )
        failures = core.CounterMetricFamily(
            "edgepose_output_failures", "Failed writes", labels=["output"]
        )
        for output in self._outputs:
            for name, numbers in output.counts().items():
                written.add_metric([valid(name), "written"], numbers["written"])
                written.add_metric([valid(name), "dropped"], numbers["dropped"])
                failures.add_metric([valid(name)], numbers["failures"])
        yield written
        yield failures

    def _answer(self, request: web.Request, method: str) -> None:
        text = self._prometheus.generate_latest(self._registry)
        request.reply(200, self._prometheus.CONTENT_TYPE_LATEST, text)

    def close(self) -> None:
        """Close the port."""
        if not self._closed:
            self._closed = True
            web.remove(self._server, PATH)
