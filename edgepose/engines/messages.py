"""What a library's error tells, without what it wraps around it."""

from __future__ import annotations

import re

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
