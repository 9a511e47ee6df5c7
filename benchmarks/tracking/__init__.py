"""Tracking of benchmark runs with MLflow, which a server that is slow or away neither stops nor loses."""
from benchmarks.tracking.tracker import MlflowTracker

__all__ = ["MlflowTracker"]
