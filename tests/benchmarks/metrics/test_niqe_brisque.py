"""niqe and brisque: pyiqa's numbers, an independent reading of NIQE's formula, and which pictures they prefer.

The values that MATLAB documents (5.7296 for `baboon` in public ports of NIQE) are of pictures that no package here
ships, so they cannot be had.
"""
from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmarks.metrics import MetricUndefined
from benchmarks.metrics.brisque import Brisque
from benchmarks.metrics.niqe import Niqe
from patchvsr import weights
from tests.fetching import fetched

from .conftest import blurred, noisy, real, sample, textured


@pytest.fixture(scope="module")
def niqe() -> Niqe:
    fetched("niqe")
    return Niqe()


@pytest.fixture(scope="module")
def brisque() -> Brisque:
    fetched("brisque")
    return Brisque()


@pytest.fixture(scope="module", params=["astronaut.png", "chelsea.png"])
def natural(request: pytest.FixtureRequest) -> Tensor:
    """A photograph without visible compression, of those that scikit-image ships."""
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        pytest.skip("scikit-image, which ships the photographs, is not installed")
    picture = Image.open(Path(spec.origin).parent / "data" / request.param).convert("RGB")
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].contiguous()


def jpeg(frames: Tensor, quality: int) -> Tensor:
    """The first frame after JPEG."""
    stream = io.BytesIO()
    Image.fromarray(frames[0].permute(1, 2, 0).numpy()).save(stream, "jpeg", quality=quality)
    return torch.from_numpy(np.array(Image.open(stream))).permute(2, 0, 1)[None]


def test_niqe_of_a_natural_frame_is_low_and_rises_with_every_damage(niqe: Niqe, natural: Tensor) -> None:
    clean = niqe.score(sample(natural))
    assert 2 < clean < 4
    for damaged in (noisy(natural, 10), blurred(natural, 5), jpeg(natural, 10)):
        assert niqe.score(sample(damaged)) > clean + 0.5
    assert niqe.score(sample(noisy(natural, 25))) > niqe.score(sample(noisy(natural, 10)))
    assert niqe.score(sample(blurred(natural, 9))) > niqe.score(sample(blurred(natural, 5)))


def test_niqe_is_the_distance_of_two_gaussians_of_nss_features(niqe: Niqe, natural: Tensor) -> None:
    """The last step of NIQE written out in numpy, on the features that pyiqa finds."""
    from pyiqa.archs import niqe_arch

    seen: list[Tensor] = []
    original = niqe_arch.compute_feature

    def recorded(block: Tensor, *args: object, **options: object) -> Tensor:
        seen.append(original(block, *args, **options))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(niqe_arch, "compute_feature", recorded)
        value = niqe.score(sample(natural))
    features = torch.cat([part.reshape(-1, 18) for part in seen]).double().numpy()
    blocks = (natural.shape[2] // 96) * (natural.shape[3] // 96)
    assert features.shape == (2 * blocks, 18)
    features = np.concatenate([features[:blocks], features[blocks:]], axis=1)
    pristine = weights.load("niqe")
    mean, covariance = pristine["mu_pris_param"].double().numpy().ravel(), pristine["cov_pris_param"].double().numpy()
    off = features.mean(axis=0) - mean
    pooled = (np.cov(features.T) + covariance.reshape(36, 36)) / 2
    assert value == pytest.approx(float(np.sqrt(off @ np.linalg.pinv(pooled) @ off)), rel=1e-3)


def test_niqe_of_fewer_than_two_blocks_is_undefined() -> None:
    with pytest.raises(MetricUndefined, match="two blocks of 96x96"):
        Niqe().score(sample(textured(1, 191, 191)))
    with pytest.raises(MetricUndefined, match="got 184x184"):
        Niqe(crop=4).score(sample(textured(1, 192, 192)))


def test_niqe_looks_at_grey_alone_and_at_every_frame(niqe: Niqe) -> None:
    frames = real("bikes", 200, 2)
    each = Niqe().per_frame(sample(frames))
    assert each is not None
    assert each == [Niqe().score(sample(frames[t : t + 1])) for t in (0, 1)]
    grey = frames.float().mul(torch.tensor([0.299, 0.587, 0.114]).reshape(3, 1, 1)).sum(dim=1, keepdim=True)
    as_grey = grey.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
    assert Niqe().score(sample(as_grey)) == pytest.approx(sum(each) / 2, abs=0.05)


def test_brisque_of_a_natural_frame_is_low_and_rises_with_every_damage(brisque: Brisque, natural: Tensor) -> None:
    clean = brisque.score(sample(natural))
    assert -5 < clean < 40
    for damaged in (noisy(natural, 25), blurred(natural, 5), jpeg(natural, 5)):
        assert clean + 5 < brisque.score(sample(damaged)) < 150


def test_brisque_equals_pyiqas_class_with_the_same_support_vectors(brisque: Brisque, natural: Tensor) -> None:
    from pyiqa.archs.brisque_arch import BRISQUE, scale_features

    state = weights.load("brisque")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "load", lambda *_, **__: (state["sv_coef"].reshape(-1, 1), state["sv"]))
        theirs = BRISQUE(pretrained_model_path="support vectors")
    assert float(state["gamma"]) == pytest.approx(theirs.gamma)
    assert float(state["rho"]) == pytest.approx(theirs.rho, abs=1e-3)
    # The ranges that the release scales features by are those that pyiqa has written out.
    ends = state["feature_range"].T
    assert torch.allclose(scale_features(ends[:1]), torch.full((1, 36), -1.0, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(scale_features(ends[1:]), torch.full((1, 36), 1.0, dtype=torch.float64), atol=1e-6)
    for frames in (natural, noisy(natural, 10), blurred(natural, 3)):
        expected = float(theirs(frames.double() / 255))
        assert brisque.score(sample(frames)) == pytest.approx(expected, abs=5e-3)


def test_brisque_of_frames_too_small_is_undefined() -> None:
    with pytest.raises(MetricUndefined, match="16 pixels"):
        Brisque().score(sample(textured(1, 15, 60)))
