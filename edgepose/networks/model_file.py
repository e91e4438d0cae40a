"""One look at a model file before a library does, so that the usual mistakes get a plain answer."""

from __future__ import annotations

from pathlib import Path

from edgepose.errors import NetworkFileError
from edgepose.networks.onnx_file import check_external, read_outline

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
# what a proxy or a login page of a hotel network sends instead of a file, and git without LFS
_NOT_A_FILE = (
    (b"version https://git-lfs", "a Git LFS pointer", "not the file itself; run `git lfs pull`"),
    (b"<!doctype html", "a web page", "so a download went wrong; fetch it again"),
    (b"<html", "a web page", "so a download went wrong; fetch it again"),
)
_FOREIGN_STARTS = (
    *((magic, f"{what}, {advice}") for magic, what, advice in _NOT_A_FILE),
    (b"pk\x03\x04", "a zip archive (or a PyTorch checkpoint); unpack or export it first"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"ptrt", "a TensorRT plan; name it .engine, or use it with --engine-file"),
    (b"vtrt", "a TensorRT plan; name it .engine, or use it with --engine-file"),
    (b"ftrt", "a TensorRT plan; name it .engine, or use it with --engine-file"),
)


def is_model_name(name: str) -> bool:
    """True where a name ends as a network's file does, also of a kind that no engine reads."""
    kind = Path(name).suffix.lower()
    return kind in (ONNX, IR, *PLANS) or any(kind in wrong for wrong in _WRONG_KIND)


def complete(model: Path) -> bool:
    """True where a model file is there with all that belongs to it (the .bin of an IR)."""
    try:
        parts = [model, model.with_suffix(".bin")] if model.suffix == IR else [model]
        return all(p.is_file() and p.stat().st_size > 0 for p in parts)
    except OSError:
        return False


def not_a_file(head: bytes) -> str:
    """What the first bytes show instead of a network's file: "a web page", ... or ""."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    return next((what for magic, what, _ in _NOT_A_FILE if start.startswith(magic)), "")


def check_model_file(path: Path) -> str:
    """The kind of a model file: ".onnx", ".xml" or ".engine".

    Raises:
        NetworkFileError: missing, empty, damaged, of a kind that no engine reads, or something else under
            that name (a web page, a Git LFS pointer, an archive).
    """
    kind = path.suffix.lower()
    for suffixes, advice in _WRONG_KIND.items():
        if kind in suffixes:
            raise NetworkFileError(f"Model {path} is {advice}.")
    try:
        if not path.exists():
            raise NetworkFileError(f"Model {path} does not exist (looked in {Path.cwd()}).")
        if not path.is_file():
            raise NetworkFileError(f"Model {path} is not a file.")
        if kind not in (ONNX, IR, *PLANS):
            raise NetworkFileError(
                f"Model {path} is neither .onnx, .xml (OpenVINO IR) nor .engine (TensorRT)."
            )
        _check_start(path, kind)
        if kind == IR:
            _check_ir(path)
    except OSError as e:
        raise NetworkFileError(f"Model {path} cannot be read: {e.strerror or e}.") from e
    if kind == ONNX:
        check_external(path, read_outline(path))
    return ".engine" if kind in PLANS else kind


def _check_start(path: Path, kind: str) -> None:
    with path.open("rb") as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
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
