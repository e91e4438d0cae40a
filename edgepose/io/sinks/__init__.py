"""Data outputs: JSON lines, CSV, COCO and others, one file a format."""

from __future__ import annotations

from collections.abc import Callable

from edgepose.io.base import Sink, SinkOptions, load

# kind -> "module:class", called with (target, SinkOptions); imported only when used
KINDS: dict[str, str] = {
    "json": "edgepose.io.sinks.json_lines:JsonSink",
    "csv": "edgepose.io.sinks.csv_rows:CsvSink",
    "parquet": "edgepose.io.sinks.parquet:ParquetSink",
    "coco": "edgepose.io.sinks.coco:CocoSink",
    "dict": "edgepose.io.sinks.openvino_demo:DictSink",
    "mqtt": "edgepose.io.sinks.mqtt:MqttSink",
    "metrics": "edgepose.io.sinks.metrics:MetricsSink",
}


def open_sink(kind: str, target: str, options: SinkOptions | None = None) -> Sink:
    """Open a data output of a kind (json, csv, coco, dict, ...) on a file, "-" (stdout) or a URI.

    Raises:
        UsageError: unknown kind, or the target is one of the inputs.
        OutputError: the target cannot be written.
    """
    make: Callable[[str, SinkOptions], Sink] = load(KINDS, kind, "sink")
    return make(target, options or SinkOptions())
