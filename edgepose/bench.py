"""Where the time of a frame goes, for one or several engines side by side in one run.

Configurations take turns in short blocks, so that a machine whose speed drifts drifts for all of them
alike: quote the ratios. Every stage is timed on its own, one after the other; the pipeline of `posenet`
overlaps them.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.draw.overlay import Overlay, parse_overlay
from edgepose.engines import EngineOptions
from edgepose.engines.table import choose
from edgepose.errors import BackendUnavailable, SourceError, UnknownNameError, UsageError
from edgepose.estimators import Estimator, EstimatorOptions, make_estimator
from edgepose.io.base import OutputOptions, SourceOptions
from edgepose.io.outputs import open_output
from edgepose.io.sources import open_source
from edgepose.machine import cpu_name, has_int8_units, package_versions, resident_mb
from edgepose.networks.measured import Timed
from edgepose.networks.registry import variants
from edgepose.networks.resolve import INT8, Network, resolve
from edgepose.timing import Statistics, Stopwatch
from edgepose.types import Frame

STAGES = ("decode", "preprocess", "network", "postprocess", "overlay", "encode")
CLEARLY = 1.15  # times as fast makes up for a slower start and more memory
BLOCK = 5  # frames of one configuration before the next has its turn


@dataclass(frozen=True)
class Configuration:
    """One column of the table: what to run, and how it is called."""

    label: str
    engine: EngineOptions
    batch: int = 1
    network: Network | None = None  # instead of the one that is measured


@dataclass
class Measured:
    """What was measured of a configuration: milliseconds a frame by stage, and their sum."""

    configuration: Configuration
    engine: str = ""
    stages: dict[str, Statistics] = field(default_factory=dict)
    total: Statistics = field(default_factory=Statistics)

    def add(self, stages: dict[str, float]) -> None:
        """Add one frame."""
        for name, value in stages.items():
            self.stages.setdefault(name, Statistics()).add(value)
        self.total.add(sum(stages.values()))

    def as_dict(self, base: Measured) -> dict[str, Any]:
        """Figures as JSON; `ratio` compares the median total with that of `base`."""

        def row(s: Statistics) -> dict[str, float]:
            names = (("mean", s.mean), *((f"p{q}", s.percentile(q)) for q in (50, 90, 99)))
            return {name: round(value, 3) for name, value in names}

        median = self.total.percentile(50)
        return {
            "label": self.configuration.label,
            "engine": self.engine,
            "batch": self.configuration.batch,
            "stages_ms": {name: row(self.stages[name]) for name in STAGES if name in self.stages},
            "total_ms": row(self.total),
            "frames_per_s": round(1000 / median, 2) if median else 0.0,
            "ratio": round(median / base.total.percentile(50), 3) if median else 0.0,
        }


def parse_configuration(text: str, base: EngineOptions) -> Configuration:
    """A configuration of "engine=openvino,precision=fp32,threads=2,batch=4" on top of `base`.

    A word without "=" is the engine's name.

    Raises:
        UnknownNameError: a key that is no setting. UsageError: a value that is no number.
    """
    changes: dict[str, Any] = {}
    batch = 1
    for part in filter(None, (p.strip() for p in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals:
            key, value = "engine", part
        if key in ("engine", "precision", "device"):
            changes[key] = value
        elif key in ("threads", "batch"):
            if not value.isascii() or not value.isdigit():
                raise UsageError(f"--compare {text!r}: {key} is {value!r}, not a whole number.")
            if key == "batch":
                batch = max(1, int(value))
            else:
                changes[key] = int(value)
        else:
            known = ("engine", "precision", "device", "threads", "batch")
            raise UnknownNameError("setting in --compare", key, known)
    return Configuration(text, replace(base, **changes), batch)


def candidates(network: Network, base: EngineOptions) -> list[Configuration]:
    """The ways to run a network on the CPU of this machine: weights that are there, engines that load,
    and what OpenVINO computes in. Weights with int8 scales are left out on x86 CPUs that overflow with them.

    Args:
        network: with the weights that would run; the user's own file is the only one.
        base: threads and the like.
    """
    found = [network]
    if network.variant:
        names = [v.name for v in variants(network.manifest) if v.model]
        found = [resolve(network.manifest.name, variant=name, download=False) for name in names]
    if platform.machine().lower() in ("x86_64", "amd64") and not has_int8_units():
        found = [n for n in found if n.variant != INT8]
    return [
        Configuration(f"{n.variant or n.model.name} {engine} {precision}".strip(), how, 1, n)
        for n in found
        for engine, precision in (
            ("onnxruntime", "" if n.variant == INT8 else "fp32"),
            ("openvino", "fp32"),
            ("openvino", ""),
        )
        for how in (replace(base, engine=engine, precision=precision),)
        if runs_here(n.model, how)
    ]


def runs_here(model: Path, options: EngineOptions) -> bool:
    """Whether the engine that is asked for loads here and reads the file."""
    try:
        choose(model, options)
    except (BackendUnavailable, UsageError):
        return False
    return True


def best_first(measured: Sequence[Measured]) -> list[Timed]:
    """The ways that were measured, the best first: OpenVINO takes a second more to start and 60 MB more
    than ONNX Runtime, so it has to be clearly faster."""

    def way(m: Measured) -> Timed:
        how, network = m.configuration.engine, m.configuration.network
        assert network is not None, "made by `candidates`"
        size = network.model.stat().st_size
        ms = round(m.stages["network"].percentile(50), 2)
        return Timed(network.variant, network.model.name, size, how.engine, how.precision, ms)

    return sorted(
        map(way, measured), key=lambda w: w.ms * (CLEARLY if w.engine == "openvino" else 1)
    )


class _Runner:
    """One configuration with its engine loaded, ready to take a block of frames."""

    def __init__(self, configuration: Configuration, network: Network) -> None:
        options = EstimatorOptions(engine=configuration.engine, batch=configuration.batch)
        self.estimator: Estimator = make_estimator(configuration.network or network, options)
        self.overlay = Overlay(self.estimator.topology, parse_overlay("links,keypoints"))
        self.measured = Measured(configuration, self.estimator.engine_name)

    def block(
        self, pictures: Sequence[bytes], output: Callable[[Frame], None], count: bool
    ) -> None:
        """Run a few encoded pictures through every stage."""
        size = self.measured.configuration.batch
        for start in range(0, len(pictures), size):
            group = pictures[start : start + size]
            watch = Stopwatch()
            with watch.stage("decode"):
                frames = [Frame(_decode(data), index=start + i) for i, data in enumerate(group)]
            found = self.estimator.estimate(frames, watch)
            with watch.stage("overlay"):
                for frame, poses in zip(frames, found, strict=True):
                    self.overlay.draw(frame.pixels, poses, None)
            with watch.stage("encode"):
                for frame in frames:
                    output(frame)
            if count:
                self.measured.add({k: v / len(group) for k, v in watch.stages.items()})


def _decode(data: bytes) -> Any:
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_pictures(uri: str, count: int) -> list[bytes]:
    """Up to `count` frames of an input as JPEG files in memory, so that decoding can be timed.

    Raises:
        SourceError: the input cannot be read, or has no frames.
    """
    import cv2

    pictures: list[bytes] = []
    source = open_source(uri, SourceOptions(frames=count))
    try:
        for frame in source:
            bgr = cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR)
            pictures.append(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
            if len(pictures) >= count:
                break
    finally:
        source.close()
    if not pictures:
        raise SourceError(f"{uri} has no frames to measure with.")
    return pictures


def run(
    network: Network,
    configurations: Sequence[Configuration],
    pictures: Sequence[bytes],
    *,
    frames: int = 200,
    warmup: int = 20,
    tick: Callable[[int], None] | None = None,
) -> list[Measured]:
    """Measure all configurations in turns.

    Args:
        network: what runs.
        configurations: the columns.
        pictures: JPEG files; they are used again and again.
        frames: frames to count for each configuration; warmup: frames before, not counted.
        tick: told how many frames of all configurations are done.

    Raises:
        EngineError: an engine cannot be loaded.
    """
    runners: list[_Runner] = []
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            for c in configurations:
                runners.append(_Runner(c, network))
            outputs = [
                open_output(str(Path(folder) / f"{i}.mp4"), OutputOptions(rate=30))
                for i in range(len(runners))
            ]
            # two ranges, so that a block is either counted or not, however few the frames
            for start in (*range(-warmup, 0, BLOCK), *range(0, frames, BLOCK)):
                for runner, output in zip(runners, outputs, strict=True):
                    size = max(BLOCK, runner.measured.configuration.batch)
                    block = [pictures[(start + i) % len(pictures)] for i in range(size)]
                    runner.block(block, output.write, start >= 0)
                    done += size if start >= 0 else 0
                    if tick:
                        tick(done)
            for output in outputs:
                output.close()
        finally:
            for runner in runners:
                runner.estimator.close()
    return [runner.measured for runner in runners]


# the machine ------------------------------------------------------------------------------------
def power_watts(root: Path = Path("/sys")) -> float | None:
    """Power that the board's INA3221 monitors report, in watts; None where there are none.

    Reads hwmon's in*_input (mV) and curr*_input (mA), as Jetson kernels expose them.
    """
    total = 0.0
    found = False
    for current in sorted(root.glob("bus/i2c/drivers/ina3221/*/hwmon/hwmon*/curr*_input")):
        voltage = current.with_name(current.name.replace("curr", "in"))
        try:
            total += int(current.read_text()) * int(voltage.read_text()) / 1e6
            found = True
        except (OSError, ValueError):
            continue
    return round(total, 2) if found else None


def clocks(root: Path = Path("/sys")) -> dict[str, Any]:
    """Clock of the fastest core now and at most (MHz), and whether it is held back under load."""

    def highest(name: str) -> float:
        values = []
        for path in root.glob(f"devices/system/cpu/cpu*/cpufreq/{name}"):
            try:
                values.append(int(path.read_text()) / 1000)
            except (OSError, ValueError):
                continue
        return max(values, default=0.0)

    now, most = highest("scaling_cur_freq"), highest("cpuinfo_max_freq")
    return {"cpu_mhz": now, "cpu_max_mhz": most, "throttled": bool(most and now < 0.7 * most)}


def conditions() -> dict[str, Any]:
    """What the figures depend on: processor, clocks, power, load, versions."""
    names = ("edgepose", "numpy", "onnxruntime", "openvino", "av", "opencv-python-headless")
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "clocks": clocks(),
        "power_w": power_watts(),
        "memory_mb": round(resident_mb(), 1),
        "python": platform.python_version(),
        "versions": package_versions(names),
    }


def spread(values: Sequence[float]) -> float:
    """Relative difference of two or more figures of the same thing: (max - min) / median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0
