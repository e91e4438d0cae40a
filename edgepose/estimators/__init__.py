"""From frames to poses: the only place where preprocessing, engine and decoding meet."""

from edgepose.estimators.base import Estimator, EstimatorOptions
from edgepose.estimators.table import make_estimator

__all__ = ["Estimator", "EstimatorOptions", "make_estimator"]
