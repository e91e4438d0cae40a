"""The network and the estimator of a command: fetched, loaded, and said in one line."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import NamedTuple

from edgepose import wanted
from edgepose.cli.build_progress import progress_for as build_progress
from edgepose.cli.console import Talk
from edgepose.cli.progress import progress_for
from edgepose.engines import Choice, Engine, EngineOptions
from edgepose.engines.begun import BegunEngine
from edgepose.errors import EdgeposeError, UnknownNameError
from edgepose.estimators import Estimator, EstimatorOptions, make_estimator
from edgepose.estimators.base import engine_options
from edgepose.machine import has_nvidia_gpu
from edgepose.networks.resolve import Network
from edgepose.options import EngineChoice, EstimatorChoice, NetworkChoice

log = logging.getLogger(__name__)


def find_network(choice: NetworkChoice, talk: Talk, precision: str = "") -> Network:
    """The network that is asked for, fetched where it has to be.

    Without --network and --model: resnet18-body where it is installed or can be fetched, as in
    jetson-inference, else the one that edgepose ships, said in one line.
    """
    return wanted.find_network(choice, progress_for(talk), precision=precision)


def engine_with_progress(choice: EngineChoice, talk: Talk) -> EngineOptions:
    """What infers; a build is shown to people."""
    return wanted.wanted_engine(choice, build_progress(talk))


def estimator_options(
    choice: EstimatorChoice, network: Network, talk: Talk, *, download: bool
) -> EstimatorOptions:
    """How poses are found, with the detector that the network needs."""
    detector = wanted.find_detector(network, choice, download=download, progress=progress_for(talk))
    if detector is None and (choice.detector or choice.detector_model):
        talk.once(f"{network.manifest.name} needs no detector; --detector is ignored.")
    return wanted.estimator_options(choice, detector)


class Begun(NamedTuple):
    """A network, and the engine that is being loaded for it."""

    network: Network
    engine: BegunEngine


def begin(
    names: NetworkChoice,
    choice: EstimatorChoice,
    engine: EngineChoice,
    lanes: int = 1,
    gpu: bool | None = None,
) -> Begun | None:
    """The engine of a CPU, loaded from now on beside what is opened meanwhile.

    None where that may take its time (what is fetched or built), and where something is wrong, which
    `load_estimator` says.

    Args:
        lanes: as of `load_estimator`.
        gpu: there is an NVIDIA GPU; None = look.
    """
    plain = names.network or names == NetworkChoice()
    if not plain or engine.precision or (has_nvidia_gpu() if gpu is None else gpu):
        return None
    try:
        network = wanted.find_network(replace(names, no_download=True))
        how = replace(wanted.wanted_engine(engine), lanes=lanes)
        options = replace(wanted.estimator_options(choice), engine=how)
        return Begun(network, BegunEngine(network.model, engine_options(network, options)))
    except EdgeposeError:
        return None


def load_estimator(
    network: Network,
    names: NetworkChoice,
    choice: EstimatorChoice,
    engine: EngineChoice,
    talk: Talk,
    together: int = 1,
    lanes: int = 1,
    begun: Begun | None = None,
) -> Estimator:
    """The estimator, and a line that says what runs where.

    Args:
        together: live frames that come at the same time and share a run.
        lanes: frames of a film that may be under way at the same time.
        begun: the engine, where `begin` has begun to load it with the same choices.
    """
    options = estimator_options(choice, network, talk, download=not names.no_download)
    how = replace(engine_with_progress(engine, talk), lanes=lanes)
    options = replace(at_once(options, together), engine=how)
    options = replace(options, begun=begun.engine if begun else None)
    estimator = make_estimator(network, options)
    _check_tensor_names(names, estimator.engine, network.manifest.name)
    made = estimator.engine.choice
    why = _why(made) if engine.engine == "auto" else ""
    talk.info(f"{network.manifest.name} on {estimator.engine_name}{why}")
    for line in made.lines():
        talk.verbose(f"  {line}")
    for note in made.notes:
        talk.once(note)
    return estimator


def at_once(options: EstimatorOptions, sources: int) -> EstimatorOptions:
    """Options for so many live sources, whose frames go through the network together."""
    return replace(options, together=max(1, min(sources, options.batch)))


def _check_tensor_names(names: NetworkChoice, engine: Engine, network: str) -> None:
    """The tensors that are named must be there: no guess replaces those of a custom network.

    Raises:
        UnknownNameError: one is not; says which there are.
    """
    for flag, name, tensors in (
        ("--input-blob", names.input_blob, engine.inputs),
        ("--output-cmap", names.output_cmap, engine.outputs),
        ("--output-paf", names.output_paf, engine.outputs),
    ):
        known = [t.name for t in tensors]
        if name and name not in known:
            if names.topology:
                engine.close()
                raise UnknownNameError(f"tensor for {flag}", name, known)
            log.warning(
                "%s has no tensor %r (it has %s); %s is ignored.",
                network,
                name,
                ", ".join(known),
                flag,
            )


def _why(choice: Choice) -> str:
    """Why edgepose chose this engine, and why better ones that could be here are not."""
    over = choice.not_here()
    return f": {choice.because}" + (f"; {over}" if over else "")
