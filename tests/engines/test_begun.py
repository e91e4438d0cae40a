"""Engines that are loaded beside what their user does meanwhile."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose.engines import EngineOptions, load_engine
from edgepose.engines.begun import BegunEngine
from edgepose.errors import NetworkFileError
from tests.engines.conftest import Maker


def test_it_is_the_engine_of_its_file_and_given_once(onnx_file: Maker) -> None:
    model, options = onnx_file(), EngineOptions(engine="onnxruntime")
    begun = BegunEngine(model, options)
    assert begun.take(onnx_file("other.onnx")) is None
    engine, same = begun.take(model), load_engine(model, options)
    assert engine is not None
    assert begun.take(model) is None
    feeds = {
        spec.name: np.ones([max(n, 1) for n in spec.shape], spec.dtype) for spec in same.inputs
    }
    ours, theirs = engine.infer(feeds), same.infer(feeds)
    assert engine.choice == same.choice
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_what_cannot_be_loaded_is_left_to_who_asks_next(onnx_file: Maker) -> None:
    model = onnx_file()
    options = EngineOptions(engine="onnxruntime", shape=(1, 1))  # the file has another
    assert BegunEngine(model, options).take(model) is None
    with pytest.raises(NetworkFileError):
        BegunEngine(model.with_name("none.onnx"), options)
