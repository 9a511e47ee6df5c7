"""Several metrics on one clip, in one pass."""
from __future__ import annotations

from contextlib import ExitStack

import torch

from benchmarks.metrics.base import Measurement, Metric, Sample
from benchmarks.metrics.stream import Scoring, StreamedMetric, instants


def score_all(chosen: dict[str, Metric], sample: Sample) -> dict[str, Measurement | Exception]:
    """Score a sample with several metrics; streamed ones share one pass over its frames, each read once.

    A metric that fails, or has no value for this sample, does not touch the others. A frame that cannot be read fails
    all of those that read it: no value ever stands for a part of a clip.

    Args:
        chosen: metrics by the names that the answer uses.
        sample: the clip.

    Returns:
        For each name the measurement, or the exception that stands in its place (`MetricUndefined` where the sample
        has no value).
    """
    found: dict[str, Measurement | Exception] = {}
    running: dict[str, tuple[StreamedMetric, Scoring]] = {}
    for name, metric in chosen.items():
        try:
            if isinstance(metric, StreamedMetric):
                running[name] = metric, metric.begin(sample)
            else:
                found[name] = metric.checked(metric.measure(sample))
        except Exception as error:
            found[name] = error
    # Not left to the collector: an error that is kept keeps its traceback, and that every scoring.
    with ExitStack() as stack:
        for _, scoring in running.values():
            stack.callback(scoring.close)
        if running:
            _stream(running, sample, found)
    return {name: found[name] for name in chosen}


def _stream(
    running: dict[str, tuple[StreamedMetric, Scoring]], sample: Sample, found: dict[str, Measurement | Exception]
) -> None:
    kept = frozenset().union(*(metric.keeps for metric, _ in running.values()))
    try:
        with torch.inference_mode():
            for instant in instants(sample, kept):
                for name, (_, scoring) in list(running.items()):
                    try:
                        scoring.add(instant)
                    except Exception as error:
                        found[name] = error
                        del running[name]
    except Exception as error:  # reading the clip itself: whatever has been added up is of a part of it
        found.update(dict.fromkeys(running, error))
        return
    for name, (metric, scoring) in running.items():
        try:
            found[name] = metric.checked(scoring.result())
        except Exception as error:
            found[name] = error
