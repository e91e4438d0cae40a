"""The first moments of `posenet`: its engine begins to load, and beside that the rest of the program.

Nothing is imported here but what the engine needs.
"""

from __future__ import annotations

from edgepose.cli.inputs import many_frames, split_positionals
from edgepose.cli.loading import begin
from edgepose.cli.typed import work_of
from edgepose.cli.written import refuse_what_is_read
from edgepose.errors import EXIT_DONE
from edgepose.heaps import share_heaps
from edgepose.options import Posenet
from edgepose.version import __version__
from edgepose.wanted import wanted_lanes


def start(asked: Posenet) -> int:
    """Run `posenet` and return its exit code.

    Raises:
        EdgeposeError: for everything that went wrong before or during the run.
    """
    if asked.version:
        print(f"edgepose {__version__}")
        return EXIT_DONE
    inputs, outputs = split_positionals(asked.inputs, asked.source.source, asked.output.output)
    refuse_what_is_read(asked, outputs, inputs)
    share_heaps()  # before the first thread
    lanes = wanted_lanes(asked.estimator, asked.engine) if many_frames(inputs) else 1
    begun = begin(asked.network, asked.estimator, asked.engine, lanes)
    return int(work_of("posenet_job:run")(asked, inputs, outputs, lanes, begun))
