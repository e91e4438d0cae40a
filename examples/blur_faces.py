"""Blur the faces in a picture or a film: a disc around nose, eyes and ears of every person.

usage: python examples/blur_faces.py INPUT OUTPUT
A face that was not found is not blurred: do not rely on it where privacy is at stake."""

import sys

import cv2
import numpy as np

from edgepose import EdgeposeError, PoseNet
from edgepose.io.outputs import open_output

FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")


def blur(pixels, pose):
    points = [(pose[name].x, pose[name].y) for name in FACE if name in pose]
    if len(points) >= 2:
        (x, y), radius = cv2.minEnclosingCircle(np.array(points, np.float32))
        face = np.zeros_like(pixels)
        cv2.circle(face, (int(x), int(y)), int(1.6 * radius) + 4, (1, 1, 1), -1)
        np.copyto(pixels, cv2.GaussianBlur(pixels, (0, 0), max(3, radius / 2)), where=face > 0)


def main(uri, target):
    with PoseNet("fast") as net, open_output(target) as out:
        for frame, poses in net.stream(uri):
            for pose in poses:
                blur(frame.pixels, pose)
            out.write(frame)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except EdgeposeError as error:
        sys.exit(str(error))
