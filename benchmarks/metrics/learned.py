"""No-reference metrics whose networks pyiqa implements; their weights come through `patchvsr weights`."""
from __future__ import annotations

import sys
import types
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks.metrics.base import MetricUndefined, Sample, inside, installed
from benchmarks.metrics.colour import as_float
from benchmarks.metrics.stream import FrameMetric, Instant
from patchvsr import weights
from patchvsr.errors import UserError


class _Learned(FrameMetric):
    """A network of pyiqa's on frames of the output, one at a time, in float32 on the CPU."""

    colour = "RGB 0..1 from 8 bit"
    packages = ("pyiqa",)
    smallest: ClassVar[int] = 32
    _network: nn.Module | None = None

    def prepare(self) -> None:
        """Load the network."""
        self._loaded()

    def _loaded(self) -> nn.Module:
        if self._network is None:
            with torch.random.fork_rng(devices=[]):
                self._network = self.network().eval().requires_grad_(False)
        return self._network

    @abstractmethod
    def network(self) -> nn.Module:
        """The network with its weights, every one of them from the checked file.

        Raises:
            UserError: the weights are absent, damaged or those of another network.
        """

    def check(self, sample: Sample) -> None:
        """Frames must be large enough for the network."""
        if min(sample.output.shape[-2:]) - 2 * self.crop < self.smallest:
            raise MetricUndefined(f"{self.id} needs at least {self.smallest} pixels a side")

    def value(self, instant: Instant) -> float:
        """Score the output's frame."""
        return float(self._loaded()(as_float(inside(instant.output, self.crop))))


def filled(network: nn.Module, name: str, state: dict[str, Tensor] | None = None) -> nn.Module:
    """`network` with the weights `name`, strictly.

    Raises:
        UserError: they are absent, damaged or those of another network.
    """
    try:
        network.load_state_dict(weights.load(name) if state is None else state, strict=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"weights '{name}' do not fit the network of {installed('pyiqa')}: {reason}") from error
    return network


class Musiq(_Learned):
    """Multi-scale image quality transformer, trained on KonIQ-10k; 0..100. Arguments as in `FrameMetric`."""

    id = "musiq"
    source = "Ke et al. 2021, MUSIQ, KonIQ-10k weights"
    fetches = ("musiq",)

    def network(self) -> nn.Module:
        """See `_Learned.network`."""
        from pyiqa.archs.musiq_arch import MUSIQ

        return filled(MUSIQ(pretrained=False), "musiq")


@contextmanager
def in_place_of(module: Any, name: str, substitute: Any) -> Iterator[None]:
    """Within the block `module.name` is `substitute`: pyiqa's constructors fetch backbones, here they are handed in."""
    original = getattr(module, name)
    setattr(module, name, substitute)
    try:
        yield
    finally:
        setattr(module, name, original)


class Maniqa(_Learned):
    """Multi-dimension attention network, trained on KonIQ-10k; 0..1. Arguments as in `FrameMetric`."""

    id = "maniqa"
    source = "Yang et al. 2022, MANIQA, KonIQ-10k weights, 20 uniform crops of 224 pixels"
    fetches = ("maniqa",)
    smallest = 224

    def network(self) -> nn.Module:
        """See `_Learned.network`."""
        from pyiqa.archs import maniqa_arch

        create = maniqa_arch.timm.create_model

        def without_weights(name: str, **_: Any) -> nn.Module:
            return create(name, pretrained=False)  # the checkpoint holds the backbone's too

        with in_place_of(maniqa_arch.timm, "create_model", without_weights):
            made = maniqa_arch.MANIQA(pretrained=False, scale=0.8)
        return filled(made, "maniqa")


def _clip_module(name: str) -> Any:
    """A module of pyiqa's that imports openai-clip.

    Version 1.0.1 of that, the last one, imports `pkg_resources`, which setuptools 81 took away, for nothing but
    `packaging` in it.
    """
    if "pkg_resources" in sys.modules or find_spec("pkg_resources") is not None:
        return import_module(f"pyiqa.archs.{name}")
    import packaging.version

    substitute: Any = types.ModuleType("pkg_resources")
    substitute.packaging = packaging
    sys.modules["pkg_resources"] = substitute
    try:
        return import_module(f"pyiqa.archs.{name}")
    finally:
        del sys.modules["pkg_resources"]  # other packages ask for it to tell what is installed


def _clip_model(name: str, build: Callable[[dict[str, Tensor]], nn.Module]) -> nn.Module:
    """A CLIP of the weights `name`, in float32."""
    return build(weights.load(name)).float()


class ClipIqa(_Learned):
    """CLIP's answer to good or bad picture, with pyiqa's five pairs of prompts; 0..1. Arguments as in `FrameMetric`."""

    id = "clipiqa"
    source = "Wang et al. 2023, CLIP-IQA, CLIP RN50, mean over pyiqa's five prompt pairs"
    fetches = ("clipiqa",)

    def network(self) -> nn.Module:
        """See `_Learned.network`."""
        clip_model, clipiqa_arch = _clip_module("clip_model"), _clip_module("clipiqa_arch")

        with in_place_of(clipiqa_arch, "load", lambda *_: _clip_model("clipiqa", clip_model.build_model)):
            return clipiqa_arch.CLIPIQA(pretrained=False)


class Aesthetics(_Learned):
    """LAION's aesthetic predictor, divided by 10 as papers on video generation do; 0..1. Arguments: `FrameMetric`."""

    id = "aesthetics"
    source = "LAION aesthetic predictor (sac+logos+ava1, linear, MSE) on CLIP ViT-L/14, / 10"
    fetches = ("laion-aes-clip", "laion-aes")

    def network(self) -> nn.Module:
        """See `_Learned.network`."""
        laion_aes_arch = _clip_module("laion_aes_arch")
        # OpenAI's own class, as pyiqa loads here: `encode_image` of pyiqa's class wants one argument more.
        model = _clip_model("laion-aes-clip", laion_aes_arch.clip.model.build_model)
        with in_place_of(laion_aes_arch.clip, "load", lambda *_: (model, None)):
            made = laion_aes_arch.LAIONAes(pretrained=False)
        filled(made.mlp, "laion-aes")
        return made

    def value(self, instant: Instant) -> float:
        """Score the output's frame."""
        return super().value(instant) / 10
