"""Keypoints of every picture in a folder as one CSV file, a row a keypoint.

usage: python examples/poses_to_csv.py FOLDER [poses.csv]
(`posenet FOLDER --csv poses.csv` does the same with a fixed header.)
"""

import csv
import sys
from pathlib import Path

from edgepose import EdgeposeError, PoseNet


def main(folder: str, target: str = "poses.csv") -> None:
    with PoseNet("fast") as net, open(target, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["picture", "person", "keypoint", "x", "y", "score"])
        for frame, poses in net.stream(folder):
            print(f"{frame.source}: {len(poses)} people", file=sys.stderr)
            for pose in poses:
                for k in pose.keypoints:
                    place = [f"{k.x:.1f}", f"{k.y:.1f}", f"{k.score:.2f}"]
                    rows.writerow([Path(frame.source).name, pose.id, k.name, *place])


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except EdgeposeError as error:
        sys.exit(str(error))
