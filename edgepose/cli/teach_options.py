"""What `edgepose teach` takes: classes of options, whose docstrings are their help."""

# fmt: off
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from edgepose.options import (
    AsJson,
    CameraChoice,
    EngineChoice,
    EstimatorChoice,
    NetworkChoice,
    Option,
    TalkChoice,
)


@dataclass(frozen=True)
class TeachCollect:
    """Add the people in pictures, films or a camera to a set, as examples of one gesture.

    LABEL is a plain word (a-z, 0-9, - and _). Collect each gesture from several films or pictures, and also what people
    do the rest of the time. A camera counts down, then takes what it sees for some seconds.

      edgepose teach collect stop stop/*.jpg --to signs.npz --network hand

      edgepose teach collect waving waving-1.mp4 waving-2.mp4 --to moves.npz

      edgepose teach collect stop /dev/video0 --to signs.npz --network hand --seconds 10
    """

    label: Annotated[str, Option(argument=True)]
    inputs: Annotated[tuple[str, ...], Option(metavar="INPUT...", argument=True)]
    to: Annotated[Path, Option("The set, which is made or added to.", metavar="SET.npz", writes=True)]
    person: Annotated[int, Option("Of films: only the person with this track id; 0 = everybody.", least=0)] = 0
    largest: Annotated[bool, Option("Only the largest person of each frame.")] = False
    start: Annotated[int, Option("First frame of a film.", least=0)] = 0
    frames: Annotated[int, Option("At most so many frames of a film.", least=0)] = 0
    countdown: Annotated[float, Option("Seconds until a camera counts.", least=0, most=3600)] = 3.0
    seconds: Annotated[float, Option("Seconds for which a camera counts.", least=0.1, most=3600)] = 5.0
    camera: CameraChoice = CameraChoice()
    network: NetworkChoice = NetworkChoice()
    estimator: EstimatorChoice = EstimatorChoice()
    engine: EngineChoice = EngineChoice()
    talk: TalkChoice = TalkChoice()


@dataclass(frozen=True)
class TeachShow:
    """Show what a set holds: labels, poses, films.

      edgepose teach show signs.npz
    """

    set: Annotated[Path, Option(metavar="SET.npz", argument=True)]
    json: AsJson = False


@dataclass(frozen=True)
class TeachTrain:
    """Make gestures out of a set, and say how well they are told apart.

    Cross-validation holds out whole films (and pictures), so the figures are of films that were not learned from.

      edgepose teach train signs.npz --to signs.gestures
    """

    set: Annotated[Path, Option(metavar="SET.npz", argument=True)]
    to: Annotated[Path, Option("What --gestures of posenet and serve takes.", metavar="FILE.gestures", writes=True)]
    window: Annotated[float | None, Option("Seconds of motion that count; 0 = the pose alone. [default: 0.6 where all examples are films, else 0]", least=0, most=10)] = None
    wrong: Annotated[int, Option("Show at most so many of the examples that are told wrongly.", least=0)] = 20
    json: AsJson = False
