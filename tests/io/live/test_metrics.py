"""Prometheus metrics, read back with Prometheus' own parser."""

from __future__ import annotations

import socket
import urllib.request
from typing import Any

import numpy as np
import pytest

from edgepose.errors import OutputError, UsageError
from edgepose.io.base import SourceOptions
from edgepose.io.outputs import open_output
from edgepose.io.sinks import open_sink
from edgepose.io.sinks.metrics import metrics_address
from edgepose.io.sources import open_source
from edgepose.types import Pose, Result

parser = pytest.importorskip("prometheus_client.parser", reason="the metrics extra is missing")


def read(port: int) -> dict[tuple[str, ...], float]:
    """(name, sorted label values...) -> value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (s.name, *sorted(s.labels.values())): s.value
        for family in parser.text_string_to_metric_families(text)
        for s in family.samples
    }


def test_results_events_and_counters(nothing_left: None) -> None:
    pose = Pose(0, np.zeros((1, 3), np.float32), ("nose",))
    sink: Any = open_sink("metrics", "127.0.0.1:0")
    sink.event({"event": "connected", "name": "door"})
    for count in (2, 3):
        stages = {"network": 8.0, "output": 300.0}
        sink.write(Result(0, 4, 4, (pose,) * count, name="door", stages=stages))
    uri = "test://people?rate=200&size=64x48&people=0&frames=20"
    with open_source(uri, SourceOptions(on_event=sink.event)) as source:
        sink.attach(source)
        frames = len(list(source))
    values = read(sink.port)
    sink.close()
    sink.close()
    assert values["edgepose_frames_total", "door"] == 2
    for word in ("poses", "people"):  # the second is the former name
        assert values[f"edgepose_{word}", "door"] == 3
        assert values[f"edgepose_{word}_found_total", "door"] == 5
    assert values["edgepose_stage_seconds_sum", "network"] == pytest.approx(0.016)
    assert values["edgepose_stage_seconds_bucket", "0.01", "network"] == 2
    assert values["edgepose_stage_seconds_bucket", "0.2", "output"] == 0
    assert values["edgepose_source_up", "door"] == 1
    assert values["edgepose_source_up", "people"] == 0
    assert values["edgepose_source_events_total", "ended", "people"] == 1
    assert values["edgepose_source_frames_total", "people", "read"] == 20
    assert values["edgepose_source_frames_total", "people", "taken"] == frames


def test_it_shares_a_port_with_a_picture_output() -> None:
    sink: Any = open_sink("metrics", "127.0.0.1:0")
    output = open_output(f"http://@127.0.0.1:{sink.port}/cam")
    assert ("edgepose_source_frames_total",) not in read(sink.port)
    output.close()
    sink.close()
    with pytest.raises(OSError, match="refused"):
        read(sink.port)


def test_addresses() -> None:
    assert metrics_address(":9090") == ("", 9090)
    assert metrics_address("9090") == ("", 9090)
    assert metrics_address("[::1]:1") == ("::1", 1)
    with pytest.raises(UsageError, match="--metrics :9090"):
        open_sink("metrics", "localhost")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OutputError, match="another port"):
            open_sink("metrics", f"127.0.0.1:{taken.getsockname()[1]}")
