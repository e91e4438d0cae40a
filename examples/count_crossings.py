"""Count people who cross the middle of the picture, to the left and to the right.

usage: python examples/count_crossings.py [SOURCE]     a film, a camera, or test://people
"""

import sys
from collections import Counter

from edgepose import EdgeposeError, PoseNet
from edgepose.events.detector import EventDetector
from edgepose.events.zones import parse_zones

# drawn from top to bottom: its right is on the left of the picture
DOOR = {
    "name": "door",
    "line": [[0.5, 0], [0.5, 1]],
    "right": "to the left",
    "left": "to the right",
}


def main(uri="test://people?rate=0&frames=300"):
    counts = Counter()
    detector = EventDetector(parse_zones({"reference": "centre", "zones": [DOOR]}))
    with PoseNet("fast") as net:
        for number, (frame, people) in enumerate(net.track(uri)):
            now = number / 30 if frame.pts is None else frame.pts
            for event in detector.update(people, now, frame.width, frame.height, frame.index):
                if event.event == "cross":
                    counts[event.direction] += 1
                    print(f"{now:7.2f} s  person {event.track} {event.direction}")
    print(dict(counts))


if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except EdgeposeError as error:
        sys.exit(str(error))
