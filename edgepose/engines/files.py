"""Looks at a model file before a library does, so that the usual mistakes get a plain answer."""

from __future__ import annotations

import re
from pathlib import Path

from edgepose.engines.onnx_file import check_external, read_outline
from edgepose.errors import NetworkFileError

ONNX = ".onnx"
IR = ".xml"
PLANS = (".engine", ".plan", ".trt")

_WRONG_KIND = {
    (".pt", ".pth", ".ckpt"): "a PyTorch checkpoint; turn it into ONNX with `edgepose export`",
    (".tflite",): "a TensorFlow Lite file; convert it to ONNX with tf2onnx",
    (".pb", ".h5", ".keras"): "a TensorFlow file; convert it to ONNX with tf2onnx",
    (".caffemodel", ".prototxt"): "a Caffe network; use the ONNX version of it",
    (".uff",): "UFF, which TensorRT has dropped; use the ONNX version of the network",
    (".bin",): "the weights of an OpenVINO network; name the .xml beside it",
}
_FOREIGN_STARTS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (b"<!doctype", "a web page, so a download went wrong; fetch it again"),
    (b"<html", "a web page, so a download went wrong; fetch it again"),
    (b"pk\x03\x04", "a zip archive (or a PyTorch checkpoint); unpack or export it first"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"ptrt", "a TensorRT plan; use it with --engine-file"),
    (b"vtrt", "a TensorRT plan; use it with --engine-file"),
    (b"ftrt", "a TensorRT plan; use it with --engine-file"),
)

# what OpenVINO and ONNX Runtime wrap around the sentence that tells something
_NOISE = ("Exception from", "Check '", "While ", "FrontEnd API failed", "Model wasn't", "Summary:")
_WRAPPING = (
    (r"^Load model from .*? failed: ?", ""),
    (r"^/onnxruntime_src/.*?\) (?=[A-Z])", ""),
    (r"^This is an invalid model\. ", ""),
    (r"^In Node, \(\"(.*?)\", (.*?), .*, Error (Node\(.*?\) )?", r"node '\1' (\2): "),
)


def check_model_file(path: Path) -> str:
    """The kind of a model file: ".onnx", ".xml" or ".engine".

    Raises:
        NetworkFileError: missing, empty, damaged, of a kind that no engine reads, or something else under
            that name (a web page, a Git LFS pointer, an archive).
    """
    if not path.exists():
        raise NetworkFileError(f"Model {path} does not exist.")
    if not path.is_file():
        raise NetworkFileError(f"Model {path} is not a file.")
    kind = path.suffix.lower()
    for suffixes, advice in _WRONG_KIND.items():
        if kind in suffixes:
            raise NetworkFileError(f"Model {path} is {advice}.")
    if kind not in (ONNX, IR, *PLANS):
        raise NetworkFileError(f"Model {path} is neither .onnx, .xml (OpenVINO) nor .engine.")
    _check_start(path, kind)
    if kind == IR:
        _check_ir(path)
    elif kind == ONNX:
        check_external(path, read_outline(path))
    return ".engine" if kind in PLANS else kind


def _check_start(path: Path, kind: str) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(64).lstrip().lower()
    except OSError as e:
        raise NetworkFileError(f"Model {path} cannot be read: {e.strerror}.") from e
    if not start:
        raise NetworkFileError(f"Model {path} is empty; fetch it again.")
    for magic, advice in _FOREIGN_STARTS:
        if start.startswith(magic) and not (kind in PLANS and b"trt" in magic):
            raise NetworkFileError(f"Model {path} is {advice}.")


def _check_ir(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(4096)
    if b"<net" not in head:
        raise NetworkFileError(f"Model {path} is not an OpenVINO network (no <net> in it).")
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise NetworkFileError(f"Model {path} needs its weights beside it: {weights} is missing.")
    if not weights.stat().st_size:
        raise NetworkFileError(f"Weights {weights} are empty; fetch the network again.")


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
