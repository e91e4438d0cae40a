"""From frames to poses: the only place where preprocessing, engine and decoding meet."""

from edgepose.estimators.base import Estimator, EstimatorOptions, make_estimator

__all__ = ["Estimator", "EstimatorOptions", "make_estimator"]
