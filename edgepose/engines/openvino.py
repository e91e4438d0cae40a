"""OpenVINO: Intel CPUs (about twice as fast as ONNX Runtime there), GPUs and NPUs; IR and ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgepose import paths
from edgepose.engines.base import (
    Choice,
    Feeds,
    Outputs,
    check_feeds,
    check_inputs,
    check_outputs,
    max_batch,
)
from edgepose.engines.messages import first_line
from edgepose.engines.options import EngineOptions
from edgepose.engines.signal_stack import signal_stack_kept
from edgepose.errors import (
    BackendUnavailable,
    EngineError,
    NetworkFileError,
    UnknownNameError,
    UsageError,
)
from edgepose.types import TensorSpec

DEVICES = ("CPU", "GPU", "NPU", "AUTO")


def module() -> Any:
    """The openvino package.

    Raises:
        BackendUnavailable: it is not installed, or does not load.
    """
    try:
        import openvino
    except (ImportError, OSError) as e:
        raise BackendUnavailable(f"openvino cannot be loaded ({first_line(e)})") from e
    return openvino


def probe(options: EngineOptions) -> str:
    """Why this engine cannot run here; "" where it can."""
    try:
        module()
    except BackendUnavailable as e:
        return str(e)
    return ""


def load(model: Path, options: EngineOptions) -> OpenVinoEngine:
    """The engine for an IR or ONNX file, reshaped where `options.shape` asks for it.

    Raises:
        BackendUnavailable: no openvino, or not that device.
        NetworkFileError: the file is not a network that OpenVINO reads.
        UsageError: a shape that the network cannot take.
    """
    ov = module()
    device = device_name(options.device)
    core = ov.Core()
    try:
        network = core.read_model(str(model))
    except Exception as e:  # its errors have no common class of their own
        raise NetworkFileError(f"Model {model} cannot be used: {_readable(e)}.") from e
    _reshape(network, options.shape)
    check_inputs(
        [_spec(p, i, "input") for i, p in enumerate(network.inputs)]
    )  # it takes memory to compile
    return OpenVinoEngine(_compile(core, network, model, device, options), device, options)


def device_name(asked: str) -> str:
    """The OpenVINO name of a device; "" is the CPU.

    Raises:
        UnknownNameError: not one of DEVICES, with an optional number behind a dot.
    """
    device = asked.upper() or "CPU"
    kind, _, number = device.partition(".")
    if kind not in DEVICES or (number and not number.isdigit()):
        raise UnknownNameError("OpenVINO device", asked, DEVICES)
    return device


def configuration(device: str, options: EngineOptions) -> dict[str, Any]:
    """OpenVINO's properties: each frame as soon as possible, or several at the same time.

    Without `fp32` the device's own default stays: bfloat16 on recent CPUs (within 0.6 % of float32
    and twice as fast), float16 on GPUs.
    """
    config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if lanes_on(device, options) > 1:
        config = {"NUM_STREAMS": options.lanes}
    hint = {"fp32": "f32", "fp16": "f16"}.get(options.precision)
    if hint == "f32" or (hint == "f16" and not device.startswith("CPU")):
        config["INFERENCE_PRECISION_HINT"] = hint
    if options.threads and device.startswith(("CPU", "AUTO")):
        config["INFERENCE_NUM_THREADS"] = options.threads
    if not device.startswith("CPU"):
        config["CACHE_DIR"] = str(paths.cache() / "openvino")  # GPUs compile for many seconds
    return config


def lanes_on(device: str, options: EngineOptions) -> int:
    """How many calls a device is set up for at the same time."""
    return options.lanes if device.startswith("CPU") else 1


def _reshape(network: Any, size: tuple[int, int] | None) -> None:
    if size is None:
        return
    shapes: dict[Any, list[int]] = {}
    for port in network.inputs:
        shape = _dimensions(port)
        if len(shape) == 4:
            axes = (1, 2) if shape[-1] in (1, 3) and shape[1] not in (1, 3) else (2, 3)
            shape[axes[0]], shape[axes[1]] = size
            shapes[port] = shape
    try:
        network.reshape(shapes)
    except Exception as e:  # as above
        raise UsageError(
            f"The network cannot run at {size[0]}x{size[1]}: {_readable(e)}. "
            "Leave the shape out, or choose a multiple of the network's stride."
        ) from e


def _compile(core: Any, network: Any, model: Path, device: str, options: EngineOptions) -> Any:
    try:
        with signal_stack_kept():
            return core.compile_model(network, device, configuration(device, options))
    except Exception as e:  # as above
        there = ", ".join(core.available_devices) or "none"
        if device.partition(".")[0] not in {*there.split(", "), "CPU"}:
            raise BackendUnavailable(
                f"OpenVINO has no device {device} here (it has {there}); is its driver installed?"
            ) from e
        raise EngineError(f"OpenVINO cannot compile {model} for {device}: {_readable(e)}.") from e


def _readable(error: BaseException) -> str:
    """The sentence of an OpenVINO error that tells something."""
    text = first_line(error)
    known = {
        "Incorrect weights": "the .bin is cut off or belongs to another .xml; fetch both again",
        "Error parsing": "the .xml is damaged or cut off; fetch it again",
        "tags mismatch": "the .xml is damaged or cut off; fetch it again",
        "Unable to read the model": "it is damaged or not a network; fetch it again",
    }
    return next((advice for key, advice in known.items() if key in text), text)


def _dimensions(port: Any) -> list[int]:
    return [d.get_length() if d.is_static else -1 for d in port.get_partial_shape()]


def _name(port: Any) -> str:
    """The name that the file gives a tensor, "" where it has none.

    OpenVINO folds an Identity away and lists both of its names, in any order: the result's own is the
    one that the file calls its output.
    """
    names = sorted(port.get_names())
    own = str(port.get_node().get_friendly_name()).partition("/sink_port_")[0]
    return own if own in names else next(iter(names), "")


def _spec(port: Any, number: int, kind: str) -> TensorSpec:
    name = _name(port) or f"{kind}{number}"
    return TensorSpec(name, tuple(_dimensions(port)), np.dtype(port.get_element_type().to_dtype()))


class OpenVinoEngine:
    """A compiled network. Safe from any number of threads: each call has a request of its own."""

    def __init__(self, compiled: Any, device: str, options: EngineOptions) -> None:
        self.inputs = tuple(_spec(p, i, "input") for i, p in enumerate(compiled.inputs))
        self.outputs = tuple(_spec(p, i, "output") for i, p in enumerate(compiled.outputs))
        self.max_batch = max_batch(self.inputs)
        self.lanes = lanes_on(device, options)
        self.choice = Choice("openvino", "asked for")
        self.precision = _used_precision(compiled)
        parts = [device, self.precision, f"{options.threads} threads" if options.threads else ""]
        self.name = f"openvino ({', '.join(p for p in parts if p)})"
        self._compiled: Any = compiled
        self._idle: list[Any] = []  # requests; one call at a time holds each

    def infer(self, feeds: Feeds) -> Outputs:
        """Run once; see `Engine.infer`."""
        compiled = self._compiled
        if compiled is None:
            raise EngineError("The engine is closed.")
        checked = check_feeds(feeds, self.inputs)
        try:
            request = self._idle.pop()
        except IndexError:
            request = compiled.create_infer_request()
        try:
            arrays = request.infer(list(checked.values())).to_tuple()
        except Exception as e:  # whatever the library raises; such a request is not used again
            raise EngineError(f"OpenVINO failed: {_readable(e)}.") from e
        if self._compiled is not None:
            self._idle.append(request)
        return check_outputs({s.name: a for s, a in zip(self.outputs, arrays, strict=True)})

    def close(self) -> None:
        """Release the network once the calls that are at work have ended."""
        self._compiled = None
        self._idle.clear()


def _used_precision(compiled: Any) -> str:
    """What the device computes in ("f32", "bf16", "f16"), "" where it does not tell."""
    try:
        name = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    except Exception:  # AUTO and some plugins have no such property
        return ""
    return {"f32": "fp32", "f16": "fp16"}.get(name, name)
