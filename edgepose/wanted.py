"""Options become values: the network, estimator, engine, source and output that a command line asks for.

Used by every command and by the `argv` of the Python API.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from edgepose.engines import EngineOptions, lanes_of
from edgepose.engines.options import BuildProgress as BuildProgress
from edgepose.estimators import EstimatorOptions
from edgepose.flags import one_of, parse_size
from edgepose.io.base import OutputOptions, SourceOptions, load
from edgepose.networks.progress import Progress
from edgepose.networks.resolve import Network, resolve
from edgepose.networks.topology import Topology
from edgepose.options import (
    CameraChoice,
    EngineChoice,
    EstimatorChoice,
    NetworkChoice,
    OutputChoice,
    SourceChoice,
)

if TYPE_CHECKING:
    from edgepose.gestures.finder import GestureFinder

T = TypeVar("T")
# not loaded where nobody asks for it
_FINDERS = {"gestures": "edgepose.gestures.finder:make_finders"}


def over(base: T, asked: T) -> T:
    """`base`, with every field of `asked` that is not as it is by default."""
    default: Any = type(asked)()
    changed = {
        field.name: getattr(asked, field.name)
        for field in dataclasses.fields(default)
        if getattr(asked, field.name) != getattr(default, field.name)
    }
    return dataclasses.replace(base, **changed)  # type: ignore[type-var]


def find_network(
    choice: NetworkChoice, progress: Progress | None = None, *, precision: str = ""
) -> Network:
    """The network that is asked for, fetched where it has to be; see `resolve`.

    Args:
        precision: asked of the engine, which decides among variants where none is named.
    """
    return resolve(
        choice.network,
        variant=choice.variant,
        model=choice.model,
        topology=choice.topology or None,
        colors=choice.colors,
        input_blob=choice.input_blob,
        output_cmap=choice.output_cmap,
        output_paf=choice.output_paf,
        download=not choice.no_download,
        progress=progress,
        precision=precision.lower(),
    )


def find_detector(
    network: Network,
    choice: EstimatorChoice,
    *,
    download: bool = True,
    progress: Progress | None = None,
) -> Network | None:
    """The detector that a top-down network needs; None for the other families."""
    if network.manifest.family != "top-down":
        return None
    return resolve(
        choice.detector or network.manifest.detector,
        model=choice.detector_model,
        download=download,
        progress=progress,
    )


def estimator_options(choice: EstimatorChoice, detector: Network | None = None) -> EstimatorOptions:
    """How poses are found, without the engine's own options.

    Raises:
        UsageError: a size or a way to resize that is none.
    """
    return EstimatorOptions(
        threshold=choice.threshold,
        keypoint_threshold=choice.keypoint_threshold,
        link_threshold=choice.link_threshold,
        min_keypoints=choice.min_keypoints,
        min_score=choice.min_score,
        resize=one_of("--resize", choice.resize, ("", "stretch", "letterbox")),
        size=parse_size("--network-size", choice.network_size),
        detector=detector,
        detector_size=choice.detector_size,
        box_threshold=choice.box_threshold,
        nms_threshold=choice.nms_threshold,
        max_people=choice.max_people,
        flip_test=choice.flip_test,
        detect_every=choice.detect_every,
        batch=choice.batch_size,
    )


def wanted_engine(choice: EngineChoice, progress: BuildProgress | None = None) -> EngineOptions:
    """What infers, and how."""
    return EngineOptions(
        engine=choice.engine,
        device=choice.device,
        threads=choice.threads,
        precision=choice.precision,
        build=not choice.no_build,
        engine_file=choice.engine_file,
        progress=progress,
    )


def wanted_lanes(choice: EstimatorChoice, engine: EngineChoice) -> int:
    """How many frames of a film go through a network on a CPU at the same time, see `lanes_of`.

    One where a frame's people are expected where those of the frame before were.
    """
    return 1 if choice.detect_every > 1 else lanes_of(engine.threads)


def camera_options(choice: CameraChoice) -> SourceOptions:
    """What is asked of a camera, a stream or a file."""
    return SourceOptions(
        width=choice.input_width,
        height=choice.input_height,
        rate=choice.input_rate,
        flip=choice.input_flip,
        codec=choice.input_codec,
        latency=choice.input_latency,
        transport=one_of("--rtsp-transport", choice.rtsp_transport, ("tcp", "udp")),
        timeout=choice.timeout,
    )


def source_options(choice: SourceChoice) -> SourceOptions:
    """How inputs are read."""
    return dataclasses.replace(
        camera_options(choice.camera),
        loop=choice.input_loop,
        start=choice.start,
        frames=choice.frames,
        reconnect=choice.reconnect,
        reconnect_limit=choice.reconnect_limit,
        wait=choice.wait,
        save=choice.input_save,
    )


def output_options(choice: OutputChoice) -> OutputOptions:
    """How outputs are written.

    jetson-inference's options of WebRTC and https go where our servers read them: the environment.
    """
    for given, variable in ((choice.ssl_cert, "SSL_CERT"), (choice.ssl_key, "SSL_KEY")):
        if given:
            os.environ[variable] = given
    server = choice.stun_server
    if server and server != "disabled":
        os.environ["EDGEPOSE_STUN"] = server if ":" in server[:6] else f"stun:{server}"
    return OutputOptions(
        codec=choice.output_codec,
        bitrate=choice.bitrate,
        encoder=choice.output_encoder,
        rate=choice.output_rate,
        width=choice.output_width,
        height=choice.output_height,
    )


def wanted_gestures(text: str, topology: Topology) -> Callable[[], GestureFinder] | None:
    """What makes a finder of gestures for each source; None where none are asked for.

    Raises:
        UsageError, NetworkFileError: see `edgepose.gestures.finder.make_finders`.
    """
    if not text:
        return None
    makers: Callable[[], GestureFinder] = load(_FINDERS, "gestures", "finder")(text, topology)
    return makers
