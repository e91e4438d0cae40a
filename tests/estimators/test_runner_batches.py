"""The batches that an engine is loaded for: of whole pictures as many as live sources."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose.engines import BatchRange
from edgepose.engines.build_plan import choose_shapes
from edgepose.engines.options import EngineOptions
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.runner import frames_together, load_for
from edgepose.networks.onnx_file import Tensor
from edgepose.networks.resolve import resolve


@pytest.mark.parametrize("together", [1, 4])
def test_a_plan_takes_a_picture_of_each_live_source(together: int) -> None:
    batch = frames_together(EstimatorOptions(together=together))
    assert batch == BatchRange(1, together, together)
    image = Tensor("image", "float32", (-1, 3, 64, 64))
    chosen, profiles = choose_shapes([image], EngineOptions(batch=batch))
    assert chosen == batch
    assert profiles["image"][2][0] == together


def test_a_network_of_a_fixed_batch_is_loaded_all_the_same() -> None:
    network = resolve("edgepose-lite-body")
    engine = load_for(
        network, EstimatorOptions(engine=EngineOptions(engine="onnxruntime")), BatchRange(1, 2, 2)
    )
    try:
        (spec,) = engine.inputs
        size = network.manifest.input
        zeros = np.zeros((1, 3, size.height, size.width), np.float32)
        assert len(engine.infer({spec.name: zeros})) == 2
    finally:
        engine.close()
