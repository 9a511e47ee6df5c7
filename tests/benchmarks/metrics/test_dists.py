"""dists against pyiqa's network with the same weights, whole and by strips."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.metrics import MetricUndefined, vgg
from benchmarks.metrics.dists import Dists
from patchvsr import weights
from tests.fetching import fetched

from .conftest import blurred, noisy, real, sample, textured


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    """pyiqa's DISTS, every weight from the checked files."""
    import torchvision
    from pyiqa.archs import dists_arch

    fetched("lpips-vgg", "dists")

    create = torchvision.models.vgg16

    def untrained(**_: Any) -> nn.Module:
        return create(weights=None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dists_arch.models, "vgg16", untrained)
        made = dists_arch.DISTS(pretrained=False)
    backbone, factors = weights.load("lpips-vgg"), weights.load("dists")
    state = {name: value for name, value in made.state_dict().items() if "filter" in name or name in ("mean", "std")}
    for name in made.state_dict():
        stage, _, rest = name.partition(".")
        if stage.startswith("stage") and rest.endswith(("weight", "bias")):
            state[name] = backbone[f"net.slice{stage[-1]}.{rest}"]
    state |= {name: factors[name].reshape(1, -1, 1, 1) for name in ("alpha", "beta")}
    made.load_state_dict(state, strict=True)
    return made.eval()


def forward(net: nn.Module, output: Tensor, target: Tensor) -> float:
    with torch.inference_mode():
        return float(net(output / 255.0, target / 255.0))


@pytest.mark.parametrize(("height", "width"), [(64, 96), (147, 61)])
@pytest.mark.parametrize("strips", [False, True])
def test_dists_equals_pyiqa(
    height: int, width: int, strips: bool, theirs: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    if strips:
        monkeypatch.setattr(vgg, "BUDGET", 0)
    target = real("bikes", 0, 1)[..., 60 : 60 + height, 100 : 100 + width]
    output = noisy(blurred(target, 3), 6)
    value = Dists().score(sample(output, target))
    assert value == pytest.approx(forward(theirs, output, target), abs=2e-5)
    assert value > 0.05


def test_dists_is_zero_for_equal_frames_and_grows_with_blur(theirs: nn.Module) -> None:
    target = real("bikes", 0, 1)[..., 60:124, 100:164]
    slight, strong = (Dists().score(sample(blurred(target, size), target)) for size in (3, 7))
    assert Dists().score(sample(target, target)) == pytest.approx(0, abs=1e-7)
    assert 0.01 < slight < strong < 1


def test_dists_of_frames_too_small_is_undefined() -> None:
    target = textured(1, 15, 40)
    with pytest.raises(MetricUndefined, match="16 pixels"):
        Dists().score(sample(target, target))


def test_both_absent_weights_are_in_one_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATCHVSR_CACHE", str(tmp_path))
    assert Dists().available() == "patchvsr weights fetch dists lpips-vgg"
