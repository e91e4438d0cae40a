"""A program written for jetson-inference: only the import lines differ.

usage: python examples/detect.py INPUT [OUTPUT] [--network=NAME] [--overlay=links,keypoints]
"""

import argparse
import sys

from edgepose import EdgeposeError, poseNet, videoOutput, videoSource

parser = argparse.ArgumentParser()
parser.add_argument("input")
parser.add_argument("output", nargs="?", default="")
parser.add_argument("--network", default="resnet18-body")
parser.add_argument("--overlay", default="links,keypoints")
parser.add_argument("--threshold", type=float, default=0.15)
args, _ = parser.parse_known_args()

try:
    net = poseNet(args.network, sys.argv, args.threshold)
    source = videoSource(args.input, argv=sys.argv)
    output = videoOutput(args.output, argv=sys.argv)
    while source.IsStreaming() and output.IsStreaming():
        image = source.Capture()
        if image is None:  # nothing came in time
            continue
        poses = net.Process(image, overlay=args.overlay)
        print(f"detected {len(poses)} objects in image")
        for pose in poses:
            print(pose.ID, [round(v) for v in pose.ROI], pose.Links)
            nose = pose.FindKeypoint("nose")
            if nose >= 0:
                print("  nose at", round(pose.Keypoints[nose].x), round(pose.Keypoints[nose].y))
        output.Render(image)
        output.SetStatus(f"{args.network} | {net.GetNetworkFPS():.0f} network frames/s")
except EdgeposeError as error:
    sys.exit(str(error))
