"""Accuracy of networks: COCO's keypoint figures and PCK, through the estimators that users run."""
