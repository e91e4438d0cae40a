"""The estimator of a command, and its engine that is loaded while inputs and outputs are opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgepose.cli.console import Talk
from edgepose.cli.inputs import many_frames
from edgepose.cli.loading import begin, find_network, load_estimator
from edgepose.estimators.base import Ahead
from edgepose.options import EngineChoice, EstimatorChoice, NetworkChoice
from edgepose.wanted import wanted_lanes

SMALL = NetworkChoice(network="mediapipe-palm")


def test_an_estimator_takes_what_was_begun_for_it() -> None:
    names, choice, engine = (
        NetworkChoice(network="fast"),
        EstimatorChoice(),
        EngineChoice(threads=1),
    )
    begun = begin(names, choice, engine, gpu=False)
    assert begun is not None
    network = find_network(names, Talk("error"))
    estimator = load_estimator(network, names, choice, engine, Talk("error"), begun=begun)
    assert estimator.engine_name == "onnxruntime (CPU, 1 threads)"
    assert begun.engine.take(network.model) is None
    estimator.close()


@pytest.mark.parametrize(
    ("names", "engine"),
    [
        (NetworkChoice(network="none-of-that-name"), EngineChoice()),
        (NetworkChoice(network="resnet18-body"), EngineChoice()),  # would be fetched
        (NetworkChoice(variant="FP16"), EngineChoice()),
        (SMALL, EngineChoice(precision="int8")),  # would be built
        (SMALL, EngineChoice(engine="no-engine")),
        (SMALL, EngineChoice(threads=-1)),
    ],
)
def test_nothing_is_begun_that_takes_its_time_or_goes_wrong(
    names: NetworkChoice, engine: EngineChoice
) -> None:
    assert begin(names, EstimatorChoice(), engine, gpu=False) is None


def test_nothing_is_begun_on_a_gpu_or_for_a_size_that_is_none() -> None:
    assert begin(SMALL, EstimatorChoice(), EngineChoice(), gpu=True) is None
    assert begin(SMALL, EstimatorChoice(network_size="3x"), EngineChoice(), gpu=False) is None
    begun = begin(SMALL, EstimatorChoice(), EngineChoice(), gpu=False)
    assert begun is not None
    assert begun.network == find_network(SMALL, Talk("error"))
    assert begun.engine.take(begun.network.model) is not None


@pytest.mark.parametrize("ahead", [False, True])
def test_frames_of_a_film_may_be_under_way_together(ahead: bool) -> None:
    names, choice, engine = (
        NetworkChoice(network="fast"),
        EstimatorChoice(),
        EngineChoice(threads=2),
    )
    begun = begin(names, choice, engine, 2, gpu=False) if ahead else None
    network = find_network(names, Talk("error"))
    estimator = load_estimator(network, names, choice, engine, Talk("error"), 1, 2, begun)
    assert isinstance(estimator, Ahead)
    assert estimator.ahead == 1
    estimator.close()


def test_films_and_folders_have_many_frames_and_one_picture_and_cameras_have_not(
    tmp_path: Path,
) -> None:
    picture, film, pipe = (tmp_path / name for name in ("picture", "film.mp4", "pipe.mp4"))
    picture.write_bytes(b"\xff\xd8\xff\xe0 and so on")
    film.write_bytes(b"\0\0\0\x20ftypisom")
    os.mkfifo(pipe)
    several = [[str(film)], [str(tmp_path)], [f"{tmp_path}/*.jpg"], [str(picture)] * 2]
    assert all(map(many_frames, several))
    alone = [[str(picture)], [f"file://{picture}"], [str(pipe)], ["/dev/video0"], ["rtsp://door/"]]
    assert not any(map(many_frames, alone))
    assert not many_frames([str(film), "/dev/video0"])


def test_one_frame_at_a_time_where_people_are_expected() -> None:
    assert wanted_lanes(EstimatorChoice(), EngineChoice(threads=2)) == 2
    assert wanted_lanes(EstimatorChoice(detect_every=5), EngineChoice(threads=2)) == 1
