"""Options become values: the network, engine and estimator that a command line asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgepose.cli.console import Talk
from edgepose.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from edgepose.networks.resolve import Network


def find_network(a: Mapping[str, Any], talk: Talk) -> Network:
    """The network that the arguments name, fetched where it has to be.

    Without --network and --model: resnet18-body where it is installed or can be fetched, as in
    jetson-inference, else the one that edgepose ships, said in one line.
    """
    from edgepose.cli.progress import progress_for
    from edgepose.networks.resolve import resolve

    chosen = {
        "variant": a["variant"],
        "model": a["model"],
        "topology": a["topology"],
        "colors": a["colors"],
        "input_blob": a["input_blob"],
        "output_cmap": a["output_cmap"],
        "output_paf": a["output_paf"],
        "download": not a["no_download"],
        "progress": progress_for(talk),
    }
    return resolve(a["network"], **chosen)


def engine_options(a: Mapping[str, Any], talk: Talk) -> Any:
    from edgepose.cli.build_progress import progress_for
    from edgepose.engines import EngineOptions

    return EngineOptions(
        engine=a["engine"],
        device=a["device"],
        threads=a["threads"],
        precision=a["precision"],
        build=not a["no_build"],
        engine_file=a["engine_file"],
        progress=progress_for(talk),
    )


def load_estimator(a: Mapping[str, Any], network: Network, talk: Talk) -> Any:
    from edgepose.cli.progress import progress_for
    from edgepose.estimators import EstimatorOptions, make_estimator
    from edgepose.networks.resolve import resolve

    detector = None
    if network.manifest.family == "top-down":
        name = a["detector"] or network.manifest.detector
        detector = resolve(
            name,
            model=a["detector_model"],
            download=not a["no_download"],
            progress=progress_for(talk),
        )
    elif a["detector"] or a["detector_model"]:
        talk.once(f"{network.manifest.name} needs no detector; --detector is ignored.")
    estimator = make_estimator(
        network,
        EstimatorOptions(
            threshold=a["threshold"],
            keypoint_threshold=a["keypoint_threshold"],
            link_threshold=a["link_threshold"],
            min_keypoints=a["min_keypoints"],
            min_score=a["min_score"],
            resize=one_of("--resize", a["resize"], ("", "stretch", "letterbox")),
            size=parse_size("--network-size", a["network_size"]),
            detector=detector,
            detector_size=a["detector_size"],
            box_threshold=a["box_threshold"],
            nms_threshold=a["nms_threshold"],
            max_people=a["max_people"],
            flip_test=a["flip_test"],
            batch=a["batch_size"],
            engine=engine_options(a, talk),
        ),
    )
    _check_tensor_names(a, getattr(estimator, "engine", None))
    choice = getattr(getattr(estimator, "engine", None), "choice", None)
    talk.info(f"{network.manifest.name} on {estimator.engine_name}{_why(choice, a['engine'])}")
    for line in choice.lines() if choice is not None else ():
        talk.verbose(f"  {line}")
    for note in choice.notes if choice is not None else ():
        talk.once(note)
    return estimator


def _check_tensor_names(a: Mapping[str, Any], engine: Any) -> None:
    """Of a custom network the tensors that are named must be there: no guess replaces them.

    Raises:
        UnknownNameError: one is not; says which there are.
    """
    if engine is None or a["topology"] is None:
        return
    for flag, tensors in (
        ("input_blob", engine.inputs),
        ("output_cmap", engine.outputs),
        ("output_paf", engine.outputs),
    ):
        names = [t.name for t in tensors]
        if a[flag] and a[flag] not in names:
            engine.close()
            raise UnknownNameError(f"tensor for --{flag.replace('_', '-')}", a[flag], names)


def _why(choice: Any, asked: str) -> str:
    """Why this engine, where edgepose chose it, and why the better ones were passed over."""
    if choice is None or asked != "auto":
        return ""
    over = choice.not_here()
    return f": {choice.because}" + (f"; {over}" if over else "")


def one_of(flag: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise UnknownNameError(f"value of {flag}", value, [x for x in allowed if x])
    return value


def parse_size(flag: str, text: str) -> tuple[int, int] | None:
    """(width, height) of "WxH", None of "".

    Raises:
        UsageError: not two whole numbers from 1 to 16384.
    """
    if not text:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(
        p.isascii() and p.isdigit() and 0 < int(p) <= 16384 for p in parts
    ):
        raise UsageError(f"{flag} {text!r} is not WIDTHxHEIGHT, such as 256x256.")
    return int(parts[0]), int(parts[1])
