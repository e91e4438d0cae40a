"""Every engine from eight threads: each gets the answer to its own picture, also while it is closed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgepose.engines import Engine, EngineOptions, load_engine
from edgepose.errors import EngineError
from tests.engines.conftest import Maker
from tests.engines.cuda_double import lazy_cuda
from tests.engines.test_device_engines import Rig, ort_engine
from tests.engines.trt_double import VERSIONS

THREADS = 8
KINDS = ("onnxruntime", "openvino", "onnxruntime-cuda", *(f"tensorrt {v}" for v in VERSIONS))


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest, onnx_file: Maker) -> Engine:
    name, _, version = request.param.partition(" ")
    model = onnx_file()
    if name == "tensorrt":
        return Rig(version).engine(model)
    if name == "onnxruntime-cuda":
        return ort_engine(model, lazy_cuda())
    pytest.importorskip(name, reason=f"{name} is not installed")
    return load_engine(model, EngineOptions(engine=name, precision="fp32", threads=1))


def picture(value: int) -> dict[str, np.ndarray]:
    return {"x": np.full((1, 3, 32, 48), value, np.float32)}


def together(work: Callable[[int], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    return threads


def ended(threads: list[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(60)
    return not any(thread.is_alive() for thread in threads)


def test_each_thread_gets_its_own_answer(engine: Engine) -> None:
    alone = [engine.infer(picture(i))["cmap"] for i in range(THREADS)]
    found: Counter[str] = Counter()

    def work(number: int) -> None:
        for _ in range(25):
            try:
                out = engine.infer(picture(number))["cmap"]
            except EngineError as e:
                found[str(e)] += 1
                continue
            found["right" if np.allclose(out, alone[number], rtol=1e-4) else "wrong"] += 1

    assert ended(together(work))
    assert found == {"right": 25 * THREADS}
    engine.close()


def test_closing_lets_the_calls_at_work_finish(engine: Engine) -> None:
    alone = [engine.infer(picture(i))["cmap"] for i in range(THREADS)]
    found: Counter[str] = Counter()
    begun = threading.Barrier(THREADS + 1)

    def work(number: int) -> None:
        begun.wait()
        while True:
            try:
                out = engine.infer(picture(number))["cmap"]
            except EngineError as e:
                found[str(e)] += 1
                return
            if not np.allclose(out, alone[number], rtol=1e-4):
                found["wrong"] += 1

    threads = together(work)
    begun.wait()
    engine.close()
    assert ended(threads)
    assert found == {"The engine is closed.": THREADS}
    engine.close()


def test_who_waits_for_a_slot_hears_that_the_engine_is_closed(onnx_file: Maker) -> None:
    engine = Rig().engine(onnx_file())
    heard: list[str] = []
    waiting = threading.Event()

    def third() -> None:
        waiting.set()
        try:
            with engine.slot():
                heard.append("a slot")
        except EngineError as e:
            heard.append(str(e))

    with engine.slot() as first, engine.slot() as second:
        assert first is not second
        thread = threading.Thread(target=third, daemon=True)
        thread.start()
        waiting.wait()
        closer = threading.Thread(target=engine.close, daemon=True)
        closer.start()
        assert ended([thread])
        assert closer.is_alive(), "it waits for what is in flight"
    assert ended([closer])
    assert heard == ["The engine is closed."]


def test_many_slots_at_once_on_the_device(onnx_file: Maker) -> None:
    """Work that is still queued when its slot is given back, from eight threads."""
    rig = Rig()
    engine = rig.engine(onnx_file())
    wrong: list[Any] = []

    def work(number: int) -> None:
        for _ in range(10):
            with engine.slot(ahead=True) as slot:
                host = slot.host_feed("x")
                host[...] = number
                rig.cuda.upload(host, slot.inputs["x"], slot.stream)
                out = slot.run({"x": (1, 3, 32, 48)})["cmap"]
                result = slot.host_result("cmap")
                rig.cuda.download(out, result, slot.stream)
                slot.stream.synchronize()
                if not np.allclose(result, 2 * number):
                    wrong.append((number, float(result.mean())))

    assert ended(together(work))
    assert wrong == []
    engine.close()
