"""Stage times as a histogram, in the buckets of `posenet --metrics`."""

from __future__ import annotations

from edgepose.io.sinks.metrics import BUCKETS


class Times:
    """A histogram of seconds, as Prometheus counts them."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one time."""
        self._counts[sum(seconds > bucket for bucket in BUCKETS)] += 1
        self._sum += seconds

    def lines(self, name: str, labels: str) -> list[str]:
        """The samples."""
        counts = list(self._counts)
        lines = []
        for i, bucket in enumerate((*BUCKETS, float("inf"))):
            le = "+Inf" if bucket == float("inf") else f"{bucket}"
            lines.append(f'{name}_bucket{{{labels},le="{le}"}} {sum(counts[: i + 1])}')
        return [
            *lines,
            f"{name}_count{{{labels}}} {sum(counts)}",
            f"{name}_sum{{{labels}}} {self._sum}",
        ]
