"""Say who raises a hand: a wrist above the eyes. Gestures are geometry on named keypoints.

usage: python examples/hands_up.py [SOURCE]
"""

import sys

from edgepose import EdgeposeError, PoseNet


def raised(pose):
    """The sides ("left", "right" of the person) whose wrist is above the eyes."""
    eyes = [pose[name].y for name in ("left_eye", "right_eye", "nose") if name in pose]
    sides = [side for side in ("left", "right") if f"{side}_wrist" in pose]
    return [side for side in sides if eyes and pose[f"{side}_wrist"].y < min(eyes)]


def main(uri="test://people?rate=0&frames=150"):
    seen = set()
    with PoseNet("fast") as net:
        for frame, poses in net.stream(uri):
            for pose in poses:
                for side in raised(pose):
                    seen.add(side)
                    print(f"frame {frame.index}: person {pose.id} raises the {side} hand")
    return seen


if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except EdgeposeError as error:
        sys.exit(str(error))
