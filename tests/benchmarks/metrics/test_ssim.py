"""ssim, ssim_y and ms_ssim against the published algorithms and pyiqa's code."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.metrics import MetricUndefined
from benchmarks.metrics.ssim import MsSsim, Ssim, SsimY

from .conftest import blurred, noisy, real, sample, textured


def reference_ssim(first: Tensor, second: Tensor) -> float:
    """The published algorithm word for word, on one channel at a time, in float64 with a two-dimensional window."""
    x = np.arange(11) - 5
    window = np.exp(-(x[:, None] ** 2 + x[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for a, b in zip(first.double().numpy(), second.double().numpy(), strict=True):
        a, b = (np.lib.stride_tricks.sliding_window_view(plane, (11, 11)) for plane in (a, b))
        mean_a, mean_b = (a * window).sum((2, 3)), (b * window).sum((2, 3))
        variance_a = (a * a * window).sum((2, 3)) - mean_a**2
        variance_b = (b * b * window).sum((2, 3)) - mean_b**2
        covariance = (a * b * window).sum((2, 3)) - mean_a * mean_b
        top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
        values.append((top / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))).mean())
    return float(np.mean(values))


def matlab_luma(frame: Tensor) -> Tensor:
    """MATLAB's rgb2ycbcr on doubles, Y alone, float64 `[1, H, W]` on 16..235, not rounded."""
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64)
    return 16 + (frame.double() / 255 * weights[:, None, None]).sum(dim=0, keepdim=True)


def test_ssim_is_one_for_equal_frames() -> None:
    target = textured(1, 180, 180)
    for metric in (Ssim(), SsimY(), MsSsim()):
        assert metric.score(sample(target, target)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", ["noise", "blur", "bright and flat", "inverted"])
def test_ssim_and_ssim_y_agree_with_the_reference_algorithm(kind: str) -> None:
    target = textured(1, 75, 41)  # more rows than one strip, and not a multiple of it
    if kind == "noise":
        output = noisy(target, 20)
    elif kind == "blur":
        output = blurred(target, 5)
    elif kind == "bright and flat":
        target = 250 + target // 64
        output = target.flip(-1)
    else:
        output = 255 - target  # negative structure, which pyiqa sets to 0 and the reference keeps
    value = Ssim().score(sample(output, target))
    assert value == pytest.approx(reference_ssim(output[0], target[0]), abs=2e-5)
    assert (value < 0) == (kind == "inverted")
    luma = SsimY().score(sample(output, target))
    assert luma == pytest.approx(reference_ssim(matlab_luma(output[0]), matlab_luma(target[0])), abs=2e-5)


def test_ssim_y_is_of_luma_that_is_not_rounded() -> None:
    target = (120 + textured(1, 40, 50) // 100).to(torch.uint8)  # steps so small that rounding them shows
    output = blurred(target, 3)
    ours = SsimY().score(sample(output, target))
    rounded = reference_ssim(matlab_luma(output[0]).round(), matlab_luma(target[0]).round())
    assert ours == pytest.approx(reference_ssim(matlab_luma(output[0]), matlab_luma(target[0])), abs=2e-5)
    assert abs(ours - rounded) > 3e-4


def test_ssim_agrees_with_pyiqa_where_structure_is_positive() -> None:
    from pyiqa.archs.ssim_arch import SSIM

    target = textured(1, 60, 70)
    output = blurred(target, 3)
    theirs = SSIM(test_y_channel=False)(output / 255.0, target / 255.0)
    assert Ssim().score(sample(output, target)) == pytest.approx(float(theirs), abs=2e-5)


@pytest.mark.parametrize("kind", ["noise", "blur"])
def test_ms_ssim_agrees_with_pyiqa(kind: str) -> None:
    from pyiqa.archs.ssim_arch import MS_SSIM

    # 272x640 stays even down to the last scale: at odd sizes pyiqa pads with black, which is not in the paper.
    target = real("bikes", 0, 1)
    output = noisy(target, 15) if kind == "noise" else blurred(target, 5)
    theirs = MS_SSIM(test_y_channel=False)(output / 255.0, target / 255.0)
    value = MsSsim().score(sample(output, target))
    # pyiqa leaves negative structure out of the means; little of it is in these pictures.
    assert value == pytest.approx(float(theirs), abs=5e-4)
    assert value < 0.995


def test_ms_ssim_is_the_weighted_product_over_five_scales_also_of_odd_sizes() -> None:
    target = textured(1, 181, 199)
    output = noisy(target, 30)
    exponents = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    x, y = output[0].double(), target[0].double()
    expected = 1.0
    for scale, exponent in enumerate(exponents):
        whole = reference_ssim(x, y)
        expected *= (whole if scale == 4 else reference_structure(x, y)) ** exponent
        x, y = (_halved(picture) for picture in (x, y))
    assert MsSsim().score(sample(output, target)) == pytest.approx(expected, abs=5e-5)


def _halved(picture: Tensor) -> Tensor:
    height, width = (side // 2 * 2 for side in picture.shape[-2:])
    even = picture[:, :height, :width]
    return (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 4


def reference_structure(first: Tensor, second: Tensor) -> float:
    """Mean of the contrast-structure factor: SSIM of pictures without their local means, written out."""
    x = np.arange(11) - 5
    window = np.exp(-(x[:, None] ** 2 + x[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c2 = (0.03 * 255) ** 2
    values = []
    for a, b in zip(first.numpy(), second.numpy(), strict=True):
        a, b = (np.lib.stride_tricks.sliding_window_view(plane, (11, 11)) for plane in (a, b))
        mean_a, mean_b = (a * window).sum((2, 3)), (b * window).sum((2, 3))
        variances = ((a * a + b * b) * window).sum((2, 3)) - mean_a**2 - mean_b**2
        values.append(((2 * ((a * b * window).sum((2, 3)) - mean_a * mean_b) + c2) / (variances + c2)).mean())
    return float(np.mean(values))


def test_ssim_of_frames_that_do_not_hold_the_window() -> None:
    small, middling = textured(1, 10, 40), textured(1, 175, 300)
    with pytest.raises(MetricUndefined, match="at least 11x11"):
        Ssim().score(sample(small, small))
    with pytest.raises(MetricUndefined, match="at least 176x176"):
        MsSsim().score(sample(middling, middling))
    with pytest.raises(MetricUndefined, match="got 38x8"):
        SsimY(crop=1).score(sample(small, small))


def test_scoring_leaves_the_number_of_threads_alone() -> None:
    before = torch.get_num_threads()
    target = textured(1, 20, 20)
    Ssim().score(sample(target, target))
    assert torch.get_num_threads() == before
