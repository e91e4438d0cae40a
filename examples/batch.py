"""Many pictures at once: a list is prepared and decoded together, and answered in its order.

usage: python examples/batch.py [FOLDER]
"""

import sys
import time
from itertools import islice
from pathlib import Path

from edgepose import EdgeposeError, PoseNet
from edgepose.estimators import EstimatorOptions

SIZE = 4


def main(folder: str = str(Path(__file__).parent / "images")) -> int:
    people = 0
    if not Path(folder).is_dir():
        raise EdgeposeError(f"{folder} is no folder.")
    pictures = iter(sorted(p for p in Path(folder).iterdir() if p.suffix in (".jpg", ".png")))
    with PoseNet("fast", options=EstimatorOptions(batch=SIZE)) as net:
        while group := list(islice(pictures, SIZE)):
            start = time.perf_counter()
            found = net.process(group)
            each = (time.perf_counter() - start) * 1000 / len(group)
            for path, poses in zip(group, found, strict=True):
                people += len(poses)
                print(f"{path}: {len(poses)} people ({each:.1f} ms a picture)")
    return people


if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except EdgeposeError as error:
        sys.exit(str(error))
