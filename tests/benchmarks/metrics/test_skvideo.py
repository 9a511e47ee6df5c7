"""strred and viideo against scikit-video's functions on the whole clip, under any numpy."""
from __future__ import annotations

import sys

import numpy as np
import pytest
from torch import Tensor

from benchmarks.metrics import MetricUndefined
from benchmarks.metrics.colour import y_studio
from benchmarks.metrics.skvideo_compat import _ALIASES, measures, old_names
from benchmarks.metrics.strred import StRred
from benchmarks.metrics.viideo import Viideo

from .conftest import blurred, noisy, real, sample, textured

pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")


def luma(frames: Tensor) -> np.ndarray:
    return np.stack([y_studio(frame)[0].round().numpy().astype(np.uint8) for frame in frames])[..., None]


@pytest.mark.parametrize("count", [2, 5, 6])
def test_strred_equals_scikit_videos_on_the_whole_clip(count: int) -> None:
    target = real("carphone_pristine", 0, count)
    output = real("carphone_distorted", 0, count)
    with old_names():
        _, full, reduced = measures().strred(luma(target), luma(output))
    value = StRred().score(sample(output, target))
    assert value == pytest.approx(float(full), rel=1e-4)
    assert value > 0 and value != pytest.approx(float(reduced), rel=1e-3)


def test_strred_is_zero_for_equal_clips_and_grows_with_noise() -> None:
    target = real("carphone_pristine", 0, 4)
    assert StRred().score(sample(target, target)) == 0
    slight, strong = (StRred().score(sample(noisy(target, sigma), target)) for sigma in (5, 20))
    assert 0 < slight < strong
    assert StRred().score(sample(blurred(target, 5), target)) > 0


def test_a_last_frame_without_a_pair_does_not_count_in_strred() -> None:
    target = real("carphone_pristine", 0, 5)
    output = noisy(target, 5)
    odd = StRred().score(sample(output, target))
    assert odd == StRred().score(sample(output[:4], target[:4]))


def test_viideo_equals_scikit_videos_on_the_whole_clip() -> None:
    output = real("carphone_distorted", 0, 9)
    with old_names():
        expected = float(measures().viideo_score(luma(output)))
    assert Viideo().score(sample(output)) == pytest.approx(expected, rel=1e-9)
    assert np.isfinite(expected) and expected != 0


def test_clips_too_short_or_too_small_are_undefined() -> None:
    short, small = textured(1, 96, 96), textured(2, 95, 96)
    for target, why in ((short, "got 1 of 96x96"), (small, "got 2 of 96x95")):
        with pytest.raises(MetricUndefined, match=why):
            StRred().score(sample(target, target))
    for frames, why in ((textured(3, 40, 40), "got 3 of 40x40"), (textured(4, 35, 40), "got 4 of 40x35")):
        with pytest.raises(MetricUndefined, match=why):
            Viideo().score(sample(frames))


def test_numpy_has_none_of_the_old_names_afterwards() -> None:
    target = real("carphone_pristine", 0, 2)
    before = {name for name in _ALIASES if name in vars(np)}
    StRred().score(sample(target, noisy(target, 5)))
    assert {name for name in _ALIASES if name in vars(np)} == before
    assert "float" not in vars(np) and "int" not in vars(np)
    with pytest.raises(RuntimeError), old_names():
        assert np.float is float  # type: ignore[attr-defined]
        raise RuntimeError
    assert "float" not in vars(np)


def test_the_stand_in_for_a_removed_scipy_module_goes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "scipy.misc", raising=False)
    with old_names():
        assert "scipy.misc" in sys.modules
        measures()
    assert "scipy.misc" not in sys.modules
