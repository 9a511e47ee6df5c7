"""Each metric that compares with a ground truth gets worse in its stated direction when there is more noise."""
from __future__ import annotations

import pytest

from benchmarks.metrics import metrics
from tests.fetching import fetched

from .conftest import noisy, real, sample

pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")  # scikit-video's

COMPARING = [name for name in metrics.names() if metrics.get(name)().needs_target] + ["flicker", "warp"]


@pytest.mark.parametrize("name", COMPARING)
def test_more_noise_is_worse(name: str) -> None:
    metric = metrics.get(name)()
    fetched(*metric.fetches)
    target = real("bikes", 200, 2)[..., :192, 100:292].contiguous()
    values = [metric.score(sample(noisy(target, sigma), target)) for sigma in (0, 4, 12, 30)]
    worst_first = metric.direction == "higher"
    assert values == sorted(values, reverse=worst_first)
    assert len(set(values)) == 4


@pytest.mark.parametrize("name", ["niqe", "brisque", "viideo"])
def test_blind_metrics_state_that_lower_is_better(name: str) -> None:
    assert metrics.get(name)().direction == "lower"
