"""`edgepose bench`: columns, the machine's figures from its own files, and a real run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.bench import (
    BLOCK,
    Configuration,
    Measured,
    best_first,
    clocks,
    parse_configuration,
    power_watts,
    read_pictures,
    run,
    spread,
)
from edgepose.engines import EngineOptions
from edgepose.engines.table import choose
from edgepose.errors import UnknownNameError, UsageError
from edgepose.networks.measured import ways
from edgepose.networks.resolve import resolve


def test_a_column_changes_only_what_it_names() -> None:
    base = EngineOptions(engine="auto", threads=2)
    column = parse_configuration("openvino,precision=fp32,batch=4", base)
    assert (column.engine.engine, column.engine.precision, column.engine.threads) == (
        "openvino",
        "fp32",
        2,
    )
    assert column.batch == 4
    with pytest.raises(UnknownNameError, match="threads"):
        parse_configuration("thread=2", base)
    with pytest.raises(UsageError, match="whole number"):
        parse_configuration("threads=two", base)


def test_power_is_the_sum_of_the_boards_monitors(tmp_path: Path) -> None:
    assert power_watts(tmp_path) is None
    folder = tmp_path / "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    folder.mkdir(parents=True)
    for name, value in (("in1", 5000), ("curr1", 1200), ("in2", 19000), ("curr2", 500)):
        (folder / f"{name}_input").write_text(f"{value}\n")
    assert power_watts(tmp_path) == pytest.approx(5 * 1.2 + 19 * 0.5)


def test_a_held_back_clock_is_seen(tmp_path: Path) -> None:
    assert clocks(tmp_path) == {"cpu_mhz": 0.0, "cpu_max_mhz": 0.0, "throttled": False}
    folder = tmp_path / "devices/system/cpu/cpu0/cpufreq"
    folder.mkdir(parents=True)
    (folder / "scaling_cur_freq").write_text("729600\n")
    (folder / "cpuinfo_max_freq").write_text("1984000\n")
    assert clocks(tmp_path) == {"cpu_mhz": 729.6, "cpu_max_mhz": 1984.0, "throttled": True}


def test_spread_is_relative() -> None:
    assert spread([100, 103, 101]) == pytest.approx(3 / 101)


def test_two_columns_in_one_run(body_words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgepose", "bench", *body_words[1:]]
    command += ["--frames", "10", "--warmup", "2"]
    command += ["--compare", "openvino,threads=1", "--compare", "openvino,precision=fp32,threads=1"]
    result = subprocess.run(
        [*command, "--json", str(tmp_path / "b.json")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    data = json.loads((tmp_path / "b.json").read_text())
    first, second = data["columns"]
    assert first["ratio"] == 1.0
    stages = ("decode", "preprocess", "network", "postprocess", "overlay", "encode")
    for column in (first, second):
        assert set(column["stages_ms"]) == set(stages)
        total = sum(column["stages_ms"][s]["mean"] for s in stages)
        assert total == pytest.approx(column["total_ms"]["mean"], rel=0.01)
    assert "| ratio" in result.stdout
    listed = subprocess.run(
        [sys.executable, "-m", "edgepose", "networks", "--json"], capture_output=True, check=True
    )
    rows = {row["name"]: row for row in json.loads(listed.stdout)["networks"]}
    medians = [c["stages_ms"]["network"]["p50"] for c in data["columns"]]
    ms = rows[body_words[1]]["measured"]["ms"]
    assert min(abs(ms - median) for median in medians) < 0.01


def test_a_few_frames_are_counted_whatever_the_warm_up() -> None:
    network = resolve("edgepose-lite-body", download=False)
    pictures = read_pictures("test://people?size=64x64&frames=2", 2)
    for frames, warmup in ((3, 1), (6, 7), (2, 0)):
        column = parse_configuration("onnxruntime", EngineOptions())
        (measured,) = run(network, [column], pictures, frames=frames, warmup=warmup)
        assert frames <= measured.total.count < frames + BLOCK
        assert measured.stages["network"].percentile(50) > 0


def test_the_fastest_way_is_remembered_and_taken() -> None:
    words = ["edgepose-lite-body", "--input", "test://people?size=64x48&frames=1", "--no-progress"]
    command = [sys.executable, "-m", "edgepose", "bench", *words, "--choose"]
    command += ["--frames", "5", "--warmup", "0", "--threads", "1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "edgepose-lite-body: auto takes FP16 " in result.stderr
    found = ways("edgepose-lite-body")
    assert {w.engine for w in found} == {"onnxruntime", "openvino"}
    choice = choose(resolve("edgepose-lite-body", download=False).model, EngineOptions())
    assert (choice.name, choice.precision) == (found[0].engine, found[0].precision)
    both = subprocess.run(
        [*command, "--compare", "openvino"], capture_output=True, text=True, check=False
    )
    assert (both.returncode, "leave --compare out" in both.stderr) == (2, True)


def test_openvino_must_be_clearly_faster() -> None:
    network = resolve("edgepose-lite-body", download=False)
    times = {"onnxruntime": 10.0, "openvino": 9.0}
    rows = []
    for engine, ms in times.items():
        column = Configuration(engine, EngineOptions(engine=engine), 1, network)
        rows.append(Measured(column))
        rows[-1].add({"network": ms})
    assert [w.engine for w in best_first(rows)] == ["onnxruntime", "openvino"]
    rows[1] = Measured(rows[1].configuration)
    rows[1].add({"network": 8.0})
    assert [w.engine for w in best_first(rows)] == ["openvino", "onnxruntime"]
