"""Many pictures at once: `process_batch` prepares and decodes them together, and gives lists in their order.

usage: python examples/batch.py [FOLDER]
"""

import sys
import time
from itertools import islice
from pathlib import Path

from edgepose import EdgeposeError, PoseNet
from edgepose.estimators import EstimatorOptions
from edgepose.io.sources import open_source

SIZE = 4


def main(folder: str = str(Path(__file__).parent / "images")) -> int:
    people = 0
    with PoseNet("edgepose-lite-body", options=EstimatorOptions(batch=SIZE)) as net:
        with open_source(folder) as source:
            frames = iter(source)
            while group := list(islice(frames, SIZE)):
                start = time.perf_counter()
                found = net.process_batch([frame.pixels for frame in group])
                each = (time.perf_counter() - start) * 1000 / len(group)
                for frame, poses in zip(group, found, strict=True):
                    people += len(poses)
                    print(f"{frame.source}: {len(poses)} people ({each:.1f} ms a picture)")
    return people


if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except EdgeposeError as error:
        sys.exit(str(error))
