"""What a library's error tells, without what it wraps around it, and what can be done about it."""

from __future__ import annotations

import re
from typing import Any

from edgepose.networks.onnx_file import OnnxOutline

# what OpenVINO and ONNX Runtime wrap around the sentence that tells something
_NOISE = ("Exception from", "Check '", "While ", "FrontEnd API failed", "Model wasn't", "Summary:")
_WRAPPING = (
    (r"^Load model from .*? failed: ?", ""),
    (r"^/onnxruntime_src/.*?\) (?=[A-Z])", ""),
    (r"^This is an invalid model\. ", ""),
    (r"^In Node, \(\"(.*?)\", (.*?), .*, Error (Node\(.*?\) )?", r"node '\1' (\2): "),
)


def first_line(error: BaseException, limit: int = 200) -> str:
    """The one thing that a library's error tells: no file names, codes or line breaks."""
    lines = [line.strip().removeprefix("-- ") for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(_NOISE)] or lines[:1]
    text = told[0] if told else type(error).__name__
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    for pattern, replacement in _WRAPPING:
        text = re.sub(pattern, replacement, text)
    return text[:limit].rstrip(" .")


def build_advice(message: str, *, on_dla: bool = False) -> str:
    """What to do about a builder that returned nothing."""
    text = message.lower()
    if any(word in text for word in ("memory", "alloc", "workspace")):
        return (
            "Close other programs or add swap, lower --workspace, or build for a smaller --batch "
            "or --shape."
        )
    if on_dla:
        return "Leave out --dla, or use --precision fp16 with it."
    if "implementation" in text or "tactic" in text:
        return "Raise --workspace, or use --precision fp32."
    if "shape" in text or "profile" in text or "dimension" in text:
        return "Check --shape and --batch against what the network was made for."
    if "calibrat" in text or "int8" in text:
        return "Use --precision fp16, or other calibration pictures."
    return "Try --precision fp32, or run with --engine onnxruntime meanwhile."


_PARSER_HINTS = (
    (("importinitializer", "external"), "its weights cannot be read"),
    (("plugin not found", "no importer", "getplugincreator"), "TensorRT has no such operator"),
    (("does not support", "unsupported"), "TensorRT does not support it this way"),
    (("dynamic", "shape"), "export the network with fixed shapes, or give --shape"),
)


def parser_error_text(error: Any, outline: OnnxOutline) -> str:
    """A parser error as node, operator, reason and what to do.

    TensorRT 8.6 tells only the number of the node; name and operator then come from the file.
    """
    number = int(error.node())
    known = outline.nodes[number] if 0 <= number < len(outline.nodes) else None
    name = _call(error, "node_name") or (known.name if known else "")
    operator = _call(error, "node_operator") or (known.operator if known else "")
    reason = " ".join(str(error.desc()).split()).rstrip(".")[:160]
    where = f"node {number} {name!r} ({operator}): " if number >= 0 else ""
    text = reason.lower()
    hint = next((h for words, h in _PARSER_HINTS if any(w in text for w in words)), "")
    advice = f"{hint}; " if hint else ""
    return f"{where}{reason}. {advice[:1].upper()}{advice[1:]}--engine onnxruntime may run it."


def _call(error: Any, method: str) -> str:
    function = getattr(error, method, None)
    return str(function()) if function is not None else ""
