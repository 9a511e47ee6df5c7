"""DOVER's three readings from a checkout that the user names: here a stand-in with the same interfaces."""
from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from benchmarks.metrics import MetricUndefined, metrics
from benchmarks.metrics import dover as module
from benchmarks.metrics.dover import DoverAesthetic, DoverFused, DoverTechnical
from benchmarks.metrics.scoring import score_all
from patchvsr.errors import UserError

from .conftest import sample, textured

MODELS = '''
import torch
from torch import nn


class DOVER(nn.Module):
    """Answers with one reading per view, in the views' order, as DOVER does."""

    def __init__(self, offset):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.offset = offset

    def forward(self, views):
        with torch.no_grad():
            readings = {"technical": self.technical, "aesthetic": self.aesthetic}
            return [readings[name](view) for name, view in views.items()]

    def technical(self, view):
        assert view.shape[:2] == (3, 3), view.shape  # clips, channels
        return self.weight * view.mean().reshape(1, 1) + 0.1107

    def aesthetic(self, view):
        assert view.shape[:2] == (1, 3), view.shape
        return self.weight * view.mean().reshape(1, 1) - self.offset
'''

DATASETS = '''
import numpy as np
import torch


class UnifiedFrameSampler:
    def __init__(self, fsize_t, fragments_t, frame_interval=1, num_clips=1):
        self.fsize_t, self.fragments_t = fsize_t, fragments_t
        self.frame_interval, self.num_clips = frame_interval, num_clips

    def __call__(self, count, train):
        assert train is False
        size = self.fsize_t * self.fragments_t * self.num_clips
        return (np.arange(size) * self.frame_interval + np.random.randint(0, 3)) % count


def get_single_view(video, sample_type, **options):
    assert video.dtype == torch.float32 and video.max() > 2
    if sample_type == "technical":
        top = int(torch.randint(0, video.shape[2] - options["fsize_h"] + 1, ()))
        return video[:, :, top : top + options["fsize_h"], : options["fsize_w"]]
    return video[:, :, :: video.shape[2] // options["size_h"]]
'''

TECHNICAL = {"fragments_h": 1, "fragments_w": 1, "fsize_h": 8, "fsize_w": 8, "clip_len": 4, "frame_interval": 2,
             "num_clips": 3}  # fmt: skip
AESTHETIC = {"size_h": 8, "size_w": 8, "clip_len": 4, "frame_interval": 2, "t_frag": 4, "num_clips": 1}


def write_checkout(folder: Path, views: tuple[str, ...], offset: float = 0.08285, weight: float = 0.0) -> None:
    types = {"technical": TECHNICAL, "aesthetic": AESTHETIC}
    options = {
        "model": {"type": "DOVER", "args": {"offset": offset}},
        "data": {"val-l1080p": {"args": {"sample_types": {name: types[name] for name in views}}}},
    }
    (folder / "dover" / "models").mkdir(parents=True)
    (folder / "dover" / "datasets").mkdir()
    (folder / "pretrained_weights").mkdir()
    (folder / "dover.yml").write_text(yaml.safe_dump(options, sort_keys=False))
    (folder / "dover" / "__init__.py").touch()
    (folder / "dover" / "models" / "__init__.py").write_text(MODELS)
    (folder / "dover" / "datasets" / "__init__.py").touch()
    (folder / "dover" / "datasets" / "dover_datasets.py").write_text(DATASETS)
    torch.save({"weight": torch.tensor(weight)}, folder / "pretrained_weights" / "DOVER.pth")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No checkout is known before, and no module of one stays afterwards."""
    monkeypatch.delenv(module.VARIABLE, raising=False)
    module._evaluator.cache_clear()
    yield
    module._evaluator.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "dover"]:
        del sys.modules[name]


def frames() -> Tensor:
    return textured(9, 24, 32)


def readings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float, float]:
    """Fused, technical, aesthetic."""
    monkeypatch.setenv(module.VARIABLE, str(folder))
    given = sample(frames())
    fused, technical, aesthetic = (metric.score(given) for metric in (DoverFused(), DoverTechnical(), DoverAesthetic()))
    return fused, technical, aesthetic


@pytest.mark.parametrize("views", [("technical", "aesthetic"), ("aesthetic", "technical")])
def test_readings_belong_to_their_names_in_whichever_order_the_views_stand(
    views: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkout(tmp_path, views)
    fused, technical, aesthetic = readings(tmp_path, monkeypatch)
    assert (technical, aesthetic) == (pytest.approx(0.1107), pytest.approx(-0.08285))
    assert fused == pytest.approx(0.5)  # both lie at DOVER's own means


def test_the_fused_reading_is_dovers_published_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkout(tmp_path, ("technical", "aesthetic"), offset=0.02, weight=0.05)
    fused, technical, aesthetic = readings(tmp_path, monkeypatch)
    assert technical != pytest.approx(0.1107)
    x = 0.6104 * (technical - 0.1107) / 0.07355 + 0.3896 * (aesthetic + 0.08285) / 0.03774
    assert fused == pytest.approx(1 / (1 + math.exp(-x)))
    assert 0 < fused < 1


def test_dover_draws_its_fragments_alike_each_time_and_leaves_the_random_numbers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkout(tmp_path, ("technical", "aesthetic"), weight=0.05)
    torch.manual_seed(1)
    np.random.seed(1)
    numbers = torch.rand(1), np.random.rand()
    torch.manual_seed(1)
    np.random.seed(1)
    first = readings(tmp_path, monkeypatch)
    assert (torch.rand(1), np.random.rand()) == numbers
    assert readings(tmp_path, monkeypatch) == first
    found = score_all({name: metrics.get(name)() for name in ("dover_fused", "dover_technical")}, sample(frames()))
    assert [answer.value for answer in found.values()] == list(first[:2])  # type: ignore[union-attr]


def test_without_a_checkout_dover_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, str(tmp_path)):
        if value is not None:
            monkeypatch.setenv(module.VARIABLE, value)
        for metric in (DoverFused(), DoverTechnical(), DoverAesthetic()):
            assert str(metric.available()).startswith(f"export {module.VARIABLE}=")
            with pytest.raises(MetricUndefined, match=module.VARIABLE):
                metric.score(sample(frames()))
            assert "weights absent" in metric.identity()


def test_the_identity_names_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    identities = []
    for weight, folder in enumerate(folders):
        folder.mkdir()
        write_checkout(folder, ("technical", "aesthetic"), weight=float(weight))
        monkeypatch.setenv(module.VARIABLE, str(folder))
        assert DoverFused().available() is None
        identities += [metric.identity() for metric in (DoverFused(), DoverTechnical(), DoverAesthetic())]
    assert len(set(identities)) == 6


@pytest.mark.parametrize("broken", ["code", "weights"])
def test_a_checkout_that_cannot_be_used_is_a_sentence(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkout(tmp_path, ("technical", "aesthetic"))
    if broken == "code":
        (tmp_path / "dover" / "models" / "__init__.py").write_text("import no_such_package_anywhere")
    else:
        torch.save({"other": torch.zeros(1)}, tmp_path / "pretrained_weights" / "DOVER.pth")
    monkeypatch.setenv(module.VARIABLE, str(tmp_path))
    before = list(sys.path)
    with pytest.raises(UserError, match="cannot be used") as caught:
        DoverFused().score(sample(frames()))
    assert not isinstance(caught.value, MetricUndefined)
    assert sys.path == before
