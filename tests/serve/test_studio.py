"""What the channels share: engines by address, within bounds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from served import make_film, wait_for

from edgepose.cli.console import Talk
from edgepose.cli.loading import at_once
from edgepose.cli.serve import _plan
from edgepose.cli.serve_options import Serve
from edgepose.engines import EngineOptions
from edgepose.errors import UnknownNameError, UsageError
from edgepose.estimators import EstimatorOptions
from edgepose.io.sinks.rows import to_json
from edgepose.networks.resolve import resolve
from edgepose.options import NetworkChoice
from edgepose.serve.engines import MAX_ENGINES, Choice, EnginePool
from edgepose.serve.recorded import NoEvents
from edgepose.serve.report import health, stats
from edgepose.serve.studio import Studio
from edgepose.serve.watch import ChannelOptions

SOURCES = {
    "camera": "test://people?size=160x120&rate=5",
    "example": "test://people?size=160x120&rate=5&people=1",
}


@pytest.fixture
def make() -> Iterator[Callable[..., Studio]]:
    made: list[Studio] = []

    def build(
        model: Path | None = None, sources: dict[str, str] | None = None, **more: Any
    ) -> Studio:
        name = "human-pose-estimation-0001" if model else "edgepose-lite-body"
        network = resolve(name, model=model, download=False)
        pool = EnginePool(Choice(EngineOptions(), network), EstimatorOptions())
        studio = Studio(sources or SOURCES, pool, ChannelOptions(), **more)
        made.append(studio)
        return studio

    yield build
    for studio in made:
        studio.close()


def test_what_the_server_runs_on_anyway_is_the_same_channel(make: Callable[..., Studio]) -> None:
    studio = make()
    first = studio.channel("camera")
    assert studio.channel("camera", "CPU") is first
    assert studio.channel("camera", "auto", "fp16") is first  # the weights are of FP16
    assert studio.channel("example") is not first


def test_weights_of_the_precision_asked_for(make: Callable[..., Studio], hpe_alike: Path) -> None:
    studio = make(hpe_alike)
    first = studio.channel("camera")
    assert studio.channel("camera", "CPU", "FP16-INT8") is first
    exact = studio.channel("camera", "CPU", "FP32")
    assert exact is not first
    exact.look()
    wait_for(lambda: exact.frames, "a frame")
    assert exact.status()["engine"].endswith("fp32)")
    assert first.frames == 0


def test_names_that_cannot_be_meant(make: Callable[..., Studio]) -> None:
    studio = make()
    with pytest.raises(KeyError):
        studio.channel("roof")
    with pytest.raises(UnknownNameError, match="TOASTER"):
        studio.channel("camera", "TOASTER")
    with pytest.raises(UnknownNameError, match="FP7"):
        studio.channel("camera", "", "FP7")
    with pytest.raises(UsageError, match="MYRIAD"):
        studio.channel("camera", "MYRIAD")
    assert studio.channels == []


def test_engines_are_bounded_and_idle_ones_make_room(make: Callable[..., Studio]) -> None:
    studio = make()
    assert MAX_ENGINES == 3
    made = {words: studio.channel("camera", *words) for words in (("", "FP32"), ("NPU", ""))}
    # nobody looks through those two: one makes room
    assert studio.channel("camera", "GPU") in studio.channels
    (gone,) = [words for words, channel in made.items() if channel not in studio.channels]
    for channel in studio.channels:
        channel.always = True
        channel.look()
    with pytest.raises(UsageError, match="3 engines"):
        studio.channel("camera", *gone)
    assert studio.channel("camera")  # the server's own is always there


def test_a_device_that_is_not_there_fails_and_says_so(make: Callable[..., Studio]) -> None:
    pytest.importorskip("openvino", reason="the openvino extra is not installed")
    studio = make()
    channel = studio.channel("camera", "NPU")
    channel.look()
    wait_for(lambda: channel.state == "failed", "the failure")
    assert "NPU" in channel.reason
    assert health(studio)["ok"] is False
    assert health(studio)["reasons"] == ["camera has failed"]


def test_always_is_for_cameras_whoever_looks_at_what(
    make: Callable[..., Studio], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    studio = make(always=True)
    assert "onnxruntime" in studio.prepare()
    camera = studio.channel("camera")
    wait_for(lambda: camera.frames, "frames without viewers")
    studio.switch("example")
    example = studio.channel("example")
    example.look()
    wait_for(lambda: example.frames, "frames of the other source")
    # who looks at the example does not end the counting
    assert (camera.always, example.always) == (True, False)
    assert any(m.endswith(": live") for m in caplog.messages)


def test_without_a_database_there_are_no_events(make: Callable[..., Studio]) -> None:
    with pytest.raises(NoEvents, match="--db"):
        make().recorded.visits(1, 10)


def test_an_input_lost_for_long_and_a_dead_writer_are_ill_health(
    make: Callable[..., Studio], tmp_path: Path
) -> None:
    studio = make(sources={"camera": "/dev/video97"}, database=tmp_path / "events.db")
    channel = studio.channel("camera")
    channel.always = True
    channel.look()
    wait_for(lambda: channel.lost_for, "the loss")
    assert health(studio)["ok"] is True
    assert health(studio)["lost"] == ["camera"]
    ill = health(studio, patience=0.0)
    assert ill["ok"] is False
    assert ill["reasons"][0].startswith("camera is lost for")
    assert studio.store is not None
    studio.store.close()
    ill = health(studio)
    assert (ill["ok"], ill["events_written"]) == (False, False)
    assert ill["reasons"] == ["the writer of events has ended"]


def test_names_that_are_no_text_are_told(make: Callable[..., Studio], tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")
    make_film(tmp_path / "film.mp4", 5).rename(name)
    studio = make(sources={"camera": name}, database=tmp_path / "events.db")
    channel = studio.channel("camera")
    channel.look()
    wait_for(lambda: channel.frames, "a frame")
    assert "caf" in to_json(stats(studio))
    assert to_json(channel.poses).isascii()
    studio.store.flush()  # type: ignore[union-attr]
    assert health(studio)["ok"]
    assert studio.recorded.log.sessions()[0].source.endswith("caf\\udce9.mp4")


def test_plans_of_a_server_take_a_frame_of_each_camera() -> None:
    for cameras, together in ((), 1), (("a=rtsp://127.0.0.1/1", "b=rtsp://127.0.0.1/2"), 2):
        asked = Serve(sources=cameras, network=NetworkChoice(network="edgepose-lite-body"))
        pool = _plan(asked, Talk(), {}).engines
        assert pool._options.together == together
    assert at_once(EstimatorOptions(batch=4), 9).together == 4
